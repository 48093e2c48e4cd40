# %% [markdown]
# # An ordinary multivariate series
#
# A series without a grid is a grid of one cell with a channel for each component: MIM stands beside
# Darts' other models, in the same lines. The example is real and needs no download: the carbon
# dioxide over Mauna Loa and the temperature of the sea off Peru, which El Niño heats every few
# years. Both come with statsmodels, which Darts brings along.
#
#     python examples/multivariate.py --preset cpu

# %%
from dataclasses import dataclass

from common import show, start, training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: tuple[int, ...]
    steps: int
    epochs: int  # of Darts' own networks, which take shorter steps
    learning_rate: float = 1e-2
    batch_size: int = 32


PRESETS = {
    "smoke": Preset((8, 8), steps=30, epochs=4),
    "cpu": Preset((16, 16), steps=500, epochs=40),
}
run = start("multivariate", PRESETS, packages=["statsmodels"])

# %% [markdown]
# ## The series
#
# Both are monthly; the few gaps of the carbon dioxide are filled. Training ends with 1990, and the
# years after it are the test, which has one of the strongest El Niños of the century in it.

# %%
import numpy as np
import pandas as pd
from darts import TimeSeries
from statsmodels.datasets import co2, elnino

carbon = co2.load_pandas().data["co2"].resample("MS").mean().interpolate()
table = elnino.load_pandas().data.set_index(
    "YEAR"
)  # a row for each year, a column for each month
months = pd.date_range(
    f"{table.index[0]:.0f}-01", periods=table.size, freq="MS"
)
sea = pd.Series(table.to_numpy().ravel(), index=months)

both = pd.concat(
    [carbon, sea],
    axis=1,
    join="inner",
    keys=["carbon dioxide", "sea temperature"],
)
series = TimeSeries.from_dataframe(both.astype(np.float32))
UNITS = {"carbon dioxide": "ppm", "sea temperature": "°C"}

CONTEXT, HORIZON = 12, 12
END = pd.Timestamp("1991-01")
train, test = series.split_before(END)
print(f"{len(train)} months to train on, {len(test)} to test on")

# %% [markdown]
# ## The models
#
# MIM reads the month as a covariate. The network sees each series relative to its mean and spread
# in the months that it reads, because the carbon dioxide never comes back to where it was
# (`use_reversible_instance_norm`). A kernel of one cell is enough for a grid of one cell.

# %%
from darts.models import (
    BlockRNNModel,
    GlobalNaiveSeasonal,
    LinearRegressionModel,
    NLinearModel,
)
from darts_mim import MIMModel

from baselines import persistence

sizes = {"input_chunk_length": CONTEXT, "output_chunk_length": HORIZON}
month = {"cyclic": {"future": ["month"]}}
centred = {"use_reversible_instance_norm": {"affine": False}}
usual = {
    **sizes,
    "n_epochs": run.preset.epochs,
    "random_state": run.seed,
    "pl_trainer_kwargs": {
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}
models = {
    "MIM": MIMModel(
        hidden_channels=run.preset.hidden_channels,
        kernel_size=1,
        batch_size=run.preset.batch_size,
        add_encoders=month,
        **centred,
        **sizes,
        **training(run, run.preset.steps, run.preset.learning_rate),
    ),
    "NLinear": NLinearModel(**usual),
    "LSTM": BlockRNNModel("LSTM", hidden_dim=16, **centred, **usual),
    "regression": LinearRegressionModel(
        lags=CONTEXT, output_chunk_length=HORIZON
    ),
    "last year": GlobalNaiveSeasonal(12, 1),
    "persistence": persistence(HORIZON),
}

# %% [markdown]
# ## Fit and backtest, each in the same lines
#
# `GridScaler` takes each component for a channel; as one of the `data_transformers` it scales what
# the models see and brings their forecasts back, so that errors have the unit of the series. A year
# is forecast from every month of the test.

# %%
from darts.metrics import se
from darts_mim import GridScaler
from sklearn.preprocessing import StandardScaler

from records import report

scaler = GridScaler(StandardScaler()).fit(train)


def score(model):
    """Return the errors of a model, a row for each month of the forecast."""
    squared = model.backtest(
        series,
        start=END,
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
        data_transformers={"series": scaler},
        metric=se,
        metric_kwargs={"component_reduction": None},
        reduction=np.mean,
    )
    rows = pd.Index([*range(1, HORIZON + 1), "mean"], name="month")
    squared = np.vstack([squared, squared.mean(axis=0)])
    columns = [f"RMSE, {name} [{UNITS[name]}]" for name in series.components]
    return pd.DataFrame(np.sqrt(squared), index=rows, columns=columns)


tables = {
    name: score(model.fit(scaler.transform(train)))
    for name, model in models.items()
}
report(run.output, run.record, tables)

# %%
from darts_mim.plotting import plot_horizon_error, save_figure

for column, name in zip(tables["MIM"], series.components, strict=True):
    curves = {
        model: errors[column].drop("mean") for model, errors in tables.items()
    }
    figure = plot_horizon_error(curves, ylabel=column)
    figure.axes[0].set_xlabel("month of the forecast")
    file = f"error_of_{name.replace(' ', '_')}.png"
    save_figure(run.output / file, figure)
    show(
        run.output / file, f"{column}, for each month of the forecast, by model"
    )

# %% [markdown]
# ## A year ahead
#
# Three forecasts of MIM: before, at the beginning and at the end of the El Niño of 1997.

# %%
from matplotlib.figure import Figure

figure = Figure(figsize=(9, 5), layout="constrained")
axes = figure.subplots(2, 1, sharex=True)
shown = series.slice(pd.Timestamp("1994-01"), pd.Timestamp("1999-01"))
for ax, name in zip(axes, series.components, strict=True):
    values = shown[name].values()
    ax.plot(shown.time_index, values, color="0.5", label="observed")
    ax.set_ylabel(f"{name} [{UNITS[name]}]")
for begin in ("1995-06", "1997-03", "1998-01"):
    before, _ = series.split_before(pd.Timestamp(begin))
    scaled = models["MIM"].predict(HORIZON, scaler.transform(before))
    forecast = scaler.inverse_transform(scaled)
    times = forecast.time_index
    label = "MIM" if begin == "1995-06" else None
    for ax, name in zip(axes, series.components, strict=True):
        ax.plot(times, forecast[name].values(), color="C0", label=label)
axes[0].legend(frameon=False)
save_figure(run.output / "forecast.png", figure)
show(
    run.output / "forecast.png",
    "Both series from 1994 to 1998, and three forecasts of a year",
)
