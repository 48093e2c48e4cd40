"""Training that cannot fit in memory is refused, and what runs out of it says what to change."""

import logging
import time
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import Tensor, nn

from darts_mim import Grid, MIMModel, frames_to_series
from darts_mim.models import memory, summary
from darts_mim.models.capacity import Capacity
from darts_mim.models.costs import Setting, step_costs
from darts_mim.models.memory import rough_bound
from darts_mim.models.plans import plan_for

TRAINER = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
GRID = Grid(channels=2, height=5, width=6)


def make_series(length: int = 12, **options: Any) -> TimeSeries:
    frames = np.random.default_rng(0).random((length, *GRID.shape), dtype=np.float32)
    series = frames_to_series(frames, start="2026-01-01", freq="h", **options)
    assert isinstance(series, TimeSeries)
    return series


def make_model(**options: Any) -> MIMModel:
    options = {
        "input_chunk_length": 3,
        "output_chunk_length": 2,
        "hidden_channels": (4, 3),
        "kernel_size": 3,
        "patch_size": 2,
        "batch_size": 4,
        "n_epochs": 1,
        "random_state": 0,
        **options,
    }
    trainer = {**TRAINER, **options.pop("trainer", {})}
    return MIMModel(**options, pl_trainer_kwargs=trainer)


def weights(model: MIMModel) -> Tensor:
    return torch.cat([p.detach().flatten() for p in model.model.parameters()])


def set_memory(patch: pytest.MonkeyPatch, total: float, free: float | None = None) -> None:
    capacity = Capacity(int(total), int(total if free is None else free))
    for module in (memory, summary):
        patch.setattr(module, "capacity_of", lambda _: capacity)


def make_wide(**options: Any) -> MIMModel:
    return make_model(**{"hidden_channels": (16, 16), "patch_size": 1, **options})


def test_training_that_cannot_fit_is_refused_with_what_each_option_would_give(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needed = make_wide().summary(GRID).step_bytes
    room = needed * 2 // 3
    set_memory(monkeypatch, room)
    with pytest.raises(MemoryError, match=r"a training step needs .* but the CPU has") as refusal:
        make_wide().fit(make_series())
    told = make_wide().summary(GRID)
    assert told.device_bytes == room
    assert {each.option for each in told.changes} == {
        "recompute",
        "batch_size",
        "patch_size",
        "hidden_channels",
    }
    assert all(each.fits for each in told.changes)
    for change in told.changes:
        assert f"\n    {change}" in str(refusal.value)
        assert str(change) in repr(told)
        changed = make_wide(**{change.option: change.value}).summary(GRID)
        assert changed.step_bytes == pytest.approx(change.step_bytes, rel=0.02)
        assert change.fits == (change.step_bytes <= room)
    changed = make_wide(**{told.changes[0].option: told.changes[0].value})
    changed.fit(make_series())


def test_what_does_not_help_enough_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    told = make_wide(recompute=True).summary(GRID)
    assert [each.option for each in told.changes] == ["patch_size", "hidden_channels", "batch_size"]
    assert [each.value for each in told.changes] == [4, (8, 8), 1]
    assert all(str(each).endswith("still too much") for each in told.changes)


def test_a_step_that_may_not_fit_is_warned_of(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needed = make_wide().summary(GRID).step_bytes
    set_memory(monkeypatch, 10 * needed, free=needed)
    with caplog.at_level(logging.WARNING):
        model = make_wide().fit(make_series())
    assert "it may not fit in the" in caplog.text
    caplog.clear()
    set_memory(monkeypatch, 10 * needed)
    with caplog.at_level(logging.WARNING):
        assert torch.equal(weights(make_wide().fit(make_series())), weights(model))
    assert "fit in" not in caplog.text


def test_small_models_are_not_looked_at_for_long(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[Any] = []
    monkeypatch.setattr(memory, "step_costs", lambda *args: looked_at.append(args))
    model = make_model().fit(make_series())
    seconds = []
    for _ in range(5):
        start = time.process_time()
        with memory.enough_memory(model, model.model, model.trainer):
            pass
        seconds.append(time.process_time() - start)
    assert not looked_at
    assert min(seconds) < 0.05


@pytest.mark.parametrize(
    ("options", "grid"),
    [
        ({}, GRID),
        ({"kernel_size": 1, "layer_norm": False}, GRID),
        ({"hidden_channels": (2, 2), "patch_size": 8}, Grid(3, 32, 40)),
        ({"hidden_channels": (2, 2), "likelihood": QuantileRegression()}, GRID),
        ({"hidden_channels": (32, 32), "batch_size": 1}, Grid(1, 2, 2)),
    ],
)
def test_the_rough_bound_lies_above(options: dict[str, Any], grid: Grid) -> None:
    model = make_model(**options)
    plan = plan_for(model, grid)
    module = plan.module()
    rough = rough_bound(module, plan.sample, model.batch_size)
    assert (
        rough > step_costs(module, plan.sample, Setting(model.batch_size, "cpu", "32-true")).total
    )


class Picky(nn.MSELoss):
    """A loss that looks at values."""

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        loss: Tensor = super().forward(prediction, target)
        if float(loss) == 1.0:
            raise ArithmeticError("a loss of 1")
        return loss


def test_a_step_that_cannot_be_told_of_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    assert make_model(loss_fn=Picky()).fit(make_series()).model_created


class RunsOut(pl.Callback):
    """Run out of memory in the first step."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def on_train_batch_start(self, *_: Any) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_comes_with_advice(error: Exception) -> None:
    model = make_model(trainer={"callbacks": [RunsOut(error)]})
    with pytest.raises(type(error), match=r"(?s)allocate.*recompute=True: ") as raised:
        model.fit(make_series())
    assert raised.value.__cause__ is error


def test_other_errors_stay_as_they_are() -> None:
    error = RuntimeError("something else")
    with pytest.raises(RuntimeError, match=r"^something else$") as raised:
        make_model(trainer={"callbacks": [RunsOut(error)]}).fit(make_series())
    assert raised.value is error


def test_where_memory_is_not_known_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "capacity_of", lambda _: None)
    monkeypatch.setattr(memory, "step_costs", None)
    assert make_wide(batch_size=10**6).fit(make_series()).model_created
