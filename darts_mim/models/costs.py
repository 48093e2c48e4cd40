"""What a training step of a grid model costs, before there is one.

The step runs on tensors that have no values, with the network, the loss, the precision and the
optimizer of the model.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from darts.utils.data.torch_datasets.utils import (
    ModuleStage,
    PLModuleInput,
    TorchTrainingBatch,
    TorchTrainingSample,
)
from torch import Tensor

from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.costs import drop_values, metered

__all__ = ["Setting", "StepCosts", "forecast_flops", "step_costs"]

# Lightning's precisions: the type of the weights, and that of autocast
_PRECISIONS = {
    "64-true": (torch.float64, None),
    "32-true": (torch.float32, None),
    "16-true": (torch.float16, None),
    "bf16-true": (torch.bfloat16, None),
    "16-mixed": (torch.float32, torch.float16),
    "bf16-mixed": (torch.float32, torch.bfloat16),
}
_ALIASES = {"64": "64-true", "32": "32-true", "16": "16-mixed", "bf16": "bf16-mixed"}
# what Darts makes of a series where no precision is asked for
_OF_SERIES = {"float64": "64-true", "float32": "32-true", "float16": "bf16-true"}


class Setting(NamedTuple):
    """Under what a step is computed.

    Attributes
    ----------
    batch_size
        Number of sequences B.
    device
        Type of the device: ``"cpu"`` or ``"cuda"``.
    precision
        Lightning's precision, such as ``"bf16-mixed"``.
    n_processes
        Number of processes that train together, each of which sends its gradients from a copy.
    """

    batch_size: int
    device: str
    precision: str
    n_processes: int = 1

    @classmethod
    def of(
        cls,
        sample: TorchTrainingSample,
        batch_size: int,
        device: torch.device,
        precision: Any,
        n_processes: int = 1,
    ) -> Setting:
        """Return the setting in which Lightning and Darts would train.

        Parameters
        ----------
        sample
            A training sample: of its type the precision is, where none is asked for.
        batch_size
            Number of sequences B.
        device
            The device; other ones than CUDA's hold what a CPU holds.
        precision
            What the trainer was asked for, or ``None``.
        n_processes
            Number of processes.
        """
        if precision is None:
            precision = _OF_SERIES[str(cast(np.ndarray, sample.past_target).dtype)]
        name = _ALIASES.get(str(precision), str(precision))
        kind = "cuda" if device.type == "cuda" else "cpu"
        return cls(batch_size, kind, name, n_processes)

    @property
    def dtypes(self) -> tuple[torch.dtype, torch.dtype | None]:
        """The type of the weights, and that of autocast."""
        if self.precision not in _PRECISIONS:
            raise ValueError(
                f"`precision` must be one of {', '.join(_PRECISIONS)} to tell what a step costs, "
                f"got {self.precision!r}"
            )
        return _PRECISIONS[self.precision]


class StepCosts(NamedTuple):
    """Bytes held and operations done in a training step that follows another.

    Attributes
    ----------
    weights, gradients, optimizer
        Bytes of the weights, of their gradients and of the optimizer's state.
    total
        The most bytes that tensors take at any time of the step.
    flops
        Operations of a step: forward pass, backward pass and what is computed again.
    """

    weights: int
    gradients: int
    optimizer: int
    total: int
    flops: int

    @property
    def fixed(self) -> int:
        """Bytes that do not depend on the batch."""
        return self.weights + self.gradients + self.optimizer

    @property
    def activations(self) -> int:
        """Bytes of what the forward pass leaves for the backward pass, and of what is passing."""
        return self.total - self.fixed


def step_costs(
    module: GridForecastingModule, sample: TorchTrainingSample, setting: Setting
) -> StepCosts:
    """Run a training step without values.

    Parameters
    ----------
    module
        A module on the device ``"meta"``, which is of no use afterwards.
    sample
        A training sample: gives shapes and types.
    setting
        Under what the step is computed.

    Returns
    -------
    StepCosts
        What it costs.

    Raises
    ------
    ValueError
        If the precision is none of Lightning's usual ones.
    """
    device = setting.device
    with metered() as meter:
        drop_values(module, torch.device(device), setting.dtypes[0])
        weights = meter.held
        optimizer = module.optimizer_cls(module.parameters(), **module.optimizer_kwargs)
        early_state = meter.held - weights
        for parameter in module.parameters():
            if parameter.requires_grad:
                parameter.grad = torch.empty_like(parameter)
        gradients = meter.held - weights - early_state
        optimizer.step(lambda: 0.0)
        state = meter.held - weights - gradients
        # Lightning gives the gradients of the last step back behind the forward pass
        with _autocast(setting):
            loss = _loss(module, sample, setting)
        optimizer.zero_grad()
        if loss.requires_grad:
            loss.backward()
    copied = gradients if setting.n_processes > 1 else 0
    return StepCosts(weights, gradients, state, meter.peak + copied, meter.flops)


def forecast_flops(
    module: GridForecastingModule, sample: TorchTrainingSample, n: int, setting: Setting
) -> int:
    """Return the operations of a forecast of n frames of one series.

    Parameters
    ----------
    module, sample, setting
        As for ``step_costs``.
    n
        Number of frames.
    """
    setting = setting._replace(batch_size=1)
    with metered() as meter, torch.no_grad(), _autocast(setting):
        drop_values(module, torch.device(setting.device), setting.dtypes[0])
        features = _features(sample, setting, n)
        features.pop("future_target")
        module(PLModuleInput(**features, stage=ModuleStage.PREDICT), n)
    return meter.flops


def _autocast(setting: Setting) -> AbstractContextManager[Any]:
    """Return the context in which Lightning runs a forward pass."""
    dtype = setting.dtypes[1]
    return nullcontext() if dtype is None else torch.autocast(setting.device, dtype)


def _loss(module: GridForecastingModule, sample: TorchTrainingSample, setting: Setting) -> Tensor:
    horizon = module.output_chunk_length
    batch = TorchTrainingBatch(**_features(sample, setting, cast(int, horizon)))
    feed_true: Tensor | None = None
    if module.sampling is not None:
        steps = module.input_chunk_length + module.output_chunk_shift + cast(int, horizon) - 2
        size = (setting.batch_size, steps)
        feed_true = torch.empty(size, dtype=torch.bool, device=setting.device)
    return module.next_frame_loss(batch, feed_true)[0]


def _features(sample: TorchTrainingSample, setting: Setting, horizon: int) -> dict[str, Tensor]:
    """Return a batch like a sample, but with a horizon of any length."""
    features: dict[str, Tensor] = {}
    for name, array in sample.feature_arrays().items():
        if array is None or name == "sample_weight":
            continue
        frames = horizon if name in ("future_target", "future_covariates") else len(array)
        size = (setting.batch_size, frames, *array.shape[1:])
        is_cast = setting.precision.endswith("-true")  # Lightning casts what it feeds
        dtype = setting.dtypes[0] if is_cast else getattr(torch, str(array.dtype))
        features[name] = torch.empty(size, dtype=dtype, device=setting.device)
    return features
