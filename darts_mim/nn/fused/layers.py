"""Gate convolutions as the fast path sees them: what convolves, and what normalises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function

from darts_mim.nn.fused.native import NativeKernels
from darts_mim.nn.fused.tensors import empty_channels_last
from darts_mim.nn.gates import GateConvolution


class Convolution(ABC):
    """A "same" convolution of the fast path, during one unrolling.

    Parameters
    ----------
    values
        Its weight, as the forward pass reads it.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._total: Tensor | None = None

    @abstractmethod
    def convolve(self, x: Tensor) -> Tensor:
        """Return the output (B, C', H, W) for ``x``, with the channels innermost."""

    def place_for(self, raw: Tensor) -> Tensor:
        """Return a tensor for the gradient of ``raw``, an output, to be written to."""
        return torch.empty_like(raw, memory_format=torch.channels_last)

    @abstractmethod
    def backward(self, d_raw: Tensor, x: Tensor, of_input: bool, of_weight: bool) -> Tensor | None:
        """Return the gradient of the input, and add that of the weight to the sum of all steps.

        Parameters
        ----------
        d_raw
            Gradient of the output, in its place.
        x
            The input.
        of_input, of_weight
            Which of the two are wanted.

        Returns
        -------
        Tensor or None
            The gradient of the input, if it is wanted.
        """

    def take(self) -> Tensor | None:
        """Return the sum of the weight's gradients, and forget it; ``None`` if there is none."""
        total = self._total
        self.forget()
        return total

    def forget(self) -> None:
        """Forget what another backward pass has left."""
        self._total = None


class FusedLayer:
    """A gate convolution as the fast path sees it, during one unrolling.

    Parameters
    ----------
    module
        The gate convolution of the network.
    convolution
        What convolves in its stead.
    kernels
        What does the elementwise work.
    kind
        Type of the convolution's input and output.

    Attributes
    ----------
    gain, bias
        Of the normalisation, or the bias of the convolution alone; ``None`` for none.
    affines
        What of gain and bias belongs to each group.
    """

    def __init__(
        self,
        module: GateConvolution,
        convolution: Convolution,
        kernels: NativeKernels,
        kind: torch.dtype,
    ) -> None:
        norm = module.norm if isinstance(module.norm, nn.GroupNorm) else None
        self.groups, self.kernels, self.kind = module.group_channels, kernels, kind
        self.convolution = convolution
        self.epsilon = 0.0 if norm is None else norm.eps
        self.gain = None if norm is None else norm.weight.contiguous()
        bias = module.convolution.bias if norm is None else norm.bias
        self.bias = None if bias is None else bias.contiguous()
        self.state_kind = torch.promote_types(kind, torch.float32)
        self._weight = module.convolution.weight
        self.affines = list(zip(self._split(self.gain), self._split(self.bias), strict=True))
        self._pass = -1

    def weight(self) -> Tensor:
        """Return the weight for all steps: its gradient comes when they are done.

        The layer does not keep it: it leads to the graph, and the graph to the layer.
        """
        weight: Tensor = _Weight.apply(self._weight, self)
        return weight

    def prepare(self, x: Tensor) -> Tensor:
        """Return an input in the type and memory format that it is convolved in."""
        return x.to(self.kind, memory_format=torch.channels_last)

    def convolve(self, x: Tensor, is_zero: bool) -> tuple[Tensor, Tensor | None]:
        """Return the output for a prepared input, and if it is normalised its statistics."""
        if is_zero:
            b, _, height, width = x.shape
            raw = empty_channels_last((b, sum(self.groups), height, width), x).zero_()
        else:
            raw = self.convolution.convolve(x)
        return raw, None if self.gain is None else self.kernels.statistics(raw, self.epsilon)

    def split(self, raw: Tensor) -> tuple[Tensor, ...]:
        """Return the groups of gates of an output."""
        pieces: tuple[Tensor, ...] = raw.split_with_sizes(self.groups, dim=1)
        return pieces

    def begin_backward(self) -> None:
        """Forget what another backward pass left: one that ended early, or left the weights out."""
        # not public; torch's own recomputation tells passes apart by it
        current = torch._C._current_graph_task_id()
        if current != self._pass:
            self._pass = current
            self.convolution.forget()

    def _split(self, values: Tensor | None) -> Sequence[Tensor | None]:
        if values is None:
            return [None] * len(self.groups)
        pieces: Sequence[Tensor] = values.detach().split(self.groups)
        return pieces


class _Weight(Function):
    """Hand a weight to all steps, and its gradient back when they are done."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, layer: FusedLayer) -> Tensor:
        ctx.set_materialize_grads(False)
        ctx.layer = layer
        return weight.view_as(weight)

    @staticmethod
    def backward(ctx: Any, _: Tensor | None) -> tuple[Tensor | None, None]:
        # the steps return nothing for the weight: autograd comes here once all of them are done
        refuse_second_derivative()
        ctx.layer.begin_backward()
        convolution: Convolution = ctx.layer.convolution
        gradient = convolution.take()
        if gradient is None:  # all inputs were zero
            gradient = torch.zeros_like(convolution.values)
        return gradient, None


def refuse_second_derivative() -> None:
    """Refuse to be differentiated once more: what a backward pass returns is no part of a graph.

    Raises
    ------
    RuntimeError
        In a backward pass with ``create_graph=True``.
    """
    if torch.is_grad_enabled():
        raise RuntimeError(
            "the fast path has no second derivatives, for which `create_graph=True` asks; make the "
            "network with `fast_path=False`"
        )
