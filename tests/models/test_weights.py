"""Sample weights: what a frame, a cell or a series counts in the loss."""

from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models import GaussianLikelihood, QuantileRegression
from scipy.stats import norm

from darts_mim import Grid, MIMModel, frames_to_series
from darts_mim.nn import StepInputs
from tests.models.small_models import TRAINER, weights

CONTEXT, HORIZON = 3, 2
LENGTH, CHANNELS, HEIGHT, WIDTH = 9, 2, 5, 4
GRID = Grid(CHANNELS, HEIGHT, WIDTH)
LATITUDES = np.linspace(-75.0, 60.0, HEIGHT)
MASK = np.ones((HEIGHT, WIDTH), dtype=bool)
MASK[0, 1:3] = MASK[4, 0] = False


def make_frames(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32)


def make_gaps(length: int = LENGTH, seed: int = 0) -> np.ndarray:
    """Return frames of which some values are missing, but no cell always."""
    frames = make_frames(length, seed)
    frames[np.random.default_rng(seed + 100).random(frames.shape) < 0.3] = np.nan
    frames[0] = make_frames(1, seed)
    return frames


def to_series(frames: np.ndarray, **options: Any) -> TimeSeries:
    series = frames_to_series(frames, **options)
    assert isinstance(series, TimeSeries)
    return series


def per_frame(weight: np.ndarray) -> TimeSeries:
    return TimeSeries.from_values(weight.astype(np.float32)[:, None])


def by_latitude(length: int = LENGTH) -> TimeSeries:
    """Return the area of each cell, in units of the mean over the grid."""
    area = np.cos(np.deg2rad(LATITUDES))[:, None] * np.ones(WIDTH)
    area = np.broadcast_to(area / area.mean(), (length, *GRID.shape))
    return to_series(area)


def make_model(**options: Any) -> MIMModel:
    sizes = {
        "input_chunk_length": CONTEXT,
        "output_chunk_length": HORIZON,
        "hidden_channels": (4, 3),
        "kernel_size": 3,
        "patch_size": 2,
        "batch_size": 3,
        "n_epochs": 1,
        "random_state": 0,
    }
    return MIMModel(**{**sizes, **options}, pl_trainer_kwargs=TRAINER)


def logged(model: MIMModel) -> dict[str, float]:
    assert model.trainer is not None
    return {name: float(value) for name, value in model.trainer.logged_metrics.items()}


