# %% [markdown]
# # Sea surface temperature
#
# From a NetCDF file through xarray to a probabilistic forecast, a map of its uncertainty, and back
# to NetCDF: half a year of the Pacific, month by month, given the half year before.
#
#     python examples/sea_surface_temperature.py --preset cpu --data path/to/sst.mnmean.nc
#
# The file is NOAA's Extended Reconstructed SST, version 5, monthly on a grid of two degrees, from
# north to south; another one with `sst` laid out like it will do. `stand-in` writes a small one and
# reads that.

# %%
from dataclasses import dataclass

from common import show, start, training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    coarsen: int  # how many cells of the file become one, in both directions
    patch_size: int
    hidden_channels: tuple[int, ...]
    steps: int
    stride: int  # months between two forecasts of the test
    batch_size: int
    learning_rate: float


PRESETS = {
    "smoke": Preset(
        coarsen=2,
        patch_size=2,
        hidden_channels=(12, 12),
        steps=50,
        stride=3,
        batch_size=4,
        learning_rate=1e-2,
    ),
    "cpu": Preset(
        coarsen=1,
        patch_size=4,
        hidden_channels=(16, 16),
        steps=120,
        stride=1,
        batch_size=8,
        learning_rate=5e-3,
    ),
}
run = start(
    "sea_surface_temperature",
    PRESETS,
    data="NetCDF file with the variable `sst`, or `stand-in`",
    packages=["xarray", "h5netcdf"],
)

# %% [markdown]
# ## The field
#
# xarray reads the file and cuts out the Pacific. That summer is warm is no news: what is forecast
# is the anomaly, the departure from the climatology, which is the mean of each calendar month. The
# last two years are the test, and the climatology is that of the years before.

# %%
import xarray as xr

import stand_ins

N_TEST = 24
path = run.find_data("sst/sst.mnmean.nc") or stand_ins.write_sea_surface(
    run.output / "stand-in.nc"
)
with xr.open_dataset(path) as dataset:
    sst = dataset["sst"].sel(lat=slice(40, -40), lon=slice(120, 290))
    cells = {"lat": run.preset.coarsen, "lon": run.preset.coarsen}
    sst = sst.coarsen(cells, boundary="trim").mean().load()
climatology = sst[:-N_TEST].groupby("time.month").mean()
anomaly = sst.groupby("time.month") - climatology
anomaly.attrs = {"long_name": "SST anomaly", "units": "degC"}

# %% [markdown]
# `from_xarray` finds time, latitude and longitude, takes names, units and coordinates along, and
# hides the cells that never have a value: land.

# %%
from darts_mim import Grid
from darts_mim.adapters import from_xarray

series = from_xarray(anomaly.drop_vars("month"))
train, test = series[:-N_TEST], series[-N_TEST:]
grid = Grid.from_series(series)
print(grid)
print(f"{1 - grid.mask.mean():.0%} of the cells are land")

# %% [markdown]
# ## The model
#
# Six months are read and six forecast: for each cell and month the median and the quantiles of
# 10 % and 90 %, between which the truth is to lie in 80 % of cases. Anomalies are about as large as
# 1 and need no scaling; `GridScaler` brings other fields there. The month is a covariate that Darts
# makes from the times. A hundred months teach little: the network is small and its training short,
# as the last two years of the training advised.

# %%
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_mim import MIMModel

CONTEXT, HORIZON = 6, 6
model = MIMModel(
    input_chunk_length=CONTEXT,
    output_chunk_length=HORIZON,
    hidden_channels=run.preset.hidden_channels,
    kernel_size=3,
    patch_size=run.preset.patch_size,
    likelihood=QuantileRegression([0.1, 0.5, 0.9]),
    add_encoders={"cyclic": {"future": ["month"]}},
    batch_size=run.preset.batch_size,
    **training(run, run.preset.steps, run.preset.learning_rate),
)
model.fit(train)

# %% [markdown]
# ## Forecasts of the test
#
# Beside MIM stand persistence, for which the anomaly stays as it is, and climatology, for which
# there is none.

# %%
from baselines import persistence

