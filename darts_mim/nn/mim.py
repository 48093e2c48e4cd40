"""The MIM network: an ST-LSTM layer, MIM blocks, and the memory that travels through them.

Legend: B batch, C channels, H height, W width, p patch size.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from torch import Tensor, nn

from darts_mim.nn.cells import MIMBlock, MIMBlockState, STLSTMCell, STLSTMState
from darts_mim.nn.checks import checked_units
from darts_mim.nn.recurrent import RecurrentNetwork, memory_paths


class MIMState(NamedTuple):
    """State of a MIM network between two frames.

    Attributes
    ----------
    layers
        State of each layer, from the bottom to the top.
    m
        Memory of the top layer, of shape (B, hidden_channels[-1], H / p, W / p).
    dropout_masks
        What dropout multiplies each layer's hidden state with, of shape (B, channels, 1, 1); empty
        without dropout.
    has_begun
        0 before the first frame and 1 after it, of shape (B, 1, 1, 1); ``None`` after it.
    """

    layers: tuple[STLSTMState | MIMBlockState, ...]
    m: Tensor
    dropout_masks: tuple[Tensor, ...] = ()
    has_begun: Tensor | None = None


class MIMNetwork(RecurrentNetwork[MIMState]):
    """Memory In Memory network: an ST-LSTM layer, MIM blocks, and a 1x1 convolution to frames.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top; at least two layers, of which the
        first is the ST-LSTM. Where the widths of two layers that hand on the memory differ, it
        passes a 1x1 convolution.
    nonstationary_unit, stationary_unit
        Whether the MIM blocks have their MIM-N and their MIM-S. Table 2 of the paper removes
        one of them; removing both is no network of the paper, and refused.
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
    .. [1] Y. Wang et al., "Memory In Memory: A Predictive Neural Network for Learning
       Higher-Order Non-Stationarity from Spatiotemporal Dynamics", CVPR 2019, section 3.
       Kernel size and forget bias are those of the authors' released code; the paper is silent
       on both.

    Examples
    --------
    >>> import torch
    >>> network = MIMNetwork(in_channels=2, hidden_channels=(8, 8), patch_size=4)
    >>> frames, state = network(torch.rand(3, 5, 2, 16, 12), horizon=4)
    >>> frames.shape  # 4 predictions of context frames, then the 4 frames of the forecast
    torch.Size([3, 8, 2, 16, 12])
    """

    least_layers = 2
    is_fusible = True

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        *,
        nonstationary_unit: bool = True,
        stationary_unit: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        widths, cell_options = self.hidden_channels, self.cell_options
        units = checked_units(
            nonstationary_unit=nonstationary_unit, stationary_unit=stationary_unit
        )
        self.bottom = STLSTMCell(self.patch_channels, widths[0], **cell_options)
        self.blocks = nn.ModuleList(
            MIMBlock(below, width, **cell_options, **units) for below, width in pairwise(widths)
        )
        self.memory_paths = memory_paths(widths)
        self.add_head()

    def initial_state(self, patches: Tensor) -> MIMState:
        """Return the all-zero state before the first frame; see ``RecurrentNetwork``."""
        bottom, *others = zeros = self.zeros(patches)
        return MIMState(
            (STLSTMState(bottom, bottom), *(MIMBlockState(*[zero] * 4) for zero in others)),
            m=zeros[-1],
            dropout_masks=self.dropout_masks(patches),
            has_begun=patches.new_zeros(len(patches), 1, 1, 1),
        )

    def advance(self, x: Tensor, state: MIMState) -> tuple[Tensor, MIMState]:
        """Advance all layers one time step; see ``RecurrentNetwork``."""
        before, masks = state.layers, state.dropout_masks
        m, bottom = self.bottom(x, self.memory_paths[0](state.m), before[0])
        layers: list[STLSTMState | MIMBlockState] = [bottom]
        for level, block in enumerate(self.blocks, start=1):
            h = layers[-1].h
            d = h - before[level - 1].h
            if state.has_begun is not None:
                d = d * state.has_begun
            if masks:
                h, d = (each * masks[level - 1] for each in (h, d))
            m, layer = block(h, d, self.memory_paths[level](m), before[level])
            layers.append(layer)
        h = layers[-1].h * masks[-1] if masks else layers[-1].h
        return h, MIMState(tuple(layers), m, masks)
