"""The grid: sizes and names, the order of components, plain metadata, and what it refuses."""

import json
import pickle
from copy import copy, deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries

from darts_mim.grid import METADATA_KEY, Grid

C, H, W = 2, 3, 4
LAT, LON = [10.0, 12.5, 15.0], [0.1, 0.2, 0.3, 0.4]
MASK = np.arange(H * W).reshape(H, W) % 5 != 0


@pytest.fixture
def grid():
    return Grid(C, H, W, ["inflow", "outflow"], {"lat": LAT, "lon": LON}, MASK)


def series_on(grid, length=5):
    return TimeSeries(
        times=pd.RangeIndex(length),
        values=np.arange(length * grid.n_components, dtype=np.float32).reshape(length, -1),
        components=grid.component_names,
        metadata={METADATA_KEY: grid.to_metadata()},
    )


def test_sizes_and_names_follow_from_channels_height_and_width(grid):
    assert grid.shape == (C, H, W)
    assert grid.n_components == C * H * W == len(grid.component_names)
    assert grid.component_names[:2] == ["inflow_0_0", "inflow_0_1"]
    assert grid.component_names[-1] == "outflow_2_3"


def test_channels_without_names_are_numbered():
    assert Grid(2, 1, 3).channel_names == ("channel_0", "channel_1")


@pytest.mark.parametrize("names", [["a", "a_1", "a_1_0"], ["0", "0_0", "_"], ["x y", "é", "a\n"]])
def test_component_names_are_unique_for_odd_channel_names(names):
    grid = Grid(3, 12, 11, names)
    assert len(set(grid.component_names)) == grid.n_components
    values = np.zeros((2, grid.n_components))
    series = TimeSeries(pd.RangeIndex(2), values, components=grid.component_names)
    assert list(series.components) == grid.component_names


def test_each_component_is_named_after_its_place_in_the_frame(grid):
    frames = grid.to_frames(np.array(grid.component_names))
    for c, h, w in np.ndindex(C, H, W):
        assert frames[c, h, w] == f"{grid.channel_names[c]}_{h}_{w}"


@pytest.mark.parametrize("leading", [(), (5,), (2, 5), (2, 0)])
def test_components_and_frames_are_inverses_for_any_leading_axes(grid, leading):
    values = np.random.default_rng(0).random((*leading, grid.n_components))
    frames = grid.to_frames(values)
    assert frames.shape == (*leading, C, H, W)
    np.testing.assert_array_equal(grid.to_components(frames), values)


def test_frames_are_views_of_components_and_back(grid):
    values = np.zeros((5, grid.n_components))
    frames = grid.to_frames(values)
    assert np.shares_memory(frames, values)
    assert np.shares_memory(grid.to_components(frames), values)


def test_torch_tensors_keep_their_gradient_and_their_memory(grid):
    values = torch.rand(2, 5, grid.n_components, requires_grad=True)
    frames = grid.to_frames(values)
    assert frames.shape == (2, 5, C, H, W)
    assert grid.to_components(frames).data_ptr() == values.data_ptr()
    frames.sum().backward()
    assert torch.equal(values.grad, torch.ones_like(values))


@pytest.mark.parametrize("shape", [(5, 23), (24, 5), ()])
def test_values_with_another_number_of_components_are_refused(grid, shape):
    with pytest.raises(
        ValueError, match=r"`values` of shape .* expected \(\.\.\., 24\).*last axis"
    ):
        grid.to_frames(np.zeros(shape))


@pytest.mark.parametrize("shape", [(5, H, W, C), (H, W), (5, C, W, H)])
def test_frames_of_another_shape_are_refused(grid, shape):
    with pytest.raises(ValueError, match=r"`frames` of shape .* expected \(\.\.\., 2, 3, 4\)"):
        grid.to_components(np.zeros(shape))


def test_str_says_sizes_names_coordinates_and_mask(grid):
    assert str(grid) == (
        "Grid of 2 channels (inflow, outflow) x 3 rows x 4 columns, lat 10 to 15, lon 0.1 to 0.4, "
        "9 of 12 cells observed"
    )
    assert str(Grid(4, 1, 1)) == (
        "Grid of 4 channels (channel_0, channel_1, channel_2, ...) x 1 row x 1 column"
    )


