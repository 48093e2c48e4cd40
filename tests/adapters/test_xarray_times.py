"""Times to series: dates of any calendar, places within months, gaps and what is refused."""

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


def forecast_times(data: xr.DataArray, n: int = 3, **options: Any) -> list[str]:
    """The times that `to_xarray` gives the `n` frames after the data."""
    series = from_xarray(data, **options)
    xr.testing.assert_identical(to_xarray(series), data)
    after = generate_index(series.end_time() + series.freq, length=n, freq=series.freq)
    future = to_xarray(series[:n].with_times_and_values(after, series[:n].all_values()))
    assert future.time.dtype == data.time.dtype
    return [
        str(np.datetime_as_string(t, "m") if data.time.dtype.kind == "M" else t)
        for t in future.time.values
    ]


@pytest.mark.parametrize(
    ("freq", "start", "expected"),
    [
        ("MS", "2000-01-01", ["2000-07-01T00:00", "2000-08-01T00:00", "2000-09-01T00:00"]),
        ("ME", "2000-08-31", ["2001-02-28T00:00", "2001-03-31T00:00", "2001-04-30T00:00"]),
        ("QS-DEC", "1999-12-01", ["2001-06-01T00:00", "2001-09-01T00:00", "2001-12-01T00:00"]),
        ("6h", "2000-02-28", ["2000-02-29T12:00", "2000-02-29T18:00", "2000-03-01T00:00"]),
        ("D", "2000-02-22", ["2000-02-28T00:00", "2000-02-29T00:00", "2000-03-01T00:00"]),
    ],
)
def test_dates_go_on(freq: str, start: str, expected: list[str]) -> None:
    data = fields(pd.date_range(start, periods=6, freq=freq))
    assert forecast_times(data) == expected


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_the_resolution_of_dates_comes_back(unit: str) -> None:
    data = fields(pd.date_range("2000-01-01", periods=6, freq="h", unit=unit))
    assert to_xarray(from_xarray(data)).time.dtype == f"M8[{unit}]"


def test_the_days_of_other_calendars_are_counted() -> None:
    data = fields(calendar("noleap", "D", start="2000-01-30"))
    series = from_xarray(data)
    assert isinstance(series.time_index, pd.RangeIndex)
    assert dict(Grid.from_series(series).attributes_of("time")) == {
        "calendar": "noleap",
        "start": "2000-01-30T00:00:00",
        "step": "D",
    }
    assert forecast_times(data)[0] == "2000-03-01 00:00:00", "there is no 29 February"
    assert isinstance(to_xarray(series[5:]).time.values[0], cftime.DatetimeNoLeap)
    xr.testing.assert_identical(to_xarray(series[4::3]), data[4::3])


def test_there_are_30_days_in_a_month_of_360_days() -> None:
    expected = ["2000-02-30 00:00:00", "2000-02-30 12:00:00", "2000-03-01 00:00:00"]
    assert forecast_times(fields(calendar("360_day", "12h", 58))) == expected


@pytest.mark.parametrize("name", ["noleap", "360_day", "julian", "standard"])
def test_the_months_of_any_calendar_are_dates(name: str) -> None:
    data = fields(calendar(name, "MS"))
    series = from_xarray(data)
    assert series.freq_str == "MS"
    assert str(series.start_time()) == "2000-02-01 00:00:00"
    assert forecast_times(data)[0] == "2002-08-01 00:00:00"


@pytest.mark.parametrize("name", ["standard", "proleptic_gregorian"])
def test_dates_of_cftime_that_numpy_has_too_are_dates(name: str) -> None:
    data = fields(calendar(name, "D", start="1900-02-25"))
    assert from_xarray(data).freq_str == "D"
    assert forecast_times(data)[0] == "1900-03-27 00:00:00"


