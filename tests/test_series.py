"""Frames to series and back: exact inverses, shared memory, and a grid that travels along."""

import pickle
from copy import copy, deepcopy
from datetime import timedelta, timezone
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler
from dateutil import tz

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.series import frames_to_series, series_to_frames, series_to_times

SIZES = {"B": 2, "T": 5, "C": 3, "H": 4, "W": 6, "S": 7}
LAT, LON = [10.0, 12.5, 15.0, 17.5], np.arange(6) / 10
MASK = np.arange(24).reshape(4, 6) % 5 != 0


def random_frames(layout="TCHW", dtype=np.float32):
    shape = [SIZES[letter] for letter in layout]
    return np.random.default_rng(0).random(shape).astype(dtype)


def travelling_series():
    return frames_to_series(
        random_frames(),
        channel_names=["r", "g", "b"],
        start="2016-01-01",
        freq="30min",
        coordinates={"lat": LAT, "lon": LON},
        mask=MASK,
        metadata={"city": "New York"},
    )


GRID = Grid(3, 4, 6, ["r", "g", "b"], {"lat": LAT, "lon": LON}, MASK)

LAYOUTS = ["TCHW", "THWC", "THW", "WHT", "BTCHW", "BTHWC", "TBHW", "TCHWS", "STCHW", "BSTHWC"]
LAYOUTS += ["SWCTHB", *map("".join, permutations("TCHW"))]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_come_back_exactly_in_every_layout(layout):
    frames = random_frames(layout)
    series = frames_to_series(frames, layout=layout)
    assert isinstance(series, list) == ("B" in layout)
    back = series_to_frames(series, layout=layout)
    assert back.dtype == frames.dtype
    np.testing.assert_array_equal(back, frames)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_puts_each_value_under_its_name_and_time(layout):
    frames = random_frames(layout)
    series = frames_to_series(frames, layout=layout)
    for index in np.ndindex(*frames.shape):
        at = {**dict.fromkeys("BTCHWS", 0), **dict(zip(layout, index, strict=True))}
        clip = series[at["B"]] if "B" in layout else series
        name = "channel_{C}_{H}_{W}".format(**at)
        column = clip.components.get_loc(name)
        assert clip.all_values(copy=False)[at["T"], column, at["S"]] == frames[index]


def test_series_come_back_exactly_from_their_frames():
    series = travelling_series()
    back = frames_to_series(
        series_to_frames(series, layout="WTHC"),
        layout="WTHC",
        channel_names=GRID.channel_names,
        times=series.time_index,
        coordinates=GRID.coordinates,
        mask=GRID.mask,
        metadata={"city": "New York"},
    )
    assert back == series


def test_shapes_of_series_are_time_components_samples():
    assert frames_to_series(random_frames("THWCS"), layout="THWCS").shape == (5, 72, 7)
    assert [clip.shape for clip in frames_to_series(random_frames("BTHW"), layout="BTHW")] == [
        (5, 24, 1),
        (5, 24, 1),
    ]


def test_stochastic_series_keep_their_samples_in_any_layout():
    frames = random_frames("TCHWS")
    series = frames_to_series(frames, layout="TCHWS")
    np.testing.assert_array_equal(series_to_frames(series), frames)
    back = series_to_frames(series, layout="THWC")
    np.testing.assert_array_equal(back, frames.transpose(0, 2, 3, 1, 4))
    assert series_to_frames([series, series], layout="TSCHW").shape == (2, 5, 7, 3, 4, 6)


def test_a_deterministic_series_has_one_sample_where_the_layout_asks():
    series = frames_to_series(random_frames())
    assert series_to_frames(series, layout="TCHWS").shape == (5, 3, 4, 6, 1)
    assert series_to_frames(series, layout="BTCHW").shape == (1, 5, 3, 4, 6)


def test_a_sequence_becomes_a_batch_whatever_its_times():
    frames = random_frames("BTCHW")
    first = frames_to_series(frames[0])
    second = frames_to_series(frames[1], start="2020-01-01", freq="D")
    np.testing.assert_array_equal(series_to_frames((first, second)), frames)
    assert series_to_frames([first]).shape == (1, 5, 3, 4, 6)
    assert series_to_frames([first, second], layout="THWC").shape == (2, 5, 4, 6, 3)


