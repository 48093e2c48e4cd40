# %% [markdown]
# # TaxiBJ, and other flows of a city
#
# Taxis that come into the cells of a city and leave them, half hour by half hour: four frames of
# two channels are given, and the four after them forecast. This is the third experiment of the MIM
# paper (section 4.4, its table of TaxiBJ and figure 9), through Darts' own `fit`,
# `historical_forecasts` and `backtest`.
#
#     python examples/paper/taxibj.py --preset cpu --dataset nyc-taxi --data path/to/NYTaxi
#
# - `--dataset` is `taxibj`, or a smaller set of the same kind, of New York: `taxinyc` (hourly,
#   2010 to 2014), `nyc-taxi` or `nyc-bike` (half-hourly, 90 days of 2016). `--data` is the folder
#   of its files, or `stand-in`, which writes small files like those of `nyc-taxi` and reads them.
# - `--models mim st-resnet` trains these, with the same budget; each once, whatever else is asked
#   for later.
# - Presets: `smoke` runs in seconds and shows that everything works; `cpu` takes a model some
#   minutes on two cores; `paper` is the paper's network, for a GPU.
#
# An interrupted run goes on where its last checkpoint stands: give the same command again.

# %% [markdown]
# ## Models and presets
#
# The rows of the paper's table that this package has, and ConvLSTM. ST-ResNet is the one that is
# not recurrent: it forecasts a frame from the three before it, the one a day ago and the one a week
# ago, and its own forecasts are fed back. The paper states no scheduled sampling here.

# %%
from dataclasses import dataclass
from functools import partial

from darts_mim import ConvLSTMModel, MIMModel, PredRNNModel, STResNetModel

from common import start

RECURRENT = {
    "MIM": MIMModel,
    "PredRNN": PredRNNModel,
    "ConvLSTM": ConvLSTMModel,
}
MODELS = {**RECURRENT, "ST-ResNet": STResNetModel}


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    models: tuple[str, ...]
    hidden_channels: tuple[int, ...]
    kernel_size: int
    residual_units: (
        int  # of ST-ResNet, which has as many channels as the largest layer
    )
    steps: int
    learning_rate: float
    is_one_cycle: bool
    is_departure: (
        bool  # whether departures from the historical average are forecast
    )
    test_days: int | None  # None for all
    stride: int = 1  # frames from a forecast of the test to the next
    batch_size: int = 16
    steps_per_epoch: int = 100  # a checkpoint after so many


PRESETS = {
    "smoke": Preset(
        ("MIM", "ST-ResNet"),
        hidden_channels=(16, 16),
        kernel_size=3,
        residual_units=1,
        steps=12,
        learning_rate=1e-2,
        is_one_cycle=True,
        is_departure=True,
        test_days=2,
        stride=4,
        steps_per_epoch=6,
    ),
    "cpu": Preset(
        tuple(MODELS),
        hidden_channels=(32, 32, 32, 32),
        kernel_size=3,
        residual_units=4,
        steps=500,
        learning_rate=3e-3,
        is_one_cycle=True,
        is_departure=True,
        test_days=None,
    ),
    "paper": Preset(
        tuple(MODELS),
        hidden_channels=(64, 64, 64, 64),
        kernel_size=5,
        residual_units=12,
        steps=100_000,
        learning_rate=1e-3,
        is_one_cycle=False,
        is_departure=False,
        test_days=None,
        batch_size=8,
        steps_per_epoch=1_000,
    ),
}
run = start(
    "taxibj",
    PRESETS,
    data="folder with the flows, or `stand-in`",
    datasets=("taxibj", "taxinyc", "nyc-taxi", "nyc-bike"),
    models=MODELS,
)

# %% [markdown]
# ## The flows
#
# A series for each stretch between gaps, in trips. What is known beside the flow - holidays and
# weather, as it was observed - are future covariates. The last weeks are the test, four of TaxiBJ
# and 27 days of `nyc-taxi`; `smoke` takes two days. No weights are chosen by it: what is tested
# are those after the last step.

# %%
import pandas as pd
from darts.dataprocessing.transformers import Scaler
from darts_mim import Grid
from darts_mim.datasets import load_nyc_flow, load_taxibj, load_taxinyc

