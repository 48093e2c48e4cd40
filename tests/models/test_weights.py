"""Sample weights: what a frame, a cell or a series counts in the loss."""

from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models import GaussianLikelihood, QuantileRegression
from scipy.stats import norm

from tests.models.small_models import (
    GRID,
    logged,
    make_frames,
    make_model,
    step_by_hand,
    to_series,
    weights,
)

CONTEXT, HORIZON, LENGTH = 3, 2, 9
MASK = np.ones(GRID.shape[1:], dtype=bool)
MASK[0, 1:3] = MASK[4, 0] = False


def make_clip(gaps: bool) -> np.ndarray:
    """Return frames, with gaps some of whose values are missing, but no cell always."""
    frames = make_frames(LENGTH)
    if gaps:
        frames[1:][np.random.default_rng(100).random((LENGTH - 1, *GRID.shape)) < 0.3] = np.nan
    return frames


def all_weights(weight: TimeSeries, start: int, context: bool = True) -> np.ndarray:
    """Return the weights of a sample's frames (T, C, H, W), by default those of its context too."""
    horizon = weight.values()[start + CONTEXT : start + CONTEXT + HORIZON].astype(np.float64)
    if weight.n_components == 1:
        horizon = np.tile(horizon, (1, GRID.n_components))
    before = np.tile(horizon.mean(axis=0), (CONTEXT - 1, 1)) if context else horizon[:0]
    return GRID.to_frames(np.concatenate([before, horizon]))


EACH_CELL = to_series(make_frames(LENGTH, seed=9))
ALL_WEIGHTS = {
    "a number for each frame": EACH_CELL[EACH_CELL.columns[0]].with_metadata(None),
    "a number for each cell": EACH_CELL,
}


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", ALL_WEIGHTS)
def test_losses_are_weighted_means(name: str, gaps: bool, mask: np.ndarray | None) -> None:
    weight = ALL_WEIGHTS[name]
    frames = make_clip(gaps)
    series = to_series(frames, mask=mask)
    n_samples = LENGTH - CONTEXT - HORIZON + 1
    model = make_model(optimizer_kwargs={"lr": 0.0}, batch_size=n_samples)
    model.fit(series, sample_weight=weight, val_series=series, val_sample_weight=weight)
    train, val = [], []
    for start in range(n_samples):
        clip = frames[start : start + CONTEXT + HORIZON]
        predicted = step_by_hand(model, clip[:CONTEXT], HORIZON, mask)
        squares = (predicted.astype(np.float64) - clip[1:]) ** 2
        squares[..., ~(MASK | (mask is None))] = np.nan
        train.append(squares * all_weights(weight, start))
        val.append(squares[-HORIZON:] * all_weights(weight, start, context=False))
    losses = logged(model)
    assert losses["train_loss"] == pytest.approx(np.nanmean(train), rel=1e-5)
    assert losses["val_loss"] == pytest.approx(np.nanmean(val), rel=1e-5)
    assert abs(np.nanmean(val) / np.nanmean(train) - 1) > 1e-3


@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("likelihood", [GaussianLikelihood(), QuantileRegression([0.1, 0.5, 0.9])])
def test_losses_of_distributions_are_weighted_means(
    likelihood: Any, mask: np.ndarray | None, gaps: bool
) -> None:
    # the validation loss: in training the network is fed true frames in half of the sequences
    frames = make_clip(gaps)
    series = to_series(frames, mask=mask)
    model = make_model(likelihood=likelihood)
    model.fit(series, val_series=series, val_sample_weight=EACH_CELL)
    metrics, losses = logged(model), []
    for start in range(CONTEXT, LENGTH - HORIZON + 1):
        forecast = model.predict(HORIZON, series[:start], predict_likelihood_parameters=True)
        parameters = forecast.values().reshape(HORIZON, *GRID.shape, -1).astype(np.float64)
        actual = frames[start : start + HORIZON]
        if isinstance(likelihood, GaussianLikelihood):
            loss = -norm.logpdf(actual, parameters[..., 0], parameters[..., 1])
        else:
            levels = np.array(likelihood.quantiles)
            errors = actual[..., None] - parameters
            loss = np.maximum(levels * errors, (levels - 1) * errors).sum(-1)
        losses.append(loss * all_weights(EACH_CELL, start - CONTEXT, context=False))
    assert metrics["val_loss"] == pytest.approx(np.nanmean(losses), rel=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite_where_the_grid_is_observed(bad: float) -> None:
    weight = np.ones_like(make_frames(LENGTH))
    weight[:, :, ~MASK] = bad
    series = to_series(make_frames(LENGTH), mask=MASK)
    assert torch.isfinite(weights(make_model().fit(series, sample_weight=to_series(weight)))).all()
    weight[4, 1, 2, 3] = bad
    message = f"`sample_weight` must be finite, got {bad} in component 'channel_1_2_3' at 2026"
    with pytest.raises(ValueError, match=message):
        make_model().fit(series, sample_weight=to_series(weight))
    with pytest.raises(ValueError, match=message):
        make_model().fit(series, val_series=series, val_sample_weight=to_series(weight))