def test_a_series_without_a_grid_is_one_cell_with_a_channel_per_component():
    series = TimeSeries.from_values(np.random.default_rng(0).random((5, 3)))
    frames = series_to_frames(series)
    assert frames.shape == (5, 3, 1, 1)
    np.testing.assert_array_equal(frames[:, :, 0, 0], series.values())


@pytest.mark.parametrize("layout", ["TCHW", "THW", "BTCHW", "TBCHW", "TCHWS", "STCHW", "BTHW"])
def test_values_share_memory_where_the_layout_permits(layout):
    frames = random_frames(layout)
    series = frames_to_series(frames, layout=layout)
    clips = series if "B" in layout else [series]
    assert all(np.shares_memory(clip.all_values(copy=False), frames) for clip in clips)
    assert np.shares_memory(series_to_frames(clips[0]), frames)


def test_a_copy_is_contiguous_however_the_frames_lie():
    for frames in (random_frames("THWC"), random_frames("THWC", np.uint8)):
        values = frames_to_series(frames, layout="THWC").all_values(copy=False)
        assert values.flags.c_contiguous
        assert not np.shares_memory(values, frames)


@pytest.fixture
def mapped(tmp_path):
    frames = np.memmap(tmp_path / "frames", np.float32, "w+", shape=(5, 3, 4, 6))
    frames[:] = random_frames()
    frames.flush()
    return np.memmap(tmp_path / "frames", np.float32, "r", shape=(5, 3, 4, 6))


def test_a_memory_map_stays_one_there_and_back(mapped):
    series = frames_to_series(mapped, start="2020-01-01", freq="h")
    for values in (series.all_values(copy=False), series_to_frames(series)):
        assert isinstance(values, np.memmap)
        assert np.shares_memory(values, mapped)
    np.testing.assert_array_equal(series_to_frames(series), mapped)


def test_frames_sliced_out_of_a_memory_map_stay_on_disk(mapped):
    train, test = frames_to_series(mapped[:3]), frames_to_series(mapped[3:], start=3)
    for part in (train, test):
        assert isinstance(part.all_values(copy=False), np.memmap)
        assert np.shares_memory(part.all_values(copy=False), mapped)
    assert len(train.append(test)) == 5


def test_clips_of_a_memory_map_stay_on_disk(mapped):
    for clip in frames_to_series(mapped, layout="BTHW"):
        assert np.shares_memory(clip.all_values(copy=False), mapped)


def test_a_slice_of_a_series_on_disk_has_its_values_and_grid(mapped):
    part = frames_to_series(mapped)[1:4]
    np.testing.assert_array_equal(series_to_frames(part), mapped[1:4])


@pytest.mark.parametrize("arguments", [{"dtype": np.float64}, {"layout": "THWC"}])
def test_the_copy_of_a_memory_map_is_a_plain_array(mapped, arguments):
    values = frames_to_series(mapped, **arguments).all_values(copy=False)
    assert type(values) is np.ndarray


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        (np.float64, np.float32, np.float32),
        (np.float32, np.float64, np.float64),
        (np.float64, None, np.float64),
        (np.dtype(">f4"), None, np.float32),
        (np.uint8, np.float32, np.float32),
        (np.uint16, None, np.float32),
        (np.int64, "float64", np.float64),
        (bool, np.float32, np.float32),
    ],
)
def test_values_have_the_dtype_asked_for(given, dtype, expected):
    frames = (random_frames() * 100).astype(given)
    series = frames_to_series(frames, dtype=dtype)
    assert series.dtype == expected
    np.testing.assert_array_equal(series_to_frames(series), frames.astype(expected))


def test_lists_and_tensors_are_frames_too():
    frames = random_frames()
    for other in (frames.tolist(), torch.from_numpy(frames)):
        np.testing.assert_array_equal(series_to_frames(frames_to_series(other)), frames)


