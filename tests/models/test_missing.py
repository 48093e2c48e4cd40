"""What is not known: cells that the grid's mask hides, and missing values (NaN)."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
import torchmetrics
from darts import TimeSeries
from darts.utils.likelihood_models import GaussianLikelihood, QuantileRegression

from darts_mim import Grid, MIMModel, ScheduledSampling, series_to_frames
from darts_mim.nn import Schedule, StepInputs
from tests.models.small_models import (
    GRID,
    logged,
    make_frames,
    make_model,
    make_series,
    step_by_hand,
    to_series,
    values,
    weights,
)

CONTEXT, HORIZON = 3, 2
CHANNELS, HEIGHT, WIDTH = GRID.shape
MASK = np.ones((HEIGHT, WIDTH), dtype=bool)
MASK[0, 0] = MASK[1, 5] = MASK[4, 3:] = False
TEACHER = ScheduledSampling(horizon=Schedule("constant", start=1.0))


def make_gaps(length: int = 12, seed: int = 0, share: float = 0.3) -> np.ndarray:
    """Return frames with gaps: many values, and two whole frames."""
    frames = make_frames(length, seed)
    rng = np.random.default_rng(seed + 100)
    frames[rng.random(frames.shape) < share] = np.nan
    frames[[1, length - 1]] = np.nan
    return frames


def fill_hidden(frames: np.ndarray, seed: int | None) -> np.ndarray:
    """Return frames with anything in the hidden cells; with NaN, if there is no seed."""
    if seed is None:
        return np.where(MASK, frames, np.float32(np.nan))
    anything = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 0.5, -7.0], dtype=np.float32)
    return np.where(MASK, frames, np.random.default_rng(seed).choice(anything, frames.shape))


def masked(frames: np.ndarray, seed: int | None = None) -> TimeSeries:
    return to_series(fill_hidden(frames, seed), mask=MASK)


def mean_square(errors: np.ndarray) -> float:
    """Return the mean square of the errors that are known."""
    return float(np.nanmean(errors.astype(np.float64) ** 2))


# --- hidden cells never matter ------------------------------------------------------------------

ALL_OPTIONS: dict[str, dict[str, Any]] = {
    "Gaussian": {"likelihood": GaussianLikelihood()},
    "instance norm and quantiles": {
        "use_reversible_instance_norm": True,
        "likelihood": QuantileRegression([0.1, 0.5, 0.9]),
    },
    "scheduled sampling and metrics": {
        "scheduled_sampling": TEACHER,
        "torch_metrics": torchmetrics.MeanAbsoluteError(),
    },
    "patches of three": {"patch_size": 3, "output_chunk_shift": 1},
}


@pytest.mark.parametrize("name", ALL_OPTIONS)
def test_what_the_mask_hides_never_matters(name: str) -> None:
    options, results = ALL_OPTIONS[name], []
    for seed in (None, 1):
        model = make_model(**options)
        series, val_series = masked(make_gaps(), seed), masked(make_gaps(8, seed=1), seed)
        model.fit(series, val_series=val_series)
        metrics = logged(model)
        drawn = {"num_samples": 3, "random_state": 0} if "likelihood" in options else {}
        history = masked(make_gaps(6, seed=2), seed)
        forecast = values(model.predict(n=HORIZON, series=history, **drawn))
        results.append((weights(model), forecast, metrics))
    (trained, forecast, metrics), (others, other_forecast, other_metrics) = results
    assert torch.isfinite(trained).all()
    assert torch.equal(trained, others)
    np.testing.assert_array_equal(forecast, other_forecast)
    assert {"train_loss", "val_loss"} <= set(metrics)
    assert metrics == other_metrics
    is_hidden = ~np.broadcast_to(MASK, (CHANNELS, HEIGHT, WIDTH)).reshape(-1)
    np.testing.assert_array_equal(
        np.isnan(forecast), np.broadcast_to(is_hidden[:, None], forecast.shape)
    )


def test_what_the_mask_hides_may_weigh_anything() -> None:
    trained = []
    for seed in (None, 1):
        weight = to_series(fill_hidden(make_frames(seed=3), seed))
        trained.append(weights(make_model().fit(masked(make_gaps(), seed), sample_weight=weight)))
    assert torch.isfinite(trained[0]).all()
    assert torch.equal(*trained)


def test_one_series_that_tells_of_the_mask_is_enough() -> None:
    frames = [make_gaps(seed=seed) for seed in range(3)]
    told = make_model().fit([masked(each) for each in frames])
    without_mask = to_series(fill_hidden(frames[0], 0))
    without_grid = to_series(fill_hidden(frames[1], 1)).with_metadata(None)
    model = make_model().fit([without_mask, without_grid, masked(frames[2])])
    assert model.grid == Grid(*GRID.shape, mask=MASK)
    assert torch.equal(weights(model), weights(told))


def test_a_history_need_not_tell_of_the_mask() -> None:
    model = make_model().fit(masked(make_frames()))
    told = model.predict(n=4, series=masked(make_frames(seed=1)))
    history = to_series(fill_hidden(make_frames(seed=1), 5))
    for each in (history, history.with_metadata(None)):
        forecast = model.predict(n=4, series=each)
        assert Grid.from_series(forecast) == model.grid
        np.testing.assert_array_equal(values(forecast), values(told))


def test_another_mask_is_refused() -> None:
    model = make_model().fit(masked(make_frames()))
    other = make_series(mask=~MASK)
    for refused in (
        lambda: model.predict(n=1, series=other),
        lambda: make_model().fit([masked(make_frames()), other]),
    ):
        with pytest.raises(ValueError, match=r"`series` has the grid .* 5 of 30 cells observed"):
            refused()
    plain = make_model().fit(make_series())
    with pytest.raises(ValueError, match=r"`series` has the grid .* 25 of 30 cells observed, but"):
        plain.predict(n=1, series=masked(make_frames()))


def test_a_grid_that_is_given_overrides_the_masks_of_series() -> None:
    grid = Grid(CHANNELS, HEIGHT, WIDTH, mask=MASK)
    model = make_model(grid=grid).fit(make_series(mask=~MASK))
    forecast = model.predict(n=1, series=make_series(mask=~MASK))
    assert Grid.from_series(forecast) == grid
    np.testing.assert_array_equal(np.isnan(series_to_frames(forecast)[0, 0]), ~MASK)


# --- what the network reads ---------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, MASK])
def test_a_forecast_equals_stepping_with_own_predictions_in_the_gaps(
    mask: np.ndarray | None,
) -> None:
    model = make_model().fit(make_series(mask=mask))
    # the last frame is missing, in the last case two are
    ends_early = make_frames(CONTEXT)
    ends_early[1:] = np.nan
    for frames in (make_gaps(CONTEXT, seed=4), make_gaps(CONTEXT, seed=5, share=0.9), ends_early):
        forecast = series_to_frames(model.predict(n=7, series=to_series(frames, mask=mask)))
        by_hand = step_by_hand(model, frames, 7, mask)[-7:]
        by_hand[..., ~(MASK | (mask is None))] = np.nan
        np.testing.assert_allclose(forecast, by_hand, rtol=0, atol=1e-6)


def statistics(known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and deviation (C, H, W) of the known ones of values (T, C, H, W).

    A component with less than two values has no variance: it has the statistics of its channel.
    """
    known = known.astype(np.float64)
    n_known = (~np.isnan(known)).sum(0)
    moments = []
    for moment in (np.nanmean, np.nanvar):
        of_channel = moment(known, axis=(0, 2, 3))[:, None, None]
        result = np.broadcast_to(of_channel, n_known.shape).copy()
        result[n_known > 1] = moment(known[:, n_known > 1], axis=0)
        moments.append(result)
    return moments[0], np.sqrt(moments[1] + 1e-5)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("mask", [None, MASK])
