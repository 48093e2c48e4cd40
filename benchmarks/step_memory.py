"""Measure the memory and the time of a training step, against what `summary` tells of its memory.

    python benchmarks/step_memory.py

Every run is a process of its own that fits a preset through Darts. Memory is the anonymous memory
of the process at the most, over what it had before the step, and the weights, gradients and state
of the optimizer it had then. For that, the C library gives each tensor pages of its own, because
else it keeps freed memory, which would be counted; it makes steps many times slower. Times are
taken apart, as users have them, with and without recomputation in turn.
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
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np
import pytorch_lightning as pl
from origin import describe_origin
from process_memory import MIB, PAGES, anonymous_memory

from darts_mim import Grid, MIMModel, frames_to_series, presets

SETTINGS = {
    "LAPTOP": Grid(channels=1, height=64, width=64),
    "TAXIBJ": Grid(channels=2, height=32, width=32),
    "MOVING_MNIST": Grid(channels=1, height=64, width=64),
}
STEPS = 3  # the first one makes the state of the optimizer and is left out


class Run(NamedTuple):
    """A preset of `darts_mim.presets`, in a precision, with or without recomputation."""

    preset: str
    precision: str
    recompute: bool


class Watch(pl.Callback):
    """Times steps, and follows the memory of all but the first."""

    def __init__(self, follows: bool) -> None:
        self.follows = follows
        self.before = self.peak = 0.0
        self.seconds: list[float] = []

    def on_train_batch_start(self, _trainer: Any, _module: Any, _batch: Any, index: int) -> None:
        """Begin once gradients and optimizer have their memory."""
        if index == 1 and self.follows:
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            self.before = anonymous_memory()
            # here: a model copies the options that it was made with
            self._ended = threading.Event()
            self._watcher = threading.Thread(target=self._follow)
            self._watcher.start()
        self._start = time.perf_counter()

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time of the step."""
        self.seconds.append(time.perf_counter() - self._start)

    def on_train_end(self, *_: Any) -> None:
        """Stop."""
        if self.follows:
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


def measure(run: Run, what: str) -> dict[str, float]:
    """Fit a few steps; return what was told and seen of memory, in MiB, or the time of a step."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    told = model_of(run).summary(SETTINGS[run.preset])
    length = told.context + told.horizon + STEPS * told.batch_size
    frames = np.random.default_rng(0).random((length, *told.grid.shape), dtype=np.float32)
    watch = Watch(follows=what == "memory")
    model_of(run, callbacks=[watch]).fit(frames_to_series(frames))
    if what == "time":
        return {"seconds": statistics.median(watch.seconds[1:])}
    kept = (told.costs.weights + told.costs.gradients + told.costs.optimizer) / MIB
    return {"told": told.step_bytes / MIB, "seen": watch.peak - watch.before + kept}


def in_own_process(run: Run, what: str) -> dict[str, float]:
    """Measure in a new process, for memory with pages for each tensor."""
    with (
        patch.dict(os.environ, PAGES if what == "memory" else {}),
        multiprocessing.get_context("spawn").Pool(1) as pool,
    ):
        return pool.apply(measure, (run, what))


def compare(preset: str, precision: str, rounds: int) -> dict[str, Any]:
    """Measure a preset without and with recomputation."""
    runs = [Run(preset, precision, recompute) for recompute in (False, True)]
    plain, recomputed = (in_own_process(run, "memory") for run in runs)
    times = [[in_own_process(run, "time")["seconds"] for run in runs] for _ in range(rounds)]
    return {
        "preset": preset,
        "grid": SETTINGS[preset].shape,
        "precision": precision,
        "told_mib": round(plain["told"], 1),
        "seen_mib": round(plain["seen"], 1),
        "recompute_told_mib": round(recomputed["told"], 1),
        "recompute_seen_mib": round(recomputed["seen"], 1),
        "seconds": round(statistics.median(each for each, _ in times), 3),
        "recompute_over_plain": {
            "seen": round(recomputed["seen"] / plain["seen"], 3),
            "seconds": round(statistics.median(other / each for each, other in times), 3),
        },
    }


def main() -> None:
    """Measure all settings and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["32-true"])
    parser.add_argument("--presets", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    arguments = parser.parse_args()
    rows = [
        compare(preset, precision, arguments.rounds)
        for preset in arguments.presets
        for precision in arguments.precisions
    ]
    print(json.dumps({**describe_origin(), "rounds": arguments.rounds, "steps": rows}, indent=1))


if __name__ == "__main__":
    main()
