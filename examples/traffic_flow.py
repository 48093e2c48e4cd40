# %% [markdown]
# # Traffic flow
#
# Taxis that come into the cells of a city and leave them, half hour by half hour: four frames of
# two channels are given, and the four after them forecast, as departures from what is usual at that
# time of the week.
#
#     python examples/traffic_flow.py --preset cpu --data path/to/NYTaxi
#
# `--data` is a folder with `flow_train.npz` and `flow_test.npz`, each an array of half hours, rows,
# columns and in- and outflow, and `external_knowledge.csv`, which knows the holidays. `stand-in`
# writes small files like these and reads them.

# %%
from dataclasses import dataclass

from common import show, start, training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: tuple[int, ...]
    steps: int
    test_days: int | None  # None for all
    stride: int  # half hours between two forecasts of the test
    learning_rate: float = 1e-2
    batch_size: int = 16


PRESETS = {
    "smoke": Preset((16, 16), steps=60, test_days=2, stride=4),
    "cpu": Preset((32, 32), steps=500, test_days=None, stride=1),
}
run = start(
    "traffic_flow", PRESETS, data="folder with the flows, or `stand-in`"
)

# %% [markdown]
# ## The flows
#
# `read_flow` makes one timeline of several files; where it has gaps, it gives a series for each
# stretch between them. It reads HDF5 files in the layout of TaxiBJ just so.

# %%
import pandas as pd
from darts_mim import Grid
from darts_mim.adapters import read_flow

import stand_ins

folder = run.find_data("nyc_taxi_bike/NYTaxi") or stand_ins.write_flows(
    run.output / "stand-in"
)
days = pd.read_csv(folder / "external_knowledge.csv")
days.index = pd.to_datetime(days["date"], format="%d-%m-%Y")
trips = {"units": "trips per 30 min"}
[series] = read_flow(
    [folder / "flow_train.npz", folder / "flow_test.npz"],
    layout="THWC",
    start=days.index[0],
    freq="30min",
    attributes={"inflow": trips, "outflow": trips},
)
[known] = read_flow(
    folder / "flow_train.npz", layout="THWC", start=days.index[0], freq="30min"
)
train, test = series[: len(known)], series[len(known) :]
print(Grid.from_series(series))
print(f"{len(train)} half hours to train on, {len(test)} to test on")

# %% [markdown]
# ## What is no news
#
# That mornings are busy is no news. The historical average, the mean over the training weeks at the
# same time of the week, knows it already; what is left to forecast is the departure from it. Series
# on a grid are added and subtracted like any other.

# %%


def time_of_week(part):
    """Return weekday, hour and minute of each frame."""
    times = part.time_index
    return [times.day_of_week, times.hour, times.minute]


means = train.to_dataframe().groupby(time_of_week(train)).mean()
times = list(zip(*time_of_week(series), strict=True))
average = series.with_values(means.loc[times].to_numpy("float32"))
departure = series - average

# %% [markdown]
# ## The model
#
# `GridScaler` scales each of the two channels as a whole, so that a quiet cell stays quiet beside a
# busy one. Future covariates are what is known ahead: whether the day is a holiday, and hour and
# weekday, which Darts makes from the times (`add_encoders`). These are numbers, spread over the
# grid; a covariate on the same grid, such as rain, would be seen where it falls.

# %%
from darts import TimeSeries
from darts_mim import GridScaler, MIMModel
from sklearn.preprocessing import StandardScaler

CONTEXT, HORIZON = 4, 4
scaler = GridScaler(StandardScaler()).fit(departure[: len(train)])
is_holiday = days["holiday"].reindex(series.time_index, method="ffill")
holidays = TimeSeries.from_series(is_holiday.astype("float32"))
model = MIMModel(
    input_chunk_length=CONTEXT,
    output_chunk_length=HORIZON,
    hidden_channels=run.preset.hidden_channels,
    kernel_size=3,
    patch_size=2,
    add_encoders={"cyclic": {"future": ["hour", "dayofweek"]}},
    batch_size=run.preset.batch_size,
    **training(run, run.preset.steps, run.preset.learning_rate),
)
model.fit(scaler.transform(departure[: len(train)]), future_covariates=holidays)

