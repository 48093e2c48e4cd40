"""Whether data sets, which users may have made themselves, are such as a model is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from darts import TimeSeries
from darts.utils.likelihood_models.torch import TorchLikelihood

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.models.checks import check_static, check_values, refuse_unobserved
from darts_mim.models.covariates import CovariateLayout, lay_out
from darts_mim.models.likelihoods import check_support

COVARIATES = ("past_covariates", "future_covariates")


def grid_of(series: TimeSeries, given: Grid | None) -> Grid | None:
    """Return the grid of a series: what it says itself, unless one is given."""
    if given is not None:
        if given.n_components != series.n_components:
            return given  # Darts, or the network's set-up, says so
        series = _with_grid(series, given)
    return Grid.from_series(series)


def grids_of(dataset: Any, given: Grid | None) -> list[Grid | None]:
    """Return the grid that a data set brings, or those of the series it is made from."""
    if isinstance(grid := getattr(dataset, METADATA_KEY, None), Grid):
        return [grid]
    return [grid_of(series, given) for series in getattr(dataset, "series", ())] or [None]


def most_telling(grids: Sequence[Grid | None]) -> Grid | None:
    """Return the first grid with a mask, else the first one that there is."""
    found = [grid for grid in grids if grid is not None]
    return next((grid for grid in found if grid.mask is not None), found[0] if found else None)


def check_grid(grid: Grid | None, expected: Grid | None, model_name: str) -> None:
    """Refuse a grid that is not the model's; a series without a grid, or a mask, may pass."""
    if grid is None or expected is None:
        return
    is_other = grid.shape != expected.shape or grid.channel_names != expected.channel_names
    has_other_mask = grid.mask is not None and not np.array_equal(grid.mask, expected.mask)  # type: ignore[arg-type]
    if is_other or has_other_mask:
        raise ValueError(
            f"`series` has the grid {grid}, but the model's grid is {expected}. Give series of one "
            f"grid, or override the grid of the series with `{model_name}(grid=...)`."
        )


def with_own_grid(series: TimeSeries, grid: Grid, *, is_given: bool) -> TimeSeries:
    """Return a history with the model's grid, which its forecast inherits."""
    if grid.n_components != series.n_components:
        return series
    own = None if is_given else Grid.from_series(series)
    if own is not None and (own.mask is not None or grid.mask is None):
        return series
    return _with_grid(series, grid)


def _with_grid(series: TimeSeries, grid: Grid) -> TimeSeries:
    """Return a series with a grid; unlike ``with_metadata``, no values are copied."""
    return TimeSeries(
        times=series.time_index,
        values=series.all_values(copy=False),
        components=series.components.to_list(),
        static_covariates=series.static_covariates,
        hierarchy=series.hierarchy,
        metadata={**(series.metadata or {}), METADATA_KEY: grid.to_metadata()},
        copy=False,
    )


def layouts_of(dataset: Any, grid: Grid | None) -> dict[str, CovariateLayout]:
    """Return the layouts of a data set's covariates, as far as it is made from series."""
    found = {name: getattr(dataset, name, None) for name in COVARIATES}
    return {name: lay_out(name, each, grid) for name, each in found.items() if each}


def check_layouts(
    got: Mapping[str, CovariateLayout], expected: Mapping[str, CovariateLayout]
) -> None:
    """Refuse covariates that lie on the grid in other channels than those fitted on.

    Where the model was fitted on a data set that does not say, all components are scalars.
    """
    for name, layout in got.items():
        fitted = expected.get(name, CovariateLayout(0))
        # Darts compares the numbers of components
        if layout[1:] != fitted[1:]:
            raise ValueError(
                f"`{name}` have {layout}, but the model was fitted on {fitted}; give covariates "
                "like those it was fitted on"
            )


def check_contents(
    dataset: Any, grid: Grid | None, likelihood: TorchLikelihood | None, *, is_training: bool
) -> None:
    """Check the values of a data set's series, covariates and weights, as far as it has any."""
    all_series: Sequence[TimeSeries] = getattr(dataset, "series", None) or ()
    if len(dataset) and dataset[0].static_covariates is not None:
        check_static(all_series)
    for name in COVARIATES:
        for series, covariates in zip(all_series, _each(dataset, name), strict=False):
            start, end = covariates.time_index.searchsorted(
                [series.start_time(), series.end_time()]
            )
            check_values(covariates, name=name, start=int(start), end=int(end) + 1)
    for weight in _each(dataset, "sample_weight"):
        check_values(weight, name="sample_weight", grid=grid)
    known = [check_values(series, may_miss=True, grid=grid) for series in all_series]
    if not known:
        return
    grid = grid or Grid(channels=len(known[0]), height=1, width=1)
    if grid.n_components != len(known[0]):
        return  # the network's set-up says so
    if is_training:
        refuse_unobserved(np.any(known, axis=0), grid)
    if likelihood is not None:
        for series in all_series:
            check_support(series, likelihood, grid)


def _each(dataset: Any, name: str) -> Iterable[TimeSeries]:
    return getattr(dataset, name, None) or ()
