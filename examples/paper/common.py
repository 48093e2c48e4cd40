"""The command line of the experiments, their data, and a log of the training loss."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch

from records import describe_run, portable, read_losses, write_whole


@dataclass(frozen=True)
class Run:
    """What the command line asked for.

    Attributes
    ----------
    preset
        Sizes and lengths.
    output
        Folder to write to.
    seed
        Seed of whatever is random.
    record
        Where the run's figures will come from, see ``describe_run``.
    data
        What the data option was given.
    data_option, stand_in
        The option that names the data, and what it is given where there are none.
    dataset
        Name of the data set, where there are several.
    models
        Names of the models to train, where there are several.
    accelerator
        What to train on, as Lightning's trainer takes it.
    """

    preset: Any
    output: Path
    seed: int
    record: dict[str, Any]
    data: str | None = None
    dataset: str | None = None
    models: tuple[str, ...] = ()
    accelerator: str = "auto"
    data_option: str = "--data"
    stand_in: str = "stand-in"

    def find_data(self, name: str) -> Path | None:
        """Return the file or folder of real data, and print and record what is read.

        Parameters
        ----------
        name
            Where it lies in the folder of data that ``DARTS_MIM_DATA`` names.

        Returns
        -------
        Path or None
            Nothing where the stand-in was asked for.

        Raises
        ------
        SystemExit
            If there is nothing at this path.
        """
        if self.data == self.stand_in:
            self.record["data"] = self.stand_in
            print(f"data: {self.stand_in}")
            return None
        path = data_folder() / name if self.data is None else Path(self.data)
        if not path.exists():
            option = self.data_option
            sys.exit(
                f"no data at {path}: give `{option} PATH`, or name in DARTS_MIM_DATA the folder "
                f"that holds {name}; without data, `{option} {self.stand_in}`"
            )
        self.record["data"] = name if self.data is None else portable(self.data)
        print(f"data: {path.name}")
        return path


def start(
    name: str,
    presets: Mapping[str, Any],
    *,
    data: str | None = None,
    data_option: str = Run.data_option,
    stand_in: str = Run.stand_in,
    datasets: Sequence[str] = (),
    models: Mapping[str, Any] | None = None,
    packages: Sequence[str] = (),
) -> Run:
    """Read the command line of an example.

    Parameters
    ----------
    name
        Name of the example; by default it writes to ``out/NAME_PRESET``, with the data set after
        the name where there are several, and at the end the seed where it is not 0.
    presets
        Data classes by their names; the first is the default.
    data
        What the data option takes, for the help; ``None`` where there is no such option.
    data_option, stand_in
        The data option, and what it is given where there are no data.
    datasets
        Names of the data sets to choose from; the first is the default.
    models
        Models to choose from by their names, of experiments. A preset then has ``models``, the
        names of those that are trained by default.
    packages
        What to record the versions of, besides those that all examples need.
    """
    parser = argparse.ArgumentParser(
        description=f"The example {name}, with MIM"
    )
    parser.add_argument(
        "--preset", choices=presets, default=next(iter(presets))
    )
    if datasets:
        parser.add_argument("--dataset", choices=datasets, default=datasets[0])
    if data is not None:
        parser.add_argument(data_option, dest="data", help=data)
    by_option = {option_name(each): each for each in models or ()}
    if models:
        parser.add_argument(
            "--models",
            nargs="+",
            choices=by_option,
            metavar="MODEL",
            help=f"what to train, of {', '.join(by_option)}; default: what the preset says",
        )
        parser.add_argument(
            "--accelerator", default="auto", choices=("auto", "cpu", "gpu")
        )
    parser.add_argument("--output", type=Path, help="default: a folder in out/")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.seed < 0:
        parser.error(f"--seed must be at least 0, got {options.seed}")
    preset = presets[options.preset]
    dataset = getattr(options, "dataset", None)
    chosen = getattr(options, "models", None)
    return Run(
        preset=preset,
        output=(
            options.output
            or _default_output(name, dataset, options.preset, options.seed)
        ).absolute(),
        seed=options.seed,
        record={
            **describe_run(options.seed, packages),
            "preset": {
                name: value
                for name, value in asdict(preset).items()
                if name != "models"  # each has its own record
            },
            **({"dataset": dataset} if dataset else {}),
        },
        data=getattr(options, "data", None),
        data_option=data_option,
        stand_in=stand_in,
        dataset=dataset,
        models=tuple(by_option[each] for each in chosen)
        if chosen
        else tuple(getattr(preset, "models", ())),
        accelerator=getattr(options, "accelerator", "auto"),
    )


def option_name(model: str) -> str:
    """Return how the command line, and folders, name a model."""
    return model.lower().replace(",", "").replace(" ", "-")


def _default_output(
    name: str, dataset: str | None, preset: str, seed: int
) -> Path:
    parts = [name, *([dataset] if dataset else []), preset]
    return Path("out") / "_".join(parts + ([f"seed{seed}"] if seed else []))


def data_folder() -> Path:
    """Return the folder of real data: the one that ``DARTS_MIM_DATA`` names, or one beside us."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    return Path(os.environ.get("DARTS_MIM_DATA") or beside)


