"""Subtract what is usual for the season, and calm the variance of counts and rain.

Letters for shapes: T time, S samples, N components, P likelihood parameters, K times of a season.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import (
    FittableDataTransformer,
    InvertibleDataTransformer,
    InvertibleMapper,
)
from numpy.typing import NDArray

from darts_mim.grid import Grid
from darts_mim.series import parameter_names, rebuild_series
from darts_mim.transforms import observed_components

__all__ = ["SeasonalAnomalies", "variance_stabiliser"]

Season = Literal["time_of_day", "time_of_week", "month", "day_of_year"]

_LOCATIONS = ("mu", "xzero")  # parameters that lie where the values lie, as quantiles do
_SCALES = ("sigma", "b", "beta", "gamma")  # parameters that only a division changes


class SeasonalAnomalies(FittableDataTransformer, InvertibleDataTransformer):
    """Subtract the training mean of each cell at that time of the day, week or year.

    A model then forecasts the anomalies (or departures) alone. On city flows, the average of the
    season is a better forecast than the last frame, and a model need not learn it. The transformer
    is used like Darts' `Scaler`: on one series or a sequence, in a `Pipeline`, and as
    ``data_transformers`` of `historical_forecasts` and `backtest`.

    `inverse_transform` takes forecasts of anomalies: points, samples, quantiles, and the parameters
    of a Gaussian, Laplace, Cauchy or Gumbel likelihood. Grid, times, static covariates, metadata
    and dtype survive. NaN do not enter the means and stay NaN; cells that the grid's mask hides
    keep their values.

    Parameters
    ----------
    by : {"time_of_day", "time_of_week", "month", "day_of_year"}
        What the means are taken by. February 29 counts as February 28.
    divide : bool
        Whether to divide by the standard deviation, of the same cell and time of the season, as
        well. Where it is 0, the anomalies are not divided.
    name : str
        Name of the transformer.
    global_fit : bool
        Whether all series given to `fit`, say the parts of a series with gaps, share their means.
        Otherwise each has its own, and the other methods expect the series in the order they were
        fitted in, or ``series_idx``.
    n_jobs : int
        Number of series handled at the same time; -1 for as many as there are processors.
    verbose : bool
        Whether to show progress.

    Raises
    ------
    ValueError
        If `by` is none of the four; from the methods: if a series has no dates, has other
        components than the training data, is at a time of the season that the training data lack,
        or holds parameters of another likelihood.

    Notes
    -----
    A cell that was never observed at a time of the season has the anomaly NaN at that time.

    Examples
    --------
    Two weeks of hourly flows with a rush hour, and a third that has one vehicle more:

    >>> from darts_mim import frames_to_series, series_to_frames
    >>> hours = np.arange(21 * 24)
    >>> flow = np.multiply.outer(10.0 + 90.0 * (hours % 24 == 8), np.ones((1, 3, 4)))
    >>> flow[14 * 24 :] += 1
    >>> series = frames_to_series(flow, start="2026-01-05", freq="h")
    >>> anomalies = SeasonalAnomalies("time_of_day")
    >>> _ = anomalies.fit(series[: 14 * 24])
    >>> left = anomalies.transform(series[14 * 24 :])
    >>> np.unique(left.values()).tolist()
    [1.0]
    >>> np.allclose(anomalies.inverse_transform(left).values(), series[14 * 24 :].values())
    True
    """

    def __init__(
        self,
        by: Season = "time_of_week",
        divide: bool = False,
        name: str = "SeasonalAnomalies",
        global_fit: bool = True,
        n_jobs: int = 1,
        verbose: bool = False,
    ) -> None:
        if by not in get_args(Season):
            raise ValueError(f"`by` must be one of {get_args(Season)}, got {by!r}")
        # Darts passes attributes set before `super().__init__` to the methods below, as "fixed".
        self.by = by
        self.divide = divide
        super().__init__(
            name=name,
            n_jobs=n_jobs,
            verbose=verbose,
            mask_components=False,  # a model needs all cells
            global_fit=global_fit,
        )

    @staticmethod
    def ts_fit(
        series: TimeSeries | Sequence[TimeSeries],
        params: Mapping[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> _Usual:
        """Return the means and deviations of the season; called by `fit`."""
        batch = [series] if isinstance(series, TimeSeries) else series
        by, n = params["fixed"]["by"], batch[0].n_components
        times = [_slots(each, by) for each in batch]
        slots = np.unique(np.concatenate(times))
        sums = np.zeros((3, len(slots), n))  # of ones, values and their squares
        for each, when in zip(batch, times, strict=True):
            _check_components(each, n)
            values = each.all_values(copy=False)
            for t, k in enumerate(np.searchsorted(slots, when)):
                row = values[t].astype(np.float64)  # (N, S)
                known = np.isfinite(row)
                row = np.where(known, row, 0.0)
                sums[:, k] += known.sum(axis=1), row.sum(axis=1), (row * row).sum(axis=1)
        count = np.where(sums[0] > 0, sums[0], np.nan)
        mean = sums[1] / count
        deviation = np.ones_like(mean)
        if params["fixed"]["divide"]:
            variance = sums[2] / count - mean**2
            # a constant leaves rounding errors, which are no deviation
            is_clear = variance > 1e-10 * np.maximum(mean**2, np.finfo(np.float32).tiny)
            deviation[is_clear] = np.sqrt(variance[is_clear])
        grid = Grid.from_series(batch[0])
        if grid is not None:
            hidden = ~observed_components(grid)
            mean[:, hidden], deviation[:, hidden] = 0.0, 1.0
        return _Usual(slots, mean, deviation)

    @staticmethod
    def ts_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> TimeSeries:
        """Return the anomalies of a series; called by `transform`."""
        mean, deviation = _at(series, params, series.n_components)
        values = (series.all_values(copy=False) - mean[..., None]) / deviation[..., None]
        return rebuild_series(series, values=values)

    @staticmethod
    def ts_inverse_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> TimeSeries:
        """Return the series of these anomalies; called by `inverse_transform`."""
        names = parameter_names(series) or [""]
        is_location = _locations(names)
        n = series.n_components // len(names)
        mean, deviation = _at(series, params, n)
        t, _, s = series.shape
        values = series.all_values(copy=False).reshape(t, n, len(names), s)
        shift = mean[..., None] * is_location  # (T, N, P)
        values = values * deviation[..., None, None] + shift[..., None]
        return rebuild_series(series, values=values.reshape(series.shape))


class _Usual(NamedTuple):
    """The result of a fit: what is usual at the K times of a season, in each component."""

    slots: NDArray[np.int64]  # (K,), increasing
    mean: NDArray[np.float64]  # (K, N)
    deviation: NDArray[np.float64]  # (K, N)


def _slots(series: TimeSeries, by: Season) -> NDArray[np.int64]:
    """Return the time of the season at each time of a series, as a number."""
    times = series.time_index
    if not isinstance(times, pd.DatetimeIndex):
        raise ValueError(
            "`series` must have dates to have a season, but its times are integers; pass `start` "
            "and `freq` to `frames_to_series`"
        )
    second = (times - times.normalize()) // pd.Timedelta("1s")
    leap_day = (times.month == 2) & (times.day == 29)
    slots: dict[Season, Callable[[], pd.Index[Any]]] = {
        "time_of_day": lambda: second,
        "time_of_week": lambda: times.dayofweek * 86_400 + second,
        "month": lambda: times.month,
        "day_of_year": lambda: times.month * 100 + times.day - leap_day,
    }
    return np.asarray(slots[by](), dtype=np.int64)


def _at(
    series: TimeSeries, params: Mapping[str, Any], n_components: int
) -> tuple[NDArray[np.floating[Any]], NDArray[np.floating[Any]]]:
    """Return the mean and the deviation, each (T, N), at the times of a series, in its type."""
    usual: _Usual = params["fitted"]
    by = params["fixed"]["by"]
    _check_components(series, usual.mean.shape[1], n_components)
    wanted = _slots(series, by)
    rows = np.searchsorted(usual.slots, wanted).clip(max=len(usual.slots) - 1)
    missing = usual.slots[rows] != wanted
    if missing.any():
        raise ValueError(
            f"`series` is at {series.time_index[missing][0]}, a {by.replace('_', ' ')} that the "
            "training data do not have; fit on a longer series, or choose another `by`"
        )
    return usual.mean.astype(series.dtype)[rows], usual.deviation.astype(series.dtype)[rows]


def _check_components(series: TimeSeries, expected: int, got: int | None = None) -> None:
    got = series.n_components if got is None else got
    if got != expected:
        raise ValueError(
            f"`series` must have the {expected} components of the training data, got {got}; each "
            "cell has its own mean, so fit the transformer on this grid"
        )


def _locations(names: Sequence[str]) -> NDArray[np.bool_]:
    """Find which likelihood parameters lie where the values lie, (P,)."""
    is_location = [name in ("", *_LOCATIONS) or name.startswith("q") for name in names]
    others = [name for name, lies in zip(names, is_location, strict=True) if not lies]
    if len(others) > 1 or not set(others) <= set(_SCALES) or (others and len(names) != 2):
        raise ValueError(
            f"`series` holds the likelihood parameters {list(names)}, which have no mean to add "
            "the season to; forecast samples or quantiles instead"
        )
    return np.array(is_location)


def variance_stabiliser(kind: Literal["sqrt", "log1p", "asinh"] = "sqrt") -> InvertibleMapper:
    """Return a transformer that makes counts or rain vary as much where they are large.

    The variance of counts grows with their mean; a squared error is then ruled by the busiest
    cells, and quantiles are harder to learn. The inverse is never negative.

    Parameters
    ----------
    kind : {"sqrt", "log1p", "asinh"}
        The map: the square root for counts, the other two for amounts that spread over orders of
        magnitude.

    Returns
    -------
    darts.dataprocessing.transformers.InvertibleMapper
        For non-negative series. It is increasing: quantiles of its result come back as quantiles.
        A mean does not come back as the mean.

    Raises
    ------
    ValueError
        If `kind` is none of the three.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> rain = frames_to_series(np.full((2, 1, 3, 4), 9.0))
    >>> stabiliser = variance_stabiliser("sqrt")
    >>> roots = stabiliser.transform(rain)
    >>> float(roots.values()[0, 0]), float(stabiliser.inverse_transform(roots).values()[0, 0])
    (3.0, 9.0)
    """
    if kind not in _MAPS:
        raise ValueError(f"`kind` must be one of {tuple(_MAPS)}, got {kind!r}")
    fn, inverse_fn = _MAPS[kind]
    return InvertibleMapper(fn=fn, inverse_fn=inverse_fn, name=kind)


def _square(values: Any) -> Any:
    return np.maximum(values, 0) ** 2


def _expm1(values: Any) -> Any:
    return np.expm1(np.maximum(values, 0))


def _sinh(values: Any) -> Any:
    return np.sinh(np.maximum(values, 0))


_MAPS: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sqrt": (np.sqrt, _square),
    "log1p": (np.log1p, _expm1),
    "asinh": (np.arcsinh, _sinh),
}
