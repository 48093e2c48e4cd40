"""The gate convolutions of one unrolling on the fast path.

Legend: B batch, C channels of a state, H height, W width, G gates.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

from torch import Tensor

from darts_mim.nn.fused.functions import Summand, act, convolve
from darts_mim.nn.fused.layers import FusedLayer
from darts_mim.nn.fused.native import NativeKernels
from darts_mim.nn.gates import GateConvolution, Mode, stand_in
from darts_mim.nn.unrolling import Step, StepInputs

State = TypeVar("State")


class PreActivations:
    """``PendingGates``: summands that are added up where the gates act.

    Parameters
    ----------
    summands
        Outputs of convolutions, of shape (B, G * C, H, W), and how they are normalised.
    kernels
        What computes.
    """

    def __init__(self, summands: Sequence[Summand], kernels: NativeKernels) -> None:
        self.summands, self.kernels = summands, kernels

    def __add__(self, other: PreActivations) -> PreActivations:
        return PreActivations([*self.summands, *other.summands], self.kernels)

    def act(self, mode: Mode, state: Tensor) -> Tensor:
        """Return what the gates make of a state (B, C, H, W); see ``act`` of the functions."""
        return act(self.kernels, mode, self.summands, state)


class FusedUnrolling:
    """The ``StandIn`` of a network during one unrolling on the fast path.

    Parameters
    ----------
    layers
        For each gate convolution of the network what stands in for it.
    kernels
        What does the elementwise work.
    """

    def __init__(
        self, layers: Mapping[GateConvolution, FusedLayer], kernels: NativeKernels
    ) -> None:
        self._layers, self._kernels = layers, kernels
        self._weights = {module: layer.weight() for module, layer in layers.items()}
        self._may_be_zero = False

    def convolve(self, module: GateConvolution, x: Tensor) -> tuple[PreActivations, ...] | None:
        """Return the groups of pre-activations that a gate convolution makes of ``x``."""
        if module not in self._layers:
            return None
        layer, weight = self._layers[module], self._weights[module]
        summands = convolve(layer, weight, x, self._may_be_zero)
        return tuple(PreActivations([summand], self._kernels) for summand in summands)

    def running(self, step: Step[State]) -> Step[State]:
        """Return a step whose gate convolutions take the fast path, whenever it is called.

        Also in the backward pass, which with recomputation calls it again.
        """

        def run(frame: Tensor, state: State | None, inputs: StepInputs, /) -> tuple[Tensor, State]:
            self._may_be_zero = state is None
            token = stand_in.set(self)
            try:
                return step(frame, state, inputs)
            finally:
                stand_in.reset(token)

        return run
