"""Convolutions of the fast path, whose weight gradients are taken over many time steps at once.

Legend: B batch, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd import Function

from darts_mim.nn.fused.formulas import Kernels

__all__ = ["FusedLayer", "WeightGradient", "refuse_second_derivative"]


class WeightGradient:
    """The gradient of a convolution's weight: the sum over the steps, some of them at a time.

    On a processor with units for matrices a convolution of many steps' batches is faster than one
    of each.

    Parameters
    ----------
    n_at_once
        Of how many steps the gradient is taken at once.
    """

    def __init__(self, n_at_once: int) -> None:
        self._n_at_once = n_at_once
        self._task = -1
        self._held: list[Tensor] = []
        self._room: Tensor | None = None
        self._total: Tensor | None = None

    def place_for(self, raw: Tensor) -> Tensor:
        """Return where the gradient of ``raw``, an output of the convolution, is to be written."""
        self._begin()
        if self._n_at_once == 1:
            return torch.empty_like(raw, memory_format=torch.channels_last)
        b, first = len(raw), len(raw) * len(self._held)
        if self._room is None:
            self._room = _empty((b * self._n_at_once, *raw.shape[1:]), raw)
        return self._room[first : first + b]

    def add(self, layer: FusedLayer, d_raw: Tensor, x: Tensor, with_input: bool) -> Tensor | None:
        """Add what one step gives.

        Parameters
        ----------
        layer
            The layer.
        d_raw
            Gradient of its output, in its place.
        x
            Its input.
        with_input
            Whether to return the gradient of the input.

        Returns
        -------
        Tensor or None
            That gradient.
        """
        if self._n_at_once == 1:
            d_x, gradient = layer.gradients(d_raw, x, with_input, True)
            self._sum(layer, gradient)
            return d_x
        d_x, _ = layer.gradients(d_raw, x, with_input, False)
        self._held.append(x)
        if len(self._held) == self._n_at_once:
            self._add_held(layer)
        return d_x

    def take(self, layer: FusedLayer) -> Tensor | None:
        """Return the sum, and forget it; ``None`` if nothing was added."""
        self._begin()
        if self._held:
            self._add_held(layer)
        total, self._total, self._room = self._total, None, None
        return total

    def _begin(self) -> None:
        """Forget what another backward pass left: one that ended early, or left the weights out."""
        # not public; torch's own recomputation tells passes apart by it
        task = torch._C._current_graph_task_id()
        if task != self._task:
            self._task, self._held, self._room, self._total = task, [], None, None

    def _add_held(self, layer: FusedLayer) -> None:
        x = torch.cat(self._held)
        self._held = []
        _, gradient = layer.gradients(cast(Tensor, self._room)[: len(x)], x, False, True)
        self._sum(layer, gradient)

    def _sum(self, layer: FusedLayer, gradient: Tensor | None) -> None:
        gradient = cast(Tensor, gradient).to(layer.state_kind)
        self._total = gradient if self._total is None else self._total.add_(gradient)


class FusedLayer:
    """A gate convolution as the fast path sees it, during one unrolling.

    Parameters
    ----------
    convolution, norm
        The convolution, and the normalisation of its output if it has any.
    groups
        Channels of each group of gates.
    kernels
        What does the elementwise work.
    kind
        Type that is convolved in.
    n_at_once
        Of how many steps the weight's gradient is taken at once.

    Attributes
    ----------
    gain, bias
        Of the normalisation, or the bias of the convolution alone; ``None`` for none.
    affines
        What of gain and bias belongs to each group.
    values
        The weight that is convolved with: its values, in the type that is convolved in.
    """

    def __init__(
        self,
        convolution: nn.Conv2d,
        norm: nn.GroupNorm | None,
        groups: Sequence[int],
        kernels: Kernels,
        kind: torch.dtype,
        n_at_once: int,
    ) -> None:
        self.groups, self.kernels, self.kind = list(groups), kernels, kind
        self.epsilon = 0.0 if norm is None else norm.eps
        self.gain = None if norm is None else norm.weight.contiguous()
        bias = convolution.bias if norm is None else norm.bias
        self.bias = None if bias is None else bias.contiguous()
        self.state_kind = torch.promote_types(kind, torch.float32)
        self._padding = [side // 2 for side in convolution.kernel_size]
        self._weight = convolution.weight
        self.values = convolution.weight.detach().to(kind, memory_format=torch.channels_last)
        self.affines = list(zip(self._split(self.gain), self._split(self.bias), strict=True))
        self.weight_gradient = WeightGradient(n_at_once)

    def weight(self) -> Tensor:
        """Return the weight for all steps: its gradient comes when they are done.

        The layer does not keep it: it leads to the graph, and the graph to the layer.
        """
        weight: Tensor = _Weight.apply(self._weight, self)
        return weight

    def convolve(self, x: Tensor) -> Tensor:
        """Return the output, without normalisation and bias."""
        raw = torch.conv2d(x, self.values, padding=self._padding)
        return raw.contiguous(memory_format=torch.channels_last)

    def zeros(self, x: Tensor) -> Tensor:
        """Return the output for an input ``x`` of zeros."""
        shape = len(x), len(self.values), *x.shape[2:]
        return x.new_zeros(shape).contiguous(memory_format=torch.channels_last)

    def gradients(
        self, d_raw: Tensor, x: Tensor, of_input: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        """Return the gradients of the input ``x`` and of the weight, for that of the output."""
        wanted, ones = [of_input, of_weight, False], [1, 1]
        if not any(wanted):
            return None, None
        d_x, d_weight, _ = torch.ops.aten.convolution_backward(
            d_raw, x, self.values, None, ones, self._padding, ones, False, [0, 0], 1, wanted
        )
        return d_x, d_weight

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
        gradient = ctx.layer.weight_gradient.take(ctx.layer)
        # none where all inputs were zero
        return torch.zeros_like(ctx.layer.values) if gradient is None else gradient, None


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
            "network with `fused=False`"
        )


def _empty(shape: tuple[int, ...], like: Tensor) -> Tensor:
    return torch.empty(
        shape, dtype=like.dtype, device=like.device, memory_format=torch.channels_last
    )
