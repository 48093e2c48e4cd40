# %% [markdown]
# # Moving MNIST
#
# Two handwritten digits bounce about a canvas of 64 by 64 pixels; ten frames are given, and the ten
# after them are forecast. This is the first experiment of the MIM paper (section 4.1, tables 1 to
# 3, figures 4 and 5), through Darts' own `fit_from_dataset`, `backtest` and `predict`.
#
#     python examples/paper/moving_mnist.py --preset cpu --digits path/to/mnist
#
# - `--digits` is a folder with the four files of MNIST, or `bundled` for the digits that come with
#   scikit-learn: fewer, and drawn on 8 by 8 pixels.
# - `--dataset accelerated` is the variant of table 3, in which each digit's speed changes;
#   `benchmark` tests on the published test file, `mnist_test_seq.npy`, in the same folder.
# - `--models mim predrnn` trains these, with the same budget; each once, whatever else is asked for
#   later.
# - Presets: `smoke` runs in seconds and shows that everything works; `cpu` takes a model up to
#   half an hour on a core; `paper` is the paper's training, for a GPU.
#
# An interrupted run goes on where its last checkpoint stands: give the same command again.

# %% [markdown]
# ## Models and presets
#
# The rows of the paper's tables that this package has. The paper trains four layers of 64 channels
# for 100,000 steps of batch 8, on 10,000 sequences, with scheduled sampling over the first half. A
# few minutes on two cores are some hundred steps of a smaller network. So short a training learns
# more when the horizon is trained as it will be used, freely running, with a learning rate that
# rises and falls in one cycle.

# %%
from dataclasses import dataclass
from functools import partial

from darts_mim import (
    ConvLSTMModel,
    MIMModel,
    PredRNNModel,
    PredRNNPlusPlusModel,
)

from common import start

MODELS = {
    "MIM": MIMModel,
    "MIM without MIM-N": partial(MIMModel, nonstationary_unit=False),
    "MIM without MIM-S": partial(MIMModel, stationary_unit=False),
    "PredRNN++": PredRNNPlusPlusModel,
    "PredRNN": PredRNNModel,
    "ConvLSTM": ConvLSTMModel,
}


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    models: tuple[str, ...]
    hidden_channels: tuple[int, ...]
    kernel_size: int
    steps: int
    n_train: int
    n_test: int
    learning_rate: float
    is_one_cycle: bool
    sampling_steps: int | None
    batch_size: int = 8
    steps_per_epoch: int = 100  # a checkpoint after so many


PRESETS = {
    "smoke": Preset(
        ("MIM", "ConvLSTM"),
        hidden_channels=(16, 16),
        kernel_size=3,
        steps=8,
        n_train=32,
        n_test=4,
        learning_rate=1e-2,
        is_one_cycle=True,
        sampling_steps=None,
        batch_size=4,
        steps_per_epoch=4,
    ),
    "cpu": Preset(
        tuple(MODELS),
        hidden_channels=(32, 32, 32, 32),
        kernel_size=3,
        steps=400,
        n_train=200_000,
        n_test=1_000,
        learning_rate=3e-3,
        is_one_cycle=True,
        sampling_steps=None,
        steps_per_epoch=50,
    ),
    "paper": Preset(
        tuple(MODELS),
        hidden_channels=(64, 64, 64, 64),
        kernel_size=5,
        steps=100_000,
        n_train=10_000,
        n_test=10_000,
        learning_rate=1e-3,
        is_one_cycle=False,
        sampling_steps=50_000,
    ),
}
run = start(
    "moving_mnist",
    PRESETS,
    data="folder with MNIST's four files, or `bundled` for scikit-learn's digits",
    data_option="--digits",
    stand_in="bundled",
    datasets=("constant", "accelerated", "benchmark"),
    models=MODELS,
)

# %% [markdown]
# ## The data
#
# Sequences are made when they are asked for, each a function of the seed and of its number: nothing
# is stored. Training sequences show the training digits and test sequences the test digits; the
# test set is the same whatever `--seed` says. No weights are chosen by it: what
# is tested are the weights after the last step.
#
# Accelerated digits draw a rate `r` each, uniform between -0.05 and 0.05, and go `speed * exp(r t)`
# to frame `t`: over the 20 frames the fastest become 2.6 times as fast. The paper does not state
# its law; this one is ours.

