"""Parts that the cells share: gate convolutions, the travelling memory, the hidden state's output.

Letters and conventions are those of ``darts_mim.nn.cells``.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["GateConvolution", "HiddenOutput", "SpatiotemporalMemory"]


class GateConvolution(nn.Module):
    """Convolve one tensor to the pre-activations of several gates.

    Parameters
    ----------
    in_channels
        Channels of the tensor read.
    hidden_channels
        Channels C of each gate.
    n_gates
        Number of gates.
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
        n_gates: int,
        kernel_size: int,
        *,
        layer_norm: bool,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.n_gates = n_gates
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

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return ``n_gates`` tensors of shape (B, C, H, W) for ``x`` (B, in_channels, H, W)."""
        gates: Tensor = self.norm(self.convolution(x))
        return gates.chunk(self.n_gates, dim=1)

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
            hidden_channels, hidden_channels, 3, kernel_size, layer_norm=layer_norm
        )

    def forward(self, g_x: Tensor, i_x: Tensor, f_x: Tensor, m: Tensor) -> Tensor:
        """Return the updated memory; all tensors are (B, C, H, W)."""
        g_m, i_m, f_m = self.from_memory(m)
        return torch.sigmoid(f_x + f_m) * m + torch.sigmoid(i_x + i_m) * torch.tanh(g_x + g_m)


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
            2 * hidden_channels, hidden_channels, 1, kernel_size, layer_norm=layer_norm
        )
        self.merge = nn.Conv2d(2 * hidden_channels, hidden_channels, kernel_size=1, bias=False)

    def forward(self, o: Tensor, c: Tensor, m: Tensor) -> Tensor:
        """Return the hidden state for the output gate's partial sum ``o``; all (B, C, H, W)."""
        memories = torch.cat([c, m], dim=1)
        (o_memories,) = self.from_memories(memories)
        return torch.sigmoid(o + o_memories) * torch.tanh(self.merge(memories))
