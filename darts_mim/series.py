"""Frames to series and back: exact inverses, and where layouts are converted.

Letters for shapes: B batch of clips, T time, C channels, H height (rows), W width (columns),
S samples of a stochastic series, N = C*H*W components.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.utils.likelihood_models.base import likelihood_component_names
from numpy.typing import ArrayLike, DTypeLike, NDArray

from darts_mim.checks import checked_float_type, checked_floats
from darts_mim.grid import METADATA_KEY, Grid, grid_of, stated_components
from darts_mim.times import (
    Frequency,
    Start,
    in_time_zone,
    make_time_index,
    time_zone,
    with_time_zone,
)

_FRAMES = "BTSCHW"  # the order of axes inside; `Grid` needs C, H, W last
_QUANTILE = re.compile(r"(.*)_(q\d\.\d{3})", re.DOTALL)  # a component's quantile in Darts


def frames_to_series(
    frames: ArrayLike,
    *,
    layout: str | None = None,
    channel_names: Sequence[str] | None = None,
    times: ArrayLike | pd.Index[Any] | None = None,
    start: Start | None = None,
    freq: Frequency | None = None,
    coordinates: Mapping[str, ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    static_fields: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: DTypeLike | None = np.float32,
) -> TimeSeries | list[TimeSeries]:
    """Turn frames into a series of C*H*W components that carries its grid.

    The values are not copied where they need not be: with the letters C, H, W next to each other
    and in this order, in a contiguous array of the wanted `dtype`, the series shares the memory of
    `frames`, and a ``numpy.memmap`` stays one. Writing to such `frames` changes the series. Darts
    copies the values of a slice: to split data larger than memory, slice the frames.

    Parameters
    ----------
    frames : array_like
        Numbers in any unit, with an axis for each letter of `layout`; NaN marks missing values.
        Integers and booleans are converted.
    layout : str, optional
        A letter for each axis of `frames`, in any order: T time, H height and W width, and where
        present C channels (else there is one), S samples of a stochastic series, B a batch of
        clips. Default: ``"TCHW"``, with a warning where the shape suggests another layout.
    channel_names : sequence of str, optional
        One name per channel. Default: ``"channel_0"``, ``"channel_1"``, ...
    times : DatetimeIndex, RangeIndex or array_like of dates or integers, optional
        The T times of the frames, increasing in constant steps of `freq` (read from the times where
        it is not given). Every clip of a batch has these times.
    start : int, str or datetime, optional
        Instead of `times`, the time of the first frame. Default: 0, or the first date from
        2000-01-01 on (as in the series that Darts generates) where `freq` is a pandas offset.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"30min"``; an integer for an integer index.
        Default: 1, for an integer index. Dates need it.
    coordinates : mapping of str to array_like, optional
        Coordinates of the rows, then of the columns, as `Grid` takes them.
    mask : array_like of bool, optional
        Shape (H, W), True where the grid is observed. The values are left as they are.
    static_fields : mapping of str to array_like, optional
        Fields that do not change with time, such as the elevation, of shape (H, W) or (C, H, W).
        They become the series' static covariates, a row for each component.
    attributes : mapping of str to mapping, optional
        Units and other attributes of channels and coordinates, as `Grid` takes them, such as
        ``{"inflow": {"units": "trips per 30 min"}}``. A time zone of `times` or `start` is added to
        those of ``"time"``, for `series_to_times`.
    metadata : mapping, optional
        Further metadata of the series, beside the grid. A grid of another series in it is replaced.
    dtype : floating dtype, optional
        Type of the values: float32, so that models are trained in float32. None keeps the type of
        `frames` if that is floating, and is float32 if not.

    Returns
    -------
    TimeSeries or list of TimeSeries
        Shape (T, N, S), with S = 1 without the letter S. A list, with a series for each clip, if
        and only if `layout` has a B.

    Raises
    ------
    TypeError
        If `frames` are complex, objects or a masked array, `dtype` is not floating, or the types of
        `times`, `start` and `freq` do not go together.
    ValueError
        If `layout` does not describe `frames`, if `frames` are empty or hold integers that `dtype`
        cannot represent exactly, or if times, names, coordinates, mask or static fields do not fit
        the frames.

    See Also
    --------
    series_to_frames : The exact inverse.

    Examples
    --------
    Two days of in- and outflow on a grid of 16 rows and 12 columns, a frame every half hour:

    >>> frames = np.zeros((96, 2, 16, 12), dtype=np.float32)
    >>> series = frames_to_series(
    ...     frames, channel_names=["inflow", "outflow"], start="2016-01-01", freq="30min"
    ... )
    >>> series.shape, series.freq_str, str(series.end_time())
    ((96, 384, 1), '30min', '2016-01-02 23:30:00')
    >>> np.shares_memory(series.all_values(copy=False), frames)
    True

    Five grey video clips become five series:

    >>> clips = np.zeros((5, 20, 48, 64), dtype=np.uint8)
    >>> len(frames_to_series(clips, layout="BTHW"))
    5
    """
    named = (layout, channel_names, coordinates, mask)  # each says where the axes are
    is_assumed = all(each is None for each in named)
    layout = "TCHW" if layout is None else layout
    check_layout(layout)
    array = _as_array(frames, layout)
    own = array.dtype if array.dtype.kind == "f" else np.float32
    target = checked_float_type(own if dtype is None else dtype)
    clips = checked_floats("frames", _arranged(array, layout, _FRAMES), target)
    _, t, _, c, h, w = clips.shape
    if is_assumed and (w < min(c, h) or c > h * w > 1):
        warnings.warn(
            f"`frames` of shape {array.shape} are read as {c} channels of {h} rows x {w} columns; "
            "pass layout='THWC' if the channels come last, layout='TBHW' or 'BTHW' if an axis "
            "holds clips, or layout='TCHW' to confirm",
            stacklevel=2,
        )
    attributes = with_time_zone(attributes, time_zone(times if start is None else start))
    grid = Grid(c, h, w, channel_names, coordinates, mask, attributes)
    values = grid.to_components(clips).swapaxes(-1, -2)  # (B, T, S, N) -> (B, T, N, S)
    if not np.may_share_memory(values, array):
        values = np.asarray(values)  # the copy of a memory map lies in memory: it is an array
    index = make_time_index(t, times, start, freq)
    options: dict[str, Any] = {
        "components": pd.Index(grid.component_names),
        "static_covariates": _as_static_covariates(static_fields or {}, grid),
        "metadata": {**(metadata or {}), METADATA_KEY: grid.to_metadata()},
    }
    series = [TimeSeries(index, clip, **deepcopy(options), copy=False) for clip in values]
    return series if "B" in layout else series[0]


def series_to_frames(
    series: TimeSeries | Sequence[TimeSeries], *, layout: str = "TCHW"
) -> NDArray[np.floating[Any]]:
    """Turn a series, or a sequence of them, into frames.

    With the `layout` that made it, a series gives back the frames that it was made of.

    Parameters
    ----------
    series : TimeSeries or sequence of TimeSeries
        Series that carry their grid, or do not: then they are a 1x1 grid with a channel for each
        component, which is how the models of this package take them. A sequence must agree in
        length and grid; the times may differ.
    layout : str
        The axes of the result: T, H, W, C (which one channel can do without) and, where wanted, S
        and B. No sample and no series is ever dropped: where `layout` does not place them, a
        stochastic series gets its axis S at the end and a sequence its axis B at the front.

    Returns
    -------
    numpy.ndarray
        Frames in the order of `layout` and the type of the series. A view of a single series, so
        copy it before you write to it; a copy of a sequence.

    Raises
    ------
    TypeError
        If `series` is neither a series nor a sequence of them.
    ValueError
        If `layout` is not one, or has no C for several channels; if the sequence is empty or
        disagrees in length, grid or number of samples; or if a series does not fit its grid.

    See Also
    --------
    frames_to_series : The exact inverse.

    Examples
    --------
    >>> frames = np.arange(48.0, dtype=np.float32).reshape(2, 2, 3, 4)
    >>> series = frames_to_series(frames)
    >>> np.array_equal(series_to_frames(series), frames)
    True
    >>> series_to_frames(series, layout="THWC").shape
    (2, 3, 4, 2)
    >>> series_to_frames([series, series * 2, series * 3]).shape
    (3, 2, 2, 3, 4)
    """
    check_layout(layout)
    batch = [series] if isinstance(series, TimeSeries) else series
    if not batch or not all(isinstance(each, TimeSeries) for each in batch):
        raise TypeError(
            f"`series` must be a TimeSeries or a sequence of them, got {series!r:.80}; pass for "
            "example the result of `model.predict`"
        )
    grid = _shared_grid(batch)
    if "C" not in layout and grid.channels > 1:
        raise ValueError(
            f"`layout={layout!r}` has no axis for the {grid.channels} channels of {grid}; add C, "
            "for example 'TCHW'"
        )
    if "S" not in layout and batch[0].n_samples > 1:
        layout = layout + "S"
    if "B" not in layout and not isinstance(series, TimeSeries):
        layout = "B" + layout
    values = [clip.all_values(copy=False) for clip in batch]
    stacked = values[0][np.newaxis] if isinstance(series, TimeSeries) else np.stack(values)
    frames = grid.to_frames(stacked.swapaxes(-1, -2))  # (B, T, N, S) -> (B, T, S, C, H, W)
    return _arranged(frames, _FRAMES, layout)


def series_to_times(series: TimeSeries) -> pd.DatetimeIndex | pd.RangeIndex:
    """Return the times of a series, in the time zone of the times that it was made with.

    Darts holds no time zone: a series, and a forecast of it, has wall-clock times.

    Parameters
    ----------
    series : TimeSeries
        Any series.

    Returns
    -------
    DatetimeIndex or RangeIndex
        Its T times; without a zone where none was given.

    Raises
    ------
    ValueError
        If a wall-clock time does not exist in the zone, or does twice, because clocks change
        within the series.

    Examples
    --------
    >>> start = pd.Timestamp("2026-01-01", tz="Europe/Berlin")
    >>> series = frames_to_series(np.zeros((3, 1, 2, 2)), start=start, freq="h")
    >>> series.start_time(), series_to_times(series)[0]
    (Timestamp('2026-01-01 00:00:00'), Timestamp('2026-01-01 00:00:00+0100', tz='Europe/Berlin'))
    """
    # not of the grid itself: times do not depend on which components are left
    stated = (series.metadata or {}).get(METADATA_KEY) or {}
    zone = ((stated.get("attributes") or {}).get("time") or {}).get("time_zone")
    times: pd.DatetimeIndex | pd.RangeIndex = in_time_zone(series.time_index, zone)
    return times


def rebuild_series(series: TimeSeries, **changes: Any) -> TimeSeries:
    """Return a series that differs in some parts; values that stay are not copied.

    Parameters
    ----------
    series : TimeSeries
        Any series.
    **changes
        Arguments of the ``TimeSeries`` constructor that differ: `values`, `times`, `components`,
        `static_covariates`, `hierarchy` or `metadata`.

    Returns
    -------
    TimeSeries
        The other series.

    Examples
    --------
    >>> series = frames_to_series(np.zeros((3, 1, 2, 2), dtype=np.float32))
    >>> other = rebuild_series(series, metadata={"city": "New York"})
    >>> np.shares_memory(other.all_values(copy=False), series.all_values(copy=False))
    True
    """
    parts: dict[str, Any] = {
        "times": series.time_index,
        "values": series.all_values(copy=False),
        "components": series.components,
        "static_covariates": series.static_covariates,
        "hierarchy": series.hierarchy,
        "metadata": series.metadata,
    }
    return TimeSeries(**{**parts, **changes}, copy=False)


def parameter_names(series: TimeSeries) -> list[str]:
    """Return the likelihood parameters that a forecast holds for each component, in order.

    Darts appends their names to those of the components: ``"rain_0_0_q0.100"``,
    ``"rain_0_0_q0.900"``, ``"rain_0_1_q0.100"``, ...

    Parameters
    ----------
    series : TimeSeries
        Any series. Without a grid, only quantiles are found.

    Returns
    -------
    list of str
        Such as ``["q0.100", "q0.900"]``; empty if the series holds values.

    Examples
    --------
    >>> series = TimeSeries.from_values(np.zeros((3, 2)), columns=["a_q0.100", "a_q0.900"])
    >>> parameter_names(series)
    ['q0.100', 'q0.900']
    """
    components = list(series.components)
    n_grid = stated_components(series)
    if n_grid is None:
        found = [_QUANTILE.fullmatch(name) for name in components]
        if not all(found):
            return []
        names = list(dict.fromkeys(match[1] for match in found if match))
        parameters = list(dict.fromkeys(match[2] for match in found if match))
    else:
        size, rest = divmod(series.n_components, n_grid)
        if rest or not size:
            return []
        names = Grid.from_metadata((series.metadata or {})[METADATA_KEY]).component_names
        parameters = [name.removeprefix(f"{names[0]}_") for name in components[:size]]
    return parameters if components == likelihood_component_names(names, parameters) else []


def grid_of_forecast(series: TimeSeries) -> Grid:
    """Return the grid of a series that holds values or likelihood parameters.

    Parameters
    ----------
    series : TimeSeries
        Any series.

    Returns
    -------
    Grid
        As `grid_of` returns it, without regard to the parameters.

    Raises
    ------
    ValueError
        If the components are neither those of the grid nor likelihood parameters of them.

    Examples
    --------
    >>> series = TimeSeries.from_values(np.zeros((3, 2)), columns=["a_q0.100", "a_q0.900"])
    >>> print(grid_of_forecast(series))
    Grid of 1 channel (channel_0) x 1 row x 1 column
    """
    n_parameters = len(parameter_names(series))
    if n_parameters and METADATA_KEY in (series.metadata or {}):
        return Grid.from_metadata((series.metadata or {})[METADATA_KEY])
    return Grid(series.n_components // n_parameters, 1, 1) if n_parameters else grid_of(series)


def _as_static_covariates(fields: Mapping[str, ArrayLike], grid: Grid) -> pd.DataFrame | None:
    """Return fields (H, W) or (C, H, W) as Darts' static covariates, a row for each component."""
    columns = {}
    for name, given in fields.items():
        field = np.asarray(given)
        if field.shape not in (grid.shape, grid.shape[1:]):
            raise ValueError(
                f"`static_fields[{name!r}]` must have the shape of a frame, {grid.shape}, or of "
                f"one of its channels, {grid.shape[1:]}, got {field.shape}; pass it on this grid"
            )
        # Darts takes booleans for categories
        field = field.astype(np.float32) if field.dtype == np.bool_ else field
        columns[name] = grid.to_components(np.broadcast_to(field, grid.shape))
    return pd.DataFrame(columns, index=grid.component_names) if columns else None


