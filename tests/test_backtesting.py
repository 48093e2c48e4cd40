"""Streamed backtests against Darts' own."""

import gc
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.metrics import mae, mase, rmse
from darts.models import (
    ConformalNaiveModel,
    LinearRegressionModel,
    NaiveDrift,
    NLinearModel,
)
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import GaussianLikelihood
from pytorch_lightning import Trainer

from darts_mim import (
    MIMModel,
    frame_mae,
    frame_mse,
    frame_ssim,
    frames_to_series,
    protocol,
)
from darts_mim.backtesting import stream_backtest

CHANNELS, HEIGHT, WIDTH = 2, 8, 9
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
CHUNKS = {"input_chunk_length": 4, "output_chunk_length": 3}
TORCH = {"batch_size": 4, "n_epochs": 1, "random_state": 0, "pl_trainer_kwargs": TRAINER}


def make_series(length: int = 30, seed: int = 0, **options: Any) -> TimeSeries:
    rng = np.random.default_rng(seed)
    frames = rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32)
    series = frames_to_series(frames, **options)
    assert isinstance(series, TimeSeries)
    return series


NETWORK = {"hidden_channels": (4, 3), "kernel_size": 3, "patch_size": 4}


@pytest.fixture(scope="module")
def model() -> MIMModel:
    return MIMModel(**CHUNKS, **NETWORK, **TORCH).fit(make_series(12))


@pytest.fixture(scope="module")
def with_covariates() -> LinearRegressionModel:
    model = LinearRegressionModel(
        lags=2, lags_past_covariates=[-3, -1], lags_future_covariates=[-1, 0, 2]
    )
    return model.fit(small(), past_covariates=small(seed=1), future_covariates=small(seed=2))


def small(length: int = 40, seed: int = 0, **options: Any) -> TimeSeries:
    """Return a series of two components without a grid."""
    values = np.random.default_rng(seed).random((length, 2))
    return TimeSeries.from_values(values, **options)


def check_equal(model: ForecastingModel, series: Any, *, part: int = 8, **arguments: Any) -> Any:
    """Check a streamed backtest against that of Darts, and return it.

    To the last digit for networks, whose batches are the same. Linear algebra may round a row in
    another way where there are more or fewer of them.
    """
    expected = model.backtest(series, **arguments, retrain=False, last_points_only=False)
    errors = stream_backtest(model, series, **arguments, windows_per_part=part)
    assert type(errors) is type(expected)
    pairs = zip(errors, expected, strict=True) if isinstance(errors, list) else [(errors, expected)]
    for got, wanted in pairs:
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        rtol = 1e-12 if isinstance(model, LinearRegressionModel) else 0
        np.testing.assert_allclose(got, wanted, rtol=rtol)
    return errors


# --- the numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "shape"),
    [
        pytest.param({"metric": frame_mse}, (5,), id="by frame"),
        pytest.param({"metric": [frame_mse]}, (5,), id="a list of one"),
        pytest.param({"metric": [frame_mse, frame_ssim, frame_mae]}, (5, 3), id="several"),
        pytest.param({"metric": rmse}, (), id="a number"),
        pytest.param({"metric": [mae, rmse]}, (2,), id="numbers"),
        pytest.param(
            {"metric": mae, "metric_kwargs": {"component_reduction": None}},
            (CHANNELS * HEIGHT * WIDTH,),
            id="by component",
        ),
        pytest.param(
            {"metric": frame_mae, "metric_kwargs": {"time_reduction": np.nanmean}},
            (),
            id="reduced over time",
        ),
        pytest.param({"metric": mase, "metric_kwargs": {"m": 2}}, (), id="scaled by the past"),
        pytest.param(protocol("predrnn"), (5, 4), id="a protocol"),
    ],
)
def test_errors_are_those_of_darts(
    model: MIMModel, metric: dict[str, Any], shape: tuple[int, ...]
) -> None:
    errors = check_equal(model, make_series(seed=1), forecast_horizon=5, **metric)
    assert np.shape(errors) == shape
    each = check_equal(model, make_series(seed=1), forecast_horizon=5, reduction=None, **metric)
    assert np.shape(each) == (30 - 4 - 5 + 1, *shape)


@pytest.mark.parametrize("reduction", [np.mean, np.median, np.nanstd])
@pytest.mark.parametrize("metric", [[frame_mse, frame_mae], [mae, rmse]], ids=["frames", "numbers"])
def test_any_reduction_is_over_all_windows(
    model: MIMModel, metric: list[Any], reduction: Callable[..., Any]
) -> None:
    series = make_series(80)  # so many windows that the order of their sum shows in its last digit
    check_equal(model, series, forecast_horizon=3, metric=metric, reduction=reduction)