def test_missing_values_stay_missing():
    frames = random_frames()
    frames[:, :, ~MASK] = np.nan
    series = frames_to_series(frames, mask=MASK)
    np.testing.assert_array_equal(series_to_frames(series), frames)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, pd.RangeIndex(5)),
        ({"freq": 2}, pd.RangeIndex(0, 10, 2)),
        ({"start": 3}, pd.RangeIndex(3, 8)),
        ({"start": np.int64(3), "freq": 2}, pd.RangeIndex(3, 13, 2)),
        ({"freq": "30min"}, pd.date_range("2000-01-01", periods=5, freq="30min")),
        (
            {"start": pd.Timestamp("2016-01-01"), "freq": "MS"},
            pd.date_range("2016-01-01", periods=5, freq="MS"),
        ),
        (
            {"start": np.datetime64("2016-01-01"), "freq": pd.Timedelta(minutes=30)},
            pd.date_range("2016-01-01", periods=5, freq="30min"),
        ),
        ({"times": pd.RangeIndex(2, 12, 2)}, pd.RangeIndex(2, 12, 2)),
        ({"times": [2, 4, 6, 8, 10], "freq": 2}, pd.RangeIndex(2, 12, 2)),
        ({"times": np.arange(5, dtype=np.uint8)}, pd.RangeIndex(5)),
        (
            {"times": pd.date_range("2016-01-31", periods=5, freq="ME")},
            pd.date_range("2016-01-31", periods=5, freq="ME"),
        ),
        (
            {"times": pd.date_range("2016-01-01", periods=5, freq="h").to_numpy()},
            pd.date_range("2016-01-01", periods=5, freq="h"),
        ),
    ],
)
def test_the_time_index_is_the_one_described(arguments, expected):
    series = frames_to_series(random_frames(), **arguments)
    assert type(series.time_index) is type(expected)
    assert series.time_index.equals(expected)
    assert series.freq == (expected.freq if series.has_datetime_index else expected.step)
    np.testing.assert_array_equal(series_to_frames(series), random_frames())


@pytest.mark.parametrize(
    ("arguments", "end"),
    [
        ({}, 0),
        ({"start": 4, "freq": 3}, 4),
        ({"times": [7]}, 7),
        ({"start": "2016-01-01", "freq": "D"}, pd.Timestamp("2016-01-01")),
        ({"times": pd.DatetimeIndex(["2016-01-01"]), "freq": "D"}, pd.Timestamp("2016-01-01")),
    ],
)
def test_a_single_frame_is_a_series(arguments, end):
    series = frames_to_series(random_frames()[:1], **arguments)
    assert series.end_time() == end
    assert series_to_frames(series).shape == (1, 3, 4, 6)


def test_the_times_of_the_caller_stay_as_they_are():
    times = pd.DatetimeIndex(["2016-01-01", "2016-01-02", "2016-01-03"], name="day")
    series = frames_to_series(random_frames()[:3], times=times)
    assert times.freq is None
    assert series.freq_str == "D"
    assert series.time_dim == "day"


def test_times_in_a_time_zone_keep_their_wall_clock_and_say_so(caplog):
    times = pd.date_range("2016-01-01", periods=5, freq="h", tz="America/New_York")
    series = frames_to_series(random_frames(), times=times)
    assert series.start_time() == pd.Timestamp("2016-01-01")
    assert "time zone America/New_York" in caplog.text
    assert series_to_times(series).equals(times)


@pytest.mark.parametrize(
    "start", ["2016-01-01 00:00+05:30", pd.Timestamp("2016-01-01", tz="Asia/Kolkata"), "2016-01-01"]
)
def test_slices_and_what_follows_a_series_have_its_time_zone(start):
    series = frames_to_series(random_frames(), start=start, freq="h")
    expected = pd.date_range(start, periods=8, freq="h")
    assert series_to_times(series[2:]).equals(expected[2:5])
    following = series.append_values(series.values()[:3])
    assert series_to_times(following).equals(expected)


def test_wall_clock_times_that_a_change_of_clocks_skips_are_refused():
    start = pd.Timestamp("2026-03-28", tz="Europe/Berlin")
    series = frames_to_series(random_frames(), start=start, freq="h")
    following = series.append_values(np.zeros((24, 72)))
    with pytest.raises(ValueError, match=r"Europe/Berlin, whose clocks change.* in UTC"):
        series_to_times(following)


def test_times_without_a_zone_and_integers_are_given_back_as_they_are():
    assert series_to_times(frames_to_series(random_frames())).equals(pd.RangeIndex(5))
    assert series_to_times(frames_to_series(random_frames(), start=3, freq=2))[1] == 5


@pytest.mark.parametrize(
    "zone",
    [
        timezone(timedelta(hours=1), "CET"),  # in July the zone of this name is two hours ahead
        timezone(timedelta(hours=-9, minutes=-30)),
        tz.tzoffset("home", 3600),
        tz.tzutc(),
    ],
)
def test_offsets_are_remembered_as_such_whatever_they_are_called(zone):
    times = pd.date_range("2016-07-01", periods=5, freq="h", tz=zone)
    back = series_to_times(frames_to_series(random_frames(), times=times))
    assert (back == times).all()
    assert back[0].utcoffset() == times[0].utcoffset()


