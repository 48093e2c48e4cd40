"""Times to series: dates of any calendar, places within months, gaps and refusals."""

from datetime import timedelta
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from darts.utils.utils import generate_index

from darts_mim import Grid
from darts_mim.adapters import from_xarray, to_xarray


def fields(times: Any, name: str = "time", **attributes: Any) -> xr.DataArray:
    values = np.random.default_rng(0).random((len(times), 1, 2)).astype(np.float32)
    return xr.DataArray(values, {name: (name, times, attributes)}, (name, "y", "x"))


def dates(*days: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(days, dtype="M8[ns]")


def calendar(name: str, freq: str, length: int = 30, start: str = "2000-02-01") -> Any:
    return xr.date_range(start, periods=length, freq=freq, calendar=name, use_cftime=True)


def months(freq: str, length: int = 6) -> pd.DatetimeIndex:
    return pd.date_range("2000-01-01", periods=length, freq=freq)


def middles(begins: Any) -> Any:
    return begins[:-1] + (begins[1:] - begins[:-1]) / 2


@pytest.mark.parametrize(
    ("times", "freq", "after"),
    [
        (months("MS"), "MS", ["2000-07-01", "2000-08-01"]),
        (pd.date_range("2000-08-31", periods=6, freq="ME"), "ME", ["2001-02-28", "2001-03-31"]),
        (pd.date_range("2000-02-28", periods=6, freq="6h", unit="s"), "6h", ["2000-02-29T12"]),
        (middles(months("MS", 7)), "MS", ["2000-07-16T12", "2000-08-16T12"]),
        (months("MS") + pd.Timedelta("14D 3h"), "MS", ["2000-07-15T03", "2000-08-15T03"]),
        (months("QS") + pd.Timedelta("14D"), "3MS", ["2001-07-15", "2001-10-15"]),
        (calendar("noleap", "D", start="2000-01-30"), 1, ["2000-03-01 00", "2000-03-02 00"]),
        (calendar("360_day", "12h", 58), 1, ["2000-02-30 00", "2000-02-30 12", "2000-03-01 00"]),
        (calendar("noleap", "MS"), "MS", ["2002-08-01 00", "2002-09-01 00"]),
        (calendar("360_day", "MS", 6, "2000-01-01").shift(15, "D"), "MS", ["2000-07-16 00"]),
        (middles(calendar("noleap", "MS", 8, "2000-01-01")), "MS", ["2000-08-16 12"]),
        (calendar("julian", "2MS", start="0850-02-01"), 1, ["0855-02-01 00", "0855-04-01 00"]),
        (calendar("standard", "D", start="1900-02-25"), "D", ["1900-03-27 00"]),
        (calendar("standard", "D", start="1582-09-08"), 1, ["1582-10-18 00"]),
        (np.arange(-3, 15, 3, dtype="i2"), 3, ["15", "18", "21"]),
        (np.arange(6.0), 1, ["6.0", "7.0"]),
    ],
)
def test_times_come_back_and_go_on(times: Any, freq: Any, after: list[str]) -> None:
    data = fields(times)
    series = from_xarray(data)
    assert series.freq == (
        freq if isinstance(freq, int) else pd.tseries.frequencies.to_offset(freq)
    )
    back = to_xarray(series)
    xr.testing.assert_identical(back, data)
    assert back.time.dtype == data.time.dtype
    n = len(after)
    index = generate_index(series.end_time() + series.freq, length=n, freq=series.freq)
    future = to_xarray(series[:n].with_times_and_values(index, series[:n].all_values()))
    assert future.time.dtype == data.time.dtype
    found = [str(t)[: len(after[0])] for t in future.time.values]
    assert found == after
    xr.testing.assert_identical(to_xarray(series[2::2]), data[2::2])


def test_the_days_of_other_calendars_are_counted() -> None:
    series = from_xarray(fields(calendar("noleap", "D", start="2000-01-30")))
    notes = {"calendar": "noleap", "start": "2000-01-30T00:00:00", "step": "D"}
    assert dict(Grid.from_series(series).attributes_of("time")) == notes
    assert isinstance(to_xarray(series[5:]).time.values[0], cftime.DatetimeNoLeap)


def test_without_times_frames_are_numbered() -> None:
    data = fields(np.arange(6)).drop_vars("time")
    series = from_xarray(data)
    xr.testing.assert_identical(to_xarray(series), data)
    assert "time" not in to_xarray(series[:3]).coords
    assert to_xarray(series[2:4]).time.values.tolist() == [2, 3], "they no longer start at 0"


def test_times_are_written_as_in_the_data() -> None:
    data = fields(pd.date_range("2000-01-01", periods=6, freq="D"))
    written = {"calendar": "standard", "units": "days since 1800-01-01", "dtype": np.dtype("f8")}
    data.time.encoding = {**written, "source": "rain.nc", "_FillValue": np.nan}
    series = from_xarray(data)
    assert to_xarray(series.shift(6)).time.encoding == written
    hourly = to_xarray(series.resample("h")).time
    assert hourly.encoding == {"calendar": "standard"}, "their unit is days no more"


GAPS = dates("2000-01-01", "2000-02-01", "2000-04-01", "2000-05-01")
# as files hold them whose times are days in floating point
HADISST = dates(
    "1870-01-16T11:59:59.505615234",
    "1870-02-14T23:59:59.340820312",
    "1870-03-16T11:59:59.505615234",
)
LATE = calendar("noleap", "h", 3) + np.array([0, 1, 0]) * timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("times", "freq", "length"),
    [
        (GAPS, "MS", 5),
        (GAPS + pd.Timedelta("14D"), pd.offsets.MonthBegin(), 5),
        (middles(calendar("noleap", "MS", 8))[[0, 1, 4, 6]], "MS", 7),
        (calendar("noleap", "D")[[0, 1, 4, 9]], "D", 10),
        (calendar("noleap", "h")[[0, 1, 3]], timedelta(hours=1), 4),
        (dates("2000-01-01 00:00", "2000-01-01 03:00"), np.timedelta64(90, "m"), 3),
        (calendar("standard", "6h")[[0, 3]], "6h", 4),
        (np.array([2, 4, 8]), 2, 4),
        (dates("2000-01-05"), "D", 1),
    ],
)
def test_missing_frames_become_nan_where_a_step_is_given(
    times: Any, freq: Any, length: int
) -> None:
    data = fields(times, bounds="given")
    data.attrs["title"] = "kept"
    series = from_xarray(data, freq=freq)
    assert len(series) == length
    back = to_xarray(series)
    xr.testing.assert_identical(back.sel(time=data.time), data)
    assert back.isnull().all(["y", "x"]).sum() == length - len(times)


