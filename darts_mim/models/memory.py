"""Whether a training step fits in memory, and what to change where it does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import pytorch_lightning as pl
import torch
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.utilities.memory import is_oom_error

from darts_mim.models.capacity import Capacity, capacity_of
from darts_mim.models.costs import Setting, StepCosts, step_costs
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.plans import Plan, fitted_plan
from darts_mim.models.units import in_bytes

if TYPE_CHECKING:
    from darts_mim.models.base import GridForecastingModel

__all__ = ["Change", "changes", "enough_memory", "rough_bound"]

logger = get_logger(__name__)

# What a process holds beyond its tensors: the heap of the C library keeps holes between them,
# torch's own on a GPU fewer.
_SLACK = {"cpu": 1.5, "cuda": 1.1}

_LEAST_WIDTH = 8  # channels of a layer: to have fewer is no advice

_known_costs: dict[Any, StepCosts] = {}  # by all that they depend on: many fits of one kind are one


class Change(NamedTuple):
    """A change of one option, and what a training step would take with it.

    Attributes
    ----------
    option
        Name of the option.
    value
        Its value instead.
    step_bytes
        The most bytes that tensors take at any time of a step.
    fits
        Whether there is as much.
    """

    option: str
    value: Any
    step_bytes: int
    fits: bool

    def __str__(self) -> str:
        still = "" if self.fits else ", still too much"
        return f"{self.option}={self.value}: {in_bytes(self.step_bytes)}{still}"


def changes(plan: Plan, setting: Setting, costs: StepCosts, room: int) -> tuple[Change, ...]:
    """Return what each option could change of the memory that a step takes.

    Each is changed alone, and as far as it takes, or as far as it goes.

    Parameters
    ----------
    plan, setting, costs
        The model and its data, and what a step takes under which setting.
    room
        Bytes that there are.

    Returns
    -------
    tuple of Change
        Recomputation first, which changes nothing else.
    """
    share = (room - costs.fixed) / max(costs.activations, 1)  # of the activations that would fit
    found: list[tuple[str, Any, int]] = []
    for option, value in _candidates(plan, share).items():
        module = plan.module(**{option: value})
        found.append((option, value, step_costs(module, plan.sample, setting).total))
    size = max(math.floor(setting.batch_size * share), 1)
    if size < setting.batch_size:
        part = costs.activations * size // setting.batch_size
        found.append(("batch_size", size, costs.fixed + part))
    return tuple(Change(*each, fits=each[2] <= room) for each in found)


def _candidates(plan: Plan, share: float) -> dict[str, Any]:
    """Return values of options that should leave a share of the activations, or come near."""
    options, (height, width) = plan.model.model_params, plan.grid.shape[1:]
    patch, widths = options.get("patch_size"), options.get("hidden_channels")
    candidates: dict[str, list[tuple[Any, float]]] = {"patch_size": [], "hidden_channels": []}
    for k in range(1, 11):
        # a patch of twice the side leaves a quarter of the cells, half the width half the channels
        if patch is not None and patch * 2**k <= min(height, width):
            candidates["patch_size"].append((patch * 2**k, 0.25**k))
        if widths is not None and min(widths) >= _LEAST_WIDTH * 2**k:
            narrower = tuple(each // 2**k for each in widths)
            candidates["hidden_channels"].append((narrower, 0.5**k))
    chosen: dict[str, Any] = {"recompute": True} if options.get("recompute") is False else {}
    for option, values in candidates.items():
        if values:
            chosen[option] = next((v for v, left in values if left <= share), values[-1][0])
    return chosen


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
    model: GridForecastingModel, module: GridForecastingModule, trainer: pl.Trainer
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

    Raises
    ------
    MemoryError
        If a step needs more memory than the device has.
    """
    _check(model, module, trainer)
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)):
            raise
        advice = _advice_after(model, module, trainer)
        if not advice:
            raise
        raise type(error)(f"{error}\n{advice}") from error


