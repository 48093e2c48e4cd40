"""One step of the recurrent cells: plain equations, state in and state out.

Legend: B batch, C channels of a layer, H height, W width. In the equations ``*`` is a "same"
convolution, ``.`` the elementwise product, s() the logistic function; t is the time step and l
the layer. The letters are the paper's: h hidden state, c cell state, m spatiotemporal memory,
n state of MIM-N, s state of MIM-S, d difference of two hidden states; g, i, f, o are gates, and
the gates that the paper marks with a prime carry the suffix ``_m`` here.

All gates that read the same tensor share one convolution, and the output gate reads C and M side
by side. What is convolved from x for the gates g, i and f, side by side in one tensor, is called
``gif_x``. Layer normalisation acts on the output of each such convolution, over all its gates and
(H, W), as in the authors' released code, with a gain and a bias per channel: no parameter depends
on the resolution.

References
----------
.. [1] Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive
   Neural Network for Learning Higher-Order Non-Stationarity from Spatiotemporal Dynamics",
   CVPR 2019, section 3.
.. [2] Y. Wang, M. Long, J. Wang, Z. Gao, P. S. Yu, "PredRNN: Recurrent Neural Networks for
   Predictive Learning using Spatiotemporal LSTMs", NeurIPS 2017, section 3.2.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor

from darts_mim.nn.gates import (
    HiddenOutput,
    RecurrentCell,
    SpatiotemporalMemory,
    admit,
    emit,
    remember,
)


class STLSTMState(NamedTuple):
    """State of an ST-LSTM cell: hidden state ``h`` and cell state ``c``, each (B, C, H, W)."""

    h: Tensor
    c: Tensor


class MIMBlockState(NamedTuple):
    """State of a MIM block, each (B, C, H, W); that of a unit which it lacks stays zero."""

    h: Tensor
    c: Tensor
    n: Tensor
    s: Tensor


class STLSTMCell(RecurrentCell):
    """Spatiotemporal LSTM, the first layer of MIM and every layer of PredRNN.

    Parameters
    ----------
    in_channels, hidden_channels, **options
        As for ``RecurrentCell``.

    References
    ----------
    Memory In Memory [1]_ of this module, equation 1; PredRNN [2]_, equation 3.

    Examples
    --------
    >>> import torch
    >>> cell = STLSTMCell(in_channels=16, hidden_channels=8)
    >>> x, zero = torch.rand(2, 16, 6, 5), torch.zeros(2, 8, 6, 5)
    >>> m, state = cell(x, zero, STLSTMState(h=zero, c=zero))
    >>> state.h.shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(self, in_channels: int, hidden_channels: int, **options: Any) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.from_input = self.input_gates(3, 1, 3, forget=(2, 6))
        self.from_hidden = self.state_gates(3, 1)
        self.memory = SpatiotemporalMemory(self)
        self.output = HiddenOutput(self)

    def forward(self, x: Tensor, m: Tensor, state: STLSTMState) -> tuple[Tensor, STLSTMState]:
        """Advance one time step.

        Parameters
        ----------
        x
            Input of shape (B, in_channels, H, W).
        m
            Memory of the layer below (of the top layer at the step before, for the bottom
            layer), of shape (B, C, H, W).
        state
            State of this layer at the step before.

        Returns
        -------
        m
            Memory of this layer, of shape (B, C, H, W).
        state
            State of this layer.
        """
        h, c = state
        gif_x, o_x, gif_m = self.from_input(x)
        gif_h, o_h = self.from_hidden(h)
        c = remember(gif_x + gif_h, c)
        m = self.memory(gif_m, m)
        h = self.output(o_x + o_h, c, m)
        return m, STLSTMState(h, c)