def test_instance_norm_has_the_statistics_of_known_values_alone(
    mask: np.ndarray | None, affine: bool
) -> None:
    offset = np.array([280.0, -40.0], dtype=np.float32)[:, None, None]
    model = make_model(use_reversible_instance_norm={"affine": affine})
    model.fit(to_series(make_frames() + offset, mask=mask))
    frames = make_frames(CONTEXT, seed=2) + offset
    frames[0, 0, 1:4] = np.nan  # two values are left
    frames[1:, 1, 2:, :2] = np.nan  # one is
    frames[:, 0, 2, 4] = np.nan  # none is
    seen = np.ones_like(MASK) if mask is None else mask
    mean, deviation = statistics(np.where(seen, frames, np.nan))
    gain, bias = np.ones(1), np.zeros(1)
    if affine:
        rin = model.model.rin
        gain, bias = (
            each.detach().numpy().reshape(CHANNELS, HEIGHT, WIDTH)
            for each in (rin.affine_weight, rin.affine_bias)
        )
        assert np.ptp(gain) > 0
    normal = ((frames - mean) / deviation * gain + bias).astype(np.float32)
    by_hand = (step_by_hand(model, normal, 4, mask)[-4:] - bias) / gain * deviation + mean
    by_hand[..., ~seen] = np.nan
    forecast = series_to_frames(model.predict(n=4, series=to_series(frames, mask=mask)))
    np.testing.assert_allclose(forecast, by_hand, rtol=0, atol=2e-4)


