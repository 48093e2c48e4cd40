"""Darts' capability properties of MIMModel."""

from typing import Any

from darts.models import TiDEModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import MIMModel
from tests.models.small_models import make_model, make_series

OPTIONS: dict[str, Any] = {"input_chunk_length": 3, "output_chunk_length": 2}
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


def test_the_capabilities_are_all_there_and_those_of_tide() -> None:
    likelihood = GaussianLikelihood()
    mim, tide = (kind(**OPTIONS, likelihood=likelihood) for kind in (MIMModel, TiDEModel))
    for model in (mim, tide, make_model(likelihood=likelihood).fit(make_series())):
        assert [name for name in CAPABILITIES if not getattr(model, name)] == []
        assert model.extreme_lags == tide.extreme_lags
