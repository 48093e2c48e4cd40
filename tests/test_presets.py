"""The presets: the paper's numbers, and models that can be built from them."""

from copy import deepcopy

import numpy as np
import pytest

from darts_mim import Grid, MIMModel, frames_to_series, presets
from darts_mim.nn import MIMNetwork
from darts_mim.nn.patches import fold_patches

ALL = {name: getattr(presets, name) for name in presets.__all__}
FRAMES = {"MOVING_MNIST": (1, 64, 64), "KTH": (1, 128, 128), "TAXIBJ": (2, 32, 32)}
FOLDED = {"MOVING_MNIST": (16, 16, 16), "KTH": (16, 32, 32), "TAXIBJ": (8, 16, 16)}


@pytest.mark.parametrize("name", ALL)
def test_a_preset_is_a_plain_dictionary_that_makes_a_model(name):
    preset = deepcopy(ALL[name])
    assert type(preset) is dict
    model = MIMModel(**preset, random_state=0)
    assert {key: model.model_params[key] for key in preset} == preset
    assert preset == ALL[name]


@pytest.mark.parametrize("name", FRAMES)
def test_the_papers_presets_have_its_lengths_widths_and_patches(name):
    preset = ALL[name]
    lengths = (4, 4) if name == "TAXIBJ" else (10, 10)
    assert (preset["input_chunk_length"], preset["output_chunk_length"]) == lengths
    assert preset["hidden_channels"] == (64, 64, 64, 64)
    assert (preset["batch_size"], preset["optimizer_kwargs"]) == (8, {"lr": 0.001})
    assert preset["pl_trainer_kwargs"] == {"max_steps": 100_000}
    sampling = preset["scheduled_sampling"]
    assert (sampling is None) == (name == "TAXIBJ")
    if sampling is not None:
        assert [sampling.horizon(step) for step in (0, 25_000, 50_000)] == [1.0, 0.5, 0.0]
    frame = MIMNetwork(1, (2, 2), kernel_size=1).head.weight.new_zeros(1, *FRAMES[name])
    assert tuple(fold_patches(frame, preset["patch_size"]).shape[1:]) == FOLDED[name]


def test_the_tiny_preset_trains_and_forecasts():
    frames = np.random.default_rng(0).random((20, 1, 8, 12), dtype=np.float32)
    quiet = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
    model = MIMModel(**presets.TINY, random_state=0, pl_trainer_kwargs=quiet)
    forecast = model.fit(frames_to_series(frames)).predict(n=6)
    assert Grid.from_series(forecast).shape == (1, 8, 12)