@pytest.mark.parametrize("draws", [False, True])
@pytest.mark.parametrize("mask", [None, MASK])
def test_distributions_read_which_values_were_observed(
    mask: np.ndarray | None, draws: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make_model(
        likelihood=QuantileRegression([0.1, 0.5, 0.9]),
        use_reversible_instance_norm={"affine": False},
    ).fit(make_series(mask=mask))
    frames = make_gaps(CONTEXT, seed=4)
    seen = np.ones_like(MASK) if mask is None else mask
    mean, deviation = statistics(np.where(seen, frames, np.nan))
    normal = torch.from_numpy(((frames - mean) / deviation).astype(np.float32))
    network, state = model.model.network, None
    plane = None if mask is None else torch.from_numpy(mask)[None, None].float()
    median, quantiles = torch.zeros(CHANNELS, HEIGHT, WIDTH), []
    with torch.no_grad():
        for t in range(CONTEXT - 1 + HORIZON):
            known = normal[t] if t < CONTEXT else torch.full_like(median, torch.nan)
            frame = torch.where(known.isnan(), median, known) * torch.from_numpy(seen)
            # frames of the horizon that were drawn count as observed
            observed = (~known.isnan() | (draws and t >= CONTEXT)) & torch.from_numpy(seen)
            inputs = StepInputs(plane, None, observed[None])
            output, state = network.step(frame.nan_to_num()[None], state, inputs)
            quantiles.append(output.reshape(CHANNELS, 3, HEIGHT, WIDTH))
            median = quantiles[-1][:, 1]
    expected = torch.stack(quantiles[-HORIZON:]).movedim(2, -1).numpy()  # (H, C, H, W, 3)
    expected = expected * deviation[..., None] + mean[..., None]
    expected[:, :, ~seen] = np.nan
    history = to_series(frames, mask=mask)
    if draws:  # the median, so that it is known
        monkeypatch.setattr(QuantileRegression, "sample", lambda _, output: output[..., 1])
        forecast = series_to_frames(model.predict(HORIZON, history))
        expected = expected[..., 1]
    else:
        forecast = likelihood_parameters(model, history)
    np.testing.assert_allclose(forecast, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"use_reversible_instance_norm": True}])
def test_forecasts_do_not_depend_on_the_gaps_of_others(options: dict[str, Any]) -> None:
    model = make_model(**options).fit(make_series())
    frames = [make_frames(5), make_gaps(4, seed=1), make_frames(3, seed=2), make_gaps(5, seed=3)]
    histories = [to_series(each) for each in frames]
    together = model.predict(n=3, series=histories)
    for history, forecast in zip(histories, together, strict=True):
        alone = model.predict(n=3, series=history)
        np.testing.assert_allclose(values(forecast), values(alone), rtol=0, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"use_reversible_instance_norm": True}])
@pytest.mark.parametrize("mask", [None, MASK])
def test_a_history_of_nothing_gives_a_forecast(
    options: dict[str, Any], mask: np.ndarray | None
) -> None:
    model = make_model(**options).fit(make_series(mask=mask))
    nothing = to_series(np.full_like(make_frames(CONTEXT), np.nan), mask=mask)
    forecast = series_to_frames(model.predict(n=3, series=nothing))
    seen = np.ones_like(MASK) if mask is None else mask
    np.testing.assert_array_equal(np.isfinite(forecast), np.broadcast_to(seen, forecast.shape))


