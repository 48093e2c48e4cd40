"""Times of xarray, of any calendar, to the regular index of a series and back.

Dates that a ``DatetimeIndex`` can hold become one. It can hold the months of any calendar. The days
of other calendars become integers, with calendar, start and step remembered, and so do months that
lie hundreds of years away.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from darts_mim._optional import import_optional
from darts_mim.adapters.xarray.axes import is_calendar
from darts_mim.adapters.xarray.irregular import (
    check_increasing,
    check_known,
    in_a_zone,
    irregular,
    off_step,
    too_few,
)
from darts_mim.adapters.xarray.months import (
    Months,
    place_dates,
    place_in_calendar,
    read_months,
)
from darts_mim.times import TimeIndex

_REFORM = (1582, 10, 15)  # from here on the standard calendar is that of numpy
_GREGORIAN = {"standard", "proleptic_gregorian"}
# whole years of nanoseconds, which the dates of a forecast have
_FIRST_YEAR, _LAST_YEAR = 1678, 2261


class Times(NamedTuple):
    """The times of a series."""

    stamps: TimeIndex  # of T frames
    positions: NDArray[np.intp]  # where in them the frames of the data lie
    notes: Mapping[str, Any]  # for the attributes of time: calendar, start, step
    layout: Mapping[str, Any]  # what `write_times` needs beside


def read_times(coordinate: xr.DataArray | None, length: int, freq: Any) -> Times:
    """Turn a coordinate into a regular index.

    Parameters
    ----------
    coordinate
        The times of the frames, or None for frames that are just numbered.
    length
        The number of frames.
    freq
        The step from frame to frame. Where it is given, times may be missing between.

    Returns
    -------
    Times
        The index, of the frames that are missing too.

    Raises
    ------
    TypeError
        If the coordinate holds neither dates without a time zone nor whole numbers.
    ValueError
        If the times do not increase in constant steps, or those of `freq`.
    """
    if isinstance(freq, np.timedelta64):  # which is an integer to NumPy
        freq = pd.Timedelta(freq)
    if coordinate is None:
        return _read_numbers(np.arange(length), freq, "time", {"kind": "none"})
    values, dim = coordinate.to_numpy(), str(coordinate.dims[0])
    layout = {"dtype": values.dtype.str}
    check_known(values, dim)
    is_whole = values.dtype.kind == "f" and np.isfinite(values).all() and (values % 1 == 0).all()
    if values.dtype.kind == "M":
        check_increasing(values, dim)
        calendar = coordinate.encoding.get("calendar")
        notes = {} if calendar is None else {"calendar": str(calendar)}
        return _read_dates(values, freq, dim, notes, {"kind": "dates", **layout})
    if is_calendar(coordinate):
        check_increasing(values, dim)
        return _read_calendar(values, freq, dim)
    if values.dtype.kind in "iu" or is_whole:
        check_increasing(values, dim)
        return _read_numbers(values.astype(np.int64), freq, dim, {"kind": "numbers", **layout})
    if getattr(values[0], "tzinfo", None) is not None:
        raise in_a_zone(values[0], dim, coordinate.name)
    raise TypeError(
        f"`data` has times {coordinate.name!r} of dtype {values.dtype}, such as {values[0]!r}; "
        "expected dates or whole numbers. Decode them with `xr.decode_cf(data)`, turn lead times "
        f"into dates with `data.assign_coords({dim}=start + data.{dim})`, or name another "
        "coordinate with `time=`"
    )


def write_times(stamps: TimeIndex, notes: Mapping[str, Any], layout: Mapping[str, Any]) -> Any:
    """Return times as the data had them.

    Parameters
    ----------
    stamps
        The times of a series.
    notes, layout
        What `read_times` gave; empty for other series.

    Returns
    -------
    array or index
        Dates, dates of cftime, or integers.
    """
    kind = layout.get("kind")
    if isinstance(stamps, pd.RangeIndex):
        if kind == "steps":
            dates = _counted(stamps, notes["calendar"], notes["start"], notes["step"])
            place = layout.get("place", 0)
            if not place:
                return dates
            return xr.CFTimeIndex(place_in_calendar(dates, notes["calendar"], place))
        return stamps.to_numpy().astype(layout["dtype"] if kind == "numbers" else np.int64)
    # a place in the month means nothing once frames are not a month apart
    is_monthly = isinstance(stamps.freq, pd.offsets.MonthBegin)
    place = layout.get("place", 0) if is_monthly else 0
    if kind == "calendar":
        return xr.CFTimeIndex(place_in_calendar(stamps, notes["calendar"], place))
    dates = place_dates(stamps.to_numpy(), place)
    return dates.astype(np.dtype(layout["dtype"])) if kind == "dates" else dates


def _read_numbers(
    values: NDArray[np.int64], freq: Any, dim: str, layout: Mapping[str, Any]
) -> Times:
    if freq is not None and (isinstance(freq, bool) or not isinstance(freq, int | np.integer)):
        raise TypeError(
            f"`freq` must be an integer, because `data` has times without dates, got {freq!r}; "
            f"leave it out, or give the data dates with `data.assign_coords({dim}=dates)`"
        )
    steps = np.diff(values)
    step = int(freq if freq is not None else steps[0] if len(steps) else 1)
    if step < 1:
        raise ValueError(f"`freq={freq}` must be at least 1; time increases from frame to frame")
    positions, rest = np.divmod(values - values[0], step)
    if freq is None and (steps != step).any():
        raise irregular(values, dim)
    if rest.any():
        raise off_step(values, freq, dim)
    return Times(pd.RangeIndex(int(values[0]), int(values[-1]) + step, step), positions, {}, layout)


def _read_dates(
    values: NDArray[np.datetime64],
    freq: Any,
    dim: str,
    notes: Mapping[str, Any],
    layout: Mapping[str, Any],
) -> Times:
    dates: Any = pd.DatetimeIndex(values)
    offset = _checked_offset(freq, len(dates))
    step = _inferred(values) if offset is None else offset
    if step is not None:
        stamps = pd.date_range(dates[0], dates[-1], freq=step, unit=dates.unit)
        positions = stamps.get_indexer(dates)
        if len(stamps) and (positions >= 0).all():
            return Times(stamps, positions, notes, layout)
    months = None
    if not dates.nanosecond.any():
        months = read_months([date.to_pydatetime() for date in dates], offset)
    if months is None:
        raise irregular(values, dim) if freq is None else off_step(values, freq, dim)
    begins = months.begins.as_unit(dates.unit)
    return Times(begins, months.positions, notes, {**layout, "place": months.place})


def _inferred(values: NDArray[np.datetime64]) -> Any:
    try:
        return pd.DatetimeIndex(values, freq="infer").freq
    except ValueError:  # there is none
        return None


def _read_calendar(values: NDArray[Any], freq: Any, dim: str) -> Times:
    """Read dates of cftime."""
    given = xr.CFTimeIndex(values)
    notes = {"calendar": str(given.calendar)}
    first = (values[0].year, values[0].month, values[0].day)
    is_gregorian = given.calendar in _GREGORIAN and (
        first >= _REFORM or given.calendar == "proleptic_gregorian"
    )
    if is_gregorian and _can_go_on(values):
        dates = np.array([date.isoformat() for date in values], "M8[us]")
        return _read_dates(dates, freq, dim, notes, {"kind": "calendar"})
    if freq is None and len(values) < 3:
        raise too_few(len(values))
    offset = _month_offset(freq)
    months = read_months(list(values), offset) if freq is None or offset is not None else None
    if months is not None:
        return _monthly(months, notes)
    step = xr.infer_freq(given) if freq is None else _step_name(freq)
    if step is None:
        raise irregular(values, dim)
    regular = _calendar_range(values, step)
    positions = regular.get_indexer(given)
    if (positions < 0).any():
        raise irregular(values, dim) if freq is None else off_step(values, freq, dim)
    notes |= {"start": values[0].isoformat(), "step": step}
    return Times(pd.RangeIndex(len(regular)), positions, notes, {"kind": "steps"})


def _monthly(months: Months, notes: Mapping[str, Any]) -> Times:
    """Return months as dates, or as integers where Darts could not forecast them."""
    begins = months.begins
    if _can_go_on(begins):
        layout = {"kind": "calendar", "place": months.place}
        return Times(begins, months.positions, notes, layout)
    steps = {"start": begins[0].isoformat(), "step": begins.freqstr}
    layout = {"kind": "steps", "place": months.place}
    return Times(pd.RangeIndex(len(begins)), months.positions, {**notes, **steps}, layout)


def _can_go_on(dates: Any) -> bool:
    """Tell whether dates, and those after them, are dates that Darts can make."""
    return bool(dates[0].year >= _FIRST_YEAR and dates[-1].year <= _LAST_YEAR)


def _month_offset(freq: Any) -> Any:
    """Return a step of months, or None if a step is another one or is to be found."""
    try:
        offset = to_offset(freq)
    except (TypeError, ValueError):
        return None
    return offset if isinstance(offset, pd.offsets.MonthBegin) and offset.n > 0 else None


def _step_name(freq: Any) -> Any:
    """Return the name of a step that is a duration or an offset, as calendars read it."""
    is_named = isinstance(freq, timedelta | pd.DateOffset)
    return to_offset(freq).freqstr if is_named else freq


def _calendar_range(values: NDArray[Any], step: Any) -> Any:
    try:
        calendar = values[0].calendar
        return xr.date_range(values[0], values[-1], freq=step, calendar=calendar, use_cftime=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`freq={step!r}` is no step of the calendar {calendar!r} ({error}); pass for example "
            "'D', '6h' or 'MS'"
        ) from error


def _counted(stamps: pd.RangeIndex, calendar: str, start: str, step: str) -> Any:
    """Return the dates of a calendar at these numbers of steps."""
    import_optional("cftime", extra="xarray")
    calendar_dates: Any = {"freq": step, "calendar": calendar, "use_cftime": True}
    begin: Any = xr.date_range(start, periods=1, **calendar_dates)
    begin = begin.shift(int(stamps[0]), step)
    dates = xr.date_range(begin[0], periods=int(stamps[-1] - stamps[0]) + 1, **calendar_dates)
    return dates[:: stamps.step]


def _checked_offset(freq: Any, length: int) -> Any:
    if freq is None:
        if length < 3:
            raise too_few(length)
        return None
    if isinstance(freq, int | np.integer):
        raise TypeError(
            f"`freq` must be a pandas offset, because `data` has dates, got {freq!r}; pass for "
            "example 'MS' or 'D'"
        )
    try:
        offset: Any = to_offset(freq)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`freq={freq!r}` is no pandas offset ({error}); pass for example '6h', 'D' or 'MS'"
        ) from error
    if offset.n < 1:
        raise ValueError(f"`freq={freq!r}` must be positive; time increases from frame to frame")
    return offset
