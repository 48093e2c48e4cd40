# %% [markdown]
# # Sea surface temperature
#
# From a NetCDF file through xarray to a probabilistic forecast, a map of its uncertainty, and back
# to NetCDF: half a year of the Pacific, month by month, from the half year before.
#
#     python examples/sea_surface_temperature.py path/to/sst.mnmean.nc
#
# The file is NOAA's Extended Reconstructed SST, version 5: monthly, on a grid of two degrees.

# %%
import sys
from pathlib import Path

import numpy as np
import torch
import xarray as xr

IS_QUICK = "--quick" in sys.argv
STEPS, STRIDE = (40, 4) if IS_QUICK else (120, 1)
OUTPUT = Path("out") / "sea_surface_temperature"
CONTEXT, HORIZON, N_TEST = 6, 6, 24

# %% [markdown]
# ## The field
#
# The forecast is of the anomaly, the departure from the mean of each calendar month. The last two
# years are the test; the monthly means are those of the years before.

# %%
with xr.open_dataset(sys.argv[1]) as dataset:
    sst = dataset["sst"].sel(lat=slice(40, -40), lon=slice(120, 290)).load()
if IS_QUICK:
    sst = sst.coarsen(lat=2, lon=2, boundary="trim").mean()
climatology = sst[:-N_TEST].groupby("time.month").mean()
anomaly = (sst.groupby("time.month") - climatology).drop_vars("month")
anomaly.attrs = {"long_name": "SST anomaly", "units": "degC"}

# %% [markdown]
# `from_xarray` finds time, latitude and longitude, keeps names, units and coordinates, and masks
# the cells that never have a value: land.

# %%
from darts_mim import Grid
from darts_mim.adapters import from_xarray

series = from_xarray(anomaly)
train, test = series[:-N_TEST], series[-N_TEST:]
print(Grid.from_series(series))

# %% [markdown]
# ## The model
#
# For each cell and month the model forecasts the median and the quantiles of 10 % and 90 %; the
# truth should lie between these in 80 % of cases. A hundred months teach little, so the network is
# small and its training short.

# %%
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_mim import MIMModel

model = MIMModel(
    CONTEXT,
    HORIZON,
    hidden_channels=(16, 16),
    kernel_size=3,
    patch_size=2 if IS_QUICK else 4,
    likelihood=QuantileRegression([0.1, 0.5, 0.9]),
    add_encoders={"cyclic": {"future": ["month"]}},
    batch_size=8,
    lr_scheduler_cls=torch.optim.lr_scheduler.OneCycleLR,
    lr_scheduler_kwargs={
        "max_lr": 5e-3,
        "total_steps": STEPS,
        "interval": "step",
    },
    n_epochs=-1,
    random_state=0,
    pl_trainer_kwargs={"max_steps": STEPS, "enable_progress_bar": False},
)
model.fit(train)

# %% [markdown]
# ## Errors
#
# Beside MIM stand persistence, for which the anomaly stays as it is, and climatology, for which it
# is zero. `to_xarray` returns forecasts as fields, with the quantiles along a dimension.

# %%
from darts.models import GlobalNaiveSeasonal
from darts_mim.adapters import to_xarray
from darts_mim.plotting import plot_horizon_error, save_figure

options = {
    "start": test.start_time(),
    "forecast_horizon": HORIZON,
    "stride": STRIDE,
    "retrain": False,
    "last_points_only": False,
}
predicted = model.historical_forecasts(
    series, predict_likelihood_parameters=True, **options
)
last = GlobalNaiveSeasonal(1, HORIZON).fit(train)
medians = [to_xarray(each).sel(quantile=0.5, drop=True) for each in predicted]
fields = {
    "MIM": medians,
    "persistence": [
        to_xarray(each) for each in last.historical_forecasts(series, **options)
    ],
    "climatology": [0 * field for field in medians],
}
rmse = {}
for name, forecasts in fields.items():
    squared = [
        ((each - anomaly) ** 2).mean(["lat", "lon"]) for each in forecasts
    ]
    rmse[name] = np.sqrt(np.mean(squared, axis=0))
    print(f"{name}: RMSE {rmse[name].round(3)} degC, by month")
figure = plot_horizon_error(rmse, ylabel="root mean squared error [degC]")
figure.axes[0].set_xlabel("month of the forecast")
save_figure(OUTPUT / "error_by_month.png", figure)

# %% [markdown]
# ## A map of the uncertainty
#
# Truth, median, the width of the 80 % interval, and in how many of the months the truth was inside.

# %%
from darts_mim.plotting import plot_frames, plot_uncertainty

figure = plot_uncertainty(
    predicted, test, interval=0.8, cmap="RdBu_r", vmin=-1.0, vmax=1.0
)
save_figure(OUTPUT / "truth_median_width_and_coverage.png", figure)

# %% [markdown]
# ## The months to come
#
# The forecast beyond the end of the file goes back to xarray with names, units and coordinates. The
# monthly means are added, and the temperatures go to a NetCDF file that any other program opens.

# %%
forecast = model.predict(HORIZON, series, predict_likelihood_parameters=True)
temperature = to_xarray(forecast).groupby("time.month") + climatology
temperature = temperature.drop_vars("month").rename("sst")
temperature.attrs = {"long_name": "Sea surface temperature", "units": "degC"}
temperature.to_netcdf(OUTPUT / "forecast.nc")
equator = temperature.sel(lat=0, lon=240, method="nearest")
print(equator.round(2).to_pandas().T)

look = {"cmap": "RdBu_r", "vmin": -2.0, "vmax": 2.0}
figure = plot_frames(series, None, forecast, every=2, **look)
save_figure(OUTPUT / "last_months_and_forecast.png", figure)
