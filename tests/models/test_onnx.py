"""Forecasts of ONNX files, through Darts' own runner, are those of ``predict``."""

import pickle
import subprocess
import sys
from copy import deepcopy
from functools import partial
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

from darts_mim import ConvLSTMModel, MIMModel
from tests.models import small_models
from tests.models.small_models import GRID, make_frames, make_series, to_series, values

LENGTH, CHUNK = 2, 2  # short: an export takes seconds for each frame
MASK = np.ones(GRID.shape[1:], dtype=bool)
MASK[0, 1] = MASK[2, 3] = False

make_model = partial(small_models.make_model, input_chunk_length=LENGTH, output_chunk_length=CHUNK)
make_layer = partial(make_model, ConvLSTMModel, hidden_channels=(4,))


def make_masked_series(length: int = 12, seed: int = 0) -> TimeSeries:
    """Hide two cells, with and without values there, and miss values of the last frames."""
    series = make_series(length, seed, mask=MASK)
    changed = series.all_values(copy=True)
    changed[:, 1] = np.nan
    changed[-2, :4] = changed[-2, 7] = changed[-1, [7, -1]] = np.nan
    return series.with_values(changed)


def make_covariates(seed: int = 1) -> TimeSeries:
    """Return a plane and a number for each time."""
    fields = to_series(make_frames(24, seed)[:, :1], channel_names=["rain"])
    number = make_series(24, seed + 1)
    return fields.stack(number[number.columns[0]])


def make_static(rows: int) -> pd.DataFrame:
    numbers = np.random.default_rng(2).random((rows, 2), dtype=np.float32)
    return pd.DataFrame(numbers, columns=["height", "slope"])


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
    np.testing.assert_allclose(values(actual), values(expected), rtol=0, atol=5e-6)


# --- a step at a time ---------------------------------------------------------------------------

WITHOUT_TORCH = """
import pickle, sys
from pathlib import Path

sys.modules["torch"] = None  # an import of it fails
import onnxruntime
from darts.utils.onnx import run_onnx_prediction

series, covariates = pickle.loads(Path("given.pkl").read_bytes())
session = onnxruntime.InferenceSession("model.onnx")
options = {"future_covariates": covariates, "verbose": False}
forecasts = [run_onnx_prediction(n, session, series, **options) for n in (1, 2, 9)]
Path("forecasts.pkl").write_bytes(pickle.dumps(forecasts))
"""


def test_a_file_forecasts_any_number_of_frames_as_predict_does_and_without_torch() -> None:
    """With a mask, missing values, dropout, static covariates of each component, and planes."""
    series = [
        each.with_static_covariates(make_static(GRID.n_components))
        for each in (make_masked_series(), make_masked_series(10, seed=3))
    ]
    covariates = [make_covariates()] * 2
    make_model(dropout=0.5).fit(series, future_covariates=covariates).save("model.pt")
    model = MIMModel.load("model.pt")
    model.model.train()
    state, random_state = deepcopy(model.model.state_dict()), torch.get_rng_state()
    export(model)
    assert all(module.training for module in model.model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)
    for name, weight in model.model.state_dict().items():
        assert torch.equal(weight, state[name])

    Path("given.pkl").write_bytes(pickle.dumps((series, covariates)))
    subprocess.run([sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH], check=True)
    forecasts = pickle.loads(Path("forecasts.pkl").read_bytes())
    for n, found in zip((1, CHUNK, 9), forecasts, strict=True):
        expected = model.predict(n, series, future_covariates=covariates)
        for actual, each in zip(found, expected, strict=True):
            assert np.isnan(values(each)).sum() == n * 2 * GRID.channels
            assert_same(actual, each)


def test_a_model_of_float64_without_a_grid_reads_what_encoders_make() -> None:
    """Without layer normalisation and MIM-N; with static covariates of all components together."""
    series = make_series(14).with_metadata(None).with_static_covariates(make_static(1))
    series = series.astype(np.float64)
    model = make_model(
        layer_norm=False,
        nonstationary_unit=False,
        patch_size=1,
        add_encoders={"cyclic": {"future": ["hour"]}},
    ).fit(series)
    weight = next(model.model.parameters())
    session = export(model)
    assert weight.dtype == torch.float64
    assert next(model.model.parameters()) is weight
    _, encoded = model.generate_predict_encodings(n=6, series=series)
    assert_same(run(session, 6, series, future_covariates=encoded), model.predict(6))