def _check(model: GridForecastingModel, module: GridForecastingModule, trainer: pl.Trainer) -> None:
    device = trainer.strategy.root_device
    # others may divide weights or activations between devices
    is_whole = isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy)
    capacity = capacity_of(device) if is_whole else None
    if capacity is None:
        return
    capacity = _of_each_process(capacity, trainer)
    plan, setting = fitted_plan(model), _setting(model, trainer)
    slack = _SLACK[setting.device]
    if slack * rough_bound(module, plan.sample, setting.batch_size) < capacity.free:
        return
    costs = _costs(plan, module, setting, trainer.world_size)
    if costs is None or slack * costs.total < capacity.free:
        return
    if costs.total <= capacity.total:
        logger.warning(
            "A training step takes %s and more: it may not fit in the %s that the %s has free. "
            "`%s.summary()` says what to change.",
            in_bytes(costs.total),
            in_bytes(capacity.free),
            _name(device),
            type(model).__name__,
        )
        return
    raise MemoryError(
        f"a training step needs {in_bytes(costs.total)} (of which the activations take "
        f"{in_bytes(costs.activations)}), but the {_name(device)} has "
        f"{in_bytes(capacity.total)}. {_advice(plan, setting, costs, capacity.total)}"
    )


def _advice_after(
    model: GridForecastingModel, module: GridForecastingModule, trainer: pl.Trainer
) -> str:
    """Return what would help a step that did not fit; nothing if it is not known."""
    plan, setting = fitted_plan(model), _setting(model, trainer)
    costs = _costs(plan, module, setting, trainer.world_size)
    if costs is None:
        return ""
    capacity = capacity_of(trainer.strategy.root_device)
    room = costs.total // 2
    if capacity is not None:
        room = min(room, int(_of_each_process(capacity, trainer).total / _SLACK[setting.device]))
    return f"A training step needs {in_bytes(costs.total)}. " + _advice(plan, setting, costs, room)


def _advice(plan: Plan, setting: Setting, costs: StepCosts, room: int) -> str:
    found = changes(plan, setting, costs, room)
    lines = "".join(f"\n    {change}" for change in found)
    return f"Change one of these, or several; with each alone a step would need{lines}"


def _costs(
    plan: Plan, module: GridForecastingModule, setting: Setting, n_processes: int
) -> StepCosts | None:
    """Return what a step of a module costs, ``None`` where it cannot be told."""
    arrays = plan.sample.feature_arrays().items()
    shapes = tuple((name, a.shape, str(a.dtype)) for name, a in arrays if a is not None)
    trained = tuple(each.requires_grad for each in module.parameters())
    key = (repr(plan.model), str(plan.grid), shapes, trained, setting)
    if key not in _known_costs:
        try:
            _known_costs[key] = step_costs(_twin(module), plan.sample, setting)
        except Exception:
            # a loss or an optimizer that asks for values may train all the same
            logger.debug("What a training step costs cannot be told.", exc_info=True)
            return None
    costs = _known_costs[key]
    if n_processes > 1:  # each sends its gradients from a copy
        costs = costs._replace(total=costs.total + costs.gradients)
    return costs


def _twin(module: GridForecastingModule) -> GridForecastingModule:
    """Return a module like another one, without weights."""
    options = deepcopy(dict(module.hparams))
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        twin = type(module)(**options, loss_fn=deepcopy(module.criterion))
    for new, old in zip(twin.parameters(), module.parameters(), strict=True):
        new.requires_grad = old.requires_grad
    return twin


def _setting(model: GridForecastingModel, trainer: pl.Trainer) -> Setting:
    sample = cast(TorchTrainingSample, model.train_sample)
    device = trainer.strategy.root_device
    return Setting.of(sample, model.batch_size, device, trainer.precision)


def _of_each_process(capacity: Capacity, trainer: pl.Trainer) -> Capacity:
    """Return what each process has of a memory that they share, as those on a CPU do."""
    n_processes = trainer.num_devices if trainer.strategy.root_device.type == "cpu" else 1
    return Capacity(capacity.total // n_processes, capacity.free // n_processes)


def _name(device: torch.device) -> str:
    return "CPU" if device.type == "cpu" else "GPU"