@pytest.mark.parametrize(
    "zone", [tz.gettz("Europe/Berlin"), timezone(timedelta(hours=1, seconds=1))]
)
def test_zones_that_no_name_gives_back_are_refused(zone):
    times = pd.date_range("2016-07-01", periods=5, freq="h", tz=zone)
    with pytest.raises(ValueError, match=r"has no name that gives it back; convert .*tz_convert"):
        frames_to_series(random_frames(), times=times)


@pytest.mark.parametrize("zone", ["Europe/Atlantis", 5])
def test_zones_that_do_not_exist_are_refused_by_name(zone):
    attributes = {"time": {"time_zone": zone}}
    series = frames_to_series(random_frames(), start="2016", freq="h", attributes=attributes)
    with pytest.raises(ValueError, match=f"must name a time zone, got {zone!r}"):
        series_to_times(series)


@pytest.mark.parametrize("attributes", ["mm/h", {"time": "hour"}])
def test_attributes_of_times_in_a_zone_are_checked(attributes):
    with pytest.raises(TypeError, match=r"`attributes.* must"):
        frames_to_series(
            random_frames(), start="2016-01-01 00:00Z", freq="h", attributes=attributes
        )


def test_a_step_of_numpy_is_a_step():
    for arguments in ({"start": "2000-01-01"}, {}, {"times": pd.date_range("2000", periods=5)}):
        series = frames_to_series(random_frames(), freq=np.timedelta64(1, "D"), **arguments)
        assert series.end_time() == pd.Timestamp("2000-01-05")


def test_attributes_travel_with_a_series_beside_the_time_zone():
    series = frames_to_series(
        random_frames(),
        start=pd.Timestamp("2016-01-01", tz="UTC"),
        freq="h",
        attributes={"channel_0": {"units": "mm/h"}, "time": {"long_name": "hour"}},
    )
    grid = Grid.from_series(series[1:3] * 2)
    assert grid.label("channel_0") == "channel_0 [mm/h]"
    assert dict(grid.attributes_of("time")) == {"long_name": "hour", "time_zone": "UTC"}


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[1:4],
        lambda s: s.drop_before(1),
        lambda s: s.slice(s.start_time(), s.end_time()),
        lambda s: s.split_after(2)[1],
        lambda s: s * 2 + 1,
        lambda s: s - s,
        lambda s: s.map(np.sqrt),
        lambda s: s.astype(np.float64),
        lambda s: s.shift(2),
        lambda s: s.append(s.shift(len(s))),
        lambda s: concatenate([s, s], axis="sample"),
        lambda s: Scaler().fit_transform(s),
        lambda s: Scaler(global_fit=True).fit_transform([s, s])[1],
        lambda s: TimeSeries.from_json(s.to_json()),
        lambda s: pickle.loads(pickle.dumps(s)),
        lambda s: s.copy(),
        copy,
        deepcopy,
    ],
)
def test_the_grid_travels_with_its_series(change):
    series = change(travelling_series())
    grid = Grid.from_series(series)
    assert grid == GRID
    np.testing.assert_array_equal(grid.mask, MASK)
    np.testing.assert_array_equal(grid.coordinates["lat"], LAT)
    assert series.metadata["city"] == "New York"
    assert series_to_frames(series).shape[1:4] == (3, 4, 6)


def test_json_keeps_the_series_exactly():
    series = travelling_series()
    back = TimeSeries.from_json(series.to_json())
    assert back == series
    np.testing.assert_array_equal(series_to_frames(back), random_frames())


def test_clips_do_not_share_their_metadata():
    first, second = frames_to_series(random_frames("BTHW"), layout="BTHW", metadata={"a": 1})
    first.metadata["a"] = 2
    assert second.metadata["a"] == 1


@pytest.mark.parametrize(
    ("layout", "error", "message"),
    [
        ("TCHX", ValueError, "unknown letters: 'X'; expected T, H, W"),
        ("tchw", ValueError, "unknown letters: 'c', 'h', 't', 'w'"),
        ("TTHW", ValueError, "repeated letters: 'T'"),
        ("TCH", ValueError, "missing letters: 'W'"),
        ("", ValueError, "missing letters: 'T', 'H', 'W'"),
        (None, TypeError, "must be a string, got None of type NoneType"),
    ],
)
def test_layouts_that_are_none_are_refused_both_ways(layout, error, message):
    with pytest.raises(error, match=f"`layout.*{message}"):
        frames_to_series(random_frames(), layout=layout)
    with pytest.raises(error, match=f"`layout.*{message}"):
        series_to_frames(travelling_series(), layout=layout)


