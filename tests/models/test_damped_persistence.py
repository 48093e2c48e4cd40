"""Forecasts begin as damped persistence, with the factors of the training data."""

from typing import Any

import numpy as np
import pytest
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)

from darts_mim import ConvLSTMModel, MIMModel, PredRNNModel, PredRNNPlusPlusModel, series_to_frames
from tests.models.small_models import GRID, TRAINER, make_model, make_series, to_series

C, H, W = GRID.shape
FROZEN: dict[str, Any] = {"optimizer_kwargs": {"lr": 0.0}}


def drifting(length: int = 14, seed: int = 0) -> np.ndarray:
    """Return frames of which one channel persists more than the other."""
    noise = np.random.default_rng(seed).normal(size=(length, C, H, W))
    for t in range(1, length):
        noise[t] += np.reshape([0.3, 0.9], (2, 1, 1)) * noise[t - 1]
    return noise.astype(np.float32)


def factors(model: Any) -> np.ndarray:
    found: np.ndarray = model.model.network.persistence.factor.detach().numpy()
    return found


@pytest.mark.parametrize("kind", [ConvLSTMModel, MIMModel, PredRNNModel, PredRNNPlusPlusModel])
def test_an_untrained_forecast_is_damped_persistence(kind: Any) -> None:
    frames = drifting()
    options = {"hidden_channels": (4, 3), "kernel_size": 3, "patch_size": 2, "n_epochs": 1}
    model = kind(3, 2, **options, **FROZEN, pl_trainer_kwargs=TRAINER)
    model.fit(to_series(frames))
    windows = np.stack([frames[k : k + 5] for k in range(10)]).astype(np.float64)
    expected = [
        np.polyfit(windows[:, :-1, c].ravel(), windows[:, 1:, c].ravel(), 1)[0] for c in range(C)
    ]
    np.testing.assert_allclose(factors(model), expected, rtol=1e-5)
    forecast = series_to_frames(model.predict(5))
    powers = factors(model) ** np.arange(1, 6)[:, None]
    np.testing.assert_allclose(forecast, frames[-1] * powers[..., None, None], atol=1e-5)


def test_the_gap_before_a_shifted_output_chunk_is_no_step() -> None:
    frames = drifting()
    model = make_model(output_chunk_shift=3, **FROZEN).fit(to_series(frames))
    pairs = [(frames[k + i], frames[k + i + 1]) for k in range(7) for i in (0, 1, 6)]
    before, after = np.stack(pairs, axis=1).astype(np.float64)
    expected = [np.polyfit(before[:, c].ravel(), after[:, c].ravel(), 1)[0] for c in range(C)]
    np.testing.assert_allclose(factors(model), expected, rtol=1e-5)


def test_normalised_frames_persist_around_their_mean() -> None:
    frames = 50 + drifting()
    model, low = (
        make_model(use_reversible_instance_norm=True, **FROZEN).fit(to_series(each))
        for each in (frames, frames - 50)
    )
    np.testing.assert_allclose(factors(model), factors(low), rtol=1e-3)
    mean = frames[-3:].mean(axis=0)
    powers = factors(model) ** np.arange(1, 4)[:, None]
    expected = mean + (frames[-1] - mean) * powers[..., None, None]
    np.testing.assert_allclose(series_to_frames(model.predict(3)), expected, atol=1e-3)


def test_unknown_values_do_not_count() -> None:
    frames = drifting()
    mask = np.ones((H, W), dtype=bool)
    mask[1, 2] = False
    holed = np.where(mask, frames, 1e6)
    holed[5, 0, 3, 4] = np.nan
    model = make_model(**FROZEN).fit(to_series(holed, mask=mask))
    clean = np.where(mask, frames, np.nan)
    clean[5, 0, 3, 4] = np.nan
    windows = np.stack([clean[k : k + 5] for k in range(10)]).astype(np.float64)
    before, after = windows[:, :-1, 0].ravel(), windows[:, 1:, 0].ravel()
    known = np.isfinite(before + after)
    expected = np.polyfit(before[known], after[known], 1)[0]
    assert factors(model)[0] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("likelihood", "n_begin"),
    [(QuantileRegression([0.1, 0.5, 0.9]), 3), (GaussianLikelihood(), 1), (PoissonLikelihood(), 1)],
    ids=lambda each: type(each).__name__,
)
def test_locations_begin_so_and_scales_do_not(likelihood: Any, n_begin: int) -> None:
    frames = np.abs(drifting()).round()
    model = make_model(likelihood=likelihood, **FROZEN).fit(to_series(frames))
    assert sum(model.model.network.persistence.applies) == n_begin
    parameters = model.predict(1, predict_likelihood_parameters=True).values()
    parameters = parameters.reshape(C, H, W, -1)
    level = frames[-1] * factors(model)[:, None, None]
    if isinstance(likelihood, PoissonLikelihood):
        level = np.logaddexp(0, level)  # a rate is the softplus of the network's output
    for p in range(n_begin):
        np.testing.assert_allclose(parameters[..., p], level, atol=1e-5)
    if isinstance(likelihood, GaussianLikelihood):
        np.testing.assert_allclose(parameters[..., 1], np.log(2), atol=1e-5)


def test_training_moves_the_factors_and_a_second_fit_goes_on_from_there() -> None:
    series = to_series(drifting())
    model = make_model(optimizer_kwargs={"lr": 1e-2}).fit(series)
    frozen = make_model(**FROZEN).fit(series)
    first = factors(frozen).copy()
    assert not np.allclose(factors(model), first, atol=1e-4)
    frozen.fit(to_series(drifting(seed=1)))
    np.testing.assert_array_equal(factors(frozen), first)


def test_it_can_be_left_out() -> None:
    assert make_model(damped_persistence=False).fit(make_series()).model.network.persistence is None
    with pytest.raises(TypeError, match="`damped_persistence` must be"):
        make_model(damped_persistence="yes")
