"""The intervals that moments fall into."""

from __future__ import annotations

import logging
from numbers import Number
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darts_mim.times import make_time_index, time_zone

logger = logging.getLogger(__name__)

_UNITS = (("day", "1D"), ("h", "1h"), ("min", "1min"), ("s", "1s"))

_MANY, _SPARSE = 1000, 10  # an empty timeline is a surprise where it is long


class Intervals(NamedTuple):
    """Half-open intervals that follow each other: [start, next start), the last up to `stop`."""

    starts: pd.DatetimeIndex
    stop: pd.Timestamp

    def number(self, moments: pd.DatetimeIndex) -> NDArray[np.intp]:
        """Return the interval of each moment, or -1 where there is none."""
        found: NDArray[np.intp] = self.starts.searchsorted(moments, side="right") - 1
        found[np.asarray(moments >= self.stop)] = -1
        return found


def moments(table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    """Return a column of dates."""
    if not pd.api.types.is_datetime64_any_dtype(table[name]):
        raise TypeError(
            f"`trips[{name!r}]` must be dates, got dtype {table[name].dtype}; convert it with "
            "`pd.to_datetime`"
        )
    return pd.DatetimeIndex(table[name])


def intervals_of(
    departures: pd.DatetimeIndex, arrivals: pd.DatetimeIndex, freq: Any, start: Any, end: Any
) -> Intervals:
    """Make the intervals from `start` to `end`, or around all departures and arrivals."""
    zone = time_zone(departures)
    if time_zone(arrivals) != zone:
        raise ValueError(
            f"`trips` must begin and end in one time zone, got {zone} and {time_zone(arrivals)}; "
            "convert the columns to UTC"
        )
    step = _checked_step(freq)
    if len(departures) == 0 and (start is None or end is None):
        raise ValueError("`trips` hold none, so that `start` and `end` must say from when to when")
    first = (
        _floor(min(departures.min(), arrivals.min()), step)
        if start is None
        else _bound("start", start, departures)
    )
    if end is None:
        last = max(departures.max(), arrivals.max())
        starts = pd.date_range(first, last, freq=step)
    else:
        last = _bound("end", end, departures)
        starts = pd.date_range(first, last, freq=step, inclusive="left")
    if len(starts) == 0:
        raise ValueError(
            f"`start` must lie before {'the last trip' if end is None else '`end`'}, got {first} "
            f"and {last}; pass an earlier `start`"
        )
    stop: Any = starts[-1] + step
    if end is not None and stop != last:
        raise ValueError(
            f"`end` must lie whole intervals of `freq={freq!r}` after {first}, got {last}; pass "
            f"{starts[-1]} or {stop}"
        )
    intervals = Intervals(starts, stop)
    if start is None or end is None:
        _warn_of_empty(intervals, departures, arrivals)
    return intervals


def _warn_of_empty(
    intervals: Intervals, departures: pd.DatetimeIndex, arrivals: pd.DatetimeIndex
) -> None:
    """Warn where trips are few and far between, as around a date of another century."""
    numbers = np.concatenate([intervals.number(each) for each in (departures, arrivals)])
    busy = len(np.unique(numbers[numbers >= 0]))
    if len(intervals.starts) > max(_MANY, _SPARSE * busy):
        logger.warning(
            "Only %d of the %d intervals from %s to %s have a trip; pass `start` and `end` if some "
            "dates are wrong.",
            busy,
            len(intervals.starts),
            intervals.starts[0],
            intervals.stop,
        )


def units_of(starts: pd.DatetimeIndex) -> str:
    """Name the unit of what is counted in each interval.

    Examples
    --------
    >>> units_of(pd.date_range("2016-01-01", periods=2, freq="30min"))
    'trips per 30 min'
    """
    step: Any = starts.freq
    length = pd.Timedelta(step)
    for name, unit in _UNITS:
        count, rest = divmod(length, pd.Timedelta(unit))
        if not rest:
            return f"trips per {name}" if count == 1 else f"trips per {count} {name}"
    return f"trips per {length}"


def _checked_step(freq: Any) -> Any:
    step = getattr(make_time_index(1, freq=freq), "freq", None)
    if not isinstance(step, pd.offsets.Tick):
        raise ValueError(
            f"`freq={freq!r}` must be a length of time, the same for all intervals; pass for "
            "example '30min', 'h' or 'D'"
        )
    return step


def _floor(moment: Any, step: Any) -> Any:
    """Return the start of the interval of a moment, counted from midnight."""
    midnight = moment.normalize()
    if isinstance(step, pd.offsets.Day):
        return midnight
    return midnight + (moment - midnight) // pd.Timedelta(step) * pd.Timedelta(step)


def _bound(name: str, given: Any, departures: pd.DatetimeIndex) -> Any:
    try:
        bound: Any = pd.NaT if isinstance(given, Number) else pd.Timestamp(given)
    except (TypeError, ValueError) as error:
        raise ValueError(f"`{name}={given!r}` is no date ({error}); pass '2016-01-01'") from error
    if bound is pd.NaT:
        raise ValueError(f"`{name}={given!r}` is no date; pass for example '2016-01-01'")
    if departures.tz is None and bound.tz is not None:
        raise ValueError(
            f"`{name}={given!r}` has a time zone, but the times of `trips` have none; leave it out"
        )
    if departures.tz is None:
        return bound
    return bound.tz_localize(departures.tz) if bound.tz is None else bound.tz_convert(departures.tz)
