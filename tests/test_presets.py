"""The presets are plain arguments of MIMModel that users read and change."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from darts_mim import Grid, MIMModel, ScheduledSampling, frames_to_series, presets, series_to_frames

GRIDS = {
    "MOVING_MNIST": Grid(1, 64, 64),
    "KTH": Grid(1, 128, 128),
    "TAXIBJ": Grid(2, 32, 32),
    "LAPTOP": Grid(3, 64, 64),
    "TINY": Grid(1, 16, 16),
}
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}


def preset(name: str) -> dict[str, Any]:
    found: dict[str, Any] = getattr(presets, name)
    return found


def test_all_of_them_are_named() -> None:
    assert set(presets.__all__) == set(GRIDS)


@pytest.mark.parametrize("name", GRIDS)
def test_each_makes_a_model(name: str) -> None:
    options = preset(name)
    assert type(options) is dict
    before = deepcopy(options)
    model = MIMModel(**options, random_state=0)
    for option, value in options.items():
        assert model.model_params[option] == value
    assert model.batch_size == 8
    assert options == before


def test_trainer_options_join_those_of_a_preset() -> None:
    model = MIMModel(**presets.LAPTOP, pl_trainer_kwargs={"accelerator": "cpu"})
    assert model.trainer_params["max_steps"] == 1_000
    assert model.trainer_params["max_epochs"] == -1
    assert model.trainer_params["accelerator"] == "cpu"
    shorter = MIMModel(**presets.LAPTOP | {"batch_size": 2, "max_steps": 5}).untrained_model()
    assert shorter.trainer_params["max_steps"] == 5
    assert shorter.batch_size == 2


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


@pytest.mark.parametrize("name", ["TAXIBJ", "TINY"])
def test_each_tells_what_it_needs_on_its_grid(name: str) -> None:
    told = MIMModel(**preset(name)).summary(GRIDS[name])
    folded = {"TAXIBJ": (16, 16), "TINY": (8, 8)}[name]
    assert told.folded_shape == folded
    assert told.padding == (0, 0)
    assert told.step_bytes < 2**30


def test_the_tiny_one_learns_in_seconds() -> None:
    t, y, x = np.ogrid[:60, :16, :16]
    spot = (y - 8 - 4 * np.sin(0.4 * t)) ** 2 + (x - 8 - 4 * np.cos(0.4 * t)) ** 2
    series = frames_to_series(np.exp(-spot / 6)[:, None])
    train, test = series[:48], series[48:]
    before = deepcopy(presets.TINY)
    model = MIMModel(**presets.TINY, pl_trainer_kwargs=QUIET, random_state=0).fit(train)
    assert model.trainer.global_step == 50
    assert before == presets.TINY
    truth = series_to_frames(test[:4])
    error = np.mean((series_to_frames(model.predict(n=4)) - truth) ** 2)
    assert error < 0.5 * np.mean((series_to_frames(train[-1:]) - truth) ** 2)
