"""What the examples share: baselines, a log of the training loss, results as files."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.models import GlobalNaiveSeasonal, NLinearModel
from darts.models.forecasting.forecasting_model import GlobalForecastingModel

from darts_mim.plotting import plot_error_curve, plot_strip, save_animation, save_figure
from darts_mim.protocols import Protocol


class LossLog(pl.Callback):
    """Append the training loss to a CSV file, averaged over stretches of steps.

    A resumed run goes on in the same file.

    Parameters
    ----------
    path
        The file, with the columns step, loss and seconds.
    every
        Number of optimizer steps in a stretch.
    """

    def __init__(self, path: Path, every: int = 50) -> None:
        self.path = path
        self.every = every
        self.losses: list[float] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start the clock where the file left it, and drop what lies behind the checkpoint."""
        done = read_losses(self.path)
        done = done[done["step"] <= trainer.global_step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, done.to_csv(index=False))
        self.losses = []
        self.started = time.monotonic() - (done["seconds"].iloc[-1] if len(done) else 0.0)

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, *_: Any
    ) -> None:
        """Note the loss of a step."""
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step % self.every == 0:
            seconds = time.monotonic() - self.started
            with self.path.open("a") as file:
                file.write(f"{trainer.global_step},{np.mean(self.losses):.6g},{seconds:.1f}\n")
            self.losses = []


def read_losses(path: Path) -> pd.DataFrame:
    """Read what a ``LossLog`` wrote; an empty table if there is no file."""
    if not path.exists():
        return pd.DataFrame({"step": [], "loss": [], "seconds": []})
    return pd.read_csv(path)


def persistence(horizon: int) -> GlobalForecastingModel:
    """Return the model that repeats the last frame it saw."""
    return GlobalNaiveSeasonal(input_chunk_length=1, output_chunk_length=horizon)


def linear_baseline(context: int, horizon: int, n_batches: int, seed: int) -> NLinearModel:
    """Return a Darts model that forecasts each pixel linearly from its own past.

    Its weights are shared by all pixels, so that it takes any number of them.
    """
    return NLinearModel(
        input_chunk_length=context,
        output_chunk_length=horizon,
        shared_weights=True,
        batch_size=8,
        n_epochs=1,
        random_state=seed,
        pl_trainer_kwargs={"limit_train_batches": n_batches, "enable_model_summary": False},
    )


def score(
    model: GlobalForecastingModel, test: Sequence[TimeSeries], context: int, protocol: Protocol
) -> pd.DataFrame:
    """Backtest a model on clips: the frames after the context against the truth.

    Parameters
    ----------
    model
        A fitted model.
    test
        Clips of equal length.
    context
        Number of frames that the model is shown.
    protocol
        What to compute.

    Returns
    -------
    pandas.DataFrame
        The protocol's table: a row for each frame of the horizon, and their mean.
    """
    errors = model.backtest(
        test,
        start=context,
        start_format="position",
        forecast_horizon=len(test[0]) - context,
        retrain=False,
        last_points_only=False,
        **protocol,
    )
    return protocol.table(errors)


def report(
    folder: Path,
    record: Mapping[str, Any],
    models: Mapping[str, GlobalForecastingModel],
    test: Sequence[TimeSeries],
    context: int,
    protocol: Protocol,
) -> dict[str, pd.DataFrame]:
    """Backtest models, print their errors by frame, and write figures and pictures.

    Parameters
    ----------
    folder
        Where to write ``results.json`` (the record and each model's figures), a table
        ``errors.csv``, ``error_curve.png``, and ``strip.png`` and ``forecast.gif`` of the first
        model's forecast of the first clip.
    record
        Where the figures come from, see ``describe_run``.
    models
        Fitted models by their names.
    test
        Clips of equal length.
    context
        Number of frames that a model is shown.
    protocol
        What to compute; one of its columns is "MSE".

    Returns
    -------
    dict
        The table of each model.
    """
    tables = {name: score(model, test, context, protocol) for name, model in models.items()}
    errors = pd.concat(tables, axis=1).swaplevel(axis=1)[list(tables[next(iter(tables))])]
    print(f"\n{errors.round(3).to_string()}\n")
    write_whole(folder / "errors.csv", errors.round(4).to_csv())
    figures = {
        name: {str(frame): row.round(4).to_dict() for frame, row in table.iterrows()}
        for name, table in tables.items()
    }
    text = json.dumps({**record, "figures": figures}, indent=1, allow_nan=False)
    write_whole(folder / "results.json", text)

    curves = {name: table["MSE"].drop("mean") for name, table in tables.items()}
    curve = plot_error_curve(curves, ylabel="squared error, summed over a frame's pixels")
    save_figure(folder / "error_curve.png", curve)
    model, history, actual = next(iter(models.values())), test[0][:context], test[0][context:]
    forecast = model.predict(n=len(actual), series=history, verbose=False)
    limits: dict[str, Any] = {"vmin": 0.0, "vmax": 1.0, "value_label": "intensity"}
    save_figure(folder / "strip.png", plot_strip(history, actual, forecast, **limits))
    save_animation(folder / "forecast.gif", history, actual, forecast, **limits)
    print(f"figures and pictures: {folder}")
    return tables


PACKAGES = ("darts-mim", "darts", "torch", "pytorch-lightning", "numpy", "scikit-image")


def describe_run(seed: int) -> dict[str, Any]:
    """Return what a figure must say of where it comes from."""
    return {
        "command": shlex.join(["python", *map(_portable, sys.argv)]),
        "commit": _commit(),
        "seed": seed,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PACKAGES},
    }


def begin_or_resume(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the run that a folder holds; keep this one where it holds none.

    Figures must name the run that trained the model, not the one that went on with it.

    Raises
    ------
    SystemExit
        If the folder holds a run of another seed or preset.
    """
    kept = folder / "run.json"
    if not kept.exists():
        write_whole(kept, json.dumps(record, indent=1))
        return record
    earlier: dict[str, Any] = json.loads(kept.read_text())
    for name in ("seed", "preset"):
        if earlier[name] != json.loads(json.dumps(record[name])):
            sys.exit(
                f"{folder} holds a run of {name} {earlier[name]}, not {record[name]}: "
                "give another --output, or delete the folder"
            )
    return earlier


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    part.write_text(text)
    part.replace(path)


def _portable(argument: str) -> str:
    """Leave out where on this machine a file lies."""
    path = Path(argument)
    return f"path/to/{path.name}" if path.is_absolute() else argument


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
    here = Path(__file__).parent
    try:
        answer = subprocess.run(command, cwd=here, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
