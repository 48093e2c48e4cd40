"""Parts that the cells share: gate convolutions, what gates do, the memory, the hidden state.

Letters and conventions are those of ``darts_mim.nn.cells``.

A faster implementation may stand in for the gate convolutions of a network while it is unrolled: it
sets the context variable ``stand_in``. The plain cells know no more of it than the two protocols
below, so that imports go one way, from the fast path to the cells. A context variable, unlike an
attribute of the modules, holds for one thread and one unrolling.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor, nn

Mode = Literal["remember", "admit", "emit"]
"""How gates act on a state; see the functions of these names."""


class PendingGates(Protocol):
    """Pre-activations that are not computed before the gates act, but can be added up."""

    def __add__(self, other: Any) -> Any: ...

    def act(self, mode: Mode, state: Tensor) -> Tensor:
        """Return what the function of the name ``mode`` returns for these gates and a state."""


class StandIn(Protocol):
    """A faster implementation of the gate convolutions of a network."""

    def convolve(self, module: GateConvolution, x: Tensor) -> tuple[PendingGates, ...] | None:
        """Return the pre-activations of ``module``, ``None`` if it is of another network."""


stand_in: ContextVar[StandIn | None] = ContextVar("stand-in for gate convolutions", default=None)


def remember(gates: Tensor | PendingGates, state: Tensor) -> Tensor:
    """Return s(f) . state + s(i) . tanh(g) for the pre-activations of g, i and f side by side."""
    if not isinstance(gates, Tensor):
        return gates.act("remember", state)
    g, i, f = gates.chunk(3, dim=1)
    return torch.sigmoid(f) * state + torch.sigmoid(i) * torch.tanh(g)


def admit(gates: Tensor | PendingGates, kept: Tensor) -> Tensor:
    """Return kept + s(i) . tanh(g) for the pre-activations of g and i side by side."""
    if not isinstance(gates, Tensor):
        return gates.act("admit", kept)
    g, i = gates.chunk(2, dim=1)
    return kept + torch.sigmoid(i) * torch.tanh(g)


def emit(gate: Tensor | PendingGates, content: Tensor) -> Tensor:
    """Return s(o) . tanh(content) for the pre-activation of o."""
    if not isinstance(gate, Tensor):
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

        Returns
        -------
        tuple
            For each number n in ``gates`` a tensor of shape (B, n * C, H, W), or the
            ``PendingGates`` of a stand-in.
        """
        # PyTorch's compiler cannot look into a context variable, and compiles the plain cells
        other = None if torch.compiler.is_compiling() else stand_in.get()
        pending = None if other is None else other.convolve(self, x)
        if pending is not None:
            return pending
        gates: Tensor = self.norm(self.convolution(x))
        return tuple(gates.split(self.group_channels, dim=1))

    @torch.no_grad()
    def add_bias(self, gate: int, value: float) -> None:
        """Add a constant to the initial bias of one gate, counted from 0."""
        layer = self.norm if isinstance(self.norm, nn.GroupNorm) else self.convolution
        cast(Tensor, layer.bias).chunk(self.n_gates)[gate].add_(value)


class RecurrentCell(nn.Module):
    """A cell whose matrices are convolutions.

    Parameters
    ----------
    in_channels
        Channels of the input: the patches of a frame, or the hidden state of the layer below.
    hidden_channels
        Channels C of the states and of the memory.
    kernel_size
        Side of the square kernels, odd.
    layer_norm
        Whether each convolution's output is layer-normalised.
    forget_bias
        Constant added to the initial bias of the forget gates.
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        kernel_size: int = 5,
        *,
        layer_norm: bool = True,
        forget_bias: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_channels, self.hidden_channels = in_channels, hidden_channels
        self.kernel_size, self.layer_norm, self.forget_bias = kernel_size, layer_norm, forget_bias

    def input_gates(self, *gates: int, forget: Sequence[int] = ()) -> GateConvolution:
        """Make the convolution of the input. It has the biases, with that of ``forget`` gates."""
        convolution = self.gate_convolution(self.in_channels, gates, bias=True)
        for gate in forget:
            convolution.add_bias(gate, self.forget_bias)
        return convolution

    def state_gates(self, *gates: int) -> GateConvolution:
        """Make the convolution of a state."""
        return self.gate_convolution(self.hidden_channels, gates)

    def gate_convolution(
        self, channels: int, gates: Sequence[int], bias: bool = False
    ) -> GateConvolution:
        """Make a convolution of some channels to groups of gates."""
        return GateConvolution(
            channels,
            self.hidden_channels,
            gates,
            self.kernel_size,
            layer_norm=self.layer_norm,
            bias=bias,
        )


class SpatiotemporalMemory(nn.Module):
    """Update the memory M that travels through all layers.

    M[t,l] = f_m . M[t,l-1] + i_m . g_m, each gate the sum of the input's share and of a
    convolution of M[t,l-1].

    Parameters
    ----------
    cell
        The cell that it is a part of.
    """

    def __init__(self, cell: RecurrentCell) -> None:
        super().__init__()
        self.from_memory = cell.state_gates(3)

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
    cell
        The cell that it is a part of.
    """

    def __init__(self, cell: RecurrentCell) -> None:
        super().__init__()
        channels = cell.hidden_channels
        self.from_memories = cell.gate_convolution(2 * channels, (1,))
        self.merge = nn.Conv2d(2 * channels, channels, kernel_size=1, bias=False)

    def forward(self, o: Any, c: Tensor, m: Tensor) -> Tensor:
        """Return the hidden state for the output gate's partial sum ``o``; all (B, C, H, W)."""
        memories = torch.cat([c, m], dim=1)
        (o_memories,) = self.from_memories(memories)
        return emit(o + o_memories, self.merge(memories))