def test_the_days_before_the_calendar_reform_are_counted() -> None:
    data = fields(calendar("standard", "D", start="1582-09-08"))
    assert isinstance(from_xarray(data).time_index, pd.RangeIndex)
    assert str(data.time.values[-1]) == "1582-10-17 00:00:00", "ten days of October are missing"
    assert forecast_times(data)[0] == "1582-10-18 00:00:00"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (middles(months("MS", 7)), "2000-07-16T12:00"),
        (middles(calendar("noleap", "MS", 8, "2000-01-01")), "2000-08-16 12:00:00"),
        (months("MS") + pd.Timedelta("14D 3h"), "2000-07-15T03:00"),
        (calendar("360_day", "MS", 6, "2000-01-01").shift(15, "D"), "2000-07-16 00:00:00"),
        (months("QS") + pd.Timedelta("14D"), "2001-07-15T00:00"),
    ],
)
def test_places_within_months_are_kept(times: Any, expected: str) -> None:
    data = fields(times)
    index = from_xarray(data).time_index
    assert (index.day == 1).all()
    assert forecast_times(data)[0] == expected


def test_numbers_stay_numbers() -> None:
    assert forecast_times(fields(np.arange(-3, 15, 3, dtype="i2"))) == ["15", "18", "21"]
    assert forecast_times(fields(np.arange(6.0))) == ["6.0", "7.0", "8.0"]


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
JITTER = dates("2010-01-01", "2010-01-01 00:04:59.999999744", "2010-01-01 00:10:00.000000512")
LATE = calendar("noleap", "h", 3) + np.array([0, 1, 0]) * timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("times", "freq", "length"),
    [
        (GAPS, "MS", 5),
        (GAPS, pd.offsets.MonthBegin(), 5),
        (GAPS + pd.Timedelta("14D"), "MS", 5),
        (middles(calendar("noleap", "MS", 8))[[0, 1, 4, 6]], "MS", 7),
        (calendar("noleap", "D")[[0, 1, 4, 9]], "D", 10),
        (calendar("noleap", "h")[[0, 1, 3]], timedelta(hours=1), 4),
        (calendar("noleap", "h")[[0, 1, 3]], np.timedelta64(60, "m"), 4),
        (calendar("noleap", "D")[[0, 1, 3]], pd.offsets.Day(), 4),
        (dates("2000-01-01 00:00", "2000-01-01 03:00"), np.timedelta64(90, "m"), 3),
        (calendar("standard", "6h")[[0, 3]], "6h", 4),
        (dates("2000-01-01 00:00", "2000-01-01 03:00"), pd.Timedelta("90min"), 3),
        (np.array([2, 4, 8]), 2, 4),
        (dates("2000-01-05"), "D", 1),
    ],
)
def test_missing_frames_become_nan_where_a_step_is_given(
    times: Any, freq: Any, length: int
) -> None:
    data = fields(times)
    series = from_xarray(data, freq=freq)
    assert len(series) == length
    back = to_xarray(series)
    xr.testing.assert_identical(back.sel(time=data.time), data)
    assert back.isnull().all(["y", "x"]).sum() == length - len(times)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (GAPS, r"2000-04-01 00:00:00 follows 2000-02-01 .*, at position 2; pass freq='MS' to"),
        (GAPS + pd.Timedelta("3D"), r"2000-04-04 .* pass freq='MS' .* `data.resample\(time='MS'\)"),
        (
            dates("2000-01-01", "2000-01-02", "2000-01-04", "2000-01-05"),
            r"2000-01-04 00:00:00 follows 2000-01-02 .*at position 2; pass freq='D' to insert",
        ),
        (
            dates("2000-01-01 00:00", "2000-01-01 01:00", "2000-01-01 03:00", "2000-01-01 04:00"),
            "at position 2; pass freq='1?h' to insert frames of NaN",
        ),
        (
            dates("2000-01-01 00:00", "2000-01-01 01:00", "2000-01-01 02:07"),
            r"02:07:00 follows .*, at position 2; bring the frames .*resample\(time='1?h'\)",
        ),
        (calendar("noleap", "D")[[0, 1, 2, 4]], "2000-02-05 .*, at position 3; pass freq='D'"),
        (calendar("noleap", "MS")[[0, 1, 2, 4]], "2000-06-01 .*, at position 3; pass freq='MS'"),
        (
            dates("2000-01-16", "2000-02-15", "2000-03-16", "2000-04-15", "2000-05-17"),
            r"2000-05-17 .*, at position 4; bring .*`data.resample\(time='MS'\).mean\(\)`",
        ),
        (np.array([0, 2, 5]), "5 follows 2, at position 2; pass freq=1 to insert frames of NaN"),
        (np.array([0, 1, 3]), "3 follows 1, at position 2; pass freq=1 to insert frames of NaN"),
        (dates("2000-01-01", "2000-01-02"), "`freq` cannot be read from 2 times .*pass it"),
        (calendar("noleap", "D", 2), "`freq` cannot be read from 2 times .*pass it"),
        (dates("2000-01-01", "2000-01-02", "2000-01-02"), "2000-01-02 .* is there twice, at posi"),
        (
            dates("2000-01-01", "2000-01-03", "2000-01-02"),
            r"2000-01-02 00:00:00 follows 2000-01-03 .*, at position 2; use `data.sortby\('time'\)",
        ),
        (calendar("noleap", "D")[[0, 2, 1]], r"2000-02-02 .* follows 2000-02-03 .*sortby"),
        (dates("2000-01-01", "NaT"), r"no time for 1 of 2 frames, first at position 1; leave"),
    ],
)
def test_irregular_times_are_refused_with_where_and_what_to_do(times: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_xarray(fields(times))


def test_the_remedies_in_the_messages_work() -> None:
    data = fields(dates("2000-01-03", "2000-01-20", "2000-02-07", "2000-04-02"))
    assert len(from_xarray(data.resample(time="MS").mean())) == 4
    twice = fields(dates("2000-01-02", "2000-01-01", "2000-01-02", "2000-01-03"))
    assert len(from_xarray(twice.sortby("time").drop_duplicates("time"))) == 3
    zoned = fields(pd.date_range("2000-01-01", periods=3, tz="Europe/Berlin"))
    with pytest.raises(TypeError, match=r"'time' in the time zone Europe/Berlin, .*tz_localize"):
        from_xarray(zoned)
    clock = zoned.indexes["time"].tz_localize(None)
    named = zoned.assign_coords(time=("time", clock, {"time_zone": "Europe/Berlin"}))
    assert to_xarray(from_xarray(named)).time.attrs == {"time_zone": "Europe/Berlin"}
    unknown = fields(dates("2000-01-01", "NaT", "2000-01-02", "2000-01-03"))
    assert len(from_xarray(unknown.isel(time=unknown["time"].notnull()))) == 3


@pytest.mark.parametrize(("times", "unit"), [(HADISST, "h"), (JITTER, "min"), (LATE, "h")])
@pytest.mark.parametrize("freq", [None, "D"])
def test_rounding_errors_are_told_from_gaps(times: Any, unit: str, freq: Any) -> None:
    data = fields(times)
    with pytest.raises(ValueError, match=rf"rounding errors.*`.*dt.round\('{unit}'\)\)`$"):
        from_xarray(data, freq=freq)
    assert len(from_xarray(data.assign_coords(time=data["time"].dt.round(unit)))) == 3


@pytest.mark.parametrize(
    ("times", "freq", "error", "message"),
    [
        (GAPS, "D2", ValueError, "`freq='D2'` is no pandas offset"),
        (GAPS, "-1D", ValueError, "`freq='-1D'` must be positive"),
        (GAPS, 3, TypeError, "`freq` must be a pandas offset, because `data` has dates, got 3"),
        (GAPS, "2MS", ValueError, "times at steps of `freq='2MS'` from 2000-01-01 .* on, but some"),
        (GAPS, "W", ValueError, r"steps of `freq='W'`.*`data.resample\(time='W'\).mean\(\)`"),
        (calendar("noleap", "D"), "MS", ValueError, "times at steps of `freq='MS'`"),
        (calendar("noleap", "D"), "W", ValueError, "`freq='W'` is no step of the calendar"),
        (calendar("noleap", "D"), "2D", ValueError, "times at steps of `freq='2D'`"),
        (np.arange(3), "D", TypeError, "`freq` must be an integer, because `data` has times with"),
        (np.arange(3), 0, ValueError, "`freq=0` must be at least 1"),
        (np.arange(3), 2, ValueError, "times at steps of `freq=2` from 0 on, but some lie between"),
    ],
)
def test_wrong_steps_are_refused(
    times: Any, freq: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        from_xarray(fields(times), freq=freq)


@pytest.mark.parametrize(
    "times", [np.arange(4) / 2, pd.to_timedelta(np.arange(4), unit="h"), np.array(list("abcd"))]
)
def test_what_is_no_time_is_refused(times: Any) -> None:
    with pytest.raises(TypeError, match="expected dates or whole numbers"):
        from_xarray(fields(times), time="time")
