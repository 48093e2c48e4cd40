"""Frames to series and back: exact inverses, shared memory, and a grid that travels along."""

import pickle
import warnings
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries, concatenate
from darts.dataprocessing.transformers import Scaler
from darts.utils.likelihood_models.base import likelihood_component_names

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.series import (
    frames_to_series,
    grid_of_forecast,
    parameter_names,
    rebuild_series,
    series_to_frames,
    series_to_times,
)

SIZES = {"B": 2, "T": 5, "C": 3, "H": 4, "W": 6, "S": 7}
LAT, LON = [10.0, 12.5, 15.0, 17.5], np.arange(6) / 10
MASK = np.arange(24).reshape(4, 6) % 5 != 0
GRID = Grid(3, 4, 6, ["r", "g", "b"], {"lat": LAT, "lon": LON}, MASK)


def random_frames(layout="TCHW", dtype=np.float32):
    shape = [SIZES[letter] for letter in layout]
    return np.random.default_rng(0).random(shape).astype(dtype)


def travelling_series(**options):
    given = {
        "channel_names": ["r", "g", "b"],
        "start": "2016-01-01",
        "freq": "30min",
        "coordinates": {"lat": LAT, "lon": LON},
        "mask": MASK,
        "metadata": {"city": "New York"},
    }
    return frames_to_series(random_frames(), **{**given, **options})


# --- layouts ------------------------------------------------------------------------------------

