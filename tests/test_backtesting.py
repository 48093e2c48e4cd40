"""Streamed backtests against Darts' own."""

import gc
import weakref
from typing import Any

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.dataprocessing import Pipeline
from darts.dataprocessing.transformers import Diff, InvertibleMapper, Mapper, Scaler
from darts.metrics import mae, mase, rmse
from darts.models import ConformalNaiveModel, LinearRegressionModel
from darts.models.forecasting.forecasting_model import ForecastingModel
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import GridScaler, MIMModel, frame_mae, frame_mse, frames_to_series, protocol
from darts_mim.backtesting import stream_backtest

CHANNELS, HEIGHT, WIDTH = 2, 7, 8
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
MODEL: dict[str, Any] = {
    "input_chunk_length": 4,
    "output_chunk_length": 3,
    "hidden_channels": (4, 3),
    "kernel_size": 3,
    "patch_size": 4,
    "batch_size": 4,
    "n_epochs": 1,
    "random_state": 0,
    "pl_trainer_kwargs": TRAINER,
}


def make_series(length: int = 30, seed: int = 0) -> TimeSeries:
    rng = np.random.default_rng(seed)
    series = frames_to_series(rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32))
    assert isinstance(series, TimeSeries)
    return series


EACH_WINDOW: dict[str, Any] = {"forecast_horizon": 1, "metric": mae, "reduction": None}


def small(length: int = 40, seed: int = 0) -> TimeSeries:
    """Return a series of two components without a grid."""
    return TimeSeries.from_values(np.random.default_rng(seed).random((length, 2)))


@pytest.fixture(scope="module")
def model() -> MIMModel:
    return MIMModel(**MODEL).fit(make_series(12))


@pytest.fixture(scope="module")
def linear() -> LinearRegressionModel:
    return LinearRegressionModel(lags=4, output_chunk_length=3).fit(small())


@pytest.fixture(scope="module")
def quantile() -> LinearRegressionModel:
    model = LinearRegressionModel(lags=4, likelihood="quantile", quantiles=[0.1, 0.5, 0.9])
    return model.fit(small())


@pytest.fixture(scope="module")
def with_covariates() -> LinearRegressionModel:
    model = LinearRegressionModel(
        lags=2, lags_past_covariates=[-3, -1], lags_future_covariates=[-1, 0, 2]
    )
    return model.fit(small(), past_covariates=small(seed=1), future_covariates=small(seed=2))


def check_equal(model: ForecastingModel, series: Any, *, part: int = 8, **arguments: Any) -> Any:
    """Check a streamed backtest against that of Darts, and return it."""
    expected = model.backtest(series, **arguments, retrain=False, last_points_only=False)
    errors = stream_backtest(model, series, **arguments, windows_per_part=part)
    assert type(errors) is type(expected)
    pairs = zip(errors, expected, strict=True) if isinstance(errors, list) else [(errors, expected)]
    for got, wanted in pairs:
        assert (got.shape, got.dtype) == (wanted.shape, wanted.dtype)
        # of another number of rows in one product; networks have float32
        rtol = 1e-12 if isinstance(model, LinearRegressionModel) else 1e-5
        np.testing.assert_allclose(got, wanted, rtol=rtol)
    return errors


# --- the numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "shape"),
    [
        ({"metric": frame_mse}, (5,)),
        ({"metric": [mae, rmse], "reduction": np.median}, (2,)),
        ({"metric": [frame_mae], "metric_kwargs": {"time_reduction": np.nanmean}}, ()),
        ({"metric": mase, "metric_kwargs": {"m": 2}}, ()),
        (protocol("predrnn"), (5, 4)),
    ],
)
def test_errors_are_those_of_darts(model: MIMModel, metric: Any, shape: tuple[int, ...]) -> None:
    series = make_series(18, seed=1)
    errors = check_equal(model, series, forecast_horizon=5, **metric)
    assert np.shape(errors) == shape
    each = check_equal(model, series, forecast_horizon=5, **{**metric, "reduction": None})
    assert np.shape(each) == (18 - 4 - 5 + 1, *shape)


@pytest.mark.parametrize("stride", [1, 3, 100])
@pytest.mark.parametrize("part", [1, 5, 1000])
def test_parts_of_any_size_cover_every_window_once(
    linear: LinearRegressionModel, stride: int, part: int
) -> None:
    options = {"forecast_horizon": 3, "metric": mae, "stride": stride, "reduction": None}
    errors = check_equal(linear, small(30), part=part, **options)
    assert len(errors) == len(range(4, 30 - 3 + 1, stride))


