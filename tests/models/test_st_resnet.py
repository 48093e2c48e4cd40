"""ST-ResNet as a Darts model: the shared base with a network that predicts no context frame."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torchmetrics
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.onnx import run_onnx_prediction

from darts_mim import (
    Grid,
    ScheduledSampling,
    STResNetModel,
    series_to_frames,
)
from darts_mim.nn import Schedule
from tests.models.small_models import (
    GRID,
    TRAINER,
    logged,
    make_frames,
    make_series,
    to_series,
    values,
    weights,
)

CONTEXT, HORIZON = 6, 2
LAGS = {"closeness": 2, "period": 1, "trend": 1, "period_length": 3, "trend_length": 5}
TEACHER = ScheduledSampling(horizon=Schedule("constant", start=1.0))


def make_model(context: int = CONTEXT, horizon: int = HORIZON, **options: Any) -> STResNetModel:
    options = {
        **LAGS,
        "hidden_channels": 4,
        "residual_units": 1,
        "batch_size": 4,
        "n_epochs": 1,
        "random_state": 0,
        "pl_trainer_kwargs": TRAINER,
        **options,
    }
    return STResNetModel(context, horizon, **options)


def make_still(**options: Any) -> STResNetModel:
    """Return a model that training does not change: what it logs is the loss of its weights."""
    return make_model(optimizer_kwargs={"lr": 0.0}, **options)


@pytest.fixture(scope="module")
def fitted() -> STResNetModel:
    return make_model().fit(make_series(20))


# --- forecasts ----------------------------------------------------------------------------------


def test_a_forecast_is_the_network_s_of_the_input_chunk(fitted: STResNetModel) -> None:
    frames = make_frames(9, seed=3)
    forecast = fitted.predict(11, to_series(frames))
    network = fitted.model.network.eval()
    with torch.no_grad():
        expected, _ = network(torch.from_numpy(frames[None, -CONTEXT:]), 11)
    np.testing.assert_allclose(series_to_frames(forecast), expected[0], rtol=0, atol=1e-6)
    assert Grid.from_series(forecast) == GRID
    shorter = fitted.predict(3, to_series(frames))
    np.testing.assert_allclose(values(forecast)[:3], values(shorter), rtol=0, atol=1e-6)


@pytest.mark.slow
def test_a_day_and_a_week_are_learnt_cell_by_cell() -> None:
    t = np.arange(150)
    day = np.sin(2 * np.pi * t / 6)[:, None, None, None] * np.linspace(-1, 1, 30).reshape(5, 6)
    week = (t % 30 == 7)[:, None, None, None] * np.ones((2, 5, 6))
    series = to_series((day + week).astype(np.float32))
    model = make_model(
        30,
        period_length=6,
        trend_length=30,
        hidden_channels=12,
        n_epochs=15,
        optimizer_kwargs={"lr": 1e-2},
    ).fit(series[:120])
    error = np.mean((model.predict(24, series[:126]).values() - series[126:].values()) ** 2)
    assert error < 0.05 * np.var(series.values())


# --- the loss -----------------------------------------------------------------------------------


def windows(series: TimeSeries) -> list[int]:
    return list(range(CONTEXT, len(series) - HORIZON + 1))


@pytest.mark.parametrize("has_gaps", [False, True])
@pytest.mark.parametrize("is_masked", [False, True])
def test_the_losses_and_metrics_are_of_the_horizon_alone(has_gaps: bool, is_masked: bool) -> None:
    frames = make_frames(14)
    if has_gaps:
        frames[np.random.default_rng(1).random(frames.shape) < 0.2] = np.nan
        frames[0] = 0.5
    mask = np.arange(30).reshape(5, 6) % 7 > 0 if is_masked else None
    series = to_series(frames, mask=mask)
    weight = make_series(14, seed=2)
    model = make_still(torch_metrics=torchmetrics.MeanSquaredError(), batch_size=100)
    model.fit(series, val_series=series, sample_weight=weight)
    found = logged(model)
    squared, weighs = [], []
    for t in windows(series):
        forecast = series_to_frames(model.predict(HORIZON, series[:t]))
        squared.append((forecast - frames[t : t + HORIZON]) ** 2)
        weighs.append(series_to_frames(weight)[t : t + HORIZON])
    errors, known = np.array(squared), np.isfinite(squared)
    assert known.mean() < 1 or not (has_gaps or is_masked)
    weighted = (errors * np.array(weighs))[known].mean()
    assert found["train_loss"] == pytest.approx(weighted, rel=1e-5)
    assert found["val_loss"] == pytest.approx(errors[known].mean(), rel=1e-5)
    for name in ("train", "val"):
        assert found[f"{name}_MeanSquaredError"] == pytest.approx(errors[known].mean(), rel=1e-5)


def test_scheduled_sampling_feeds_true_frames_of_the_horizon() -> None:
    series, losses = make_series(14), []
    for sampling in (None, TEACHER):
        model = make_still(scheduled_sampling=sampling, batch_size=100).fit(series)
        losses.append(logged(model)["train_loss"])
    errors = []
    for t in windows(series):
        for h in range(HORIZON):
            forecast = model.predict(1, series[: t + h])
            errors.append(np.mean((forecast.values() - series[t + h].values()) ** 2))
    assert losses[1] == pytest.approx(np.mean(errors), rel=1e-5)
    assert losses[0] != pytest.approx(losses[1], rel=1e-3)


# --- covariates ---------------------------------------------------------------------------------


def change_at(covariates: TimeSeries, time: int) -> TimeSeries:
    changed = covariates.all_values(copy=True)
    changed[time] += 1.0
    return covariates.with_values(changed)


FIELDS = make_series(20, seed=6)
NUMBER = FIELDS[FIELDS.columns[0]].with_metadata(None)


@pytest.mark.parametrize("covariates", [FIELDS, NUMBER])
def test_future_covariates_are_those_of_the_predicted_frame(covariates: TimeSeries) -> None:
    series = make_series(14)
    model = make_model().fit(series, future_covariates=covariates)
    forecast = model.predict(4, future_covariates=covariates)
    for h in range(4):
        other = model.predict(4, future_covariates=change_at(covariates, 14 + h))
        differs = np.abs(other.values() - forecast.values()).max(axis=1) > 1e-6
        assert differs.tolist()[: h + 1] == [False] * h + [True]
    # of the context's frames they are not read
    same = model.predict(4, future_covariates=change_at(covariates, 13))
    assert same == forecast


@pytest.mark.parametrize("covariates", [FIELDS, NUMBER])
def test_past_covariates_are_those_of_the_frame_before(covariates: TimeSeries) -> None:
    model = make_model().fit(make_series(14), past_covariates=covariates)
    forecast = model.predict(2, past_covariates=covariates)
    for time, is_read in ((12, False), (13, True), (14, False)):
        other = model.predict(2, past_covariates=change_at(covariates, time))
        assert (other != forecast) is is_read


def test_static_covariates_are_read() -> None:
    series = make_series(14, static_fields={"height": np.ones((5, 6))})
    model = make_model().fit(series)
    other = series.with_static_covariates(series.static_covariates * 2)
    assert model.predict(2, series) != model.predict(2, other)


# --- what is not known --------------------------------------------------------------------------


def test_what_the_mask_hides_never_matters() -> None:
    mask = np.arange(30).reshape(5, 6) % 7 > 0
    forecasts = []
    for anything in (0.0, 1e3, np.nan):
        series = to_series(np.where(mask, make_frames(), np.float32(anything)), mask=mask)
        forecasts.append(series_to_frames(make_model().fit(series).predict(7)))
        np.testing.assert_array_equal(forecasts[-1], forecasts[0])
    is_known = np.broadcast_to(mask, forecasts[0].shape)
    np.testing.assert_array_equal(np.isfinite(forecasts[0]), is_known)


# --- files and weights --------------------------------------------------------------------------


def test_weights_do_not_move_to_a_grid_of_another_size(
    fitted: STResNetModel, tmp_path: Path
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    other = make_model(grid=Grid(channels=2, height=6, width=5))
    message = r"found grid\.height=6, should be grid\.height=5; found grid\.width=5, should be"
    with pytest.raises(ValueError, match=message):
        other.load_weights(path)
    same = make_model(grid=GRID)
    same.load_weights(path)
    assert same.predict(2, make_series(20)) == fitted.predict(2)


@pytest.mark.slow
def test_a_file_without_torch_forecasts_the_same(caplog: pytest.LogCaptureFixture) -> None:
    frames = make_frames(16)
    frames[-3, 0, 2:4] = np.nan
    series = to_series(frames, mask=np.arange(30).reshape(5, 6) % 7 > 0)
    model = make_model(likelihood=GaussianLikelihood()).fit(series)
    model.to_onnx("model.onnx")
    assert "up to 2 frames; with a network that carries no state on" in caplog.text
    session = onnxruntime.InferenceSession("model.onnx")
    found = run_onnx_prediction(HORIZON, session, series, verbose=False)
    expected = model.predict(HORIZON, predict_likelihood_parameters=True)
    np.testing.assert_allclose(found.values(), expected.values(), rtol=0, atol=1e-5)


# --- what it is and what it refuses -------------------------------------------------------------


def test_the_summary_names_the_branches() -> None:
    model = make_model(hidden_channels=16)
    series = make_series(14)
    found = model.summary(series, future_covariates=NUMBER)
    branches = {f"branches[{name}]" for name in ("closeness", "period", "trend")}
    assert set(found.layers) == {*branches, "external"}
    # a number and its flag through 10 units to each component
    assert found.layers["external"] == 10 * 3 + GRID.n_components * 11
    unit, last, first = 2 * (16 * 16 * 9 + 16), 2 * 16 * 9 + 2, 4 * 16 * 9 + 16
    assert found.layers["branches[closeness]"] == first + unit + last + GRID.n_components
    model.fit(series, future_covariates=NUMBER)
    assert found.parameters == weights(model).numel()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"kernel_size": 2}, ValueError, "`kernel_size` must be odd"),
        ({"closeness": 8}, ValueError, r"`input_chunk_length` must be .* got 6; .* `closeness`"),
        (
            {"scheduled_sampling": ScheduledSampling.reverse()},
            ValueError,
            r"`scheduled_sampling` must leave all frames of the context true, .* got context=Sche",
        ),
        (
            {"tanh": True, "likelihood": GaussianLikelihood()},
            ValueError,
            r"`tanh=True` bounds .* \(-1, 1\), got `likelihood` beside it",
        ),
        (
            {"tanh": True, "use_reversible_instance_norm": True},
            ValueError,
            "got `use_reversible_instance_norm` beside it, .* leave one of them out",
        ),
    ],
)
def test_options_that_do_not_fit_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_model(**options)


@pytest.mark.parametrize(
    "context",
    [Schedule("linear", start=1.0, end=1.0), Schedule("constant", start=1.0, end=1.0, until=3)],
)
def test_a_schedule_that_leaves_the_context_true_is_taken(context: Schedule) -> None:
    sampling = ScheduledSampling(horizon=Schedule(), context=context)
    assert make_model(scheduled_sampling=sampling).scheduled_sampling == sampling