def one_cycle(learning_rate: float, steps: int) -> dict[str, Any]:
    """Return the options of a model whose learning rate rises and falls once, in so many steps."""
    return {
        "lr_scheduler_cls": torch.optim.lr_scheduler.OneCycleLR,
        "lr_scheduler_kwargs": {
            "max_lr": learning_rate,
            "total_steps": steps,
            "interval": "step",
        },
    }


class LossLog(pl.Callback):
    """Append the training loss to a CSV file, averaged over stretches of steps.

    A resumed run goes on in the same file.

    Parameters
    ----------
    path
        The file, with the columns step, loss and seconds.
    every
        Number of optimizer steps in a stretch.
    name, total
        Name of the model and number of steps of its training, to print after each stretch how far
        it is; by default nothing is printed.
    """

    started = 0.0  # by the clock, when training began
    kept: dict[str, Any] | None = None  # by the checkpoint gone on from

    def __init__(
        self,
        path: Path,
        every: int = 50,
        name: str | None = None,
        total: int = 0,
    ) -> None:
        self.path = path
        self.every = every
        self.name = name
        self.total = total
        self.losses: list[float] = []

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: losses of the stretch, and the time that passed."""
        return {
            "losses": list(self.losses),
            "seconds": time.monotonic() - self.started,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from what a checkpoint kept."""
        self.kept = state_dict

    def on_train_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Start the clock where the checkpoint left it, and drop what the file has beyond it."""
        done = read_losses(self.path)
        done = done[done["step"] <= trainer.global_step]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(self.path, done.to_csv(index=False))
        kept, self.kept = self.kept or {"losses": [], "seconds": 0.0}, None
        self.losses = kept["losses"]
        self.started = time.monotonic() - kept["seconds"]

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        *_: Any,
    ) -> None:
        """Note the loss of a step."""
        self.losses.append(float(outputs["loss"]))
        if trainer.global_step % self.every == 0:
            self._write(trainer.global_step)

    def on_train_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule
    ) -> None:
        """Write what is left of the last stretch."""
        is_written = trainer.global_step in set(read_losses(self.path)["step"])
        if self.losses and not is_written:
            self._write(trainer.global_step)

    def _write(self, step: int) -> None:
        seconds = time.monotonic() - self.started
        with self.path.open("a") as file:
            file.write(f"{step},{np.mean(self.losses):.6g},{seconds:.1f}\n")
        if self.name is not None:
            self._say(step, seconds)
        self.losses = []

    def _say(self, step: int, seconds: float) -> None:
        """Print how far training is, and how long it still takes."""
        loss = np.mean(self.losses)
        left = in_words(seconds * (self.total - step) / step)
        print(
            f"{self.name}: step {step} of {self.total}, loss {loss:.4g}, {left} left",
            flush=True,
        )


def in_words(seconds: float) -> str:
    """Say how long something takes, roughly.

    >>> in_words(42.0), in_words(600.0), in_words(9000.0)
    ('42 s', '10 min', '2 h 30 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