# %%
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    load_bundled_digits,
    load_mnist_digits,
    load_moving_mnist,
)

CONTEXT, HORIZON = 10, 10
TEST_SEED = 1  # odd, and training sequences have even seeds


def load_digits(split):
    """Return the images of a split, (n, 28, 28)."""
    if folder is None:
        return load_bundled_digits(split, size=28)
    return load_mnist_digits(folder, split)


folder = run.find_data("mnist")
moving = partial(
    MovingDigits, acceleration=0.05 if run.dataset == "accelerated" else 0.0
)
train_clips = moving(
    load_digits("train"), n_sequences=run.preset.n_train, seed=2 * run.seed
)
if run.dataset == "benchmark":
    test_clips = load_moving_mnist(folder)
else:
    test_clips = moving(
        load_digits("test"), n_sequences=run.preset.n_test, seed=TEST_SEED
    )
n_test = min(run.preset.n_test, len(test_clips))
train_set = ClipTrainingDataset(train_clips, CONTEXT, HORIZON)
print(f"{len(train_set):,} sequences to train on, {n_test:,} to test on")

# %% [markdown]
# ## Training
#
# All models have the same layers, data, steps and learning rate. Each is tested as soon as it is
# trained, as the MIM authors' released code does it: squared and absolute errors summed over a
# frame's pixels, intensities in [0, 1].

# %%
from darts_mim import ScheduledSampling, protocol

from experiments import (
    budget,
    keep_errors,
    persistence,
    score_in_parts,
    train,
)


def new_model(name):
    """Return a model before its training."""
    preset = run.preset
    sampling = preset.sampling_steps
    return MODELS[name](
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_channels=preset.hidden_channels,
        kernel_size=preset.kernel_size,
        patch_size=4,
        scheduled_sampling=None
        if sampling is None
        else ScheduledSampling.linear(sampling),
        batch_size=preset.batch_size,
        **budget(
            run,
            name,
            steps=preset.steps,
            learning_rate=preset.learning_rate,
            is_one_cycle=preset.is_one_cycle,
            steps_per_epoch=preset.steps_per_epoch,
        ),
    )


test = test_clips.to_series(range(n_test))
rules = protocol("moving-mnist")
models = {}
for name in run.models:
    models[name] = train(
        run,
        name,
        partial(new_model, name),
        lambda model: model.fit_from_dataset(train_set),
    )
    evaluate = partial(score_in_parts, name, models[name], test, CONTEXT)
    keep_errors(run, name, rules, evaluate)

# %% [markdown]
# ## Errors
#
# Beside the models stands persistence, which repeats the last frame.

# %%
from experiments import all_tables, draw_curves, report
from published import MOVING_MNIST

last = persistence(HORIZON).fit(test[0])
evaluate = partial(score_in_parts, "persistence", last, test, CONTEXT)
keep_errors(run, "persistence", rules, evaluate)
tables = all_tables(run, [*MODELS, "persistence"], rules)
# the paper leaves the figures of its table 3, of accelerated digits, blank
report(run, tables, None if run.dataset == "accelerated" else MOVING_MNIST)

# %%
draw_curves(run, tables, "MSE", "squared error, summed over a frame's pixels")
draw_curves(run, tables, "SSIM", "structural similarity")

# %% [markdown]
# ## A forecast
#
# Of the first test sequence.

# %%
from darts_mim.plotting import animate, plot_frames, save_figure

history, actual = test[0][:CONTEXT], test[0][CONTEXT:]
forecasts = {
    name: models[name].predict(n=HORIZON, series=history, verbose=False)
    for name in run.models
}
look = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray", "value_label": "intensity"}
rows = ("context", "truth", "forecast")
save_figure(
    run.output / "strip.png",
    plot_frames(history, actual, forecasts, rows=rows, **look),
)

# %%
animate(
    run.output / "forecast.gif",
    history,
    actual,
    forecasts[run.models[0]],
    **look,
)
