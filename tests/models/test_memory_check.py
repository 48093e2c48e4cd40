"""Training that cannot fit in memory is refused, and what runs out of it says what to change."""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from darts.utils.likelihood_models.torch import QuantileRegression
from torch import Tensor, nn

from darts_mim import Grid, MIMModel
from darts_mim.models import base, memory, summary
from darts_mim.models.capacity import Capacity
from darts_mim.models.costs import Setting, step_costs
from darts_mim.models.memory import rough_bound
from darts_mim.models.plans import costs_of, plan_for
from tests.models.small_models import GRID, make_model, make_series, weights


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


def test_a_batch_is_no_larger_than_there_are_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    series = make_series(7)  # of 3 samples
    told = make_wide(batch_size=64).summary(series)
    assert told.batch_size == 3
    assert told == make_wide(batch_size=3).summary(series)
    set_memory(monkeypatch, told.step_bytes)
    assert make_wide(batch_size=64).fit(series).model_created
    # nor than Darts is told to load
    loaded = make_wide(batch_size=64).fit(make_series(30), dataloader_kwargs={"batch_size": 3})
    assert loaded.model_created
    with pytest.raises(MemoryError):
        make_wide(batch_size=64).fit(make_series(30))


def test_a_model_that_was_refused_is_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    model = make_wide()
    with pytest.raises(MemoryError):
        model.fit(make_series())
    with pytest.raises(ValueError, match="must be fit before"):
        model.predict(2, make_series())


def test_a_patch_that_would_cost_more_is_no_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    grid = Grid(4, 48, 48)
    costs = {
        patch: make_model(hidden_channels=(32, 32), patch_size=patch).summary(grid).step_bytes
        for patch in (4, 8, 16)
    }
    assert costs[4] > costs[8] < costs[16]  # the patch's own channels outweigh the hidden ones
    set_memory(monkeypatch, costs[8] * 0.9)
    for patch, expected in ((4, [8]), (8, [])):
        told = make_model(hidden_channels=(32, 32), patch_size=patch).summary(grid)
        values = [change.value for change in told.changes if change.option == "patch_size"]
        assert values == expected


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_batch_that_is_said_to_fit_does(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    def told(batch_size: int) -> summary.ModelSummary:
        options = {
            "hidden_channels": (64, 64),
            "kernel_size": 5,
            "trainer": {"precision": precision},
        }
        return make_model(**options, batch_size=batch_size).summary(Grid(1, 8, 8))

    set_memory(monkeypatch, told(64).step_bytes * 0.9)
    [change] = [each for each in told(64).changes if each.option == "batch_size"]
    assert change.fits
    assert change.step_bytes == told(change.value).step_bytes


def test_where_nothing_helps_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    options: dict[str, Any] = {"recompute": True, "batch_size": 1, "patch_size": 4}
    told = make_model(**options).summary(GRID)
    assert told.changes == ()
    assert "it does not fit" in repr(told)
    with pytest.raises(MemoryError, match="No option alone would lessen that: take a coarser grid"):
        make_model(**options).fit(make_series())


def test_each_of_several_processes_holds_a_copy_of_its_gradients() -> None:
    plan = plan_for(make_model(), GRID)
    alone, together = (costs_of(plan, Setting(4, "cpu", "32-true", n_processes=n)) for n in (1, 2))
    assert together.total == alone.total + alone.gradients


def test_what_does_not_help_enough_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 1000)
    told = make_wide(recompute=True).summary(GRID)
    assert [each.option for each in told.changes] == ["patch_size", "hidden_channels", "batch_size"]
    assert [each.value for each in told.changes] == [2, (8, 8), 1]
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
    seconds: list[float] = []

    @contextmanager
    def timed(*args: Any) -> Iterator[None]:
        for _ in range(5):
            start = time.process_time()
            with memory.enough_memory(*args):
                pass
            seconds.append(time.process_time() - start)
        yield

    monkeypatch.setattr(base, "enough_memory", timed)
    make_model().fit(make_series())
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
