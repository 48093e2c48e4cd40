"""The grid: sizes and names, the order of components, plain metadata, and what it refuses."""

import json
import pickle
from copy import deepcopy

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries

from darts_mim.grid import METADATA_KEY, Grid

C, H, W = 2, 3, 4
LAT, LON = [10.0, 12.5, 15.0], [0.1, 0.2, 0.3, 0.4]
MASK = np.arange(H * W).reshape(H, W) % 5 != 0
ATTRIBUTES = {
    "inflow": {"units": "trips", "long_name": "arrivals", "valid_range": [0.0, 40.0]},
    "lat": {"units": "degrees_north"},
    "global": {"title": "a test", "nested": {"a": [1, None, True]}},
}


@pytest.fixture
def grid():
    return Grid(C, H, W, ["inflow", "outflow"], {"lat": LAT, "lon": LON}, MASK, ATTRIBUTES)


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
    assert Grid(2, 1, 3).channel_names == ("channel_0", "channel_1")
    assert [type(size) for size in Grid(np.int64(2), np.uint8(3), 4).shape] == [int] * 3


def test_each_component_is_named_after_its_place_in_the_frame(grid):
    frames = grid.to_frames(np.array(grid.component_names))
    for c, h, w in np.ndindex(C, H, W):
        assert frames[c, h, w] == f"{grid.channel_names[c]}_{h}_{w}"


@pytest.mark.parametrize("names", [["a", "a_1", "a_1_0"], ["x y", "é", "a\n"]])
def test_component_names_are_unique_for_odd_channel_names(names):
    grid = Grid(3, 12, 11, names)
    assert len(set(grid.component_names)) == grid.n_components
    assert list(series_on(grid).components) == grid.component_names


@pytest.mark.parametrize("leading", [(), (5,), (2, 0)])
def test_frames_and_components_are_views_of_each_other_also_of_tensors(grid, leading):
    values = torch.rand(*leading, grid.n_components)
    frames = grid.to_frames(values)
    assert frames.shape == (*leading, C, H, W)
    assert torch.equal(grid.to_components(frames), values)
    assert grid.to_components(frames).data_ptr() == values.data_ptr()
    array = np.zeros((5, grid.n_components))
    assert np.shares_memory(grid.to_components(grid.to_frames(array)), array)


def test_str_says_sizes_names_coordinates_and_mask(grid):
    assert str(grid) == (
        "Grid of 2 channels (inflow, outflow) x 3 rows x 4 columns, lat 10 to 15, lon 0.1 to 0.4, "
        "9 of 12 cells observed"
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"height": W, "width": H, "coordinates": None, "mask": None},
        {"channel_names": ("outflow", "inflow")},
        {"coordinates": None},
        {"coordinates": {"lat": LAT, "lon": LON[::-1]}},
        {"coordinates": {"y": LAT, "lon": LON}},
        {"mask": None},
        {"mask": ~MASK},
    ],
)
def test_grids_are_equal_if_they_differ_in_nothing_but_attributes(grid, changed):
    twin = grid.evolve(attributes=None, mask=MASK.tolist())
    assert len({twin, grid}) == 1
    assert grid.evolve(**changed) != grid


def test_swapping_rows_and_columns_is_a_difference_on_a_square_grid():
    one = Grid(1, 3, 3, coordinates={"lat": LAT, "lon": LAT})
    assert one != Grid(1, 3, 3, coordinates={"lon": LAT, "lat": LAT})
    assert one != "a grid"


def test_a_grid_cannot_be_changed_also_through_the_data_it_was_made_of():
    mask, lat, attributes = MASK.copy(), np.array(LAT), {"lat": {"units": "m", "n": np.arange(2)}}
    grid = Grid(C, H, W, coordinates={"lat": lat, "lon": LON}, mask=mask, attributes=attributes)
    mask[:], lat[:] = True, 0
    attributes["lat"]["units"] = "km"
    grid.to_metadata()["attributes"]["lat"]["n"].append(3)
    np.testing.assert_array_equal(grid.mask, MASK)
    np.testing.assert_array_equal(grid.coordinates["lat"], LAT)
    assert dict(grid.attributes_of("lat")) == {"units": "m", "n": [0, 1]}
    with pytest.raises(AttributeError):
        grid.height = 5
    for array in (grid.mask, grid.coordinates["lat"]):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    for mapping in (grid.coordinates, grid.attributes["lat"]):
        with pytest.raises(TypeError):
            mapping["units"] = "km"


@pytest.mark.parametrize(
    "duplicate",
    [
        deepcopy,
        lambda grid: pickle.loads(pickle.dumps(grid)),
        lambda grid: Grid.from_metadata(json.loads(json.dumps(grid.to_metadata()))),
        lambda grid: Grid.from_series(series_on(grid)),
    ],
)
def test_copies_pickles_and_metadata_are_equal_and_read_only(grid, duplicate):
    twin = duplicate(grid)
    assert twin == grid
    assert list(twin.coordinates) == ["lat", "lon"]
    assert {name: dict(each) for name, each in twin.attributes.items()} == ATTRIBUTES
    with pytest.raises(ValueError, match="read-only"):
        twin.mask[0, 0] = True