@pytest.mark.parametrize("stride", [1, 3, 7, 100])
@pytest.mark.parametrize("windows_per_part", [1, 2, 5, 1000])
def test_parts_of_any_size_cover_every_window_once(stride: int, windows_per_part: int) -> None:
    model = LinearRegressionModel(lags=4, output_chunk_length=3).fit(small())
    series = TimeSeries.from_values(np.arange(60.0).reshape(30, 2))
    each = stream_backtest(
        model,
        series,
        forecast_horizon=3,
        metric=first_actual_value,
        stride=stride,
        reduction=None,
        windows_per_part=windows_per_part,
    )
    np.testing.assert_array_equal(each, 2 * np.arange(4, 30 - 3 + 1, stride))


def first_actual_value(actual_series: Any, pred_series: Any, **_: Any) -> Any:
    """Tell, as a metric, at which frame each forecast starts."""
    pairs = zip(actual_series, pred_series, strict=True)
    return [actual.slice_intersect(pred).values()[0, 0] for actual, pred in pairs]


@pytest.mark.parametrize(
    ("index", "start"),
    [
        ({}, {"start": 9}),
        ({}, {"start": 2}),
        ({}, {"start": 0.5}),
        ({}, {"start": -12, "start_format": "position"}),
        ({"start": 100, "freq": 5}, {"start": 150}),
        ({"start": 100, "freq": 5}, {"start": np.int64(10), "start_format": "position"}),
        ({"freq": "30min"}, {"start": pd.Timestamp("2000-01-01 05:00")}),
        ({"freq": "30min"}, {"start": 10}),
        ({"freq": "MS"}, {"start": pd.Timestamp("2000-11-01")}),
        ({"freq": "MS"}, {"start": 0.25}),
    ],
)
def test_windows_start_where_darts_starts_them(
    index: dict[str, Any], start: dict[str, Any]
) -> None:
    model = LinearRegressionModel(lags=4, output_chunk_length=3).fit(small())
    frames = np.random.default_rng(0).random((30, 2, 1, 1))
    series = frames_to_series(frames, **index)
    arguments = {**start, "stride": 2, "show_warnings": False, "reduction": None}
    errors = check_equal(model, series, forecast_horizon=3, metric=mae, part=4, **arguments)
    assert len(errors) > 4


def test_a_shifted_horizon_ends_within_the_series() -> None:
    model = LinearRegressionModel(lags=4, output_chunk_length=3, output_chunk_shift=2)
    model.fit(small())
    check_equal(model, small(seed=1), forecast_horizon=2, metric=mae, part=3)


def test_several_series_of_unequal_lengths_give_a_list() -> None:
    model = LinearRegressionModel(lags=4, output_chunk_length=3).fit(small())
    batch = [small(length, seed=length) for length in (30, 11, 23)]
    for reduction in (np.nanmean, None):
        arguments = {"metric": [mae, rmse], "reduction": reduction, "part": 3}
        errors = check_equal(model, batch, forecast_horizon=2, **arguments)
        assert len(errors) == 3
    assert len(check_equal(model, batch[:1], forecast_horizon=2, metric=mae)) == 1


def test_several_series_of_grids_differ_by_their_batches_alone(model: MIMModel) -> None:
    batch = [make_series(length, seed=length) for length in (11, 20)]
    arguments = {"forecast_horizon": 3, "metric": [frame_mse, frame_mae]}
    expected = model.backtest(batch, **arguments, retrain=False)
    for windows_per_part in (3, 4):
        errors = stream_backtest(model, batch, **arguments, windows_per_part=windows_per_part)
        np.testing.assert_allclose(errors, expected, rtol=1e-5)


@pytest.mark.parametrize("offset", [0, -3, 2])
def test_covariates_reach_every_part(with_covariates: LinearRegressionModel, offset: int) -> None:
    series = small(30, seed=3)
    arguments: dict[str, Any] = {"metric": mae, "reduction": None, "part": 4}
    errors = check_equal(
        with_covariates,
        series,
        past_covariates=small(33, seed=4).shift(offset),
        future_covariates=small(31, seed=5).shift(offset),
        forecast_horizon=3,
        **arguments,
    )
    assert len(errors) > 8
    batch = [series, small(25, seed=6)]
    covariates = [small(40, seed=7), small(40, seed=8)]
    check_equal(
        with_covariates,
        batch,
        past_covariates=covariates,
        future_covariates=covariates[::-1],
        forecast_horizon=1,
        **arguments,
    )


