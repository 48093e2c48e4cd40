"""Damped persistence: what a forecast begins with, and how strongly training data persist.

Legend: B batch, C channels, P values that are predicted for a channel, H height, W width.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["DampedPersistence", "persistence_of"]


class DampedPersistence(nn.Module):
    """The last frame, times a learned factor for each channel.

    Parameters
    ----------
    channels
        Channels C of a frame.
    applies
        Which of the P values that are predicted for a channel begin with the last frame: quantiles
        and a mean do, a scale does not.

    Attributes
    ----------
    factor
        The learned factors, of shape (C,), at first 1.

    Examples
    --------
    >>> persistence = DampedPersistence(1, [True, False])
    >>> persistence(torch.full((1, 1, 1, 1), 5.0)).flatten().tolist()
    [5.0, 0.0]
    """

    def __init__(self, channels: int, applies: Sequence[bool] = (True,)) -> None:
        super().__init__()
        self.applies = tuple(applies)
        self.factor = nn.Parameter(torch.ones(channels))

    def forward(self, frame: Tensor) -> Tensor:
        """Return what a frame (B, C, H, W) adds to the prediction, (B, C * P, H, W)."""
        level = frame * self.factor[:, None, None]
        nothing = torch.zeros_like(level)
        values = [level if applies else nothing for applies in self.applies]
        return torch.stack(values, dim=2).flatten(1, 2)


def persistence_of(clips: Iterable[Tensor]) -> Tensor:
    """Regress frames on the frames before them, over all cells, times and clips.

    Parameters
    ----------
    clips
        Frames of shape (T, C, H, W) in unbroken order, NaN where a value is missing.

    Returns
    -------
    Tensor
        Slopes of shape (C,), bounded to [0, 1]; 1 for a channel that does not vary.

    Examples
    --------
    >>> clip = torch.tensor([8.0, 4.0, 2.0, 1.0])[:, None, None, None]
    >>> persistence_of([clip])
    tensor([0.5000])
    """
    sums: Tensor | float = 0.0
    for clip in clips:
        before, after = clip[:-1].double(), clip[1:].double()
        known = (before.isfinite() & after.isfinite()).double()
        before, after = before.nan_to_num() * known, after.nan_to_num() * known
        terms = torch.stack([known, before, after, before * before, before * after])
        sums = sums + terms.sum(dim=(1, 3, 4))
    n, x, y, xx, xy = cast(Tensor, sums)
    variance, covariance = n * xx - x * x, n * xy - x * y
    slope = torch.where(variance > 0, covariance / variance.clamp(min=1e-300), 1.0)
    return slope.clamp(0.0, 1.0).float()
