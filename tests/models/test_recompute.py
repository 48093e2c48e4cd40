"""A model that recomputes its activations is the model that stores them."""

from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from darts_mim import MIMModel, ScheduledSampling, series_to_frames
from tests.models.small_models import make_model, make_series, weights

OPTIONS: dict[str, dict[str, Any]] = {
    "scheduled sampling and dropout": {
        "scheduled_sampling": ScheduledSampling.linear(2),
        "dropout": 0.3,
    },
    "a likelihood": {"likelihood": GaussianLikelihood(), "use_reversible_instance_norm": True},
    "mixed precision": {"trainer": {"precision": "bf16-mixed"}},
}


def make_holed() -> tuple[TimeSeries, TimeSeries, TimeSeries]:
    """Return a series with a mask and missing values, and its past and future covariates."""
    frames = series_to_frames(make_series()).copy()
    frames[5, 0, 2:4] = np.nan
    series = make_series(frames=frames, mask=np.arange(30).reshape(5, 6) % 7 > 0)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    return series, make_series(seed=1), calendar.astype(np.float32)


@pytest.mark.parametrize("name", OPTIONS)
def test_training_comes_to_the_same_weights(name: str) -> None:
    series, past, future = make_holed()
    plain, recomputed = (
        make_model(**OPTIONS[name], recompute=recompute, fast_path=False).fit(
            series, past_covariates=past, future_covariates=future
        )
        for recompute in (False, True)
    )
    assert recomputed.model.network.recompute
    assert not torch.equal(weights(plain), weights(make_model(fast_path=False).fit(series)))
    assert torch.equal(weights(plain), weights(recomputed))


def test_files_keep_the_option_and_weights_do_not_care() -> None:
    series = make_series()
    model = make_model(recompute=True).fit(series)
    model.save("model.pt")
    loaded, other = MIMModel.load("model.pt"), make_model()
    assert loaded.model.network.recompute
    other.load_weights("model.pt")
    assert not other.model.network.recompute
    forecasts = [each.predict(3, series=series).all_values() for each in (model, loaded, other)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    np.testing.assert_array_equal(forecasts[0], forecasts[2])
