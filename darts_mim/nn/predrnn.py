"""PredRNN: an ST-LSTM in every layer, and the memory that travels through them.

Legend: B batch, C channels, H height, W width, p patch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from darts_mim.nn.cells import STLSTMCell, STLSTMState
from darts_mim.nn.recurrent import RecurrentNetwork, memory_paths


class PredRNNState(NamedTuple):
    """State of a PredRNN network between two frames.

    Attributes
    ----------
    layers
        State of each layer, from the bottom to the top.
    m
        Memory of the top layer, of shape (B, hidden_channels[-1], H / p, W / p).
    dropout_masks
        What dropout multiplies each layer's hidden state with, of shape (B, channels, 1, 1); empty
        without dropout.
    """

    layers: tuple[STLSTMState, ...]
    m: Tensor
    dropout_masks: tuple[Tensor, ...] = ()


class PredRNNNetwork(RecurrentNetwork[PredRNNState]):
    """PredRNN: ST-LSTM layers, and a 1x1 convolution to frames.

    The memory M of the top layer is that of the bottom layer at the next step.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top. Where the widths of two layers that hand
        on the memory differ, it passes a 1x1 convolution.
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
    .. [1] Y. Wang, M. Long, J. Wang, Z. Gao, P. S. Yu, "PredRNN: Recurrent Neural Networks for
       Predictive Learning using Spatiotemporal LSTMs", NeurIPS 2017, section 3.2, equation 3; it is
       equation 1 of "Memory In Memory".

    Examples
    --------
    >>> import torch
    >>> network = PredRNNNetwork(in_channels=2, hidden_channels=(8, 8), patch_size=4)
    >>> frames, state = network(torch.rand(3, 5, 2, 16, 12), horizon=4)
    >>> frames.shape  # 4 predictions of context frames, then the 4 frames of the forecast
    torch.Size([3, 8, 2, 16, 12])
    """

    is_fusible = True

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        **options: Any,
    ) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        widths = self.hidden_channels
        self.cells = nn.ModuleList(
            STLSTMCell(below, width, **self.cell_options)
            for below, width in pairwise((self.patch_channels, *widths))
        )
        self.memory_paths = memory_paths(widths)
        self.add_head()

    def initial_state(self, patches: Tensor) -> PredRNNState:
        """Return the all-zero state before the first frame; see ``RecurrentNetwork``."""
        zeros = self.zeros(patches)
        layers = tuple(STLSTMState(zero, zero) for zero in zeros)
        return PredRNNState(layers, zeros[-1], self.dropout_masks(patches))

    def advance(self, x: Tensor, state: PredRNNState) -> tuple[Tensor, PredRNNState]:
        """Advance all layers one time step; see ``RecurrentNetwork``."""
        h, m, masks = x, state.m, state.dropout_masks
        layers: list[STLSTMState] = []
        for level, cell in enumerate(self.cells):
            m, layer = cell(h, self.memory_paths[level](m), state.layers[level])
            h = layer.h * masks[level] if masks else layer.h
            layers.append(layer)
        return h, PredRNNState(tuple(layers), m, masks)