def test_grids_of_the_same_content_are_equal_and_hash_alike(grid):
    twin = Grid(C, H, W, ("inflow", "outflow"), {"lat": LAT, "lon": LON}, MASK.tolist())
    assert twin == grid
    assert len({twin, grid}) == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"height": W, "width": H, "coordinates": None, "mask": None},
        {"channel_names": ("outflow", "inflow")},
        {"channel_names": None},
        {"coordinates": None},
        {"coordinates": {"lat": LAT, "lon": LON[::-1]}},
        {"coordinates": {"y": LAT, "lon": LON}},
        {"mask": None},
        {"mask": ~MASK},
    ],
)
def test_grids_that_differ_anywhere_are_unequal(grid, changed):
    arguments = {
        "channels": C,
        "height": H,
        "width": W,
        "channel_names": grid.channel_names,
        "coordinates": grid.coordinates,
        "mask": grid.mask,
    }
    assert Grid(**arguments) == grid
    assert Grid(**{**arguments, **changed}) != grid


def test_swapping_rows_and_columns_is_a_difference_on_a_square_grid():
    one = Grid(1, 3, 3, coordinates={"lat": LAT, "lon": LAT})
    assert one != Grid(1, 3, 3, coordinates={"lon": LAT, "lat": LAT})
    assert one != "a grid"


def test_a_grid_cannot_be_changed(grid):
    with pytest.raises(AttributeError):
        grid.height = 5
    with pytest.raises(ValueError, match="read-only"):
        grid.mask[0, 0] = True
    with pytest.raises(ValueError, match="read-only"):
        grid.coordinates["lat"][0] = 1
    with pytest.raises(TypeError):
        grid.coordinates["lat"] = LAT


def test_a_grid_does_not_follow_changes_of_the_arrays_it_was_made_of():
    mask, lat = MASK.copy(), np.array(LAT)
    grid = Grid(C, H, W, coordinates={"lat": lat, "lon": LON}, mask=mask)
    mask[:], lat[:] = True, 0
    np.testing.assert_array_equal(grid.mask, MASK)
    np.testing.assert_array_equal(grid.coordinates["lat"], LAT)


@pytest.mark.parametrize(
    "duplicate", [copy, deepcopy, lambda grid: pickle.loads(pickle.dumps(grid))]
)
def test_copies_and_pickles_are_equal_and_read_only(grid, duplicate):
    twin = duplicate(grid)
    assert twin == grid
    assert list(twin.coordinates) == ["lat", "lon"]
    with pytest.raises(ValueError, match="read-only"):
        twin.mask[0, 0] = True


@pytest.mark.parametrize("width", [1, 4, 8, 13])
def test_metadata_survive_json_for_masks_of_any_size(width):
    mask = np.random.default_rng(width).random((H, width)) < 0.5
    mask[0, 0] = True
    grid = Grid(C, H, width, mask=mask)
    twin = Grid.from_metadata(json.loads(json.dumps(grid.to_metadata())))
    assert twin == grid
    np.testing.assert_array_equal(twin.mask, mask)


def test_metadata_keep_coordinates_exactly_and_in_order():
    lat, lon = np.float32([0.1, 0.2, 0.3]), 1 / np.arange(1.0, 5.0)
    grid = Grid(C, H, W, coordinates={"lon_of_rows": lat, "a_column": lon})
    twin = Grid.from_metadata(json.loads(json.dumps(grid.to_metadata())))
    assert list(twin.coordinates) == ["lon_of_rows", "a_column"]
    np.testing.assert_array_equal(np.float32(twin.coordinates["lon_of_rows"]), lat)
    np.testing.assert_array_equal(twin.coordinates["a_column"], lon)


