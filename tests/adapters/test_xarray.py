"""Fields to series and back: axes, channels, masks, everything that is remembered, refusals."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from darts_mim import Grid, GridScaler, frames_to_series, series_to_frames
from darts_mim.adapters import from_xarray, to_xarray

T, H, W = 6, 3, 4
DIMS = ("time", "lat", "lon")
PROJECTED = ("projection_y_coordinate", "projection_x_coordinate")
TIMES = pd.date_range("2000-01-01", periods=T, freq="MS")


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).random(shape).astype(np.float32)


def field(dims: tuple[str, ...] = DIMS, **coords: Any) -> xr.DataArray:
    """A DataArray called sst with a size for each dimension: T, H, W and then 2."""
    sizes = dict(zip(dims, (T, H, W, 2, 2), strict=False))
    known = {"time": TIMES, "lat": [10.0, 0.0, -10.0], "lon": [0.0, 90.0, 180.0, 270.0]}
    coords = {d: known[d] for d in dims if len(known.get(d, ())) == sizes[d]} | coords
    return xr.DataArray(values(*sizes.values()), coords, dims, name="sst", attrs={"units": "degC"})


def grid_of(data: Any, **options: Any) -> Grid:
    grid = Grid.from_series(from_xarray(data, **options))
    assert grid is not None
    return grid


@pytest.mark.parametrize(
    ("dims", "attributes"),
    [
        (("time", "latitude", "longitude"), ({}, {}, {})),
        (("t", "Lat", "rlon"), ({}, {}, {})),
        (("a", "b", "c"), ({"axis": "T"}, {"axis": "Y"}, {"axis": "X"})),
        (("a", "b", "c"), ({}, {"units": "degrees_north"}, {"units": "degrees_east"})),
        (("a", "b", "c"), ({"axis": "T"}, *({"standard_name": name} for name in PROJECTED))),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_axes_are_found_in_any_order(dims: Any, attributes: Any, order: Any) -> None:
    data = field(dims, **dict(zip(dims, (TIMES, np.arange(H), np.arange(W)), strict=True)))
    for name, own in zip(dims, attributes, strict=True):
        data[name].attrs = own
    given = data.transpose(*(dims[axis] for axis in order))
    series = from_xarray(given)
    np.testing.assert_array_equal(series_to_frames(series)[:, 0], data)
    xr.testing.assert_identical(to_xarray(series), given)


def test_a_coordinate_along_a_dimension_names_it() -> None:
    steps = pd.to_timedelta(np.arange(T), unit="h")
    forecast = field(("step", "j", "i")).assign_coords(
        time=np.datetime64("2000-01-01", "ns"),
        step=steps,
        valid_time=("step", pd.Timestamp("2000-01-01") + steps),
        latitude=("j", [1.0, 2.0, 3.0], {"units": "degrees_north"}),
        across=("i", np.arange(4.0)),
    )
    series = from_xarray(forecast, x="across")
    assert series.freq_str == "h"
    assert list(Grid.from_series(series).coordinates) == ["latitude", "across"]
    xr.testing.assert_identical(to_xarray(series), forecast)


def test_one_of_several_dates_along_time_must_be_chosen() -> None:
    data = field(("time", "y", "x")).drop_vars("time")
    data = data.assign_coords(run=("time", TIMES - pd.Timedelta("1h")), valid=("time", TIMES))
    with pytest.raises(ValueError, match=r"may be `time`: \['run', 'valid'\].*time='run'"):
        from_xarray(data)
    told = from_xarray(data, time="valid")
    data.valid.attrs["standard_name"] = "time"
    for series in (told, from_xarray(data)):
        pd.testing.assert_index_equal(series.time_index, TIMES, check_names=False)


def test_a_curvilinear_grid_keeps_its_two_dimensional_coordinates() -> None:
    data = field(("time", "y", "x")).assign_coords(
        lat=(("y", "x"), values(H, W), {"units": "degrees_north"}),
        lon=(("x", "y"), values(W, H), {"units": "degrees_east"}),
    )
    series = from_xarray(data)
    assert Grid.from_series(series).coordinates is None
    xr.testing.assert_identical(to_xarray(series), data)


def test_rows_without_a_finite_coordinate_are_numbered() -> None:
    data = field(lat=("lat", np.array(["a", "b", "c"])))
    np.testing.assert_array_equal(grid_of(data).coordinates["lat"], [0, 1, 2])
    xr.testing.assert_identical(to_xarray(from_xarray(data)), data)


def test_variables_become_channels() -> None:
    data = xr.Dataset({"sst": field(), "name": field().transpose("lon", "time", "lat") * 2})
    data.sst.attrs["formula_terms"] = "ice: name"  # a field that another names
    series = from_xarray(data)
    assert Grid.from_series(series).channel_names == ("sst", "name")
    np.testing.assert_array_equal(series_to_frames(series)[:, 1], data.sst * 2)
    xr.testing.assert_identical(to_xarray(series), data)


@pytest.mark.parametrize("dim", ["band", "quantile"])
def test_a_dimension_becomes_channels(dim: str) -> None:
    data = field(("time", "lat", "lon", dim), **{dim: [850, 500]})
    series = from_xarray(data, channel=None if dim == "band" else dim)
    grid = Grid.from_series(series)
    assert grid.channel_names == ("850", "500")
    assert grid.label("500") == "500 [degC]"
    np.testing.assert_array_equal(series_to_frames(series), data.transpose("time", dim, ...))
    xr.testing.assert_identical(to_xarray(series), data)


def test_variables_with_and_without_levels_are_channels_together() -> None:
    wind = field(("time", "lat", "lon", "level"))
    data = xr.Dataset({"wind": wind, "pressure": field()})
    series = from_xarray(data, channel="level")
    names = ("wind_level_0", "wind_level_1", "pressure")
    assert Grid.from_series(series).channel_names == names
    xr.testing.assert_identical(to_xarray(series), data)


def test_members_become_samples() -> None:
    data = field(("time", "lat", "lon", "member"), member=["a", "b"])
    series = from_xarray(data, sample="member")
    np.testing.assert_array_equal(series_to_frames(series, layout="THWS"), data.to_numpy())
    xr.testing.assert_identical(to_xarray(series), data)
    assert "member" not in to_xarray(series.mean(axis=2)).coords


def test_static_fields_become_static_covariates() -> None:
    elevation = (("lon", "lat"), values(W, H).astype("f8"), {"units": "m"})
    is_land = (("lat", "lon"), values(H, W) > 0.5)
    data = field().to_dataset().assign(elevation=elevation, is_land=is_land)
    series = from_xarray(data, static=["elevation", "is_land"])
    table = series.static_covariates
    np.testing.assert_allclose(table["elevation"], data.elevation.T.values.ravel())
    np.testing.assert_array_equal(table["is_land"], data.is_land.values.ravel())
    xr.testing.assert_identical(to_xarray(series), data)


@pytest.mark.parametrize("channels", [(), ("channel",)])
def test_memory_is_shared_where_it_can_be(channels: tuple[str, ...]) -> None:
    data = field(("time", "lat", "lon", *channels)).transpose("time", *channels, ...)
    data = data.copy(data=np.ascontiguousarray(data))
    series = from_xarray(data)
    assert np.shares_memory(series.all_values(copy=False), data.to_numpy())
    assert np.shares_memory(to_xarray(series).to_numpy(), data.to_numpy())


def test_values_are_float32_unless_asked_and_types_and_names_come_back() -> None:
    data = field().astype("f8").rename(None)
    series = from_xarray(data)
    assert Grid.from_series(series).channel_names == ("channel_0",)
    assert (series.dtype, to_xarray(series).dtype) == (np.float32, np.float64)
    xr.testing.assert_identical(to_xarray(from_xarray(data, dtype=None)), data)


@pytest.mark.parametrize(
    ("value", "dtype"), [(1.0, "int16"), (1.5, "float32"), (np.nan, "float32")]
)
def test_integers_come_back_where_no_value_changes(value: float, dtype: str) -> None:
    data = (field() * 100).astype("int16")
    series = from_xarray(data)
    xr.testing.assert_identical(to_xarray(series), data)
    assert to_xarray(series).dtype == "int16"
    assert to_xarray(series.with_values(np.full((T, H * W), value, np.float32))).dtype == dtype


def test_decoded_values_with_a_scale_of_one_are_not_packed() -> None:
    """As `rioxarray.open_rasterio(..., masked=True)` gives them."""
    decoded = {"scale_factor": 1.0, "add_offset": 0.0, "_FillValue": np.nan}
    data = field().assign_attrs(decoded)
    np.testing.assert_array_equal(series_to_frames(from_xarray(data))[:, 0], data)
    assert to_xarray(from_xarray(data)).attrs.items() >= {"scale_factor": 1.0}.items()


def test_cells_without_a_value_are_hidden() -> None:
    data = field()
    data[:, 1, 2] = np.nan
    data[:-1, 0, 0] = np.nan
    assert np.argwhere(~grid_of(data).mask).tolist() == [[1, 2]]
    assert grid_of(field()).mask is None
    assert grid_of(data, mask=False).mask is None


def test_a_mask_may_be_given() -> None:
    mask = xr.DataArray(values(W, H) > 0.5, dims=("lon", "lat"))
    for given in (mask, mask.to_numpy().T):
        series = from_xarray(field(), mask=given)
        np.testing.assert_array_equal(Grid.from_series(series).mask, mask.T)
        np.testing.assert_array_equal(to_xarray(series).notnull().all("time"), mask.T)
    assert not np.isnan(series.all_values()).any(), "the series itself is left as it is"


def test_a_cell_is_hidden_where_some_channel_has_no_value(caplog: Any) -> None:
    data = xr.Dataset({"sst": field(), "ice": field() * 2})
    data.ice[:, 0, 0] = np.nan
    with caplog.at_level(logging.WARNING):
        series = from_xarray(data)
    assert Grid.from_series(series).mask.sum() == H * W - 1
    assert "hides 1 cell in all channels" in caplog.text
    xr.testing.assert_identical(to_xarray(from_xarray(data, mask=False)), data)


@pytest.fixture
def described() -> xr.Dataset:
    """A Dataset with all that CF knows of."""
    bounds = np.stack([TIMES, TIMES + pd.offsets.MonthBegin()], axis=1)
    crs = {"grid_mapping_name": "latitude_longitude", "crs_wkt": "GEOGCRS[...]"}
    data = field().to_dataset().assign(crs=((), 0, crs), time_bnds=(("time", "bnds"), bounds))
    data = data.assign(lat_bnds=(("lat", "bnds"), values(H, 2)))
    data.sst.attrs |= {
        "long_name": "sea surface temperature",
        "grid_mapping": "crs",
        "cell_measures": "area: area",
        "valid_range": np.array([-2, 40], np.float32),
        "flags": ["a", "b"],
        "quality": np.int8(3),
    }
    data.time.attrs = {"standard_name": "time", "bounds": "time_bnds", "time_zone": "UTC"}
    data.time.encoding = {"units": "days since 1850-01-01", "dtype": np.dtype("f8")}
    data.lat.attrs = {"units": "degrees_north", "bounds": "lat_bnds"}
    data.attrs = {"title": "made up", "version": np.float32(1.5)}
    return data.assign_coords(
        area=(("lon", "lat"), values(W, H), {"units": "km2"}),
        height=((), 2.0, {"units": "m"}),
        month=("time", TIMES.month),
        zone=("lat", np.array(["north", "middle", "south"])),
    )


def test_everything_comes_back(described: xr.Dataset) -> None:
    back = to_xarray(from_xarray(described))
    xr.testing.assert_identical(back, described)
    assert back.sst.attrs["valid_range"].dtype == np.float32
    assert isinstance(back.sst.attrs["quality"], np.int8)
    assert back.zone.dims == ("lat",)


def test_the_grid_has_the_attributes_as_small_plain_data(described: xr.Dataset) -> None:
    """Darts copies metadata at every step; a string costs it nothing."""
    grid = grid_of(described)
    assert grid.label("sst") == "sea surface temperature [degC]"
    assert grid.label("lat") == "lat [degrees_north]"
    assert grid.attributes_of("crs")["crs_wkt"] == "GEOGCRS[...]"
    assert grid.attributes_of("time")["time_zone"] == "UTC"
    assert grid.attributes_of("global")["title"] == "made up"
    kept = grid.attributes_of("xarray")
    assert {key: type(value) for key, value in kept.items()} == {"layout": str, "rest": str}
    assert sum(map(len, kept.values())) < 12_000


def test_changed_units_and_coordinates_are_those_that_come_back(described: xr.Dataset) -> None:
    series = from_xarray(described)
    grid = Grid.from_series(series)
    kelvin = {**grid.attributes, "sst": {**grid.attributes_of("sst"), "units": "K"}}
    shifted = {**grid.coordinates, "lon": grid.coordinates["lon"] - 180}
    changed = grid.evolve(attributes=kelvin, coordinates=shifted).to_metadata()
    back = to_xarray((series + 273.15).with_metadata({"grid": changed}))
    assert back.sst.units == "K"
    np.testing.assert_array_equal(back.lon, described.lon - 180)
    np.testing.assert_array_equal(back.lat, described.lat)


def test_scalers_slices_and_copies_lose_nothing(described: xr.Dataset) -> None:
    series, scaler = from_xarray(described), GridScaler()
    back = scaler.inverse_transform(scaler.fit_transform(series))[2:].copy()
    expected = described.isel(time=slice(2, None))
    xr.testing.assert_allclose(to_xarray(back), expected, rtol=1e-5)
    xr.testing.assert_identical(to_xarray(back).drop_vars("sst"), expected.drop_vars("sst"))
    assert to_xarray(back).sst.attrs.keys() == described.sst.attrs.keys()
    every_other = to_xarray(series[::2])
    xr.testing.assert_identical(every_other, described.isel(time=slice(None, None, 2)))


@pytest.mark.parametrize("decode_coords", [True, "all"])
def test_files_are_written_again(described: xr.Dataset, tmp_path: Path, decode_coords: Any) -> None:
    described.drop_vars("zone").to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
    options: dict[str, Any] = {"engine": "h5netcdf", "decode_coords": decode_coords}
    with xr.open_dataset(tmp_path / "data.nc", **options) as opened:
        series = from_xarray(opened)
        xr.testing.assert_identical(to_xarray(series), opened)
        to_xarray(series).to_netcdf(tmp_path / "back.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "back.nc", **options) as back:
            xr.testing.assert_identical(back, opened)
    to_xarray(series.shift(T)).to_netcdf(tmp_path / "later.nc", engine="h5netcdf")
    with xr.open_dataset(tmp_path / "later.nc", engine="h5netcdf") as later:
        assert later.lat.attrs["bounds"] == "lat_bnds"
        assert later.sst.attrs["grid_mapping"] == "crs"
        assert later.time.encoding["units"] == "days since 1850-01-01"


def test_the_mapping_of_rioxarray_comes_back() -> None:
    data = field(("time", "y", "x")).assign_coords(spatial_ref=((), 0, {"crs_wkt": "PROJCRS"}))
    data.encoding["grid_mapping"] = "spatial_ref"
    back = to_xarray(from_xarray(data))
    xr.testing.assert_identical(back, data)
    assert back.encoding == {"grid_mapping": "spatial_ref"}


def test_what_belongs_to_the_grid_is_kept_without_time(described: xr.Dataset) -> None:
    """As `open_mfdataset` with `expand_dims("time")` gives it to every variable."""
    data = described.drop_vars(["time_bnds", "month"])
    del data.time.attrs["bounds"]
    repeated = data.copy()
    for name in ("crs", "lat_bnds", "area"):
        repeated[name] = data[name].expand_dims(time=T)
    series = from_xarray(repeated)
    xr.testing.assert_identical(to_xarray(series), data)
    later = to_xarray(series.shift(T))
    assert later.crs.dims == ()
    assert later.sst.grid_mapping == "crs"
    changing = repeated.assign(crs=("time", np.arange(T)))
    with pytest.raises(ValueError, match="'crs' along"):
        from_xarray(changing)


class TestOtherSeries:
    def test_channels_become_variables(self) -> None:
        series = frames_to_series(
            values(T, 2, H, W),
            channel_names=["inflow", "outflow"],
            start=pd.Timestamp("2016-01-01", tz="Europe/Berlin"),
            freq="30min",
            coordinates={"lat": [3.0, 2.0, 1.0], "lon": [5.0, 6.0, 7.0, 8.0]},
            static_fields={"elevation": values(H, W)},
            attributes={"inflow": {"units": "trips"}, "global": {"title": "taxis"}},
        )
        data = to_xarray(series)
        assert data.inflow.dims == ("time", "lat", "lon")
        assert data.inflow.units == "trips"
        assert data.time.attrs == {"time_zone": "Europe/Berlin"}
        assert data.attrs == {"title": "taxis"}
        back = from_xarray(data, static="elevation")
        assert Grid.from_series(back) == Grid.from_series(series)
        np.testing.assert_array_equal(back.all_values(), series.all_values())
        pd.testing.assert_index_equal(back.time_index, series.time_index)
        assert back.static_covariates.equals(series.static_covariates)

    def test_static_fields_that_differ_between_channels_are_left_out(self, caplog: Any) -> None:
        depth, slope = values(2, H, W), values(H, W)
        depth[0, 0, 0] = slope[0, 0] = np.nan
        series = frames_to_series(values(T, 2, H, W), static_fields={"a": depth, "b": slope})
        with caplog.at_level(logging.WARNING):
            data = to_xarray(series)
        assert "'a' differs between channels" in caplog.text
        np.testing.assert_array_equal(data.b, slope)
        assert "a" not in data

    def test_a_series_without_a_grid_is_one_cell(self) -> None:
        series = frames_to_series(values(T, 2, 1, 1), channel_names=["a", "b"]).with_metadata({})
        data = to_xarray(series)
        assert dict(data.sizes) == {"time": T, "y": 1, "x": 1}
        assert list(data.data_vars) == ["a_0_0", "b_0_0"]
        assert "y" not in data.coords

    def test_what_is_no_series_of_its_grid_is_refused(self) -> None:
        series = from_xarray(field())
        with pytest.raises(TypeError, match="`series` must be a TimeSeries, got list"):
            to_xarray([series])
        with pytest.raises(ValueError, match="components"):
            to_xarray(series[series.components[:5].tolist()])
        grid = Grid.from_series(series).evolve(channel_names=["ice"])
        with pytest.raises(ValueError, match="remembers xarray data with others"):
            to_xarray(series.with_metadata({"grid": grid.to_metadata()}))
        with pytest.raises(ValueError, match="`series` must have other names"):
            to_xarray(frames_to_series(values(T, 1, H, W), channel_names=["y"]))


def with_static(**variables: Any) -> xr.Dataset:
    return field().to_dataset().assign(variables)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        (np.zeros((T, H, W)), {}, "`data` must be an xarray"),
        (field(("time", "cell")), {}, "no dimension for `y`"),
        (field().isel(time=0, drop=True), {}, "no dimension for `time`"),
        (field(("time", "lat", "lon", "y")), {}, r"may be `y`: \['lat', 'y'\]"),
        (field(), {"y": "row"}, "`y='row'` must name"),
        (field(), {"y": "lon"}, "a dimension for each axis"),
        (field().isel(lat=slice(0)), {}, "`data` is empty"),
        (field((*DIMS, "z")), {}, r"alone, got {'sst': .*'z'\)}; .*`channel`"),
        (field((*DIMS, "z"), z=[850, 850]), {"channel": "z"}, "a channel '850'"),
        (field().rename("global"), {}, "a channel 'global'"),
        (with_static(index=("time", np.arange(T))), {}, r"got {'index': \('time',\)}"),
        (field(), {"static": "sst"}, "`static` must name variables along"),
        (with_static(z=(DIMS, np.full((T, H, W), "a"))), {}, "real numbers"),
        (field().where(field().lat != 0, np.inf), {}, "infinity at 2000-01-01 .*row 1 and col"),
        (field().astype("i8") + 2**24 + 1, {}, r"`data\['sst'\]` hold integers beyond 16777216"),
        (field().assign_attrs(scale_factor=2), {}, "'scale_factor'.*xr.decode_cf"),
        (field().assign_attrs(_FillValue=-9.0), {}, "'_FillValue'"),
        (field().assign_coords(z=field() * 2), {}, "'z' along"),
        (field() * np.nan, {}, "`mask` must be True"),
        (field().chunk(), {}, "pass a folder as `cache`"),
    ],
)
def test_refusals(data: Any, options: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        from_xarray(data, **options)
