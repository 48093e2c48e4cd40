"""Times of xarray, of any calendar, to the regular index of a series and back.

A series holds dates or integers. Dates of NumPy become dates, and so do the months of any calendar.
The days of other calendars become integers; their calendar, start and step are remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from pandas.tseries.frequencies import to_offset

from darts_mim.checks import checked_integer
from darts_mim.times import TimeIndex, checked_offset

TIME_NOTES: Final = ("units", "calendar", "start", "step")
"""Attributes of times that xarray writes itself, or that only a series needs."""

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
    index: Any = pd.RangeIndex(length) if coordinate is None else coordinate.to_index()
    layout: dict[str, Any]
    if coordinate is None:
        layout = {"kind": "none"}
    elif index.dtype.kind == "M" and index.tz is None:
        calendar = coordinate.encoding.get("calendar")
        layout = {"kind": "dates", "dtype": coordinate.dtype.str, "calendar": calendar}
    elif isinstance(index, xr.CFTimeIndex):
        layout = {"kind": "calendar", "calendar": index.calendar}
    elif index.dtype.kind in "iuf" and not (index % 1).any():
        layout = {"kind": "numbers", "dtype": coordinate.dtype.str}
    else:
        raise TypeError(
            f"`data` has times {coordinate.name!r} such as {index[0]!r}; expected dates without a "
            "time zone, or whole numbers. Decode them with `xr.decode_cf(data)`, keep the "
            "wall-clock time of a zone with `index.tz_localize(None)`, add lead times to their "
            "start, or name another coordinate with `time=`"
        )
    read = _read_numbers if layout["kind"] in ("none", "numbers") else _read_dates
    is_increasing = index.is_monotonic_increasing and index.is_unique
    times = read(index, freq, layout) if is_increasing else None
    if times is None:
        raise _irregular(index, freq, str(coordinate.dims[0]) if coordinate is not None else "time")
    return times


def write_times(index: TimeIndex, layout: Mapping[str, Any]) -> Any:
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
            return _placed(_in_calendar(index, layout["calendar"]), place)
        dates = _placed(index, place)
        return dates.astype(layout["dtype"]) if kind == "dates" else dates
    if kind != "steps":
        return index.astype(layout["dtype"]) if kind == "numbers" else index
    options = {"freq": layout["step"], "calendar": layout["calendar"], "use_cftime": True}
    start = xr.date_range(layout["start"], periods=1, **options).shift(index[0], layout["step"])[0]
    dates = xr.date_range(start, periods=index[-1] - index[0] + 1, **options)
    return _placed(dates[:: index.step], place)


def _read_numbers(index: Any, freq: Any, layout: dict[str, Any]) -> Times | None:
    """Return the times of numbers; None if they do not lie on constant steps."""
    given = None if freq is None else checked_integer("freq", freq)
    step = given or (int(index[1] - index[0]) if len(index) > 1 else 1)
    stamps = pd.RangeIndex(int(index[0]), int(index[-1]) + 1, step)
    positions = stamps.get_indexer(index)
    if (positions < 0).any() or (freq is None and len(stamps) > len(index)):
        return None
    return Times(stamps, positions, layout)


def _read_dates(index: Any, freq: Any, layout: dict[str, Any]) -> Times | None:
    """Return the times of dates; None if they do not lie on constant steps."""
    is_gregorian = getattr(index, "calendar", "") in ("standard", "proleptic_gregorian")
    if is_gregorian and _fit(index):
        index = index.to_datetimeindex(time_unit="us")
    freq = pd.Timedelta(freq) if isinstance(freq, np.timedelta64) else freq
    step = None if freq is None else str(checked_offset(freq).freqstr)
    inferred = step or xr.infer_freq(index)
    if isinstance(index, xr.CFTimeIndex):  # whose months are dates, but days are not
        return _read_months(index, step, layout) or _read_steps(index, inferred, layout)
    return _read_steps(index, inferred, layout) or _read_months(index, step, layout)


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


def _irregular(index: Any, freq: Any, dim: str) -> ValueError:
    """Describe times that do not increase in constant steps, or not in those of `freq`."""
    is_dated = index.dtype.kind not in "iuf"
    steps = np.diff(np.asarray(index))
    if is_dated and (steps >= pd.Timedelta("28D")).all():
        steps = np.diff(12 * index.year + index.month)
    usual = Counter(steps.tolist()).most_common(1)[0][0]
    where = int(np.argmax(steps != np.asarray(usual, steps.dtype))) + 1
    expected = "constant steps" if freq is None else f"steps of `freq={freq!r}`"
    example = "'MS'" if is_dated else "1"
    return ValueError(
        f"`data` must have times that increase in {expected}, but {index[where]} follows "
        f"{index[where - 1]}, at position {where}; sort them, `data.sortby({dim!r})`; drop "
        f"duplicates, `data.drop_duplicates({dim!r})`; round dates that were written as floats, "
        f"`data.assign_coords({dim}=data[{dim!r}].dt.round('h'))`; pass the step, such as "
        f"freq={example}, to insert frames of NaN where some are missing; or bring dates to "
        f"constant steps, for example with `data.resample({dim}='MS').mean()`"
    )
