"""Training steps and rollouts of a network, as functions that can be timed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from benchmarks.networks import MIMNetwork, check_fast_path
from benchmarks.options import Options
from benchmarks.sizes import Setting

Variant: TypeAlias = Literal["plain", "fast", "recompute"]
Measured: TypeAlias = Literal["training step", "rollout"]

VARIANTS: dict[Variant, dict[str, Any]] = {
    "plain": {"fast_path": False},
    "fast": {"fast_path": True},
    "recompute": {"fast_path": True, "recompute": True},  # on a CPU
}
COMPARED: tuple[Variant, Variant] = ("plain", "fast")
MEASURED: tuple[Measured, Measured] = ("training step", "rollout")


@dataclass(frozen=True)
class Workload:
    """A network, the frames it is given, and how it computes.

    Attributes
    ----------
    setting
        The frames.
    hidden_channels, kernel_size
        The network.
    precision
        ``"float32"``, or ``"bfloat16"`` for autocast: parameters are float32 in any case.
    device
        ``"cpu"`` or ``"cuda"``.
    """

    setting: Setting
    hidden_channels: tuple[int, ...]
    kernel_size: int
    precision: str
    device: str

    def network(self, variant: Variant) -> nn.Module:
        """Return a new network, with the same weights whatever the variant."""
        torch.manual_seed(0)
        network = MIMNetwork(
            self.setting.channels,
            self.hidden_channels,
            kernel_size=self.kernel_size,
            patch_size=self.setting.patch_size,
            **VARIANTS[variant],
        ).to(self.device)
        with self.autocast():
            check_fast_path(network, self.clip()[:, : self.setting.context])
        return network

    def clip(self) -> Tensor:
        """Return frames (B, context + horizon, C, H, W)."""
        _, channels, height, width, _, batch, context, horizon = self.setting
        return torch.rand(batch, context + horizon, channels, height, width, device=self.device)

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context that a forward pass computes in."""
        enabled = self.precision == "bfloat16"
        return torch.autocast(self.device, torch.bfloat16, enabled=enabled)

    def loss(self, network: nn.Module, clip: Tensor) -> Tensor:
        """Return the mean squared error of all predictions of next frames."""
        frames, _ = network(clip[:, : self.setting.context], self.setting.horizon)
        return nn.functional.mse_loss(frames, clip[:, 1:])

    def training_step(self, variant: Variant) -> TrainingStep:
        """Return a training step of a new network."""
        return TrainingStep(self, self.network(variant), self.loss)

    def rollout(self, variant: Variant) -> Callable[[], None]:
        """Return a forecast of a new network."""
        network, clip = self.network(variant).eval(), self.clip()

        def roll_out() -> None:
            with torch.no_grad(), self.autocast():
                network(clip[:, : self.setting.context], self.setting.horizon)

        return roll_out

    def work(self, measured: Measured, variant: Variant) -> Callable[[], None]:
        """Return a training step or a forecast of a new network."""
        trains = measured == "training step"
        return self.training_step(variant) if trains else self.rollout(variant)


class TrainingStep:
    """Forward pass, backward pass and Adam, on frames that stay the same.

    Parameters
    ----------
    workload
        Frames and precision.
    module
        What is trained.
    loss_of
        Loss of the module on a clip (B, context + horizon, C, H, W).
    """

    def __init__(
        self,
        workload: Workload,
        module: nn.Module,
        loss_of: Callable[[Any, Tensor], Tensor],
    ) -> None:
        self.module, self.loss_of = module, loss_of
        self.autocast, self.clip = workload.autocast, workload.clip()
        self.optimizer = torch.optim.Adam(module.parameters())

    def __call__(self) -> None:
        """Take the step."""
        self.gradients()
        self.optimizer.step()

    def gradients(self) -> None:
        """Take the forward and the backward pass alone."""
        with self.autocast():
            loss = self.loss_of(self.module, self.clip)
        self.optimizer.zero_grad()
        loss.backward()

    @property
    def kept_bytes(self) -> int:
        """Bytes of what lasts from step to step: weights, gradients, both moments, the clip."""
        weights = sum(weight.nbytes for weight in self.module.parameters())
        return 4 * weights + self.clip.nbytes


def workload_of(options: Options, setting: Setting, width: int, precision: str) -> Workload:
    """Return a network of the run's depth and kernels, all of whose layers are so wide."""
    sizes = options.sizes
    hidden_channels = (width,) * sizes.layers
    return Workload(setting, hidden_channels, sizes.kernel_size, precision, options.device)


def describe(workload: Workload) -> dict[str, Any]:
    """Return what tells a workload from others, for the key of a row."""
    return {
        "setting": workload.setting.name,
        "width": workload.hidden_channels[0],
        "precision": workload.precision,
    }


def describe_frames(setting: Setting) -> dict[str, Any]:
    """Return the rest of what a row says of the frames."""
    return {"batch": setting.batch, "context": setting.context, "horizon": setting.horizon}