def test_a_network_with_covariates_and_samples_is_streamed_too() -> None:
    stochastic = MIMModel(**CHUNKS, **NETWORK, **TORCH, likelihood=GaussianLikelihood())
    covariates = {
        "past_covariates": small().astype(np.float32),
        "future_covariates": small(seed=1).astype(np.float32),
    }
    stochastic.fit(make_series(12), **covariates)
    arguments = {"forecast_horizon": 3, "metric": frame_mae, "num_samples": 2, "random_state": 0}
    check_equal(stochastic, make_series(20, seed=1), **covariates, **arguments, part=100)


def test_samples_are_those_of_darts_in_one_part_and_new_ones_in_the_next() -> None:
    model = LinearRegressionModel(lags=4, likelihood="quantile", quantiles=[0.1, 0.5, 0.9])
    model.fit(small())
    arguments = {"forecast_horizon": 1, "metric": mae, "num_samples": 5, "random_state": 3}
    check_equal(model, small(seed=1), **arguments, part=100)
    constant = TimeSeries.from_values(np.full((12, 2), 0.5))
    first, second = stream_backtest(
        model, constant, **arguments, start=10, reduction=None, windows_per_part=1
    )
    assert first != second


def test_predicted_quantiles_and_options_of_predict_are_passed_on() -> None:
    model = LinearRegressionModel(lags=4, likelihood="quantile", quantiles=[0.1, 0.5, 0.9])
    model.fit(small())
    check_equal(
        model,
        small(seed=1),
        forecast_horizon=1,
        metric=mae,
        metric_kwargs={"q": [0.1, 0.9]},
        predict_likelihood_parameters=True,
    )
    torch_model = NLinearModel(**CHUNKS, **TORCH).fit(small())
    check_equal(
        torch_model,
        small(seed=1),
        forecast_horizon=5,
        metric=mae,
        predict_kwargs={"batch_size": 2, "roll_size": 2},
    )


def test_arguments_for_the_backtest_of_darts_can_be_passed_as_they_are(model: MIMModel) -> None:
    arguments = {"forecast_horizon": 3, "retrain": False, "last_points_only": False}
    rules, series = protocol("moving-mnist"), make_series()
    errors = stream_backtest(model, series, **arguments, **rules)
    expected = model.backtest(series, **arguments, **rules)
    pd.testing.assert_frame_equal(rules.table(errors), rules.table(expected))


def test_the_start_is_commented_on_once(caplog: pytest.LogCaptureFixture) -> None:
    model = LinearRegressionModel(lags=4).fit(small())
    arguments = {"forecast_horizon": 1, "metric": mae, "start": 1, "windows_per_part": 5}
    stream_backtest(model, small(), **arguments)
    assert caplog.text.count("is before the first predictable") == 1
    caplog.clear()
    stream_backtest(model, small(), **arguments, show_warnings=False)
    assert not caplog.text


# --- what is held, and what Darts is told -------------------------------------------------------


class Call(NamedTuple):
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def calls_of(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> list[Call]:
    """Collect what a method is called with."""
    calls: list[Call] = []
    original = getattr(owner, name)

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append(Call(args, kwargs))
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, spy)
    return calls


def test_forecasts_are_held_a_part_at_a_time(
    model: MIMModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecasts: list[list[weakref.ref[TimeSeries]]] = []
    alive: list[int] = []
    historical_forecasts = MIMModel.historical_forecasts

    def spy(*args: Any, **kwargs: Any) -> Any:
        alive.append(sum(ref() is not None for part in forecasts for ref in part))
        result = historical_forecasts(*args, **kwargs)
        forecasts.append([weakref.ref(forecast) for forecast in result])
        return result

    monkeypatch.setattr(MIMModel, "historical_forecasts", spy)
    gc.disable()  # it frees reference cycles at some time or other
    try:
        stream_backtest(model, make_series(), forecast_horizon=2, metric=mae, windows_per_part=10)
    finally:
        gc.enable()
    assert [len(part) for part in forecasts] == [10, 10, 5]
    assert alive == [0, 0, 0]


def test_one_trainer_serves_all_parts(model: MIMModel, monkeypatch: pytest.MonkeyPatch) -> None:
    trainers = calls_of(monkeypatch, Trainer, "__init__")
    arguments = {"forecast_horizon": 2, "metric": mae, "windows_per_part": 10}
    stream_backtest(model, [make_series(), make_series()], **arguments)
    assert len(trainers) == 1
    own = {"trainer": Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)}
    stream_backtest(model, make_series(), **arguments, predict_kwargs=own)
    assert len(trainers) == 2
    assert own.keys() == {"trainer"}


