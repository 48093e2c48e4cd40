"""Monthly stamps that lie later in their months than the first day.

Darts counts steps between the first days of months, and not between, say, their middles.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darts_mim._optional import import_optional

logger = logging.getLogger(__name__)

MIDDLE: Final = "middle"

Place = int | str  # microseconds after the month's begin, or its middle


class Months(NamedTuple):
    """Months, and where in them stamps lie."""

    begins: pd.DatetimeIndex
    positions: NDArray[np.intp]  # of the stamps' months among them
    place: Place


def read_months(dates: Sequence[Any], offset: Any = None) -> Months | None:
    """Read stamps that lie at one place of their months.

    Parameters
    ----------
    dates
        At least one date of Python or cftime, increasing.
    offset
        The step from month to month, or None if no month is missing. Then there are at least three
        dates.

    Returns
    -------
    Months or None
        None if there is no such place, or if `offset` is no step of months.
    """
    months = np.array([12 * date.year + date.month - 1 for date in dates])
    steps = np.diff(months)
    if offset is None and len(steps) > 1 and steps[0] > 0 and (steps == steps[0]).all():
        offset = pd.offsets.MonthBegin(int(steps[0]))
    if not isinstance(offset, pd.offsets.MonthBegin):
        return None
    positions, rest = np.divmod(months - months[0], offset.n)
    places = [_places(date) for date in dates]
    shared = set(places[0]).intersection(*places)
    if rest.any() or (steps < 1).any() or not shared:
        return None
    first = np.datetime64(int(months[0]) - 12 * 1970, "M").astype("M8[us]")
    begins = pd.date_range(first, periods=int(positions[-1]) + 1, freq=offset, unit="us")
    place = min(shared, key=str)  # a constant one rather than the middle
    if place:
        logger.info(
            "The times of `data` lie within months, the first is %s: the series has the months' "
            "first days, and `to_xarray` gives back the times.",
            dates[0],
        )
    return Months(begins, positions, place)


def place_dates(begins: NDArray[np.datetime64], place: Place) -> NDArray[np.datetime64]:
    """Move the first days of months to a place within.

    Examples
    --------
    >>> begins = np.array(["2021-01-01", "2021-02-01"], "M8[us]")
    >>> place_dates(begins, MIDDLE).astype(str).tolist()
    ['2021-01-16T12:00:00.000000', '2021-02-15T00:00:00.000000']
    """
    if place == 0:
        return begins
    exact = begins.astype("M8[us]").astype(np.int64)
    if place == MIDDLE:
        ends = (begins.astype("M8[M]") + 1).astype("M8[us]").astype(np.int64)
        return ((exact + ends) // 2).astype("M8[us]")
    return (exact + int(place)).astype("M8[us]")


def place_in_calendar(begins: Iterable[Any], calendar: str, place: Place) -> list[Any]:
    """Return dates of cftime, moved from the first days of months to a place within."""
    cftime = import_optional("cftime", extra="xarray")
    # the calendar's own type, as xarray has them
    kind = type(cftime.num2date(0, "days since 2000-01-01", calendar))
    dates = [
        kind(d.year, d.month, d.day, d.hour, d.minute, d.second, d.microsecond) for d in begins
    ]
    if place == MIDDLE:
        return [date + (_end(date) - date) / 2 for date in dates]
    return [date + pd.Timedelta(int(place), "us").to_pytimedelta() for date in dates]


def _places(date: Any) -> tuple[Place, ...]:
    """Return the time since the month's begin, and whether it is the middle."""
    begin = date.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    since = date - begin
    microseconds = (since.days * 86400 + since.seconds) * 10**6 + since.microseconds
    return (microseconds, MIDDLE) if 2 * since == _end(begin) - begin else (microseconds,)


def _end(begin: Any) -> Any:
    """Return the begin of the next month."""
    if begin.month == 12:
        return begin.replace(year=begin.year + 1, month=1)
    return begin.replace(month=begin.month + 1)
