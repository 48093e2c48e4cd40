"""How tensors lie in memory on the fast path: cell after cell, the channels innermost."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["laid_out", "room_for"]


def laid_out(tensor: Tensor) -> Tensor:
    """Return a dense tensor with the channels innermost."""
    return tensor.contiguous(memory_format=torch.channels_last)


def room_for(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return room for a dense tensor with the channels innermost.

    Parameters
    ----------
    shape
        Its shape, (B, C, H, W).
    like
        A tensor of its type, on its device.
    """
    layout = torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=layout)
