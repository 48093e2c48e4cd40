"""Additions to Darts' likelihoods: a frame to feed back, units, and checks.

Legend: B batch, T time, N components, P likelihood parameters.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from darts import TimeSeries
from darts.models.components.layer_norm_variants import RINorm
from darts.utils.likelihood_models.torch import (
    BetaLikelihood,
    CauchyLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GumbelLikelihood,
    LaplaceLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
)
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.nn.functional import softplus

from darts_mim.grid import Grid
from darts_mim.models.checks import stretches

__all__ = [
    "check_normalisation",
    "check_priors",
    "check_support",
    "denormalise",
    "locations",
    "point_forecast",
    "unchecked_distributions",
]

# a location and a scale, which is the softplus of the network's output
_LOCATION_SCALE = (CauchyLikelihood, GaussianLikelihood, GumbelLikelihood, LaplaceLikelihood)
# at first a mean in the units of the series
_COUNTS = (NegativeBinomialLikelihood, PoissonLikelihood)


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
        The network's output for the parameters, of shape (B, T, N, P).

    Returns
    -------
    Tensor
        Values of shape (B, T, N), through which gradients flow.
    """
    if isinstance(likelihood, QuantileRegression):
        return output[..., likelihood.quantiles.index(0.5)]
    if isinstance(likelihood, GaussianLikelihood):
        # unlike the loss and the samples, torch's Normal refuses a scale that was rounded to 0
        return output[..., 0]
    distribution: Any = likelihood._distr_from_params(likelihood._params_from_output(output))
    try:
        median: Tensor = distribution.icdf(output.new_tensor(0.5))
    except NotImplementedError:
        mean: Tensor = distribution.mean
        return mean
    return median


def denormalise(likelihood: TorchLikelihood | None, output: Tensor, rin: RINorm) -> Tensor:
    """Bring a network's output for normalised frames to the units of the series.

    Darts' own models bring all parameters back like values, so that the scale of a Gaussian
    follows the level of the series. Here a location or a mean is brought back like a value, a
    scale is multiplied alone, and a dispersion stays.

    Parameters
    ----------
    likelihood
        One of Darts' likelihoods that ``check_normalisation`` accepts; ``None`` for values.
    output
        The network's output for the parameters, of shape (B, T, N, P).
    rin
        The normalisation that was applied to the frames.

    Returns
    -------
    Tensor
        The output without normalisation, of shape (B, T, N, P).
    """
    if likelihood is None or isinstance(likelihood, QuantileRegression):
        values: Tensor = rin.inverse(output)
        return values
    first, others = rin.inverse(output[..., :1]), output[..., 1:]
    if isinstance(likelihood, _LOCATION_SCALE):
        factor = rin.stdev[..., None]
        if rin.affine:
            factor = factor / (rin.affine_weight.abs()[:, None] + rin.eps**2)
        scale = factor * softplus(others)
        # the inverse of softplus, log(exp(scale) - 1), so that neither end overflows
        tiny = torch.finfo(scale.dtype).tiny
        others = scale + torch.log(-torch.expm1(-scale.clamp(min=tiny)))
    return torch.cat([first, others], dim=-1)


def locations(likelihood: TorchLikelihood | None) -> tuple[bool, ...]:
    """Return which parameters of a likelihood lie where the values lie: quantiles, or a mean."""
    if likelihood is None:
        return (True,)
    n = likelihood.num_parameters
    if isinstance(likelihood, QuantileRegression):
        return (True,) * n
    has_location = isinstance(likelihood, (*_LOCATION_SCALE, *_COUNTS))
    return (has_location, *[False] * (n - 1))


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """Let torch's distributions take any parameters and values in this context."""
    is_checked: bool = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(is_checked)


