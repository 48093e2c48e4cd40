"""Models of random options on random data: right by an invariant, or a clear error.

Each case is drawn from its number, so that a failure repeats.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    GaussianLikelihood,
    LaplaceLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from numpy.random import Generator
from numpy.typing import NDArray

from darts_mim import (
    ConvLSTMModel,
    Grid,
    MIMModel,
    PredRNNModel,
    PredRNNPlusPlusModel,
    ScheduledSampling,
    STResNetModel,
    frames_to_series,
    series_to_frames,
)

pytestmark = pytest.mark.slow

N_CASES = 40
QUIET = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "logger": False,
    "enable_checkpointing": False,
    "max_steps": 2,
}
RECURRENT = (MIMModel, MIMModel, PredRNNModel, PredRNNPlusPlusModel, ConvLSTMModel)


class Case(NamedTuple):
    """A model and what it is fitted on; `covariates` are those of each series."""

    model: Any
    series: list[TimeSeries]
    covariates: dict[str, list[TimeSeries]]
    mask: NDArray[np.bool_] | None
    n: int


def draw(seed: int) -> Case:
    rng = np.random.default_rng(seed)
    context, horizon = (int(each) for each in rng.integers(1, 5, 2))
    shift = int(rng.choice([0, 0, 0, 2]))
    grid = tuple(int(each) for each in rng.integers([1, 3, 2], [4, 8, 7]))
    mask = _mask(rng, grid[1:]) if rng.random() < 0.4 else None
    n = int(rng.integers(1, 2 * horizon + 2)) if not shift else int(rng.integers(1, horizon + 1))
    lengths = [context + shift + horizon + int(rng.integers(1, 6)) for _ in range(2)]
    series = [_series(rng, grid, length, mask) for length in lengths]
    covariates = _covariates(rng, series, grid, n + shift)
    model = _model(rng, context, horizon, shift, has_mask=mask is not None)
    return Case(model, series, covariates, mask, n)


def _mask(rng: Generator, size: tuple[int, ...]) -> NDArray[np.bool_]:
    mask = rng.random(size) < 0.7
    mask.flat[int(rng.integers(mask.size))] = True
    return mask


def _series(
    rng: Generator, grid: tuple[int, ...], length: int, mask: NDArray[np.bool_] | None
) -> TimeSeries:
    frames = rng.random((length, *grid), dtype=np.float32)
    if mask is not None:
        frames[..., ~mask] = np.nan
    elif rng.random() < 0.3:
        # gaps, but never a cell without any value
        frames[1:][rng.random(frames[1:].shape) < 0.1] = np.nan
    start = pd.Timestamp("2024-01-01") + pd.Timedelta(hours=int(rng.integers(100)))
    return frames_to_series(
        frames, start=start, freq=rng.choice(["h", "30min", "D"]), mask=mask, layout="TCHW"
    )


def _covariates(
    rng: Generator, series: list[TimeSeries], grid: tuple[int, ...], ahead: int
) -> dict[str, list[TimeSeries]]:
    found = {}
    for name in ("past_covariates", "future_covariates"):
        if rng.random() < 0.6:
            continue
        is_field = rng.random() < 0.5
        found[name] = []
        for each in series:
            length = len(each) + ahead + 8
            if is_field:
                fields = rng.random((length, 2, *grid[1:]), dtype=np.float32)
                one = frames_to_series(
                    fields, start=each.start_time(), freq=each.freq, layout="TCHW"
                )
            else:
                times = pd.date_range(each.start_time(), periods=length, freq=each.freq)
                values = rng.random((length, 2), dtype=np.float32)
                one = TimeSeries.from_times_and_values(times, values)
            found[name].append(one)
    return found


def _model(rng: Generator, context: int, horizon: int, shift: int, *, has_mask: bool) -> Any:
    likelihoods = [
        None,
        None,
        GaussianLikelihood(),
        LaplaceLikelihood(),
        PoissonLikelihood(),
        QuantileRegression([0.1, 0.5, 0.9]),
    ]
    likelihood = likelihoods[int(rng.integers(len(likelihoods)))]
    options: dict[str, Any] = {
        "input_chunk_length": context,
        "output_chunk_length": horizon,
        "output_chunk_shift": shift,
        "likelihood": likelihood,
        "batch_size": int(rng.integers(1, 6)),
        "random_state": int(rng.integers(1000)),
        "n_epochs": 1,
        "pl_trainer_kwargs": QUIET,
    }
    if rng.random() < 0.2:
        options["use_reversible_instance_norm"] = True
    if rng.random() < 0.15:
        options |= {"hidden_channels": 3, "residual_units": 1, "period": 0, "trend": 0}
        return STResNetModel(**{**options, "closeness": min(context, 2)})
    layers = int(rng.integers(2, 4))
    options |= {
        "hidden_channels": tuple(int(each) for each in rng.integers(2, 6, layers)),
        "kernel_size": int(rng.choice([1, 3, 5])),
        "patch_size": int(rng.integers(1, 3)),
        "layer_norm": bool(rng.random() < 0.7),
        "recompute": bool(rng.random() < 0.2),
        "dropout": float(rng.choice([0.0, 0.0, 0.2])),
    }
    if rng.random() < 0.2:
        options["scheduled_sampling"] = ScheduledSampling.linear(10)
    return RECURRENT[int(rng.integers(len(RECURRENT)))](**options)


def predict(case: Case, series: list[TimeSeries], model: Any = None, **options: Any) -> Any:
    return (model or case.model).predict(case.n, series, **case.covariates, **options)


def assert_same(forecasts: list[TimeSeries], others: list[TimeSeries]) -> None:
    for one, other in zip(forecasts, others, strict=True):
        np.testing.assert_allclose(
            other.all_values(), one.all_values(), rtol=1e-4, atol=1e-5, equal_nan=True
        )


@pytest.mark.parametrize("seed", range(N_CASES))
def test_a_drawn_model_is_right_or_refuses_clearly(seed: int, tmp_path: Path) -> None:
    case = draw(seed)
    refusal = fit(case)
    if refusal is not None:
        assert "`" in refusal, f"the error names no argument: {refusal}"
        return
    forecasts = predict(case, case.series)
    for history, forecast in zip(case.series, forecasts, strict=True):
        check_forecast(case, history, forecast)
    case.model.save(str(tmp_path / "model.pt"))
    loaded = type(case.model).load(str(tmp_path / "model.pt"))
    options: dict[str, Any] = {}
    if case.model.likelihood is not None:
        if case.n > case.model.output_chunk_length:
            return  # Darts gives no parameters there, and samples differ
        options["predict_likelihood_parameters"] = True
    whole = predict(case, case.series, **options)
    assert_same(whole, predict(case, case.series, loaded, **options))
    # neither earlier forecasts, nor the other series, nor the order make a difference
    for index, alone in enumerate(reversed(case.series)):
        covariates = {name: each[::-1][index] for name, each in case.covariates.items()}
        [forecast] = [case.model.predict(case.n, alone, **covariates, **options)]
        assert_same([whole[::-1][index]], [forecast])
    if case.mask is not None:
        hidden = [with_other_hidden_values(each, case.mask) for each in case.series]
        assert_same(whole, predict(case, hidden, **options))


def fit(case: Case) -> str | None:
    """Fit the model of a case; return the error's text where it is refused."""
    try:
        case.model.fit(case.series, **case.covariates)
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def with_other_hidden_values(series: TimeSeries, mask: NDArray[np.bool_]) -> TimeSeries:
    frames = series_to_frames(series).copy()
    frames[..., ~mask] = 1e3
    return frames_to_series(
        frames, start=series.start_time(), freq=series.freq, mask=mask, layout="TCHW"
    )


def test_most_drawn_cases_are_not_refused() -> None:
    refusals = [fit(draw(seed)) for seed in range(12)]
    assert sum(each is None for each in refusals) >= 8, refusals


def check_forecast(case: Case, history: TimeSeries, forecast: TimeSeries) -> None:
    assert len(forecast) == case.n
    assert (
        forecast.start_time()
        == history.end_time() + (1 + case.model.output_chunk_shift) * history.freq
    )
    assert list(forecast.components) == list(history.components)
    frames = series_to_frames(forecast)
    grid = Grid.from_series(history)
    assert frames.shape[1:] == grid.shape
    assert forecast.dtype == np.float32
    if case.mask is None:
        assert np.isfinite(frames).all()
    else:
        assert np.isnan(frames[..., ~case.mask]).all()
        assert np.isfinite(frames[..., case.mask]).all()
