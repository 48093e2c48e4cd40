# %% [markdown]
# # Moving MNIST: two digits bounce, ten frames are given, ten are forecast
#
# The first experiment of the MIM paper (section 4.1), through Darts' own `fit_from_dataset`,
# `backtest` and `predict`. Training sequences are made on the fly from MNIST's training digits,
# test sequences from its test digits; the test set is the same whatever `--seed` says.
#
#     python examples/moving_mnist.py --preset cpu --digits path/to/mnist
#
# Presets: `smoke` runs in seconds and shows that everything works; `cpu` makes visible digits in
# under an hour on two cores with AMX; `paper` is the paper's network and training, for a GPU.
# An interrupted run goes on where its last checkpoint stands: give the same command again.

# %%
from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from common import (
    LossLog,
    begin_or_resume,
    describe_run,
    linear_baseline,
    persistence,
    read_losses,
    report,
)

from darts_mim import MIMModel, ScheduledSampling
from darts_mim.datasets import ClipTrainingDataset, MovingDigits, load_mnist_digits
from darts_mim.protocols import protocol

CONTEXT, HORIZON = 10, 10
TEST_SEED = 1  # odd, and training sequences have even seeds: the test set is always the same
MODEL = "moving_mnist"


# %% [markdown]
# ## The presets
#
# The paper trains four layers of 64 channels on 10,000 sequences for 100,000 steps of batch 8,
# with scheduled sampling over the first half. An hour on two cores is a few thousand steps of a
# smaller network. So short a training learns more when the horizon is trained as it will be used,
# freely running, with a learning rate that rises and falls in one cycle.


# %%
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
    "smoke": Preset((8, 8), 3, 4, 64, 4, 1e-3, True, 2, "32-true", steps_per_epoch=2),
    "cpu": Preset((32, 32, 32, 32), 3, 2_000, 200_000, 1_000, 3e-3, True, None, "bf16-mixed"),
    "paper": Preset((64,) * 4, 5, 100_000, 10_000, 10_000, 1e-3, False, 50_000, "32-true"),
}


# %% [markdown]
# ## The data
#
# Each sequence is a function of the seed and of its number: nothing is stored.


# %%
def make_data(digits: Path, preset: Preset, seed: int) -> tuple[ClipTrainingDataset, MovingDigits]:
    """Return the training set and the clips of the test set."""
    train = MovingDigits(
        load_mnist_digits(digits, "train"), n_sequences=preset.n_train, seed=2 * seed
    )
    test = MovingDigits(
        load_mnist_digits(digits, "test"), n_sequences=preset.n_test, seed=TEST_SEED
    )
    return ClipTrainingDataset(train, CONTEXT, HORIZON), test


# %% [markdown]
# ## The model


# %%
def make_model(preset: Preset, output: Path, seed: int) -> MIMModel:
    """Return the model, as its last checkpoint left it if there is one."""
    if list((output / MODEL / "checkpoints").glob("last-*")):
        # trusted: the checkpoint is our own, and names the LossLog of this folder
        return MIMModel.load_from_checkpoint(MODEL, work_dir=str(output), best=False, trusted=True)
    output.mkdir(parents=True, exist_ok=True)
    schedule: dict[str, Any] = {}
    if preset.one_cycle:
        schedule = {
            "lr_scheduler_cls": torch.optim.lr_scheduler.OneCycleLR,
            "lr_scheduler_kwargs": {
                "max_lr": preset.learning_rate,
                "total_steps": preset.steps,
                "interval": "step",
            },
        }
    sampling = preset.sampling_steps
    return MIMModel(
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_channels=preset.hidden_channels,
        kernel_size=preset.kernel_size,
        patch_size=4,
        scheduled_sampling=None if sampling is None else ScheduledSampling.linear(sampling),
        batch_size=preset.batch_size,
        optimizer_kwargs={"lr": preset.learning_rate},
        **schedule,
        n_epochs=-1,
        random_state=seed,
        model_name=MODEL,
        work_dir=str(output),
        save_checkpoints=True,
        force_reset=True,
        pl_trainer_kwargs={
            "max_steps": preset.steps,
            "limit_train_batches": preset.steps_per_epoch,
            "precision": preset.precision,
            "callbacks": [LossLog(output / "loss.csv", every=preset.steps_per_epoch)],
        },
    )


# %% [markdown]
# ## Train, backtest, draw
#
# Errors are computed as the MIM authors' released code does: squared and absolute errors summed
# over a frame's pixels, intensities in [0, 1].


# %%
def main() -> None:
    """Run the experiment."""
    parser = argparse.ArgumentParser(description="Moving MNIST with MIM")
    parser.add_argument("--preset", choices=PRESETS, default="smoke")
    parser.add_argument("--digits", type=Path, required=True, help="folder with MNIST's four files")
    parser.add_argument("--output", type=Path, help="default: out/moving_mnist_PRESET")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    preset = PRESETS[arguments.preset]
    output = arguments.output or Path("out") / f"moving_mnist_{arguments.preset}"
    record = begin_or_resume(output, {**describe_run(arguments.seed), "preset": asdict(preset)})

    train, test_clips = make_data(arguments.digits, preset, arguments.seed)
    model = make_model(preset, output, arguments.seed).fit_from_dataset(train)
    record["training_seconds"] = float(read_losses(output / "loss.csv")["seconds"].max())

    test = test_clips.to_series()
    linear = linear_baseline(CONTEXT, HORIZON, 5 * preset.steps_per_epoch, arguments.seed)
    models = {
        "MIM": model,
        "NLinear": linear.fit_from_dataset(train),
        "persistence": persistence(HORIZON).fit(test[0]),
    }
    report(output, record, models, test, CONTEXT, protocol("moving-mnist"))


if __name__ == "__main__":
    main()
