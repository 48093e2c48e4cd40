"""From a file to a probabilistic forecast in a file: what models return becomes xarray data."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from darts import TimeSeries
from darts.models import ConformalNaiveModel
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression

from darts_mim import MIMModel
from darts_mim.adapters import from_xarray, to_xarray

QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
TINY: dict[str, Any] = {
    "hidden_channels": (4, 3),
    "kernel_size": 3,
    "n_epochs": 1,
    "random_state": 0,
    "pl_trainer_kwargs": {**QUIET, "limit_train_batches": 2, "logger": False},
}


@pytest.fixture(scope="module")
def data() -> xr.Dataset:
    """Two variables on a grid with land, one of them with another order of dimensions."""
    rng = np.random.default_rng(0)
    times = pd.date_range("2000-01-01", periods=30, freq="MS", unit="ns") + pd.Timedelta("14D")
    lat, lon = np.array([10, 0, -10], np.float32), np.arange(4) * 90.0
    sst = xr.DataArray(
        rng.random((30, 3, 4)).astype(np.float32),
        {"time": times, "lat": lat, "lon": lon},
        ("time", "lat", "lon"),
        attrs={"units": "degC", "grid_mapping": "crs"},
    )
    sst[:, 0, 1] = np.nan
    ice = (sst * 2).astype("f8").transpose("lon", "time", "lat").assign_attrs(units="1")
    coords = {"area": (("lat", "lon"), rng.random((3, 4))), "month": ("time", times.month)}
    return xr.Dataset({"sst": sst, "ice": ice}, coords, {"title": "made up"}).assign(
        crs=((), 0, {"crs_wkt": "GEOGCRS[...]"})
    )


@pytest.fixture(scope="module")
def forecasts(data: xr.Dataset) -> dict[str, TimeSeries]:
    series, found = from_xarray(data), {}
    for name, likelihood in (
        ("point", None),
        ("quantiles", QuantileRegression([0.1, 0.5, 0.9])),
        ("gaussian", GaussianLikelihood()),
    ):
        model = MIMModel(3, 4, likelihood=likelihood, **TINY)
        model.fit(series)
        if likelihood is None:
            found[name] = model.predict(4)
            conformal = ConformalNaiveModel(model, [0.05, 0.5, 0.95], cal_length=3)
            found["conformal"] = conformal.predict(4, series, predict_likelihood_parameters=True)
        else:
            found[f"{name} sampled"] = model.predict(6, num_samples=5)
            found[f"{name} themselves"] = model.predict(4, predict_likelihood_parameters=True)
    found["of samples"] = found["gaussian sampled"].quantile([0.25, 0.75])
    found["median"] = found["gaussian sampled"].quantile(0.5)
    found["mean"] = found["gaussian sampled"].mean()
    return found


DIMENSIONS = {
    "point": {},
    "quantiles sampled": {"sample": [0, 1, 2, 3, 4]},
    "gaussian sampled": {"sample": [0, 1, 2, 3, 4]},
    "quantiles themselves": {"quantile": [0.1, 0.5, 0.9]},
    "conformal": {"quantile": [0.05, 0.5, 0.95]},
    "of samples": {"quantile": [0.25, 0.75]},
    "median": {"quantile": [0.5]},
    "mean": {},
    "gaussian themselves": {"parameter": ["mu", "sigma"]},
}


@pytest.mark.parametrize("name", DIMENSIONS)
def test_forecasts_have_all_that_the_data_have(
    data: xr.Dataset, forecasts: dict[str, TimeSeries], name: str
) -> None:
    forecast = to_xarray(forecasts[name])
    assert isinstance(forecast, xr.Dataset)
    new = list(DIMENSIONS[name])
    assert forecast.sst.dims == (*new, "time", "lat", "lon")
    assert forecast.ice.dims == (*new, "lon", "time", "lat")
    assert (forecast.sst.dtype, forecast.ice.dtype) == ("f4", "f8")
    for dim, labels in DIMENSIONS[name].items():
        assert forecast[dim].values.tolist() == labels
    np.testing.assert_array_equal(
        forecast.time,
        pd.date_range("2002-07-01", periods=len(forecast.time), freq="MS") + pd.Timedelta("14D"),
    )
    land = data.sst.isnull().all("time")
    for variable in (forecast.sst, forecast.ice):
        blank = variable.isnull()
        assert (blank == land).all(), "blank on land, and nowhere else"
    # all else is as it was, but for what is known of the past alone
    xr.testing.assert_identical(
        forecast.drop_vars(["sst", "ice", "time", *new]),
        data.drop_vars(["sst", "ice", "time", "month"]),
    )
    assert forecast.sst.attrs == data.sst.attrs


@pytest.mark.parametrize("name", DIMENSIONS)
def test_values_are_those_of_the_forecast(forecasts: dict[str, TimeSeries], name: str) -> None:
    series = forecasts[name]
    forecast = to_xarray(series)
    row, column = 2, 3
    for channel in ("sst", "ice"):
        cell = forecast[channel][{"lat": row, "lon": column}]
        for label in DIMENSIONS[name].get("parameter", DIMENSIONS[name].get("quantile", [None])):
            suffix = (
                "" if label is None else f"_{label}" if isinstance(label, str) else f"_q{label:.3f}"
            )
            values = series[f"{channel}_{row}_{column}{suffix}"].all_values()[:, 0]
            dim = next(iter({"parameter", "quantile"} & {*DIMENSIONS[name]}), None)
            own = cell if dim is None else cell.sel({dim: label})
            np.testing.assert_array_equal(
                own.transpose("time", ...).values.reshape(values.shape), values
            )


@pytest.mark.parametrize("kind", ["netcdf", "zarr"])
@pytest.mark.parametrize("name", DIMENSIONS)
def test_forecasts_are_written_and_read_again(
    forecasts: dict[str, TimeSeries], tmp_path: Path, name: str, kind: str
) -> None:
    forecast = to_xarray(forecasts[name])
    if kind == "netcdf":
        forecast.to_netcdf(tmp_path / "forecast.nc", engine="h5netcdf")
        opened = xr.open_dataset(tmp_path / "forecast.nc", engine="h5netcdf")
    else:
        forecast.to_zarr(tmp_path / "forecast.zarr", consolidated=False)
        opened = xr.open_zarr(tmp_path / "forecast.zarr", consolidated=False)
    with opened:
        xr.testing.assert_identical(opened, forecast)
        assert opened.sst.dtype == forecast.sst.dtype


@pytest.mark.parametrize("name", DIMENSIONS)
def test_what_was_made_of_a_forecast_becomes_one_again(
    data: xr.Dataset, forecasts: dict[str, TimeSeries], name: str
) -> None:
    series = forecasts[name]
    forecast = to_xarray(series)
    back = from_xarray(forecast)
    assert list(back.components) == list(series.components)
    pd.testing.assert_index_equal(back.time_index, series.time_index)
    np.testing.assert_array_equal(back.all_values(), series.all_values())
    xr.testing.assert_identical(to_xarray(back), forecast)


def test_forecasts_of_other_calendars_go_on(data: xr.Dataset) -> None:
    days = xr.date_range("2000-02-01", periods=30, freq="D", calendar="noleap", use_cftime=True)
    history = data.sst.drop_vars("month").assign_coords(time=days)
    model = MIMModel(3, 4, **TINY)
    model.fit(from_xarray(history))
    forecast = to_xarray(model.predict(3))
    assert isinstance(forecast, xr.DataArray)
    assert [str(time)[:10] for time in forecast.time.values] == [
        "2000-03-03",
        "2000-03-04",
        "2000-03-05",
    ]
    assert forecast.time.dt.calendar == "noleap"


def test_other_numbers_of_samples_than_members_are_numbered() -> None:
    values = np.random.default_rng(0).random((20, 2, 3, 3)).astype(np.float32)
    data = xr.DataArray(values, {"member": ["a", "b"]}, ("time", "member", "y", "x"))
    series = from_xarray(data, sample="member")
    model = MIMModel(3, 2, likelihood=GaussianLikelihood(), **TINY)
    model.fit(series.mean(axis=2))
    several = to_xarray(model.predict(2, num_samples=5))
    assert several.dims == ("time", "member", "y", "x")
    assert several.member.values.tolist() == [0, 1, 2, 3, 4]
    assert to_xarray(model.predict(2)).dims == ("time", "y", "x")


USER_CODE = """
import xarray as xr
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_mim import GridScaler, MIMModel
from darts_mim.adapters import from_xarray, to_xarray

