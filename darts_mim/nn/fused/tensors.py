"""Tensors as the fast path lays them out in memory: cell after cell, the channels innermost."""

from __future__ import annotations

import torch
from torch import Tensor


def channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor with the channels innermost, a copy if it is laid out otherwise."""
    return tensor.contiguous(memory_format=torch.channels_last)


def empty_channels_last(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Return an uninitialised tensor of a shape (B, C, H, W), with the channels innermost.

    It has the type of the tensor ``like``, and is on its device.
    """
    last = torch.channels_last
    return torch.empty(shape, dtype=like.dtype, device=like.device, memory_format=last)
