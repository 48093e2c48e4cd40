"""The elementwise work of a step as formulas: what the fast path computes, and its gradients.

The truth that the kernels of the fast path are held to, and themselves its kernels where no others
are: any floating-point type, any device. Legend: B batch, C channels of a state, H height, W width,
G gates, K sources (summands of a pre-activation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["N_GATES", "FormulaKernels", "Kernels", "Mode", "Part", "Source"]

Mode = Literal["remember", "admit", "emit"]
"""How gates act on a state: f . state + i . g, state + i . g, or o . tanh(state)."""

N_GATES: dict[Mode, int] = {"remember": 3, "admit": 2, "emit": 1}
"""Gates of each mode, in the order g, i, f; that of ``"emit"`` is o."""


class Source(NamedTuple):
    """A summand of pre-activations: channels of a convolution's output, not yet normalised.

    Attributes
    ----------
    raw
        The channels, of shape (B, G * C, H, W).
    stats
        Mean and 1 / standard deviation of each sample of the whole output, of shape (B, 2);
        ``None`` without normalisation.
    gain, bias
        What normalised channels are multiplied with, and what is added, of shape (G * C,); ``None``
        for 1 and 0.
    """

    raw: Tensor
    stats: Tensor | None
    gain: Tensor | None
    bias: Tensor | None


class Part(NamedTuple):
    """Gradient of a source: of the pre-activations, and what gain and bias need of it.

    Attributes
    ----------
    d_pre
        Gradient of the pre-activations, of shape (B, G * C, H, W).
    sums
        Its sums over the grid, and those of its product with the normalised channels, of shape
        (B, 2, G * C).
    """

    d_pre: Tensor
    sums: Tensor


class Kernels(Protocol):
    """The elementwise work of a step and of its backward pass."""

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        """Return mean and 1 / standard deviation of each sample, (B, 2), of ``raw`` (B, C, H, W).

        ``epsilon`` is added to the variance.
        """

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        """Return the result of gates, of the shape (B, C, H, W) and the type of ``state``."""

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ``gates``, from that of its result.

        Returns
        -------
        d_pre
            Gradient of the pre-activations, of shape (B, G * C, H, W), of the type of the sources.
        d_state
            Gradient of the state.
        sums
            For each source what ``Part.sums`` is, of shape (K, B, 2, G * C).
        """

    def raw_gradient(
        self,
        parts: Sequence[Part],
        raw: Tensor,
        stats: Tensor | None,
        gain: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Write the gradient of a convolution's output, and return that of gain and bias.

        Parameters
        ----------
        parts
            Gradients of the sources that the output was split into, in the order of channels.
        raw, stats, gain
            The output, of shape (B, C, H, W), and how it was normalised, as for ``Source``.
        out
            Where its gradient is written, of its shape.

        Returns
        -------
        Tensor
            Gradients of bias and gain, of shape (2, C).
        """


class FormulaKernels:
    """``Kernels`` in PyTorch, which compute in the type of the states."""

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        """Return mean and 1 / standard deviation; see ``Kernels``."""
        kind = torch.promote_types(raw.dtype, torch.float32)
        variance, mean = torch.var_mean(raw.to(kind), dim=(1, 2, 3), correction=0)
        return torch.stack([mean, torch.rsqrt(variance + epsilon)], dim=1)

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        """Return the result of gates; see ``Kernels``."""
        pre = sum(_affine(source, state.dtype) for source in sources)
        gates = torch.chunk(pre, N_GATES[mode], dim=1)  # type: ignore[arg-type]
        if mode == "emit":
            return torch.sigmoid(gates[0]) * torch.tanh(state)
        kept = torch.sigmoid(gates[2]) * state if mode == "remember" else state
        return kept + torch.sigmoid(gates[1]) * torch.tanh(gates[0])

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ``gates``; see ``Kernels``."""
        pre = sum(_affine(source, state.dtype) for source in sources)
        gates = torch.chunk(pre, N_GATES[mode], dim=1)  # type: ignore[arg-type]
        if mode == "emit":
            o, content = torch.sigmoid(gates[0]), torch.tanh(state)
            d_pre = grad * content * o * (1 - o)
            d_state = grad * o * (1 - content * content)
        else:
            g, i = torch.tanh(gates[0]), torch.sigmoid(gates[1])
            d_gates, d_state = [grad * i * (1 - g * g), grad * g * i * (1 - i)], grad
            if mode == "remember":
                f = torch.sigmoid(gates[2])
                d_gates.append(grad * state * f * (1 - f))
                d_state = grad * f
            d_pre = torch.cat(d_gates, dim=1)
        sums = torch.stack(
            [
                torch.stack([d_pre.sum((2, 3)), (d_pre * _normalised(source, d_pre)).sum((2, 3))])
                for source in sources
            ]
        )
        return d_pre.to(sources[0].raw.dtype), d_state, sums.transpose(1, 2)

    def raw_gradient(
        self,
        parts: Sequence[Part],
        raw: Tensor,
        stats: Tensor | None,
        gain: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Write the gradient of a convolution's output; see ``Kernels``."""
        d_pre = torch.cat([part.d_pre for part in parts], dim=1)
        sums = torch.cat([part.sums for part in parts], dim=2)
        if stats is None or gain is None:
            out.copy_(d_pre)
            return sums.sum(0)
        mean, rstd = (each[:, None, None, None] for each in stats.unbind(1))
        n_values = raw[0].numel()
        plain, weighted = ((sums * gain).sum(2) / n_values)[..., None, None, None].unbind(1)
        normalised = (raw - mean) * rstd
        out.copy_(rstd * (gain[:, None, None] * d_pre - plain - normalised * weighted))
        return sums.sum(0)


def _normalised(source: Source, like: Tensor) -> Tensor:
    raw = source.raw.to(like.dtype)
    if source.stats is None:
        return raw
    mean, rstd = source.stats[:, :, None, None, None].unbind(1)
    return (raw - mean) * rstd


def _affine(source: Source, kind: torch.dtype) -> Tensor:
    """Return the pre-activations that a source adds, of a type."""
    normalised = _normalised(source, torch.empty((), dtype=kind, device="meta"))
    if source.gain is not None:
        normalised = normalised * source.gain[:, None, None]
    return normalised if source.bias is None else normalised + source.bias[:, None, None]
