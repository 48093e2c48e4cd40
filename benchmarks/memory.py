"""Measure the memory that work on a memory-mapped archive takes, beside the file's own pages.

    python benchmarks/memory.py --gib 1

Every step runs in a process of its own. What counts is its anonymous memory at the most, over what
it had after a first run on a few frames: the pages of a mapped file are not the process's to keep.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import tempfile
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from origin import describe_origin
from process_memory import MIB, peak_of

from darts_mim import MIMModel, frame_mse, frames_to_series
from darts_mim.backtesting import stream_backtest

FRAME, CONTEXT, HORIZON, BATCH, PART = (1, 128, 128), 10, 10, 8, 64
FRAME_MIB = np.prod(FRAME) * np.dtype(np.float32).itemsize / MIB


class Task(NamedTuple):
    """A step to measure, and the number of windows of a backtest."""

    step: str
    windows: int = PART


TASKS = (
    Task("fit"),
    Task("predict"),
    *(Task("stream_backtest", windows) for windows in (200, 400, 800)),
    *(Task("backtest", windows) for windows in (200, 400, 800)),
    Task("save"),
    Task("load"),
)


def write_archive(path: Path, length: int) -> None:
    """Write frames to a file, a stretch at a time."""
    frames = np.lib.format.open_memmap(path, "w+", np.float32, (length, *FRAME))
    stretch = np.random.default_rng(0).random((256, *FRAME), dtype=np.float32)
    for first in range(0, length, len(stretch)):
        frames[first : first + len(stretch)] = stretch[: length - first]
    frames.flush()


def steps_on(frames: Any, windows: int, path: Path) -> Mapping[str, Callable[[], Any]]:
    """Return what can be done with frames."""
    series = frames_to_series(frames)
    model = MIMModel(
        CONTEXT,
        HORIZON,
        hidden_channels=(8, 8),
        kernel_size=3,
        patch_size=8,
        batch_size=BATCH,
        n_epochs=1,
        random_state=0,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "limit_train_batches": 4,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
        },
    )
    where = {
        "forecast_horizon": HORIZON,
        "start": len(series) - windows - HORIZON + 1,
        "metric": frame_mse,
        "retrain": False,
    }
    return {
        "fit": lambda: model.fit(series),
        "predict": lambda: model.predict(HORIZON),
        "stream_backtest": lambda: stream_backtest(model, series, windows_per_part=PART, **where),
        "backtest": lambda: model.backtest(series, **where),
        "save": lambda: model.save(path),
        "load": lambda: MIMModel.load(str(path)),
    }


def measure(task: Task, archive: Path) -> dict[str, Any]:
    """Measure a step on the archive, after all of them on a few frames."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    path = archive.with_suffix(".pt")
    few = np.zeros((CONTEXT + HORIZON + 3, *FRAME), dtype=np.float32)
    for step in steps_on(few, 3, path).values():
        step()
    steps = steps_on(np.load(archive, mmap_mode="r"), task.windows, path)
    if task.step != "fit":
        steps["fit"]()
    peak, seconds = peak_of(steps[task.step])
    counted = {"windows": task.windows} if task.step.endswith("backtest") else {}
    return {"step": task.step, **counted, "mib": round(peak, 1), "seconds": round(seconds, 1)}


def main() -> None:
    """Measure all steps and print them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gib", type=float, default=1.0, help="size of the archive")
    parser.add_argument("--folder", help="where the archive is written, and removed again")
    arguments = parser.parse_args()
    length = int(arguments.gib * 1024 / FRAME_MIB)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        archive = Path(folder) / "frames.npy"
        write_archive(archive, length)
        context = multiprocessing.get_context("spawn")
        with context.Pool(1, maxtasksperchild=1) as pool:
            rows = pool.map(partial(measure, archive=archive), TASKS, chunksize=1)
    record = {
        **describe_origin(),
        "archive_mib": length * FRAME_MIB,
        "frame": FRAME,
        "frame_mib": FRAME_MIB,
        "context": CONTEXT,
        "horizon": HORIZON,
        "batch_size": BATCH,
        "windows_per_part": PART,
        "steps": rows,
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
