"""PredRNN++: causal LSTM layers and a gradient highway between the first two of them.

Legend: B batch, C channels of a layer, H height, W width, p patch size. In the equations ``*`` is a
"same" convolution, ``.`` the elementwise product, s() the logistic function, [a, b] channels side
by side; t is the time step and l the layer. The gates that the paper marks with a prime carry the
suffix ``_m`` here.

References
----------
.. [1] Y. Wang, Z. Gao, M. Long, J. Wang, P. S. Yu, "PredRNN++: Towards A Resolution of the
   Deep-in-Time Dilemma in Spatiotemporal Predictive Learning", ICML 2018, section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts_mim.nn.gates import RecurrentCell
from darts_mim.nn.recurrent import RecurrentNetwork, memory_paths


class CausalLSTMState(NamedTuple):
    """State of a causal LSTM cell: hidden state ``h`` and cell state ``c``, each (B, C, H, W)."""

    h: Tensor
    c: Tensor


class CausalLSTMCell(RecurrentCell):
    """Causal LSTM: two memories, one updated after and by the other.

    ::

        (g, i, f)    = (tanh, s, s)(W1 * [X, H[t-1,l], C[t-1,l]])
        C[t,l]       = f . C[t-1,l] + i . g
        (g', i', f') = (tanh, s, s)(W2 * [X, C[t,l], M[t,l-1]])
        M[t,l]       = f' . tanh(W3 * M[t,l-1]) + i' . g'
        o            = tanh(W4 * [X, C[t,l], M[t,l]])
        H[t,l]       = o . tanh(W5 * [C[t,l], M[t,l]])

    W5 is a 1x1 convolution.

    Parameters
    ----------
    in_channels, hidden_channels, **options
        As for ``RecurrentCell``; by default without layer normalisation, as in the paper.

    References
    ----------
    PredRNN++ [1]_ of this module, section 4.1, equation 1.

    Examples
    --------
    >>> cell = CausalLSTMCell(in_channels=16, hidden_channels=8)
    >>> x, zero = torch.rand(2, 16, 6, 5), torch.zeros(2, 8, 6, 5)
    >>> m, state = cell(x, zero, CausalLSTMState(h=zero, c=zero))
    >>> state.h.shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, *, layer_norm: bool = False, **options: Any
    ) -> None:
        super().__init__(in_channels, hidden_channels, layer_norm=layer_norm, **options)
        self.from_input = self.input_gates(1, 1, 1, 1, 1, 1, 1, forget=(2, 5))
        self.from_hidden, self.from_cell = (self.state_gates(1, 1, 1) for _ in range(2))
        self.from_memory, self.from_new_cell = (self.state_gates(1, 1, 1, 1) for _ in range(2))
        self.from_new_memory = self.state_gates(1)
        self.merge = nn.Conv2d(2 * hidden_channels, hidden_channels, kernel_size=1, bias=False)

    def forward(
        self, x: Tensor, m: Tensor, state: CausalLSTMState
    ) -> tuple[Tensor, CausalLSTMState]:
        """Advance one time step; as ``STLSTMCell.forward``."""
        h, c = state
        g_x, i_x, f_x, g_mx, i_mx, f_mx, o_x = self.from_input(x)
        g_h, i_h, f_h = self.from_hidden(h)
        g_c, i_c, f_c = self.from_cell(c)
        kept = torch.sigmoid(f_x + f_h + f_c) * c
        c = kept + torch.sigmoid(i_x + i_h + i_c) * torch.tanh(g_x + g_h + g_c)
        g_mc, i_mc, f_mc, o_c = self.from_new_cell(c)
        g_mm, i_mm, f_mm, m = self.from_memory(m)
        kept = torch.sigmoid(f_mx + f_mc + f_mm) * torch.tanh(m)
        m = kept + torch.sigmoid(i_mx + i_mc + i_mm) * torch.tanh(g_mx + g_mc + g_mm)
        (o_m,) = self.from_new_memory(m)
        o = torch.tanh(o_x + o_c + o_m)
        h = o * torch.tanh(self.merge(torch.cat([c, m], dim=1)))
        return m, CausalLSTMState(h, c)


