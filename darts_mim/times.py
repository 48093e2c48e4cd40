"""The times of frames: regular time indices, and the time zones that Darts' series cannot hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from numbers import Integral, Number
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import pandas as pd

from darts_mim.checks import checked_attributes, checked_integer

if TYPE_CHECKING:
    from darts import TimeSeries

logger = logging.getLogger(__name__)

TimeIndex: TypeAlias = pd.DatetimeIndex | pd.RangeIndex
Start: TypeAlias = int | str | datetime | np.datetime64
Frequency: TypeAlias = int | str | timedelta | np.timedelta64 | pd.DateOffset

_DEFAULT_DATE = "2000-01-01"  # where Darts' own generated series start


# Any: a type checker cannot narrow these types by `numbers.Integral`.
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
        given = checked_times(times, length)
        if isinstance(given, pd.DatetimeIndex):
            return _regular_dates(_without_time_zone(given, "times"), freq)
        return _regular_integers(given, freq)
    if start is None and (freq is None or isinstance(freq, Integral)):
        start = 0
    if not isinstance(start, bool) and isinstance(start, Integral):
        step = 1 if freq is None else checked_integer("freq", freq)
        return pd.RangeIndex(int(start), int(start) + length * step, step)
    if isinstance(start, Number):
        raise TypeError(
            f"`start={start!r}` is neither an integer nor a date; pass for example '2016-01-01'"
        )
    date = pd.Timestamp(_DEFAULT_DATE if start is None else start)
    first = _without_time_zone(date, "start")
    index = pd.date_range(first, periods=length, freq=checked_offset(freq))
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
    given: pd.Index[Any] = pd.Index(times if np.ndim(times) else [times])
    are_dates = isinstance(given, pd.DatetimeIndex)
    if not are_dates and not pd.api.types.is_integer_dtype(given.dtype):
        raise TypeError(
            f"`times` must be a list of dates or integers, got {times!r:.80}; convert them, with "
            "`pd.to_datetime(times)` or, if they are periods, with `times.to_timestamp()`"
        )
    if len(given) != count:
        raise ValueError(
            f"`times` must have one entry for each of the {count} frames, got {len(given)}; check "
            "`times`, and which letter of `layout` is T"
        )
    unknown = np.flatnonzero(given.isna())
    if len(unknown):
        raise ValueError(
            f"`times` must all be known, got {len(unknown)} NaT, for frame {unknown[0]}; leave out "
            "such frames, or date them"
        )
    return given if are_dates else given.astype(np.int64)


def time_zone(times: Any) -> str | None:
    """Name the time zone of times, or of a start.

    Raises
    ------
    ValueError
        If the zone has no name.

    Examples
    --------
    >>> (
    ...     time_zone(pd.Timestamp("2026-01-01", tz="Europe/Berlin")),
    ...     time_zone("2026-01-01"),
    ...     time_zone(0),
    ... )
    ('Europe/Berlin', None, None)
    >>> time_zone("2026-01-01 00:00+01:00")
    'UTC+01:00'
    """
    if times is None or isinstance(times, Number):
        return None
    try:
        zone = (pd.Index if np.ndim(times) else pd.Timestamp)(times).tz
    except (AttributeError, TypeError, ValueError):  # no dates, or no valid ones
        return None
    # of a zone of zoneinfo, or of pytz; an offset may be called anything, such as CET
    name: str | None = getattr(zone, "key", None) or getattr(zone, "zone", None)
    if zone is None or name is not None:
        return name
    if zone.utcoffset(None) is None:
        raise ValueError(
            f"the time zone {zone} has no name; convert the times to one that has, for example "
            "with `times.tz_convert('Europe/Berlin')` or 'UTC'"
        )
    return str(timezone(zone.utcoffset(None)))


def with_time_zone(
    attributes: Mapping[str, Mapping[str, Any]] | None, zone: str | None
) -> Mapping[str, Mapping[str, Any]] | None:
    """Remember a time zone in the attributes of a grid.

    Examples
    --------
    >>> with_time_zone({"time": {"calendar": "standard"}}, "UTC")
    {'time': {'calendar': 'standard', 'time_zone': 'UTC'}}
    """
    if zone is None:
        return attributes
    attributes = checked_attributes(attributes) or {}
    return {**attributes, "time": {**attributes.get("time", {}), "time_zone": zone}}


def in_time_zone(times: Any, zone: str | None) -> Any:
    """Localise wall-clock times in the zone that `time_zone` named.

    Raises
    ------
    ValueError
        If a wall-clock time does not exist in the zone, or exists twice.

    Examples
    --------
    >>> in_time_zone(pd.DatetimeIndex(["2026-03-29 01:30"]), "Europe/Berlin")[0]
    Timestamp('2026-03-29 01:30:00+0100', tz='Europe/Berlin')
    """
    if zone is None or not isinstance(times, pd.DatetimeIndex):
        return times
    zoned = times.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    lost = np.asarray(zoned.isna())
    if lost.any():
        raise ValueError(
            f"the times do not all exist once in the time zone {zone}, whose clocks change at "
            f"{times[lost][0]}; make the series in UTC, with `times.tz_convert('UTC')`"
        )
    return zoned


def _regular_integers(times: Any, freq: Any) -> pd.RangeIndex:
    steps = np.diff(times.to_numpy(np.int64))
    if freq is None:
        step = max(1, int(steps[0])) if len(steps) else 1
    else:
        step = checked_integer("freq", freq)
    if (steps != step).any():
        raise _irregular(steps, freq)
    first = int(times[0])
    return pd.RangeIndex(first, first + len(times) * step, step, name=times.name)


def _regular_dates(times: pd.DatetimeIndex, freq: Any) -> pd.DatetimeIndex:
    offset = times.freq if freq is None else checked_offset(freq)
    dates = times.to_numpy()
    try:
        index = pd.DatetimeIndex(dates, freq=offset or "infer", name=times.name)
    except ValueError as error:  # the dates are not those of this frequency
        raise _irregular(np.diff(dates), freq) from error
    if index.freq is None or index.freq.n < 1:
        raise _irregular(np.diff(dates), freq)
    return index


def _irregular(steps: Any, freq: Any) -> ValueError:
    shown = [pd.Timedelta(s) if s.dtype.kind == "m" else s for s in np.unique(steps)[:3]]
    return ValueError(
        f"`times` must increase in constant steps of `freq={freq!r}`, got steps of "
        f"{', '.join(map(str, shown)) or 'one date'}; sort the frames by time and drop duplicates, "
        "fill gaps with NaN frames or make a series of each run without gaps, or pass the `freq` "
        "that the times have, which fewer than three dates do not tell"
    )


def checked_offset(freq: Any) -> Any:
    """Return a step between dates as a pandas offset.

    Examples
    --------
    >>> checked_offset("6h")
    <6 * Hours>
    """
    offset: Any = pd.tseries.frequencies.to_offset(freq)
    if offset is None or offset.n < 1:
        raise ValueError(
            f"`freq` must be a pandas offset for an index of dates, and must be positive, got "
            f"{freq!r}; pass for example '30min', 'D' or 'MS'"
        )
    return offset


def _without_time_zone(times: Any, name: str) -> Any:
    if times.tz is None:
        return times
    logger.warning(
        "`%s` are in the time zone %s, which a Darts series cannot hold: it keeps their wall-clock "
        "time, and `series_to_times` returns them in the zone. If clocks change within the series, "
        "convert the times to UTC first.",
        name,
        times.tz,
    )
    return times.tz_localize(None)