@pytest.mark.parametrize(
    "metadata",
    [
        "north",
        None,
        {"channels": 2},
        {"channels": 2, "height": 0, "width": 4},
        {"channels": 2, "height": 3, "width": 4, "depth": 5},
        {"channels": 2, "height": 3, "width": 4, "mask": "no base64!"},
        {"channels": 2, "height": 3, "width": 4, "mask": "////"},
        {"channels": 2, "mask": "////"},
    ],
)
def test_metadata_that_are_no_grid_are_refused(metadata):
    with pytest.raises(
        ValueError, match=r"`metadata` is not the plain data of a grid.*another key"
    ):
        Grid.from_metadata(metadata)


def test_a_series_gives_back_its_grid(grid):
    assert Grid.from_series(series_on(grid)) == grid


def test_a_series_without_a_grid_gives_none(grid):
    series = series_on(grid)
    assert Grid.from_series(series.with_metadata({"city": "New York"})) is None
    assert Grid.from_series(series.with_metadata(None)) is None


def test_renamed_components_keep_the_grid(grid):
    series = series_on(grid).with_columns_renamed("inflow_0_0", "corner")
    assert Grid.from_series(series) == grid


def test_selected_components_no_longer_fit_the_grid(grid):
    with pytest.raises(ValueError, match=r"`series` has 3 components.*with_metadata"):
        Grid.from_series(series_on(grid)[grid.component_names[:3]])


def test_stacked_components_no_longer_fit_the_grid(grid):
    series = series_on(grid)
    with pytest.raises(ValueError, match=r"`series` has 48 components.* has 24: .*Select cells"):
        Grid.from_series(series.stack(series))


def test_reordered_components_are_refused_and_the_remedy_works(grid):
    series = series_on(grid)
    shuffled = series[grid.component_names[::-1]]
    with pytest.raises(ValueError, match=r"in another order.*series\[grid.component_names\]"):
        Grid.from_series(shuffled)
    assert Grid.from_series(shuffled[grid.component_names]) == grid


@pytest.mark.parametrize("name", ["channels", "height", "width"])
@pytest.mark.parametrize(
    ("size", "error", "message"),
    [
        (0, ValueError, "must be at least 1"),
        (-3, ValueError, "must be at least 1"),
        (2.0, TypeError, "must be an integer .* got 2.0 of type float"),
        (True, TypeError, "must be an integer .* got True"),
        ("2", TypeError, "must be an integer .* got '2'"),
    ],
)
def test_sizes_are_whole_numbers_of_at_least_one(name, size, error, message):
    with pytest.raises(error, match=f"`{name}.*{message}"):
        Grid(**{"channels": 2, "height": 3, "width": 4, name: size})


def test_sizes_of_numpy_become_python_integers():
    grid = Grid(np.int64(2), np.uint8(3), np.int32(4))
    assert [type(size) for size in grid.shape] == [int, int, int]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        ("ab", TypeError, r"single string 'ab'; pass \['ab'\]"),
        (["a", 1], TypeError, "strings that are not empty, got .'a', 1."),
        (["a", ""], TypeError, "strings that are not empty"),
        (["a"], ValueError, "for each of 2 channels, got 1"),
        (["a", "a"], ValueError, r"must be unique, got \['a'\] more than once"),
    ],
)
def test_channel_names_are_unique_and_one_per_channel(names, error, message):
    with pytest.raises(error, match=f"`channel_names`.*{message}"):
        Grid(2, 3, 4, names)


@pytest.mark.parametrize(
    ("coordinates", "error", "message"),
    [
        ([LAT, LON], TypeError, "must map two names to values"),
        ({0: LAT, 1: LON}, TypeError, "must map two names to values"),
        ({"lat": LAT}, ValueError, r"exactly two entries.*got \['lat'\]"),
        ({"lat": LAT, "lon": LON, "z": [1]}, ValueError, "exactly two entries"),
        (
            {"lon": LON, "lat": LAT},
            ValueError,
            r"\['lon'\]` must give the rows.*\(3,\), got \(4,\)",
        ),
        ({"lat": LAT, "lon": LAT}, ValueError, r"\['lon'\]` must give the columns.*\(4,\)"),
        ({"lat": list("abc"), "lon": LON}, TypeError, r"\['lat'\]` must be numbers, got dtype <U1"),
        ({"lat": [0, 1, np.nan], "lon": LON}, ValueError, r"\['lat'\]` must be finite"),
    ],
)
def test_coordinates_name_the_rows_then_the_columns(coordinates, error, message):
    with pytest.raises(error, match=f"`coordinates.*{message}"):
        Grid(2, 3, 4, coordinates=coordinates)


