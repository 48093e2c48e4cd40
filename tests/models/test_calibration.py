"""Intervals cover what they say they cover, in every frame of the horizon.

The data are autoregressive in every cell, x[t] = a x[t-1] + noise, of known a and noise: what may
happen in the k-th frame spreads as the sum of a ** (2 i) for i below k.
"""

from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from scipy.stats import norm

from darts_mim import ConvLSTMModel
from tests.models.small_models import make_model, to_series

A = np.array([0.9, 0.6])[:, None, None]
NOISE = np.array([0.4, 0.8])[:, None, None]
CONTEXT, HORIZON, HEIGHT, WIDTH = 4, 4, 4, 5
STEPS, N_TEST = 300, 450
TOLERANCE = 0.06  # of a coverage of 0.8; the test set alone spreads it by less than 0.01


def make_frames(length: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    frame = rng.normal(size=(2, HEIGHT, WIDTH)) * NOISE / np.sqrt(1 - A**2)
    frames = []
    for _ in range(length):
        frame = A * frame + NOISE * rng.normal(size=frame.shape)
        frames.append(frame)
    return np.stack(frames).astype(np.float32)


def train(likelihood: TorchLikelihood) -> ConvLSTMModel:
    model = make_model(
        ConvLSTMModel,
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_channels=(16,),
        patch_size=1,
        batch_size=64,
        likelihood=likelihood,
        optimizer_kwargs={"lr": 2e-2},
        lr_scheduler_cls=torch.optim.lr_scheduler.OneCycleLR,
        lr_scheduler_kwargs={"max_lr": 2e-2, "total_steps": STEPS, "interval": "step"},
    )
    return model.fit(to_series(make_frames(64 * STEPS + CONTEXT + HORIZON - 1, seed=0)))


def forecast(model: ConvLSTMModel, **options: Any) -> tuple[list[TimeSeries], np.ndarray]:
    """Return forecasts, and what happened (windows, HORIZON, N)."""
    test = to_series(make_frames(N_TEST, seed=1))
    starts = range(0, N_TEST - CONTEXT - HORIZON + 1, 3)
    histories = [test[i : i + CONTEXT] for i in starts]
    truth = [test[i + CONTEXT : i + CONTEXT + HORIZON].values() for i in starts]
    forecasts = model.predict(HORIZON, series=histories, batch_size=4096, **options)
    return forecasts, np.stack(truth)


def coverage(low: np.ndarray, high: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return ((low <= truth) & (truth <= high)).mean(axis=(0, 2))


@pytest.mark.slow
def test_gaussian_intervals_cover_four_fifths_of_each_frame() -> None:
    model = train(GaussianLikelihood())

    forecasts, truth = forecast(model, num_samples=100, random_state=0)
    samples = np.stack([each.all_values(copy=False) for each in forecasts])
    low, high = np.quantile(samples, [0.1, 0.9], axis=-1)
    np.testing.assert_allclose(coverage(low, high, truth), 0.8, atol=TOLERANCE)
    # the spread grows as it must, which intervals of one width for all frames would not
    k = np.arange(1, HORIZON + 1)[:, None, None, None]
    spread = np.sqrt(NOISE**2 * (1 - A ** (2 * k)) / (1 - A**2))
    expected = np.broadcast_to(spread, (HORIZON, 2, HEIGHT, WIDTH)).mean(axis=(2, 3))
    found = samples.std(axis=-1).mean(axis=0).reshape(HORIZON, 2, -1).mean(axis=2)
    np.testing.assert_allclose(found, expected, rtol=0.15)

    forecasts, _ = forecast(model, predict_likelihood_parameters=True)
    parameters = np.stack([each.values() for each in forecasts])
    mu, sigma = parameters[..., 0::2], parameters[..., 1::2]
    low, high = (norm.ppf(q, mu, sigma) for q in (0.1, 0.9))
    np.testing.assert_allclose(coverage(low, high, truth), 0.8, atol=TOLERANCE)


@pytest.mark.slow
def test_quantiles_cover_four_fifths_of_each_frame() -> None:
    model = train(QuantileRegression([0.05, 0.1, 0.3, 0.5, 0.7, 0.9, 0.95]))
    forecasts, truth = forecast(model, predict_likelihood_parameters=True)
    quantiles = np.stack([each.values() for each in forecasts])
    low, high = quantiles[..., 1::7], quantiles[..., 5::7]
    np.testing.assert_allclose(coverage(low, high, truth), 0.8, atol=TOLERANCE)

    forecasts, _ = forecast(model, num_samples=100, random_state=0)
    samples = np.stack([each.all_values(copy=False) for each in forecasts])
    low, high = np.quantile(samples, [0.1, 0.9], axis=-1)
    np.testing.assert_allclose(coverage(low, high, truth), 0.8, atol=TOLERANCE)
