# %% [markdown]
# # An ordinary multivariate series
#
# A series without a grid is a grid of one cell with a channel for each component, so MIM fits in
# the same lines as Darts' other models. The example is real and needs no download: the carbon
# dioxide over Mauna Loa, and the sea temperature off Peru, which El Niño raises every few years.
# Both come with statsmodels, which Darts installs.

# %%
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from darts import TimeSeries
from statsmodels.datasets import co2, elnino

IS_QUICK = "--quick" in sys.argv
STEPS, EPOCHS = (30, 4) if IS_QUICK else (500, 40)
OUTPUT = Path("out") / "multivariate"
CONTEXT, HORIZON = 12, 12

# %% [markdown]
# ## The series
#
# Both are monthly; the few gaps of the carbon dioxide are filled. Training ends with 1990. The
# years after it are the test, and hold one of the strongest El Niños of the century.

# %%
carbon = co2.load_pandas().data["co2"].resample("MS").mean().interpolate()
table = elnino.load_pandas().data.set_index("YEAR")  # a column for each month
months = pd.date_range(
    f"{table.index[0]:.0f}-01", periods=table.size, freq="MS"
)
sea = pd.Series(table.to_numpy().ravel(), index=months)
both = pd.concat(
    [carbon, sea],
    axis=1,
    join="inner",
    keys=["carbon dioxide [ppm]", "sea temperature [°C]"],
)
series = TimeSeries.from_dataframe(both.astype(np.float32))
train, test = series.split_before(pd.Timestamp("1991-01"))
print(f"{len(train)} months to train on, {len(test)} to test on")

# %% [markdown]
# ## The models
#
# MIM reads the month as a covariate. `use_reversible_instance_norm` shows the network each series
# relative to its mean and spread in the months that it reads, because the carbon dioxide never
# returns to earlier values. A kernel of one cell is enough for a grid of one cell.

# %%
from darts.models import (
    GlobalNaiveSeasonal,
    LinearRegressionModel,
    NLinearModel,
)
from darts_mim import MIMModel

quiet = {"enable_progress_bar": False, "enable_model_summary": False}
models = {
    "MIM": MIMModel(
        CONTEXT,
        HORIZON,
        hidden_channels=(16, 16),
        kernel_size=1,
        batch_size=32,
        add_encoders={"cyclic": {"future": ["month"]}},
        use_reversible_instance_norm={"affine": False},
        optimizer_kwargs={"lr": 3e-3},
        n_epochs=-1,
        random_state=0,
        pl_trainer_kwargs={"max_steps": STEPS, **quiet},
    ),
    "NLinear": NLinearModel(
        CONTEXT,
        HORIZON,
        n_epochs=EPOCHS,
        random_state=0,
        pl_trainer_kwargs=quiet,
    ),
    "regression": LinearRegressionModel(
        lags=CONTEXT, output_chunk_length=HORIZON
    ),
    "last year": GlobalNaiveSeasonal(12, 1),
    "persistence": GlobalNaiveSeasonal(1, HORIZON),
}

# %% [markdown]
# ## Fit and backtest
#
# `GridScaler` scales each component. As one of the `data_transformers` of a backtest it also
# brings the forecasts back, so that errors have the unit of the series. A year is forecast from
# every month of the test.

# %%
from darts.metrics import se
from darts_mim import GridScaler
from sklearn.preprocessing import StandardScaler

scaler = GridScaler(StandardScaler()).fit(train)
errors = {}
for name, model in models.items():
    squared = model.fit(scaler.transform(train)).backtest(
        series,
        start=test.start_time(),
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
        data_transformers={"series": scaler},
        metric=se,
        metric_kwargs={"component_reduction": None},
        reduction=np.mean,
    )
    errors[name] = np.sqrt(squared)  # a row for each month of the forecast
means = {name: each.mean(axis=0) for name, each in errors.items()}
print(pd.DataFrame(means, index=series.components).T.round(3))

# %%
from darts_mim.plotting import plot_horizon_error, save_figure

for k, name in enumerate(series.components):
    curves = {model: each[:, k] for model, each in errors.items()}
    figure = plot_horizon_error(curves, ylabel=f"RMSE, {name}")
    figure.axes[0].set_xlabel("month of the forecast")
    save_figure(
        OUTPUT / f"error_of_{name.split(' [')[0].replace(' ', '_')}.png", figure
    )

# %% [markdown]
# ## A year ahead
#
# Three forecasts of MIM: before, at the beginning and at the end of the El Niño of 1997.

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(9, 5), layout="constrained")
shown = series.slice(pd.Timestamp("1994-01"), pd.Timestamp("1999-01"))
for ax, name in zip(figure.subplots(2, 1), series.components, strict=True):
    ax.plot(shown.time_index, shown[name].values(), color="0.5")
    ax.set_ylabel(name)
for begin in ("1995-06", "1997-03", "1998-01"):
    before, _ = series.split_before(pd.Timestamp(begin))
    scaled = models["MIM"].predict(HORIZON, scaler.transform(before))
    forecast = scaler.inverse_transform(scaled)
    for ax, name in zip(figure.axes, series.components, strict=True):
        ax.plot(forecast.time_index, forecast[name].values(), color="C0")
save_figure(OUTPUT / "observed_and_forecast.png", figure)
