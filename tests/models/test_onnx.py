"""Forecasts of ONNX files, through Darts' own runner, are those of ``predict``."""

import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.onnx import run_onnx_prediction

from darts_mim import MIMModel, frames_to_series

CHANNELS, HEIGHT, WIDTH = 2, 3, 5
N_COMPONENTS = CHANNELS * HEIGHT * WIDTH
LENGTH, CHUNK = 3, 2
N_HIDDEN = 2  # cells that the mask hides
TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
SIZES: dict[str, Any] = {
    "input_chunk_length": LENGTH,
    "output_chunk_length": CHUNK,
    "hidden_channels": (4, 3),
    "kernel_size": 3,
    "patch_size": 2,
    "batch_size": 4,
    "n_epochs": 1,
    "random_state": 0,
    "pl_trainer_kwargs": TRAINER,
}


def make_series(length: int = 12, seed: int = 0, **options: Any) -> TimeSeries:
    rng = np.random.default_rng(seed)
    frames = rng.random((length, CHANNELS, HEIGHT, WIDTH), dtype=np.float32)
    series = frames_to_series(frames, **options)
    assert isinstance(series, TimeSeries)
    return series


def make_masked_series(length: int = 12, seed: int = 0) -> TimeSeries:
    """Hide two cells, with and without values there, and miss values of the last frames."""
    mask = np.ones((HEIGHT, WIDTH), dtype=bool)
    mask[0, 1] = mask[2, 3] = False
    series = make_series(length, seed, mask=mask)
    values = series.all_values(copy=True)
    values[:, 1] = np.nan
    values[-3, :4] = values[-2, 7] = values[-1, [7, -1]] = np.nan
    return series.with_values(values)


def make_model(**options: Any) -> MIMModel:
    return MIMModel(**{**SIZES, **options})


def make_covariates(length: int = 24, seed: int = 1) -> TimeSeries:
    """Return a plane and a number for each time."""
    rng = np.random.default_rng(seed)
    fields = frames_to_series(
        rng.random((length, 1, HEIGHT, WIDTH), dtype=np.float32), channel_names=["rain"]
    )
    assert isinstance(fields, TimeSeries)
    numbers = TimeSeries.from_values(rng.random((length, 1), dtype=np.float32), columns=["hour"])
    return fields.stack(numbers)


def make_static(rows: int) -> pd.DataFrame:
    rng = np.random.default_rng(2)
    return pd.DataFrame(rng.random((rows, 2), dtype=np.float32), columns=["height", "slope"])


def export(model: MIMModel, **options: Any) -> onnxruntime.InferenceSession:
    model.to_onnx("model.onnx", **options)
    return onnxruntime.InferenceSession("model.onnx")


