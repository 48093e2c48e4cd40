"""ST-ResNet as a Darts model: the shared base with a network that predicts no context frame."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torchmetrics
from darts import TimeSeries
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch
from darts.utils.likelihood_models.torch import GaussianLikelihood, QuantileRegression
from darts.utils.onnx import run_onnx_prediction
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from darts_mim import (
    Grid,
    MIMModel,
    ScheduledSampling,
    STResNetModel,
    frame_mse,
    frames_to_series,
    series_to_frames,
)
from darts_mim.models import summary
from darts_mim.models.capacity import Capacity
from darts_mim.nn import FedFrame, Schedule
from tests.models.small_models import GRID, TRAINER, make_series

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


def make_frames(length: int = 14, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((length, *GRID.shape), dtype=np.float32)


def logged(model: STResNetModel) -> dict[str, float]:
    assert model.trainer is not None
    return {name: float(value) for name, value in model.trainer.logged_metrics.items()}


def frames_of(forecast: TimeSeries) -> np.ndarray:
    return np.asarray(series_to_frames(forecast))


@pytest.fixture(scope="module")
def fitted() -> STResNetModel:
    return make_model().fit(make_series(20))


# --- forecasts ----------------------------------------------------------------------------------


def test_a_forecast_is_the_network_s_of_the_input_chunk(fitted: STResNetModel) -> None:
    frames = make_frames(9, seed=3)
    forecast = fitted.predict(11, make_series(frames=frames))
    network = fitted.model.network.eval()
    with torch.no_grad():
        expected, _ = network(torch.from_numpy(frames[None, -CONTEXT:]), 11)
    np.testing.assert_allclose(frames_of(forecast), expected[0], rtol=0, atol=1e-6)
    assert Grid.from_series(forecast) == GRID
    shorter = fitted.predict(3, make_series(frames=frames))
    np.testing.assert_allclose(frames_of(forecast)[:3], frames_of(shorter), rtol=0, atol=1e-6)


def test_forecasts_depend_on_neither_batch_size_nor_calls_before(fitted: STResNetModel) -> None:
    several = [make_series(8 + k, seed=k) for k in range(3)]
    together = fitted.predict(4, several)
    for batch_size in (1, 2):
        for one, other in zip(
            together, fitted.predict(4, several, batch_size=batch_size), strict=True
        ):
            np.testing.assert_allclose(one.values(), other.values(), rtol=0, atol=1e-6)
    again = fitted.predict(4, several[1])
    np.testing.assert_allclose(again.values(), together[1].values(), rtol=0, atol=1e-6)


def test_historical_forecasts_equal_predict_at_each_point(fitted: STResNetModel) -> None:
    series = make_series(16, seed=4)
    results = [
        fitted.historical_forecasts(
            series,
            start=10,
            forecast_horizon=2,
            retrain=False,
            last_points_only=False,
            enable_optimization=is_optimised,
        )
        for is_optimised in (True, False)
    ]
    for k, (fast, slow) in enumerate(zip(*results, strict=True)):
        expected = fitted.predict(2, series[: 10 + k])
        assert fast.time_index.equals(expected.time_index)
        for forecast in (fast, slow):
            np.testing.assert_allclose(forecast.values(), expected.values(), rtol=0, atol=1e-6)


def test_a_backtest_gives_an_error_for_each_frame(fitted: STResNetModel) -> None:
    errors = fitted.backtest(
        make_series(16), start=10, forecast_horizon=3, retrain=False, metric=frame_mse
    )
    assert np.shape(errors) == (3,)
    assert np.isfinite(errors).all()


def test_its_capabilities_are_those_of_mim() -> None:
    options = {"likelihood": GaussianLikelihood()}
    ours, mim = make_model(**options), MIMModel(CONTEXT, HORIZON, **options)
    names = [name for name in dir(mim) if name.startswith("supports_")]
    assert len(names) > 8
    assert {name: getattr(ours, name) for name in names} == {
        name: getattr(mim, name) for name in names
    }
    assert ours.extreme_lags == mim.extreme_lags


def test_a_series_without_a_grid_is_forecast_too() -> None:
    series = TimeSeries.from_values(np.random.default_rng(0).random((20, 3), dtype=np.float32))
    assert make_model().fit(series).predict(4).n_components == 3


def test_a_day_and_a_week_are_learnt_cell_by_cell() -> None:
    t = np.arange(150)
    day = np.sin(2 * np.pi * t / 6)[:, None, None, None] * np.linspace(-1, 1, 30).reshape(5, 6)
    week = (t % 30 == 7)[:, None, None, None] * np.ones((2, 5, 6))
    series = make_series(frames=(day + week).astype(np.float32))
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
    frames = make_frames()
    if has_gaps:
        frames[np.random.default_rng(1).random(frames.shape) < 0.2] = np.nan
        frames[0] = 0.5
    mask = np.arange(30).reshape(5, 6) % 7 > 0 if is_masked else None
    series = make_series(frames=frames, mask=mask)
    weight = frames_to_series(make_frames(seed=2), start="2026-01-01", freq="h")
    model = make_still(torch_metrics=torchmetrics.MeanSquaredError(), batch_size=100)
    model.fit(series, val_series=series, sample_weight=weight)
    found = logged(model)
    squared, weights = [], []
    for t in windows(series):
        forecast = frames_of(model.predict(HORIZON, series[:t]))
        squared.append((forecast - frames[t : t + HORIZON]) ** 2)
        weights.append(make_frames(seed=2)[t : t + HORIZON])
    errors, known = np.array(squared), np.isfinite(squared)
    assert known.mean() < 1 or not (has_gaps or is_masked)
    weighted = (errors * np.array(weights))[known].mean()
    assert found["train_loss"] == pytest.approx(weighted, rel=1e-5)
    assert found["val_loss"] == pytest.approx(errors[known].mean(), rel=1e-5)
    for name in ("train", "val"):
        assert found[f"{name}_MeanSquaredError"] == pytest.approx(errors[known].mean(), rel=1e-5)


def test_training_predicts_the_horizon_alone(fitted: STResNetModel) -> None:
    frames = torch.from_numpy(make_frames(CONTEXT + HORIZON).reshape(1, -1, GRID.n_components))
    past, future = frames.split([CONTEXT, HORIZON], dim=1)
    batch = TorchTrainingBatch(past_target=past, future_target=future)
    _, output, target = fitted.model.next_frame_loss(batch, None)
    assert output.prediction.shape == (1, HORIZON, GRID.n_components, 1)
    assert torch.equal(target, future)


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


def test_a_fit_follows_random_state() -> None:
    series = make_series(14)
    forecasts = [make_model(random_state=seed).fit(series).predict(2) for seed in (0, 0, 1)]
    assert forecasts[0] == forecasts[1]
    assert forecasts[0] != forecasts[2]


# --- covariates ---------------------------------------------------------------------------------


def change_at(covariates: TimeSeries, time: int) -> TimeSeries:
    values = covariates.all_values(copy=True)
    values[time] += 1.0
    return covariates.with_values(values)


def make_number(length: int) -> TimeSeries:
    values = np.random.default_rng(5).random((length, 1), dtype=np.float32)
    times = make_series(length).time_index
    return TimeSeries.from_times_and_values(times, values)


@pytest.mark.parametrize("make", [make_number, lambda length: make_series(length, seed=6)])
def test_future_covariates_are_those_of_the_predicted_frame(
    make: Callable[[int], TimeSeries],
) -> None:
    series, covariates = make_series(14), make(20)
    model = make_model().fit(series, future_covariates=covariates)
    forecast = model.predict(4, future_covariates=covariates)
    for h in range(4):
        other = model.predict(4, future_covariates=change_at(covariates, 14 + h))
        differs = np.abs(other.values() - forecast.values()).max(axis=1) > 1e-6
        assert differs.tolist()[: h + 1] == [False] * h + [True]
    # of the context's frames they are not read
    same = model.predict(4, future_covariates=change_at(covariates, 13))
    assert same == forecast


@pytest.mark.parametrize("make", [make_number, lambda length: make_series(length, seed=6)])
def test_past_covariates_are_those_of_the_frame_before(make: Callable[[int], TimeSeries]) -> None:
    series, covariates = make_series(14), make(16)
    model = make_model().fit(series, past_covariates=covariates)
    forecast = model.predict(2, past_covariates=covariates)
    for time, is_read in ((12, False), (13, True), (14, False)):
        other = model.predict(2, past_covariates=change_at(covariates, time))
        assert (other != forecast) is is_read


def test_static_covariates_are_read() -> None:
    several = [
        make_series(14, seed=seed, static_fields={"height": np.full((5, 6), float(seed))})
        for seed in (1, 2)
    ]
    model = make_model().fit(several)
    assert model.uses_static_covariates
    other = several[0].with_static_covariates(several[1].static_covariates)
    assert model.predict(2, several[0]) != model.predict(2, other)


# --- what is not known --------------------------------------------------------------------------


def test_a_missing_value_is_read_as_the_last_known_one(fitted: STResNetModel) -> None:
    frames = make_frames(CONTEXT, seed=7)
    frames[2:4, 0, 1] = np.nan
    frames[0, 1, 2, 3] = np.nan
    filled = frames.copy()
    filled[2:4, 0, 1] = frames[1, 0, 1]
    filled[0, 1, 2, 3] = frames[1, 1, 2, 3]
    one, other = (fitted.predict(5, make_series(frames=each)) for each in (frames, filled))
    np.testing.assert_allclose(one.values(), other.values(), rtol=0, atol=1e-6)


def test_what_the_mask_hides_never_matters() -> None:
    mask = np.arange(30).reshape(5, 6) % 7 > 0
    forecasts = []
    for anything in (0.0, 1e3, np.nan):
        frames = make_frames()
        frames[..., ~mask] = anything
        series = make_series(frames=frames, mask=mask)
        forecasts.append(frames_of(make_model().fit(series).predict(7)))
        assert np.isnan(forecasts[-1][..., ~mask]).all()
        assert np.isfinite(forecasts[-1][..., mask]).all()
    for forecast in forecasts[1:]:
        np.testing.assert_array_equal(forecast, forecasts[0])


def test_frames_of_a_gap_are_predicted_and_not_returned() -> None:
    series = make_series(20)
    model = make_model(output_chunk_shift=2).fit(series)
    forecast = model.predict(HORIZON)
    assert forecast.start_time() == series.end_time() + 3 * series.freq
    context = torch.from_numpy(series.values()[None, -CONTEXT:].reshape(1, CONTEXT, *GRID.shape))
    with torch.no_grad():
        expected, _ = model.model.network.eval()(context, 4)
    np.testing.assert_allclose(frames_of(forecast), expected[0, 2:], rtol=0, atol=1e-6)


# --- uncertainty --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gaussian() -> STResNetModel:
    return make_model(likelihood=GaussianLikelihood()).fit(make_series(20))


@pytest.mark.parametrize("has_gap", [False, True])
def test_a_drawn_frame_is_read_and_counts_as_observed(
    gaussian: STResNetModel, has_gap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_frames(CONTEXT, seed=8)
    frames[3, 0, 2:] = np.nan if has_gap else 0.5
    monkeypatch.setattr(
        GaussianLikelihood, "sample", lambda _, parameters: torch.full_like(parameters[..., 0], 0.3)
    )
    module, fed = gaussian.model, []
    make = module._feed_back

    def record(*args: Any) -> Callable[[torch.Tensor], FedFrame]:
        feed_back = make(*args)

        def feed(prediction: torch.Tensor) -> FedFrame:
            fed.append(feed_back(prediction))
            return fed[-1]

        return feed

    monkeypatch.setattr(module, "_feed_back", record)
    forecast = gaussian.predict(4, make_series(frames=frames), num_samples=2)
    assert (forecast.all_values() == np.float32(0.3)).all()
    assert len(fed) == 3
    for frame in fed:
        assert (frame.values == 0.3).all()
        assert frame.observed is not None
        assert frame.observed.all()


def test_samples_spread_and_follow_random_state(gaussian: STResNetModel) -> None:
    one, other = (gaussian.predict(3, num_samples=20, random_state=1) for _ in range(2))
    assert one == other
    assert (one.all_values().std(axis=2) > 0).all()


def test_parameters_are_those_of_free_running(gaussian: STResNetModel) -> None:
    parameters = gaussian.predict(HORIZON, predict_likelihood_parameters=True)
    assert parameters.n_components == 2 * GRID.n_components
    assert (parameters.values()[:, 1::2] > 0).all()


def test_quantiles_beside_a_mask_gaps_and_covariates() -> None:
    frames = make_frames()
    frames[5, 0, 2:4] = np.nan
    mask = np.arange(30).reshape(5, 6) % 7 > 0
    series = make_series(frames=frames, mask=mask)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    covariates = {"past_covariates": make_series(16, seed=1), "future_covariates": calendar}
    model = make_model(likelihood=QuantileRegression([0.1, 0.5, 0.9]), recompute=True)
    model.fit(series, val_series=series, **covariates, val_past_covariates=make_series(16),
              val_future_covariates=calendar)  # fmt: skip
    values = model.predict(3, num_samples=5).all_values().reshape(3, *GRID.shape, 5)
    assert np.isnan(values[..., ~mask, :]).all()
    assert np.isfinite(values[..., mask, :]).all()


# --- files and weights --------------------------------------------------------------------------


def test_a_saved_model_forecasts_the_same(fitted: STResNetModel, tmp_path: Path) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    loaded = STResNetModel.load(path)
    assert loaded.predict(9) == fitted.predict(9)
    other = make_model(recompute=True)
    other.load_weights(path)
    assert other.predict(9, make_series(20)) == fitted.predict(9)
    with pytest.raises(ValueError, match="period_length"):
        make_model(period_length=2).load_weights(path)


def test_weights_do_not_move_to_a_grid_of_another_size(
    fitted: STResNetModel, tmp_path: Path
) -> None:
    path = str(tmp_path / "model.pt")
    fitted.save(path)
    other = make_model(grid=Grid(channels=2, height=6, width=5))
    message = (
        "`grid` has 6 rows x 5 columns, but the weights are for 5 rows x 6 columns: STResNetModel "
        "has weights for each cell of its grid; give a grid of that size"
    )
    with pytest.raises(ValueError, match=message):
        other.load_weights(path)
    with pytest.raises(ValueError, match="`grid` has 3 channels, but the weights are for 2"):
        make_model(grid=Grid(channels=3, height=5, width=6)).load_weights(path)
    same = make_model(grid=GRID)
    same.load_weights(path)
    assert same.predict(2, make_series(20)) == fitted.predict(2)


@pytest.mark.parametrize("likelihood", [None, GaussianLikelihood()])
def test_a_file_without_torch_forecasts_the_same(
    likelihood: Any, caplog: pytest.LogCaptureFixture
) -> None:
    frames = make_frames(16)
    frames[-3, 0, 2:4] = np.nan
    series = make_series(frames=frames, mask=np.arange(30).reshape(5, 6) % 7 > 0)
    model = make_model(likelihood=likelihood).fit(series)
    model.to_onnx("model.onnx")
    assert "up to 2 frames; with a network that carries no state on" in caplog.text
    model.to_onnx("longer.onnx", horizon=7)
    for n, name in ((2, "model.onnx"), (7, "longer.onnx")):
        if n > HORIZON and likelihood is not None:
            continue  # Darts gives parameters of the output chunk alone
        session = onnxruntime.InferenceSession(name)
        found = run_onnx_prediction(n, session, series, verbose=False)
        expected = model.predict(n, predict_likelihood_parameters=likelihood is not None)
        np.testing.assert_allclose(found.values(), expected.values(), rtol=0, atol=1e-5)


# --- what it is and what it refuses -------------------------------------------------------------


def test_the_summary_names_the_branches(monkeypatch: pytest.MonkeyPatch) -> None:
    calendar = make_number(14)
    model = make_model(hidden_channels=16)
    series = make_series(14)
    found = model.summary(series, future_covariates=calendar)
    assert set(found.layers) == {
        "branches[closeness]",
        "branches[period]",
        "branches[trend]",
        "external",
    }
    # a number and its flag through 10 units to each component
    assert found.layers["external"] == 10 * 3 + GRID.n_components * 11
    unit, last = 2 * (16 * 16 * 9 + 16), 2 * 16 * 9 + 2
    first = {"closeness": 4 * 16 * 9 + 16, "period": 2 * 16 * 9 + 16}
    for name, number in first.items():
        expected = number + unit + last + GRID.n_components
        assert found.layers[f"branches[{name}]"] == expected
    assert found.input_channels == 4 * 2
    assert "8 in each cell" in str(found)
    model.fit(series, future_covariates=calendar)
    assert found.parameters == sum(p.numel() for p in model.model.parameters())
    assert model.summary() == found
    room = found.step_bytes // 2
    monkeypatch.setattr(summary, "capacity_of", lambda _: Capacity(room, room))
    advised = {change.option: change.value for change in model.summary().changes}
    assert advised["recompute"] is True
    assert advised["hidden_channels"] == 8


@pytest.mark.parametrize(
    ("options", "least"),
    [
        ({}, r"at least 5, .*\(trend=1 x trend_length=5\), got 4; give 5 or more, or a smaller"),
        ({"trend": 0, "period": 2}, r"at least 6, .*\(period=2 x period_length=3\), got 4"),
        ({"closeness": 8}, r"at least 8, .*\(closeness=8\), got 4; .* or a smaller `closeness`"),
    ],
)
def test_an_input_chunk_that_does_not_reach_back_is_refused(
    options: dict[str, Any], least: str
) -> None:
    with pytest.raises(ValueError, match=f"`input_chunk_length` must be {least}"):
        make_model(4, **options)


def test_the_default_reaches_back_a_week_of_half_hours() -> None:
    with pytest.raises(ValueError, match=r"`input_chunk_length` must be at least 336"):
        STResNetModel(335, 1)
    STResNetModel(336, 1)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"period": -1}, ValueError, "`period` must be at least 0"),
        ({"hidden_channels": [4]}, TypeError, "`hidden_channels` must be an integer"),
        ({"kernel_size": 2}, ValueError, "`kernel_size` must be odd"),
        ({"grid": (2, 5, 6)}, TypeError, r"`grid` must be a darts_mim\.Grid or None"),
        ({"scheduled_sampling": 0.5}, TypeError, r"`scheduled_sampling` must be a darts_mim\.S"),
        (
            {"scheduled_sampling": ScheduledSampling.reverse()},
            ValueError,
            r"`scheduled_sampling` must leave all frames of the context true, .* got context=Sche",
        ),
        (
            {"tanh": True, "likelihood": GaussianLikelihood()},
            ValueError,
            r"`tanh=True` bounds to \(-1, 1\) .* got `likelihood` beside it",
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


def test_tanh_and_instance_norm_forecast() -> None:
    series = make_series(14)
    assert np.abs(make_model(tanh=True).fit(series).predict(5).values()).max() < 1
    model = make_model(use_reversible_instance_norm=True).fit(series)
    shifted = model.predict(3, series + 100.0).values() - model.predict(3, series).values()
    np.testing.assert_allclose(shifted, 100.0, rtol=0, atol=1e-3)
