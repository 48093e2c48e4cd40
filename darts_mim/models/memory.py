"""Refuse training steps that cannot fit in memory."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
import torch
from darts.logging import get_logger
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.utilities.memory import is_oom_error

from darts_mim.models.costs import StepCosts, Workload, step_costs, workload_of
from darts_mim.models.data import ResumableDataModule
from darts_mim.models.module import GridForecastingModule

logger = get_logger(__name__)

_PATCH_CHANNELS = 64  # of a patch: more of them outweigh the hidden ones
_CONTAINER_LIMIT = Path("/sys/fs/cgroup/memory.max")


def in_bytes(number: float) -> str:
    """Write a number of bytes with a unit.

    Examples
    --------
    >>> in_bytes(300), in_bytes(1536), in_bytes(2_139_000_000)
    ('300 bytes', '1.5 KiB', '2.0 GiB')
    """
    power = min(int(math.log2(max(number, 1)) // 10), 4)
    unit = ("bytes", "KiB", "MiB", "GiB", "TiB")[power]
    return f"{number / 1024**power:.{0 if power == 0 else 1}f} {unit}"


def device_memory(device: torch.device) -> int | None:
    """Return the bytes of a device's memory, ``None`` if they are not known.

    For a CPU: of the machine, or of the container if it may take less.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError):  # not on Windows
        return None
    try:
        return min(memory, int(_CONTAINER_LIMIT.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return memory


def changes_for(
    workload: Workload, costs: StepCosts, batch_size: int, memory: int
) -> tuple[str, ...]:
    """Return the options that would lessen a step's memory most, with about what it would take.

    Parameters
    ----------
    workload, costs, batch_size
        The model and its data, and the costs of a step.
    memory
        Bytes that the step may take.
    """
    options, grid = workload.model.model_params, workload.grid
    fixed = costs.total - costs.activations
    excess = costs.activations / max(memory - fixed, 1)
    found: list[tuple[str, float]] = []
    patch, factor = options.get("patch_size"), 1
    if isinstance(patch, int):
        most = min(*grid.shape[1:], math.isqrt(_PATCH_CHANNELS // grid.channels))
        while factor < excess and 2 * patch <= most:
            patch, factor = 2 * patch, 4 * factor
        if factor > 1:
            found.append((f"patch_size={patch}", costs.activations / factor))
    if options.get("recompute") is False:
        found.append(("recompute=True", costs.activations / 5))
    if batch_size > 1:
        fewer = max(int(batch_size / excess), 1)
        found.append((f"batch_size={fewer}", costs.activations * fewer / batch_size))
    return tuple(
        f"{option}: about {in_bytes(fixed + activations)}"
        + (", still too much" if fixed + activations > memory else "")
        for option, activations in found
    )


@contextmanager
def enough_memory(
    model: Any, module: GridForecastingModule, trainer: pl.Trainer, data: ResumableDataModule
) -> Iterator[None]:
    """Refuse training that cannot fit in memory, and add advice to errors if it did not.

    Parameters
    ----------
    model, module, trainer, data
        The model, its module, the trainer and the training data.

    Raises
    ------
    MemoryError
        If a step needs more memory than the device has.
    """
    device = trainer.strategy.root_device
    n_samples = math.ceil(len(cast(Any, data.train_dataset)) / trainer.world_size)
    batch_size = min(data.batch_size, n_samples)  # few samples do not fill a batch
    memory = device_memory(device)
    if memory is not None and device.type == "cpu":
        memory //= trainer.num_devices  # processes share it
    # other strategies divide weights or activations between devices
    is_whole = type(trainer.strategy) in (SingleDeviceStrategy, DDPStrategy)
    if is_whole and memory is not None and _rough_bound(module, batch_size) > memory:
        workload, costs = _costs(model, trainer, batch_size)
        if costs is not None and costs.total > memory:
            raise MemoryError(
                f"a training step needs about {in_bytes(costs.total)}, but the {device.type} has "
                f"{in_bytes(memory)}. {_advice(workload, costs, batch_size, memory)}"
            )
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or is_oom_error(error)):
            raise
        workload, costs = _costs(model, trainer, batch_size)
        if costs is None:
            raise
        advice = _advice(workload, costs, batch_size, costs.total // 2)
        raise type(error)(f"{error}\n{advice}") from error


def _costs(model: Any, trainer: pl.Trainer, batch_size: int) -> tuple[Workload, StepCosts | None]:
    workload = workload_of(model)._replace(precision=str(trainer.precision))
    try:
        return workload, step_costs(workload, batch_size)
    except Exception:
        # a network of the user's own may train although it cannot be measured
        logger.debug("The costs of a training step are not known.", exc_info=True)
        return workload, None


def _advice(workload: Workload, costs: StepCosts, batch_size: int, memory: int) -> str:
    found = changes_for(workload, costs, batch_size, memory)
    if not found:
        return "Use a coarser grid or another device"
    lines = "".join(f"\n    {each}" for each in found)
    return f"Change one of these options, or several; a step then needs{lines}"


def _rough_bound(module: GridForecastingModule, batch_size: int) -> int:
    """Return bytes that a training step hardly takes, at once.

    Each output channel of a parameter is counted as if it were held four times over the folded
    grid at each step, and each value of a frame 40 times.
    """
    patch = getattr(module.network, "patch_size", 1)
    _, height, width = module.grid.shape
    cells = math.ceil(height / patch) * math.ceil(width / patch)
    steps = (
        module.input_chunk_length + module.output_chunk_shift + int(module.output_chunk_length or 1)
    )
    channels = sum(each.shape[0] for each in module.network.parameters() if each.ndim)
    channels += 20 * sum(module.network_sizes.values()) * patch**2
    n_weights = sum(each.numel() for each in module.parameters())
    return 8 * int(4 * batch_size * steps * cells * channels + 8 * n_weights)
