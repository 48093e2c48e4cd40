"""ConvLSTM: an LSTM whose matrices are convolutions.

Legend: B batch, C channels of a layer, H height, W width, p patch size. In the equations ``*`` is a
"same" convolution, ``.`` the elementwise product, s() the logistic function.

References
----------
.. [1] X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong, W.-C. Woo, "Convolutional LSTM Network: A
   Machine Learning Approach for Precipitation Nowcasting", NeurIPS 2015, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from darts_mim.nn.gates import RecurrentCell
from darts_mim.nn.recurrent import RecurrentNetwork


class ConvLSTMCellState(NamedTuple):
    """State of a ConvLSTM cell: hidden state ``h`` and cell state ``c``, each (B, C, H, W)."""

    h: Tensor
    c: Tensor


class ConvLSTMCell(RecurrentCell):
    """Convolutional LSTM with peepholes.

    ::

        i = s(Wxi*X + Whi*H[t-1] + wci . C[t-1])    f = s(Wxf*X + Whf*H[t-1] + wcf . C[t-1])
        C[t] = f . C[t-1] + i . tanh(Wxc*X + Whc*H[t-1])
        o = s(Wxo*X + Who*H[t-1] + wco . C[t])      H[t] = o . tanh(C[t])

    The peepholes wci, wcf and wco have a weight for each channel. The paper has one for each cell
    of the grid too, which would tie a network to the grid it was trained on. They begin at zero.

    Parameters
    ----------
    in_channels, hidden_channels, **options
        As for ``RecurrentCell``.

    References
    ----------
    Shi et al. [1]_ of this module, equation 3.

    Examples
    --------
    >>> cell = ConvLSTMCell(in_channels=16, hidden_channels=8)
    >>> zero = torch.zeros(2, 8, 6, 5)
    >>> cell(torch.rand(2, 16, 6, 5), ConvLSTMCellState(h=zero, c=zero)).h.shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(self, in_channels: int, hidden_channels: int, **options: Any) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.from_input = self.input_gates(1, 1, 1, 1, forget=(2,))
        self.from_hidden = self.state_gates(1, 1, 1, 1)
        self.peepholes = nn.Parameter(torch.zeros(3, hidden_channels, 1, 1))

    def forward(self, x: Tensor, state: ConvLSTMCellState) -> ConvLSTMCellState:
        """Advance one time step, for ``x`` (B, in_channels, H, W)."""
        h, c = state
        g_x, i_x, f_x, o_x = self.from_input(x)
        g_h, i_h, f_h, o_h = self.from_hidden(h)
        w_i, w_f, w_o = self.peepholes
        kept = torch.sigmoid(f_x + f_h + w_f * c) * c
        c = kept + torch.sigmoid(i_x + i_h + w_i * c) * torch.tanh(g_x + g_h)
        return ConvLSTMCellState(torch.sigmoid(o_x + o_h + w_o * c) * torch.tanh(c), c)


class ConvLSTMState(NamedTuple):
    """State of a ConvLSTM network between two frames.

    Attributes
    ----------
    layers
        State of each layer, from the bottom to the top.
    dropout_masks
        What dropout multiplies each layer's hidden state with, of shape (B, channels, 1, 1); empty
        without dropout.
    """

    layers: tuple[ConvLSTMCellState, ...]
    dropout_masks: tuple[Tensor, ...] = ()


class ConvLSTMNetwork(RecurrentNetwork[ConvLSTMState]):
    """ConvLSTM layers on patches of frames, and a 1x1 convolution to frames.

    One stack reads the context and predicts the horizon, as the other networks of this package do
    and as the MIM paper compares them; the ConvLSTM paper has a second stack for the horizon.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top.
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
    Shi et al. [1]_ of this module.

    Examples
    --------
    >>> network = ConvLSTMNetwork(in_channels=2, hidden_channels=(8, 8), patch_size=4)
    >>> frames, state = network(torch.rand(3, 5, 2, 16, 12), horizon=4)
    >>> frames.shape  # 4 predictions of context frames, then the 4 frames of the forecast
    torch.Size([3, 8, 2, 16, 12])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.cells = nn.ModuleList(
            ConvLSTMCell(below, width, **self.cell_options)
            for below, width in pairwise((self.patch_channels, *self.hidden_channels))
        )
        self.add_head()

    def initial_state(self, patches: Tensor) -> ConvLSTMState:
        """Return the all-zero state before the first frame; see ``RecurrentNetwork``."""
        layers = tuple(ConvLSTMCellState(zero, zero) for zero in self.zeros(patches))
        return ConvLSTMState(layers, self.dropout_masks(patches))

    def advance(self, x: Tensor, state: ConvLSTMState) -> tuple[Tensor, ConvLSTMState]:
        """Advance all layers one time step; see ``RecurrentNetwork``."""
        h, masks = x, state.dropout_masks
        layers: list[ConvLSTMCellState] = []
        for level, cell in enumerate(self.cells):
            layers.append(cell(h, state.layers[level]))
            h = layers[-1].h * masks[level] if masks else layers[-1].h
        return h, ConvLSTMState(tuple(layers), masks)
