"""Checks of the arguments that all networks are called with.

Legend: B batch, T time, C channels, H height, W width, S = T - 1 + horizon steps of an unrolling.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor

from darts_mim.checks import checked_integer
from darts_mim.nn.unrolling import FeedBack, Inputs, feed_prediction


class NetworkSizes(Protocol):
    """Sizes that a network was built for.

    Attributes
    ----------
    in_channels, out_channels
        Channels of a frame and of a prediction.
    plane_channels, scalar_channels
        Fields, and numbers, that each step reads besides the frame.
    """

    in_channels: int
    out_channels: int
    plane_channels: int
    scalar_channels: int


def check_call(
    sizes: NetworkSizes,
    context: Tensor,
    horizon: int,
    *,
    future: Tensor | None,
    feed_true: Tensor | None,
    observed: Tensor | None,
    inputs: Inputs | None,
    feed_back: FeedBack,
) -> None:
    """Refuse arguments that a network cannot be called with.

    Parameters
    ----------
    sizes
        The network.
    context, horizon, future, feed_true, observed, inputs, feed_back
        As for ``darts_mim.nn.unroll``.

    Raises
    ------
    TypeError
        If ``horizon`` is no integer.
    ValueError
        If a tensor has another shape than expected or ``horizon`` is not positive, if ``feed_true``
        comes without ``future``, or if ``out_channels`` differs from ``in_channels`` and there is
        no ``feed_back``.
    """
    check_shape("context", context, "BTCHW", (None, None, sizes.in_channels, None, None))
    checked_integer("horizon", horizon)
    b, length, channels, height, width = context.shape
    if future is not None:
        check_shape("future", future, "BTCHW", (b, horizon, channels, height, width))
    if feed_true is not None:
        check_shape("feed_true", feed_true, "BT", (b, length + horizon - 2))
        if future is None and horizon > 1:
            raise ValueError("`feed_true` needs the true frames of the horizon as `future`")
    if observed is not None:
        frames = length if future is None else length + horizon
        check_shape("observed", observed, "BTCHW", (b, frames, channels, height, width))
    if feed_back is feed_prediction and sizes.out_channels != sizes.in_channels:
        raise ValueError(
            f"`feed_back` is needed to make a frame of {sizes.in_channels} channels of a "
            f"prediction of {sizes.out_channels}; give the function that does"
        )
    _check_inputs(sizes, inputs or Inputs(), context, horizon)


def _check_inputs(sizes: NetworkSizes, inputs: Inputs, context: Tensor, horizon: int) -> None:
    """Refuse inputs that are not those that the network was built for."""
    b, length, _, height, width = context.shape
    steps = length + horizon - 1
    planes, constants, scalars = inputs
    n_planes = sum(x.shape[-3] for x in (planes, constants) if x is not None and x.ndim > 3)
    n_scalars = 0 if scalars is None else scalars.shape[-1]
    if (n_planes, n_scalars) != (sizes.plane_channels, sizes.scalar_channels):
        raise ValueError(
            f"`inputs` must have {sizes.plane_channels} planes and {sizes.scalar_channels} "
            f"scalars, as the network was built for, got {n_planes} and {n_scalars}"
        )
    if planes is not None:
        check_shape("inputs.planes", planes, "BSEHW", (b, steps, None, height, width))
    if constants is not None:
        check_shape("inputs.constants", constants, "BEHW", (b, None, height, width))
    if scalars is not None:
        check_shape("inputs.scalars", scalars, "BSF", (b, steps, None))


def check_shape(name: str, tensor: Tensor, legend: str, shape: tuple[int | None, ...]) -> None:
    """Refuse a tensor of another shape, in which None stands for any size of at least 1.

    Parameters
    ----------
    name
        Name of the tensor in the error.
    tensor
        The tensor.
    legend
        A letter for each dimension.
    shape
        The size of each dimension.

    Raises
    ------
    ValueError
        If it has another shape.
    """
    sizes = tuple(tensor.shape)
    fits = len(sizes) == len(shape) and all(
        size == expected or (expected is None and size >= 1)
        for size, expected in zip(sizes, shape, strict=True)
    )
    if not fits:
        sides = zip(legend, shape, strict=True)
        expected = ", ".join(letter if n is None else str(n) for letter, n in sides)
        raise ValueError(
            f"`{name}` must have the shape ({expected}), with letters from 1 up, got {sizes}"
        )
