"""Forecasts that are distributions: samples of each cell, or quantiles as components.

Legend: T time, N components of the grid.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
from darts import TimeSeries

from darts_mim.grid import METADATA_KEY, Grid, grid_of

Floats: TypeAlias = npt.NDArray[np.floating[Any]]

_QUANTILE: Final = re.compile(r"_q(\d\.\d{3})$")


def quantile_levels(series: TimeSeries) -> list[str]:
    """Return the quantiles that a forecast has as components, as Darts writes them; none if none.

    Examples
    --------
    >>> components = ["rain_0_0_q0.100", "rain_0_0_q0.900"]
    >>> quantile_levels(TimeSeries.from_values(np.zeros((3, 2)), columns=components))
    ['0.100', '0.900']
    """
    found = [_QUANTILE.search(name) for name in series.components]
    if not all(found):
        return []
    return list(dict.fromkeys(match[1] for match in found if match is not None))


def is_distribution(series: TimeSeries) -> bool:
    """Tell whether a forecast holds samples or quantiles."""
    return series.is_stochastic or len(quantile_levels(series)) > 1


def grid_of_forecast(series: TimeSeries) -> Grid:
    """Return the grid of a series, which may hold several quantiles of each cell."""
    n_levels = len(quantile_levels(series))
    if n_levels < 2:
        return grid_of(series)
    metadata = series.metadata or {}
    n_components = series.n_components // n_levels
    if METADATA_KEY not in metadata:
        return Grid(n_components, 1, 1)
    return Grid.from_metadata(metadata[METADATA_KEY])


def central_values(series: TimeSeries, *, mean: bool = False) -> Floats:
    """Return the median (T, N) of a distribution, or the mean of its samples; else the values.

    Raises
    ------
    ValueError
        If the mean is wanted of quantiles.
    """
    values: Floats
    if not is_distribution(series):
        values = series.values(copy=False)
    elif not mean:
        values = quantiles(series, [0.5])[0]
    elif series.is_stochastic:
        values = series.all_values(copy=False).mean(axis=2)
    else:
        raise ValueError(
            "`centre` must be 'median' for a forecast that holds quantiles, got 'mean'; forecast "
            "samples, with `predict(..., num_samples=...)`"
        )
    return values


def without_quantiles(series: TimeSeries) -> TimeSeries:
    """Return the median of a forecast that holds quantiles, any other as it is.

    Raises
    ------
    ValueError
        If the forecast does not hold its median.
    """
    if len(levels := quantile_levels(series)) < 2:
        return series
    if "0.500" not in levels:
        raise _missing("0.500", levels)
    return series[[name for name in series.components if name.endswith("_q0.500")]]


def quantiles(series: TimeSeries, levels: Sequence[float]) -> Floats:
    """Return quantiles (levels, T, N) of a distribution.

    Raises
    ------
    ValueError
        If the forecast holds other quantiles than these.
    """
    if series.is_stochastic:
        samples = series.all_values(copy=False)
        found: Floats = np.quantile(samples, levels, axis=2).astype(samples.dtype)
        return found
    held, values = quantile_levels(series), series.values(copy=False)
    wanted = [f"{level:.3f}" for level in levels]
    if missing := [level for level in wanted if level not in held]:
        raise _missing(missing[0], held)
    return np.stack([values[:, held.index(level) :: len(held)] for level in wanted])


def _missing(level: str, held: list[str]) -> ValueError:
    return ValueError(
        f"the forecast must hold the quantile {level} for this picture, got {', '.join(held)}; "
        f"forecast it too, or choose the `interval` of two that it holds"
    )
