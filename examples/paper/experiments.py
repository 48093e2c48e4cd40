"""Experiments: several models with one budget, each of which goes on where it was stopped.

A model lies in a folder of its own in that of the run: its checkpoints, where its figures come from
(`run.json`), its loss (`loss.csv`) and, once it was tested, its errors. Given again,
the same command finds what is done, says so, and does the rest.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from darts import TimeSeries
from darts.models import GlobalNaiveSeasonal
from darts.models.forecasting.forecasting_model import GlobalForecastingModel
from darts_mim.metrics.protocols import Protocol
from darts_mim.models.base import GridForecastingModel
from darts_mim.plotting import plot_horizon_error, save_figure
from pytorch_lightning.callbacks import ModelCheckpoint

from common import LossLog, Run, in_words, one_cycle, option_name
from published import Published
from records import (
    as_figures,
    begin_or_resume,
    read_losses,
    rounded,
    write_array,
    write_whole,
)
from tables import as_markdown, means_of

CHUNK = 40  # series that are forecast between two lines of progress


def persistence(horizon: int) -> GlobalForecastingModel:
    """Return the model that repeats the last frame that it read."""
    return GlobalNaiveSeasonal(
        input_chunk_length=1, output_chunk_length=horizon
    )


def budget(
    run: Run,
    name: str,
    *,
    steps: int,
    learning_rate: float,
    steps_per_epoch: int,
    is_one_cycle: bool = True,
    precision: str = "32-true",
) -> dict[str, Any]:
    """Return the options of a model that trains for some steps, in a folder of its own.

    Parameters
    ----------
    run
        Gives folder, seed and accelerator.
    name
        Name of the model.
    steps
        Number of optimizer steps.
    learning_rate
        Of Adam: constant, or the largest of one cycle.
    steps_per_epoch
        A checkpoint is written after so many.
    is_one_cycle
        Whether the learning rate rises and falls once.
    precision
        As Lightning's trainer takes it.
    """
    cycle = one_cycle(learning_rate, steps) if is_one_cycle else {}
    log = LossLog(
        run.output / option_name(name) / "loss.csv",
        every=min(50, steps_per_epoch),
        name=name,
        total=steps,
    )
    return {
        "n_epochs": -1,  # as many as the steps take
        "optimizer_kwargs": {"lr": learning_rate},
        **cycle,
        "random_state": run.seed,
        "model_name": option_name(name),
        "work_dir": str(run.output),
        "save_checkpoints": True,
        "force_reset": True,
        "pl_trainer_kwargs": {
            "accelerator": run.accelerator,
            "precision": precision,
            "max_steps": steps,
            "limit_train_batches": steps_per_epoch,
            "callbacks": [log],
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    }


def train(
    run: Run,
    name: str,
    make: Callable[[], GridForecastingModel],
    fit: Callable[[GridForecastingModel], Any],
) -> GridForecastingModel:
    """Train a model, or go on from its last checkpoint.

    Parameters
    ----------
    run
        Gives the folder.
    name
        Name of the model.
    make
        Returns the model before its training.
    fit
        Trains it, also from where it was stopped.

    Raises
    ------
    SystemExit
        If the folder holds a model of another preset, seed or data.
    """
    begin_or_resume(run.output, run.record)
    folder = run.output / option_name(name)
    checkpoints = list((folder / "checkpoints").glob("last-*"))
    if checkpoints:
        begin_or_resume(folder, run.record)
        step = torch.load(
            checkpoints[0], map_location="cpu", weights_only=False
        )["global_step"]
        print(f"{name}: going on from the last checkpoint, step {step}")
        model = _load(run, name)
    else:
        # nothing was kept of a run that was stopped before its first checkpoint
        shutil.rmtree(folder, ignore_errors=True)
        model = make()
        begin_or_resume(folder, run.record)
    fit(model)
    parameters = sum(each.numel() for each in model.model.parameters())
    write_whole(folder / "size.json", json.dumps({"parameters": parameters}))
    return model


def _load(run: Run, name: str) -> GridForecastingModel:
    """Load a model from its last checkpoint, as one of this folder and this accelerator."""
    folder = run.output / option_name(name)
    # trusted: the checkpoint is our own, and names the LossLog
    model = GridForecastingModel.load_from_checkpoint(
        folder.name,
        work_dir=str(run.output),
        best=False,
        trusted=True,
        map_location="cpu",
    )
    model.work_dir = str(run.output)  # the folder may have been moved
    model.trainer_params["accelerator"] = run.accelerator
    for callback in model.trainer_params["callbacks"]:
        if isinstance(callback, LossLog):
            callback.path = folder / "loss.csv"
        elif isinstance(callback, ModelCheckpoint):
            callback.dirpath = str(folder / "checkpoints")
    return model


def keep_errors(
    run: Run,
    name: str,
    rules: Protocol,
    evaluate: Callable[[Protocol], npt.ArrayLike],
) -> None:
    """Compute a model's errors and keep them in its folder, where they are not kept already.

    Parameters
    ----------
    run
        Gives the folder.
    name
        Name of the model.
    rules
        What to compute.
    evaluate
        Computes by them the errors of F forecasts of T frames, (F, T, metrics).
    """
    path = _errors_path(run, name, rules)
    if not path.exists():
        write_array(path, np.asarray(evaluate(rules), dtype=np.float64))


def _errors_path(run: Run, name: str, rules: Protocol) -> Path:
    return run.output / option_name(name) / f"errors_{rules.name}.npy"


def all_tables(
    run: Run,
    names: Iterable[str],
    rules: Protocol,
    chosen: Sequence[int] | None = None,
) -> dict[str, pd.DataFrame]:
    """Return the tables of all models that were tested, by this command or an earlier one.

    Parameters
    ----------
    run
        Gives the folder.
    names
        Names of the models, in the order of the tables.
    rules
        What the errors were computed by.
    chosen
        Numbers of the forecasts that count, by default all.
    """
    tables = {}
    for name in names:
        path = _errors_path(run, name, rules)
        if path.exists():
            errors = np.load(path)
            tables[name] = rules.table(
                list(errors if chosen is None else errors[list(chosen)])
            )
    return tables


def score_in_parts(
    name: str,
    model: GlobalForecastingModel,
    test: Sequence[TimeSeries],
    context: int,
    rules: Protocol,
) -> npt.NDArray[Any]:
    """Backtest a model on clips, some at a time, and say how far it is.

    Parameters
    ----------
    name
        Name of the model.
    model
        A fitted model.
    test
        Clips of equal length.
    context
        Number of frames that the model is shown.
    rules
        What to compute.

    Returns
    -------
    numpy.ndarray
        Errors of each clip, (F, T, metrics).
    """
    errors: list[Any] = []
    started = said = time.monotonic()
    for first in range(0, len(test), CHUNK):
        errors += model.backtest(
            test[first : first + CHUNK],
            start=context,
            start_format="position",
            forecast_horizon=len(test[0]) - context,
            retrain=False,
            last_points_only=False,
            **rules,
        )
        now, left = time.monotonic(), len(test) - len(errors)
        if now - said > 10 and left:
            said, rest = now, (now - started) * left / len(errors)
            print(
                f"{name}: forecast {len(errors)} of {len(test)} clips, {in_words(rest)} left",
                flush=True,
            )
    return np.stack(errors)


# --- what a run leaves behind -----------------------------------------------------------------


def report(
    run: Run,
    tables: Mapping[str, pd.DataFrame],
    published: Published | None,
    *,
    subset: str = "",
) -> None:
    """Print the errors of models, and write them with where they come from.

    ``results.json`` holds for each model its figures and its own record: models may be trained one
    by one. ``errors.csv`` has them by frame, ``table.md`` beside the published ones. Those of a
    subset are called ``errors_SUBSET.csv`` and so on.

    Parameters
    ----------
    run
        Gives folder and record.
    tables
        For each model's name its table of errors, see ``all_tables``.
    published
        What was published, where there is something.
    subset
        Name of the part of the test that was chosen.
    """
    means = means_of(tables)
    if subset:
        print(f"{subset}:")
    print(means.map("{:.4g}".format))
    ending = f"_{subset}" if subset else ""
    errors = pd.concat(tables, axis=1).swaplevel(axis=1)[list(means)]
    write_whole(
        run.output / f"errors{ending}.csv", errors.map(rounded).to_csv()
    )
    write_whole(
        run.output / f"table{ending}.md",
        as_markdown(tables, published, run.record),
    )
    results = {
        **run.record,
        "published": None if published is None else published.name,
        "training": _training_records(run, tables),
        "figures": as_figures(tables),
    }
    write_whole(
        run.output / f"results{ending}.json",
        json.dumps(results, indent=1, allow_nan=False),
    )


def draw_curves(
    run: Run, tables: Mapping[str, pd.DataFrame], metric: str, label: str
) -> None:
    """Draw an error over the frames of the horizon, a curve for each model."""
    curves = {
        name: table[metric].drop("mean").to_numpy()
        for name, table in tables.items()
    }
    path = run.output / f"{option_name(metric)}_by_frame.png"
    save_figure(path, plot_horizon_error(curves, ylabel=label))


def _training_records(
    run: Run, names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    records = {
        name: _training_record(run.output / option_name(name)) for name in names
    }
    return {name: record for name, record in records.items() if record}


def _training_record(folder: Path) -> dict[str, Any] | None:
    """Return where a trained model's figures come from, ``None`` for one that was not trained."""
    kept = folder / "run.json"
    if not kept.exists():
        return None
    record = json.loads(kept.read_text())
    losses = read_losses(folder / "loss.csv")
    names = ("command", "commit", "device", "threads", "versions")
    return {
        **{name: record[name] for name in names},
        "seconds": float(losses["seconds"].max()),
        "steps": int(losses["step"].max()),
        "last_loss": float(losses["loss"].iloc[-1]),
        **json.loads((folder / "size.json").read_text()),
    }