@pytest.mark.parametrize("layout", ["THW", "BTCHW"])
def test_a_layout_describes_every_axis(layout):
    with pytest.raises(ValueError, match=f"`layout='{layout}'` describes .* have 4; pass a letter"):
        frames_to_series(random_frames(), layout=layout)


@pytest.mark.parametrize(
    ("frames", "error", "message"),
    [
        (np.ma.masked_invalid(random_frames()), TypeError, r"got a masked array.*filled\(np.nan\)"),
        (random_frames() * 1j, TypeError, "must be real numbers, got dtype complex"),
        (random_frames().astype(object), TypeError, "must be real numbers, got dtype object"),
        (np.full((5, 3, 4, 6), "a"), TypeError, "must be real numbers, got dtype <U1"),
        (np.zeros((0, 3, 4, 6)), ValueError, r"must not be empty, got shape \(0, 3, 4, 6\)"),
        (np.zeros((5, 3, 0, 6)), ValueError, "must not be empty"),
    ],
)
def test_frames_that_are_no_real_numbers_or_empty_are_refused(frames, error, message):
    with pytest.raises(error, match=f"`frames` must .*{message}|`frames` .*{message}"):
        frames_to_series(frames)


@pytest.mark.parametrize(
    ("value", "given", "dtype", "message"),
    [
        (
            2**24 + 1,
            np.int32,
            np.float32,
            "16777217, but float32 is exact only up to 16777216; pass",
        ),
        (-(2**24) - 1, np.int64, None, "-16777217, but float32 .* pass dtype=np.float64"),
        (2**53 + 1, np.int64, np.float64, "but float64 is exact only up to .*; scale the frames"),
        (2**64 - 1, np.uint64, np.float32, "but float32 .*; scale the frames"),
        (-(2**63), np.int64, np.float64, "-9223372036854775808, but float64"),
        (2**11 + 1, np.int16, np.float16, "2049, but float16 .* pass dtype=np.float64"),
    ],
)
def test_integers_beyond_the_exact_range_are_refused(value, given, dtype, message):
    frames = np.zeros((5, 3, 4, 6), given)
    frames[2, 1, 0, 3] = value
    with pytest.raises(ValueError, match=f"`frames` hold the integer {message}|{message}"):
        frames_to_series(frames, dtype=dtype)


def test_integers_at_the_end_of_the_exact_range_are_kept():
    frames = np.full((5, 3, 4, 6), 2**24, np.int64)
    np.testing.assert_array_equal(series_to_frames(frames_to_series(frames)), frames)
    frames += 1
    np.testing.assert_array_equal(
        series_to_frames(frames_to_series(frames, dtype=np.float64)), frames
    )


@pytest.mark.parametrize("dtype", [np.int32, bool, complex])
def test_a_series_holds_floats(dtype):
    with pytest.raises(TypeError, match=r"`dtype` must be floating.*pass np.float32 or np.float64"):
        frames_to_series(random_frames(), dtype=dtype)