@pytest.mark.parametrize(
    ("index", "start"),
    [
        ({}, {"start": 0.5}),
        ({}, {"start": -12, "start_format": "position"}),
        ({"start": 100, "freq": 5}, {"start": 150}),
        ({"start": 100, "freq": 5}, {"start": np.int64(10), "start_format": "position"}),
        ({"freq": "MS"}, {"start": pd.Timestamp("2000-11-01")}),
    ],
)
def test_windows_start_where_darts_starts_them(
    linear: LinearRegressionModel, index: dict[str, Any], start: dict[str, Any]
) -> None:
    series = frames_to_series(np.random.default_rng(0).random((30, 2, 1, 1)), **index)
    arguments = {**start, "stride": 2, "show_warnings": False, "reduction": None}
    check_equal(linear, series, forecast_horizon=3, metric=mae, part=4, **arguments)


def test_a_shifted_horizon_ends_within_the_series() -> None:
    model = LinearRegressionModel(lags=4, output_chunk_length=3, output_chunk_shift=2)
    check_equal(model.fit(small()), small(seed=1), forecast_horizon=2, metric=mae, part=3)


@pytest.mark.parametrize("reduction", [np.nanmean, None])
def test_several_series_of_unequal_lengths_give_a_list(
    linear: LinearRegressionModel, reduction: Any
) -> None:
    batch = [small(length, seed=length) for length in (30, 11, 23)]
    for series in (batch, batch[:1]):
        options = {"metric": [mae, rmse], "reduction": reduction, "part": 3}
        errors = check_equal(linear, series, forecast_horizon=2, **options)
        assert (type(errors), len(errors)) == (list, len(series))


@pytest.mark.parametrize("offset", [0, -3, 2])
def test_covariates_reach_every_part(with_covariates: LinearRegressionModel, offset: int) -> None:
    past, future = small(33, seed=4).shift(offset), small(31, seed=5).shift(offset)
    check_equal(
        with_covariates,
        [small(30, seed=3), small(25, seed=6)],
        past_covariates=[past, future],
        future_covariates=[future, past],
        **EACH_WINDOW,
    )


def test_a_network_with_covariates_and_samples_is_streamed_too() -> None:
    names = ("past_covariates", "future_covariates")
    covariates = {name: small(seed=i).astype(np.float32) for i, name in enumerate(names)}
    stochastic = MIMModel(**MODEL, likelihood=GaussianLikelihood())
    stochastic.fit(make_series(12), **covariates)
    arguments = {"forecast_horizon": 3, "metric": frame_mae, "num_samples": 2, "random_state": 0}
    check_equal(stochastic, make_series(16, seed=1), **covariates, **arguments, part=100)


def test_samples_are_those_of_darts_in_one_part_and_new_ones_in_the_next(
    quantile: LinearRegressionModel,
) -> None:
    arguments = {"forecast_horizon": 1, "metric": mae, "num_samples": 5, "random_state": 3}
    check_equal(quantile, small(seed=1), **arguments, part=100)
    constant = TimeSeries.from_values(np.full((12, 2), 0.5))
    first, second = stream_backtest(
        quantile, constant, **arguments, start=10, reduction=None, windows_per_part=1
    )
    assert first != second


def test_predicted_quantiles_are_passed_on(quantile: LinearRegressionModel) -> None:
    arguments = {"metric_kwargs": {"q": [0.1, 0.9]}, "predict_likelihood_parameters": True}
    check_equal(quantile, small(seed=1), forecast_horizon=1, metric=mae, **arguments)


# --- transformers -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "transformer",
    [
        Scaler(),
        GridScaler(),
        Pipeline([InvertibleMapper(np.log1p, np.expm1), Scaler()]),
        Pipeline([Scaler(), Diff()]),
        Pipeline([Mapper(np.sqrt), Scaler()]),  # which is not brought back
    ],
    ids=str,
)
@pytest.mark.parametrize("n_series", [1, 2])
def test_transformers_are_applied_and_inverted_as_in_darts(
    linear: LinearRegressionModel, transformer: Any, n_series: int
) -> None:
    batch = [small(30, seed=1), 100.0 * small(21, seed=2)][:n_series]
    transformer.fit(batch)
    arguments = {"data_transformers": {"series": transformer}, "reduction": None, "part": 4}
    series = batch if n_series > 1 else batch[0]
    check_equal(linear, series, forecast_horizon=3, metric=[mae, rmse], **arguments)


