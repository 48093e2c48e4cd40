"""Values that are not known: hidden by the grid's mask, or missing (NaN).

Legend: B batch, T time, N components, P likelihood parameters, K known values.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from darts.models.components.layer_norm_variants import RINorm
from torch import Tensor


def selector(
    known: Tensor, observed: Tensor | None, components: Tensor | None
) -> Callable[[Tensor], Tensor]:
    """Return a function that selects known values (B, T, N), or their parameters (B, T, N, P).

    If only the mask hides values, it selects the components that the mask leaves, so that a
    likelihood of all components sees them together; else single values, (1, K, 1) or (1, K, 1, P).

    Parameters
    ----------
    known
        Which values are known, of shape (B, T, N).
    observed, components
        Which components the mask leaves, as booleans (N,) and as indices; ``None`` without a mask.
    """
    if components is not None and observed is not None and bool((known == observed).all()):
        return lambda values: values.index_select(2, components)
    return lambda values: values[known][None, :, None]


def normalise(
    values: Tensor, known: Tensor | None, rin: RINorm | None, *, context: int, channels: int
) -> Tensor:
    """Normalise frames with the statistics of the first ones; unknown values become 0.

    The statistics are Darts', but of the known values alone. A component of which fewer than two
    are known, and not all, has those of its channel: it has no variance of its own.

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
    channels
        Number of channels that the components are of.
    """
    if known is None:
        if rin is None:
            return values
        rin(values[:, :context])
        return rin.transform(values)
    values = values.masked_fill(~known, 0.0)
    if rin is None:
        return values
    rin.mean, variance = _statistics(values[:, :context], known[:, :context], channels)
    rin.stdev = torch.sqrt(variance + rin.eps)
    return rin.transform(values).masked_fill(~known, 0.0)


def _statistics(values: Tensor, known: Tensor, channels: int) -> tuple[Tensor, Tensor]:
    """Return mean and variance (B, 1, N) of the known ones of values (B, T, N)."""
    n_cells = values.shape[2] // channels
    of_each = _moments(values, known, (1,))
    of_channel = (
        moment.expand(-1, -1, -1, n_cells).flatten(2)  # (B, 1, C, 1) -> (B, 1, N)
        for moment in _moments(
            values.unflatten(2, (channels, n_cells)),
            known.unflatten(2, (channels, n_cells)),
            (1, 3),
        )
    )
    has_own = of_each[2] >= min(2, values.shape[1])
    mean, variance, count = (
        torch.where(has_own, own, common) for own, common in zip(of_each, of_channel, strict=True)
    )
    # predictions of a channel without known values stay as they are
    return mean, variance.masked_fill(count == 0, 1.0)


def _moments(values: Tensor, known: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and number of the known ones of values."""
    count = known.sum(dims, keepdim=True)
    share = known.to(values) / count.clamp(min=1)
    mean = (values * share).sum(dims, keepdim=True)
    variance = ((values - mean) ** 2 * share).sum(dims, keepdim=True)
    return mean, variance, count