def step_by_hand(model: MIMModel, context: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    """Return the network's predictions of all frames of a clip but the first."""
    network, state = model.model.network, None
    seen = torch.ones(HEIGHT, WIDTH) if mask is None else torch.from_numpy(mask).float()
    inputs = StepInputs(planes=None if mask is None else seen[None, None])
    prediction, predictions = torch.zeros(1, *GRID.shape), []
    with torch.no_grad():
        for t in range(CONTEXT - 1 + HORIZON):
            frame = prediction
            if t < CONTEXT:
                known = torch.from_numpy(context[None, t].copy())
                frame = torch.where(known.isnan(), prediction, known)
            prediction, state = network.step(frame * seen, state, inputs)
            predictions.append(prediction[0].numpy())
    return np.stack(predictions)


def all_weights(weight: TimeSeries, start: int, context: bool = True) -> np.ndarray:
    """Return the weights of a sample's frames (T, C, H, W), by default those of its context too."""
    horizon = weight.values()[start + CONTEXT : start + CONTEXT + HORIZON].astype(np.float64)
    if weight.n_components == 1:
        horizon = np.tile(horizon, (1, GRID.n_components))
    before = np.tile(horizon.mean(axis=0), (CONTEXT - 1, 1)) if context else horizon[:0]
    return GRID.to_frames(np.concatenate([before, horizon]))


RANDOM = np.random.default_rng(9)
ALL_WEIGHTS = {
    "a number for each frame": per_frame(RANDOM.random(LENGTH)),
    "a number for each cell": to_series(RANDOM.random((LENGTH, *GRID.shape))),
    "latitudes": by_latitude(),
}


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("name", ALL_WEIGHTS)
def test_losses_are_weighted_means(name: str, gaps: bool, mask: np.ndarray | None) -> None:
    weight = ALL_WEIGHTS[name]
    frames = make_gaps() if gaps else make_frames()
    series = to_series(frames, mask=mask)
    n_samples = LENGTH - CONTEXT - HORIZON + 1
    model = make_model(optimizer_kwargs={"lr": 0.0}, batch_size=n_samples)
    model.fit(series, sample_weight=weight, val_series=series, val_sample_weight=weight)
    train, val = [], []
    for start in range(n_samples):
        clip = frames[start : start + CONTEXT + HORIZON]
        squares = (step_by_hand(model, clip, mask).astype(np.float64) - clip[1:]) ** 2
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
    frames = make_gaps() if gaps else make_frames()
    series, weight = to_series(frames, mask=mask), by_latitude()
    model = make_model(likelihood=likelihood)
    model.fit(series, val_series=series, val_sample_weight=weight)
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
        losses.append(loss * all_weights(weight, start - CONTEXT, context=False))
    assert metrics["val_loss"] == pytest.approx(np.nanmean(losses), rel=1e-5)


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"likelihood": GaussianLikelihood()},
        {"likelihood": QuantileRegression([0.1, 0.5, 0.9])},
        {"use_reversible_instance_norm": True},
    ],
)
def test_targets_without_weight_do_not_matter(
    options: dict[str, Any], mask: np.ndarray | None
) -> None:
    # a single sequence, as another would read these targets in its context; and no frame but the
    # last without weight, as half of the sequences are fed the true one before it
    weight = np.ones((CONTEXT + HORIZON, *GRID.shape), dtype=np.float32)
    weight[-1, 1, :, 2:] = weight[-1, 0, 3] = 0.0
    trained = []
    for seed in (1, 2):
        frames = make_frames(CONTEXT + HORIZON)
        other = make_frames(1, seed)[0] * 50.0
        frames[-1] = np.where(weight[-1] == 0.0, other, frames[-1])
        model = make_model(**options)
        model.fit(to_series(frames, mask=mask), sample_weight=to_series(weight))
        trained.append(weights(model))
    assert torch.equal(*trained)
    unweighted = make_model(**options).fit(to_series(frames, mask=mask))
    assert not torch.equal(weights(unweighted), trained[1])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_weights_must_be_finite_where_the_grid_is_observed(bad: float) -> None:
    weight = np.ones((LENGTH, *GRID.shape), dtype=np.float32)
    weight[:, :, ~MASK] = bad
    series = to_series(make_frames(), mask=MASK)
    assert torch.isfinite(weights(make_model().fit(series, sample_weight=to_series(weight)))).all()
    weight[4, 1, 2, 3] = bad
    message = f"`sample_weight` must be finite, got {bad} in component 'channel_1_2_3' at 4"
    with pytest.raises(ValueError, match=message):
        make_model().fit(series, sample_weight=to_series(weight))
    with pytest.raises(ValueError, match=message):
        make_model().fit(series, val_series=series, val_sample_weight=to_series(weight))


def test_any_loss_of_torch_is_weighted() -> None:
    weight, frames = by_latitude(), make_frames()
    model = make_model(optimizer_kwargs={"lr": 0.0}, loss_fn=torch.nn.L1Loss(), batch_size=99)
    model.fit(to_series(frames), sample_weight=weight)
    losses = []
    for start in range(LENGTH - CONTEXT - HORIZON + 1):
        clip = frames[start : start + CONTEXT + HORIZON]
        error = np.abs(step_by_hand(model, clip, None).astype(np.float64) - clip[1:])
        losses.append(error * all_weights(weight, start))
    assert logged(model)["train_loss"] == pytest.approx(np.mean(losses), rel=1e-5)
