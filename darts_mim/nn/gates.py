"""Parts that the cells share: gate convolutions, what gates do, the memory, the hidden state.

Letters and conventions are those of ``darts_mim.nn.cells``. On the fast path a gate convolution
returns pre-activations that are not added up yet, and ``remember``, ``admit`` and ``emit`` hand
them on; what is written here is what they compute.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from darts_mim.nn.fused.unrolling import PreActivations, active_unrolling

__all__ = [
    "GateConvolution",
    "HiddenOutput",
    "SpatiotemporalMemory",
    "admit",
    "emit",
    "remember",
]


def remember(gates: Tensor | PreActivations, state: Tensor) -> Tensor:
    """Return s(f) . state + s(i) . tanh(g) for the pre-activations of g, i and f side by side."""
    if isinstance(gates, PreActivations):
        return gates.act("remember", state)
    g, i, f = gates.chunk(3, dim=1)
    return torch.sigmoid(f) * state + torch.sigmoid(i) * torch.tanh(g)


def admit(gates: Tensor | PreActivations, kept: Tensor) -> Tensor:
    """Return kept + s(i) . tanh(g) for the pre-activations of g and i side by side."""
    if isinstance(gates, PreActivations):
        return gates.act("admit", kept)
    g, i = gates.chunk(2, dim=1)
    return kept + torch.sigmoid(i) * torch.tanh(g)


def emit(gate: Tensor | PreActivations, content: Tensor) -> Tensor:
    """Return s(o) . tanh(content) for the pre-activation of o."""
    if isinstance(gate, PreActivations):
        return gate.act("emit", content)
    return torch.sigmoid(gate) * torch.tanh(content)


class GateConvolution(nn.Module):
    """Convolve one tensor to the pre-activations of several gates.

    Parameters
    ----------
    in_channels
        Channels of the tensor read.
    hidden_channels
        Channels C of each gate.
    gates
        How many gates each of the tensors has that are returned.
    kernel_size
        Side of the square kernel, odd.
    layer_norm
        Whether to normalise the output over (channels, H, W).
    bias
        Whether to add a bias without layer normalisation (which brings its own). An equation
        sums several convolutions and has one bias: its first convolution carries it.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        gates: Sequence[int],
        kernel_size: int,
        *,
        layer_norm: bool,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.n_gates = n_gates = sum(gates)
        self.group_channels = [count * hidden_channels for count in gates]
        self.convolution = nn.Conv2d(
            in_channels,
            n_gates * hidden_channels,
            kernel_size,
            padding=kernel_size // 2,
            bias=bias and not layer_norm,
        )
        self.norm: nn.GroupNorm | nn.Identity = (
            nn.GroupNorm(1, n_gates * hidden_channels) if layer_norm else nn.Identity()
        )

    def forward(self, x: Tensor) -> tuple[Any, ...]:
        """Return pre-activations of gates side by side, for ``x`` (B, in_channels, H, W).

        Parameters
        ----------
        x
            What is convolved.

        Returns
        -------
        tuple of Tensor
            For each number n in ``gates`` a tensor of shape (B, n * C, H, W); on the fast path
            what stands in for it, and can be added up like it.
        """
        unrolling = active_unrolling()
        if unrolling is not None and unrolling.knows(self):
            return unrolling.convolve(self, x)
        gates: Tensor = self.norm(self.convolution(x))
        return tuple(gates.split(self.group_channels, dim=1))

    @torch.no_grad()
    def add_bias(self, gate: int, value: float) -> None:
        """Add a constant to the initial bias of one gate, counted from 0."""
        layer = self.norm if isinstance(self.norm, nn.GroupNorm) else self.convolution
        cast(Tensor, layer.bias).chunk(self.n_gates)[gate].add_(value)


class SpatiotemporalMemory(nn.Module):
    """Update the memory M that travels through all layers.

    M[t,l] = f_m . M[t,l-1] + i_m . g_m, each gate the sum of the input's share and of a
    convolution of M[t,l-1].

    Parameters
    ----------
    hidden_channels, kernel_size, layer_norm
        As for the cells.
    """

    def __init__(self, hidden_channels: int, kernel_size: int, *, layer_norm: bool) -> None:
        super().__init__()
        self.from_memory = GateConvolution(
            hidden_channels, hidden_channels, (3,), kernel_size, layer_norm=layer_norm
        )

    def forward(self, gates: Any, m: Tensor) -> Tensor:
        """Return the updated memory, for the input's share of g_m, i_m and f_m (B, 3 * C, H, W)."""
        (own_gates,) = self.from_memory(m)
        return remember(gates + own_gates, m)


class HiddenOutput(nn.Module):
    """Read the hidden state out of the two memories.

    o = s(o_x + o_h + Wo * [C, M]) and H = o . tanh(W1x1 * [C, M]); Wo stands for the paper's
    Wco and Wmo side by side.

    Parameters
    ----------
    hidden_channels, kernel_size, layer_norm
        As for the cells.
    """

    def __init__(self, hidden_channels: int, kernel_size: int, *, layer_norm: bool) -> None:
        super().__init__()
        self.from_memories = GateConvolution(
            2 * hidden_channels, hidden_channels, (1,), kernel_size, layer_norm=layer_norm
        )
        self.merge = nn.Conv2d(2 * hidden_channels, hidden_channels, kernel_size=1, bias=False)

    def forward(self, o: Any, c: Tensor, m: Tensor) -> Tensor:
        """Return the hidden state for the output gate's partial sum ``o``; all (B, C, H, W)."""
        memories = torch.cat([c, m], dim=1)
        (o_memories,) = self.from_memories(memories)
        return emit(o + o_memories, self.merge(memories))
