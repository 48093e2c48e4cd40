"""The elementwise work of a step as formulas in PyTorch: what the kernels in C are held to.

They take any floating-point type. Legend: B batch, C channels of a state, H height, W width, G
gates, K sources (summands of a pre-activation).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from darts_mim.nn.fused.native import N_GATES, Part, Source
from darts_mim.nn.gates import Mode


class FormulaKernels:
    """What ``NativeKernels`` does, in the type of the states."""

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        kind = torch.promote_types(raw.dtype, torch.float32)
        variance, mean = torch.var_mean(raw.to(kind), dim=(1, 2, 3), correction=0)
        return torch.stack([mean, torch.rsqrt(variance + epsilon)], dim=1)

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        pre = sum(_affine(source, state.dtype) for source in sources)
        gates = torch.chunk(pre, N_GATES[mode], dim=1)
        if mode == "emit":
            return torch.sigmoid(gates[0]) * torch.tanh(state)
        kept = torch.sigmoid(gates[2]) * state if mode == "remember" else state
        return kept + torch.sigmoid(gates[1]) * torch.tanh(gates[0])

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        pre = sum(_affine(source, state.dtype) for source in sources)
        gates = torch.chunk(pre, N_GATES[mode], dim=1)
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