import stand_ins

CONTEXT, HORIZON = 4, 4
LOADERS = {
    "taxibj": ("taxibj", partial(load_taxibj, min_length=CONTEXT + HORIZON)),
    "taxinyc": (
        "taxinyc_h5",
        partial(load_taxinyc, min_length=CONTEXT + HORIZON),
    ),
    "nyc-taxi": (
        "nyc_taxi_bike/NYTaxi",
        partial(load_nyc_flow, city="NYTaxi"),
    ),
    "nyc-bike": (
        "nyc_taxi_bike/NYBike",
        partial(load_nyc_flow, city="NYBike"),
    ),
}
place, load = LOADERS[run.dataset]
folder = run.find_data(place)
if folder is None:
    flows = load_nyc_flow(stand_ins.write_flows(run.output / "stand-in"))
else:
    flows = load(folder)
known_before = flows.covariates.drop_after(flows.test[0].start_time())
known_ahead = Scaler().fit(known_before).transform(flows.covariates)
DAY = pd.Timedelta("1D") // pd.Timedelta(flows.train[0].freq)
WEEK = 7 * DAY
print(Grid.from_series(flows.train[0]))
for name, parts in (("train", flows.train), ("test", flows.test)):
    frames = sum(map(len, parts))
    print(f"{name}: {frames:,} frames in {len(parts)} stretches")

# %% [markdown]
# ## What is no news
#
# That mornings are busy is no news. The historical average, the mean over the training at the same
# time of the week, knows it already. The short presets forecast the departure from it
# (`WeeklyAverage`, a transformer of Darts that this example brings along), the preset `paper` the
# flows themselves, brought to [0, 1].

# %%
from darts.dataprocessing import Pipeline
from darts_mim import GridScaler
from sklearn.preprocessing import StandardScaler

from weekly import WeeklyAverage

average = WeeklyAverage().fit(flows.train)
scaling = Pipeline(
    [average, GridScaler(StandardScaler())]
    if run.preset.is_departure
    else [flows.scaled()[1]]  # by one least and one largest flow
)
scaled = scaling.fit_transform(flows.train)

# %% [markdown]
# ## Training
#
# All models have the same series, covariates, steps and learning rate. Beside holidays and weather
# they are told hour and weekday, which Darts makes from the times (`add_encoders`).

# %%
from experiments import budget, keep_errors, train


def new_model(name):
    """Return a model before its training."""
    preset = run.preset
    options = {
        "output_chunk_length": HORIZON,
        "add_encoders": {"cyclic": {"future": ["hour", "dayofweek"]}},
        "batch_size": preset.batch_size,
        **budget(
            run,
            name,
            steps=preset.steps,
            learning_rate=preset.learning_rate,
            is_one_cycle=preset.is_one_cycle,
            steps_per_epoch=preset.steps_per_epoch,
        ),
    }
    if name in RECURRENT:
        return RECURRENT[name](
            input_chunk_length=CONTEXT,
            hidden_channels=preset.hidden_channels,
            kernel_size=preset.kernel_size,
            patch_size=2,
            **options,
        )
    return STResNetModel(
        input_chunk_length=WEEK,  # it reads frames of a day and of a week ago
        period_length=DAY,
        trend_length=WEEK,
        hidden_channels=max(preset.hidden_channels),
        residual_units=preset.residual_units,
        **options,
    )


def fit(model):
    """Train a model on the stretches that are long enough for it."""
    least = model.input_chunk_length + HORIZON
    parts = [part for part in scaled if len(part) >= least]
    if len(parts) < len(scaled):
        print(
            f"{len(scaled) - len(parts)} stretches of less than {least} left out"
        )
    model.fit(parts, future_covariates=[known_ahead] * len(parts))


models = {
    name: train(run, name, partial(new_model, name), fit) for name in run.models
}

# %% [markdown]
# ## Forecasts of the test
#
# From every frame of the test that has a week before it, four are forecast: the same forecasts by
# all models. Beside them stand persistence, which repeats the last frame, "last week", Darts'
# seasonal model, which repeats the same time of the week before, and the historical average.

# %%
from functools import cache

