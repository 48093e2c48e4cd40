"""Frames by their index, for networks that look back. Unknown values are filled in time.

Legend: B batch, T time, C channels, H height, W width.
"""

from __future__ import annotations

import torch
from torch import Tensor

from darts_mim.nn.unrolling import FedFrame, flags_of


class FrameHistory:
    """Frames by their index: those of a context, then those that were predicted or given.

    Parameters
    ----------
    context
        Known frames of shape (B, T, C, H, W).
    observed
        Which of their values are known, as booleans of shape (B, at least T, C, H, W); ``None`` for
        all. Others are filled, see ``fill_in_time``.
    reads_observed
        Whether to return, with a frame, flags of the values that were observed.

    Attributes
    ----------
    length
        Number T of the context's frames.
    fed
        The frames after them, to which their maker appends.

    Examples
    --------
    >>> history = FrameHistory(torch.zeros(1, 4, 2, 6, 5), observed=None, reads_observed=True)
    >>> history.fed.append(FedFrame(torch.ones(1, 2, 6, 5)))
    >>> history.fields(4).shape
    torch.Size([1, 4, 6, 5])
    """

    def __init__(self, context: Tensor, observed: Tensor | None, reads_observed: bool) -> None:
        self.length = context.shape[1]
        self.fed: list[FedFrame] = []
        self._known = None if observed is None else observed[:, : self.length]
        self._context = context if self._known is None else fill_in_time(context, self._known)
        self._reads_observed = reads_observed

    def fields(self, t: int) -> Tensor:
        """Return the fields of frame t: its values, and their flags where these are read.

        Parameters
        ----------
        t
            Index of the frame, from 0 for the first one of the context.

        Returns
        -------
        Tensor
            Fields of shape (B, C, H, W), or (B, 2 C, H, W).
        """
        if t < self.length:
            observed = None if self._known is None else self._known[:, t]
            frame = FedFrame(self._context[:, t], observed)
        else:
            frame = self.fed[t - self.length]
        if not self._reads_observed:
            return frame.values
        return torch.cat([frame.values, flags_of(*frame)], dim=1)


def fill_in_time(frames: Tensor, known: Tensor) -> Tensor:
    """Put the last known value of the same cell where a value is not known.

    Where none is known before it, it is the first known one after it; where none is known at all,
    what stands there stays.

    Parameters
    ----------
    frames
        Frames of shape (B, T, C, H, W).
    known
        Which of their values are known, as booleans of the same shape.

    Returns
    -------
    Tensor
        Frames of the same shape.

    Examples
    --------
    >>> values = torch.tensor([0.0, 5.0, 0.0, 0.0, 8.0]).reshape(1, 5, 1, 1, 1)
    >>> fill_in_time(values, values > 0).flatten()
    tensor([5., 5., 5., 5., 8.])
    """
    if torch.compiler.is_compiling():
        return _fill_both_ways(frames, known)
    # the few values that come and go: a mask, which stays, leaves nothing to fill
    values, flags = frames.flatten(2), known.flatten(2)
    columns = (flags != flags[:, :1]).any(dim=1).any(dim=0).nonzero()[:, 0]
    if not len(columns):
        return frames
    chosen = values.index_select(2, columns), flags.index_select(2, columns)
    return values.index_copy(2, columns, _fill_both_ways(*chosen)).reshape(frames.shape)


def _fill_both_ways(frames: Tensor, known: Tensor) -> Tensor:
    """Forward-fill, then back-fill leading gaps."""
    for _ in range(2):
        frames, known = _fill_forwards(frames, known)
        frames, known = frames.flip(1), known.flip(1)
    return frames


def _fill_forwards(frames: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Return frames in which values are from before, and where there are any.

    Each turn doubles how far back a value may come from: a few operations for any number of frames.
    """
    distance = 1
    while distance < frames.shape[1]:
        is_known, was_known = known[:, distance:], known[:, :-distance]
        filled = torch.where(was_known & ~is_known, frames[:, :-distance], frames[:, distance:])
        frames = torch.cat([frames[:, :distance], filled], dim=1)
        known = torch.cat([known[:, :distance], is_known | was_known], dim=1)
        distance *= 2
    return frames, known