options = {
    "start": test.start_time(),
    "forecast_horizon": HORIZON,
    "stride": run.preset.stride,
    "retrain": False,
    "last_points_only": False,
}
predicted = model.historical_forecasts(
    series, predict_likelihood_parameters=True, **options
)
simple = persistence(HORIZON).fit(train).historical_forecasts(series, **options)

# %% [markdown]
# ## Errors
#
# `to_xarray` makes fields of the forecasts, with the quantiles along a dimension of their own, and
# xarray finds the months of each in the truth. The error is the root of the squared error averaged
# over the cells of the sea.

# %%
import numpy as np
import pandas as pd
from darts_mim.adapters import to_xarray

from records import report

quantiles = [to_xarray(forecast) for forecast in predicted]
medians = [field.sel(quantile=0.5, drop=True) for field in quantiles]
fields = {
    "MIM": medians,
    "persistence": [to_xarray(forecast) for forecast in simple],
    "climatology": [0 * field for field in medians],
}
truth = anomaly.drop_vars("month")


def score(forecasts):
    """Return the error of forecasts, a row for each month."""
    squared = np.mean(
        [((field - truth) ** 2).mean(["lat", "lon"]) for field in forecasts],
        axis=0,
    )
    rows = pd.Index([*range(1, HORIZON + 1), "mean"], name="month")
    rmse = np.sqrt([*squared, squared.mean()])
    return pd.DataFrame({"RMSE [degC]": rmse}, index=rows)


tables = {name: score(forecasts) for name, forecasts in fields.items()}
report(run.output, run.record, tables)

# %%
from darts_mim.plotting import plot_horizon_error, save_figure

curves = {
    name: table["RMSE [degC]"].drop("mean") for name, table in tables.items()
}
figure = plot_horizon_error(curves, ylabel="root mean squared error [degC]")
figure.axes[0].set_xlabel("month of the forecast")
save_figure(run.output / "error_curve.png", figure)
show(
    run.output / "error_curve.png",
    "Error of each month of the forecast, by model",
)

# %% [markdown]
# ## A map of the uncertainty
#
# Truth, median, the width of the 80 % interval, and in how many of the forecasts' months the truth
# was inside. Land stays blank.

# %%
from darts_mim.plotting import plot_uncertainty

figure = plot_uncertainty(
    predicted, test, interval=0.8, cmap="RdBu_r", vmin=-1.0, vmax=1.0
)
save_figure(run.output / "uncertainty.png", figure)
show(
    run.output / "uncertainty.png",
    "Maps of truth, median, interval width and coverage",
)

# %% [markdown]
# `predict(..., num_samples=100)` draws trajectories instead, each month given the months drawn
# before it. Each cell is then drawn by itself; where neighbours err together, as in a sea, such
# trajectories spread too little, and the quantiles are the better intervals.

# %% [markdown]
# ## The months to come
#
# What came after the end of the file is not in it. The forecast goes back to xarray with names,
# units and coordinates; there the climatology is added, and the temperatures go to NetCDF.

# %%
forecast = model.predict(HORIZON, series, predict_likelihood_parameters=True)
temperature = to_xarray(forecast).groupby("time.month") + climatology
temperature = temperature.drop_vars("month").rename("sst")
temperature.attrs = {key: sst.attrs[key] for key in ("long_name", "units")}
temperature.to_netcdf(run.output / "forecast.nc")

with xr.open_dataarray(run.output / "forecast.nc") as opened:
    reopened = opened.load()
xr.testing.assert_identical(reopened, temperature)
print(reopened.coords)

# %%
from darts_mim.plotting import plot_frames

figure = plot_frames(
    series, None, forecast, every=2, cmap="RdBu_r", vmin=-2.0, vmax=2.0
)
save_figure(run.output / "strip.png", figure)
show(
    run.output / "strip.png",
    "Anomalies of the last months of the file, and the median of the forecast",
)

# %% [markdown]
# A user of xarray goes on from here, to the temperature of a cell on the equator, say, where El
# Niño and La Niña show themselves:

# %%
cell = reopened.sel(lat=0, lon=240, method="nearest")
print(cell.round(2).to_pandas().T)
