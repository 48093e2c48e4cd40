# %% [markdown]
# # Bouncing digits: the demo
#
# Two handwritten digits bounce about a canvas of 32 by 32 pixels. MIM reads ten frames and
# forecasts the next ten, on digits that it was not trained on.
#
#     make demo
#
# Training takes at most four minutes on two cores. The script then prints the error of MIM beside
# that of two baselines, and writes pictures to `out/bouncing_digits`. With `--quick` it trains for
# seconds, which shows that everything works.

# %%
import sys
from pathlib import Path

import torch
from darts.models import GlobalNaiveSeasonal, NLinearModel
from darts_mim import MIMModel, protocol
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    load_bundled_digits,
)
from darts_mim.plotting import (
    animate,
    plot_frames,
    plot_horizon_error,
    save_figure,
)

CONTEXT, HORIZON, BATCH = 10, 10, 8
IS_QUICK = "--quick" in sys.argv
STEPS, N_TEST = (4, 4) if IS_QUICK else (400, 200)
OUTPUT = Path("out") / "bouncing_digits"

# %% [markdown]
# ## The data
#
# The digits come with scikit-learn. A sequence is drawn when it is read, from the seed and its
# number. Test sequences show other images, mostly in other handwriting.


# %%
def make_clips(split, n_sequences, seed):
    """Return sequences of bouncing digits."""
    digits = load_bundled_digits(split, size=14)
    return MovingDigits(
        digits, n_sequences=n_sequences, seed=seed, height=32, width=32
    )


train = ClipTrainingDataset(
    make_clips("train", STEPS * BATCH, seed=0), CONTEXT, HORIZON
)
test = make_clips("test", N_TEST, seed=1).to_series()

# %% [markdown]
# ## Training
#
# One ST-LSTM layer and two MIM blocks work on patches of 4 by 4 pixels. The learning rate rises and
# falls in one cycle. `NLinearModel` forecasts each pixel from its own past.

# %%
model = MIMModel(
    input_chunk_length=CONTEXT,
    output_chunk_length=HORIZON,
    hidden_channels=(24, 24, 24),
    kernel_size=3,
    patch_size=4,
    batch_size=BATCH,
    lr_scheduler_cls=torch.optim.lr_scheduler.OneCycleLR,
    lr_scheduler_kwargs={
        "max_lr": 5e-3,
        "total_steps": STEPS,
        "interval": "step",
    },
    n_epochs=1,
    random_state=0,
    pl_trainer_kwargs={"accelerator": "cpu", "max_time": {"minutes": 4}},
)
model.fit_from_dataset(train)
if (step := model.trainer.global_step) < STEPS:
    print(f"stopped after four minutes, at step {step} of {STEPS}")

linear = NLinearModel(
    CONTEXT,
    HORIZON,
    shared_weights=True,
    batch_size=BATCH,
    n_epochs=1,
    random_state=0,
    pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False},
)
models = {
    "MIM": model,
    "NLinear": linear.fit_from_dataset(train),
    "persistence": GlobalNaiveSeasonal(1, HORIZON).fit(test[0]),
}

# %% [markdown]
# ## Errors
#
# The squared error is summed over a frame's pixels, as in the published tables of Moving MNIST.

# %%
rules = protocol("moving-mnist")
tables = {}
for name, each in models.items():
    errors = each.backtest(
        test,
        start=CONTEXT,
        start_format="position",
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
        **rules,
    )
    tables[name] = rules.table(errors)
    print(name, tables[name].loc["mean"].round(3).to_dict())

mse = {name: table["MSE"] for name, table in tables.items()}
share = mse["MIM"]["mean"] / mse["persistence"]["mean"]
print(f"MIM's squared error is {share:.2f} of persistence's")

# %% [markdown]
# ## Pictures

# %%
curves = {name: errors.drop("mean") for name, errors in mse.items()}
label = "squared error, summed over a frame's pixels"
save_figure(
    OUTPUT / "error_by_frame.png", plot_horizon_error(curves, ylabel=label)
)

history, actual = test[0][:CONTEXT], test[0][CONTEXT:]
forecast = model.predict(HORIZON, history, verbose=False)
look = {"vmin": 0, "vmax": 1, "cmap": "gray", "value_label": "intensity"}
save_figure(
    OUTPUT / "forecast.png", plot_frames(history, actual, forecast, **look)
)
animate(OUTPUT / "forecast.gif", history, actual, forecast, **look)
print(f"pictures: {OUTPUT}")