class GradientHighwayUnit(RecurrentCell):
    """Gradient highway: a short way through time, from the first layer to the second.

    ::

        P = tanh(Wpx * X + Wpz * Z[t-1])    S = s(Wsx * X + Wsz * Z[t-1])
        Z[t] = S . P + (1 - S) . Z[t-1]

    Parameters
    ----------
    channels
        Channels C of the input and of the state Z.
    **options
        As for ``RecurrentCell``; by default without layer normalisation, as in the paper.

    References
    ----------
    PredRNN++ [1]_ of this module, section 4.2, equation 2.

    Examples
    --------
    >>> unit = GradientHighwayUnit(channels=8)
    >>> unit(torch.rand(2, 8, 6, 5), torch.zeros(2, 8, 6, 5)).shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(self, channels: int, *, layer_norm: bool = False, **options: Any) -> None:
        super().__init__(channels, channels, layer_norm=layer_norm, **options)
        self.from_input, self.from_state = self.input_gates(1, 1), self.state_gates(1, 1)

    def forward(self, x: Tensor, z: Tensor) -> Tensor:
        """Return Z[t] for ``x`` and Z[t-1], each (B, C, H, W)."""
        p_x, s_x = self.from_input(x)
        p_z, s_z = self.from_state(z)
        switch = torch.sigmoid(s_x + s_z)
        return switch * torch.tanh(p_x + p_z) + (1 - switch) * z


class PredRNNPlusPlusState(NamedTuple):
    """State of a PredRNN++ network between two frames.

    Attributes
    ----------
    layers
        State of each layer, from the bottom to the top.
    m
        Memory of the top layer, of shape (B, hidden_channels[-1], H / p, W / p).
    z
        State of the gradient highway, of shape (B, hidden_channels[0], H / p, W / p).
    dropout_masks
        What dropout multiplies each layer's hidden state with, of shape (B, channels, 1, 1); empty
        without dropout.
    """

    layers: tuple[CausalLSTMState, ...]
    m: Tensor
    z: Tensor
    dropout_masks: tuple[Tensor, ...] = ()


class PredRNNPlusPlusNetwork(RecurrentNetwork[PredRNNPlusPlusState]):
    """PredRNN++: causal LSTM layers, a gradient highway, and a 1x1 convolution to frames.

    The highway lies between the first two layers. The memory M of the top layer is that of the
    bottom layer at the next step.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top; at least two layers. Where the widths of
        two layers that hand on the memory differ, it passes a 1x1 convolution.
    layer_norm
        Whether each convolution's output is layer-normalised. The paper has no normalisation; with
        it, gradients grow with every frame.
    **options
        All else that a ``RecurrentNetwork`` takes.

    Raises
    ------
    TypeError
        If a parameter is of a wrong type.
    ValueError
        If a parameter is out of its range.

    References
    ----------
    PredRNN++ [1]_ of this module, section 4.3 and figure 3.

    Examples
    --------
    >>> network = PredRNNPlusPlusNetwork(in_channels=2, hidden_channels=(8, 8), patch_size=4)
    >>> frames, state = network(torch.rand(3, 5, 2, 16, 12), horizon=4)
    >>> frames.shape  # 4 predictions of context frames, then the 4 frames of the forecast
    torch.Size([3, 8, 2, 16, 12])
    """

    least_layers = 2

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        *,
        layer_norm: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, hidden_channels, layer_norm=layer_norm, **options)
        widths, cell_options = self.hidden_channels, self.cell_options
        self.cells = nn.ModuleList(
            CausalLSTMCell(below, width, **cell_options)
            for below, width in pairwise((self.patch_channels, *widths))
        )
        self.highway = GradientHighwayUnit(widths[0], **cell_options)
        self.memory_paths = memory_paths(widths)
        self.add_head()

    def initial_state(self, patches: Tensor) -> PredRNNPlusPlusState:
        """Return the all-zero state before the first frame; see ``RecurrentNetwork``."""
        zeros = self.zeros(patches)
        return PredRNNPlusPlusState(
            tuple(CausalLSTMState(zero, zero) for zero in zeros),
            m=zeros[-1],
            z=zeros[0],
            dropout_masks=self.dropout_masks(patches),
        )

    def advance(
        self, x: Tensor, state: PredRNNPlusPlusState
    ) -> tuple[Tensor, PredRNNPlusPlusState]:
        """Advance all layers one time step; see ``RecurrentNetwork``."""
        h, m, z, masks = x, state.m, state.z, state.dropout_masks
        layers: list[CausalLSTMState] = []
        for level, cell in enumerate(self.cells):
            m, layer = cell(h, self.memory_paths[level](m), state.layers[level])
            layers.append(layer)
            h = layer.h * masks[level] if masks else layer.h
            if level == 0:
                h = z = self.highway(h, z)
        return h, PredRNNPlusPlusState(tuple(layers), m, z, masks)