@pytest.mark.parametrize("width", [1, 8, 13])
def test_metadata_keep_masks_of_any_size_and_coordinates_exactly(width):
    mask = np.random.default_rng(width).random((H, width)) < 0.5
    mask[0, 0] = True
    rows, columns = np.float32([0.1, 0.2, 0.3]), 1 / np.arange(1.0, width + 1)
    grid = Grid(C, H, width, coordinates={"y": rows, "a": columns}, mask=mask)
    twin = Grid.from_metadata(json.loads(json.dumps(grid.to_metadata())))
    np.testing.assert_array_equal(twin.mask, mask)
    np.testing.assert_array_equal(twin.coordinates["y"], rows)
    np.testing.assert_array_equal(twin.coordinates["a"], columns)


def test_labels_name_channels_and_coordinates_with_their_units(grid):
    labels = [grid.label(name) for name in ("inflow", "lat", "lon")]
    assert labels == ["arrivals [trips]", "lat [degrees_north]", "lon"]
    assert dict(grid.evolve(attributes=None).attributes_of("inflow")) == {}


# --- the grid of a series -----------------------------------------------------------------------


def test_a_series_without_a_grid_gives_none(grid):
    for metadata in (None, {"city": "New York"}):
        assert Grid.from_series(series_on(grid).with_metadata(metadata)) is None


def test_renamed_components_keep_the_grid(grid):
    series = series_on(grid).with_columns_renamed("inflow_0_0", "corner")
    assert Grid.from_series(series) == grid


def test_selected_or_stacked_components_no_longer_fit_the_grid(grid):
    series = series_on(grid)
    for changed, size in ((series[grid.component_names[:3]], 3), (series.stack(series), 48)):
        with pytest.raises(ValueError, match=rf"`series` has {size} comp.* has 24.*with_metadata"):
            Grid.from_series(changed)


def test_reordered_components_are_refused_and_the_remedy_works(grid):
    shuffled = series_on(grid)[grid.component_names[::-1]]
    with pytest.raises(ValueError, match=r"in another order.*series\[grid.component_names\]"):
        Grid.from_series(shuffled)
    assert Grid.from_series(shuffled[grid.component_names]) == grid


@pytest.mark.parametrize("sizes", [(1, 30_000, 30_000), (10**9, 1, 1), (1, 10**30, 1)])
def test_a_size_that_metadata_state_is_compared_before_anything_of_it_is_made(sizes):
    stated = dict(zip(("channels", "height", "width"), sizes, strict=True))
    series = TimeSeries.from_values(np.zeros((5, 6))).with_metadata({METADATA_KEY: stated})
    with pytest.raises(ValueError, match="`series` has 6 components"):  # at once, not in minutes
        Grid.from_series(series)
    with pytest.raises(ValueError, match="its mask holds 3 bytes"):
        Grid.from_metadata({**stated, "channels": 1, "mask": "////"})


@pytest.mark.parametrize(
    "metadata", ["north", None, {"channels": 2}, {"channels": 2, "height": 0, "width": 4}]
)
def test_a_series_whose_metadata_hold_something_else_as_grid_is_refused(metadata):
    series = TimeSeries.from_values(np.zeros((5, 24))).with_metadata({METADATA_KEY: metadata})
    with pytest.raises(ValueError, match=r"not the plain data of a grid.*another key"):
        Grid.from_series(series)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argument", "value", "error"),
    [
        ("channels", 0, ValueError),
        ("height", -3, ValueError),
        ("width", 2.0, TypeError),
        ("channel_names", "ab", ValueError),
        ("channel_names", ["a", 1], TypeError),
        ("channel_names", ["a", "a"], ValueError),
        ("coordinates", [LAT, LON], ValueError),
        ("coordinates", {"lon": LON, "lat": LAT}, ValueError),
        ("coordinates", {"lat": [0, 1, np.nan], "lon": LON}, ValueError),
        ("mask", MASK.astype(np.int64), TypeError),
        ("mask", MASK.T, ValueError),
        ("mask", np.zeros((H, W), bool), ValueError),
        ("attributes", {"sst": "degC"}, TypeError),
        ("attributes", {"sst": {"bounds": np.array([1, 2], "m8[ns]")}}, TypeError),
    ],
)
def test_arguments_that_describe_no_grid_are_refused_by_name(argument, value, error):
    with pytest.raises(error, match=f"`{argument}.* must"):
        Grid(**{"channels": C, "height": H, "width": W, argument: value})


@pytest.mark.parametrize("shape", [(5, 23), (24, 5), ()])
def test_values_and_frames_of_another_shape_are_refused(grid, shape):
    with pytest.raises(ValueError, match=r"`values` of shape .* expected \(\.\.\., 24\)"):
        grid.to_frames(np.zeros(shape))
    with pytest.raises(ValueError, match=r"`frames` of shape .* expected \(\.\.\., 2, 3, 4\)"):
        grid.to_components(np.zeros((*shape, W, H)))
