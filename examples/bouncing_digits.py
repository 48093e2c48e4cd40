# %% [markdown]
# # Bouncing digits: the demo
#
# Two real handwritten digits, bundled with scikit-learn, bounce about a canvas of 32 by 32 pixels.
# MIM is shown ten frames and forecasts the ten after them, on digits it was not trained on.
#
#     make demo
#
# It trains for at most four minutes on two cores, prints its error beside those of two baselines,
# and writes the error of every frame and pictures to `out/bouncing_digits`. Presets: `cpu` is the
# demo, `smoke` runs in seconds and shows that everything works. The paper's own experiments are in
# `moving_mnist.py`.

# %%
from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from darts import TimeSeries
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

from baselines import linear_baseline, persistence, score
from common import LossLog, one_cycle
from records import describe_run, report

CONTEXT, HORIZON = 10, 10
TEST_SEED = 1  # odd, and training sequences have even seeds: the test set is always the same


# %%
@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: tuple[int, ...]
    steps: int
    n_test: int
    batch_size: int = 8
    learning_rate: float = 5e-3


PRESETS = {
    "smoke": Preset((8, 8), steps=4, n_test=4),
    "cpu": Preset((24, 24, 24), steps=400, n_test=200),
}


# %% [markdown]
# ## The data
#
# Sequences are computed when they are asked for, each from the seed and its number. The test
# sequences show other images of digits, mostly in other handwriting.


# %%
def make_clips(split: str, n_sequences: int, seed: int) -> MovingDigits:
    """Return sequences of bouncing digits."""
    digits = load_bundled_digits(split, size=14)
    return MovingDigits(
        digits, n_sequences=n_sequences, seed=seed, height=32, width=32
    )


# %% [markdown]
# ## The model
#
# A small network of one ST-LSTM layer and two MIM blocks on patches of 4 by 4 pixels. The learning
# rate rises and falls in one cycle.


# %%
def make_model(preset: Preset, output: Path, seed: int) -> MIMModel:
    """Return the model to train."""
    return MIMModel(
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_channels=preset.hidden_channels,
        kernel_size=3,
        patch_size=4,
        batch_size=preset.batch_size,
        **one_cycle(preset.learning_rate, preset.steps),
        n_epochs=1,
        random_state=seed,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "max_time": {"minutes": 4},
            "callbacks": [
                LossLog(output / "loss.csv", every=min(50, preset.steps))
            ],
        },
    )


# %% [markdown]
# ## Train, backtest, draw


# %%
def draw(
    output: Path,
    model: MIMModel,
    clip: TimeSeries,
    errors: dict[str, pd.Series],
) -> None:
    """Draw the models' errors by frame, and the forecast of a clip."""
    curves = {name: error.drop("mean") for name, error in errors.items()}
    figure = plot_horizon_error(
        curves, ylabel="squared error, summed over a frame's pixels"
    )
    save_figure(output / "error_curve.png", figure)
    history, actual = clip[:CONTEXT], clip[CONTEXT:]
    forecast = model.predict(n=HORIZON, series=history, verbose=False)
    look = {
        "vmin": 0.0,
        "vmax": 1.0,
        "cmap": "gray",
        "value_label": "intensity",
    }
    save_figure(
        output / "strip.png", plot_frames(history, actual, forecast, **look)
    )
    animate(output / "forecast.gif", history, actual, forecast, **look)
    print(f"pictures: {output}")


def main() -> None:
    """Run the demo."""
    parser = argparse.ArgumentParser(description="Bouncing digits with MIM")
    parser.add_argument("--preset", choices=PRESETS, default="cpu")
    parser.add_argument(
        "--output", type=Path, default=Path("out") / "bouncing_digits"
    )
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    preset, output, seed = (
        PRESETS[arguments.preset],
        arguments.output,
        arguments.seed,
    )
    record = {**describe_run(seed), "preset": asdict(preset)}

    (output / "loss.csv").unlink(missing_ok=True)
    clips = make_clips("train", preset.steps * preset.batch_size, 2 * seed)
    train = ClipTrainingDataset(clips, CONTEXT, HORIZON)
    model = make_model(preset, output, seed).fit_from_dataset(train)
    record["steps"] = model.trainer.global_step
    if model.trainer.global_step < preset.steps:
        print(
            f"stopped after four minutes, at step {model.trainer.global_step} of {preset.steps}"
        )

    test = make_clips("test", preset.n_test, TEST_SEED).to_series()
    linear = linear_baseline(CONTEXT, HORIZON, preset.steps, seed)
    models = {
        "MIM": model,
        "NLinear": linear.fit_from_dataset(train),
        "persistence": persistence(HORIZON).fit(test[0]),
    }
    rules = protocol("moving-mnist")
    tables = {
        name: score(each, test, CONTEXT, rules) for name, each in models.items()
    }
    report(output, record, tables)
    draw(
        output,
        model,
        test[0],
        {name: table["MSE"] for name, table in tables.items()},
    )
    share = (
        tables["MIM"].loc["mean", "MSE"]
        / tables["persistence"].loc["mean", "MSE"]
    )
    print(f"MIM's squared error is {share:.2f} of persistence's")


if __name__ == "__main__":
    main()
