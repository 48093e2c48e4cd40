# %% [markdown]
# # City flows
#
# Taxis into and out of the cells of New York: probabilistic forecasts of the next six half hours.
#
#     python examples/city_flow.py path/to/nyc_taxi_bike [NYTaxi or NYBike]
#
# The folder holds the files of https://github.com/haoxingl/STSAN.

# %%
import sys
from pathlib import Path

import numpy as np
import torch
from darts import concatenate
from darts_mim.datasets import load_nyc_flow

IS_QUICK = "--quick" in sys.argv
arguments = [each for each in sys.argv[1:] if not each.startswith("--")]
ROOT, CITY = [*arguments, "NYTaxi"][:2]
STEPS, STRIDE = (30, 24) if IS_QUICK else (1200, 1)
OUTPUT = Path("out") / "city_flow"
QUIET = {"accelerator": "cpu", "enable_progress_bar": False}
CONTEXT, HORIZON, DAY, WEEK = 8, 6, 48, 336
[train], [test] = load_nyc_flow(ROOT, CITY, covariates=False)[:2]
series = concatenate([train, test])
print(f"{len(train)} frames to train on, {len(test)} to test on")

# %% [markdown]
# ## Departures from the usual
#
# Flows repeat by the week. The square root makes busy cells vary as much as quiet ones; then the
# mean of each cell at that time of the week is subtracted, and what is left is standardised. The
# pipeline brings forecasts back: quantiles stay quantiles, and none is negative.

# %%
from darts.dataprocessing import Pipeline
from darts_mim import GridScaler, SeasonalAnomalies, variance_stabiliser
from sklearn.preprocessing import StandardScaler

roots, season = variance_stabiliser("sqrt"), SeasonalAnomalies("time_of_week")
pipeline = Pipeline([roots, season, GridScaler(StandardScaler())])
departures = pipeline.fit_transform(train)

# %% [markdown]
# ## The model
#
# A small ConvLSTM learns this in minutes. `MIMModel` takes the same options, and longer. The
# learning rate rises and falls once, and gradients are clipped.

# %%
from darts.utils.likelihood_models.torch import QuantileRegression
from darts_mim import ConvLSTMModel

ONE_CYCLE = {"max_lr": 4e-3, "total_steps": STEPS, "interval": "step"}
model = ConvLSTMModel(
    CONTEXT,
    HORIZON,
    hidden_channels=(16, 16),
    kernel_size=3,
    likelihood=QuantileRegression([0.1, 0.5, 0.9]),
    add_encoders={"cyclic": {"future": ["hour", "dayofweek"]}},
    batch_size=16,
    lr_scheduler_cls=torch.optim.lr_scheduler.OneCycleLR,
    lr_scheduler_kwargs=ONE_CYCLE,
    max_steps=STEPS,
    random_state=int(arguments[2]) if len(arguments) > 2 else 0,
    pl_trainer_kwargs={**QUIET, "gradient_clip_val": 1.0},
)
model.fit(departures)

# %% [markdown]
# ## Forecasts of the test
#
# From every half hour of the last 27 days. Beside the model stand the last frame, the same time
# yesterday and last week, the usual (the average of the time of week), and Darts' models of single
# cells on the departures from it: the last departure times a factor, and a linear regression and
# boosted trees on the last four hours.

# %%
from darts.models import (
    GlobalNaiveSeasonal,
    LinearRegressionModel,
    SKLearnModel,
)
from sklearn.ensemble import HistGradientBoostingRegressor

options = {
    "start": test.start_time(),
    "forecast_horizon": HORIZON,
    "stride": STRIDE,
    "retrain": False,
    "last_points_only": False,
}
left = pipeline.transform(series)
quantiles = {"predict_likelihood_parameters": True}
forecasts = model.historical_forecasts(left, **quantiles, **options)
forecasts = pipeline.inverse_transform(forecasts)


def of_cells(cell_model):
    """Forecast the departures of each cell by a model that all cells share."""
    cells = [left[name] for name in left.components]
    cell_model.fit([cell[: len(train)] for cell in cells])
    each = cell_model.historical_forecasts(cells, **options)
    values = np.array([[f.values()[:, 0] for f in cell] for cell in each])
    pairs = zip(naive["last frame"], values.transpose(1, 2, 0), strict=True)
    back = [like.with_values(frames[..., None]) for like, frames in pairs]
    return pipeline.inverse_transform(back)


naive = {}
for name, age in {"last frame": 1, "yesterday": DAY, "last week": WEEK}.items():
    seasonal = GlobalNaiveSeasonal(age, 1, pl_trainer_kwargs=QUIET)
    naive[name] = seasonal.fit(train).historical_forecasts(series, **options)
medians = [c for c in forecasts[0].components if c.endswith("q0.500")]
usual = SeasonalAnomalies("time_of_week").fit(train)
chunk, trees = {"output_chunk_length": HORIZON}, HistGradientBoostingRegressor()
compared = {
    "ConvLSTM": [each[medians] for each in forecasts],
    **naive,
    "usual": usual.inverse_transform([0 * f for f in naive["last frame"]]),
    "last departure": of_cells(LinearRegressionModel([-1], **chunk)),
    "regression": of_cells(LinearRegressionModel(CONTEXT, **chunk)),
    "boosted trees": of_cells(SKLearnModel(CONTEXT, model=trees, **chunk)),
}

# %% [markdown]
# ## Errors and coverage
#
# Trips per half hour, by half hour of the forecast; the model's medians stand for it. Of the truth,
# 80 % should lie between the quantiles of 10 % and 90 %.

# %%
from darts.metrics import mic
from darts_mim import frame_mae, frame_mse
from darts_mim.plotting import plot_horizon_error, save_figure

rmse, truth = {}, [series] * len(forecasts)
for name, predicted in compared.items():
    rmse[name] = np.sqrt(np.mean(frame_mse(truth, predicted), axis=0))
    mae = np.mean(frame_mae(truth, predicted), axis=0)
    print(f"{name:15} RMSE {rmse[name].round(2)}  MAE {mae.round(2)}")
inside = mic(truth, forecasts, q_interval=(0.1, 0.9))
print(f"inside the 80 % interval: {np.mean(inside):.1%}")
print(f"least quantile: {min(each.values().min() for each in forecasts)}")
figure = plot_horizon_error(rmse, ylabel="root mean squared error [trips]")
figure.axes[0].set_xlabel("half hour of the forecast")
save_figure(OUTPUT / "error_by_half_hour.png", figure)