def run(
    session: onnxruntime.InferenceSession, n: int, series: Any, **covariates: TimeSeries
) -> TimeSeries:
    forecast = run_onnx_prediction(n, session, series, verbose=False, **covariates)
    assert isinstance(forecast, TimeSeries)
    return forecast


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what the package warns of; torch traces its exports in the same place."""
    return [each.getMessage() for each in caplog.records if each.name.startswith("darts_mim")]


def assert_same(actual: TimeSeries, expected: TimeSeries) -> None:
    """Compare forecasts: the values to rounding, all else exactly."""
    assert actual.time_index.equals(expected.time_index)
    assert actual.components.equals(expected.components)
    assert actual.metadata == expected.metadata
    assert actual.dtype == expected.dtype
    np.testing.assert_allclose(actual.values(), expected.values(), rtol=0, atol=5e-6)


# --- a step at a time ---------------------------------------------------------------------------


def test_a_file_forecasts_any_number_of_frames_as_predict_does() -> None:
    """With a mask, missing values, dropout, static covariates of each component, and planes."""
    series = [
        each.with_static_covariates(make_static(N_COMPONENTS))
        for each in (make_masked_series(), make_masked_series(10, seed=3))
    ]
    covariates = make_covariates()
    model = make_model(dropout=0.5).fit(series, future_covariates=[covariates, covariates])
    session = export(model)
    for n in (1, CHUNK, 9):
        for each in series:
            expected = model.predict(n, each, future_covariates=covariates)
            assert np.isnan(expected.values()).sum() == n * N_HIDDEN * CHANNELS
            assert_same(run(session, n, each, future_covariates=covariates), expected)
    forecasts = run_onnx_prediction(
        4, session, series, future_covariates=[covariates, covariates], verbose=False
    )
    assert isinstance(forecasts, list)
    expected = model.predict(4, series, future_covariates=[covariates, covariates])
    for actual, each in zip(forecasts, expected, strict=True):
        assert_same(actual, each)


def test_a_model_of_float64_reads_and_writes_float64() -> None:
    """Without layer normalisation and MIM-N; with static covariates of all components together."""
    series = make_series().with_static_covariates(make_static(1)).astype(np.float64)
    model = make_model(layer_norm=False, nonstationary_unit=False).fit(series)
    weight = next(model.model.parameters())
    session = export(model)
    assert weight.dtype == torch.float64
    assert next(model.model.parameters()) is weight
    assert_same(run(session, 7, series), model.predict(7))


def test_encoded_covariates_are_given_to_the_runner() -> None:
    """Without MIM-S, and without a grid."""
    values = np.random.default_rng(0).random((14, 3), dtype=np.float32)
    dates = pd.date_range("2026-01-01", periods=14, freq="h")
    series = TimeSeries.from_times_and_values(dates, values)
    model = make_model(
        stationary_unit=False, patch_size=1, add_encoders={"cyclic": {"future": ["hour"]}}
    ).fit(series)
    session = export(model)
    _, encoded = model.generate_predict_encodings(n=6, series=series)
    assert isinstance(encoded, TimeSeries)
    assert_same(run(session, 6, series, future_covariates=encoded), model.predict(6))


# --- a whole forecast ---------------------------------------------------------------------------


def test_a_likelihood_s_parameters_are_those_of_predict(caplog: pytest.LogCaptureFixture) -> None:
    series = make_masked_series()
    model = make_model(likelihood=GaussianLikelihood()).fit(series)
    session = export(model)
    [warning] = warnings_of(caplog)
    assert "up to 2 frames; with a likelihood" in warning
    for n in (1, CHUNK):
        expected = model.predict(n, predict_likelihood_parameters=True)
        assert_same(run(session, n, series), expected)
    with pytest.raises(ValueError, match="auto-regressive"):
        run(session, CHUNK + 1, series)


def test_a_file_says_nan_where_its_horizon_ends(caplog: pytest.LogCaptureFixture) -> None:
    """With reversible instance normalisation."""
    series, covariates = make_masked_series(), make_covariates()
    model = make_model(use_reversible_instance_norm=True).fit(series, future_covariates=covariates)
    session = export(model, horizon=4)
    assert not warnings_of(caplog)
    for n in (1, 4):
        expected = model.predict(n, series, future_covariates=covariates)
        assert_same(run(session, n, series, future_covariates=covariates), expected)
    beyond = run(session, 7, series, future_covariates=covariates).values()
    np.testing.assert_array_equal(np.isnan(beyond).all(axis=1), [False] * 3 + [True] * 4)


def test_past_covariates_are_read_over_the_input_chunk() -> None:
    series, past, future = make_series(), make_covariates(), make_covariates(seed=4)
    model = make_model().fit(series, past_covariates=past, future_covariates=future)
    session = export(model)
    expected = model.predict(CHUNK, past_covariates=past, future_covariates=future)
    assert_same(
        run(session, CHUNK, series, past_covariates=past, future_covariates=future), expected
    )
    with pytest.raises(ValueError, match=r"`horizon` must be at most .*=2.*, got 3; train"):
        model.to_onnx("model.onnx", horizon=CHUNK + 1)


def test_a_shifted_output_chunk_keeps_its_distance(caplog: pytest.LogCaptureFixture) -> None:
    series, covariates = make_series(), make_covariates()
    model = make_model(output_chunk_shift=1).fit(series, future_covariates=covariates)
    session = export(model)
    assert "too few future covariates" in warnings_of(caplog)[0]
    # so the graph is fed here
    arrays = {
        "past_target": series[-3:],
        "historic_future_covariates": covariates[9:12],
        "future_covariates": covariates[13:15],
    }
    feed = {name: each.values()[None] for name, each in arrays.items()}
    state = np.zeros(1, dtype=np.float32)
    prediction, _ = session.run(None, {**feed, "state_in_0": state})
    expected = model.predict(CHUNK, future_covariates=covariates)
    np.testing.assert_allclose(prediction[0, ..., 0], expected.values(), rtol=0, atol=5e-6)
    with pytest.raises(Exception, match="INVALID_ARGUMENT"):
        run(session, CHUNK, series, future_covariates=covariates)


# --- the file -----------------------------------------------------------------------------------

WITHOUT_TORCH = """
import pickle, sys
from pathlib import Path