LAYOUTS = ["THW", "WHT", "BTCHW", "TBHW", "TCHWS", "BSTHWC", "SWCTHB"]
LAYOUTS += map("".join, permutations("TCHW"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_puts_each_value_under_its_name_and_time_and_gives_it_back(layout):
    frames = random_frames(layout)
    series = frames_to_series(frames, layout=layout)
    assert isinstance(series, list) == ("B" in layout)
    for index in np.ndindex(*frames.shape):
        at = {**dict.fromkeys("BTCHWS", 0), **dict(zip(layout, index, strict=True))}
        clip = series[at["B"]] if "B" in layout else series
        column = clip.components.get_loc("channel_{C}_{H}_{W}".format(**at))
        assert clip.all_values(copy=False)[at["T"], column, at["S"]] == frames[index]
    back = series_to_frames(series, layout=layout)
    assert back.dtype == frames.dtype
    np.testing.assert_array_equal(back, frames)


def test_no_sample_and_no_series_is_dropped_where_the_layout_does_not_place_them():
    frames = random_frames("TCHWS")
    series = frames_to_series(frames, layout="TCHWS")
    np.testing.assert_array_equal(series_to_frames(series), frames)
    back = series_to_frames(series, layout="THWC")
    np.testing.assert_array_equal(back, frames.transpose(0, 2, 3, 1, 4))
    assert series_to_frames([series, series], layout="TSCHW").shape == (2, 5, 7, 3, 4, 6)
    plain = frames_to_series(random_frames())
    assert series_to_frames(plain, layout="BTCHWS").shape == (1, 5, 3, 4, 6, 1)


def test_a_sequence_becomes_a_batch_whatever_its_times():
    frames = random_frames("BTCHW")
    first = frames_to_series(frames[0])
    second = frames_to_series(frames[1], start="2020-01-01", freq="D")
    np.testing.assert_array_equal(series_to_frames((first, second)), frames)
    one = series_to_frames([first])
    assert one.shape == (1, 5, 3, 4, 6)
    assert not np.shares_memory(one, first.all_values(copy=False))


def test_a_series_without_a_grid_is_one_cell_with_a_channel_per_component():
    series = TimeSeries.from_values(np.random.default_rng(0).random((5, 3)))
    np.testing.assert_array_equal(series_to_frames(series)[:, :, 0, 0], series.values())


@pytest.mark.parametrize(
    ("shape", "understood"),
    [
        ((5, 16, 12, 2), "16 channels of 12 rows x 2 columns"),  # channels last
        ((4, 30, 5, 5), "30 channels of 5 rows x 5 columns"),  # clips
    ],
)
def test_a_doubtful_shape_is_read_as_documented_with_a_warning(shape, understood):
    frames = np.zeros(shape)
    with pytest.warns(UserWarning, match=rf"`frames` .*{understood}.*layout='THWC'.*'TCHW'"):
        series = frames_to_series(frames)
    assert Grid.from_series(series).shape == shape[1:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames_to_series(frames, layout="TCHW")
        frames_to_series(frames, layout="THWC")
        frames_to_series(frames, channel_names=[f"level {i}" for i in range(shape[1])])
        for usual in ((5, 2, 16, 12), (5, 1, 3, 2), (5, 7, 1, 1), (5, 3, 4, 4)):
            frames_to_series(np.zeros(usual))


# --- memory and types ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["TCHW", "THW", "TBCHW", "TCHWS", "STCHW"])
def test_values_share_memory_where_the_layout_permits(layout):
    frames = random_frames(layout)
    series = frames_to_series(frames, layout=layout)
    clips = series if "B" in layout else [series]
    assert all(np.shares_memory(clip.all_values(copy=False), frames) for clip in clips)
    assert np.shares_memory(series_to_frames(clips[0]), frames)


@pytest.fixture
def mapped(tmp_path):
    random_frames().tofile(tmp_path / "frames")
    return np.memmap(tmp_path / "frames", np.float32, "r", shape=(5, 3, 4, 6))


def test_a_memory_map_stays_one_there_and_back(mapped):
    series = frames_to_series(mapped[1:], start="2020-01-01", freq="h")
    for values in (series.all_values(copy=False), series_to_frames(series)):
        assert isinstance(values, np.memmap)
        assert np.shares_memory(values, mapped)
    for clip in frames_to_series(mapped, layout="BTHW"):
        assert np.shares_memory(clip.all_values(copy=False), mapped)


@pytest.mark.parametrize("arguments", [{"dtype": np.float64}, {"layout": "THWC"}])
def test_the_copy_of_a_memory_map_is_a_plain_contiguous_array(mapped, arguments):
    values = frames_to_series(mapped, **arguments).all_values(copy=False)
    assert type(values) is np.ndarray
    assert values.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "dtype", "expected"),
    [
        (np.float64, np.float32, np.float32),
        (np.float16, None, np.float16),
        (np.dtype(">f4"), None, np.float32),
        (np.uint16, None, np.float32),
        (np.int64, "float64", np.float64),
        (bool, np.float32, np.float32),
    ],
)
def test_values_have_the_dtype_asked_for(given, dtype, expected):
    frames = (random_frames() * 100).astype(given)
    series = frames_to_series(frames, dtype=dtype)
    assert series.dtype == np.dtype(expected).newbyteorder("=")
    np.testing.assert_array_equal(series_to_frames(series), frames.astype(expected))


def test_lists_tensors_and_missing_values_are_frames_too():
    frames = random_frames()
    frames[:, :, ~MASK] = np.nan
    for other in (frames.tolist(), torch.from_numpy(frames)):
        np.testing.assert_array_equal(series_to_frames(frames_to_series(other)), frames)


@pytest.mark.parametrize(
    ("value", "given", "dtype"),
    [
        (-(2**24) - 1, np.int64, None),
        (2**53 + 1, np.int64, np.float64),
        (2**64 - 1, np.uint64, np.float32),
        (1e39, np.float64, np.float32),
    ],
)
def test_numbers_that_the_type_cannot_hold_are_refused(value, given, dtype):
    frames = np.zeros((5, 3, 4, 6), given)
    frames[2, 1, 0, 3] = value
    with pytest.raises(ValueError, match=r"`frames` hold .* beyond .*pass dtype=np.float64"):
        frames_to_series(frames, dtype=dtype)
    frames = np.full((5, 3, 4, 6), 2**24, np.int64)
    np.testing.assert_array_equal(series_to_frames(frames_to_series(frames)), frames)


# --- what travels with a series -----------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        lambda s: s[1:4] * 2 + 1,
        lambda s: s.append(s.shift(len(s))),
        lambda s: concatenate([s, s], axis="sample"),
        lambda s: Scaler().fit_transform(s),
        lambda s: TimeSeries.from_json(s.to_json()),
        lambda s: pickle.loads(pickle.dumps(s)),
    ],
)
def test_the_grid_travels_with_its_series(change):
    series = change(travelling_series())
    assert Grid.from_series(series) == GRID
    assert series.metadata["city"] == "New York"
    assert series_to_frames(series).shape[1:4] == (3, 4, 6)


def test_clips_do_not_share_their_metadata():
    given = {"a": 1, METADATA_KEY: "of another series"}
    first, second = frames_to_series(random_frames("BTHW"), layout="BTHW", metadata=given)
    assert Grid.from_series(first).shape == (1, 4, 6)
    first.metadata["a"] = first.metadata["grid"]["channels"] = 7
    assert second.metadata["a"] == second.metadata["grid"]["channels"] == 1


