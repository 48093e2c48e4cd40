"""Traffic flow on a grid: frames with timestamps to series and back.

Letters for shapes: T time, C channels, H height (rows), W width (columns), S samples.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import ArrayLike, DTypeLike, NDArray

from darts_mim.adapters.flow.gaps import (
    Duplicates,
    Gaps,
    check_choice,
    drop_zeros,
    fill,
    find_runs,
    merge_duplicates,
    put_in_order,
    wall_clock,
)
from darts_mim.checks import checked_integer
from darts_mim.grid import grid_of
from darts_mim.series import frames_to_series, series_to_frames, series_to_times
from darts_mim.times import (
    Frequency,
    TimeIndex,
    checked_times,
    time_span,
    time_zone,
    with_time_zone,
)

__all__ = ["from_flow", "to_flow"]

logger = logging.getLogger(__name__)

FLOW_CHANNELS = ("inflow", "outflow")


def from_flow(
    frames: ArrayLike,
    times: ArrayLike | pd.Index[Any],
    *,
    freq: Frequency | None = None,
    layout: str = "TCHW",
    channel_names: Sequence[str] = FLOW_CHANNELS,
    drop_zero_frames: bool = False,
    sort: bool = False,
    duplicates: Duplicates = "raise",
    gaps: Gaps = "raise",
    max_gap: int | None = None,
    min_length: int = 1,
    coordinates: Mapping[str, ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    static_fields: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: DTypeLike | None = np.float32,
) -> TimeSeries | list[TimeSeries]:
    """Turn frames with timestamps into a series, or into a list of series without gaps.

    Nothing is dropped or filled unless you ask for it. The steps run in the order of the arguments:
    zero frames are dropped, frames are sorted, duplicates are merged, gaps are cut or filled, and
    short runs are dropped. The log counts each of them.

    Parameters
    ----------
    frames : array_like
        Numbers in any unit, such as trips per half hour, with an axis for each letter of `layout`.
    times : DatetimeIndex, RangeIndex or array_like of dates or integers
        The T times of the frames. Dates in a time zone keep their wall-clock time, and
        `series_to_times` restores the zone. Convert them to UTC first if the clocks change within
        a run.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"30min"``. Default: the smallest step of the times,
        if it is also the most common one.
    layout : str
        The axes of `frames`, as in `frames_to_series`, without B.
    channel_names : sequence of str
        One name per channel.
    drop_zero_frames : bool
        Whether to treat a frame that is zero in all cells that the mask shows as missing.
    sort : bool
        Whether to sort the frames by time. If not, times that go back are an error.
    duplicates : {"raise", "first", "last", "sum"}
        How to treat frames of the same time: raise an error, keep the first or the last, or sum
        them, for files in which each counts a part of the flow.
    gaps : {"raise", "split", "nan", "zero", "previous", "linear"}
        How to treat missing frames: raise an error, split the frames at each gap, or fill in frames
        of NaN (which the models of this package bridge), zeros, a copy of the frame before, or
        values interpolated in time.
    max_gap : int, optional
        The largest number of missing frames to fill; the series is split at longer gaps. Default:
        fill all gaps.
    min_length : int
        The least number of frames of a series; shorter runs are dropped.
    coordinates, mask, static_fields, attributes, metadata, dtype
        As `frames_to_series` takes them, for every series.

    Returns
    -------
    TimeSeries or list of TimeSeries
        A list, in order of time, if and only if the arguments allow a split: with
        ``gaps="split"``, or with `max_gap`. Series share the memory of `frames` as those of
        `frames_to_series` do, if no frame is dropped, moved or filled in between.

    Raises
    ------
    TypeError
        If frames, times, `freq` or `dtype` are of the wrong type.
    ValueError
        If times go back, have duplicates or gaps, and the arguments do not say what to do; if they
        do not lie on `freq`, or it cannot be read; if clocks change within a run; if no frame is
        left; or if shapes do not fit.

    See Also
    --------
    to_flow : The inverse.
    read_flow : The same for files.

    Examples
    --------
    Half an hour of the night is missing:

    >>> times = pd.date_range("2016-01-01", periods=48, freq="30min").delete(6)
    >>> frames = np.ones((47, 2, 16, 12), dtype=np.float32)
    >>> [len(series) for series in from_flow(frames, times, gaps="split")]
    [6, 41]
    >>> series = from_flow(frames, times, gaps="nan")
    >>> len(series), int(np.isnan(series.values()).any(axis=1).sum())
    (48, 1)
    """
    check_choice("gaps", gaps, Gaps)
    check_choice("duplicates", duplicates, Duplicates)
    if max_gap is not None and checked_integer("max_gap", max_gap) and gaps in ("raise", "split"):
        raise ValueError(f"`max_gap={max_gap}` needs `gaps` that are filled, got gaps={gaps!r}")
    of_grid: Any = {"channel_names": channel_names, "coordinates": coordinates, "mask": mask}
    whole = frames_to_series(frames, layout=layout, dtype=dtype, **of_grid)
    if isinstance(whole, list):
        raise ValueError(f"`layout={layout!r}` must have no B: convert the clips one by one")
    array = series_to_frames(whole, layout="TSCHW")
    index = checked_times(times, len(array))
    if drop_zero_frames:
        array, index = drop_zeros(array, index, grid_of(whole).mask)
    array, index = merge_duplicates(*put_in_order(array, index, sort), duplicates)
    runs = find_runs(index, freq, gaps, max_gap)
    least = checked_integer("min_length", min_length)
    kept = [(rows, regular) for rows, regular in runs if len(regular) >= least]
    if len(kept) < len(runs):
        logger.warning("Dropped %d of %d runs: too short.", len(runs) - len(kept), len(runs))
    if not kept:
        raise ValueError(f"`min_length={min_length}` leaves no series; pass a smaller one")
    # Any: without a B in the layout, `frames_to_series` returns one series
    series: list[Any] = [
        frames_to_series(
            fill(array[rows], index[rows], regular, gaps),
            layout="TSCHW",
            times=wall_clock(regular),
            freq=regular.freq if hasattr(regular, "freq") else regular.step,
            static_fields=static_fields,
            attributes=with_time_zone(attributes, time_zone(regular)),
            metadata=metadata,
            dtype=None,
            **of_grid,
        )
        for rows, regular in kept
    ]
    return series if gaps == "split" or max_gap is not None else series[0]


def to_flow(
    series: TimeSeries | Sequence[TimeSeries], *, layout: str = "TCHW", drop_missing: bool = False
) -> tuple[NDArray[np.floating[Any]], TimeIndex]:
    """Join series in order of time into frames with timestamps.

    Parameters
    ----------
    series : TimeSeries or sequence of TimeSeries
        Series of one grid that do not overlap in time, in any order.
    layout : str
        The axes of the frames, without B. A stochastic series gets its axis S at the end where
        `layout` does not place it.
    drop_missing : bool
        Whether to drop frames that are NaN in all cells that the mask shows, such as those that
        ``from_flow(..., gaps="nan")`` filled in.

    Returns
    -------
    frames : numpy.ndarray
        In the order of `layout`; a view of a single series if no frame is dropped.
    times : DatetimeIndex or RangeIndex
        The T times, in the time zone that the series were made with.

    Raises
    ------
    ValueError
        If there is no series, the series overlap or differ in grid or time zone, or `layout` has a
        B.

    See Also
    --------
    from_flow : The inverse.

    Examples
    --------
    >>> times = pd.date_range("2016-01-01", periods=48, freq="30min").delete(6)
    >>> frames = np.ones((47, 2, 16, 12), dtype=np.float32)
    >>> joined, joined_times = to_flow(from_flow(frames, times, gaps="split"))
    >>> np.array_equal(joined, frames), joined_times.equals(times)
    (True, True)
    """
    if "B" in layout:
        raise ValueError(f"`layout={layout!r}` must have no B: the series are joined in time")
    parts = _in_order(series)
    axis = layout.index("T")
    pieces = [series_to_frames(part, layout=layout) for part in parts]
    first, *others = (series_to_times(part) for part in parts)
    times: Any = first.append(others) if others else first
    frames = np.concatenate(pieces, axis=axis) if others else pieces[0]
    if drop_missing:
        known = np.concatenate([_is_known(part) for part in parts])
        frames, times = np.compress(known, frames, axis=axis), times[known]
    return frames, times


def _in_order(series: TimeSeries | Sequence[TimeSeries]) -> list[TimeSeries]:
    """Return series that can be joined, in order of time."""
    given = [series] if isinstance(series, TimeSeries) else series
    parts = sorted(given, key=lambda part: part.start_time())
    if not parts:
        raise ValueError("`series` must hold at least one series, got none")
    for early, late in pairwise(parts):
        start: Any = late.start_time()  # a date or a number, which pandas' stubs keep apart
        if start <= early.end_time():
            raise ValueError(
                f"`series` must not overlap, got {time_span(early)} and {time_span(late)}"
            )
        grids = grid_of(early), grid_of(late)
        zones = [grid.attributes_of("time").get("time_zone") for grid in grids]
        if grids[0] != grids[1] or zones[0] != zones[1]:
            raise ValueError(f"`series` must agree in grid and time zone, got {grids}, {zones}")
    return parts


def _is_known(series: TimeSeries) -> NDArray[np.bool_]:
    """Return which frames (T,) hold a number in a cell that the mask shows."""
    frames, mask = series_to_frames(series, layout="TSCHW"), grid_of(series).mask
    shown = frames if mask is None else frames[..., mask]
    known: NDArray[np.bool_] = ~np.isnan(shown).reshape(len(frames), -1).all(axis=1)
    return known
