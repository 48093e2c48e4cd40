"""Records of runs: where figures come from, and files that appear whole."""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch

PACKAGES = (
    "darts-mim",
    "darts",
    "torch",
    "pytorch-lightning",
    "numpy",
    "scikit-image",
)


def as_figures(
    tables: Mapping[str, pd.DataFrame],
) -> dict[str, dict[str, dict[str, float]]]:
    """Return tables as nested dictionaries for JSON: by model, frame and metric."""
    return {
        name: {
            str(frame): row.map(rounded).to_dict()
            for frame, row in table.iterrows()
        }
        for name, table in tables.items()
    }


def describe_run(seed: int, packages: Sequence[str] = ()) -> dict[str, Any]:
    """Return what a figure must say of where it comes from."""
    return {
        "command": shlex.join(["python", *map(portable, sys.argv)]),
        "commit": _commit(),
        "seed": seed,
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in (*PACKAGES, *packages)},
    }


def begin_or_resume(folder: Path, record: dict[str, Any]) -> dict[str, Any]:
    """Return the record of the run that a folder holds; keep this one where it holds none.

    Figures must name the run that trained the model, not the one that went on with it.

    Raises
    ------
    SystemExit
        If the folder holds a run of another seed, preset or data.
    """
    kept = folder / "run.json"
    if not kept.exists():
        write_whole(kept, json.dumps(record, indent=1))
        return record
    earlier: dict[str, Any] = json.loads(kept.read_text())
    for name in ("seed", "preset", "data", "dataset"):
        if earlier.get(name) != json.loads(json.dumps(record.get(name))):
            sys.exit(
                f"{folder} holds a run of {name} {earlier.get(name)}, not {record.get(name)}: "
                "give another --output, or delete the folder"
            )
    return earlier


def read_losses(path: Path) -> pd.DataFrame:
    """Read what a ``LossLog`` wrote; an empty table if there is no file."""
    if not path.exists():
        return pd.DataFrame({"step": [], "loss": [], "seconds": []})
    return pd.read_csv(path)


def write_whole(path: Path, text: str) -> None:
    """Write a text file so that it appears whole or not at all."""
    _write(path, lambda part: part.write_text(text))


def write_array(path: Path, values: npt.NDArray[Any]) -> None:
    """Write an array as ``.npy`` so that it appears whole or not at all."""

    def write(part: Path) -> None:
        with part.open("wb") as file:
            np.save(file, values)

    _write(path, write)


def _write(path: Path, write: Callable[[Path], Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}")
    write(part)
    part.replace(path)


def rounded(value: float) -> float:
    """Round to six significant digits."""
    return float(f"{value:.6g}")


def portable(argument: str) -> str:
    """Leave out where on this machine a file lies."""
    path = Path(argument)
    return f"path/to/{path.name}" if path.is_absolute() else argument


def _commit() -> str:
    command = [
        "git",
        "describe",
        "--always",
        "--dirty",
        "--abbrev=12",
        "--exclude=*",
    ]
    here = Path(__file__).parent
    try:
        answer = subprocess.run(
            command, cwd=here, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return answer.stdout.strip()


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [
        line.split(":")[1].strip()
        for line in lines
        if line.startswith("model name")
    ]
    return names[0] if names else platform.processor() or platform.machine()
