"""Small files in the exact formats of the data sets of flows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd


def flows(length: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return counts (T, 2, H, W) as float64, like the files, none of them a frame of zeros."""
    return np.random.default_rng(seed).integers(1, 900, (length, 2, height, width)).astype(float)


def half_hours(day: str, days: int) -> list[str]:
    """Return the dates of whole days, YYYYMMDDSS with slots from 01 to 48."""
    return [
        f"{date:%Y%m%d}{slot:02d}"
        for date in pd.date_range(day, periods=days)
        for slot in range(1, 49)
    ]


def write_flow(path: Path, dates: Sequence[str], frames: np.ndarray) -> Path:
    """Write a year of flows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["data"] = frames
        file["date"] = np.array(dates, "S")
    return path


def write_weather(path: Path, dates: Sequence[str], **changed: Any) -> Path:
    """Write weather: a degree more each slot, and another kind of it."""
    count = len(dates)
    arrays = {
        "Temperature": np.arange(count, dtype=float),
        "WindSpeed": np.full(count, 7.5),
        "Weather": np.eye(17)[np.arange(count) % 17],
        "date": np.array(dates, "S"),
    }
    with h5py.File(path, "w") as file:
        for name, values in (arrays | changed).items():
            file[name] = values
    return path