class NonStationaryUnit(RecurrentCell):
    """MIM-N: model the non-stationary share from the difference of successive hidden states.

    With d = H[t,l-1] - H[t-1,l-1]::

        g = tanh(Wxg*d + Wng*N[t-1])    i = s(Wxi*d + Wni*N[t-1])    f = s(Wxf*d + Wnf*N[t-1])
        N[t] = f . N[t-1] + i . g       o = s(Wxo*d + Wno*N[t])      D = o . tanh(N[t])

    Parameters
    ----------
    in_channels
        Channels of the difference, those of the layer below.
    hidden_channels
        Channels C of the unit's state and of its output.
    **options
        As for ``RecurrentCell``.

    References
    ----------
    Memory In Memory [1]_ of this module, equation 3.

    Examples
    --------
    >>> import torch
    >>> unit = NonStationaryUnit(in_channels=16, hidden_channels=8)
    >>> d, n = unit(torch.rand(2, 16, 6, 5), torch.zeros(2, 8, 6, 5))
    >>> d.shape, n.shape
    (torch.Size([2, 8, 6, 5]), torch.Size([2, 8, 6, 5]))
    """

    def __init__(self, in_channels: int, hidden_channels: int, **options: Any) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.from_difference = self.input_gates(3, 1, forget=(2,))
        self.from_state = self.state_gates(3)
        self.from_new_state = self.state_gates(1)

    def forward(self, d: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Return D[t] and N[t], each (B, C, H, W), for d (B, in_channels, H, W) and N[t-1]."""
        gif_d, o_d = self.from_difference(d)
        (gif_n,) = self.from_state(n)
        n = remember(gif_d + gif_n, n)
        (o_n,) = self.from_new_state(n)
        return emit(o_d + o_n, n), n


class StationaryUnit(RecurrentCell):
    """MIM-S: model the stationary share, and stand in for the forget gate of the cell state.

    With D the output of MIM-N and C the cell state of the MIM block::

        g = tanh(Wdg*D + Wcg*C[t-1])    i = s(Wdi*D + Wci*C[t-1])    f = s(Wdf*D + Wcf*C[t-1])
        S[t] = f . S[t-1] + i . g       o = s(Wdo*D + Wco*C[t-1] + Wso*S[t])
        out = o . tanh(S[t])

    Parameters
    ----------
    in_channels
        Channels of D: C, or the channels of the layer below in a block without MIM-N.
    hidden_channels
        Channels C of the unit's state and of its output.
    **options
        As for ``RecurrentCell``.

    References
    ----------
    Memory In Memory [1]_ of this module, equation 4.

    Examples
    --------
    >>> import torch
    >>> unit = StationaryUnit(in_channels=8, hidden_channels=8)
    >>> d, zero = torch.rand(2, 8, 6, 5), torch.zeros(2, 8, 6, 5)
    >>> kept, s = unit(d, c=zero, s=zero)
    >>> kept.shape, s.shape
    (torch.Size([2, 8, 6, 5]), torch.Size([2, 8, 6, 5]))
    """

    def __init__(self, in_channels: int, hidden_channels: int, **options: Any) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.from_difference = self.input_gates(3, 1, forget=(2,))
        self.from_cell = self.state_gates(3, 1)
        self.from_new_state = self.state_gates(1)

    def forward(self, d: Tensor, c: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return the share kept and S[t], each (B, C, H, W), for D[t], C[t-1] and S[t-1]."""
        gif_d, o_d = self.from_difference(d)
        gif_c, o_c = self.from_cell(c)
        s = remember(gif_d + gif_c, s)
        (o_s,) = self.from_new_state(s)
        return emit(o_d + o_c + o_s, s), s


class MIMBlock(RecurrentCell):
    """Memory In Memory block: an ST-LSTM whose forget gate is MIM-N followed by MIM-S.

    C[t,l] = MIM-S(MIM-N(H[t,l-1] - H[t-1,l-1], N), C[t-1,l], S) + i . g; the rest is as in
    ``STLSTMCell``. A unit that is removed passes its input on: without MIM-N, D is the
    difference itself; without MIM-S, C[t,l] = D + i . g.

    Parameters
    ----------
    in_channels
        Channels of the hidden state of the layer below.
    hidden_channels
        Channels C of the states and of the memory.
    nonstationary_unit, stationary_unit
        Whether the block has its MIM-N and its MIM-S; at least one of them.
    **options
        As for ``RecurrentCell``.

    References
    ----------
    Memory In Memory [1]_ of this module, equations 2 to 4 and table 2 (the ablations).

    Examples
    --------
    >>> import torch
    >>> block = MIMBlock(in_channels=16, hidden_channels=8)
    >>> h, h_before = torch.rand(2, 16, 6, 5), torch.rand(2, 16, 6, 5)
    >>> zero = torch.zeros(2, 8, 6, 5)
    >>> m, state = block(h, h - h_before, zero, MIMBlockState(h=zero, c=zero, n=zero, s=zero))
    >>> state.h.shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int,
        *,
        nonstationary_unit: bool = True,
        stationary_unit: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(in_channels, hidden_channels, **options)
        self.from_input = self.input_gates(2, 1, 3, forget=(5,))
        self.from_hidden = self.state_gates(2, 1)
        self.nonstationary: NonStationaryUnit | None = None
        self.stationary: StationaryUnit | None = None
        if nonstationary_unit:
            self.nonstationary = NonStationaryUnit(in_channels, hidden_channels, **options)
        if stationary_unit:
            d_channels = hidden_channels if nonstationary_unit else in_channels
            self.stationary = StationaryUnit(d_channels, hidden_channels, **options)
        self.memory = SpatiotemporalMemory(self)
        self.output = HiddenOutput(self)

    def forward(
        self, x: Tensor, d: Tensor, m: Tensor, state: MIMBlockState
    ) -> tuple[Tensor, MIMBlockState]:
        """Advance one time step.

        Parameters
        ----------
        x
            Hidden state of the layer below, of shape (B, in_channels, H, W).
        d
            Its difference from the step before, of the same shape; zero at the first step.
        m
            Memory of the layer below, of shape (B, C, H, W).
        state
            State of this layer at the step before.

        Returns
        -------
        m
            Memory of this layer, of shape (B, C, H, W).
        state
            State of this layer.
        """
        h, c, n, s = state
        gi_x, o_x, gif_m = self.from_input(x)
        gi_h, o_h = self.from_hidden(h)
        kept = d
        if self.nonstationary is not None:
            kept, n = self.nonstationary(kept, n)
        if self.stationary is not None:
            kept, s = self.stationary(kept, c, s)
        c = admit(gi_x + gi_h, kept)
        m = self.memory(gif_m, m)
        h = self.output(o_x + o_h, c, m)
        return m, MIMBlockState(h, c, n, s)
