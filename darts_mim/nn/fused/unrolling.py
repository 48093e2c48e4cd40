"""What is shared by the steps of one unrolling on the fast path, and how the gates get at it.

Legend: B batch, C channels of a state, H height, W width, G gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from typing import TypeVar

from torch import Tensor, nn

from darts_mim.nn.fused.formulas import Kernels, Mode
from darts_mim.nn.fused.functions import Summand, act, convolve
from darts_mim.nn.fused.layers import FusedLayer
from darts_mim.nn.unrolling import Step, StepInputs

__all__ = ["FusedUnrolling", "PreActivations", "active_unrolling"]

State = TypeVar("State")


class PreActivations:
    """Pre-activations of gates that are not there yet: summands that are added up where they act.

    Parameters
    ----------
    summands
        Outputs of convolutions, of shape (B, G * C, H, W), and how they are normalised.
    kernels
        What computes.
    """

    def __init__(self, summands: Sequence[Summand], kernels: Kernels) -> None:
        self.summands, self.kernels = summands, kernels

    def __add__(self, other: PreActivations) -> PreActivations:
        return PreActivations([*self.summands, *other.summands], self.kernels)

    def act(self, mode: Mode, state: Tensor) -> Tensor:
        """Return what the gates make of a state (B, C, H, W); see ``act`` of the functions."""
        return act(self.kernels, mode, self.summands, state)


class FusedUnrolling:
    """The layers of a network during one unrolling on the fast path.

    Parameters
    ----------
    layers
        For each gate convolution of the network what stands in for it.
    kernels
        What does the elementwise work.
    """

    def __init__(self, layers: Mapping[nn.Module, FusedLayer], kernels: Kernels) -> None:
        self._layers, self._kernels = layers, kernels
        self._weights = {module: layer.weight() for module, layer in layers.items()}
        self._may_be_zero = False

    def anew(self) -> FusedUnrolling:
        """Return another one of the same layers, which sums gradients of its own."""
        return FusedUnrolling(self._layers, self._kernels)

    def knows(self, module: nn.Module) -> bool:
        """Return whether a gate convolution is one of the network's, not of another one in it."""
        return module in self._layers

    def convolve(self, module: nn.Module, x: Tensor) -> tuple[PreActivations, ...]:
        """Return the groups of pre-activations that a gate convolution makes of ``x``."""
        layer, weight = self._layers[module], self._weights[module]
        summands = convolve(layer, weight, x, self._may_be_zero)
        return tuple(PreActivations([summand], self._kernels) for summand in summands)

    def running(self, step: Step[State]) -> Step[State]:
        """Return a step whose gate convolutions take the fast path, whenever it is called.

        Also in the backward pass, which with recomputation calls it again.
        """

        def run(frame: Tensor, state: State | None, inputs: StepInputs, /) -> tuple[Tensor, State]:
            # elsewhere to look costs more than it saves, or there is nothing to see
            can_look = type(frame) is Tensor and frame.device.type == "cpu"
            self._may_be_zero = state is None and can_look
            token = _ACTIVE.set(self)
            try:
                return step(frame, state, inputs)
            finally:
                _ACTIVE.reset(token)

        return run


_ACTIVE: ContextVar[FusedUnrolling | None] = ContextVar("fused unrolling", default=None)


def active_unrolling() -> FusedUnrolling | None:
    """Return the unrolling on the fast path that is running here, ``None`` on the plain one."""
    return _ACTIVE.get()
