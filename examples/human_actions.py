# %% [markdown]
# # Human actions
#
# Clips of people who walk, run, jump and wave: ten frames are given, and after training on the ten
# that follow, twenty are forecast. The people of the test are others than those of the training.
#
#     python examples/human_actions.py --preset cpu --data path/to/weizmann
#
# `--data` is a folder of clips named `<action>/<person>_<action>.avi`, as those of the Weizmann
# actions are (Gorelick et al., PAMI 2007). `stand-in` writes clips of drawn figures and reads them.

# %%
from dataclasses import dataclass

from common import show, start, training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: tuple[int, ...]
    steps: int
    actions: tuple[str, ...]  # how their names begin; ("",) for all
    n_test: int | None  # clips, None for all
    learning_rate: float = 5e-3
    batch_size: int = 8


PRESETS = {
    "smoke": Preset(
        (16, 16), steps=20, actions=("walk", "wave"), n_test=4, batch_size=4
    ),
    "cpu": Preset((32, 32), steps=250, actions=("",), n_test=None),
}
run = start(
    "human_actions",
    PRESETS,
    data="folder with the clips, or `stand-in`",
    packages=["av"],
)

# %% [markdown]
# ## The clips
#
# `read_video` makes a series of each clip: grey, in [0, 1], and of 48 by 60 pixels. Everything that
# one person does is in one part alone: the first two by name are the test.

# %%
from darts_mim import Grid
from darts_mim.adapters import read_video

import stand_ins

folder = run.find_data("weizmann") or stand_ins.write_clips(
    run.output / "stand-in"
)
paths = sorted(
    path
    for path in folder.glob("*/*.avi")
    if path.parent.name.startswith(run.preset.actions)
)
people = sorted({path.name.split("_")[0] for path in paths})
test_people = people[:2]
clips = read_video(paths, size=(48, 60), grey=True)
is_test = [path.name.split("_")[0] in test_people for path in paths]
print(Grid.from_series(clips[0]))
print(
    f"{len(clips)} clips of {len(people)} people; test: {', '.join(test_people)}"
)

# %% [markdown]
# ## The model
#
# Darts takes the list of series: every stretch of twenty frames of every clip is a training sample.
# Most of a picture stands still. The network sees each pixel relative to its mean and spread in the
# ten frames that it reads (`use_reversible_instance_norm`), so that it need not learn to copy the
# background. The price is that little can appear where nothing moved in these frames.

# %%
from darts_mim import MIMModel

CONTEXT, TRAINED, HORIZON = 10, 10, 20
train = [clip for clip, test in zip(clips, is_test, strict=True) if not test]
model = MIMModel(
    input_chunk_length=CONTEXT,
    output_chunk_length=TRAINED,
    hidden_channels=run.preset.hidden_channels,
    kernel_size=3,
    patch_size=4,
    use_reversible_instance_norm={"affine": False},
    batch_size=run.preset.batch_size,
    **training(run, run.preset.steps, run.preset.learning_rate),
)
model.fit(train)

# %% [markdown]
# ## Errors
#
# Of twenty frames from the beginning of each test clip, beside those of two simple models that are
# hard to beat where little moves: persistence repeats the last frame, "mean" the mean of the ten.

# %%
from darts.models import GlobalNaiveAggregate
from darts_mim import protocol
from darts_mim.plotting import plot_horizon_error, save_figure

from baselines import persistence, score
from records import report

test = [
    clip[: CONTEXT + HORIZON]
    for clip, is_kept in zip(clips, is_test, strict=True)
    if is_kept and len(clip) >= CONTEXT + HORIZON
][: run.preset.n_test]
models = {
    "MIM": model,
    "persistence": persistence(HORIZON).fit(train),
    "mean": GlobalNaiveAggregate(CONTEXT, HORIZON, agg_fn="mean").fit(train),
}
rules = protocol("moving-mnist")
tables = {
    name: score(each, test, CONTEXT, rules) for name, each in models.items()
}
report(run.output, run.record, tables)

# %%
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

# %%
from darts_mim.plotting import animate, plot_frames

before, actual = test[-1][:CONTEXT], test[-1][CONTEXT:]
predicted = {
    name: each.predict(HORIZON, series=before, verbose=False)
    for name, each in models.items()
}
look = {"vmin": 0.0, "vmax": 1.0, "cmap": "gray", "value_label": "brightness"}
figure = plot_frames(
    before,
    actual,
    predicted,
    every=4,
    rows=["context", "truth", "forecast"],
    **look,
)
save_figure(run.output / "strip.png", figure)
show(
    run.output / "strip.png",
    "Context, truth and three forecasts, every fourth frame",
)

# %%
animate(
    run.output / "forecast.gif", before, actual, predicted["MIM"], fps=8, **look
)
show(
    run.output / "forecast.gif",
    "The clip in motion: truth, forecast and difference",
)