series = from_xarray(xr.open_dataset(file))
scaler = GridScaler()
scaled = scaler.fit_transform(series)
model = MIMModel(12, 12, patch_size=4, likelihood=QuantileRegression([0.1, 0.5, 0.9]), **settings)
model.fit(scaled)
samples = scaler.inverse_transform(model.predict(12, num_samples=3))
to_xarray(samples).to_netcdf("forecast.nc")
"""

OTHER_PROCESS = """
import sys, numpy as np, xarray as xr
forecast = xr.open_dataset(sys.argv[1])
sst = xr.open_dataset(sys.argv[2])
values = np.load(sys.argv[3])
print(forecast.sst.dims, forecast.sst.shape, forecast.sst.dtype, forecast.sst.units)
print(str(forecast.time.values[0])[:10], str(forecast.time.values[-1])[:10])
print(np.array_equal(forecast.sst, values, equal_nan=True))
print((forecast.sst.isnull() == sst.sst.isnull().all("time")).all().item())
print(forecast.lat.identical(sst.lat), forecast.lon.identical(sst.lon), forecast.attrs == sst.attrs)
"""


def test_a_file_of_sea_surface_temperature_becomes_a_forecast_in_a_file(
    shared_data: Path, tmp_path: Path
) -> None:
    assert len([line for line in USER_CODE.splitlines() if line]) < 20
    file = shared_data / "sst" / "sst.mnmean.nc"
    names: dict[str, Any] = {"file": file, "settings": {**TINY, "batch_size": 2}}
    exec(USER_CODE, names)
    np.save("values.npy", to_xarray(names["samples"]).sst)
    command = [
        sys.executable,
        "-W",
        "error",
        "-c",
        OTHER_PROCESS,
        "forecast.nc",
        file,
        "values.npy",
    ]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [
        "('sample', 'time', 'lat', 'lon') (3, 12, 89, 180) float32 degC",
        "2020-09-01 2021-08-01",
        "True",
        "True",
        "True True True",
    ]


def test_the_sea_surface_temperature_comes_back_as_it_was(
    shared_data: Path, tmp_path: Path
) -> None:
    with xr.open_dataset(shared_data / "sst" / "sst.mnmean.nc") as sst:
        back = to_xarray(from_xarray(sst))
        xr.testing.assert_identical(back, sst)
        back.to_netcdf(tmp_path / "again.nc")
        with xr.open_dataset(tmp_path / "again.nc") as again:
            xr.testing.assert_identical(again, sst)
