"""What a model is and what it will need, before it is trained."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from darts_mim.checks import checked_integer, counted
from darts_mim.grid import Grid
from darts_mim.models.advice import Change, changes
from darts_mim.models.capacity import capacity_of
from darts_mim.models.costs import Setting, forecast_flops
from darts_mim.models.plans import costs_of, without_values
from darts_mim.models.units import in_bytes, in_flop

if TYPE_CHECKING:
    from darts_mim.models.module import GridForecastingModule
    from darts_mim.models.plans import Plan

__all__ = ["ModelSummary", "summarise"]


@dataclass(frozen=True, repr=False)
class ModelSummary:
    """What a model is and what it will need; it prints as a table.

    Sizes in memory are those of tensors, at the most at any time of a training step that follows
    another. A process holds more: the libraries, the data, and what the heap of the C library keeps
    between tensors.

    Attributes
    ----------
    model
        Name of the model's class.
    grid
        Grid of the target.
    context, horizon
        Frames that the network reads, and that training predicts after them.
    patch_size
        Side of the patches that frames are folded into, in cells; 1 where a network has no
        ``patch_size``.
    folded_shape
        Rows and columns of patches: the grid that the hidden layers work on.
    padding
        Rows and columns of zeros that make the grid a multiple of the patch.
    input_channels
        Channels that the bottom layer reads: those of a patch of the frame, and the covariates.
        Those of all frames that are read at once, and of the planes, where a network has
        ``input_channels``.
    layers
        Parameters of each layer.
    parameters, trainable_parameters
        Parameters in all, and those that training changes.
    batch_size
        Sequences in a step.
    precision
        Precision of the training, in Lightning's words.
    device
        Type of the device that training would take, here and now.
    step_flops
        Floating-point operations of a training step: the forward and the backward pass, and what
        is computed again.
    forecast_frames, forecast_flops
        Frames of a forecast of one series, and the operations of it.
    weights_bytes, gradients_bytes, optimizer_bytes
        Memory of the weights, of their gradients, and of the optimizer's state.
    activations_bytes
        Memory of all else at the most: what the forward pass keeps for the backward pass, the batch
        and what is passing.
    step_bytes
        Memory of a training step: the sum of them.
    device_bytes
        Memory that the device has, ``None`` where that is not known.
    changes
        Where a step needs more than that, what could be changed, and what each would give.
    """

    model: str
    grid: Grid
    context: int
    horizon: int
    patch_size: int
    folded_shape: tuple[int, int]
    padding: tuple[int, int]
    input_channels: int
    layers: dict[str, int]
    parameters: int
    trainable_parameters: int
    batch_size: int
    precision: str
    device: str
    step_flops: int
    forecast_frames: int
    forecast_flops: int
    weights_bytes: int
    gradients_bytes: int
    optimizer_bytes: int
    activations_bytes: int
    step_bytes: int
    device_bytes: int | None
    changes: tuple[Change, ...]

    def __repr__(self) -> str:
        sections = [[(self.model, "")], list(self._sizes()), list(self._layers())]
        sections += [list(self._costs()), list(self._changes())]
        rows = [row for section in sections if section for row in (*section, ("", ""))]
        width = max(len(name) for name, value in rows if value) + 2
        return "\n".join(f"{name:<{width}}{value}".rstrip() for name, value in rows).rstrip()

    def _sizes(self) -> Iterator[tuple[str, str]]:
        rows, columns = self.folded_shape
        side, padding = self.patch_size, zip(self.padding, ("row", "column"), strict=True)
        padded = " and ".join(counted(number, noun) for number, noun in padding if number)
        patches = f"{side} x {side} cells: {counted(rows, 'row')} x {counted(columns, 'column')}"
        yield "grid", str(self.grid).removeprefix("Grid of ")
        yield "frames", f"{self.context} read, {self.horizon} predicted"
        if side > 1:
            yield "patches", patches + (f", with {padded} of padding" if padded else "")
        yield "channels read", f"{self.input_channels} in each {'patch' if side > 1 else 'cell'}"

    def _layers(self) -> Iterator[tuple[str, str]]:
        yield "layer", "parameters"
        digits = len(f"{self.parameters:,}")
        for name, number in {**self.layers, "all": self.parameters}.items():
            yield f"  {name}", f"{number:>{digits},}"
        if self.trainable_parameters != self.parameters:
            yield "  trained", f"{self.trainable_parameters:>{digits},}"

    def _costs(self) -> Iterator[tuple[str, str]]:
        where = f"{self.precision} on a {'CPU' if self.device == 'cpu' else 'GPU'}"
        step = f"{in_flop(self.step_flops)}, {in_bytes(self.step_bytes)}"
        yield "training step", f"{step}: batches of {self.batch_size}, {where}"
        yield "  weights", in_bytes(self.weights_bytes)
        yield "  gradients", in_bytes(self.gradients_bytes)
        yield "  optimizer", in_bytes(self.optimizer_bytes)
        yield "  activations", in_bytes(self.activations_bytes)
        frames = counted(self.forecast_frames, "frame")
        yield "forecast", f"{in_flop(self.forecast_flops)}: {frames} of one series"

    def _changes(self) -> Iterator[tuple[str, str]]:
        if self.device_bytes is not None and self.step_bytes > self.device_bytes:
            yield "it does not fit", f"in the {in_bytes(self.device_bytes)} that there are"
            for change in self.changes:
                yield "  instead", str(change)


def summarise(plan: Plan, batch_size: int | None, n: int | None) -> ModelSummary:
    """Summarise a model for what it would be trained on.

    Parameters
    ----------
    plan
        The model and its data.
    batch_size
        Sequences in a step, by default the model's, or all samples where there are fewer.
    n
        Frames of a forecast, by default the model's ``output_chunk_length``.

    Returns
    -------
    ModelSummary
        What it is and what it needs.

    Raises
    ------
    TypeError
        If `batch_size` or `n` is no integer.
    ValueError
        If one is not positive, the forecast cannot be as long, an option does not fit the grid, or
        the costs cannot be told.
    """
    model, grid = plan.model, plan.grid
    if batch_size is None:  # few samples do not fill a batch
        batch_size = min(model.batch_size, plan.n_samples or model.batch_size)
    batch_size = checked_integer("batch_size", batch_size)
    n = checked_integer("n", model.output_chunk_length if n is None else n)
    if model.output_chunk_shift and n > model.output_chunk_length:
        raise ValueError(
            f"`n` must be at most `output_chunk_length={model.output_chunk_length}` with "
            f"`output_chunk_shift`, as for `predict`, got {n}"
        )
    device = _device(model.trainer_params)
    setting = Setting.of(plan.sample, batch_size, device, model.trainer_params.get("precision"))
    module = without_values(plan, lambda module: module)
    layers, counts = dict(_layers_of(module)), [each.numel() for each in module.parameters()]
    trained = [each.numel() for each in module.parameters() if each.requires_grad]
    patch = int(getattr(module.network, "patch_size", 1))
    folded = -(-grid.height // patch), -(-grid.width // patch)
    costs = costs_of(plan, setting)
    flops = without_values(plan, lambda m: forecast_flops(m, plan.sample, n, setting))
    capacity = capacity_of(device)
    found: tuple[Change, ...] = ()
    if capacity is not None and costs.total > capacity.total:
        found = changes(plan, setting, costs, capacity.total)
    return ModelSummary(
        model=type(model).__name__,
        grid=grid,
        context=model.input_chunk_length,
        horizon=model.output_chunk_length,
        patch_size=patch,
        folded_shape=folded,
        padding=(folded[0] * patch - grid.height, folded[1] * patch - grid.width),
        input_channels=_input_channels(module, patch),
        layers=layers,
        parameters=sum(counts),
        trainable_parameters=sum(trained),
        batch_size=batch_size,
        precision=setting.precision,
        device=device.type,
        step_flops=costs.flops,
        forecast_frames=n,
        forecast_flops=flops,
        weights_bytes=costs.weights,
        gradients_bytes=costs.gradients,
        optimizer_bytes=costs.optimizer,
        activations_bytes=costs.activations,
        step_bytes=costs.total,
        device_bytes=None if capacity is None else capacity.total,
        changes=found,
    )


def _layers_of(module: GridForecastingModule) -> Iterator[tuple[str, int]]:
    """Yield name and number of parameters of the parts of a network, and of what else has any."""
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


def _input_channels(module: GridForecastingModule, patch: int) -> int:
    """Return the channels that the bottom layer reads in a patch."""
    told = getattr(module.network, "input_channels", None)
    if isinstance(told, int):
        return told
    sizes = module.network_sizes
    is_told = sizes["in_channels"] if sizes["reads_observed"] else 0
    fields = sizes["in_channels"] + is_told + sizes["plane_channels"]
    return int(fields * patch**2 + sizes["scalar_channels"])


def _device(trainer_params: dict[str, Any]) -> torch.device:
    """Return the device that a trainer would take."""
    accelerator = trainer_params.get("accelerator", "auto")
    if accelerator in ("auto", "cuda", "gpu") and torch.cuda.is_available():
        devices = trainer_params.get("devices")
        if isinstance(devices, str) and "," in devices:  # a list, as Lightning reads it
            devices = [int(each) for each in devices.split(",") if each.strip()]
        return torch.device("cuda", devices[0] if isinstance(devices, list) else 0)
    if accelerator in ("auto", "gpu", "mps") and torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
