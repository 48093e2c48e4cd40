"""States of networks as flat lists of tensors, and what matters of tensors before their values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Reads", "Signature", "leaves_of", "replaced", "signatures_of"]

Tree = TypeVar("Tree")


class Signature(NamedTuple):
    """All that matters of a tensor before its values are known."""

    shape: torch.Size
    kind: torch.dtype
    device: torch.device
    requires_grad: bool


Reads = tuple[Signature | None, ...]
"""Signatures of the frame of a step, and of what it reads besides."""


def signatures_of(tensors: Sequence[Tensor | None]) -> Reads:
    """Return the signatures of tensors, as autograd sees them here."""
    with_grad = torch.is_grad_enabled()
    return tuple(
        None
        if each is None
        else Signature(each.shape, each.dtype, each.device, with_grad and each.requires_grad)
        for each in tensors
    )


def leaves_of(tree: Any) -> list[Tensor | None]:
    """Return the tensors of a state: of tuples in tuples, named or not."""
    if isinstance(tree, tuple):
        return [leaf for part in tree for leaf in leaves_of(part)]
    return [tree]


def replaced(tree: Tree, leaves: Iterator[Tensor | None]) -> Tree:
    """Return a state of the same form with other tensors."""
    if not isinstance(tree, tuple):
        return next(leaves)  # type: ignore[return-value]
    parts = [replaced(part, leaves) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)  # type: ignore[return-value]
