"""A model's needs are known before it is trained, and training that cannot fit is refused."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts.utils.likelihood_models.torch import DirichletLikelihood, GaussianLikelihood
from darts.utils.timeseries_generation import datetime_attribute_timeseries

from darts_mim import Grid, MIMModel, STResNetModel, frames_to_series
from darts_mim.models import memory, summary
from darts_mim.models.costs import _loss, step_costs, workload_of
from darts_mim.models.memory import device_memory, in_bytes
from darts_mim.models.summary import ModelSummary
from darts_mim.nn.costs import CostMeter
from tests.models.small_models import GRID, make_frames, make_model, make_series, to_series, weights


@pytest.fixture(scope="module")
def summarised() -> ModelSummary:
    return make_model().summary(make_series())


# --- the summary --------------------------------------------------------------------------------


def test_sizes_and_parameters_are_those_of_the_fitted_model(
    summarised: ModelSummary, small_fitted: MIMModel
) -> None:
    assert (summarised.context, summarised.horizon, summarised.batch_size) == (3, 2, 4)
    assert (summarised.folded_shape, summarised.padding) == ((3, 3), (1, 0))
    assert summarised.parameters == summarised.trainable_parameters == weights(small_fitted).numel()
    assert sum(summarised.layers.values()) == summarised.parameters
    block = small_fitted.model.network.blocks[0]
    assert summarised.layers["blocks[0]"] == sum(p.numel() for p in block.parameters())
    assert summarised.costs.optimizer == 2 * summarised.costs.gradients  # Adam's moments
    assert make_model().summary(GRID).step_bytes == summarised.step_bytes


def test_it_prints_as_a_table(summarised: ModelSummary) -> None:
    lines = repr(summarised).splitlines()
    assert lines[:5] == [
        "MIMModel",
        "",
        "grid               2 channels (channel_0, channel_1) x 5 rows x 6 columns",
        "frames             3 read, 2 predicted",
        "patches            2 x 2 cells: 3 rows x 3 columns, with 1 row of padding",
    ]
    assert "  all              6,508" in lines
    assert "training step" in [line.split("  ")[0] for line in lines]
    assert repr(summarised).endswith("a frame of one series")


def test_a_run_takes_the_steps_of_its_epochs(summarised: ModelSummary) -> None:
    assert summarised.steps == 2  # 8 samples in batches of 4
    assert summarised.run_seconds == 2 * summarised.step_seconds > 0
    limited = make_model(n_epochs=3, trainer={"max_steps": 5, "limit_train_batches": 1})
    assert limited.summary(make_series()).steps == 3
    assert make_model().summary(GRID).steps is None


def test_the_model_stays_as_it_is_and_nothing_is_drawn_or_written() -> None:
    model = make_model(save_checkpoints=True, model_name="a", random_state=None, dropout=0.5)
    Path("darts_logs/a/checkpoints").mkdir(parents=True)
    before = dict(model.__dict__)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    files = sorted(Path().rglob("*"))
    model.summary(make_series())
    assert sorted(Path().rglob("*")) == files
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert all(model.__dict__[name] is value for name, value in before.items())
    assert not model.model_created


def test_covariates_masks_and_likelihoods_are_counted() -> None:
    series = make_series(mask=np.arange(30).reshape(5, 6) % 7 > 0)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    field = to_series(make_frames()[:, :1])
    model = make_model(likelihood=GaussianLikelihood(), use_reversible_instance_norm=True)
    given = {"past_covariates": field, "future_covariates": calendar}
    found = model.summary(series, **given)
    model.fit(series, **given)
    assert found.parameters == weights(model).numel()
    assert found.layers["rin"] == 2 * GRID.n_components
    assert model.summary().step_bytes == found.step_bytes


# --- costs --------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_paper_s_step_is_the_operations_counted_by_hand() -> None:
    costs = step_costs(workload_of(MIMModel(10, 10, patch_size=4), Grid(1, 64, 64)), 8)
    c, taps = 64, 25
    convolutions = taps * ((31 * 3 + 9) * c**2 + 7 * 16 * c) + 4 * 2 * c**2 + 16 * c
    assert costs.frame_flops == 2 * 16 * 16 * convolutions
    assert costs.flops == 2_465_437_057_024  # torch's FlopCounterMode, of a whole step
    assert costs.activations == pytest.approx(1.83 * 2**30, rel=0.01)


@pytest.mark.parametrize(
    "options",
    [
        {"input_chunk_length": 1, "output_chunk_length": 4, "output_chunk_shift": 1},
        {"input_chunk_length": 5, "output_chunk_length": 1, "recompute": True},
        {"likelihood": DirichletLikelihood(), "trainer": {"precision": "bf16-mixed"}},
    ],
)
def test_a_part_is_scaled_up_to_what_the_whole_step_takes(options: dict[str, Any]) -> None:
    grid, batch_size = Grid(2, 8, 10), 3
    model = make_model(**options)
    workload = workload_of(model, grid)
    costs = step_costs(workload, batch_size)
    module = workload.module()
    module.network.fast_path = False
    with CostMeter() as meter:
        loss = _loss(workload, module, batch_size)
        held = meter.held
        loss.backward()
    assert costs.flops == meter.flops
    assert costs.activations == pytest.approx(held, rel=0.05)


def test_a_network_that_is_not_recurrent_is_counted_whole() -> None:
    lags = {"period": 0, "trend": 0, "hidden_channels": 4, "residual_units": 1}
    costs = [
        step_costs(workload_of(STResNetModel(3, n, **lags), Grid(1, 9, 12)), 1).flops
        for n in (1, 2, 3)
    ]
    assert costs[2] - costs[1] == pytest.approx(costs[1] - costs[0], rel=0.2)


def test_optimizers_and_precisions_count() -> None:
    plain = workload_of(make_model(optimizer_cls=torch.optim.SGD), make_series().astype(np.float64))
    costs = step_costs(plain, 2)
    assert plain.precision == "64-true"
    assert costs.optimizer == 0
    frozen = workload_of(make_model(enable_finetuning={"freeze": ["network.bottom.*"]}), GRID)
    half = step_costs(frozen, 2)
    assert half.gradients < half.weights == costs.weights / 2


# --- memory -------------------------------------------------------------------------------------


def set_memory(patch: pytest.MonkeyPatch, n_bytes: float | None) -> None:
    for module in (memory, summary):
        patch.setattr(module, "device_memory", lambda _: n_bytes and int(n_bytes))


def test_training_that_cannot_fit_is_refused_with_what_would_help(
    monkeypatch: pytest.MonkeyPatch, summarised: ModelSummary
) -> None:
    set_memory(monkeypatch, summarised.step_bytes * 0.8)
    found = make_model().summary(GRID)
    assert [each.split(":")[0] for each in found.changes] == [
        "patch_size=4",
        "recompute=True",
        "batch_size=2",
    ]
    model = make_model()
    with pytest.raises(MemoryError, match=r"needs about .* but the cpu has") as refusal:
        model.fit(make_series())
    for change in found.changes:
        assert change in str(refusal.value)
        assert change in repr(found)
    with pytest.raises(ValueError, match="must be fit before"):
        model.predict(2, make_series())
    assert make_model(batch_size=2).fit(make_series()).model_created


def test_if_nothing_helps_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    with pytest.raises(MemoryError, match="Use a coarser grid or another device"):
        make_model(recompute=True, batch_size=1, patch_size=4).fit(make_series())


def test_small_models_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "step_costs", None)
    assert make_model().fit(make_series()).model_created


class RunsOut(pl.Callback):
    """Run out of memory in the first step."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def on_train_batch_start(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory."), r"(?s)memory.*batch_size=1: about"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), r"(?s)can't.*recompute=True"),
        (RuntimeError("something else"), r"^something else$"),
    ],
)
def test_running_out_of_memory_comes_with_advice(error: Exception, message: str) -> None:
    with pytest.raises(type(error), match=message):
        make_model(trainer={"callbacks": [RunsOut(error)]}).fit(make_series())


