"""The MIM network: a stack of cells, unrolled over the frames of a context and of a horizon.

Legend: B batch, T time, C channels, H height, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from darts_mim.nn.cells import MIMBlock, MIMBlockState, STLSTMCell, STLSTMState
from darts_mim.nn.checks import check_patch_fits, checked_integer, checked_options
from darts_mim.nn.patches import fold_patches, unfold_patches

__all__ = ["MIMNetwork", "MIMState", "unroll"]

State = TypeVar("State")


def unroll(
    step: Callable[[Tensor, State | None], tuple[Tensor, State]],
    context: Tensor,
    horizon: int,
    *,
    future: Tensor | None = None,
    feed_true: Tensor | None = None,
    state: State | None = None,
) -> tuple[Tensor, State]:
    """Encode the frames of a context, then predict the frames of a horizon one by one.

    Parameters
    ----------
    step
        A function from a frame (B, C, H, W) and a state (``None`` before the first frame) to
        the next frame and the new state.
    context
        Observed frames of shape (B, T, C, H, W), T at least 1.
    horizon
        Number of frames to predict after the context, at least 1.
    future
        True frames of the horizon, of shape (B, horizon, C, H, W); needed beside ``feed_true``.
    feed_true
        Booleans of shape (B, T + horizon - 2): which input frames, from the second one on, are
        true ones rather than the network's own predictions. By default all frames of the
        context and none of the horizon.
    state
        State to carry on from, as returned by an earlier call.

    Returns
    -------
    frames
        The prediction of the frame after each input frame, of shape
        (B, T - 1 + horizon, C, H, W); the last ``horizon`` of them are the forecast.
    state
        State after the last input frame, which is the last but one of the horizon.
    """
    length = context.shape[1]
    known = context if future is None else torch.cat([context, future[:, :-1]], dim=1)
    prediction, state = step(context[:, 0], state)
    predictions = [prediction]
    for t in range(1, length + horizon - 1):
        if feed_true is None:
            frame = known[:, t] if t < length else prediction
        else:
            is_true = feed_true[:, t - 1, None, None, None]
            frame = torch.where(is_true, known[:, t], prediction)
        prediction, state = step(frame, state)
        predictions.append(prediction)
    return torch.stack(predictions, dim=1), state


class MIMState(NamedTuple):
    """State of a MIM network between two frames.

    Attributes
    ----------
    layers
        State of each layer, from the bottom to the top.
    m
        Memory of the top layer, of shape (B, hidden_channels[-1], H / p, W / p).
    """

    layers: tuple[STLSTMState | MIMBlockState, ...]
    m: Tensor


class MIMNetwork(nn.Module):
    """Memory In Memory network: an ST-LSTM layer, MIM blocks, and a 1x1 convolution to frames.

    Nothing in the parameters depends on the height and width of the frames, and no state is
    kept between calls.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top; at least two layers, of which the
        first is the ST-LSTM. Where the widths of two layers that hand on the memory differ, it
        passes a 1x1 convolution.
    kernel_size
        Side of the square kernels, odd.
    patch_size
        Side p of the square patches that frames are folded into, in pixels. Frames that p does
        not divide are padded with zeros at the bottom and right, and cropped again.
    layer_norm
        Whether each convolution's output is layer-normalised.
    forget_bias
        Constant added to the initial bias of the forget gates.
    nonstationary_unit, stationary_unit
        Whether the MIM blocks have their MIM-N and their MIM-S. Table 2 of the paper removes
        one of them; removing both is no network of the paper, and refused.

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
    >>> network = MIMNetwork(in_channels=2, hidden_channels=(8, 8), patch_size=4)
    >>> frames, state = network(torch.rand(3, 5, 2, 16, 12), horizon=4)
    >>> frames.shape  # 4 predictions of context frames, then the 4 frames of the forecast
    torch.Size([3, 8, 2, 16, 12])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        *,
        kernel_size: int = 5,
        patch_size: int = 1,
        layer_norm: bool = True,
        forget_bias: float = 1.0,
        nonstationary_unit: bool = True,
        stationary_unit: bool = True,
    ) -> None:
        super().__init__()
        options = checked_options(
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            patch_size=patch_size,
            layer_norm=layer_norm,
            forget_bias=forget_bias,
            nonstationary_unit=nonstationary_unit,
            stationary_unit=stationary_unit,
        )
        self.in_channels = checked_integer("in_channels", in_channels)
        self.hidden_channels = options["hidden_channels"]
        self.patch_size = options["patch_size"]

        patch_channels = self.in_channels * self.patch_size**2
        widths = self.hidden_channels
        self.bottom = STLSTMCell(
            patch_channels,
            widths[0],
            options["kernel_size"],
            layer_norm=options["layer_norm"],
            forget_bias=options["forget_bias"],
        )
        self.blocks = nn.ModuleList(
            MIMBlock(
                below,
                width,
                options["kernel_size"],
                layer_norm=options["layer_norm"],
                forget_bias=options["forget_bias"],
                nonstationary_unit=options["nonstationary_unit"],
                stationary_unit=options["stationary_unit"],
            )
            for below, width in pairwise(widths)
        )
        # the memory's way into each layer; the bottom layer takes it from the top one
        self.memory_paths = nn.ModuleList(
            nn.Identity() if below == width else nn.Conv2d(below, width, kernel_size=1)
            for below, width in pairwise((widths[-1], *widths))
        )
        self.head = nn.Conv2d(widths[-1], patch_channels, kernel_size=1)
        # a step is faster with the channels innermost: benchmarks/training_step.py
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def initial_state(self, patches: Tensor) -> MIMState:
        """Return the all-zero state before the first frame.

        Parameters
        ----------
        patches
            A frame's patches (B, C * p * p, H / p, W / p): gives batch, size, type and device.

        Returns
        -------
        MIMState
            Zeros.
        """
        b, _, height, width = patches.shape

        def zeros(channels: int) -> Tensor:
            return patches.new_zeros(b, channels, height, width).contiguous(
                memory_format=torch.channels_last
            )

        layers: list[STLSTMState | MIMBlockState] = []
        for channels in self.hidden_channels:
            zero = zeros(channels)
            layers.append(
                MIMBlockState(zero, zero, zero, zero) if layers else STLSTMState(zero, zero)
            )
        return MIMState(tuple(layers), m=zeros(self.hidden_channels[-1]))

    def step(self, frame: Tensor, state: MIMState | None = None) -> tuple[Tensor, MIMState]:
        """Read one frame and predict the next.

        Parameters
        ----------
        frame
            Frame of shape (B, C, H, W).
        state
            State after the frame before, ``None`` for the first frame.

        Returns
        -------
        frame
            Prediction of the next frame, of shape (B, C, H, W).
        state
            State after the frame read.
        """
        height, width = frame.shape[-2:]
        x = fold_patches(frame, self.patch_size).contiguous(memory_format=torch.channels_last)
        is_first = state is None
        before = self.initial_state(x) if state is None else state

        m = self.memory_paths[0](before.m)
        m, bottom = self.bottom(x, m, before.layers[0])
        layers: list[STLSTMState | MIMBlockState] = [bottom]
        for level, block in enumerate(self.blocks, start=1):
            h = layers[-1].h
            d = torch.zeros_like(h) if is_first else h - before.layers[level - 1].h
            m, layer = block(h, d, self.memory_paths[level](m), before.layers[level])
            layers.append(layer)

        prediction = unfold_patches(self._read_out(layers[-1].h), self.patch_size, height, width)
        return prediction, MIMState(tuple(layers), m)

    def forward(
        self,
        context: Tensor,
        horizon: int,
        *,
        future: Tensor | None = None,
        feed_true: Tensor | None = None,
        state: MIMState | None = None,
    ) -> tuple[Tensor, MIMState]:
        """Encode a context and predict a horizon of any length; see ``unroll``.

        Parameters
        ----------
        context, horizon, future, feed_true, state
            As for ``unroll``.

        Returns
        -------
        frames
            Predictions of shape (B, T - 1 + horizon, C, H, W): of all context frames but the
            first, then of the horizon.
        state
            State after the last input frame.

        Raises
        ------
        ValueError
            If a tensor is not of its shape, a frame is smaller than a patch, ``horizon`` is not
            positive, or ``future`` is missing beside ``feed_true``.
        """
        _check_shape("context", context, "BTCHW", (None, None, self.in_channels, None, None))
        checked_integer("horizon", horizon)
        b, length, channels, height, width = context.shape
        check_patch_fits(self.patch_size, height, width)
        if future is not None:
            _check_shape("future", future, "BTCHW", (b, horizon, channels, height, width))
        if feed_true is not None:
            _check_shape("feed_true", feed_true, "BT", (b, length + horizon - 2))
            if future is None and horizon > 1:
                raise ValueError("`feed_true` needs the true frames of the horizon as `future`")
        if state is not None:
            rows, columns = -(-height // self.patch_size), -(-width // self.patch_size)
            _check_shape("state.m", state.m, "BCHW", (b, self.hidden_channels[-1], rows, columns))
        return unroll(self.step, context, horizon, future=future, feed_true=feed_true, state=state)

    def _read_out(self, h: Tensor) -> Tensor:
        # frames leave in full precision: in bfloat16 they would have 8 bits of intensity
        with torch.autocast(h.device.type, enabled=False):
            patches: Tensor = self.head(h.to(self.head.weight.dtype))
        return patches


def _check_shape(name: str, tensor: Tensor, legend: str, shape: tuple[int | None, ...]) -> None:
    """Refuse a tensor of another shape, in which None stands for any size of at least 1."""
    sizes = tuple(tensor.shape)
    fits = len(sizes) == len(shape) and all(
        size >= 1 and expected in (None, size) for size, expected in zip(sizes, shape, strict=True)
    )
    if not fits:
        expected = ", ".join(str(n or letter) for letter, n in zip(legend, shape, strict=True))
        raise ValueError(f"`{name}` must have the shape ({expected}), none of them 0, got {sizes}")
