"""The base of the recurrent networks: frames in and out, their other inputs, the unrolling.

Legend: B batch, T time, C channels, H height, W width, p patch size.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Generic, Protocol, TypedDict, TypeVar, cast

import torch
from torch import Tensor, nn

from darts_mim.checks import checked_integer
from darts_mim.nn.calls import check_call, check_shape
from darts_mim.nn.checks import check_patch_fits, checked_options
from darts_mim.nn.fast_path import fast_path_of
from darts_mim.nn.patches import fold_patches, unfold_patches
from darts_mim.nn.persistence import DampedPersistence
from darts_mim.nn.unrolling import (
    FeedBack,
    Inputs,
    Step,
    StepInputs,
    feed_prediction,
    flags_of,
    unroll,
)

__all__ = ["RecurrentNetwork", "memory_paths"]


class _State(Protocol):
    """State of a network between two frames: at least that of each layer, a NamedTuple."""

    @property
    def layers(self) -> tuple[Any, ...]: ...


State = TypeVar("State", bound=_State)


class CellOptions(TypedDict):
    """Options that all cells have; see ``RecurrentNetwork``."""

    kernel_size: int
    layer_norm: bool
    forget_bias: float


class RecurrentNetwork(nn.Module, ABC, Generic[State]):
    """Stack of recurrent layers on patches of frames, and a 1x1 convolution back to frames.

    Nothing in the parameters depends on the height and width of the frames, and no state is
    kept between calls. A subclass makes its layers, its ``initial_state``, and ``advance``, one
    step of them.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    hidden_channels
        Channels of each layer, from the bottom to the top.
    kernel_size
        Side of the square kernels, odd.
    patch_size
        Side p of the square patches that frames are folded into, in pixels. Frames that p does
        not divide are padded with zeros at the bottom and right, and cropped again.
    layer_norm
        Whether each convolution's output is layer-normalised.
    forget_bias
        Constant added to the initial bias of the forget gates.
    out_channels
        Channels of a prediction, by default those of a frame. With more of them, as for the
        parameters of a distribution, ``forward`` needs ``feed_back``.
    plane_channels
        Fields on the grid that each step reads besides the frame, the constant ones included.
    scalar_channels
        Numbers that each step reads besides the frame; they are spread over the grid.
    reads_observed
        Whether each step reads, cell by cell, if the frame's values were observed (1) or
        predicted (0).
    persistence
        Which of the ``out_channels / in_channels`` values that are predicted for a channel begin
        with the last frame, times a learned factor; see ``DampedPersistence``. By default none.
    dropout
        Module that draws the masks of variational dropout [1]_, such as ``torch.nn.Dropout(0.1)``.
        A mask drops channels of a layer's hidden state on its way up, and is the same at all
        steps of a sequence: a rollout is that of one thinned network.
    recompute
        Whether to compute the activations of a step again in the backward pass, rather than to
        store those of all steps. Outputs and gradients are the same.
    fast_path
        Whether to take the fast path: ``None`` where it is known to be right and faster, ``True``
        where it can run, ``False`` never. On a CPU it consists of kernels in C; on a GPU, where it
        has to be asked for, PyTorch compiles the step and replays it as CUDA graphs. Outputs and
        gradients are the same but for rounding.

    Raises
    ------
    TypeError
        If a parameter is of a wrong type.
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] Y. Gal, Z. Ghahramani, "A Theoretically Grounded Application of Dropout in Recurrent
       Neural Networks", NeurIPS 2016, section 4.
    """

    least_layers = 1
    """How many layers there must be."""

    is_fusible = False
    """Whether its cells can take the fast path; said by each class for itself."""

    def __init__(
        self,
        in_channels: int,
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        *,
        kernel_size: int = 5,
        patch_size: int = 1,
        layer_norm: bool = True,
        forget_bias: float = 1.0,
        out_channels: int | None = None,
        plane_channels: int = 0,
        scalar_channels: int = 0,
        reads_observed: bool = False,
        persistence: Sequence[bool] = (),
        dropout: nn.Module | None = None,
        recompute: bool = False,
        fast_path: bool | None = None,
    ) -> None:
        super().__init__()
        options = checked_options(
            hidden_channels=hidden_channels,
            least_layers=self.least_layers,
            kernel_size=kernel_size,
            patch_size=patch_size,
            layer_norm=layer_norm,
            forget_bias=forget_bias,
            recompute=recompute,
            fast_path=fast_path,
        )
        self.in_channels = checked_integer("in_channels", in_channels)
        self.hidden_channels = options["hidden_channels"]
        self.patch_size: int = options["patch_size"]
        self.out_channels = checked_integer(
            "out_channels", in_channels if out_channels is None else out_channels
        )
        self.plane_channels = checked_integer("plane_channels", plane_channels, least=0)
        self.scalar_channels = checked_integer("scalar_channels", scalar_channels, least=0)
        self.reads_observed = reads_observed
        self.persistence = DampedPersistence(in_channels, persistence) if any(persistence) else None
        self.dropout = dropout
        self.recompute, self.fast_path = options["recompute"], options["fast_path"]
        self.cell_options = CellOptions(
            kernel_size=options["kernel_size"],
            layer_norm=options["layer_norm"],
            forget_bias=options["forget_bias"],
        )

    def add_head(self) -> None:
        """Make the last layer; a subclass calls it after it has made its own."""
        self.head = nn.Conv2d(
            self.hidden_channels[-1], self.out_channels * self.patch_size**2, kernel_size=1
        )
        if self.persistence is not None:  # all that an untrained network forecasts
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(cast(Tensor, self.head.bias))
        # a step is faster with the channels innermost
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def patch_channels(self) -> int:
        """Channels of what the bottom layer reads."""
        fields = self.in_channels * (2 if self.reads_observed else 1) + self.plane_channels
        return fields * self.patch_size**2 + self.scalar_channels

    @abstractmethod
    def initial_state(self, patches: Tensor) -> State:
        """Return the all-zero state before the first frame, with dropout's masks drawn.

        Parameters
        ----------
        patches
            A frame's patches (B, channels, H / p, W / p): gives batch, size, type and device.

        Returns
        -------
        NamedTuple
            Zeros, and the masks.
        """

    @abstractmethod
    def advance(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Advance all layers one time step.

        Parameters
        ----------
        x
            Patches of a frame and what is read beside it, (B, patch_channels, H / p, W / p).
        state
            State after the frame before.

        Returns
        -------
        h
            Hidden state of the top layer, of shape (B, hidden_channels[-1], H / p, W / p).
        state
            State after the frame read.
        """

    def step(
        self, frame: Tensor, state: State | None = None, inputs: StepInputs | None = None
    ) -> tuple[Tensor, State]:
        """Read one frame and predict the next.

        Parameters
        ----------
        frame
            Frame of shape (B, C, H, W).
        state
            State after the frame before, ``None`` for the first frame.
        inputs
            What the network reads besides the frame.

        Returns
        -------
        prediction
            Prediction of the next frame, of shape (B, out_channels, H, W).
        state
            State after the frame read.
        """
        height, width = frame.shape[-2:]
        x = self._fold(frame, inputs or StepInputs()).contiguous(memory_format=torch.channels_last)
        h, state = self.advance(x, self.initial_state(x) if state is None else state)
        prediction = unfold_patches(self._read_out(h), self.patch_size, height, width)
        if self.persistence is not None:
            prediction = prediction + self.persistence(frame)
        return prediction, state

    def zeros(self, patches: Tensor) -> list[Tensor]:
        """Return zeros for each layer, of shape (B, channels of the layer, H / p, W / p)."""
        b, _, height, width = patches.shape
        return [
            patches.new_zeros(b, channels, height, width).contiguous(
                memory_format=torch.channels_last
            )
            for channels in self.hidden_channels
        ]

    def dropout_masks(self, patches: Tensor) -> tuple[Tensor, ...]:
        """Return what dropout multiplies each layer's hidden state with, (B, channels, 1, 1)."""
        if self.dropout is None:
            return ()
        ones = (patches.new_ones(len(patches), channels, 1, 1) for channels in self.hidden_channels)
        return tuple(self.dropout(one) for one in ones)

    def _fold(self, frame: Tensor, inputs: StepInputs) -> Tensor:
        """Return what the bottom layer reads, (B, channels, H / p, W / p)."""
        fields = [frame]
        if self.reads_observed:
            fields.append(flags_of(frame, inputs.observed))
        if inputs.planes is not None:
            fields.append(inputs.planes)
        x = fold_patches(torch.cat(fields, dim=1) if len(fields) > 1 else frame, self.patch_size)
        if inputs.scalars is not None:
            spread = inputs.scalars[..., None, None].expand(-1, -1, *x.shape[-2:])
            x = torch.cat([x, spread], dim=1)
        return x

    def forward(
        self,
        context: Tensor,
        horizon: int,
        *,
        future: Tensor | None = None,
        feed_true: Tensor | None = None,
        observed: Tensor | None = None,
        inputs: Inputs | None = None,
        feed_back: FeedBack = feed_prediction,
        state: State | None = None,
    ) -> tuple[Tensor, State]:
        """Encode a context and predict a horizon of any length; see ``unroll``.

        Parameters
        ----------
        context, horizon, future, feed_true, observed, inputs, feed_back, state
            As for ``unroll``.

        Returns
        -------
        predictions
            Predictions of shape (B, T - 1 + horizon, out_channels, H, W): of all context frames
            but the first, then of the horizon.
        state
            State after the last input frame.

        Raises
        ------
        ValueError
            If a frame is smaller than a patch, and as for ``check_call``.
        """
        check_call(
            self,
            context,
            horizon,
            future=future,
            feed_true=feed_true,
            observed=observed,
            inputs=inputs,
            feed_back=feed_back,
        )
        b, _, _, height, width = context.shape
        check_patch_fits(self.patch_size, height, width)
        if state is not None:
            self._check_state(state, b, height, width)
        step: Step[State] = self.step
        fast_path = fast_path_of(self, context)
        if fast_path is not None:
            step = fast_path(step, context.shape[1] + horizon - 1)
        return unroll(
            step,
            context,
            horizon,
            future=future,
            feed_true=feed_true,
            observed=observed,
            inputs=inputs,
            feed_back=feed_back,
            state=state,
            recompute=self.recompute,
        )

    def _check_state(self, state: State, b: int, height: int, width: int) -> None:
        """Refuse the state of another batch or grid."""
        rows, columns = -(-height // self.patch_size), -(-width // self.patch_size)
        for level, (layer, channels) in enumerate(
            zip(state.layers, self.hidden_channels, strict=True)
        ):
            for name, tensor in layer._asdict().items():
                what = f"state.layers[{level}].{name}"
                check_shape(what, tensor, "BCHW", (b, channels, rows, columns))

    def _read_out(self, h: Tensor) -> Tensor:
        # frames leave in full precision: in bfloat16 they would have 8 bits of intensity
        with torch.autocast(h.device.type, enabled=False):
            patches: Tensor = self.head(h.to(self.head.weight.dtype))
        return patches


def memory_paths(widths: Sequence[int]) -> nn.ModuleList:
    """Return the ways of a travelling memory into each layer, into the bottom one from the top.

    Parameters
    ----------
    widths
        Channels of each layer, from the bottom to the top.

    Returns
    -------
    torch.nn.ModuleList
        A 1x1 convolution where the widths differ, else nothing.
    """
    return nn.ModuleList(
        nn.Identity() if below == width else nn.Conv2d(below, width, kernel_size=1)
        for below, width in pairwise((widths[-1], *widths))
    )