# --- losses and metrics -------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [None, MASK])
@pytest.mark.parametrize("sampling", [None, TEACHER])
def test_the_training_loss_is_the_mean_over_known_values(
    mask: np.ndarray | None, sampling: ScheduledSampling | None
) -> None:
    # a single sequence, in which each cell is observed at some time
    frames = make_gaps(CONTEXT + HORIZON, seed=7)
    frames[0] = make_frames(1)
    frames[-1, 1] = make_frames(1)[0, 1]
    model = make_model(optimizer_kwargs={"lr": 0.0}, scheduled_sampling=sampling)
    model.fit(to_series(frames, mask=mask))
    if sampling is None:
        by_hand = step_by_hand(model, frames[:CONTEXT], HORIZON, mask)
    else:
        by_hand = step_by_hand(model, frames[:-1], 1, mask)
    errors = by_hand - frames[1:]
    errors[..., ~(MASK | (mask is None))] = np.nan
    assert logged(model)["train_loss"] == pytest.approx(mean_square(errors), rel=1e-5)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_validation_loss_is_the_mean_over_known_values(gaps: bool) -> None:
    frames = make_gaps(9, seed=8) if gaps else make_frames(9, seed=8)
    if gaps:
        frames[6:] = np.nan  # the second batch knows less than the first
        frames[6, 0, 1:3] = 0.5
    model = make_model(torch_metrics=torchmetrics.MeanAbsoluteError(), batch_size=3)
    model.fit(masked(make_frames()), val_series=masked(frames, seed=1))
    metrics, errors = logged(model), []
    for start in range(CONTEXT, 9 - HORIZON + 1):
        forecast = series_to_frames(model.predict(HORIZON, masked(frames[:start])))
        errors.append(forecast - frames[start : start + HORIZON])
    assert metrics["val_loss"] == pytest.approx(mean_square(np.stack(errors)), rel=1e-5)
    absolute = np.nanmean(np.abs(errors))
    assert metrics["val_MeanAbsoluteError"] == pytest.approx(absolute, rel=1e-5)


def test_a_validation_batch_of_nothing_does_not_count() -> None:
    whole, gone = make_series(9, seed=1), make_frames(9)
    gone[CONTEXT:] = np.nan
    both, alone = (
        make_model(batch_size=5, torch_metrics=torchmetrics.MeanSquaredError()).fit(
            make_series(), val_series=val_series
        )
        for val_series in ([whole, to_series(gone)], whole)
    )
    assert logged(alone)["val_loss"] > 0
    for name in ("val_loss", "val_MeanSquaredError"):
        assert logged(both)[name] == pytest.approx(logged(alone)[name], rel=1e-6)


def likelihood_parameters(model: MIMModel, history: TimeSeries) -> np.ndarray:
    """Return the parameters of a forecast, (H, C, H, W, P)."""
    forecast = model.predict(HORIZON, history, predict_likelihood_parameters=True)
    return forecast.values().reshape(HORIZON, CHANNELS, HEIGHT, WIDTH, -1).astype(np.float64)


class Gradients(pl.Callback):
    """Note the gradients of each step."""

    def __init__(self) -> None:
        self.largest: list[float] = []

    def on_after_backward(self, trainer: Any, module: Any) -> None:
        gradients = [p.grad for p in module.parameters()]
        assert all(each is not None for each in gradients)
        self.largest.append(float(torch.cat([each.flatten() for each in gradients]).abs().max()))


MISSING: dict[str, tuple[Any, ...]] = {
    "the target": (slice(1, None),),
    "the first frame": (0,),
    "the context": (slice(CONTEXT),),
    "all but a row of the last frame": (slice(-1), (-1, 0, slice(1, None))),
}


@pytest.mark.parametrize("missing", MISSING)
@pytest.mark.parametrize("name", list(ALL_OPTIONS)[:3])
def test_gradients_stay_finite_whatever_is_missing(missing: str, name: str) -> None:
    gaps = make_frames(CONTEXT + HORIZON)
    for place in MISSING[missing]:
        gaps[place] = np.nan
    # a batch has one sequence: one batch misses much, the other nothing
    series = [to_series(gaps), to_series(make_frames(CONTEXT + HORIZON, seed=1))]
    notes = Gradients()
    model = make_model(batch_size=1, trainer={"callbacks": [notes]}, **ALL_OPTIONS[name])
    model.fit(series, val_series=series)
    assert len(notes.largest) == 2
    assert np.isfinite(notes.largest).all()
    assert notes.largest.count(0.0) == (missing == "the target")
    assert torch.isfinite(weights(model)).all()
    assert np.isfinite(logged(model)["val_loss"])


