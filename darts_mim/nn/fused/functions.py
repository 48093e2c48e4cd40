"""Differentiable pieces of the fast path: a normalised convolution, and gates, in one pass each.

Between them a convolution's output travels as it is, beside what normalises it: the gates apply the
normalisation as they read, and so does their backward pass. By contract the gradient that the gates
hand back for an output is that of the pre-activations it was normalised to, and that of its
*carrier*, a tensor of no meaning going forward, brings the sums that the gradients of the
normalisation need.

Legend: B batch, C channels of a state, H height, W width, G gates, K sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from darts_mim.nn.fused.layers import FusedLayer, refuse_second_derivative
from darts_mim.nn.fused.native import NativeKernels, Part, Source
from darts_mim.nn.gates import Mode


class Summand(NamedTuple):
    """A source of pre-activations, and where gradients are wanted its carrier, (B, 2, G * C)."""

    source: Source
    carrier: Tensor | None


def convolve(layer: FusedLayer, weight: Tensor, x: Tensor, may_be_zero: bool) -> list[Summand]:
    """Convolve to the layer's groups of gates.

    Parameters
    ----------
    layer
        The layer.
    weight
        Its weight, as ``layer.weight`` has returned it.
    x
        Its input, of shape (B, in_channels, H, W).
    may_be_zero
        Whether to look if the input is all zero, like a state before the first step, which needs
        no convolution.

    Returns
    -------
    list of Summand
        One for each group.
    """
    is_zero = may_be_zero and not x.any()
    if not torch.is_grad_enabled():
        raw, stats = layer.convolve(layer.prepare(x), is_zero)
        raws, carriers = layer.split(raw), (None,) * len(layer.groups)
    else:
        outputs = _Convolution.apply(x, weight, layer.gain, layer.bias, layer, is_zero)
        raws, carriers, stats = outputs[:-1:2], outputs[1:-1:2], outputs[-1]
    return [
        Summand(Source(raw, stats, gain, bias), carrier)
        for raw, carrier, (gain, bias) in zip(raws, carriers, layer.affines, strict=True)
    ]


def act(kernels: NativeKernels, mode: Mode, summands: Sequence[Summand], state: Tensor) -> Tensor:
    """Let gates, whose pre-activations are the sum of ``summands``, act on a state.

    Parameters
    ----------
    kernels
        What computes.
    mode
        How they act.
    summands
        K summands of the pre-activations.
    state
        The state, of shape (B, C, H, W).

    Returns
    -------
    Tensor
        The new state, or what is read out of it, of the state's shape.
    """
    sources, carriers = zip(*summands, strict=True)
    state = state.to(torch.promote_types(state.dtype, torch.float32))
    if not torch.is_grad_enabled():
        return kernels.gates(mode, sources, state)
    raws = [source.raw for source in sources]
    result: Tensor = _Gates.apply(state, kernels, mode, sources, *raws, *carriers)
    return result


class _Convolution(Function):
    """A convolution, and the statistics that normalise it."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        gain: Tensor | None,
        bias: Tensor | None,
        layer: FusedLayer,
        is_zero: bool,
    ) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        x = layer.prepare(x)
        raw, stats = layer.convolve(x, is_zero)
        ctx.layer, ctx.is_zero = layer, is_zero
        # the weight, too: autograd sees then if it has changed in between
        ctx.save_for_backward(x, raw, stats, gain, layer.convolution.values)
        empty = raw.new_empty((), dtype=layer.state_kind)
        outputs: list[Tensor | None] = []
        for piece in layer.split(raw):
            outputs += piece, empty.expand(len(x), 2, piece.shape[1])
        if stats is not None:
            ctx.mark_non_differentiable(stats)
        return (*outputs, stats)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        layer: FusedLayer = ctx.layer
        layer.begin_backward()
        x, raw, stats, gain, _ = ctx.saved_tensors
        pairs = zip(grads[:-1:2], grads[1:-1:2], layer.groups, strict=True)
        parts = [_part_of(d_pre, sums, n, raw, layer.state_kind) for d_pre, sums, n in pairs]
        d_raw = layer.convolution.place_for(raw)
        d_bias, d_gain = layer.kernels.raw_gradient(parts, raw, stats, gain, d_raw).unbind(0)
        of_input, of_weight, of_gain, of_bias, *_ = ctx.needs_input_grad
        of_weight = of_weight and not ctx.is_zero  # zeros add nothing
        d_x = layer.convolution.backward(d_raw, x, of_input, of_weight)
        return d_x, None, d_gain if of_gain else None, d_bias if of_bias else None, None, None


def _part_of(
    d_pre: Tensor | None, sums: Tensor | None, channels: int, raw: Tensor, kind: torch.dtype
) -> Part:
    """Return the gradient of a source of some ``channels``, zeros where nothing read it."""
    if d_pre is None or sums is None:
        b, _, height, width = raw.shape
        sums = raw.new_zeros(b, 2, channels, dtype=kind)
        return Part(raw.new_zeros(b, channels, height, width), sums)
    return Part(d_pre, sums)


class _Gates(Function):
    """Gates on a state, of pre-activations that are normalised on the way."""

    @staticmethod
    def forward(
        ctx: Any,
        state: Tensor,
        kernels: NativeKernels,
        mode: Mode,
        sources: tuple[Source, ...],
        *raws_and_carriers: Tensor | None,
    ) -> Tensor:
        ctx.kernels, ctx.mode = kernels, mode
        ctx.save_for_backward(state, *chain.from_iterable(sources))
        return kernels.gates(mode, sources, state)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        state, *saved = ctx.saved_tensors
        n = len(Source._fields)
        sources = [Source(*saved[first : first + n]) for first in range(0, len(saved), n)]
        d_pre, d_state, sums = ctx.kernels.gates_backward(ctx.mode, sources, state, grad)
        grads = d_state, None, None, None, *(d_pre for _ in sources), *sums.unbind(0)
        wanted = ctx.needs_input_grad  # not of a carrier where the convolution wants no gradients
        return tuple(
            each if is_wanted else None for each, is_wanted in zip(grads, wanted, strict=True)
        )
