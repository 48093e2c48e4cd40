"""What grid models add to Darts' likelihoods: a frame to feed back, and a check of the data.

Legend: B batch, T time, N components, P likelihood parameters.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import (
    BetaLikelihood,
    GammaLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from darts_mim.grid import Grid
from darts_mim.models.checks import stretches

__all__ = ["check_priors", "check_support", "point_forecast"]


class _OpenUnitInterval(constraints.Constraint):
    """Between 0 and 1, both excluded."""

    def check(self, value: Tensor) -> Tensor:
        return (value > 0) & (value < 1)

    def __repr__(self) -> str:
        return "0 < x < 1"


# Where torch's support is wider, but the loss of its bounds is infinite; and Darts' loss for
# counts, which reaches between them: scaled counts may pass, as they do in other models.
_SUPPORTS = {
    BetaLikelihood: _OpenUnitInterval(),
    GammaLikelihood: constraints.positive,
    PoissonLikelihood: constraints.nonnegative,
}


def point_forecast(likelihood: TorchLikelihood, output: Tensor) -> Tensor:
    """Return the centre of predicted distributions: the median where torch has one, else the mean.

    Parameters
    ----------
    likelihood
        One of Darts' likelihoods.
    output
        What the network says of the parameters, of shape (B, T, N, P).

    Returns
    -------
    Tensor
        Values of shape (B, T, N), through which gradients flow.
    """
    if isinstance(likelihood, QuantileRegression):
        return output[..., likelihood.quantiles.index(0.5)]
    distribution: Any = likelihood._distr_from_params(likelihood._params_from_output(output))
    try:
        median: Tensor = distribution.icdf(output.new_tensor(0.5))
    except NotImplementedError:
        mean: Tensor = distribution.mean
        return mean
    return median


def check_priors(likelihood: TorchLikelihood | None, grid: Grid) -> None:
    """Refuse priors of single components on a grid with a mask, which hides some of them.

    Raises
    ------
    ValueError
        If there are any.
    """
    priors: Any = likelihood._prior_params if likelihood is not None else None
    if grid.mask is not None and any(np.ndim(prior) for prior in priors or () if prior is not None):
        raise ValueError(
            f"`likelihood={likelihood}` has priors for single components, but the grid's mask "
            "hides some of them; give a prior for all components, a number"
        )


def check_support(series: TimeSeries, likelihood: TorchLikelihood, grid: Grid) -> None:
    """Refuse values that a likelihood gives no probability.

    Missing values may pass, unless the likelihood is of all components together, and so may
    those that the grid's mask hides.

    Raises
    ------
    ValueError
        If there is one.
    """
    is_seen = np.ones(grid.shape, dtype=bool) if grid.mask is None else grid.mask
    seen = np.flatnonzero(np.broadcast_to(is_seen, grid.shape))
    support = _support(likelihood, len(seen))
    if support is None or support is constraints.real:
        return
    for first, part in stretches(series):
        is_allowed = _is_allowed(support, part[:, seen])
        if is_allowed.all():
            continue
        time, component, sample = np.argwhere(~is_allowed)[0]
        raise ValueError(
            f"`series` must lie in the support of {type(likelihood).__name__}, {support}, got "
            f"{part[time, seen[component], sample]} in component "
            f"{series.components[seen[component]]!r} at {series.time_index[first + time]}; scale "
            "the series into it, or choose another likelihood"
        )


def _support(likelihood: TorchLikelihood, n_components: int) -> Any:
    if isinstance(likelihood, QuantileRegression):
        return None
    if type(likelihood) in _SUPPORTS:
        return _SUPPORTS[type(likelihood)]
    output = torch.zeros(1, 1, n_components, likelihood.num_parameters)
    distribution: Any = likelihood._distr_from_params(likelihood._params_from_output(output))
    return distribution.support


def _is_allowed(support: Any, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which of the values (T, N, S) lie in a support."""
    allowed: NDArray[np.bool_]
    if support.event_dim == 1:  # the components together
        joint = support.check(torch.from_numpy(np.moveaxis(values, 1, -1))).numpy()
        allowed = np.broadcast_to(joint[:, None], values.shape)
        return allowed
    allowed = support.check(torch.from_numpy(np.ascontiguousarray(values))).numpy()
    allowed |= np.isnan(values)
    return allowed
