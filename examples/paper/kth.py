# %% [markdown]
# # KTH: human actions
#
# Clips of people who walk, jog, run, box, clap and wave: ten frames are given, and after training
# on the ten that follow, twenty are forecast. This is the second experiment of the MIM paper
# (section 4.3, tables 4 to 6, figures 6 to 8), through Darts' own `fit`, `backtest` and `predict`.
#
#     python examples/paper/kth.py --preset cpu --dataset weizmann --data path/to/weizmann
#
# - `--dataset kth` reads the clips of KTH: people 1 to 16 are the training, 17 to 25 the test. A
#   warning says which clips are not there. `weizmann` reads those of the Weizmann actions, named
#   `<action>/<person>_<action>.avi` (Gorelick et al., PAMI 2007): a smaller set like it, whose
#   first two people by name are the test. `--data` is the folder, or `stand-in`, which writes clips
#   of drawn figures, named like these, and reads them.
# - `--models mim predrnn` trains these, with the same budget; each once, whatever else is asked for
#   later.
# - Presets: `smoke` runs in seconds and shows that everything works; `cpu` takes a model up to
#   half an hour on a core; `paper` is the paper's network and frame size, for a GPU.
#
# An interrupted run goes on where its last checkpoint stands: give the same command again.

# %% [markdown]
# ## Models and presets
#
# The rows of the paper's tables that this package has.

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
    "PredRNN++": PredRNNPlusPlusModel,
    "PredRNN": PredRNNModel,
    "ConvLSTM": ConvLSTMModel,
}


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    models: tuple[str, ...]
    size: tuple[int, int]  # of the frames, in pixels
    hidden_channels: tuple[int, ...]
    kernel_size: int
    steps: int
    learning_rate: float
    is_one_cycle: bool
    is_normalised: bool  # pixels by their mean and spread in the context
    sampling_steps: int | None
    stride: int  # frames from a test window to the next
    n_test: int | None  # windows, None for all
    batch_size: int = 8
    steps_per_epoch: int = 50  # a checkpoint after so many


PRESETS = {
    "smoke": Preset(
        ("MIM", "PredRNN"),
        size=(32, 40),
        hidden_channels=(16, 16),
        kernel_size=3,
        steps=8,
        learning_rate=5e-3,
        is_one_cycle=True,
        is_normalised=True,
        sampling_steps=None,
        stride=10,
        n_test=6,
        batch_size=4,
        steps_per_epoch=4,
    ),
    "cpu": Preset(
        ("MIM", "PredRNN"),
        size=(64, 64),
        hidden_channels=(32, 32, 32, 32),
        kernel_size=3,
        steps=300,
        learning_rate=3e-3,
        is_one_cycle=True,
        is_normalised=True,
        sampling_steps=None,
        stride=5,
        n_test=None,
    ),
    "paper": Preset(
        tuple(MODELS),
        size=(128, 128),
        hidden_channels=(64, 64, 64, 64),
        kernel_size=5,
        steps=100_000,
        learning_rate=1e-3,
        is_one_cycle=False,
        is_normalised=False,
        sampling_steps=50_000,
        stride=20,
        n_test=None,
        steps_per_epoch=1_000,
    ),
}
run = start(
    "kth",
    PRESETS,
    data="folder with the clips, or `stand-in`",
    datasets=("kth", "weizmann"),
    models=MODELS,
    packages=["av"],
)

# %% [markdown]
# ## The clips
#
# A series for each clip, grey, in [0, 1]; KTH's clips are cut into the ranges in which somebody
# acts, as the data set's own list gives them. Everything that one person does is in one part alone.
# No weights are chosen by the test: what is tested are those after the last
# step.

# %%
from darts_mim import Grid
from darts_mim.adapters import read_video
from darts_mim.datasets import SeriesWindows, load_kth, split_by_nonstationarity

import stand_ins


def read_kth(folder):
    """Return the clips of KTH that are there, with the people that they show."""
    clips = load_kth(
        folder,
        "all",
        size=run.preset.size,
        cache=run.output / "frames",
        missing="skip",
    )
    return clips, [clip.metadata["kth"]["person"] for clip in clips]


def read_named(folder):
    """Return clips that are named by person and action, with the people that they show."""
    paths = sorted(folder.glob("*/*.avi"))
    clips = read_video(paths, size=run.preset.size, grey=True)
    return clips, [path.name.split("_")[0] for path in paths]


folder = run.find_data(run.dataset)
if folder is not None and run.dataset == "kth":
    clips, shown = read_kth(folder)
    # where no one of the test is there, the last one is
    testers = [one for one in set(shown) if one > 16] or [max(shown)]
else:
    clips, shown = read_named(
        folder or stand_ins.write_clips(run.output / "stand-in")
    )
    testers = sorted(set(shown))[:2]