@pytest.mark.parametrize(
    ("mask", "error", "message"),
    [
        (MASK.astype(np.int64), TypeError, "be boolean.*got dtype int64; compare first"),
        (MASK.T, ValueError, r"\(3, 4\), got \(4, 3\)"),
        (np.stack([MASK, MASK]), ValueError, r"\(3, 4\), got \(2, 3, 4\)"),
        (np.zeros((H, W), bool), ValueError, "at least one cell.*~mask"),
    ],
)
def test_a_mask_is_boolean_and_of_the_shape_of_a_frame(mask, error, message):
    with pytest.raises(error, match=f"`mask` must .*{message}"):
        Grid(2, 3, 4, mask=mask)


# --- attributes ---------------------------------------------------------------------------------

ATTRIBUTES = {
    "sst": {"units": "degC", "long_name": "sea surface temperature", "valid_range": [-2.0, 40.0]},
    "lat": {"units": "degrees_north"},
    "time": {"calendar": "noleap"},
    "global": {"title": "a test", "nested": {"a": [1, None, True]}},
}


def make_described_grid():
    return Grid(1, 2, 3, ["sst"], {"lat": [1, 0], "lon": [0, 1, 2]}, attributes=ATTRIBUTES)


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda grid: Grid.from_metadata(grid.to_metadata()),
        lambda grid: Grid.from_metadata(json.loads(json.dumps(grid.to_metadata()))),
        lambda grid: pickle.loads(pickle.dumps(grid)),
        lambda grid: grid.evolve(),
    ],
)
def test_attributes_survive_copies_of_a_grid(copy_of):
    grid = copy_of(make_described_grid())
    assert {name: dict(each) for name, each in grid.attributes.items()} == ATTRIBUTES


def test_attributes_describe_but_do_not_tell_grids_apart():
    plain = make_described_grid().evolve(attributes=None)
    assert plain == make_described_grid()
    assert hash(plain) == hash(make_described_grid())
    assert dict(plain.attributes_of("sst")) == {}


def test_labels_name_channels_and_coordinates_with_their_units():
    grid = make_described_grid()
    assert grid.label("sst") == "sea surface temperature [degC]"
    assert grid.label("lat") == "lat [degrees_north]"
    assert grid.label("lon") == "lon"
    for nothing in ("", None):
        unnamed = grid.evolve(attributes={"sst": {"long_name": nothing, "units": "degC"}})
        assert unnamed.label("sst") == "sst [degC]"


def test_attributes_are_held_as_a_copy_that_cannot_be_changed():
    given = {"sst": {"units": "degC", "flags": np.array([1, 2])}}
    grid = Grid(1, 2, 3, ["sst"], attributes=given)
    given["sst"]["units"] = "K"
    assert dict(grid.attributes_of("sst")) == {"units": "degC", "flags": [1, 2]}
    with pytest.raises(TypeError):
        grid.attributes["sst"]["units"] = "K"
    grid.to_metadata()["attributes"]["sst"]["flags"].append(3)
    assert grid.attributes_of("sst")["flags"] == [1, 2]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ("degC", "`attributes` must map names to mappings, got str"),
        ({"sst": "degC"}, r"`attributes\['sst'\]` must be a mapping"),
        (
            {"sst": {"start": pd.Timestamp("2026-01-01")}},
            r"\['sst'\]\['start'\]` must be plain data",
        ),
        ({"sst": {"start": np.datetime64("2026-01-01", "ns")}}, "must be plain data"),
        ({"sst": {"bounds": np.array([1, 2], "m8[ns]")}}, "must be plain data"),
        ({"sst": {1: 2}}, "must have strings for keys, got 1"),
    ],
)
def test_attributes_that_are_no_plain_data_are_refused(attributes, message):
    with pytest.raises(TypeError, match=message):
        Grid(1, 2, 3, ["sst"], attributes=attributes)