DAYS = pd.date_range("2016-01-01", periods=6, freq="D")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"times": DAYS[:5], "start": 0}, ValueError, "`times` and `start` are both given"),
        (
            {"times": DAYS},
            ValueError,
            "`times` must have one entry for each of the 5 frames, got 6",
        ),
        (
            {"times": DAYS.astype(str)[:5]},
            TypeError,
            "`times` must be dates or integers.*to_datetime",
        ),
        ({"times": np.arange(5.0)}, TypeError, "`times` must be dates or integers"),
        ({"times": 5}, TypeError, "`times` must be a list of dates or integers, got 5"),
        (
            {"times": DAYS[:5].where(np.arange(5) != 3), "freq": "D"},
            ValueError,
            "got 1 NaT, for frame 3",
        ),
        (
            {"times": DAYS.delete(2)},
            ValueError,
            "got steps between 1 days .* and 2 days .*without gaps",
        ),
        ({"times": DAYS.delete(2), "freq": "D"}, ValueError, "constant steps of `freq='D'`, got"),
        ({"times": DAYS[:5], "freq": "h"}, ValueError, "constant steps of `freq='h'`, got steps"),
        ({"times": DAYS[[0, 1, 1, 2, 3]]}, ValueError, "got steps between 0 days .* drop doubles"),
        (
            {"times": DAYS[[0, 2, 1, 3, 4]]},
            ValueError,
            "got steps between -1 days .*sort the frames",
        ),
        ({"times": DAYS[4::-1]}, ValueError, "`times` must increase in constant steps"),
        ({"times": [4, 3, 2, 1, 0]}, ValueError, "`times` must increase.* between -1 and -1"),
        ({"times": [0, 1, 2, 3, 5]}, ValueError, "`times` must increase.* between 1 and 2"),
        ({"times": [0, 1, 2, 3, 4], "freq": 2}, ValueError, "constant steps of `freq=2`"),
        ({"times": [0, 1, 2, 3, 4], "freq": "D"}, TypeError, "`freq` must be an integer"),
        ({"times": DAYS[:5], "freq": 1}, TypeError, "`freq` must be a pandas offset.* got 1"),
        ({"start": 0, "freq": "D"}, TypeError, "`freq` must be an integer for an integer index"),
        ({"start": 0, "freq": 0}, ValueError, "`freq=0` must be at least 1"),
        ({"freq": -2}, ValueError, "`freq=-2` must be at least 1"),
        ({"start": True}, ValueError, "`start=True` is neither an integer nor a date"),
        ({"start": 1.5, "freq": "D"}, ValueError, "`start=1.5` is neither an integer nor a date"),
        ({"start": "soon", "freq": "D"}, ValueError, "`start='soon'` is neither an integer nor"),
        (
            {"start": pd.NaT, "freq": "D"},
            ValueError,
            "`start=NaT` is neither an integer nor a date",
        ),
        ({"start": "2016-01-01"}, TypeError, "`freq` must be a pandas offset.* got None"),
        ({"start": "2016-01-01", "freq": 1}, TypeError, "`freq` must be a pandas offset.* got 1"),
        ({"start": "2016-01-01", "freq": "-1D"}, ValueError, "`freq='-1D'` must be positive"),
        (
            {"start": "2016-01-01", "freq": "often"},
            ValueError,
            "`freq='often'` is no pandas offset",
        ),
        (
            {"start": "2016-01-05", "freq": "MS"},
            ValueError,
            "does not lie on `freq='MS'`.*2016-02-01",
        ),
    ],
)
def test_times_that_do_not_describe_the_frames_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        frames_to_series(random_frames(), **arguments)


def test_the_frequency_of_few_dates_has_to_be_given():
    times = DAYS[:2].to_numpy()
    with pytest.raises(ValueError, match=r"`freq` cannot be read from 2 `times`; pass it"):
        frames_to_series(random_frames()[:2], times=times)
    with pytest.raises(ValueError, match=r"one date that does not lie on `freq='MS'`"):
        frames_to_series(random_frames()[:1], times=DAYS[1:2], freq="MS")


def test_metadata_leave_the_grid_alone():
    with pytest.raises(ValueError, match=f"`metadata` must leave the key '{METADATA_KEY}'"):
        frames_to_series(random_frames(), metadata={METADATA_KEY: {}})
    with pytest.raises(TypeError, match="`metadata` must be a mapping, got list"):
        frames_to_series(random_frames(), metadata=["city"])


def test_names_coordinates_and_masks_are_those_of_the_frames():
    with pytest.raises(ValueError, match="`channel_names` must hold one name for each of 3"):
        frames_to_series(random_frames(), channel_names=["r", "g"])
    with pytest.raises(ValueError, match=r"`mask` must have the shape"):
        frames_to_series(random_frames(), mask=MASK.T)


def test_several_channels_need_an_axis():
    with pytest.raises(ValueError, match=r"`layout='THW'` has no axis for the 3 channels"):
        series_to_frames(travelling_series(), layout="THW")


def test_a_series_that_lost_components_has_no_frames():
    series = travelling_series()
    with pytest.raises(ValueError, match=r"`series` has 2 components"):
        series_to_frames(series[["r_0_0", "g_1_2"]])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda s: s[:3], "agree in length .* got 5 for series 0 and 3 for series 1"),
        (lambda s: s.with_metadata(None), "agree in grid .* for series 1; convert them one by one"),
        (
            lambda s: concatenate([s, s], axis="sample"),
            "agree in number of samples .* got 1 .* and 2",
        ),
    ],
)
def test_series_of_a_sequence_are_alike(other, message):
    series = travelling_series()
    with pytest.raises(ValueError, match=f"`series` must {message}"):
        series_to_frames([series, other(series)])


