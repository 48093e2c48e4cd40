"""What Darts' capability properties say of MIMModel is what it does."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.models import TiDEModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import MIMModel, frames_to_series

LENGTH, CHANNELS, HEIGHT, WIDTH = 14, 2, 3, 5
OPTIONS: dict[str, Any] = {
    "input_chunk_length": 4,
    "output_chunk_length": 2,
    "batch_size": 3,
    "n_epochs": 1,
    "random_state": 0,
    "pl_trainer_kwargs": {
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "enable_model_summary": False,
    },
}
CAPABILITIES = [
    "supports_multivariate",
    "supports_past_covariates",
    "supports_future_covariates",
    "supports_static_covariates",
    "supports_transferable_series_prediction",
    "supports_sample_weight",
    "supports_probabilistic_prediction",
    "supports_likelihood_parameter_prediction",
    "supports_optimized_historical_forecasts",
]


def make_model(**options: Any) -> MIMModel:
    return MIMModel(**OPTIONS, hidden_channels=(3, 4), kernel_size=3, **options)


def make_series(seed: int = 0, length: int = LENGTH) -> TimeSeries:
    rng = np.random.default_rng(seed)
    series = frames_to_series(rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32))
    assert isinstance(series, TimeSeries)
    return series


def fit_multivariate() -> None:
    assert make_series().n_components > 1
    make_model().fit(make_series())


def fit_with_covariates(kind: str) -> None:
    model = make_model().fit(make_series(), **{kind: make_series(1, length=LENGTH + 2)})
    assert getattr(model, f"uses_{kind}")
    assert len(model.predict(2)) == 2


def fit_with_static_covariates() -> None:
    model = make_model().fit(make_series().with_static_covariates(pd.Series({"area": 1.0})))
    assert model.uses_static_covariates
    assert len(model.predict(2)) == 2


def predict_other_series() -> None:
    forecasts = make_model().fit([make_series(), make_series(1, 9)]).predict(2, [make_series(2)])
    assert len(forecasts) == 1


def fit_with_weights() -> None:
    weights = make_series(1)
    make_model().fit(make_series(), sample_weight=weights)


def predict_samples() -> None:
    model = make_model(likelihood=GaussianLikelihood()).fit(make_series())
    assert model.predict(3, num_samples=5).n_samples == 5


def predict_parameters() -> None:
    model = make_model(likelihood=GaussianLikelihood()).fit(make_series())
    parameters = model.predict(2, predict_likelihood_parameters=True)
    assert parameters.n_components == 2 * make_series().n_components


def forecast_history() -> None:
    model = make_model().fit(make_series())
    forecasts = [
        model.historical_forecasts(
            make_series(1),
            forecast_horizon=2,
            retrain=False,
            last_points_only=False,
            enable_optimization=is_optimized,
        )
        for is_optimized in (True, False)
    ]
    for fast, slow in zip(*forecasts, strict=True):
        np.testing.assert_allclose(fast.values(), slow.values(), rtol=0, atol=1e-6)


EXAMPLES: dict[str, Callable[[], None]] = {
    "supports_multivariate": fit_multivariate,
    "supports_past_covariates": lambda: fit_with_covariates("past_covariates"),
    "supports_future_covariates": lambda: fit_with_covariates("future_covariates"),
    "supports_static_covariates": fit_with_static_covariates,
    "supports_transferable_series_prediction": predict_other_series,
    "supports_sample_weight": fit_with_weights,
    "supports_probabilistic_prediction": predict_samples,
    "supports_likelihood_parameter_prediction": predict_parameters,
    "supports_optimized_historical_forecasts": forecast_history,
}


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_a_capability_is_claimed_and_true(capability: str) -> None:
    assert getattr(make_model(likelihood=GaussianLikelihood()), capability) is True
    EXAMPLES[capability]()


def test_the_capabilities_are_those_of_tide() -> None:
    likelihood = GaussianLikelihood()
    mim, tide = make_model(likelihood=likelihood), TiDEModel(**OPTIONS, likelihood=likelihood)
    for _ in range(2):  # before and after the fit
        assert {name: getattr(mim, name) for name in CAPABILITIES} == {
            name: getattr(tide, name) for name in CAPABILITIES
        }
        assert mim.extreme_lags == tide.extreme_lags
        for model in (mim, tide):
            model.fit(make_series())


def test_without_a_likelihood_there_are_no_samples() -> None:
    model = make_model().fit(make_series())
    assert not model.supports_probabilistic_prediction
    with pytest.raises(ValueError, match="num_samples > 1"):
        model.predict(2, num_samples=3)
    with pytest.raises(ValueError, match="predict_likelihood_parameters"):
        model.predict(2, predict_likelihood_parameters=True)
