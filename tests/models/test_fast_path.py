"""Models on the fast path: what holds for every model holds there."""

import logging
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import MIMModel, PredRNNModel, ScheduledSampling
from darts_mim.nn import fast_path
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from tests.models.small_models import make_model, make_series, weights


@pytest.fixture(autouse=True)
def _buildable() -> None:
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


OPTIONS: dict[str, dict[str, Any]] = {
    "scheduled sampling and dropout": {
        "scheduled_sampling": ScheduledSampling.linear(2),
        "dropout": 0.3,
    },
    "a likelihood": {"likelihood": GaussianLikelihood(), "use_reversible_instance_norm": True},
    "recomputed": {"recompute": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_training_comes_to_weights_as_near_as_rounding_lets_them(name: str) -> None:
    series = make_series()
    fast, plain = (
        make_model(**OPTIONS[name], fast_path=fast_path).fit(series) for fast_path in (True, False)
    )
    assert not torch.equal(weights(fast), weights(plain))  # else it was one path twice
    # Adam divides gradients by their size, so that a rounded one may move a weight by a step
    assert (weights(fast) - weights(plain)).norm() < 1e-2 * weights(plain).norm()


def test_forecasts_of_a_file_are_those_of_its_model_and_weights_do_not_care_for_the_path() -> None:
    series = make_series()
    model = make_model(fast_path=True).fit(series)
    model.save("model.pt")
    loaded, plain = MIMModel.load("model.pt"), make_model(fast_path=False)
    plain.load_weights("model.pt")
    expected = model.predict(4, series=series).all_values()
    np.testing.assert_array_equal(loaded.predict(4, series=series).all_values(), expected)
    np.testing.assert_allclose(
        plain.predict(4, series=series).all_values(), expected, rtol=1e-4, atol=1e-5
    )


def test_other_models_take_the_option_too() -> None:
    series = make_series()
    options: dict[str, Any] = {
        "hidden_channels": (4,),
        "kernel_size": 3,
        "n_epochs": 1,
        "random_state": 0,
        "pl_trainer_kwargs": {"accelerator": "cpu", "enable_progress_bar": False},
    }
    fast, plain = (
        PredRNNModel(3, 2, fast_path=fast_path, **options).fit(series).predict(2).all_values()
        for fast_path in (True, False)
    )
    np.testing.assert_allclose(fast, plain, rtol=1e-3, atol=1e-4)


def test_what_cannot_be_fused_says_so(caplog: pytest.LogCaptureFixture) -> None:
    fast_path._log_once.cache_clear()  # said once in a process
    caplog.set_level(logging.WARNING)
    make_model(fast_path=True).fit(make_series().astype(np.float64))
    assert any("weights and frames of type float32" in text for text in caplog.messages)
