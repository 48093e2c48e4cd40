"""Costs of a training step, measured on a small part of the grid and scaled up.

Operations and activations are in proportion to the sequences of a batch, to the cells of the grid
and, in a recurrent network, to the frames. On the fast path activations take about a fifth less.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from darts import TimeSeries
from darts.models.forecasting.torch_forecasting_model import MixedCovariatesTorchModel
from darts.utils.data.torch_datasets.utils import TorchTrainingBatch, TorchTrainingSample
from numpy.typing import NDArray
from torch import Tensor, nn

from darts_mim.grid import Grid
from darts_mim.models.covariates import (
    CovariateLayout,
    InputLayout,
    lay_out_inputs,
    sample_sizes,
)
from darts_mim.models.likelihoods import unchecked_distributions
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.costs import CostMeter
from darts_mim.nn.recurrent import RecurrentNetwork

_COUNTED, _TIMED = 3, 16  # most rows and columns of patches in a part of the grid
_FRAMES = 2  # of context and horizon there, in a recurrent network
_LENGTHS = "input_chunk_length", "_output_chunk_length"


class Workload(NamedTuple):
    """A model and its training data.

    Attributes
    ----------
    model
        The model. It stays as it is.
    grid
        Grid of the target.
    layouts, inputs
        Layouts of the covariates, and of all that the network reads.
    precision
        Lightning's precision, such as ``"bf16-mixed"``.
    n_samples
        Number of training samples, ``None`` if it is not known.
    """

    model: Any
    grid: Grid
    layouts: dict[str, CovariateLayout]
    inputs: InputLayout
    precision: str
    n_samples: int | None

    @property
    def autocast(self) -> bool:
        """Whether the forward pass is computed in 16 bits."""
        return self.precision in ("16", "bf16") or self.precision.endswith("16-mixed")

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights; for 16 bits bfloat16, which is as large as float16."""
        if self.precision.endswith("16-true"):
            return torch.bfloat16
        return torch.float64 if self.precision.startswith("64") else torch.float32

    @property
    def device(self) -> torch.device:
        """The device that a trainer would take."""
        accelerator = self.model.trainer_params.get("accelerator", "auto")
        if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("cpu")

    def module(self, grid: Grid | None = None) -> GridForecastingModule:
        """Return a new module of the model, also for another grid."""
        grid = grid or self.grid
        model = self.model.twin(grid)
        model._covariate_layouts = self.layouts
        sizes = sample_sizes(self.inputs, grid, model.input_chunk_length, model.output_chunk_length)
        arrays = {name: np.zeros(size, np.float32) for name, size in sizes.items()}
        sample = TorchTrainingSample(**arrays)
        model.pl_module_params["train_sample_shape"] = sample.sample_shapes()
        with torch.random.fork_rng(devices=[]):
            module: GridForecastingModule = model._create_model(sample)
        model._setup_finetuning(module)
        return module.to(self.dtype)

    def part(self, patches: int) -> tuple[GridForecastingModule, float]:
        """Return a module for a part of the grid and few frames, and its share of the cells."""
        patch = self.model.model_params.get("patch_size")
        patch = patch if isinstance(patch, int) else 1  # others may mean something else by it
        rows, columns = (-(-side // patch) for side in self.grid.shape[1:])
        height, width = (patch * min(each, patches) for each in (rows, columns))
        mask = None if self.grid.mask is None else np.ones((height, width), dtype=bool)
        grid = Grid(self.grid.channels, height, width, mask=mask)
        module = self.module(grid)
        if isinstance(module.network, RecurrentNetwork):
            for name in _LENGTHS:
                setattr(module, name, _FRAMES)
        return module, min(rows, patches) * min(columns, patches) / (rows * columns)


class StepCosts(NamedTuple):
    """Bytes and operations of a training step.

    Attributes
    ----------
    weights, gradients, optimizer
        Bytes of the weights, of their gradients and of the optimizer's state.
    activations
        Bytes of the tensors that the forward pass keeps for the backward pass.
    flops
        Floating-point operations of the forward and the backward pass.
    frame_flops
        Floating-point operations of a frame of a forecast of one series.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int
    flops: int
    frame_flops: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.gradients + self.optimizer + self.activations


def workload_of(
    model: Any,
    series: TimeSeries | Sequence[TimeSeries] | Grid | None = None,
    past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
    future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
) -> Workload:
    """Return a model with its training data.

    Parameters
    ----------
    model
        The model.
    series
        Series or grid to train on, ``None`` for those of the last ``fit``.
    past_covariates, future_covariates
        As for ``fit``.

    Raises
    ------
    ValueError
        If ``series`` is missing before ``fit``, cannot be trained on, or is a grid beside
        covariates.
    """
    grid, layouts, sample = model.grid, model._covariate_layouts, model.train_sample
    n_samples = None
    if isinstance(series, Grid):
        if past_covariates is not None or future_covariates is not None:
            raise ValueError("covariates need the series they belong to: give `series`, not a grid")
        grid, layouts, sample = series, {}, None
    elif series is not None:
        # Darts notes on a model that it was given covariates: let it be another model
        _, params = MixedCovariatesTorchModel._setup_for_fit_from_dataset(
            model.twin(), series, past_covariates, future_covariates
        )
        dataset = params["train_dataset"]
        grid, [layouts] = model._settle([dataset])
        sample, n_samples = dataset[0], len(dataset)
    elif sample is None:
        raise ValueError(
            "`series` must be given before `fit`: the series that the model will be trained on, or "
            "their grid"
        )
    target: Any = np.zeros((1, 1), np.float32) if sample is None else sample.past_target
    grid = grid or Grid(channels=target.shape[1], height=1, width=1)
    inputs = InputLayout() if sample is None else lay_out_inputs(sample, layouts, grid)
    # without a precision, Darts chooses that of the series
    chosen = {8: "64-true", 4: "32-true", 2: "bf16-true"}[target.dtype.itemsize]
    precision = str(model.trainer_params.get("precision") or chosen)
    return Workload(model, grid, layouts, inputs, precision, n_samples)


def step_costs(workload: Workload, batch_size: int) -> StepCosts:
    """Return the costs of a training step with a number of sequences."""
    whole = workload.module()
    parameters = list(whole.parameters())
    gradients = sum(each.nbytes for each in parameters if each.requires_grad)
    part, share = workload.part(_COUNTED)
    network: Any = part.network
    if hasattr(network, "fast_path"):
        network.fast_path = False  # its operations are not torch's
    n_part, scale = _n_frames(part), batch_size / share
    one, two = (_count(workload, part, n) for n in (1, 2))
    each = two - one  # of a sequence; the rest is of the step, such as weights in 16 bits
    total = one - each + scale * each
    for name in _LENGTHS:
        length = getattr(part, name)
        if n_more := getattr(whole, name) - length:
            setattr(part, name, length + 1)
            total += scale * n_more * (_count(workload, part, 1) - one)
            setattr(part, name, length)
    if getattr(network, "recompute", False) and not isinstance(network, RecurrentNetwork):
        # the backward pass holds those of one frame at a time; a recurrent network keeps the last's
        network.recompute = False
        total[1] += scale * _count(workload, part, 1)[1] / n_part
    return StepCosts(
        weights=sum(each.nbytes for each in parameters),
        gradients=gradients,
        optimizer=gradients * _copies_of(whole),
        activations=round(total[1]),
        flops=round(total[0]),
        frame_flops=round(one[2] / share / n_part),
    )


def _count(
    workload: Workload, module: GridForecastingModule, batch_size: int
) -> NDArray[np.float64]:
    """Return operations, bytes of activations, and operations of the forward pass."""
    module.zero_grad()
    with CostMeter() as meter:
        loss = _loss(workload, module, batch_size)
        forward, held = meter.flops, meter.held
        if loss.requires_grad:
            loss.backward()
    return np.array([meter.flops, held, forward], dtype=np.float64)


def step_seconds(workload: Workload, batch_size: int) -> float:
    """Estimate how long a training step takes here: time small steps for about a second."""
    part, share = workload.part(_TIMED)
    part.to(workload.device)

    def timed(n: int) -> float:
        start = time.perf_counter()
        _loss(workload, part, n).backward()
        if workload.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    timed(1)  # builds kernels and fills caches
    seconds, n = timed(1), 1
    if (more := min(batch_size, int(0.4 / seconds))) > 1:
        seconds, n = min(timed(more), timed(more)), more
    n_part = _n_frames(part)
    for name in _LENGTHS:
        setattr(part, name, getattr(workload.model, name.strip("_")))
    return seconds * batch_size / n / share * _n_frames(part) / n_part


def _n_frames(module: GridForecastingModule) -> int:
    """Return the number of frames that a network predicts in a training step."""
    return module.n_context + module.output_chunk_shift + int(module.output_chunk_length or 1)


def _loss(workload: Workload, module: GridForecastingModule, batch_size: int) -> Tensor:
    """Return the loss of a batch of random values."""
    device = next(module.parameters()).device
    horizon = int(module.output_chunk_length or 1)
    sizes = sample_sizes(workload.inputs, module.grid, module.input_chunk_length, horizon)
    context: Any = nullcontext()
    if workload.autocast:
        context = torch.autocast(device.type, torch.bfloat16)
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices), unchecked_distributions(), context:
        batch = TorchTrainingBatch(
            **{
                name: torch.rand(batch_size, *size, dtype=workload.dtype, device=device)
                for name, size in sizes.items()
            }
        )
        n_fed = module.input_chunk_length + module.output_chunk_shift + horizon - 2
        feed_true = None
        if module.sampling is not None:
            feed_true = torch.rand(batch_size, n_fed, device=device) < 0.5
        return module.next_frame_loss(batch, feed_true)[0]


def _copies_of(module: GridForecastingModule) -> int:
    """Return how many numbers an optimizer keeps for each parameter."""
    parameter = nn.Parameter(torch.zeros(2, 3))
    parameter.grad = torch.zeros(2, 3)
    optimizer = module.optimizer_cls([parameter], **module.optimizer_kwargs)
    optimizer.step(lambda: 0.0)
    kept = [each for state in optimizer.state.values() for each in state.values()]
    return sum(isinstance(each, Tensor) and each.shape == (2, 3) for each in kept)