def check_normalisation(
    likelihood: TorchLikelihood | None, normalisation: bool | dict[str, Any]
) -> None:
    """Refuse reversible instance normalisation of parameters that it cannot bring back.

    Parameters
    ----------
    likelihood
        One of Darts' likelihoods, or ``None``.
    normalisation
        The model's option ``use_reversible_instance_norm``.

    Raises
    ------
    ValueError
        If there are such parameters.
    """
    fits = (*_LOCATION_SCALE, *_COUNTS, QuantileRegression)
    if likelihood is None or not normalisation or isinstance(likelihood, fits):
        return
    names = ", ".join(sorted(each.__name__ for each in fits))
    raise ValueError(
        f"`use_reversible_instance_norm` works with {names}, got `likelihood={likelihood}`, whose "
        "parameters do not follow the level and the scale of a series; leave the normalisation "
        "out, or choose one of those likelihoods"
    )


def check_priors(likelihood: TorchLikelihood | None, grid: Grid) -> None:
    """Refuse priors of single components on a grid with a mask, which hides some of them.

    Raises
    ------
    ValueError
        If there are any.
    """
    if grid.mask is not None and _has_component_priors(likelihood):
        raise ValueError(
            f"`likelihood` has priors for single components ({type(likelihood).__name__}), but "
            "the grid's mask hides some of them; give a prior for all components, a number"
        )


def check_support(series: TimeSeries, likelihood: TorchLikelihood, grid: Grid) -> None:
    """Refuse values that a likelihood gives no probability.

    Those that the grid's mask hides may pass. So may missing values, unless the likelihood is of
    all components together or has priors for single ones.

    Raises
    ------
    ValueError
        If there is one.
    """
    is_seen = np.ones(grid.shape, dtype=bool) if grid.mask is None else grid.mask
    seen = np.flatnonzero(np.broadcast_to(is_seen, grid.shape))
    support = _support(likelihood, len(seen))
    may_miss = support.event_dim == 0 and not _has_component_priors(likelihood)
    if support is constraints.real and may_miss:
        return
    for first, part in stretches(series):
        values = part[:, seen]
        is_allowed = _check_each(support, values) | (may_miss & np.isnan(values))
        if is_allowed.all():
            continue
        time, component, sample = np.argwhere(~is_allowed)[0]
        frame, date = values[time, :, sample], series.time_index[first + time]
        names = series.components[seen]
        missing = np.flatnonzero(np.isnan(frame))
        if len(missing) and not may_miss:
            raise ValueError(
                f"`series` must have no missing values with a {type(likelihood).__name__} that "
                "is of all components together or has priors for single ones, got NaN in "
                f"component {names[missing[0]]!r} at {date}; fill the gaps first, for example "
                "with `darts.utils.missing_values.fill_missing_values`"
            )
        got = f"{frame[component]} in component {names[component]!r}"
        if support.event_dim == 1:
            got = f"values from {frame.min()} to {frame.max()} with the sum {frame.sum()}"
        raise ValueError(
            f"`series` must lie in the support of {type(likelihood).__name__}, {support}, got "
            f"{got} at {date}; scale the series into it, or choose another likelihood"
        )


def _has_component_priors(likelihood: TorchLikelihood | None) -> bool:
    priors: Any = None if likelihood is None else likelihood._prior_params
    return any(np.ndim(prior) > 0 for prior in priors or () if prior is not None)


def _support(likelihood: TorchLikelihood, n_components: int) -> Any:
    if isinstance(likelihood, QuantileRegression):
        return constraints.real
    if type(likelihood) in _SUPPORTS:
        return _SUPPORTS[type(likelihood)]
    output = torch.zeros(1, 1, n_components, likelihood.num_parameters)
    distribution: Any = likelihood._distr_from_params(likelihood._params_from_output(output))
    return distribution.support


def _check_each(support: Any, values: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Return which of the values (T, N, S) lie in a support."""
    allowed: NDArray[np.bool_]
    if support.event_dim == 1:  # the components together
        joint = support.check(torch.from_numpy(np.moveaxis(values, 1, -1).copy())).numpy()
        allowed = np.broadcast_to(joint[:, None], values.shape)
        return allowed
    allowed = support.check(torch.from_numpy(np.ascontiguousarray(values))).numpy()
    return allowed
