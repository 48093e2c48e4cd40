"""A model that recomputes its activations is the model that stores them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from darts_mim import MIMModel, ScheduledSampling, series_to_frames
from tests.models.small_models import make_model, make_series, weights

OPTIONS: dict[str, dict[str, Any]] = {
    "scheduled sampling and dropout": {
        "scheduled_sampling": ScheduledSampling.linear(2),
        "dropout": 0.3,
    },
    "a likelihood": {"likelihood": GaussianLikelihood(), "use_reversible_instance_norm": True},
    "mixed precision": {"trainer": {"precision": "bf16-mixed"}},
}


def make_holed() -> tuple[TimeSeries, TimeSeries, TimeSeries]:
    """Return a series with a mask and missing values, and its past and future covariates."""
    frames = series_to_frames(make_series()).copy()
    frames[5, 0, 2:4] = np.nan
    series = make_series(frames=frames, mask=np.arange(30).reshape(5, 6) % 7 > 0)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    return series, make_series(seed=1), calendar.astype(np.float32)


@pytest.mark.parametrize("name", OPTIONS)
def test_training_comes_to_the_same_weights(name: str) -> None:
    series, past, future = make_holed()
    plain, recomputed = (
        make_model(**OPTIONS[name], recompute=recompute, fast_path=False).fit(
            series, past_covariates=past, future_covariates=future
        )
        for recompute in (False, True)
    )
    assert recomputed.model.network.recompute
    assert not torch.equal(weights(plain), weights(make_model(fast_path=False).fit(series)))
    assert torch.equal(weights(plain), weights(recomputed))


def test_files_keep_the_option_and_weights_do_not_care() -> None:
    series = make_series()
    model = make_model(recompute=True).fit(series)
    model.save("model.pt")
    loaded, other = MIMModel.load("model.pt"), make_model()
    assert loaded.model.network.recompute
    other.load_weights("model.pt")
    assert not other.model.network.recompute
    forecasts = [each.predict(3, series=series).all_values() for each in (model, loaded, other)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    np.testing.assert_array_equal(forecasts[0], forecasts[2])


@pytest.mark.slow
def test_a_model_that_recomputes_is_exported() -> None:
    pytest.importorskip("onnxscript", reason="needs the extra onnx")
    runtime = pytest.importorskip("onnxruntime", reason="needs the extra onnx")
    sizes = []
    for recompute in (False, True):
        model = make_model(recompute=recompute).fit(make_series())
        model.to_onnx(f"{recompute}.onnx")
        sizes.append(len(runtime.InferenceSession(f"{recompute}.onnx").get_inputs()))
    assert sizes[0] == sizes[1]


SCRIPT = """
import sys
import numpy as np
import torch
from darts_mim import MIMModel, frames_to_series

torch.set_num_threads(1)
frames = np.random.default_rng(0).random((12, 2, 5, 6), dtype=np.float32)
trainer = {"accelerator": "cpu", "devices": 2, "strategy": "ddp", "logger": False}
trainer |= {"enable_progress_bar": False, "enable_model_summary": False}
model = MIMModel(
    3, 2, hidden_channels=(4, 3), kernel_size=3, patch_size=2, batch_size=2, n_epochs=2,
    random_state=0, recompute=sys.argv[1] == "True", pl_trainer_kwargs=trainer,
)
model.fit(frames_to_series(frames))
weights = torch.cat([p.detach().flatten() for p in model.model.parameters()])
if model.model.global_rank == 0:
    np.save(sys.argv[2], weights.numpy())
"""


@pytest.mark.slow
def test_two_processes_come_to_the_same_weights(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    found = []
    for recompute in ("False", "True"):
        path = tmp_path / f"{recompute}.npy"
        command = [sys.executable, str(script), recompute, str(path)]
        answer = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, timeout=300
        )
        assert answer.returncode == 0, answer.stderr
        found.append(np.load(path))
    np.testing.assert_array_equal(*found)
