"""Fold a frame into a coarser grid of patches and unfold it again.

Legend: B batch, C channels, H height, W width, p patch size.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def fold_patches(frame: Tensor, patch_size: int) -> Tensor:
    """Move every ``patch_size`` x ``patch_size`` block of pixels into the channels.

    A height or width that is no multiple of the patch is padded with zeros at the bottom
    and at the right.

    Parameters
    ----------
    frame
        Frames of shape (B, C, H, W).
    patch_size
        Side p of the square patch in pixels, at least 1.

    Returns
    -------
    Tensor
        Patches of shape (B, C * p * p, ceil(H / p), ceil(W / p)).

    Examples
    --------
    >>> import torch
    >>> fold_patches(torch.zeros(2, 1, 64, 48), patch_size=4).shape
    torch.Size([2, 16, 16, 12])
    >>> fold_patches(torch.zeros(2, 2, 7, 5), patch_size=4).shape
    torch.Size([2, 32, 2, 2])
    """
    if patch_size == 1:
        return frame
    height, width = frame.shape[-2:]
    below, right = -height % patch_size, -width % patch_size
    if below or right:
        frame = F.pad(frame, (0, right, 0, below))
    return F.pixel_unshuffle(frame, patch_size)


def unfold_patches(patches: Tensor, patch_size: int, height: int, width: int) -> Tensor:
    """Undo ``fold_patches``: spread the channels of each patch and crop the padding.

    Parameters
    ----------
    patches
        Patches of shape (B, C * p * p, ceil(H / p), ceil(W / p)).
    patch_size
        Side p of the square patch in pixels, at least 1.
    height, width
        Height H and width W of the frame in pixels.

    Returns
    -------
    Tensor
        Frames of shape (B, C, H, W).

    Examples
    --------
    >>> import torch
    >>> frame = torch.rand(2, 2, 7, 5)
    >>> patches = fold_patches(frame, patch_size=4)
    >>> torch.equal(unfold_patches(patches, 4, height=7, width=5), frame)
    True
    """
    if patch_size == 1:
        return patches
    return F.pixel_shuffle(patches, patch_size)[..., :height, :width]