# --- a whole forecast ---------------------------------------------------------------------------


def test_a_likelihood_s_parameters_are_those_of_predict(caplog: pytest.LogCaptureFixture) -> None:
    """With past covariates, which are read over the input chunk, and without MIM-S."""
    series, past = make_masked_series(), make_covariates()
    model = make_model(likelihood=GaussianLikelihood(), stationary_unit=False)
    session = export(model.fit(series, past_covariates=past))
    [warning] = warnings_of(caplog)
    assert "up to 2 frames; with a likelihood, past covariates" in warning
    for n in (1, CHUNK):
        expected = model.predict(n, predict_likelihood_parameters=True)
        assert_same(run(session, n, series, past_covariates=past), expected)
    with pytest.raises(ValueError, match="auto-regressive"):
        run(session, CHUNK + 1, series, past_covariates=past)
    with pytest.raises(ValueError, match=r"`horizon` must be at most .*=2.*, got 3; train"):
        model.to_onnx("model.onnx", horizon=CHUNK + 1)


def test_a_file_says_nan_where_its_horizon_ends(caplog: pytest.LogCaptureFixture) -> None:
    """With reversible instance normalisation."""
    series, covariates = make_masked_series(), make_covariates()
    model = make_layer(use_reversible_instance_norm=True).fit(series, future_covariates=covariates)
    session = export(model, horizon=3)
    assert not warnings_of(caplog)
    for n in (1, 3):
        expected = model.predict(n, series, future_covariates=covariates)
        assert_same(run(session, n, series, future_covariates=covariates), expected)
    beyond = values(run(session, 5, series, future_covariates=covariates))
    np.testing.assert_array_equal(np.isnan(beyond).all(axis=(1, 2)), [False] * 2 + [True] * 3)


def test_a_shifted_output_chunk_keeps_its_distance(caplog: pytest.LogCaptureFixture) -> None:
    series, covariates = make_series(), make_covariates()
    model = make_layer(output_chunk_shift=1).fit(series, future_covariates=covariates)
    session = export(model)
    assert "too few future covariates" in warnings_of(caplog)[0]
    # so the graph is fed here
    arrays = {
        "past_target": series[-LENGTH:],
        "historic_future_covariates": covariates[12 - LENGTH : 12],
        "future_covariates": covariates[13:15],
    }
    feed = {name: each.values()[None] for name, each in arrays.items()}
    state = np.zeros(1, dtype=np.float32)
    prediction, _ = session.run(None, {**feed, "state_in_0": state})
    expected = model.predict(CHUNK, future_covariates=covariates)
    np.testing.assert_allclose(prediction[0, ..., 0], expected.values(), rtol=0, atol=5e-6)


# --- the file -----------------------------------------------------------------------------------


def test_a_file_appears_whole_or_not_at_all(
    small_fitted: MIMModel, monkeypatch: pytest.MonkeyPatch
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
            small_fitted.to_onnx("model.onnx")
    assert Path("model.onnx").read_text() == "the model before"
    small_fitted.to_onnx("model.onnx")
    small_fitted.to_onnx()
    names = sorted(path.name for path in Path.cwd().iterdir())
    assert len(names) == 2
    assert names[0].startswith("MIMModel_")
    assert names[1] == "model.onnx"


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_with_its_extra(
    small_fitted: MIMModel, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"package '{package}'.*\.\[onnx\]"):
        small_fitted.to_onnx("model.onnx")


def test_an_export_without_a_fit_or_of_no_frames_is_refused(small_fitted: MIMModel) -> None:
    with pytest.raises(ValueError, match=r"`fit\(\)` needs to be called before"):
        make_model().to_onnx("model.onnx")
    with pytest.raises(ValueError, match="`horizon`"):
        small_fitted.to_onnx("model.onnx", horizon=0)
    assert not list(Path.cwd().iterdir())