people = list(zip(clips, shown, strict=True))
train_clips = [clip for clip, person in people if person not in testers]
test_clips = [clip for clip, person in people if person in testers]
print(f"people of the test: {', '.join(map(str, sorted(testers)))}")
print(Grid.from_series(train_clips[0]))

# %% [markdown]
# Windows of thirty frames are the test. The paper divides them into *stationary* and
# *non-stationary* ones (tables 5 and 6) and leaves open how; here it is by how far the motion in a
# window moves on, in units of its own extent (`nonstationarity`).

# %%
CONTEXT, TRAINED, HORIZON = 10, 10, 20

windows = SeriesWindows(test_clips, CONTEXT + HORIZON, stride=run.preset.stride)
if run.preset.n_test is not None:
    windows = windows.select(
        range(0, len(windows), -(-len(windows) // run.preset.n_test))
    )
subsets = split_by_nonstationarity(windows)._asdict()
test = windows.to_series()
print(
    f"{len(train_clips)} series to train on; {len(windows)} windows to test on, "
    f"{len(subsets['stationary'])} of them stationary"
)

# %% [markdown]
# ## Training
#
# All models have the same layers, data, steps and learning rate. Most of a picture stands still. In
# the short presets the networks see each pixel relative to its mean and spread in the ten frames
# that they read (`use_reversible_instance_norm`), so that they need not learn to copy the
# background. The price is that little can appear where nothing moved in these frames.
#
# Each model is tested as soon as it is trained: PSNR and SSIM of bytes, frame by frame.

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
        output_chunk_length=TRAINED,
        hidden_channels=preset.hidden_channels,
        kernel_size=preset.kernel_size,
        patch_size=4,
        use_reversible_instance_norm={"affine": False}
        if preset.is_normalised
        else False,
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


rules = protocol("kth")
models = {}
for name in run.models:
    models[name] = train(
        run,
        name,
        partial(new_model, name),
        lambda model: model.fit(train_clips),
    )
    evaluate = partial(score_in_parts, name, models[name], test, CONTEXT)
    keep_errors(run, name, rules, evaluate)

# %% [markdown]
# ## Errors
#
# Beside the models stands persistence, which repeats the last frame and is hard to beat where
# little moves.

# %%
from experiments import all_tables, draw_curves, report
from published import KTH

last = persistence(HORIZON).fit(test[0])
evaluate = partial(score_in_parts, "persistence", last, test, CONTEXT)
keep_errors(run, "persistence", rules, evaluate)
names = [*MODELS, "persistence"]
tables = all_tables(run, names, rules)
report(run, tables, KTH)

# %%
draw_curves(run, tables, "PSNR", "peak signal-to-noise ratio, dB")
draw_curves(run, tables, "SSIM", "structural similarity")

# %% [markdown]
# Of the stationary windows alone, and of the others, whose figures the paper leaves blank:

# %%
for subset, chosen in subsets.items():
    if chosen:
        report(run, all_tables(run, names, rules, chosen), None, subset=subset)

# %% [markdown]
# ## Gates
#
# Figure 7 of the paper: how many of the memory's gates are nearly open. PredRNN's forget gate is
# often above 0.9 and hands its memory on as it is; what MIM keeps is the output of its stationary
# unit, as a share of what was there.

# %%
from darts_mim.diagnostics import gate_saturation
from darts_mim.plotting import plot_gates, save_figure
from matplotlib.figure import Figure

gated = [name for name in run.models if name in ("MIM", "PredRNN")]
figure = Figure(figsize=(5 * max(len(gated), 1), 3.5), layout="constrained")
for place, name in enumerate(gated):
    saturation = gate_saturation(
        models[name], [window[:CONTEXT] for window in test[:8]], n=HORIZON
    )
    axes = figure.add_subplot(1, len(gated), place + 1)
    plot_gates(saturation, title=name, ax=axes)
    print(name, "keeps more than 0.9 of its memory, by layer:")
    print(saturation.shares.mean().round(2).to_dict())
save_figure(run.output / "gates.png", figure)

# %% [markdown]
# ## A forecast

# %%
from darts_mim.plotting import animate, plot_frames

moving = subsets["nonstationary"] or subsets["stationary"]
window = test[moving[len(moving) // 2]]
before, actual = window[:CONTEXT], window[CONTEXT:]
forecasts = {
    name: models[name].predict(HORIZON, series=before, verbose=False)
    for name in run.models
}
look = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray", "value_label": "brightness"}
rows = ["context", "truth", "forecast"]
figure = plot_frames(before, actual, forecasts, every=4, rows=rows, **look)
save_figure(run.output / "strip.png", figure)

# %%
animate(
    run.output / "forecast.gif",
    before,
    actual,
    forecasts[run.models[0]],
    fps=8,
    **look,
)