def test_static_fields_become_static_covariates_of_each_component():
    elevation, share = np.arange(24.0).reshape(4, 6), np.arange(72).reshape(3, 4, 6)
    fields = {"elevation": elevation, "share": share, "is_sea": MASK}
    held = travelling_series(static_fields=fields).static_covariates
    assert held.loc["g_2_3", "elevation"] == elevation[2, 3]
    assert held.loc["g_0_2", "share"] == share[1, 0, 2]
    assert held.loc["b_0_0", "is_sea"] == 0
    assert held.to_numpy().dtype == np.float32
    assert travelling_series().static_covariates is None


def test_a_rebuilt_series_shares_its_values_and_keeps_the_rest():
    series = travelling_series(static_fields={"height": np.ones((4, 6))})
    series = series.with_hierarchy({name: ["r_0_0"] for name in series.components[1:]})
    assert rebuild_series(series) == series
    changed = rebuild_series(series, metadata={"a": 1})
    assert np.shares_memory(changed.all_values(copy=False), series.all_values(copy=False))
    assert (changed.metadata, changed.hierarchy) == ({"a": 1}, series.hierarchy)


# --- likelihood parameters ----------------------------------------------------------------------


def parameters_of(series, names):
    components = likelihood_component_names(series.components, names)
    values = series.all_values().repeat(len(names), axis=1)
    return rebuild_series(series, values=values, components=components)


@pytest.mark.parametrize("names", [["q0.100", "q0.500"], ["q0.500"], ["mu", "sigma"], ["lambda"]])
def test_likelihood_parameters_are_read_from_component_names(names):
    series = travelling_series(start=pd.Timestamp("2016-01-01", tz="Asia/Kolkata"))
    parameters = parameters_of(series, names)
    assert parameter_names(parameters) == names
    assert grid_of_forecast(parameters) == GRID
    # the times of such a forecast, and of a few cells, are those of the series
    for each in (parameters, series[["r_0_0", "b_3_5"]]):
        assert series_to_times(each).equals(series_to_times(series))


def test_values_have_no_likelihood_parameters():
    series = travelling_series()
    for each in (series, series["r_0_0"], series.with_columns_renamed("r_0_0", "r_0_0_x")):
        assert parameter_names(each) == []
    scrambled = parameters_of(series, ["q0.100", "q0.500"])[::1]
    assert parameter_names(scrambled[scrambled.components[::-1].tolist()]) == []
    huge = {METADATA_KEY: {"channels": 1, "height": 30_000, "width": 30_000}}
    assert parameter_names(series.with_metadata(huge)) == []  # at once


def test_quantiles_are_found_without_a_grid():
    series = TimeSeries.from_values(np.zeros((5, 2)), columns=["a", "b"])
    quantiles = parameters_of(series, ["q0.100", "q0.900"])
    assert parameter_names(quantiles) == ["q0.100", "q0.900"]
    assert grid_of_forecast(quantiles).shape == (2, 1, 1)
    assert parameter_names(series) == parameter_names(parameters_of(series, ["mu"])) == []


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", ["TCHX", "TTHW", "TCH", 5])
def test_layouts_that_are_none_are_refused_both_ways(layout):
    for convert, given in ((frames_to_series, random_frames()), (series_to_frames, GRID)):
        with pytest.raises(ValueError, match="`layout` must be a string of T, H, W"):
            convert(given, layout=layout)


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("frames", np.ma.masked_invalid(random_frames()), TypeError),
        ("frames", random_frames() * 1j, TypeError),
        ("frames", np.full((5, 3, 4, 6), "a"), TypeError),
        ("frames", np.zeros((5, 3, 0, 6)), ValueError),
        ("frames", random_frames("THW"), ValueError),
        ("dtype", np.int32, TypeError),
        ("static_fields", {"cover": np.zeros((6, 4))}, ValueError),
    ],
)
def test_arguments_that_do_not_describe_a_series_are_refused_by_name(argument, value, error):
    with pytest.raises(error, match=f"`{argument}.* must"):
        frames_to_series(**{"frames": random_frames(), argument: value})


@pytest.mark.parametrize(
    "other",
    [
        lambda s: s[:3],
        lambda s: s.with_metadata(None),
    ],
)
def test_series_of_a_sequence_are_alike(other):
    series = travelling_series()
    with pytest.raises(ValueError, match=r"`series` must agree in grid, length and .* series 1"):
        series_to_frames([series, other(series)])


@pytest.mark.parametrize("series", [[random_frames()], None, []])
def test_only_series_become_frames(series):
    with pytest.raises(TypeError, match="`series` must be a TimeSeries or a sequence of them, got"):
        series_to_frames(series)


def test_several_channels_need_an_axis():
    with pytest.raises(ValueError, match=r"`layout='THW'` has no axis for the 3 channels"):
        series_to_frames(travelling_series(), layout="THW")