def test_covariates_are_transformed_too(with_covariates: LinearRegressionModel) -> None:
    covariates = {"past_covariates": small(seed=4), "future_covariates": 9.0 * small(seed=5)}
    fitted = {name: Scaler().fit(series) for name, series in covariates.items()}
    arguments = {**covariates, **EACH_WINDOW}
    errors = check_equal(with_covariates, small(30), data_transformers=fitted, **arguments)
    assert not np.allclose(errors, stream_backtest(with_covariates, small(30), **arguments))


# --- what is held, and what Darts is told -------------------------------------------------------


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[TimeSeries, dict[str, Any]]]:
    """Note the arguments of `historical_forecasts`; earlier forecasts must be gone by then."""
    noted: list[tuple[TimeSeries, dict[str, Any]]] = []
    forecasts: list[weakref.ref[TimeSeries]] = []
    original = ForecastingModel.historical_forecasts

    def spy(self: Any, series: TimeSeries, **kwargs: Any) -> Any:
        assert not any(each() for each in forecasts)
        noted.append((series, {**kwargs, "predict_kwargs": dict(kwargs["predict_kwargs"])}))
        made = original(self, series, **kwargs)
        forecasts.extend(map(weakref.ref, made))
        return made

    monkeypatch.setattr(ForecastingModel, "historical_forecasts", spy)
    return noted


def test_forecasts_are_held_a_part_at_a_time_and_one_trainer_serves_all(
    model: MIMModel, calls: list[Any]
) -> None:
    options = {"batch_size": 3}
    arguments: dict[str, Any] = {"forecast_horizon": 2, "metric": mae, "predict_kwargs": options}
    transformers = {"series": GridScaler().fit(make_series())}
    gc.disable()  # it frees reference cycles at some time or other
    try:
        stream_backtest(
            model, make_series(), windows_per_part=10, data_transformers=transformers, **arguments
        )
    finally:
        gc.enable()
    handed = [kwargs["predict_kwargs"] for _, kwargs in calls]
    assert [each.get("trainer") for each in handed] == [None, model.trainer, model.trainer]
    assert all(each["batch_size"] == 3 for each in handed)
    assert options == {"batch_size": 3}
    assert [kwargs["show_warnings"] for _, kwargs in calls] == [True, False, False]


def test_parts_are_views_of_the_series_with_all_that_it_carries(calls: list[Any]) -> None:
    series = small().with_metadata({"grid of": "nothing"}).with_hierarchy({"1": ["0"]})
    series = series.with_static_covariates(pd.DataFrame({"height": [1.0, 2.0]}))
    model = LinearRegressionModel(lags=4).fit(series)
    stream_backtest(model, series, forecast_horizon=2, metric=mae, windows_per_part=10)
    assert [len(part) for part, _ in calls] == [15, 25, 35, 40]
    for part, _ in calls:
        assert np.shares_memory(part.all_values(copy=False), series.all_values(copy=False))
        assert (part, part.metadata) == (series[: len(part)], series.metadata)


# --- refusals -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"retrain": True}, ValueError, "`retrain` .* must be False .*`model.backtest`"),
        ({"last_points_only": True}, ValueError, "`last_points_only` must be False"),
        ({"start": "end"}, ValueError, "`start` a position or a time, got .* 'end'"),
        ({"start": 29, "forecast_horizon": 3}, ValueError, "too late"),
        ({"stride": 0}, ValueError, "`stride` must be at least 1, got 0"),
        ({"windows_per_part": 2.5}, TypeError, "`windows_per_part` must be an integer"),
        ({"metric_kwargs": {"series_reduction": np.mean}}, ValueError, "`metric_kwargs` must"),
        ({"metric_kwargs": [{}, {}]}, ValueError, "`metric_kwargs` must .* of the 1 metrics"),
        ({"data_transformers": {"target": Scaler()}}, ValueError, "`data_transformers` must"),
    ],
)
def test_what_parts_cannot_honour_is_refused(
    model: MIMModel, arguments: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        stream_backtest(model, make_series(), **{**EACH_WINDOW, **arguments})


def test_models_that_cannot_be_streamed_are_refused(linear: LinearRegressionModel) -> None:
    conformal = ConformalNaiveModel(linear, quantiles=[0.1, 0.5, 0.9])
    for model, message in (
        (LinearRegressionModel(lags=4), "has not been fitted yet"),
        (conformal, r"a ConformalNaiveModel, made .*use `model.backtest`"),
    ):
        with pytest.raises(ValueError, match=message):
            stream_backtest(model, small(), **EACH_WINDOW)