@pytest.mark.parametrize(
    ("times", "freq", "message"),
    [
        (GAPS, None, r"2000-04-01 00:00:00 follows 2000-02-01 .*, at position 2; .*freq='MS'"),
        (GAPS, "2MS", "steps of `freq='2MS'`"),
        (calendar("noleap", "D")[[0, 1, 2, 4]], None, "2000-02-05 .*, at position 3"),
        (calendar("noleap", "D"), "MS", "steps of `freq='MS'`"),
        (np.array([0.0, 2, 4, 5]), None, "5.0 follows 4.0, at position 3; .*freq=1"),
        (np.array([0, 2, 1]), None, r"1 follows 2, at position 2; .*data.sortby\('time'\)"),
        (dates("2000-01-01", "2000-01-02", "2000-01-02"), "D", "position 2; .*drop_duplicates"),
        (dates("2000-01-01", "NaT", "2000-01-02"), None, "NaT follows 2000"),
        (HADISST, None, r"at position 1; .*dt.round\('h'\)"),
        (LATE, "h", r"at position 2; .*dt.round\('h'\)"),
        (GAPS, "-1D", "`freq` must be a pandas offset"),
        (np.arange(3), "D", "`freq` must be an integer"),
        (np.arange(4) / 2, None, "expected dates"),
        (pd.to_timedelta(np.arange(4), unit="h"), None, "expected dates"),
        (pd.date_range("2000-01-01", periods=3, tz="Europe/Berlin"), None, "tz_localize"),
    ],
)
def test_wrong_times_are_refused(times: Any, freq: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        from_xarray(fields(times), freq=freq, time="time")
