"""Values that are not known: hidden by the grid's mask, or missing (NaN).

Legend: B batch, T time, N components, P likelihood parameters, K known values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from darts.models.components.layer_norm_variants import RINorm
from torch import Tensor

__all__ = ["normalise", "selector"]


def selector(known: Tensor, observed: Tensor | None) -> Callable[[Tensor], Tensor]:
    """Return what selects the known ones of values (B, T, N) or of parameters (B, T, N, P).

    Where just a mask hides some, the components that it leaves are selected, so that a likelihood
    of all components together sees them together; else the values one by one, as (1, K, 1) or
    (1, K, 1, P).

    Parameters
    ----------
    known
        Which values are known, of shape (B, T, N).
    observed
        Which components the mask leaves, of shape (N,); ``None`` without a mask.
    """
    if observed is not None and bool((known == observed).all()):
        components = observed.nonzero()[:, 0]
        return lambda values: values.index_select(2, components)
    return lambda values: values[known][None, :, None]


def normalise(values: Tensor, known: Tensor | None, rin: RINorm | None, context: int) -> Tensor:
    """Normalise frames with the statistics of the first ones; unknown values become 0.

    Parameters
    ----------
    values
        Frames of shape (B, T, N).
    known
        Which values are known, of shape (B, T, N); ``None`` for all.
    rin
        Darts' reversible instance normalisation, which keeps the statistics; ``None`` without.
    context
        Number of the frames that the statistics are of.
    """
    if known is None:
        if rin is None:
            return values
        rin(values[:, :context])
        return rin.transform(values)
    values = values.masked_fill(~known, 0.0)
    if rin is None:
        return values
    # Darts' statistics, but of the known values alone
    share = known[:, :context].to(values)
    share = share / share.sum(dim=1, keepdim=True).clamp(min=1.0)
    rin.mean = (values[:, :context] * share).sum(dim=1, keepdim=True)
    variance = ((values[:, :context] - rin.mean) ** 2 * share).sum(dim=1, keepdim=True)
    rin.stdev = torch.sqrt(variance + rin.eps)
    return rin.transform(values).masked_fill(~known, 0.0)
