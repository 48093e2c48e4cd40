"""Measure the memory and the time of a training step, against what `summary` tells of its memory.

    MALLOC_MMAP_THRESHOLD_=65536 python benchmarks/step_memory.py

Every run is a process of its own that fits a preset through Darts, with and without recomputation
in turn. Memory is the anonymous memory of the process at the most, over what it had before the
step, and the weights, gradients and state of the optimizer it had then. The setting of the C
library gives each tensor pages of its own: without it freed memory is kept, and counted.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import json
import logging
import multiprocessing
import os
import statistics
import threading
import time
import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
from memory import MIB, anonymous_memory
from origin import describe_origin

from darts_mim import Grid, MIMModel, frames_to_series, presets

SETTINGS = {
    "LAPTOP": Grid(channels=1, height=64, width=64),
    "TAXIBJ": Grid(channels=2, height=32, width=32),
    "MOVING_MNIST": Grid(channels=1, height=64, width=64),
}
STEPS = 4  # the first one makes the state of the optimizer and is left out


class Run(NamedTuple):
    """A preset of `darts_mim.presets`, in a precision, with or without recomputation."""

    preset: str
    precision: str
    recompute: bool


class Watch(pl.Callback):
    """Follows the memory of all steps but the first, and times them."""

    def __init__(self) -> None:
        self.before = self.peak = 0.0
        self.seconds: list[float] = []
        self._ended = threading.Event()
        self._watcher = threading.Thread(target=self._follow)

    def on_train_batch_start(self, _trainer: Any, _module: Any, _batch: Any, index: int) -> None:
        """Begin once gradients and optimizer have their memory."""
        if index == 1:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            self.before = anonymous_memory()
            self._watcher.start()
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time of the step."""
        self.seconds.append(time.perf_counter() - self._start)

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        self._ended.set()
        self._watcher.join()

    def _follow(self) -> None:
        while not self._ended.wait(0.002):
            self.peak = max(self.peak, anonymous_memory())


def model_of(run: Run, **trainer: Any) -> MIMModel:
    """Return the model of a preset, for a few steps."""
    options = {**getattr(presets, run.preset), "recompute": run.recompute, "random_state": 0}
    trainer = {
        "accelerator": "cpu",
        "precision": run.precision,
        "max_steps": STEPS,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "logger": False,
        **trainer,
    }
    return MIMModel(**{**options, "pl_trainer_kwargs": trainer})


def measure(run: Run) -> dict[str, float]:
    """Fit a few steps; return what was told and seen of memory in MiB, and the time of a step."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    told = model_of(run).summary(SETTINGS[run.preset])
    length = told.context + told.horizon + STEPS * told.batch_size
    frames = np.random.default_rng(0).random((length, *told.grid.shape), dtype=np.float32)
    watch = Watch()
    model_of(run, callbacks=[watch]).fit(frames_to_series(frames))
    kept = (told.weights_bytes + told.gradients_bytes + told.optimizer_bytes) / MIB
    return {
        "told": told.step_bytes / MIB,
        "seen": watch.peak - watch.before + kept,
        "seconds": statistics.median(watch.seconds[1:]),
    }


def compare(preset: str, precision: str, rounds: int) -> dict[str, Any]:
    """Measure a preset in turn without and with recomputation."""
    measured: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, maxtasksperchild=1) as pool:
        for _ in range(rounds):
            for recompute, rows in measured.items():
                rows.append(pool.apply(partial(measure, Run(preset, precision, recompute))))

    def median(recompute: bool, what: str) -> float:
        return statistics.median(row[what] for row in measured[recompute])

    times = zip(measured[True], measured[False], strict=True)
    return {
        "preset": preset,
        "grid": SETTINGS[preset].shape,
        "precision": precision,
        "told_mib": round(median(False, "told"), 1),
        "seen_mib": round(median(False, "seen"), 1),
        "recompute_told_mib": round(median(True, "told"), 1),
        "recompute_seen_mib": round(median(True, "seen"), 1),
        "seconds": round(median(False, "seconds"), 3),
        "recompute_over_plain": {
            "seen": round(median(True, "seen") / median(False, "seen"), 3),
            "seconds": round(
                statistics.median(each["seconds"] / plain["seconds"] for each, plain in times), 3
            ),
        },
    }


def main() -> None:
    """Measure all settings and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["32-true"])
    parser.add_argument("--presets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    threshold = "MALLOC_MMAP_THRESHOLD_"
    if threshold not in os.environ:
        raise SystemExit(f"set {threshold}=65536 in the environment: see the top of the file")
    rows = [
        compare(preset, precision, arguments.rounds)
        for preset in arguments.presets
        for precision in arguments.precisions
    ]
    environment = {threshold: os.environ[threshold]}
    print(json.dumps({**describe_origin(), "environment": environment, "steps": rows}, indent=1))


if __name__ == "__main__":
    main()