def test_a_container_s_limit_bounds_the_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(memory, "_CONTAINER_LIMIT", limit)
    whole = device_memory(torch.device("cpu"))
    limit.write_text("4096\n")
    assert device_memory(torch.device("cpu")) == 4096
    limit.write_text("max\n")
    assert device_memory(torch.device("cpu")) == whole
    assert in_bytes(4096) == "4.0 KiB"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "`series` must be given before `fit`"),
        ({"series": GRID, "past_covariates": make_series()}, "give `series`, not a"),
        ({"series": Grid(1, 1, 9)}, "larger than the 1x9 grid"),
        ({"series": make_series(4)}, "too short"),
        ({"series": GRID, "batch_size": 0}, "`batch_size` must be at least 1"),
    ],
)
def test_what_cannot_be_summarised_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_model().summary(**arguments)


@pytest.mark.gpu
@pytest.mark.parametrize("recompute", [False, True])
def test_memory_is_what_a_gpu_is_seen_to_take(recompute: bool) -> None:
    class Peak(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            torch.cuda.reset_peak_memory_stats()

        def on_train_batch_end(self, *_: Any) -> None:
            self.peak = torch.cuda.max_memory_allocated()

    peak = Peak()
    options = {"input_chunk_length": 10, "output_chunk_length": 10, "hidden_channels": (64, 64)}
    trainer = {"accelerator": "gpu", "devices": 1, "limit_train_batches": 3, "callbacks": [peak]}
    model = make_model(**options, recompute=recompute, trainer=trainer)
    frames = np.random.default_rng(0).random((60, 1, 64, 64), dtype=np.float32)
    series = frames_to_series(frames)
    found = model.summary(series)
    model.fit(series)
    assert found.device == "cuda"
    assert peak.peak == pytest.approx(found.step_bytes, rel=0.25)