def test_options_reach_every_part(model: MIMModel, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = calls_of(monkeypatch, MIMModel, "historical_forecasts")
    arguments = {"predict_kwargs": {"batch_size": 3}, "verbose": True, "windows_per_part": 10}
    stream_backtest(model, make_series(), forecast_horizon=2, metric=mae, **arguments)
    assert [call.kwargs["show_warnings"] for call in calls] == [True, False, False]
    assert all(call.kwargs["verbose"] for call in calls)
    assert [call.kwargs["predict_kwargs"]["batch_size"] for call in calls] == [3, 3, 3]


def test_parts_are_views_of_the_series_with_all_that_it_carries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    series = small().with_metadata({"grid of": "nothing"}).with_hierarchy({"1": ["0"]})
    series = series.with_static_covariates(pd.DataFrame({"height": [1.0, 2.0]}))
    model = LinearRegressionModel(lags=4).fit(series)
    calls = calls_of(monkeypatch, LinearRegressionModel, "historical_forecasts")
    stream_backtest(model, series, forecast_horizon=2, metric=mae, windows_per_part=10)
    parts = [call.args[1] for call in calls]
    assert [len(part) for part in parts] == [15, 25, 35, 40]
    for part in parts:
        assert np.shares_memory(part.all_values(copy=False), series.all_values(copy=False))
        assert part == series[: len(part)]
        assert part.metadata == series.metadata


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"retrain": True}, ValueError, "`retrain` must be False, got True.*`model.backtest`"),
        ({"last_points_only": True}, ValueError, "`last_points_only` must be False, got True"),
        ({"start": "end"}, ValueError, "`start` must be .* got 'end'.*`model.predict`"),
        ({"start": 1000}, ValueError, "`start` position `1000` is out of bounds|larger than"),
        ({"start": 29}, ValueError, "too late"),
        ({"start": 3, "start_format": "postion"}, ValueError, "`start_format` must be one of"),
        ({"start": 0.5, "start_format": "position"}, ValueError, "must be an integer"),
        ({"stride": 0}, ValueError, "`stride` must be at least 1, got 0"),
        ({"windows_per_part": 0}, ValueError, "`windows_per_part` must be at least 1, got 0"),
        ({"windows_per_part": 2.5}, TypeError, "`windows_per_part` must be an integer"),
        ({"forecast_horizon": 0}, ValueError, "`forecast_horizon` must be at least 1"),
        ({"forecast_horizon": 100}, ValueError, "Cannot build any dataset"),
        (
            {"metric_kwargs": {"series_reduction": np.mean}},
            ValueError,
            "no `series_reduction`.*`reduction`",
        ),
        (
            {"metric": [frame_mse, frame_mae], "metric_kwargs": [{}, {"series_reduction": sum}]},
            ValueError,
            "no `series_reduction`",
        ),
        (
            {"metric_kwargs": [{}, {}]},
            ValueError,
            "`metric_kwargs` must be one dictionary, or one for each of the 1 metrics, got 2",
        ),
        ({"overlap_end": True}, TypeError, "overlap_end"),
        ({"data_transformers": {}}, TypeError, "data_transformers"),
    ],
)
def test_what_parts_cannot_honour_is_refused(
    model: MIMModel, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stream_backtest(
            model, make_series(), **{"forecast_horizon": 3, "metric": frame_mse, **arguments}
        )


def test_a_model_that_is_not_fitted_is_refused() -> None:
    untrained = LinearRegressionModel(lags=4)
    with pytest.raises(ValueError, match="has not been fitted yet"):
        stream_backtest(untrained, small(), forecast_horizon=1, metric=mae)


def test_a_model_of_one_series_alone_is_refused() -> None:
    with pytest.raises(ValueError, match="does not support historical forecasting"):
        stream_backtest(NaiveDrift().fit(small()), small(), forecast_horizon=1, metric=mae)


def test_a_model_that_chooses_its_windows_itself_is_refused() -> None:
    fitted = LinearRegressionModel(lags=4).fit(small())
    model = ConformalNaiveModel(fitted, quantiles=[0.1, 0.5, 0.9])
    with pytest.raises(ValueError, match=r"a ConformalNaiveModel, made .*use `model.backtest`"):
        stream_backtest(model, small(), forecast_horizon=1, metric=mae)