# %% [markdown]
# ## Forecasts of the test
#
# From every half hour of the test, four are forecast. Beside MIM stand:
#
# - persistence, which repeats the last frame;
# - "last week", Darts' seasonal model, which repeats the same time of the week before;
# - the historical average;
# - "average, shifted": the average and, on top, the last departure from it.

# %%
from darts.models import GlobalNaiveSeasonal

from baselines import persistence

WEEK = 7 * 48
if run.preset.test_days is not None:
    test = test[: 48 * run.preset.test_days]
until = len(train) + len(test)
options = {
    "start": test.start_time(),
    "forecast_horizon": HORIZON,
    "stride": run.preset.stride,
    "retrain": False,
    "last_points_only": False,
}
last, last_week = persistence(HORIZON), GlobalNaiveSeasonal(WEEK, 1)
for each in (last, last_week):
    each.fit(train)

departures = model.historical_forecasts(
    departure[:until],
    future_covariates=holidays,
    data_transformers={"series": scaler},
    **options,
)
shifts = last.historical_forecasts(departure[:until], **options)
usual = [average.slice_intersect(each) for each in departures]
forecasts = {
    "MIM": [a + b for a, b in zip(usual, departures, strict=True)],
    "persistence": last.historical_forecasts(series[:until], **options),
    "last week": last_week.historical_forecasts(series[:until], **options),
    "historical average": usual,
    "average, shifted": [a + b for a, b in zip(usual, shifts, strict=True)],
}

# %% [markdown]
# ## Errors
#
# In trips, as traffic papers print them: squared and absolute errors averaged over all cells and
# both flows, and the root of the averaged squared error.

# %%
import numpy as np
from darts_mim import protocol
from darts_mim.plotting import plot_horizon_error, save_figure

from records import report

rules = protocol("traffic")


def score(predicted):
    """Return the errors of forecasts, a row for each frame."""
    actual = [test] * len(predicted)
    errors = [
        np.mean(metric(actual, predicted), axis=0) for metric in rules.metrics
    ]
    return rules.table(np.stack(errors, axis=-1))


tables = {name: score(predicted) for name, predicted in forecasts.items()}
report(run.output, run.record, tables)

# %%
curves = {name: table["RMSE"].drop("mean") for name, table in tables.items()}
print(pd.DataFrame(curves).round(1))
figure = plot_horizon_error(
    curves, ylabel="root mean squared error, trips per 30 min"
)
save_figure(run.output / "error_curve.png", figure)
show(
    run.output / "error_curve.png",
    "Error of each frame of the forecast, by model",
)

# %% [markdown]
# ## A morning
#
# The outflow from seven o'clock on, as MIM and persistence forecast it.

# %%
from darts_mim.plotting import animate, plot_frames

morning = test.start_time() + pd.Timedelta("1D 7h")
before, actual = series.split_before(morning)


def forecast_from(moment, n):
    """Return MIM's forecast of the n frames from a moment on."""
    known, _ = departure.split_before(moment)
    scaled = model.predict(
        n, series=scaler.transform(known), future_covariates=holidays
    )
    predicted = scaler.inverse_transform(scaled)
    return predicted + average.slice_intersect(predicted)


predicted = {
    "MIM": forecast_from(morning, HORIZON),
    "persistence": last.predict(HORIZON, before, verbose=False),
}
figure = plot_frames(
    before,
    actual,
    predicted,
    rows=["context", "truth", "forecast"],
    channel="outflow",
)
save_figure(run.output / "strip.png", figure)
show(run.output / "strip.png", "Outflow: context, truth and two forecasts")

# %% [markdown]
# A forecast may be longer than the model was trained for: the state is carried on. Twelve hours
# from the same frames:

# %%
animate(
    run.output / "forecast.gif",
    before[-CONTEXT:],
    actual,
    forecast_from(morning, n=24),
    channel="outflow",
)
show(
    run.output / "forecast.gif",
    "Twelve hours of outflow: truth, forecast and difference",
)
