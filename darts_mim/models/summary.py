"""A model's sizes and costs, before it is trained."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from darts_mim.checks import checked_integer, counted
from darts_mim.grid import Grid
from darts_mim.models.costs import StepCosts, Workload, step_costs, step_seconds, workload_of
from darts_mim.models.memory import changes_for, device_memory, in_bytes
from darts_mim.models.module import GridForecastingModule


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """Sizes and costs of a model; prints as a table.

    Memory is that of the tensors of a training step. A process also holds libraries and data.

    Attributes
    ----------
    model
        Name of the model's class.
    grid
        Grid of the target.
    context, horizon
        Frames that the network reads, and that training predicts after them.
    patch_size
        Side of the patches that frames are folded into, in cells; 1 for networks without patches.
    folded_shape
        Rows and columns of patches: the grid that the hidden layers work on.
    padding
        Rows and columns of zeros that make the grid a multiple of the patch.
    layers
        Parameters of each layer.
    parameters, trainable_parameters
        All parameters, and those that training changes.
    batch_size
        Sequences in a step.
    precision
        Precision of the training, as Lightning names it.
    device
        Type of the device that training would use here.
    costs
        Memory and operations of a training step.
    device_bytes
        Memory of the device, ``None`` if it is not known.
    changes
        Options that would help most if a step needs more than that.
    step_seconds
        Estimate of how long a step takes here, scaled up from small steps that were timed.
    steps
        Steps of a whole training, ``None`` if it is not known.
    """

    model: str
    grid: Grid
    context: int
    horizon: int
    patch_size: int
    folded_shape: tuple[int, int]
    padding: tuple[int, int]
    layers: dict[str, int]
    parameters: int
    trainable_parameters: int
    batch_size: int
    precision: str
    device: str
    costs: StepCosts
    device_bytes: int | None
    changes: tuple[str, ...]
    step_seconds: float = field(compare=False)
    steps: int | None

    @property
    def step_flops(self) -> int:
        """Floating-point operations of a training step, forward and backward."""
        return self.costs.flops

    @property
    def step_bytes(self) -> int:
        """Memory of a training step."""
        return self.costs.total

    @property
    def run_seconds(self) -> float | None:
        """Estimate of how long a whole training takes here, ``None`` if it is not known."""
        return None if self.steps is None else self.steps * self.step_seconds

    def __repr__(self) -> str:
        sections = [[(self.model, "")], self._sizes(), self._layers(), self._costs()]
        rows = [row for section in sections for row in (*section, ("", ""))]
        width = max(len(name) for name, value in rows if value) + 2
        return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows).rstrip()

    def _sizes(self) -> Iterator[tuple[str, str]]:
        rows, columns = self.folded_shape
        yield "grid", str(self.grid).removeprefix("Grid of ")
        yield "frames", f"{self.context} read, {self.horizon} predicted"
        if self.patch_size > 1:
            padded = " and ".join(
                counted(n, noun)
                for n, noun in zip(self.padding, ("row", "column"), strict=True)
                if n
            )
            size = f"{self.patch_size} x {self.patch_size} cells"
            patches = f"{size}: {counted(rows, 'row')} x {counted(columns, 'column')}"
            yield "patches", patches + (f", with {padded} of padding" if padded else "")

    def _layers(self) -> Iterator[tuple[str, str]]:
        yield "layer", "parameters"
        digits = len(f"{self.parameters:,}")
        for name, number in {**self.layers, "all": self.parameters}.items():
            yield f"  {name}", f"{number:>{digits},}"
        if self.trainable_parameters != self.parameters:
            yield "  trained", f"{self.trainable_parameters:>{digits},}"

    def _costs(self) -> Iterator[tuple[str, str]]:
        where = f"batches of {self.batch_size}, {self.precision} on {self.device}"
        yield "training step", f"{_in_flop(self.step_flops)}, {in_bytes(self.step_bytes)}: {where}"
        for name in ("weights", "gradients", "optimizer", "activations"):
            yield f"  {name}", in_bytes(getattr(self.costs, name))
        yield "  time", f"about {_in_time(self.step_seconds)} (estimate)"
        if self.run_seconds is not None:
            yield "training", f"about {_in_time(self.run_seconds)}: {self.steps:,} steps (estimate)"
        yield "forecast", f"{_in_flop(self.costs.frame_flops)} a frame of one series"
        if self.changes:
            yield "does not fit", f"in {in_bytes(self.device_bytes or 0)} of memory"
            for change in self.changes:
                yield "  instead", change


def summarise(
    model: Any,
    series: Any = None,
    past_covariates: Any = None,
    future_covariates: Any = None,
    batch_size: int | None = None,
) -> ModelSummary:
    """Summarise a model for its training data.

    Parameters
    ----------
    model
        The model. It stays as it is.
    series, past_covariates, future_covariates
        As for ``workload_of``.
    batch_size
        Sequences in a step, by default the model's, or all samples if there are fewer.

    Raises
    ------
    ValueError
        If the model cannot be trained on the series.
    """
    workload = workload_of(model, series, past_covariates, future_covariates)
    if batch_size is None:
        batch_size = min(model.batch_size, workload.n_samples or model.batch_size)
    batch_size = checked_integer("batch_size", batch_size)
    grid, module, memory = workload.grid, workload.module(), device_memory(workload.device)
    counts = [(each.numel(), each.requires_grad) for each in module.parameters()]
    patch = int(getattr(module.network, "patch_size", 1))
    folded = -(-grid.height // patch), -(-grid.width // patch)
    costs = step_costs(workload, batch_size)
    does_fit = memory is None or costs.total <= memory
    return ModelSummary(
        model=type(model).__name__,
        grid=grid,
        context=model.input_chunk_length,
        horizon=model.output_chunk_length,
        patch_size=patch,
        folded_shape=folded,
        padding=(folded[0] * patch - grid.height, folded[1] * patch - grid.width),
        layers=dict(_layers_of(module)),
        parameters=sum(n for n, _ in counts),
        trainable_parameters=sum(n for n, is_trained in counts if is_trained),
        batch_size=batch_size,
        precision=workload.precision,
        device=workload.device.type,
        costs=costs,
        device_bytes=memory,
        changes=() if does_fit else changes_for(workload, costs, batch_size, memory or 0),
        step_seconds=step_seconds(workload, batch_size),
        steps=_steps(workload, batch_size),
    )


def _layers_of(module: GridForecastingModule) -> Iterator[tuple[str, int]]:
    """Yield name and number of parameters of the parts of a network and of the module."""
    parts: dict[str, nn.Module] = {}
    others = {name: part for name, part in module.named_children() if part is not module.network}
    for name, part in {**dict(module.network.named_children()), **others}.items():
        inner = part.named_children() if isinstance(part, nn.ModuleList | nn.ModuleDict) else ()
        parts |= {f"{name}[{index}]": each for index, each in inner} or {name: part}
    if own := sum(each.numel() for each in module.network.parameters(recurse=False)):
        yield "network", own
    for name, part in parts.items():
        if number := sum(each.numel() for each in part.parameters()):
            yield name, number


def _steps(workload: Workload, batch_size: int) -> int | None:
    """Return how many steps a training takes, ``None`` if it is not known."""
    model, options = workload.model, workload.model.trainer_params
    most = int(options.get("max_steps") or -1)
    if workload.n_samples is None or model.n_epochs < 0:
        return most if most > 0 else None
    per_epoch = math.ceil(workload.n_samples / batch_size)
    limit = options.get("limit_train_batches") or 1.0
    per_epoch = min(per_epoch, limit) if isinstance(limit, int) else int(per_epoch * limit)
    steps: int = model.n_epochs * per_epoch
    return min(steps, most) if most > 0 else steps


def _in_flop(number: float) -> str:
    power = min(int(math.log10(max(number, 1)) // 3), 5)
    return f"{number / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P')[power]}FLOP"


def _in_time(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * size:
            return f"{float(f'{seconds / size:.2g}'):g} {unit}"
    return f"{float(f'{1000 * seconds:.2g}'):g} ms"