def check_layout(layout: str) -> None:
    """Raise unless a layout has the axes of frames, each once."""
    letters = list(layout) if isinstance(layout, str) else []
    if len(set(letters)) < len(letters) or not set("THW") <= set(letters) <= set(_FRAMES):
        raise ValueError(
            "`layout` must be a string of T, H, W (time, height, width) and any of B, C, S (batch, "
            f"channels, samples), each once, got {layout!r}; pass for example 'TCHW', 'THWC' or "
            "'BTCHW'"
        )


def _as_array(frames: ArrayLike, layout: str) -> NDArray[Any]:
    if isinstance(frames, np.ma.MaskedArray):
        raise TypeError(
            "`frames` must be a plain array, got a masked array, whose mask would be lost; "
            "pass `frames.filled(np.nan)`, and `mask=` for cells that are never observed"
        )
    array = frames if isinstance(frames, np.memmap) else np.asarray(frames)
    if array.dtype.kind not in "fiub":
        raise TypeError(
            f"`frames` must be real numbers, got dtype {array.dtype}; convert them to a floating "
            "type first, for example `np.abs(frames)` or `frames.astype(np.float32)`"
        )
    if array.ndim != len(layout) or array.size == 0:
        raise ValueError(
            f"`frames` must have an axis with entries for each letter of `layout={layout!r}`, got "
            f"shape {array.shape}; pass a letter for each axis, such as 'THW' for frames without "
            "channels or 'BTCHW' for a batch of clips"
        )
    return array


def _arranged(array: NDArray[Any], given: str, wanted: str) -> NDArray[Any]:
    """View `array` with its axes in another order; axes added or left out have length 1."""
    kept = [letter for letter in wanted if letter in given]
    dropped = [letter for letter in given if letter not in wanted]
    moved = array.transpose([given.index(letter) for letter in (*kept, *dropped)])
    index = [slice(None) if letter in given else np.newaxis for letter in wanted]
    return moved[(*index, *(0 for _ in dropped))]


def _shared_grid(batch: Sequence[TimeSeries]) -> Grid:
    """Return the grid of the series, and raise if grids or shapes differ."""
    grids = [grid_of(series) for series in batch]
    for i, (series, grid) in enumerate(zip(batch, grids, strict=True)):
        if grid != grids[0] or series.shape != batch[0].shape:
            raise ValueError(
                f"`series` must agree in grid, length and number of samples to become one array, "
                f"got {grids[0]}, (T, N, S) {batch[0].shape} for series 0 and {grid}, "
                f"{series.shape} for series {i}; convert them one by one, or cut them alike first"
            )
    return grids[0]
