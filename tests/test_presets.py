"""The presets are plain arguments of MIMModel that users read and change."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from darts_mim import Grid, MIMModel, ScheduledSampling, frames_to_series, presets, series_to_frames

GRIDS = {"TAXIBJ": Grid(2, 32, 32), "TINY": Grid(1, 16, 16)}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def preset(name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(presets, name)
    return found


@pytest.mark.parametrize("name", presets.__all__)
def test_each_makes_a_model_that_says_what_it_needs_on_its_grid(name: str) -> None:
    options = preset(name)
    assert type(options) is dict
    before = deepcopy(options)
    model = MIMModel(**options, random_state=0)
    for option, value in options.items():
        assert model.model_params[option] == value
    assert model.batch_size == 8
    assert options == before
    if name in ("TAXIBJ", "TINY"):
        summary = model.summary(GRIDS[name])
        assert summary.folded_shape == {"TAXIBJ": (16, 16), "TINY": (8, 8)}[name]
        assert summary.padding == (0, 0)
        assert summary.step_bytes < 2**30


def test_trainer_options_join_those_of_a_preset() -> None:
    model = MIMModel(**presets.LAPTOP, pl_trainer_kwargs={"accelerator": "cpu"})
    options = {"max_steps": 1_000, "max_epochs": -1, "accelerator": "cpu"}
    assert options.items() <= model.trainer_params.items()
    shorter = MIMModel(**presets.LAPTOP | {"batch_size": 2, "max_steps": 5}).untrained_model()
    assert (shorter.trainer_params["max_steps"], shorter.batch_size) == (5, 2)


@pytest.mark.parametrize("name", ["MOVING_MNIST", "KTH", "TAXIBJ"])
def test_the_paper_s_are_its_settings(name: str) -> None:
    options = preset(name)
    assert options["hidden_channels"] == (64,) * 4
    assert options["optimizer_kwargs"] == {"lr": 0.001}
    assert options["max_steps"] == 100_000
    frames = 4 if name == "TAXIBJ" else 10
    assert options["input_chunk_length"] == options["output_chunk_length"] == frames
    sampling = None if name == "TAXIBJ" else ScheduledSampling.linear(50_000)
    assert options["scheduled_sampling"] == sampling


def test_the_tiny_one_learns_in_seconds() -> None:
    t, y, x = np.ogrid[:60, :16, :16]
    spot = (y - 8 - 4 * np.sin(0.4 * t)) ** 2 + (x - 8 - 4 * np.cos(0.4 * t)) ** 2
    series = frames_to_series(np.exp(-spot / 6)[:, None])
    train, test = series[:48], series[48:]
    model = MIMModel(**presets.TINY, pl_trainer_kwargs=QUIET, random_state=0).fit(train)
    assert model.trainer.global_step == 50
    truth = series_to_frames(test[:4])
    error = np.mean((series_to_frames(model.predict(n=4)) - truth) ** 2)
    assert error < 0.5 * np.mean((series_to_frames(train[-1:]) - truth) ** 2)
