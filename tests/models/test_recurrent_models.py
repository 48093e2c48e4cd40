"""The models beside MIM do what MIM does: every option of the shared base, end to end."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from darts.utils.likelihood_models.torch import QuantileRegression
from darts.utils.onnx import run_onnx_prediction
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from darts_mim import (
    ConvLSTMModel,
    Grid,
    MIMModel,
    PredRNNModel,
    PredRNNPlusPlusModel,
    ScheduledSampling,
    STResNetModel,
    frame_mse,
    frames_to_series,
)
from tests.models.small_models import GRID, TRAINER, make_frames, make_series, to_series

RECURRENT: list[Any] = [ConvLSTMModel, PredRNNModel, PredRNNPlusPlusModel]
MODELS: list[Any] = [*RECURRENT, STResNetModel]


def make_model(kind: Any, hidden_channels: tuple[int, int] = (4, 3), **options: Any) -> Any:
    sizes: dict[str, Any] = {"hidden_channels": hidden_channels, "patch_size": 2}
    if kind is STResNetModel:
        sizes = {"hidden_channels": hidden_channels[0], "residual_units": 1}
        sizes |= {"closeness": 2, "period_length": 3, "trend": 0}
    options = {
        **sizes,
        "kernel_size": 3,
        "batch_size": 4,
        "n_epochs": 1,
        "random_state": 0,
        "pl_trainer_kwargs": TRAINER,
        **options,
    }
    return kind(3, 2, **options)


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_fits_forecasts_and_is_backtested(kind: Any) -> None:
    series = make_series(20)
    options = {"dropout": 0.1} if kind in RECURRENT else {}
    model = make_model(kind, **options, scheduled_sampling=ScheduledSampling.linear(3))
    forecast = model.fit(series[:14]).predict(n=5)
    assert Grid.from_series(forecast) == GRID
    assert forecast.time_index.equals(series.time_index[14:19])
    longer = model.predict(n=7)
    np.testing.assert_allclose(longer.values()[:5], forecast.values(), rtol=0, atol=1e-6)
    errors = model.backtest(series, start=14, forecast_horizon=2, retrain=False, metric=frame_mse)
    assert np.shape(errors) == (2,)
    assert np.isfinite(errors).all()


@pytest.mark.slow
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_learns_a_wave_that_travels(kind: Any) -> None:
    t, y, x = np.ogrid[:60, :6, :8]
    frames = (0.5 + 0.5 * np.sin(0.8 * t - 0.7 * x + 0.3 * y))[:, None].astype(np.float32)
    series = frames_to_series(frames)
    model = make_model(
        kind, hidden_channels=(12, 12), n_epochs=12, optimizer_kwargs={"lr": 1e-2}
    ).fit(series[:50])
    error = np.mean((model.predict(n=2, series=series[:55]).values() - series[55:57].values()) ** 2)
    persistence = np.mean((series[54].values() - series[55:57].values()) ** 2)
    assert error < 0.25 * persistence


@pytest.mark.parametrize("kind", MODELS)
def test_a_model_reads_covariates_masks_and_gaps_and_is_uncertain(kind: Any) -> None:
    frames = make_frames(14)
    frames[5, 0, 2:4] = np.nan
    mask = np.arange(30).reshape(5, 6) % 7 > 0
    series = to_series(frames, mask=mask)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    covariates = {"past_covariates": make_series(16, seed=1), "future_covariates": calendar}
    model = make_model(kind, likelihood=QuantileRegression([0.1, 0.5, 0.9]), recompute=True)
    assert model.summary(series, **covariates).step_bytes > 0
    samples = model.fit(series, **covariates).predict(n=3, num_samples=7)
    assert samples.n_samples == 7
    values = samples.all_values().reshape(3, *GRID.shape, 7)
    assert np.isnan(values[..., ~mask, :]).all()
    assert np.isfinite(values[..., mask, :]).all()
    parameters = model.predict(n=2, predict_likelihood_parameters=True)
    assert parameters.n_components == 3 * GRID.n_components


@pytest.mark.parametrize("kind", MODELS)
def test_a_saved_model_and_its_file_without_torch_forecast_the_same(kind: Any) -> None:
    series = make_series(14)
    model = make_model(kind).fit(series)
    forecast = model.predict(n=4)
    model.save("model.pt")
    np.testing.assert_array_equal(kind.load("model.pt").predict(n=4).values(), forecast.values())
    other = make_model(kind)
    other.load_weights("model.pt")
    np.testing.assert_array_equal(other.predict(n=4, series=series).values(), forecast.values())
    model.to_onnx("model.onnx", horizon=None if kind in RECURRENT else 4)
    session = onnxruntime.InferenceSession("model.onnx")
    without_torch = run_onnx_prediction(4, session, series, verbose=False)
    np.testing.assert_allclose(without_torch.values(), forecast.values(), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", [*RECURRENT, MIMModel])
def test_options_out_of_range_are_refused(kind: Any) -> None:
    least = "two layers" if kind in (PredRNNPlusPlusModel, MIMModel) else "one layer"
    with pytest.raises(ValueError, match=f"`hidden_channels` must give at least {least}"):
        make_model(kind, hidden_channels=())
    with pytest.raises(ValueError, match=r"larger than the 5x6 grid"):
        make_model(kind, patch_size=9).fit(make_series())
