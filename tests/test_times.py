"""The times of frames: regular indices, and time zones that come back."""

from datetime import timedelta, timezone

import numpy as np
import pandas as pd
import pytest
from dateutil import tz

from darts_mim import Grid, frames_to_series, series_to_times

DAYS = pd.date_range("2016-01-01", periods=6, freq="D")
HOURS = pd.date_range("2016-01-01", periods=5, freq="h")


def series_at(length=5, **arguments):
    return frames_to_series(np.zeros((length, 2, 3, 4), np.float32), **arguments)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, pd.RangeIndex(5)),
        ({"start": np.int64(3), "freq": 2}, pd.RangeIndex(3, 13, 2)),
        ({"freq": "30min"}, pd.date_range("2000-01-01", periods=5, freq="30min")),
        ({"freq": np.timedelta64(1, "D")}, pd.date_range("2000-01-01", periods=5)),
        (
            {"start": pd.Timestamp("2016-01-01"), "freq": "MS"},
            pd.date_range("2016-01-01", periods=5, freq="MS"),
        ),
        ({"start": np.datetime64("2016-01-01"), "freq": pd.Timedelta(hours=1)}, HOURS),
        ({"times": pd.RangeIndex(2, 12, 2)}, pd.RangeIndex(2, 12, 2)),
        ({"times": [2, 4, 6, 8, 10], "freq": 2}, pd.RangeIndex(2, 12, 2)),
        ({"times": np.arange(5, dtype=np.uint8)}, pd.RangeIndex(5)),
        ({"times": HOURS.to_numpy()}, HOURS),
        ({"times": HOURS.to_list()}, HOURS),
        ({"times": [7], "length": 1}, pd.RangeIndex(7, 8)),
        ({"times": DAYS[:1], "freq": "D", "length": 1}, DAYS[:1]),
    ],
)
def test_the_time_index_is_the_one_described(arguments, expected):
    series = series_at(**arguments)
    assert type(series.time_index) is type(expected)
    assert series.time_index.equals(expected)
    assert series.freq == (expected.freq if series.has_datetime_index else expected.step)


def test_the_times_of_the_caller_stay_as_they_are():
    times = pd.DatetimeIndex(["2016-01-01", "2016-01-02", "2016-01-03"], name="day")
    series = series_at(3, times=times)
    assert times.freq is None
    assert (series.freq_str, series.time_dim) == ("D", "day")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"times": DAYS[:5], "start": 0}, ValueError, "`times` and `start` are both given"),
        ({"times": DAYS}, ValueError, "`times` must .* for each of the 5 frames, got 6"),
        ({"times": DAYS.astype(str)[:5]}, TypeError, "`times` must .*to_datetime"),
        ({"times": np.arange(5.0)}, TypeError, "`times` must be a list of dates or integers"),
        ({"times": DAYS[:5].where(np.arange(5) != 3)}, ValueError, "got 1 NaT, for frame 3"),
        ({"times": DAYS.delete(2)}, ValueError, "`times` must .* 1 days 00:00:00, 2 days"),
        ({"times": DAYS.delete(2), "freq": "D"}, ValueError, "`times` must .*`freq='D'`"),
        ({"times": DAYS[[0, 1, 1, 2, 3]]}, ValueError, "`times` must .* duplicates"),
        ({"times": DAYS[4::-1]}, ValueError, "`times` must increase .* -1 days"),
        ({"times": [0, 1, 2, 3, 5]}, ValueError, "`times` must increase.* 1, 2;"),
        ({"times": [0, 1, 2, 3, 4], "freq": 2}, ValueError, "`times` must .* `freq=2`"),
        ({"start": 0, "freq": "D"}, TypeError, "`freq` must be an integer"),
        ({"freq": 0}, ValueError, "`freq` must be at least 1"),
        ({"start": 1.5, "freq": "D"}, TypeError, "`start=1.5` is neither"),
        ({"start": "soon", "freq": "D"}, ValueError, "soon"),
        ({"start": "2016-01-01"}, ValueError, "`freq` must be .* offset.* got None"),
        ({"start": "2016-01-01", "freq": "-1D"}, ValueError, "`freq` must .* must be positive"),
        ({"start": "2016-01-01", "freq": "often"}, ValueError, "often"),
        ({"start": "2016-01-05", "freq": "MS"}, ValueError, "does not lie on .*2016-02-01"),
        ({"times": DAYS[:2].to_numpy(), "length": 2}, ValueError, "fewer than three dates"),
        ({"times": DAYS[1:2], "freq": "MS", "length": 1}, ValueError, "got steps of one date"),
    ],
)
def test_times_that_do_not_describe_the_frames_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        series_at(**arguments)


# --- time zones ---------------------------------------------------------------------------------


def test_times_in_a_time_zone_keep_their_wall_clock_and_say_so(caplog):
    times = HOURS.tz_localize("America/New_York")
    series = series_at(times=times)
    assert series.start_time() == pd.Timestamp("2016-01-01")
    assert "time zone America/New_York" in caplog.text
    assert series_to_times(series).equals(times)


@pytest.mark.parametrize(
    "start", ["2016-01-01 00:00+05:30", pd.Timestamp("2016-01-01", tz="Asia/Kolkata"), "2016-01-01"]
)
def test_slices_and_what_follows_a_series_have_its_time_zone(start):
    series = series_at(start=start, freq="h")
    expected = pd.date_range(start, periods=8, freq="h")
    assert series_to_times(series[2:]).equals(expected[2:5])
    following = series.append_values(series.values()[:3])
    assert series_to_times(following).equals(expected)


def test_wall_clock_times_that_a_change_of_clocks_skips_are_refused():
    series = series_at(start=pd.Timestamp("2026-03-28", tz="Europe/Berlin"), freq="h")
    following = series.append_values(np.zeros((24, 24)))
    with pytest.raises(ValueError, match=r"Europe/Berlin, whose clocks change.* in UTC"):
        series_to_times(following)


@pytest.mark.parametrize(
    "zone",
    [
        timezone(timedelta(hours=1), "CET"),  # in July the zone of this name is two hours ahead
        timezone(timedelta(hours=-9, minutes=-30)),
        tz.tzutc(),
    ],
)
def test_offsets_are_remembered_as_such_whatever_they_are_called(zone):
    times = pd.date_range("2016-07-01", periods=5, freq="h", tz=zone)
    back = series_to_times(series_at(times=times))
    assert (back == times).all()
    assert back[0].utcoffset() == times[0].utcoffset()


def test_a_zone_without_a_name_is_refused():
    times = HOURS.tz_localize(tz.gettz("Europe/Berlin"))
    with pytest.raises(ValueError, match=r"has no name; convert .*tz_convert"):
        series_at(times=times)


def test_attributes_travel_with_a_series_beside_the_time_zone():
    attributes = {"channel_0": {"units": "mm/h"}, "time": {"long_name": "hour"}}
    series = series_at(start=pd.Timestamp("2016", tz="UTC"), freq="h", attributes=attributes)
    grid = Grid.from_series(series[1:3] * 2)
    assert grid.label("channel_0") == "channel_0 [mm/h]"
    assert dict(grid.attributes_of("time")) == {"long_name": "hour", "time_zone": "UTC"}
