"""Train at the paper's setting in mixed precision and watch that every loss stays finite.

    python benchmarks/mixed_precision.py --precision bf16-mixed --output record.json

Moving MNIST from digits that come with scikit-learn: batches of 8, four layers of 64 channels,
5x5 kernels, scheduled sampling, Adam at 0.001. On a CPU Lightning has no 16-mixed.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from origin import describe_origin

from darts_mim import MIMModel, ScheduledSampling, frames_to_series
from darts_mim.datasets import ClipTrainingDataset, MovingDigits, load_bundled_digits

CONTEXT, HORIZON = 10, 10


class Losses(pl.Callback):
    """Keep every training loss, and stop at the first that is not finite."""

    def __init__(self) -> None:
        self.values: list[float] = []

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Note the loss of a step."""
        self.values.append(float(outputs["loss"]))
        if len(self.values) % 10 == 0:
            print(len(self.values), self.values[-1], flush=True)
        if not math.isfinite(self.values[-1]):
            trainer.should_stop = True


def main() -> None:
    """Train, check losses, weights and a forecast, and write what was seen as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", default="bf16-mixed")
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--accelerator", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    origin = describe_origin()
    losses = Losses()
    model = MIMModel(
        CONTEXT,
        HORIZON,
        patch_size=4,
        scheduled_sampling=ScheduledSampling.linear(50_000),
        batch_size=8,
        optimizer_kwargs={"lr": 1e-3},
        n_epochs=-1,
        random_state=arguments.seed,
        pl_trainer_kwargs={
            "accelerator": arguments.accelerator,
            "precision": arguments.precision,
            "max_steps": arguments.steps,
            "callbacks": [losses],
            "enable_progress_bar": False,
        },
    )
    clips = MovingDigits(load_bundled_digits("train"), n_sequences=10_000, seed=2 * arguments.seed)
    start = time.perf_counter()
    model.fit_from_dataset(ClipTrainingDataset(clips, CONTEXT, HORIZON))
    seconds = time.perf_counter() - start
    history = frames_to_series(np.asarray(clips[0])[:CONTEXT])
    forecast = model.predict(n=2 * HORIZON, series=history)
    weights = [weight.detach() for weight in model.model.parameters()]
    record = {
        **origin,
        "seed": arguments.seed,
        "precision": str(model.trainer.precision),
        "device": str(next(model.model.parameters()).device),
        "steps": len(losses.values),
        "seconds": round(seconds, 1),
        "finite losses": sum(map(math.isfinite, losses.values)),
        "finite weights": all(bool(weight.isfinite().all()) for weight in weights),
        "weights": str(weights[0].dtype),
        "forecast": str(forecast.dtype),
        "finite forecast": bool(np.isfinite(forecast.all_values()).all()),
        "mean loss of each 50 steps": [
            round(float(np.mean(losses.values[i : i + 50])), 6)
            for i in range(0, len(losses.values), 50)
        ],
    }
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
