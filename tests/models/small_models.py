"""A model and a series that are small: what tests of models begin with."""

from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from torch import Tensor

from darts_mim import Grid, MIMModel, frames_to_series
from darts_mim.nn import StepInputs

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
GRID = Grid(channels=2, height=5, width=6)


def make_frames(length: int = 12, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((length, *GRID.shape), dtype=np.float32)


def to_series(frames: np.ndarray, **options: Any) -> TimeSeries:
    series = frames_to_series(frames, **{"start": "2026-01-01", "freq": "h", **options})
    assert isinstance(series, TimeSeries)
    return series


def make_series(length: int = 12, seed: int = 0, **options: Any) -> TimeSeries:
    return to_series(make_frames(length, seed), **options)


def make_model(kind: Any = MIMModel, **options: Any) -> Any:
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
    return kind(**options, pl_trainer_kwargs=trainer)


def weights(model: Any) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()])


def values(series: TimeSeries) -> np.ndarray:
    return series.all_values(copy=False)


def logged(model: Any) -> dict[str, float]:
    """Return what training logged; a forecast forgets it."""
    return {name: float(value) for name, value in model.trainer.logged_metrics.items()}


def step_by_hand(
    model: MIMModel, context: np.ndarray, n: int, mask: np.ndarray | None = None
) -> np.ndarray:
    """Step the network through frames (T, C, H, W), and through n frames after them.

    Where a frame is not known the network reads its own prediction, in the first one zero.
    Returns the predictions (T - 1 + n, C, H, W) of all frames but the first.
    """
    network, state = model.model.network, None
    seen = torch.ones(context.shape[-2:]) if mask is None else torch.from_numpy(mask).float()
    inputs = StepInputs(planes=None if mask is None else seen[None, None])
    prediction, predictions = torch.zeros(context.shape[1:]), []
    with torch.no_grad():
        for t in range(len(context) - 1 + n):
            known = context[t] if t < len(context) else np.full_like(context[0], np.nan)
            frame = torch.where(
                torch.from_numpy(np.isnan(known)), prediction, torch.from_numpy(known)
            )
            frame = torch.where(seen.bool(), frame, 0.0)
            batch, state = network.step(frame[None], state, inputs)
            prediction = batch[0]
            predictions.append(prediction.numpy())
    return np.stack(predictions)