# --- what is refused ----------------------------------------------------------------------------


def test_a_cell_that_is_never_observed_is_refused_and_the_remedy_works() -> None:
    frames = make_frames()
    frames[:, 1, 2, 4] = np.nan  # the other channel is observed there
    frames[:, :, 4, 5] = np.nan
    message = (
        r"`series` has 3 components that are never observed \(NaN at all times\), such as channel "
        r"'channel_0' in row 4, column 5; .*mask=~np.isnan\(frames\).all\(axis=0\).any\(axis=0\)"
    )
    with pytest.raises(ValueError, match=message):
        make_model().fit(to_series(frames))
    mask = ~np.isnan(frames).all(axis=0).any(axis=0)
    model = make_model().fit(to_series(frames, mask=mask), val_series=to_series(frames))
    np.testing.assert_array_equal(np.isnan(series_to_frames(model.predict(1))[0, 0]), ~mask)


def test_a_cell_that_is_observed_at_some_time_in_some_series_is_taken() -> None:
    frames = make_frames()
    frames[:, 1, 2, 4] = np.nan
    seldom = make_frames(seed=1)
    seldom[1:, 1, 2, 4] = np.nan
    val_series = to_series(np.full_like(frames, np.nan))
    model = make_model().fit([to_series(frames), to_series(seldom)], val_series=val_series)
    assert np.isnan(logged(model)["val_loss"])
    assert np.isfinite(values(model.predict(n=2, series=to_series(frames)))).all()


# --- saved, loaded and moved --------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood()])
def test_weights_move_to_a_masked_grid_of_another_size(tmp_path: Path, likelihood: Any) -> None:
    path = str(tmp_path / "model.pt")
    make_model(likelihood=likelihood).fit(masked(make_frames())).save(path)
    mask = np.ones((4, 9), dtype=bool)
    mask[:2, 3] = mask[3] = False
    model = make_model(grid=Grid(CHANNELS, 4, 9, mask=mask), likelihood=likelihood)
    model.load_weights(path)
    frames = np.random.default_rng(0).random((CONTEXT, CHANNELS, 4, 9), dtype=np.float32)
    frames[1, 0, 2] = np.nan
    frames[..., ~mask] = np.inf
    forecast = series_to_frames(model.predict(n=5, series=to_series(frames)))
    np.testing.assert_array_equal(np.isnan(forecast), np.broadcast_to(~mask, forecast.shape))
    if likelihood is None:
        by_hand = step_by_hand(model, frames, 5, mask)[-5:]
        np.testing.assert_allclose(forecast[..., mask], by_hand[..., mask], rtol=0, atol=1e-6)
    # and train on
    model.fit(to_series(np.nan_to_num(np.concatenate([frames] * 2), posinf=0.0)))


@pytest.mark.parametrize("with_mask", [True, False])
def test_weights_do_not_move_between_a_grid_with_a_mask_and_one_without(
    tmp_path: Path, with_mask: bool
) -> None:
    masks = [MASK, None] if with_mask else [None, MASK]
    make_model().fit(make_series(mask=masks[0])).save(tmp_path / "model.pt")
    with pytest.raises(ValueError, match=r"found grid\.has_mask"):
        make_model(grid=Grid(*GRID.shape, mask=masks[1])).load_weights(str(tmp_path / "model.pt"))


def test_loaded_weights_bring_their_mask(tmp_path: Path) -> None:
    source = make_model().fit(masked(make_frames()))
    source.save(tmp_path / "model.pt")
    model = make_model(random_state=7)
    model.load_weights(str(tmp_path / "model.pt"))
    assert model.grid == source.grid
    history = masked(make_gaps(4))
    np.testing.assert_array_equal(
        values(model.predict(n=3, series=history)), values(source.predict(n=3, series=history))
    )
