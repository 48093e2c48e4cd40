"""From a real NetCDF file to a file of its probabilistic forecast, as a user would write it."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

SCRIPT = """
import xarray as xr
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_mim import GridScaler, MIMModel
from darts_mim.adapters import from_xarray, to_xarray
from darts_mim.presets import TINY

data = xr.open_dataset(PATH)[["sst"]].isel(time=slice(-60, None))
scaler = GridScaler()
series = scaler.fit_transform(from_xarray(data))
options = {**TINY, "patch_size": 8, "pl_trainer_kwargs": {"accelerator": "cpu", "max_steps": 3}}
model = MIMModel(**options, likelihood=QuantileRegression(), random_state=0).fit(series)
forecast = scaler.inverse_transform(model.predict(6, num_samples=5))
to_xarray(forecast).to_netcdf("forecast.nc", engine="h5netcdf")
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # a user's script meets whatever others warn of
def test_a_file_of_the_sea_becomes_its_forecast_in_under_twenty_lines(shared_data: Path) -> None:
    path = shared_data / "sst" / "sst.mnmean.nc"
    if not path.exists():
        pytest.skip(f"needs {path}")
    assert len([line for line in SCRIPT.splitlines() if line.strip()]) < 20
    exec(SCRIPT, {"PATH": path})
    with xr.open_dataset(path) as data, xr.open_dataset("forecast.nc") as forecast:
        sst = forecast.sst
        assert sst.sizes["sample"] == 5
        assert sst.attrs["units"] == data.sst.attrs["units"]
        for name in ("lat", "lon"):
            xr.testing.assert_identical(forecast[name].variable, data[name].variable)
        months = data.indexes["time"][-1:].append(forecast.indexes["time"])
        assert (np.diff(months.year * 12 + months.month) == 1).all()
        is_sea = data.sst.isel(time=slice(-60, None)).notnull().any("time")
        assert (sst.notnull().all(["time", "sample"]) == is_sea).all()
        assert float(sst.std("sample").max()) > 0
