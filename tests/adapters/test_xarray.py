"""Fields to series: how axes and channels are found, what is remembered, what is refused."""

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


class TestAxes:
    @pytest.mark.parametrize(
        ("y", "x"),
        [("lat", "lon"), ("latitude", "longitude"), ("y", "x"), ("Lat", "Lon"), ("rlat", "rlon")],
    )
    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
    def test_names_tell_them_in_any_order(self, y: str, x: str, order: tuple[int, ...]) -> None:
        data = field(("time", y, x))
        series = from_xarray(data.transpose(*(data.dims[axis] for axis in order)))
        np.testing.assert_array_equal(series_to_frames(series)[:, 0], data)

    @pytest.mark.parametrize(
        "attributes",
        [
            ({"axis": "T"}, {"axis": "Y"}, {"axis": "X"}),
            (
                {"standard_name": "time"},
                {"standard_name": "projection_y_coordinate"},
                {"standard_name": "projection_x_coordinate"},
            ),
            ({}, {"units": "degrees_north"}, {"units": "degreesE"}),
        ],
    )
    def test_attributes_tell_them_whatever_they_are_called(self, attributes: Any) -> None:
        data = field(("a", "b", "c"), a=TIMES, b=np.arange(H), c=np.arange(W))
        for name, own in zip("abc", attributes, strict=True):
            data[name].attrs = own
        series = from_xarray(data.transpose("c", "a", "b"))
        np.testing.assert_array_equal(series_to_frames(series)[:, 0], data)
        xr.testing.assert_identical(to_xarray(series), data.transpose("c", "a", "b"))

    def test_they_are_what_they_are_told_to_be(self) -> None:
        data = field(("y", "x", "time"), y=np.arange(T), x=np.arange(H), time=np.arange(W))
        series = from_xarray(data, time="y", y="x", x="time")
        np.testing.assert_array_equal(series_to_frames(series)[:, 0], data)

    def test_a_coordinate_along_a_dimension_tells_it(self) -> None:
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

    def test_several_dates_along_time_are_refused_unless_one_is_said_to_be_it(self) -> None:
        data = field(("time", "y", "x")).drop_vars("time")
        data = data.assign_coords(run=("time", TIMES - pd.Timedelta("1h")), valid=("time", TIMES))
        message = r"2 coordinates of dates along 'time': \['run', 'valid'\]; .*time='run'"
        with pytest.raises(ValueError, match=message):
            from_xarray(data)
        told = from_xarray(data, time="valid")
        data.valid.attrs["standard_name"] = "time"
        for series in (told, from_xarray(data)):
            pd.testing.assert_index_equal(series.time_index, TIMES, check_names=False)

    def test_a_curvilinear_grid_keeps_its_two_dimensional_coordinates(self) -> None:
        data = field(("time", "y", "x")).assign_coords(
            lat=(("y", "x"), values(H, W), {"units": "degrees_north"}),
            lon=(("x", "y"), values(W, H), {"units": "degrees_east"}),
        )
        series = from_xarray(data)
        assert Grid.from_series(series).coordinates is None
        xr.testing.assert_identical(to_xarray(series), data)

    def test_rows_and_columns_stay_in_the_order_of_the_data(self) -> None:
        grid = grid_of(field())
        np.testing.assert_array_equal(grid.coordinates["lat"], [10, 0, -10])
        np.testing.assert_array_equal(grid.coordinates["lon"], [0, 90, 180, 270])

    @pytest.mark.parametrize("names", [["a", "b", "c"], [1.0, np.nan, 3.0]])
    def test_a_coordinate_that_is_no_finite_number_is_kept_and_rows_are_numbered(
        self, names: list[Any]
    ) -> None:
        data = field(lat=("lat", np.array(names)))
        np.testing.assert_array_equal(grid_of(data).coordinates["lat"], [0, 1, 2])
        xr.testing.assert_identical(to_xarray(from_xarray(data)), data)

    @pytest.mark.parametrize(
        ("dims", "message"),
        [
            (("time", "cell"), r"no dimension for the rows .*'time' \(6\), 'cell' \(3\).*stations"),
            (("lat", "lon"), r"no dimension for time .*`data.expand_dims\(time="),
            (("time", "y", "z"), r"no dimension for the columns .*\(lon, longitude, rlon, x\)"),
            (("time", "lat", "lon", "y"), r"2 dimensions that may be `y`: 'lat' \(3\), 'y' \(2\)"),
            (("time", "t", "lat", "lon"), r"2 dimensions that may be `time`: 'time' \(6\), 't'"),
        ],
    )
    def test_missing_and_ambiguous_ones_are_refused(self, dims: Any, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            from_xarray(field(dims).drop_vars(["time", "lat", "lon"], errors="ignore"))

    @pytest.mark.parametrize(
        ("told", "message"),
        [
            ({"y": "row"}, r"`y='row'` must name a dimension .*got neither.*'time' \(6\), 'lat'"),
            ({"y": "area"}, r"`y='area'` must .*got a coordinate along \('lat', 'lon'\)"),
            ({"y": "lon"}, "`y` and `x` are both the dimension 'lon'"),
            ({"channel": "lat"}, "`y` and `channel` are both the dimension 'lat'"),
        ],
    )
    def test_wrong_names_are_refused(self, told: Any, message: str) -> None:
        data = field(area=(("lat", "lon"), values(H, W)))
        with pytest.raises(ValueError, match=message):
            from_xarray(data, **told)
        with pytest.raises(TypeError, match=r"`x` must be the name of a dimension .*got 2 of type"):
            from_xarray(data, x=2)


class TestChannels:
    def test_variables_become_channels(self) -> None:
        data = xr.Dataset({"sst": field(), "ice": field().transpose("lon", "time", "lat") * 2})
        series = from_xarray(data)
        assert Grid.from_series(series).channel_names == ("sst", "ice")
        np.testing.assert_array_equal(series_to_frames(series)[:, 1], data.sst * 2)
        xr.testing.assert_identical(to_xarray(series), data)

    @pytest.mark.parametrize("dim", ["channel", "band", "variable", "level"])
    def test_a_dimension_becomes_channels(self, dim: str) -> None:
        data = field(("time", "lat", "lon", dim), **{dim: [850, 500]})
        series = from_xarray(data, channel=dim if dim == "level" else None)
        grid = Grid.from_series(series)
        assert grid.channel_names == ("850", "500")
        assert grid.label("500") == "500 [degC]"
        np.testing.assert_array_equal(series_to_frames(series), data.transpose("time", dim, ...))
        xr.testing.assert_identical(to_xarray(series), data)

    def test_variables_with_and_without_levels_are_channels_together(self) -> None:
        wind = field(("time", "lat", "lon", "level"), level=[850, 500])
        data = xr.Dataset({"wind": wind, "pressure": field()})
        series = from_xarray(data, channel="level")
        assert Grid.from_series(series).channel_names == ("wind_850", "wind_500", "pressure")
        xr.testing.assert_identical(to_xarray(series), data)

    def test_depths_in_float32_are_named_as_they_are_printed(self) -> None:
        data = field(("time", "lat", "lon", "depth"), depth=np.array([0.1, 10], np.float32))
        assert grid_of(data, channel="depth").channel_names == ("0.1", "10.0")

    def test_entries_of_the_same_name_are_refused(self) -> None:
        data = field(("time", "lat", "lon", "level"), level=[850, 850])
        with pytest.raises(ValueError, match=r"several channels '850'.*level=range\(2\)"):
            from_xarray(data, channel="level")
        assert grid_of(data.assign_coords(level=range(2)), channel="level").channels == 2

    def test_entries_without_a_name_are_numbered(self) -> None:
        assert grid_of(field(("time", "y", "x", "band"))).channel_names == ("band_0", "band_1")

    def test_an_array_without_a_name_comes_back_without_one(self) -> None:
        data = field().rename(None)
        assert grid_of(data).channel_names == ("channel_0",)
        assert to_xarray(from_xarray(data)).name is None

    def test_members_become_samples(self) -> None:
        data = field(("time", "lat", "lon", "member"), member=["a", "b"])
        series = from_xarray(data, sample="member")
        assert series.shape == (T, H * W, 2)
        np.testing.assert_array_equal(series_to_frames(series, layout="THWS"), data.to_numpy())
        xr.testing.assert_identical(to_xarray(series), data)

    def test_fields_beside_become_static_covariates(self) -> None:
        data = (
            field()
            .to_dataset()
            .assign(
                elevation=(("lon", "lat"), values(W, H).astype("f8"), {"units": "m"}),
                is_land=(("lat", "lon"), values(H, W) > 0.5),
            )
        )
        series = from_xarray(data, static=["elevation", "is_land"])
        table = series.static_covariates
        np.testing.assert_allclose(
            table["elevation"], data.elevation.transpose("lat", "lon").values.ravel()
        )
        np.testing.assert_array_equal(table["is_land"], data.is_land.values.ravel())
        xr.testing.assert_identical(to_xarray(series), data)
        assert from_xarray(
            data.drop_vars("is_land"), static="elevation"
        ).static_covariates.shape == (H * W, 1)

    @pytest.mark.parametrize(
        ("change", "options", "error", "message"),
        [
            (
                {"index": ("time", np.arange(T)), "elevation": (("lat", "lon"), values(H, W))},
                {},
                ValueError,
                (
                    r"no fields along .*: 'index' \('time',\), 'elevation'.*data\[\['sst'\]\].*"
                    r"`static=\['elevation'\]`"
                ),
            ),
            (
                {"index": ("time", np.arange(T))},
                {},
                ValueError,
                r"leave these out, data.drop_vars\(\['index'\]\)$",
            ),
            ({}, {"static": "depth"}, ValueError, "`static` must name .*'depth', which is nothing"),
            ({}, {"static": "sst"}, ValueError, r"got 'sst', which is one along \('time', 'lat',"),
            (
                {"depth": (("lat", "lon"), np.full((H, W), np.nan))},
                {"static": "depth"},
                ValueError,
                r"'depth', which has NaN or infinity in 12 cells.*data\['depth'\].fillna\(0\)",
            ),
            (
                {"level": (("time", "lat", "lon", "z"), values(T, H, W, 2))},
                {},
                ValueError,
                r"field 'level' with the dimension 'z' of size 2.*data.isel\(z=0\).*channel='z' or",
            ),
            (
                {"ice": (("time", "lat", "lon", "n"), values(T, H, W, 2))},
                {"sample": "n"},
                ValueError,
                r"has the dimension 'n' in 'ice', but not in 'sst'.*data\[\['name'\]\]",
            ),
            ({"z": (DIMS, np.full((T, H, W), "a"))}, {}, TypeError, "dtype <U1 in 'z'"),
            ({"z": (DIMS, values(T, H, W) * 1j)}, {}, TypeError, "complex64 in 'z'"),
            ({"global": (DIMS, values(T, H, W))}, {}, ValueError, "a channel 'global', which"),
        ],
    )
    def test_other_variables_are_refused(
        self, change: Any, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            from_xarray(field().to_dataset().assign(change), **options)

    def test_what_is_no_xarray_data_is_refused(self) -> None:
        with pytest.raises(TypeError, match=r"must be an xarray DataArray or Dataset, got ndarray"):
            from_xarray(field().to_numpy())
        with pytest.raises(ValueError, match="no variable to make channels of"):
            from_xarray(field().to_dataset().drop_vars("sst"))
        with pytest.raises(TypeError, match=r"strings as names .*got 3 of type int"):
            from_xarray(field().to_dataset().rename(sst=3))
        with pytest.raises(ValueError, match=r"is empty: 'sst' has 'time' \(6\), 'lat' \(0\)"):
            from_xarray(field().isel(lat=slice(0)))

    @pytest.mark.parametrize("dim", ["quantile", "parameter"])
    def test_dimensions_that_forecasts_have_too_may_be_channels(self, dim: str) -> None:
        data = field((*DIMS, dim), **{dim: [0.25, 0.75]})
        with pytest.raises(ValueError, match=f"the dimension '{dim}' of size 2, which is none of"):
            from_xarray(data)
        assert grid_of(data, channel=dim).channel_names == ("0.25", "0.75")


class TestValues:
    @pytest.mark.parametrize("channels", [(), ("channel",)])
    def test_memory_is_shared_where_it_can_be(self, channels: tuple[str, ...]) -> None:
        data = field(("time", "lat", "lon", *channels)).transpose("time", *channels, ...)
        data = data.copy(data=np.ascontiguousarray(data))
        series = from_xarray(data)
        assert np.shares_memory(series.all_values(copy=False), data.to_numpy())
        assert np.shares_memory(to_xarray(series).to_numpy(), data.to_numpy())

    def test_values_are_float32_unless_asked_and_types_come_back(self) -> None:
        data = field().astype("f8")
        assert from_xarray(data).dtype == np.float32
        assert to_xarray(from_xarray(data)).dtype == np.float64
        assert from_xarray(data, dtype=None).dtype == np.float64

    @pytest.mark.parametrize(
        ("value", "dtype"), [(1.0, "int16"), (1.5, "float32"), (np.nan, "float32")]
    )
    def test_integers_come_back_where_no_value_changes(self, value: float, dtype: str) -> None:
        data = (field() * 100).astype("int16")
        series = from_xarray(data)
        xr.testing.assert_identical(to_xarray(series), data)
        assert to_xarray(series).dtype == "int16"
        assert to_xarray(series.with_values(np.full((T, H * W), value, np.float32))).dtype == dtype

    @pytest.mark.parametrize(
        ("change", "options", "error", "message"),
        [
            (
                lambda d: d.where(d.lat != 0, np.inf),
                {},
                ValueError,
                "infinity in 'sst' at 2000-01-01 00:00:00, row 1 and column 0",
            ),
            (
                lambda d: d.astype("f8") + 1e300,
                {},
                ValueError,
                r"beyond .* in 'sst'.*dtype=np.float64",
            ),
            (
                lambda d: d.astype("i8") + 2**24 + 1,
                {},
                ValueError,
                r"the integer 16777217 .*exact only up to 16777216",
            ),
            (lambda d: d, {"dtype": int}, TypeError, "`dtype` must be floating"),
            (
                lambda d: d.assign_attrs(scale_factor=2),
                {},
                ValueError,
                r"packed .*'scale_factor'.*xr.decode_cf",
            ),
            (
                lambda d: d.assign_attrs(x=1j * np.ones(2)),
                {},
                TypeError,
                "an attribute 'x' of 'sst' of dtype complex128",
            ),
            (
                lambda d: d.assign_attrs(x={1, 2}),
                {},
                TypeError,
                "an attribute 'x' of 'sst' of type set",
            ),
            (
                lambda d: d.assign_coords(o=("lat", np.array([1, "a", None], object))),
                {},
                TypeError,
                r"values in 'o' that cannot be kept.*drop_vars\('o'\)",
            ),
            (
                lambda d: d.assign_coords(z=d * 2),
                {},
                ValueError,
                r"'z' along \('time', 'lat', 'lon'\).*reset_coords\('z'\)",
            ),
        ],
    )
    def test_what_cannot_be_held_is_refused(
        self, change: Any, options: Any, error: type[Exception], message: str
    ) -> None:
        with pytest.raises(error, match=message):
            from_xarray(change(field()), **options)


class TestMask:
    def test_cells_without_a_value_are_hidden(self) -> None:
        data = field()
        data[:, 1, 2] = np.nan
        data[:-1, 0, 0] = np.nan
        grid = grid_of(data)
        assert np.argwhere(~grid.mask).tolist() == [[1, 2]]
        assert grid_of(field()).mask is None
        assert grid_of(data, mask=False).mask is None

    @pytest.mark.parametrize("kind", ["array", "field"])
    def test_a_mask_may_be_given(self, kind: str) -> None:
        mask = xr.DataArray(values(W, H) > 0.5, dims=("lon", "lat"))
        given = mask if kind == "field" else mask.transpose("lat", "lon").to_numpy()
        np.testing.assert_array_equal(grid_of(field(), mask=given).mask, mask.T)

    def test_a_cell_is_hidden_where_some_channel_has_no_value(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        data = xr.Dataset({"sst": field(), "ice": field() * 2})
        data.ice[:, 0, 0] = np.nan
        with caplog.at_level(logging.WARNING):
            series = from_xarray(data)
        assert Grid.from_series(series).mask.sum() == H * W - 1
        assert "hides 1 cell in all channels" in caplog.text
        assert to_xarray(series).sst[:, 0, 0].isnull().all()
        xr.testing.assert_identical(to_xarray(from_xarray(data, mask=False)), data)

    def test_hidden_cells_are_blank_again_whatever_the_series_holds_there(self) -> None:
        mask = values(H, W) > 0.5
        series = frames_to_series(np.full((T, 1, H, W), -9999.0), mask=mask, freq="D")
        back = to_xarray(series).channel_0
        np.testing.assert_array_equal(back.isnull().all("time"), ~mask)
        assert (series.all_values() == -9999).all(), "the series itself is left as it is"

    @pytest.mark.parametrize(
        ("mask", "error", "message"),
        [
            (np.ones((W, H), bool), ValueError, "`mask` must have the shape of a frame"),
            (np.ones((H, W)), TypeError, "`mask` must be boolean"),
            (
                xr.DataArray(np.ones(H, bool), dims="lat"),
                ValueError,
                r"`mask` must lie along 'lat'",
            ),
        ],
    )
    def test_wrong_masks_are_refused(self, mask: Any, error: type[Exception], message: str) -> None:
        with pytest.raises(error, match=message):
            from_xarray(field(), mask=mask)

    def test_a_channel_without_any_value_is_refused(self) -> None:
        data = xr.Dataset({"sst": field(), "ice": field() * np.nan})
        with pytest.raises(ValueError, match=r"channel 'ice' has no value at all.*mask=False"):
            from_xarray(data)


class TestRemembered:
    def described(self) -> xr.Dataset:
        """A Dataset with all that CF knows of."""
        bounds = np.stack([TIMES, TIMES + pd.offsets.MonthBegin()], axis=1)
        data = (
            field()
            .to_dataset()
            .assign(
                crs=((), 0, {"grid_mapping_name": "latitude_longitude", "crs_wkt": "GEOGCRS[...]"}),
                time_bnds=(("time", "bnds"), bounds),
                lat_bnds=(("lat", "bnds"), values(H, 2)),
            )
        )
        data.sst.attrs |= {
            "long_name": "sea surface temperature",
            "grid_mapping": "crs",
            "valid_range": np.array([-2, 40], np.float32),
            "flags": ["a", "b"],
            "quality": np.int8(3),
        }
        data.time.attrs = {"standard_name": "time", "bounds": "time_bnds", "time_zone": "UTC"}
        data.lat.attrs = {"units": "degrees_north", "bounds": "lat_bnds"}
        data.attrs = {"title": "made up", "version": np.float32(1.5)}
        return data.assign_coords(
            area=(("lon", "lat"), values(W, H), {"units": "km2"}),
            height=((), 2.0, {"units": "m"}),
            month=("time", TIMES.month),
            zone=("lat", np.array(["north", "middle", "south"])),
        )

    def test_everything_comes_back(self) -> None:
        data = self.described()
        back = to_xarray(from_xarray(data))
        xr.testing.assert_identical(back, data)
        assert back.sst.attrs["valid_range"].dtype == np.float32
        assert isinstance(back.sst.attrs["quality"], np.int8)
        assert isinstance(back.attrs["version"], np.float32)

    def test_pictures_find_units_and_names_in_the_grid(self) -> None:
        grid = grid_of(self.described())
        assert grid.label("sst") == "sea surface temperature [degC]"
        assert grid.label("lat") == "lat [degrees_north]"
        assert grid.attributes_of("crs")["crs_wkt"] == "GEOGCRS[...]"
        assert grid.attributes_of("time")["time_zone"] == "UTC"
        assert grid.attributes_of("global")["title"] == "made up"

    def test_a_changed_unit_is_the_one_that_comes_back(self) -> None:
        series = from_xarray(self.described())
        grid = Grid.from_series(series)
        kelvin = {**grid.attributes, "sst": {**grid.attributes_of("sst"), "units": "K"}}
        changed = grid.evolve(attributes=kelvin).to_metadata()
        assert to_xarray((series + 273.15).with_metadata({"grid": changed})).sst.units == "K"

    def test_what_depends_on_time_is_left_out_where_times_are_new(self) -> None:
        data = self.described()
        later = to_xarray(from_xarray(data).shift(1))
        assert set(data.variables) - set(later.variables) == {"time_bnds", "month"}
        assert "bounds" not in later.time.attrs
        assert later.lat.attrs["bounds"] == "lat_bnds"

    def test_scalers_and_slices_lose_nothing(self) -> None:
        data = self.described()
        series, scaler = from_xarray(data), GridScaler()
        back = scaler.inverse_transform(scaler.fit_transform(series))[2:]
        xr.testing.assert_allclose(to_xarray(back), data.isel(time=slice(2, None)), rtol=1e-5)
        xr.testing.assert_identical(
            to_xarray(back).drop_vars("sst"), data.isel(time=slice(2, None)).drop_vars("sst")
        )

    def test_a_reference_system_in_the_manner_of_rioxarray_comes_back(self) -> None:
        data = field(("time", "y", "x")).assign_coords(spatial_ref=((), 0, {"crs_wkt": "PROJCRS"}))
        data.encoding["grid_mapping"] = "spatial_ref"
        series = from_xarray(data)
        assert Grid.from_series(series).attributes_of("spatial_ref") == {"crs_wkt": "PROJCRS"}
        back = to_xarray(series)
        xr.testing.assert_identical(back, data)
        assert back.encoding == {"grid_mapping": "spatial_ref"}

    @pytest.mark.parametrize("decode_coords", [True, "all"])
    def test_cell_measures_are_written_again(self, tmp_path: Path, decode_coords: Any) -> None:
        data = field().to_dataset().assign(areacella=(("lat", "lon"), values(H, W)))
        data.sst.attrs["cell_measures"] = "area: areacella"
        data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
        with xr.open_dataset(
            tmp_path / "data.nc", engine="h5netcdf", decode_coords=decode_coords
        ) as opened:
            to_xarray(from_xarray(opened)).to_netcdf(tmp_path / "back.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "back.nc", engine="h5netcdf") as back:
            xr.testing.assert_identical(back, data)

    def test_a_field_that_another_names_is_a_channel(self) -> None:
        data = xr.Dataset({"wind": field(), "ps": field() * 2})
        data.wind.attrs["formula_terms"] = "ps: ps"
        assert grid_of(data).channel_names == ("wind", "ps")
        xr.testing.assert_identical(to_xarray(from_xarray(data)), data)

    @pytest.mark.parametrize("decode_coords", [True, "all"])
    def test_bounds_and_projection_are_written_again(
        self, tmp_path: Path, decode_coords: Any
    ) -> None:
        data = self.described().drop_vars("zone")
        data.time.encoding = {"units": "days since 1850-01-01", "dtype": "f8"}
        data.to_netcdf(tmp_path / "data.nc", engine="h5netcdf")
        with xr.open_dataset(
            tmp_path / "data.nc", engine="h5netcdf", decode_coords=decode_coords
        ) as opened:
            series = from_xarray(opened)
        to_xarray(series).to_netcdf(tmp_path / "back.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "back.nc", engine="h5netcdf") as back:
            xr.testing.assert_identical(back, data)
        later = to_xarray(series.shift(T))
        later.to_netcdf(tmp_path / "later.nc", engine="h5netcdf")
        with xr.open_dataset(tmp_path / "later.nc", engine="h5netcdf") as reopened:
            assert reopened.lat.attrs["bounds"] == "lat_bnds"
            assert reopened.sst.attrs["grid_mapping"] == "crs"
            assert "bounds" not in reopened.time.attrs
            assert reopened.time.encoding["units"] == "days since 1850-01-01"

    def test_metadata_are_small(self) -> None:
        """Darts copies them at every step; a string costs it nothing."""
        data = field(("time", "y", "x")).assign_coords(far=(("y", "x"), values(H, W)))
        attributes = from_xarray(data).metadata["grid"]["attributes"]
        assert set(attributes["xarray"]) == {"layout"}
        assert isinstance(attributes["xarray"]["layout"], str)


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
        assert isinstance(data, xr.Dataset)
        assert data.inflow.dims == ("time", "lat", "lon")
        assert data.inflow.units == "trips"
        assert data.time.attrs == {"time_zone": "Europe/Berlin"}
        assert data.attrs == {"title": "taxis"}
        assert from_xarray(data, static="elevation") == series_with_layout(series, data)

    def test_static_fields_that_differ_between_channels_are_left_out_with_a_warning(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
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

    @pytest.mark.parametrize("name", ["time", "y"])
    def test_colliding_names_are_refused(self, name: str) -> None:
        series = frames_to_series(values(T, 1, H, W), channel_names=[name])
        with pytest.raises(ValueError, match=f"a name that a dimension has.*{name}.*rename"):
            to_xarray(series)

    def test_what_is_no_series_of_its_grid_is_refused(self) -> None:
        series = from_xarray(field())
        with pytest.raises(TypeError, match="`series` must be a TimeSeries, got list"):
            to_xarray([series])
        with pytest.raises(ValueError, match="components were selected"):
            to_xarray(series[series.components[:5].tolist()])
        grid = Grid.from_series(series).evolve(channel_names=["ice"])
        with pytest.raises(ValueError, match="remembers xarray data with the channels"):
            to_xarray(series.with_metadata({"grid": grid.to_metadata()}))


def series_with_layout(series: Any, data: xr.Dataset) -> Any:
    """The series as `from_xarray` would have made it."""
    grid = Grid.from_series(series)
    read = Grid.from_series(from_xarray(data, static="elevation"))
    assert read == grid
    return series.with_metadata({"grid": read.to_metadata()})
