"""Whether a training step fits in memory: checked before it is taken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, cast

import pytorch_lightning as pl
import torch
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.utilities.memory import is_oom_error

from darts_mim.models.advice import changes
from darts_mim.models.capacity import Capacity, capacity_of
from darts_mim.models.costs import Setting, StepCosts, step_costs
from darts_mim.models.data import ResumableDataModule
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.plans import fitted_plan
from darts_mim.models.units import in_bytes

if TYPE_CHECKING:
    from darts_mim.models.base import GridForecastingModel

__all__ = ["enough_memory", "rough_bound"]

logger = get_logger(__name__)

# What a process holds beyond its tensors: the heap of the C library keeps holes between them,
# torch's own on a GPU fewer.
_SLACK = {"cpu": 1.5, "cuda": 1.1}

_known_costs: dict[Any, StepCosts] = {}  # by all that they depend on: many fits of one kind are one


def rough_bound(module: GridForecastingModule, sample: TorchTrainingSample, batch_size: int) -> int:
    """Return bytes that a training step hardly takes, in no time.

    Each channel that a parameter stands for is counted as if it were held four times over the
    folded grid at each step, and each value of a batch forty times.

    Parameters
    ----------
    module
        A module.
    sample
        A training sample.
    batch_size
        Number of sequences.
    """
    patch = getattr(module.network, "patch_size", 1)
    _, height, width = module.grid.shape
    cells = math.ceil(height / patch) * math.ceil(width / patch)
    steps = (
        module.input_chunk_length
        + module.output_chunk_shift
        + cast(int, module.output_chunk_length)
    )
    parameters = [each for each in module.network.parameters() if each.ndim]
    channels = sum(each.shape[0] for each in parameters)
    per_frame = module.likelihood.num_parameters if module.likelihood else 1
    values = sum(array.size for array in sample.feature_arrays().values() if array is not None)
    numbers = batch_size * (4 * steps * cells * channels + 40 * values * per_frame)
    numbers += 8 * sum(each.numel() for each in parameters)
    return numbers * max(each.element_size() for each in parameters)


@contextmanager
def enough_memory(
    model: GridForecastingModel,
    module: GridForecastingModule,
    trainer: pl.Trainer,
    data: ResumableDataModule,
) -> Iterator[None]:
    """Refuse training that cannot fit in memory, and say what would help where it did not.

    Parameters
    ----------
    model
        The model.
    module
        Its module, as it is trained.
    trainer
        The trainer.
    data
        What it is trained on.

    Raises
    ------
    MemoryError
        If a step needs more memory than the device has.
    """
    check = _Check(model, module, trainer, data)
    check.refuse()
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)):
            raise
        advice = check.advice_after()
        if not advice:
            raise
        raise type(error)(f"{error}\n{advice}") from error


class _Check:
    """What a step takes and what there is, as far as it can be told."""

    def __init__(
        self,
        model: GridForecastingModel,
        module: GridForecastingModule,
        trainer: pl.Trainer,
        data: ResumableDataModule,
    ) -> None:
        self._model, self._module = model, module
        self._device = trainer.strategy.root_device
        # Others may divide weights or activations between devices, those derived from DDP included.
        is_whole = (
            isinstance(trainer.strategy, SingleDeviceStrategy)
            or type(trainer.strategy) is DDPStrategy
        )
        capacity = capacity_of(self._device) if is_whole else None
        if capacity is not None and self._device.type == "cpu":  # which all processes share
            capacity = Capacity(*(each // trainer.num_devices for each in capacity))
        self._capacity = capacity
        sample = cast(TorchTrainingSample, model.train_sample)
        n_samples = math.ceil(len(cast(Any, data.train_dataset)) / trainer.world_size)
        self._setting = Setting.of(
            sample,
            min(data.batch_size, n_samples),  # few samples do not fill a batch
            self._device,
            trainer.precision,
            n_processes=trainer.world_size,
        )

    def refuse(self) -> None:
        """Raise if a step cannot fit, and warn if it may not."""
        capacity, setting = self._capacity, self._setting
        if capacity is None:
            return
        slack = _SLACK[setting.device]
        costs = self._costs(unless_below=capacity.free / slack)
        if costs is None or slack * costs.total < capacity.free:
            return
        if costs.total <= capacity.total:
            logger.warning(
                "A training step takes %s and more: it may not fit in the %s that the %s has free. "
                "`%s.summary()` says what to change.",
                in_bytes(costs.total),
                in_bytes(capacity.free),
                self._name,
                type(self._model).__name__,
            )
            return
        raise MemoryError(
            f"a training step needs {in_bytes(costs.total)} (of which the activations take "
            f"{in_bytes(costs.activations)}), but the {self._name} has "
            f"{in_bytes(capacity.total)}. {self._advice(costs, capacity.total)}"
        )

    def advice_after(self) -> str:
        """Return what would help a step that did not fit; nothing if it is not known."""
        costs = self._costs()
        if costs is None:
            return ""
        room = costs.total // 2
        if self._capacity is not None:
            room = min(room, int(self._capacity.total / _SLACK[self._setting.device]))
        return f"A training step needs {in_bytes(costs.total)}. {self._advice(costs, room)}"

    @property
    def _name(self) -> str:
        return "CPU" if self._device.type == "cpu" else "GPU"

    def _advice(self, costs: StepCosts, room: int) -> str:
        found = changes(fitted_plan(self._model), self._setting, costs, room)
        if not found:
            return "No option alone would lessen that: take a coarser grid, or another device"
        lines = "".join(f"\n    {change}" for change in found)
        return f"Change one of these, or several; with each alone a step would need{lines}"

    def _costs(self, unless_below: float = 0.0) -> StepCosts | None:
        """Return what a step costs, ``None`` where it cannot be told or is below a bound."""
        plan, setting, module = fitted_plan(self._model), self._setting, self._module
        arrays = plan.sample.feature_arrays().items()
        shapes = tuple((name, a.shape, str(a.dtype)) for name, a in arrays if a is not None)
        try:
            if rough_bound(module, plan.sample, setting.batch_size) < unless_below:
                return None
            parameters = tuple((each.shape, each.requires_grad) for each in module.parameters())
            network = type(module.network)
            key = (network, repr(plan.model), str(plan.grid), shapes, parameters, setting)
            if key not in _known_costs:
                _known_costs[key] = step_costs(_twin(module), plan.sample, setting)
        except Exception:
            # a loss, an optimizer or a network that asks for values may train all the same
            logger.debug("What a training step costs cannot be told.", exc_info=True)
            return None
        return _known_costs[key]


def _twin(module: GridForecastingModule) -> GridForecastingModule:
    """Return a module like another one, without weights."""
    options = deepcopy(dict(module.hparams))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        twin = type(module)(**options, loss_fn=deepcopy(module.criterion))
    for new, old in zip(twin.parameters(), module.parameters(), strict=True):
        new.requires_grad = old.requires_grad
    return twin
