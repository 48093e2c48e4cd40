"""The times of frames: regular time indices, as Darts' series need them."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from numbers import Integral, Number
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from darts import TimeSeries

logger = logging.getLogger(__name__)

TimeIndex: TypeAlias = pd.DatetimeIndex | pd.RangeIndex
Start: TypeAlias = int | str | datetime | np.datetime64
Frequency: TypeAlias = int | str | timedelta | np.timedelta64 | pd.DateOffset

_DEFAULT_DATE = "2000-01-01"  # where Darts' own generated series start


# Any: what narrows these types below, `numbers.Integral`, means nothing to a type checker.
def make_time_index(
    length: int, times: Any = None, start: Any = None, freq: Any = None
) -> TimeIndex:
    """Make the index of frames that follow each other in constant steps.

    Parameters
    ----------
    length : int
        The number of frames, at least 1.
    times : DatetimeIndex, RangeIndex or array_like of dates or integers, optional
        The times of the frames, increasing in constant steps of `freq` (read from the times where
        it is not given).
    start : int, str or datetime, optional
        Instead of `times`, the time of the first frame. Default: 0, or the first date from
        2000-01-01 on (as in the series that Darts generates) where `freq` is a pandas offset.
    freq : int, str, timedelta or pandas offset, optional
        Time from a frame to the next; an integer for an integer index. Default: 1, for an integer
        index. Dates need it.

    Returns
    -------
    DatetimeIndex or RangeIndex
        Of `length` times. Dates in a time zone keep their wall-clock time and lose the zone, with a
        warning in the log.

    Raises
    ------
    TypeError
        If the types of `times`, `start` and `freq` do not go together.
    ValueError
        If `times` and `start` are both given, `times` are not one per frame or not regular, or
        `start` and `freq` do not describe increasing times.

    Examples
    --------
    >>> make_time_index(3)
    RangeIndex(start=0, stop=3, step=1)
    >>> make_time_index(3, start="2016-01-01", freq="30min").strftime("%H:%M").tolist()
    ['00:00', '00:30', '01:00']
    >>> make_time_index(3, times=[10, 20, 30])
    RangeIndex(start=10, stop=40, step=10)
    """
    if times is not None and start is not None:
        raise ValueError("`times` and `start` are both given; pass one of them")
    if isinstance(freq, np.timedelta64):  # which is an integer to NumPy
        freq = pd.Timedelta(freq)
    if times is not None:
        return _regular_index(length, times, freq)
    if start is None and (freq is None or isinstance(freq, Integral)):
        start = 0
    if not isinstance(start, bool) and isinstance(start, Integral):
        step = _checked_step(freq)
        return pd.RangeIndex(int(start), int(start) + length * step, step)
    date = _DEFAULT_DATE if start is None else start
    first = _without_time_zone(_checked_date(date), "start")
    index = pd.date_range(first, periods=length, freq=_checked_offset(freq))
    if start is not None and index[0] != first:
        raise ValueError(
            f"`start={start!r}` does not lie on `freq={freq!r}`, whose next date is {index[0]}; "
            "pass that as `start`, or another `freq`"
        )
    return index


def time_span(series: TimeSeries) -> str:
    """Describe from when to when a series goes, for messages.

    Examples
    --------
    >>> from darts import TimeSeries
    >>> time_span(TimeSeries.from_values(np.zeros(3)))
    '0 to 2'
    """
    return f"{series.start_time()} to {series.end_time()}"


def checked_times(times: Any, count: int) -> pd.Index[Any]:
    """Return an index of dates or integers, one for each of `count` frames, in any order.

    Examples
    --------
    >>> checked_times([3, 1, 1], 3).tolist()
    [3, 1, 1]
    """
    try:
        given = times if isinstance(times, pd.Index) else pd.Index(times)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"`times` must be a list of dates or integers, got {times!r:.80} ({error}); pass one "
            "for each frame"
        ) from error
    if len(given) != count:
        raise ValueError(
            f"`times` must have one entry for each of the {count} frames, got {len(given)}; check "
            "`times`, and which letter of `layout` is T"
        )
    are_dates = isinstance(given, pd.DatetimeIndex)
    if not are_dates and not pd.api.types.is_integer_dtype(given.dtype):
        raise TypeError(
            f"`times` must be dates or integers, got {type(given).__name__} of {given.dtype}; "
            "convert them, with `pd.to_datetime(times)` or, if they are periods, with "
            "`times.to_timestamp()`"
        )
    if given.hasnans:
        unknown = np.flatnonzero(given.isna())
        shown = ", ".join(map(str, unknown[:3])) + (", ..." if len(unknown) > 3 else "")
        raise ValueError(
            f"`times` must all be known, got {len(unknown)} {'NaT' if are_dates else 'NA'}, for "
            f"frame {shown}; leave out such frames, or date them"
        )
    return given if are_dates else given.astype(np.int64)


def _regular_index(length: int, times: Any, freq: Any) -> TimeIndex:
    given = checked_times(times, length)
    if isinstance(given, pd.DatetimeIndex):
        return _regular_dates(_without_time_zone(given, "times"), freq)
    return _regular_integers(given, freq)


def _regular_integers(times: Any, freq: Any) -> pd.RangeIndex:
    steps = np.diff(times.to_numpy(np.int64))
    step = _checked_step(max(1, int(steps[0])) if freq is None and len(steps) else freq)
    if (steps != step).any():
        raise _irregular(steps, freq)
    first = int(times[0])
    return pd.RangeIndex(first, first + len(times) * step, step, name=times.name)


def _regular_dates(times: pd.DatetimeIndex, freq: Any) -> pd.DatetimeIndex:
    offset = times.freq if freq is None else _checked_offset(freq)
    if offset is None and len(times) < 3:
        raise ValueError(
            f"`freq` cannot be read from {len(times)} `times`; pass it, for example freq='30min'"
        )
    dates = times.to_numpy()
    try:
        index = pd.DatetimeIndex(dates, freq=offset or "infer", name=times.name)
    except ValueError as error:  # the dates are not those of this frequency
        raise _irregular(np.diff(dates), freq) from error
    if index.freq is None or index.freq.n < 1:
        raise _irregular(np.diff(dates), freq)
    return index


def _irregular(steps: Any, freq: Any) -> ValueError:
    if len(steps) == 0:
        return ValueError(
            f"`times` hold one date that does not lie on `freq={freq!r}`; pass another `freq`"
        )
    low, high = (pd.Timedelta(s) if s.dtype.kind == "m" else s for s in (min(steps), max(steps)))
    expected = "constant steps" if freq is None else f"constant steps of `freq={freq!r}`"
    return ValueError(
        f"`times` must increase in {expected}, got steps between {low} and {high}; sort the frames "
        "by time and drop doubles, fill gaps with NaN frames or make a series of each run without "
        "gaps, or pass the `freq` that the times have"
    )


def _checked_step(freq: Any) -> int:
    if freq is not None and (isinstance(freq, bool) or not isinstance(freq, Integral)):
        raise TypeError(
            f"`freq` must be an integer for an integer index, got {freq!r}; pass a date as `start` "
            "or dates as `times` for an index of dates"
        )
    if freq is not None and freq < 1:
        raise ValueError(f"`freq={freq}` must be at least 1; time increases from frame to frame")
    return 1 if freq is None else int(freq)


def _checked_date(start: Any) -> pd.Timestamp:
    try:
        date = pd.NaT if isinstance(start, Number) else pd.Timestamp(start)
    except (TypeError, ValueError):
        date = pd.NaT
    if not isinstance(date, pd.Timestamp):
        raise ValueError(
            f"`start={start!r}` is neither an integer nor a date; pass for example 0, '2016-01-01' "
            "or a pandas Timestamp"
        )
    return date


def _checked_offset(freq: Any) -> Any:
    if freq is None or isinstance(freq, Integral):
        raise TypeError(
            f"`freq` must be a pandas offset for an index of dates, got {freq!r}; pass for example "
            "freq='30min' or freq='D'"
        )
    try:
        offset: Any = pd.tseries.frequencies.to_offset(freq)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`freq={freq!r}` is no pandas offset ({error}); pass for example '30min', 'D' or 'MS'"
        ) from error
    if offset.n < 1:
        raise ValueError(f"`freq={freq!r}` must be positive; time increases from frame to frame")
    return offset


def _without_time_zone(times: Any, name: str) -> Any:
    if times.tz is None:
        return times
    logger.warning(
        "`%s` are in the time zone %s, which a Darts series cannot hold: their wall-clock time is "
        "kept, and `series_to_times` gives the zone back. Convert them to UTC first if clocks "
        "change within the series.",
        name,
        times.tz,
    )
    return times.tz_localize(None)
