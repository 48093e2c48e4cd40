"""Forecasts and computed values: their fields, what they say of themselves, files."""

import base64
import io
import zlib
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from darts import TimeSeries

from darts_mim import GridScaler
from darts_mim.adapters import from_xarray, to_xarray

CLAIMS = ("title", "creator", "creator_name", "institution", "processing_level", "id")
RANGES = {"valid_min": -2.0, "actual_range": [0.0, 1.0], "valid_range": [-2.0, 40.0]}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Two variables on a grid with land, one of them with another order of dimensions."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2000-01-01", periods=24, freq="MS", unit="ns")
    of_time = {"bounds": "time_bnds", "actual_range": [0, 9]}
    coords = {
        "time": ("time", times + pd.Timedelta("14D"), of_time),
        "lat": np.array([10, 0, -10], np.float32),
        "lon": np.arange(4) * 90.0,
        "area": (("lat", "lon"), rng.random((3, 4))),
        "month": ("time", times.month),
    }
    sst = xr.DataArray(rng.random((24, 3, 4)).astype(np.float32), dims=("time", "lat", "lon"))
    sst[:, 0, 1] = np.nan
    sst.attrs = {"units": "degC", "long_name": "sea", "grid_mapping": "crs", **RANGES}
    ice = (sst * 2).astype("f8").transpose("lon", "time", "lat").assign_attrs(units="1")
    attributes = dict.fromkeys(CLAIMS, "NOAA") | {"Conventions": "CF-1.8", "history": "made"}
    bounds = np.stack([times, times + pd.offsets.MonthBegin()], axis=1)
    beside = {"crs": ((), 0, {"crs_wkt": "GEOGCRS[...]"}), "time_bnds": (("time", "nv"), bounds)}
    return xr.Dataset({"sst": sst, "ice": ice}, coords, attributes).assign(beside)


def forecast_of(series: TimeSeries, names: list[str], samples: int = 1) -> TimeSeries:
    """Series as models return them: after another, with likelihood parameters or samples."""
    index = pd.date_range(series.end_time() + series.freq, periods=4, freq=series.freq)
    components = [f"{c}{name}" for c in series.components for name in names]
    values = np.random.default_rng(1).random((4, len(components), samples)).astype(np.float32)
    return TimeSeries(index, values, components=components, metadata=series.metadata)