@pytest.mark.parametrize("series", [random_frames(), "series", [random_frames()], None])
def test_only_series_become_frames(series):
    with pytest.raises(TypeError, match="`series` must be a TimeSeries or a sequence of them, got"):
        series_to_frames(series)


def test_an_empty_sequence_has_no_frames():
    with pytest.raises(ValueError, match="`series` must not be an empty sequence"):
        series_to_frames([])


def test_a_month_of_real_traffic_makes_the_round_trip(shared_data):
    path = shared_data / "nyc_taxi_bike" / "NYTaxi" / "flow_test.npz"
    if not path.is_file():
        pytest.skip(f"no traffic flow at {path}")
    flow = np.load(path)["flow"]  # (1296, 16, 12, 2), trips per 30 min
    series = frames_to_series(
        flow,
        layout="THWC",
        channel_names=["inflow", "outflow"],
        start="2016-03-04",
        freq="30min",
    )
    assert series.shape == (1296, 384, 1)
    assert series.end_time() == pd.Timestamp("2016-03-30 23:30")  # 90 days from 2016-01-01
    np.testing.assert_array_equal(series_to_frames(series, layout="THWC"), flow.astype(np.float32))
    np.testing.assert_array_equal(
        series["outflow_3_11"].values()[:, 0], flow[:, 3, 11, 1].astype(np.float32)
    )
    train, test = series.split_before(1000)
    assert series_to_frames(train).shape == (1000, 2, 16, 12)
    assert Grid.from_series(test).channel_names == ("inflow", "outflow")


def test_floats_beyond_the_type_are_refused() -> None:
    frames = np.full((2, 2, 3, 4), 1e39)
    with pytest.raises(ValueError, match=r"`frames` hold values beyond 3.40282e\+38"):
        frames_to_series(frames)
    assert np.isfinite(series_to_frames(frames_to_series(frames, dtype=np.float64))).all()


def test_frames_of_foreign_byte_order_become_native() -> None:
    frames = np.arange(24.0).reshape(1, 2, 3, 4).astype(">f4")
    series = frames_to_series(frames, dtype=">f4")
    assert series.dtype == np.dtype(np.float32).newbyteorder("=")
    np.testing.assert_array_equal(series_to_frames(series), frames)


def test_frames_of_a_sequence_are_a_copy_even_of_one_series() -> None:
    series = frames_to_series(np.zeros((3, 2, 3, 4), dtype=np.float32))
    assert not np.shares_memory(series_to_frames([series]), series.all_values(copy=False))


def test_clips_of_a_batch_do_not_share_their_metadata() -> None:
    first, second = frames_to_series(np.zeros((2, 3, 2, 3, 4)), layout="BTCHW")
    first.metadata["grid"]["channels"] = 7
    assert second.metadata["grid"]["channels"] == 2


def test_static_fields_become_static_covariates_of_each_component() -> None:
    frames = np.zeros((3, 2, 3, 4), dtype=np.float32)
    elevation, share = np.arange(12.0).reshape(3, 4), np.arange(24).reshape(2, 3, 4)
    series = frames_to_series(frames, static_fields={"elevation": elevation, "share": share})
    held = series.static_covariates
    assert held.index.tolist() == series.components.tolist()
    assert held.loc["channel_1_2_3", "elevation"] == elevation[2, 3]
    assert held.loc["channel_1_0_2", "share"] == share[1, 0, 2]
    assert held.to_numpy().dtype == np.float32
    assert frames_to_series(frames).static_covariates is None


@pytest.mark.parametrize(
    ("field", "error", "message"),
    [
        (np.zeros((4, 3)), ValueError, r"must have the shape of a frame, \(2, 3, 4\), or of one"),
        (np.full((3, 4), "land"), TypeError, "must be numbers, got dtype <U4; number the classes"),
    ],
)
def test_static_fields_that_do_not_fit_are_refused(field, error, message) -> None:
    frames = np.zeros((3, 2, 3, 4), dtype=np.float32)
    with pytest.raises(error, match=rf"`static_fields\['cover'\]` {message}"):
        frames_to_series(frames, static_fields={"cover": field})