import numpy as np
from darts.models import GlobalNaiveSeasonal

from experiments import persistence

test = list(flows.test)
before = flows.train[-1]
if before.end_time() + before.freq == test[0].start_time():
    test[0] = before[-WEEK:].append(test[0])
test = [part for part in test if len(part) >= WEEK + HORIZON]
if run.preset.test_days is not None:
    test = [test[0][: WEEK + DAY * run.preset.test_days]]
windows = {
    "start": WEEK,
    "start_format": "position",
    "stride": run.preset.stride,
}
options = {
    **windows,
    "forecast_horizon": HORIZON,
    "retrain": False,
    "last_points_only": False,
}
longest = max(flows.train, key=len)
simple = {
    "persistence": persistence(HORIZON).fit(longest),
    # a frame at a time: for more at once Darts repeats the first of them
    "last week": GlobalNaiveSeasonal(WEEK, 1).fit(longest),
}


@cache
def forecasts_of(name):
    """Return the forecasts of each stretch of the test."""
    if name == "historical average":
        usual = average.inverse_transform([part * 0.0 for part in test])
        return [
            [each.slice_intersect(one) for one in forecasts]
            for each, forecasts in zip(
                usual, forecasts_of("persistence"), strict=True
            )
        ]
    if name in simple:
        return simple[name].historical_forecasts(test, **options)
    return models[name].historical_forecasts(
        test,
        future_covariates=[known_ahead] * len(test),
        data_transformers={"series": scaling},
        **options,
    )


def errors_of(name, rules):
    """Return the errors of all forecasts, (F, T, metrics)."""
    errors = simple["persistence"].backtest(
        test,
        historical_forecasts=forecasts_of(name),
        last_points_only=False,
        retrain=False,
        reduction=None,
        **rules,
    )
    return np.concatenate(errors)


# %% [markdown]
# ## Errors
#
# In trips, as traffic papers print them: squared and absolute errors averaged over all cells and
# both flows, and the root of the averaged squared error. And as the MIM authors' code computes
# them: the squared error summed over cells and flows, as fractions of the largest flow.

# %%
from darts_mim import protocol

from experiments import all_tables, draw_curves, report
from published import TAXIBJ

largest = max(
    float(part.values(copy=False).max()) for part in [*flows.train, *test]
)
in_trips, as_published = (
    protocol("traffic"),
    protocol("taxibj", data_range=largest),
)
names = [*MODELS, "historical average", "last week", "persistence"]
for name in [*run.models, *names[len(MODELS) :]]:
    for rules in (in_trips, as_published):
        keep_errors(run, name, rules, partial(errors_of, name))
tables = all_tables(run, names, in_trips)
report(run, tables, None)
report(run, all_tables(run, names, as_published), TAXIBJ, subset="scaled")

# %%
draw_curves(run, tables, "RMSE", "root mean squared error, trips")

# %% [markdown]
# ## A morning
#
# As in figure 9 of the paper: the outflow from seven o'clock on, the second morning of the test,
# and how far forecasts are from it.

# %%
from darts_mim.plotting import animate, plot_frames, save_figure

morning = test[0].time_index[WEEK].normalize() + pd.Timedelta("1D 7h")
history, actual = test[0].split_before(morning)
predicted = {}
for name in run.models:
    departure = models[name].predict(
        HORIZON,
        series=scaling.transform(history),
        future_covariates=known_ahead,
        verbose=False,
    )
    predicted[name] = scaling.inverse_transform(departure)
predicted["persistence"] = simple["persistence"].predict(
    HORIZON, history, verbose=False
)
rows = ["context", "truth", "difference"]
figure = plot_frames(history, actual, predicted, rows=rows, channel="outflow")
save_figure(run.output / "strip.png", figure)

# %% [markdown]
# A forecast may be longer than the model was trained for: the state is carried on. Twelve hours
# from the same frames:

# %%
name = run.models[0]
half_a_day = models[name].predict(
    DAY // 2,
    series=scaling.transform(history),
    future_covariates=known_ahead,
    verbose=False,
)
animate(
    run.output / "forecast.gif",
    history[-CONTEXT:],
    actual,
    scaling.inverse_transform(half_a_day),
    channel="outflow",
)