KINDS: dict[str, Any] = {
    "point": ([""], 1, {}),
    "samples": ([""], 3, {"sample": [0, 1, 2]}),
    "quantiles": (["_q0.100", "_q0.500", "_q0.900"], 1, {"quantile": [0.1, 0.5, 0.9]}),
    "parameters": (["_mu", "_sigma"], 1, {"parameter": ["mu", "sigma"]}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_forecasts_have_the_grid_of_the_data(data: xr.Dataset, kind: str) -> None:
    names, samples, new = KINDS[kind]
    series = forecast_of(from_xarray(data), names, samples)
    forecast = to_xarray(series)
    assert forecast.sst.dims == (*new, "time", "lat", "lon")
    assert forecast.ice.dims == (*new, "lon", "time", "lat")
    assert (forecast.sst.dtype, forecast.ice.dtype) == ("f4", "f8")
    months = pd.date_range("2002-01-01", periods=4, freq="MS") + pd.Timedelta("14D")
    np.testing.assert_array_equal(forecast.time, months)
    land = data.sst.isnull().all("time")
    assert (forecast.sst.isnull() == land).all()
    for name in ("lat", "lon", "area", "crs"):
        xr.testing.assert_identical(forecast[name].variable, data[name].variable)
    values = series.all_values().reshape(4, 2, 3, 4, len(names), samples)
    for at, channel in enumerate(("sst", "ice")):
        cell = forecast[channel][{"lat": 2, "lon": 3}].transpose("time", ...)
        np.testing.assert_array_equal(cell.values.ravel(), values[:, at, 2, 3].ravel())
    for dim, labels in new.items():
        assert forecast[dim].values.tolist() == labels


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("store", ["netcdf", "zarr"])
def test_files_of_forecasts_become_forecasts_again(
    data: xr.Dataset, tmp_path: Path, kind: str, store: str
) -> None:
    names, samples, _ = KINDS[kind]
    series = forecast_of(from_xarray(data), names, samples)
    forecast = to_xarray(series, model="MIMModel")
    if store == "netcdf":
        forecast.to_netcdf(tmp_path / "file", engine="h5netcdf")
        opened = xr.open_dataset(tmp_path / "file", engine="h5netcdf")
    else:
        forecast.to_zarr(tmp_path / "file", consolidated=False)
        opened = xr.open_zarr(tmp_path / "file", chunks=None, consolidated=False)
    with opened:
        xr.testing.assert_identical(opened, forecast)
        back = from_xarray(opened[list(forecast)])
        assert list(back.components) == list(series.components)
        pd.testing.assert_index_equal(back.time_index, series.time_index, exact="equiv")
        hidden = np.isnan(back.all_values())
        np.testing.assert_array_equal(back.all_values()[~hidden], series.all_values()[~hidden])
        xr.testing.assert_identical(to_xarray(back), forecast)


def test_a_forecast_says_what_it_is_and_claims_nothing_of_the_data(data: xr.Dataset) -> None:
    forecast = to_xarray(forecast_of(from_xarray(data), [""]), model="MIMModel")
    assert not set(CLAIMS) & set(forecast.attrs)
    assert forecast.attrs["Conventions"] == "CF-1.8"
    assert forecast.attrs["source"] == "forecast of the model MIMModel"
    first, line = forecast.attrs["history"].split("\n")
    assert first == "made"
    assert "forecast by MIMModel from 2001-12-15 00:00:00, based on 'NOAA'" in line
    assert set(forecast.sst.attrs) == {"units", "long_name", "grid_mapping"}
    assert forecast.time.attrs == {}
    assert forecast.forecast_reference_time == np.datetime64("2001-12-15")
    leads = [31, 62, 90, 121]
    assert (forecast.forecast_period.values / np.timedelta64(1, "D")).tolist() == leads
    assert not {"time_bnds", "month"} & set(forecast.variables)


def test_forecasts_of_known_times_are_no_data(data: xr.Dataset) -> None:
    series = from_xarray(data)
    train, truth = series[:-4], series[-4:]
    forecast = truth.with_values(truth.all_values() + 0.01)
    computed = to_xarray(forecast)
    assert not set(CLAIMS) & set(computed.attrs)
    assert "computed, based on 'NOAA'" in computed.attrs["history"]
    assert "forecast_reference_time" not in computed.coords
    assert "time_bnds" not in computed
    told = to_xarray(forecast, reference_time=train.end_time())
    assert told.forecast_reference_time == np.datetime64("2001-08-15")
    assert told.forecast_period[0] == np.timedelta64(31, "D")
    xr.testing.assert_identical(to_xarray(truth), data.isel(time=slice(-4, None)))


@pytest.mark.parametrize(
    "change",
    [
        lambda series: series.resample("QS", method="mean"),
        lambda series: series * 2,
        lambda series: -series,
        lambda series: series.with_values(series.all_values()[:, ::-1]),
        lambda series: GridScaler().fit_transform(series),
        lambda series: series.with_values(np.nan_to_num(series.all_values())),
    ],
)
def test_computed_values_lose_what_describes_the_data(data: xr.Dataset, change: Any) -> None:
    gappy = data.copy(deep=True)
    gappy.sst[5] = np.nan
    result = to_xarray(change(from_xarray(gappy)))
    assert not {"time_bnds", "month"} & set(result.variables)
    assert not {"bounds", "actual_range"} & set(result.time.attrs)
    assert not set(CLAIMS) & set(result.attrs)
    assert not set(RANGES) & set(result.sst.attrs)
    assert result.sst.units == "degC"


def test_an_array_says_what_it_is_too(data: xr.Dataset) -> None:
    series = from_xarray(data.sst)
    forecast = to_xarray(forecast_of(series, [""]), model="MIMModel")
    assert isinstance(forecast, xr.DataArray)
    assert "forecast by MIMModel" in forecast.attrs["history"]
    assert "valid_min" not in forecast.attrs
    xr.testing.assert_identical(to_xarray(series), data.sst)


def test_forecasts_of_integers_and_of_other_calendars_have_leads(data: xr.Dataset) -> None:
    days = xr.date_range("2000-02-07", periods=24, freq="D", calendar="noleap", use_cftime=True)
    for times, lead in ((days, np.timedelta64(1, "D")), (np.arange(24) * 2, 2)):
        history = from_xarray(data.sst.drop_vars("month").assign_coords(time=times))
        future = history.append_values(history.all_values()[:3])[-3:]
        forecast = to_xarray(future)
        assert forecast.forecast_reference_time == times[-1]
        assert forecast.forecast_period[0] == lead
        xr.testing.assert_identical(to_xarray(from_xarray(forecast)), forecast)


def test_a_memory_larger_than_its_text_is_not_made(data: xr.Dataset) -> None:
    """A file may claim any size: HDF5 makes the values that it does not hold."""
    series = from_xarray(data)
    metadata = series.metadata
    kept = metadata["grid"]["attributes"]["xarray"]
    file = io.BytesIO(zlib.decompress(base64.b64decode(kept["rest"])))
    with h5netcdf.File(file, "a") as opened:
        opened.dimensions["a"] = 2**33
        opened.create_variable("huge", ("a",), "f8", chunks=(1000,))
    kept["rest"] = base64.b64encode(zlib.compress(file.getvalue())).decode()
    with pytest.raises(ValueError, match="damaged"):
        to_xarray(series.with_metadata(metadata))


def test_the_sea_surface_temperature_comes_back_as_it_was(
    shared_data: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(shared_data / "sst" / "sst.mnmean.nc") as sst:
        back = to_xarray(from_xarray(sst))
        xr.testing.assert_identical(back, sst)
        back.to_netcdf(tmp_path / "again.nc")
        with xr.open_dataset(tmp_path / "again.nc") as again:
            xr.testing.assert_identical(again, sst)
