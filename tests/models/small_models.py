"""A model and a series that are small: what tests of sizes and of memory begin with."""

from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from torch import Tensor

from darts_mim import Grid, MIMModel, frames_to_series

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
GRID = Grid(channels=2, height=5, width=6)


def make_series(
    length: int = 12, *, frames: Any = None, seed: int = 0, **options: Any
) -> TimeSeries:
    if frames is None:
        frames = np.random.default_rng(seed).random((length, *GRID.shape), dtype=np.float32)
    series = frames_to_series(frames, start="2026-01-01", freq="h", **options)
    assert isinstance(series, TimeSeries)
    return series


def make_model(**options: Any) -> MIMModel:
    options = {
        "input_chunk_length": 3,
        "output_chunk_length": 2,
        "hidden_channels": (4, 3),
        "kernel_size": 3,
        "patch_size": 2,
        "batch_size": 4,
        "n_epochs": 1,
        "random_state": 0,
        **options,
    }
    trainer = {**TRAINER, **options.pop("trainer", {})}
    return MIMModel(**options, pl_trainer_kwargs=trainer)


def weights(model: MIMModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()])
