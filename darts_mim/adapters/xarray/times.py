"""Times of xarray, of any calendar, to the regular index of a series and back.

A series holds dates or integers. Dates of NumPy become dates, and so do the months of any calendar.
The days of other calendars become integers; their calendar, start and step are remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, cast

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from darts_mim.checks import checked_integer
from darts_mim.times import TimeIndex

TIME_NOTES: Final = ("units", "calendar", "start", "step")
"""Attributes of times that xarray writes itself, or that only a series needs."""

# how far times that were written as floats lie from whole hours, minutes, seconds
_TOLERANCES = {"h": "1s", "min": "1s", "s": "1ms"}

_MIDDLE: Final = "middle"  # a place in each month
# whole years of nanoseconds, which the dates of a forecast have
_YEARS = range(1678, 2262)


class Times(NamedTuple):
    """The times of a series."""

    stamps: TimeIndex  # of T frames
    positions: NDArray[np.intp]  # of the frames of the data among them
    layout: Mapping[str, Any]  # plain data that `write_times` needs

    @property
    def notes(self) -> dict[str, str]:
        """What a reader of the series needs to know: calendar, and start and step of integers."""
        return {key: self.layout[key] for key in TIME_NOTES if self.layout.get(key)}


def read_times(coordinate: xr.DataArray | None, length: int, freq: Any) -> Times:
    """Turn a coordinate into a regular index.

    Parameters
    ----------
    coordinate
        The times of the frames, or None to number the frames.
    length
        The number of frames.
    freq
        The step from frame to frame. With it, times may be missing between.

    Returns
    -------
    Times
        The index, which includes the frames that are missing.

    Raises
    ------
    TypeError
        If the coordinate holds neither dates without a time zone nor whole numbers.
    ValueError
        If the times do not increase in constant steps, or those of `freq`.
    """
    if coordinate is None:
        return _read_numbers(pd.RangeIndex(length), freq, "time", {"kind": "none"})
    index: Any = coordinate.to_index()
    dim = str(coordinate.dims[0])
    if index.dtype.kind == "M" and index.tz is None:
        calendar = coordinate.encoding.get("calendar")
        known = {"kind": "dates", "dtype": coordinate.dtype.str, "calendar": calendar}
        return _read_dates(index, freq, dim, known)
    if isinstance(index, xr.CFTimeIndex):
        return _read_dates(index, freq, dim, {"kind": "calendar", "calendar": index.calendar})
    if index.dtype.kind in "iuf" and not (index % 1).any():
        layout = {"kind": "numbers", "dtype": coordinate.dtype.str}
        return _read_numbers(index.astype(int), freq, dim, layout)
    raise TypeError(
        f"`data` has times {coordinate.name!r} of dtype {coordinate.dtype}, such as {index[0]!r}; "
        "expected dates without a time zone, or whole numbers. Decode them with "
        "`xr.decode_cf(data)`, keep the wall-clock time of a zone with `index.tz_localize(None)`, "
        f"turn lead times into dates with `data.assign_coords({dim}=start + data.{dim})`, or name "
        "another coordinate with `time=`"
    )


def write_times(index: TimeIndex, layout: Mapping[str, Any]) -> pd.Index[Any]:
    """Return times as the data had them.

    Parameters
    ----------
    index
        The times of a series.
    layout
        What `read_times` returned; empty for other series.

    Returns
    -------
    pandas.Index
        Dates, dates of cftime, or numbers.
    """
    kind, place = layout.get("kind"), layout.get("place", 0)
    if isinstance(index, pd.DatetimeIndex):
        # a place in the month means nothing for frames that are not months apart
        place = place if isinstance(index.freq, pd.offsets.MonthBegin) else 0
        if kind == "calendar":
            return cast("pd.Index[Any]", _placed(_in_calendar(index, layout["calendar"]), place))
        dates: pd.Index[Any] = _placed(index, place)
        return dates.astype(layout["dtype"]) if kind == "dates" else dates
    if kind != "steps":
        numbers: pd.Index[Any] = index
        return numbers.astype(layout["dtype"]) if kind == "numbers" else numbers
    options = {"freq": layout["step"], "calendar": layout["calendar"], "use_cftime": True}
    start = xr.date_range(layout["start"], periods=1, **options).shift(index[0], layout["step"])[0]
    dates = xr.date_range(start, periods=index[-1] - index[0] + 1, **options)
    return cast("pd.Index[Any]", _placed(dates[:: index.step], place))


def _read_numbers(index: pd.Index[Any], freq: Any, dim: str, layout: Mapping[str, Any]) -> Times:
    _check_increasing(index, dim)
    given = None if freq is None else checked_integer("freq", freq)
    step = given or (int(index[1] - index[0]) if len(index) > 1 else 1)
    stamps = pd.RangeIndex(int(index[0]), int(index[-1]) + 1, step)
    positions = stamps.get_indexer(index)
    if (positions < 0).any() or (freq is None and len(stamps) > len(index)):
        raise _irregular(index, freq, dim)
    return Times(stamps, positions, layout)


def _read_dates(index: Any, freq: Any, dim: str, layout: dict[str, Any]) -> Times:
    _check_increasing(index, dim)
    is_gregorian = getattr(index, "calendar", "") in ("standard", "proleptic_gregorian")
    if is_gregorian and _fit(index):
        index = index.to_datetimeindex(time_unit="us")
    try:
        freq = pd.Timedelta(freq) if isinstance(freq, np.timedelta64) else freq
        step = None if freq is None else str(to_offset(freq).freqstr)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`freq={freq!r}` must be a pandas offset, because `data` has dates ({error}); pass "
            "for example 'MS', 'D' or '6h'"
        ) from error
    if step is None and len(index) < 3:
        raise ValueError("`freq` cannot be read from 1 or 2 times of `data`; pass it, such as 'MS'")
    inferred = step or xr.infer_freq(index)
    if isinstance(index, xr.CFTimeIndex):  # whose months are dates, but days are not
        times = _read_months(index, step, layout) or _read_steps(index, inferred, layout)
    else:
        times = _read_steps(index, inferred, layout) or _read_months(index, step, layout)
    if times is None:
        raise _irregular(index, freq, dim)
    return times


def _read_steps(index: Any, step: str | None, layout: dict[str, Any]) -> Times | None:
    """Return the times of dates at a step of their calendar; None if they have none."""
    if step is None:
        return None
    stamps = _range(index, step, start=index[0], end=index[-1])
    positions = stamps.get_indexer(index)
    if (positions < 0).any():
        return None
    return _as_times(stamps, step, positions, layout)


def _read_months(index: Any, step: str | None, layout: dict[str, Any]) -> Times | None:
    """Return the times of dates at one place of their months; None if there is no such place.

    Darts counts steps between the first days of months, not between, say, their middles.
    """
    months = np.asarray(12 * index.year + index.month)
    offset = None if step is None else to_offset(step)
    if offset is None and len(set(np.diff(months))) == 1:
        offset = pd.offsets.MonthBegin(int(months[1] - months[0]) or 1)
    if not isinstance(offset, pd.offsets.MonthBegin):
        return None
    positions, rest = np.divmod(months - months[0], offset.n)
    if rest.any() or (np.diff(positions) < 1).any():
        return None
    start = f"{index[0].year:04d}-{index[0].month:02d}-01"
    begins = _range(index, offset.freqstr, start=start, periods=int(positions[-1]) + 1)
    places = index - begins[positions]
    if (places == places[0]).all():
        layout = layout | {"place": int(places[0].value)}  # ns
    elif (2 * places == _lengths(begins)[positions]).all():
        layout = layout | {"place": _MIDDLE}
    else:
        return None
    if isinstance(index, xr.CFTimeIndex) and _fit(begins):
        begins = pd.date_range(start, periods=len(begins), freq=offset, unit="us")
    return _as_times(begins, offset.freqstr, positions, layout)


def _as_times(stamps: Any, step: str, positions: Any, layout: dict[str, Any]) -> Times:
    """Return dates of NumPy as they are, and those of other calendars as integers."""
    if isinstance(stamps, pd.DatetimeIndex):
        return Times(stamps, positions, layout)
    counted = {"kind": "steps", "start": stamps[0].isoformat(), "step": step}
    return Times(pd.RangeIndex(len(stamps)), positions, layout | counted)


def _fit(index: Any) -> bool:
    """Return whether dates, and those after them, are dates that Darts can hold."""
    return index[0].year in _YEARS and index[-1].year in _YEARS


def _range(index: Any, step: str, **bounds: Any) -> Any:
    """Return dates in the calendar, or with the resolution, of others."""
    if isinstance(index, pd.DatetimeIndex):
        return pd.date_range(**bounds, freq=step, unit=index.unit)
    return xr.date_range(**bounds, freq=step, calendar=index.calendar, use_cftime=True)


def _lengths(begins: Any) -> Any:
    """Return how long the months are that begin at some dates."""
    return begins.shift(1, "MS") - begins


def _placed(begins: Any, place: int | str) -> Any:
    """Move the first days of months to a place within."""
    if place == _MIDDLE:
        return begins + _lengths(begins) / 2
    return begins + pd.Timedelta(place) if place else begins


def _in_calendar(dates: pd.DatetimeIndex, calendar: str) -> Any:
    """Return dates as dates of cftime."""
    numbered = xr.DataArray(np.arange(len(dates)), {"time": dates}, ("time",))
    return numbered.convert_calendar(calendar, align_on="date", use_cftime=True).indexes["time"]


def _check_increasing(index: pd.Index[Any], dim: str) -> None:
    """Raise if times are missing, duplicated or unsorted.

    Raises
    ------
    ValueError
        If they are.
    """
    if index.hasnans:
        raise ValueError(
            "`data` must have a time for each frame, got frames without; leave them out, "
            f"`data.isel({dim}=data[{dim!r}].notnull())`"
        )
    wrong = np.flatnonzero(index[1:] <= index[:-1])
    if len(wrong):
        at = int(wrong[0]) + 1
        is_same = index[at] == index[at - 1]
        fault = "is a duplicate" if is_same else f"follows {index[at - 1]}"
        remedy = f"drop_duplicates({dim!r})" if is_same else f"sortby({dim!r})"
        raise ValueError(
            f"`data` must have times that increase, but {index[at]} {fault}, at position {at}; "
            f"use `data.{remedy}`"
        )


def _irregular(index: Any, freq: Any, dim: str) -> ValueError:
    """Describe times that do not lie on constant steps, or not on those of `freq`."""
    is_dated = isinstance(index, pd.DatetimeIndex | xr.CFTimeIndex)
    unit = _missed_unit(index) if is_dated else None
    if unit is not None:
        return ValueError(
            f"`data` has times with rounding errors, such as {index[0]} and {index[1]}; "
            f"round them, `data.assign_coords({dim}=data[{dim!r}].dt.round({unit!r}))`"
        )
    steps = np.diff(np.asarray(index))
    if is_dated and steps.min() >= pd.Timedelta("28D"):
        steps = np.diff(12 * index.year + index.month)
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    where = int(np.argmax(steps != np.asarray(usual, steps.dtype))) + 1
    expected = "constant steps" if freq is None else f"steps of `freq={freq!r}`"
    example = "'MS'" if is_dated else "1"
    return ValueError(
        f"`data` must have times in {expected}, but {index[where]} follows {index[where - 1]}, at "
        f"position {where}; pass the step of the times, such as freq={example}, to insert frames "
        "of NaN where some are missing, or bring dates to constant steps first, for example with "
        f"`data.resample({dim}='MS').mean()`"
    )


def _missed_unit(index: Any) -> str | None:
    """Return the unit that times miss by a rounding error, as those written as floats do."""
    for unit, tolerance in _TOLERANCES.items():
        missed = abs(index - index.round(unit)).max()
        if pd.Timedelta(0) < missed < pd.Timedelta(tolerance):
            return unit
    return None