sys.modules["torch"] = None  # an import of it fails
import onnxruntime
from darts.utils.onnx import run_onnx_prediction

series = pickle.loads(Path("series.pkl").read_bytes())
session = onnxruntime.InferenceSession("model.onnx")
forecast = run_onnx_prediction(5, session, series, verbose=False)
Path("forecast.pkl").write_bytes(pickle.dumps(forecast))
"""


def test_a_loaded_model_is_exported_and_forecasts_without_torch() -> None:
    series = make_series()
    make_model().fit(series).save("model.pt")
    model = MIMModel.load("model.pt")
    state, random_state = deepcopy(model.model.state_dict()), torch.get_rng_state()
    model.model.train()
    export(model)
    assert all(module.training for module in model.model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, weight in model.model.state_dict().items():
        assert torch.equal(weight, state[name])

    Path("series.pkl").write_bytes(pickle.dumps(series))
    subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH], check=True)
    forecast = pickle.loads(Path("forecast.pkl").read_bytes())
    assert_same(forecast, model.predict(5))


@pytest.fixture(scope="module")
def fitted() -> MIMModel:
    return make_model().fit(make_series())


def test_a_file_appears_whole_or_not_at_all(
    fitted: MIMModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(proto: Any, path: Path) -> None:
        path.write_text("half a model")
        raise OSError("disk full")

    Path("model.onnx").write_text("the model before")
    program = SimpleNamespace(model_proto=onnx.ModelProto())
    monkeypatch.setattr(torch.onnx, "export", lambda *args, **options: program)
    with monkeypatch.context() as patch:
        patch.setattr(onnx, "save", fail)
        with pytest.raises(OSError, match="disk full"):
            fitted.to_onnx("model.onnx")
    assert Path("model.onnx").read_text() == "the model before"
    fitted.to_onnx("model.onnx")
    fitted.to_onnx()
    names = sorted(path.name for path in Path.cwd().iterdir())
    assert len(names) == 2
    assert names[0].startswith("MIMModel_")
    assert names[1] == "model.onnx"


def test_an_export_without_a_fit_is_refused() -> None:
    with pytest.raises(ValueError, match=r"`fit\(\)` needs to be called before"):
        make_model().to_onnx("model.onnx")


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_its_extra(
    fitted: MIMModel, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"package '{package}'.*\.\[onnx\]"):
        fitted.to_onnx("model.onnx")


def test_a_horizon_of_no_frames_is_refused(fitted: MIMModel) -> None:
    with pytest.raises(ValueError, match="`horizon`"):
        fitted.to_onnx("model.onnx", horizon=0)
    assert not list(Path.cwd().iterdir())
