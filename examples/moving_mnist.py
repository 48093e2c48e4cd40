# %% [markdown]
# # Moving MNIST
#
# Two handwritten digits bounce about a canvas of 64 by 64 pixels; ten frames are given, and the ten
# after them are forecast. This is the first experiment of the MIM paper (section 4.1), through
# Darts' own `fit_from_dataset`, `backtest` and `predict`.
#
#     python examples/moving_mnist.py --preset cpu --digits path/to/mnist
#
# `--digits` is a folder with the four files of MNIST, or `bundled` for the digits that come with
# scikit-learn: fewer, and drawn on 8 by 8 pixels. Presets: `smoke` runs in seconds and shows that
# everything works; `cpu` makes visible digits in under an hour on two cores with AMX; `paper` is
# the paper's network and training, for a GPU. An interrupted run goes on where its last checkpoint
# stands: give the same command again.

# %% [markdown]
# ## The presets
#
# The paper trains four layers of 64 channels on 10,000 sequences for 100,000 steps of batch 8,
# with scheduled sampling over the first half. An hour on two cores is a few thousand steps of a
# smaller network. So short a training learns more when the horizon is trained as it will be used,
# freely running, with a learning rate that rises and falls in one cycle.

# %%
from dataclasses import dataclass

from common import LossLog, one_cycle, show, start


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: tuple[int, ...]
    kernel_size: int
    steps: int
    n_train: int
    n_test: int
    learning_rate: float
    one_cycle: bool
    sampling_steps: int | None
    precision: str
    batch_size: int = 8
    steps_per_epoch: int = 100


PRESETS = {
    "smoke": Preset(
        (16, 16),
        kernel_size=3,
        steps=24,
        n_train=96,
        n_test=4,
        learning_rate=1e-2,
        one_cycle=True,
        sampling_steps=None,
        precision="32-true",
        batch_size=4,
        steps_per_epoch=12,
    ),
    "cpu": Preset(
        (32, 32, 32, 32),
        kernel_size=3,
        steps=2_000,
        n_train=200_000,
        n_test=1_000,
        learning_rate=3e-3,
        one_cycle=True,
        sampling_steps=None,
        precision="bf16-mixed",
    ),
    "paper": Preset(
        (64, 64, 64, 64),
        kernel_size=5,
        steps=100_000,
        n_train=10_000,
        n_test=10_000,
        learning_rate=1e-3,
        one_cycle=False,
        sampling_steps=50_000,
        precision="32-true",
    ),
}
run = start(
    "moving_mnist",
    PRESETS,
    data="folder with MNIST's four files, or `bundled` for scikit-learn's digits",
    data_option="--digits",
    stand_in="bundled",
)

# %% [markdown]
# ## The data
#
# Sequences are made when they are asked for, each a function of the seed and of its number: nothing
# is stored. Training sequences show the training digits and test sequences the test digits; the
# test set is the same whatever `--seed` says.

# %%
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    load_bundled_digits,
    load_mnist_digits,
)

CONTEXT, HORIZON = 10, 10
TEST_SEED = 1  # odd, and training sequences have even seeds


def load_digits(split):
    """Return the images of a split, (n, 28, 28)."""
    if folder is None:
        return load_bundled_digits(split, size=28)
    return load_mnist_digits(folder, split)


folder = run.find_data("mnist")
train_clips = MovingDigits(
    load_digits("train"), n_sequences=run.preset.n_train, seed=2 * run.seed
)
test_clips = MovingDigits(
    load_digits("test"), n_sequences=run.preset.n_test, seed=TEST_SEED
)
train = ClipTrainingDataset(train_clips, CONTEXT, HORIZON)
print(f"{len(train):,} sequences to train on, {len(test_clips):,} to test on")

# %% [markdown]
# ## The model
#
# A checkpoint after every epoch makes the run one that can be interrupted: where there is one, the
# model is loaded and goes on.

# %%
from darts_mim import MIMModel, ScheduledSampling

from records import begin_or_resume

NAME = "moving_mnist"  # of the model's folder


def new_model():
    """Return the model before its training."""
    preset = run.preset
    schedule = (
        one_cycle(preset.learning_rate, preset.steps)
        if preset.one_cycle
        else {}
    )
    sampling = preset.sampling_steps
    return MIMModel(
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_channels=preset.hidden_channels,
        kernel_size=preset.kernel_size,
        patch_size=4,
        scheduled_sampling=None
        if sampling is None
        else ScheduledSampling.linear(sampling),
        batch_size=preset.batch_size,
        optimizer_kwargs={"lr": preset.learning_rate},
        **schedule,
        n_epochs=-1,
        random_state=run.seed,
        model_name=NAME,
        work_dir=str(run.output),
        save_checkpoints=True,
        force_reset=True,
        pl_trainer_kwargs={
            "max_steps": preset.steps,
            "limit_train_batches": preset.steps_per_epoch,
            "precision": preset.precision,
            "callbacks": [
                LossLog(run.output / "loss.csv", every=preset.steps_per_epoch)
            ],
            "enable_progress_bar": run.is_watched,
            "enable_model_summary": False,
        },
    )


record = begin_or_resume(run.output, run.record)
if list((run.output / NAME / "checkpoints").glob("last-*")):
    print("going on from the last checkpoint")
    # trusted: the checkpoint is our own, and names the LossLog of this folder
    model = MIMModel.load_from_checkpoint(
        NAME, work_dir=str(run.output), best=False, trusted=True
    )
else:
    model = new_model()
model.fit_from_dataset(train)

# %% [markdown]
# ## Errors
#
# They are computed as the MIM authors' released code does: squared and absolute errors summed over
# a frame's pixels, intensities in [0, 1]. MIM stands beside a linear model of each pixel's own past
# and beside persistence, which repeats the last frame.

# %%
from darts_mim.protocols import protocol

from baselines import linear_baseline, persistence, score
from records import report

test = test_clips.to_series()
linear = linear_baseline(
    CONTEXT, HORIZON, 5 * run.preset.steps_per_epoch, run.seed
)
models = {
    "MIM": model,
    "NLinear": linear.fit_from_dataset(train),
    "persistence": persistence(HORIZON).fit(test[0]),
}
rules = protocol("moving-mnist")
tables = {
    name: score(each, test, CONTEXT, rules) for name, each in models.items()
}
report(run.output, record, tables)

# %%
from darts_mim.plotting import plot_horizon_error, save_figure

curves = {name: table["MSE"].drop("mean") for name, table in tables.items()}
figure = plot_horizon_error(
    curves, ylabel="squared error, summed over a frame's pixels"
)
save_figure(run.output / "error_curve.png", figure)
show(
    run.output / "error_curve.png",
    "Squared error of each frame of the forecast, by model",
)

# %% [markdown]
# ## A forecast
#
# Of the first test sequence.

# %%
from darts_mim.plotting import animate, plot_frames

history, actual = test[0][:CONTEXT], test[0][CONTEXT:]
forecast = model.predict(n=HORIZON, series=history)
look = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray", "value_label": "intensity"}
save_figure(
    run.output / "strip.png", plot_frames(history, actual, forecast, **look)
)
show(
    run.output / "strip.png",
    "Context, truth, forecast and difference, frame by frame",
)

# %%
animate(run.output / "forecast.gif", history, actual, forecast, **look)
show(
    run.output / "forecast.gif",
    "The digits in motion: truth, forecast and difference",
)
