"""Traffic flow on a grid: frames with timestamps to series and back.

Letters for shapes: T time, C channels, H height (rows), W width (columns), S samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import ArrayLike, DTypeLike, NDArray

from darts_mim.adapters.flow.runs import (
    Gaps,
    checked_parts,
    filled,
    find_runs,
    is_known,
    long_runs,
    wall_clock,
)
from darts_mim.adapters.flow.timeline import (
    Duplicates,
    checked_choice,
    in_order,
    without_doubles,
    without_zero_frames,
)
from darts_mim.checks import checked_integer
from darts_mim.grid import grid_of
from darts_mim.series import frames_to_series, series_to_frames, series_to_times
from darts_mim.times import Frequency, TimeIndex, checked_times, time_zone, with_time_zone

__all__ = ["from_flow", "to_flow"]

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
    gaps: Gaps = "split",
    max_gap: int | None = None,
    min_length: int = 1,
    coordinates: Mapping[str, ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    static_fields: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: DTypeLike | None = np.float32,
) -> list[TimeSeries]:
    """Turn frames with timestamps into series without gaps.

    Nothing is left out or made up unasked. What is asked for happens in the order of the arguments:
    zero frames go, the rest is sorted, doubles become one, gaps are cut or filled, and short runs
    go; the log counts each of them.

    Parameters
    ----------
    frames : array_like
        Numbers in any unit, such as trips per half hour, with an axis for each letter of `layout`.
    times : DatetimeIndex, RangeIndex or array_like of dates or integers
        The T times of the frames. Dates in a time zone keep their wall-clock time, and
        `series_to_times` gives the zone back; where the clocks change within a run, convert them to
        UTC first.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next, such as ``"30min"``. Default: read from the times, if their
        smallest step is also their most common one and divides all others.
    layout : str
        What the axes of `frames` are, as in `frames_to_series`, without B.
    channel_names : sequence of str
        One name per channel.
    drop_zero_frames : bool
        Whether a frame that is zero in all cells that the mask shows is no observation but an
        outage, and is to be missing.
    sort : bool
        Whether to put the frames in order of time; if not, times that go back are an error.
    duplicates : {"raise", "first", "last", "sum"}
        What becomes of frames of the same time: an error, the first or the last of them, or their
        sum, for files in which each counts a part of the flow.
    gaps : {"raise", "split", "nan", "zero", "previous", "linear"}
        What becomes of times without a frame: an error, a series for each run between them, or
        frames of NaN (which the models of this package bridge), of zeros, like the one before, or
        interpolated between their neighbours in time.
    max_gap : int, optional
        The largest number of missing frames that is filled; longer gaps split. Default: all.
    min_length : int
        The least number of frames of a series; shorter runs are dropped.
    coordinates, mask, static_fields, attributes, metadata, dtype
        As `frames_to_series` takes them, for every series.

    Returns
    -------
    list of TimeSeries
        In order of time; a single one where there is no gap or all of them are filled. They share
        the memory of `frames` as far as those of `frames_to_series` do, if no frame in between is
        left out or moved.

    Raises
    ------
    TypeError
        If frames, times, `freq` or `dtype` are of the wrong type.
    ValueError
        If times go back, are doubled or have gaps, and the arguments do not say what to do; if they
        do not lie on `freq`, or it cannot be read; if clocks change within a run; if nothing is
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
    >>> [len(series) for series in from_flow(frames, times)]
    [6, 41]
    >>> [series] = from_flow(frames, times, gaps="nan")
    >>> len(series), int(np.isnan(series.values()).any(axis=1).sum())
    (48, 1)
    """
    checked_choice("gaps", gaps, Gaps)
    checked_choice("duplicates", duplicates, Duplicates)
    least = checked_integer("min_length", min_length)
    _check_max_gap(max_gap, gaps)
    whole = frames_to_series(
        frames,
        layout=layout,
        channel_names=channel_names,
        coordinates=coordinates,
        mask=mask,
        dtype=dtype,
    )
    if isinstance(whole, list):
        raise ValueError(
            f"`layout={layout!r}` must have no B, because every clip of a batch has times of its "
            "own; pass the clips one by one"
        )
    array = series_to_frames(whole, layout="TSCHW")
    index = checked_times(times, len(array))
    if drop_zero_frames:
        array, index = without_zero_frames(array, index, grid_of(whole).mask)
    array, index = without_doubles(*in_order(array, index, sort), duplicates)
    runs = long_runs(find_runs(index, freq, gaps, max_gap), least, gaps)
    # Any: without a B in the layout, `frames_to_series` returns one series
    series: list[Any] = [
        frames_to_series(
            filled(array, run, gaps),
            layout="TSCHW",
            channel_names=channel_names,
            times=wall_clock(run.times),
            freq=run.step,
            coordinates=coordinates,
            mask=mask,
            static_fields=static_fields,
            attributes=with_time_zone(attributes, time_zone(run.times)),
            metadata=metadata,
            dtype=None,
        )
        for run in runs
    ]
    return series


def to_flow(
    series: TimeSeries | Sequence[TimeSeries], *, layout: str = "TCHW", drop_missing: bool = False
) -> tuple[NDArray[np.floating[Any]], TimeIndex]:
    """Join series in order of time into frames with timestamps.

    Parameters
    ----------
    series : TimeSeries or sequence of TimeSeries
        Of the same grid, without a common time; in any order.
    layout : str
        The axes of the frames, without B. A stochastic series gets its axis S at the end where
        `layout` does not place it.
    drop_missing : bool
        Whether to leave out frames that are NaN in all cells that the mask shows, such as those
        with which ``from_flow(..., gaps="nan")`` filled the gaps.

    Returns
    -------
    frames : numpy.ndarray
        In the order of `layout`; a view of a single series where no frame is left out.
    times : DatetimeIndex or RangeIndex
        The T times, in the time zone that the series remember.

    Raises
    ------
    TypeError
        If `series` is neither a series nor a sequence of them.
    ValueError
        If the sequence is empty, its series overlap or differ in grid, time zone or number of
        samples, or `layout` has a B.

    See Also
    --------
    from_flow : The inverse.

    Examples
    --------
    >>> times = pd.date_range("2016-01-01", periods=48, freq="30min").delete(6)
    >>> frames = np.ones((47, 2, 16, 12), dtype=np.float32)
    >>> joined, joined_times = to_flow(from_flow(frames, times))
    >>> np.array_equal(joined, frames), joined_times.equals(times)
    (True, True)
    """
    parts = checked_parts(series)
    pieces = [series_to_frames(part, layout=layout) for part in parts]
    if "B" in layout:
        raise ValueError(f"`layout={layout!r}` must have no B: the series are joined in time")
    axis = layout.index("T")
    times: Any = series_to_times(parts[0])
    if len(parts) > 1:
        times = times.append([series_to_times(part) for part in parts[1:]])
    frames = pieces[0] if len(parts) == 1 else np.concatenate(pieces, axis=axis)
    if drop_missing:
        known = np.concatenate([is_known(part) for part in parts])
        frames, times = np.compress(known, frames, axis=axis), times[known]
    return frames, times


def _check_max_gap(max_gap: int | None, gaps: Gaps) -> None:
    if max_gap is None:
        return
    checked_integer("max_gap", max_gap)
    if gaps in ("raise", "split"):
        raise ValueError(
            f"`max_gap={max_gap}` says which gaps are filled, but gaps={gaps!r} fills none; pass "
            "gaps='nan', 'zero', 'previous' or 'linear', or leave `max_gap` out"
        )
