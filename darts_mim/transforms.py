"""Map series to series: scale by channel, and drop the cells that a mask hides.

Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns),
N = C*H*W components, K scaled channels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from darts.dataprocessing.transformers import FittableDataTransformer, InvertibleDataTransformer
from numpy.typing import NDArray
from sklearn.preprocessing import MinMaxScaler

from darts_mim.grid import METADATA_KEY, Grid, grid_of
from darts_mim.series import grid_of_forecast, parameter_names, rebuild_series

_STRETCH = 2**20  # values handled in one go, so that memory maps stay out of memory


class GridScaler(FittableDataTransformer, InvertibleDataTransformer):
    """Scale each channel of a grid series with statistics over all its cells, times and samples.

    Darts' `Scaler` takes every cell for a variable of its own: it would stretch a quiet street to
    the range of a busy one, and its statistics fit one grid alone. This one learns, say, a minimum
    and a maximum per channel, so frames keep their contrast and other grids of the same channels
    can be scaled too. In all else it is used like `Scaler`: on one series or a sequence, in a
    `Pipeline`, and as ``data_transformers`` of `historical_forecasts` and `backtest`. A series
    without a grid has a channel per component, and is scaled as `Scaler` scales it.

    NaN do not enter the statistics and stay NaN. Cells that the grid's mask hides do not enter
    them either, and keep their values. Grid, times, static covariates, hierarchy, metadata and
    dtype survive.

    Parameters
    ----------
    scaler : object, optional
        A scaler like those of scikit-learn, with ``fit``, ``transform`` and ``inverse_transform``,
        that leaves NaN alone. A copy of it scales each channel, as a single column of the cells,
        times and samples, (T*S*H*W, 1). Default: ``MinMaxScaler(feature_range=(0, 1))``.
    name : str
        Name of the transformer.
    global_fit : bool
        Whether all series given to `fit` share their statistics, unlike in `Scaler` by default.
        Otherwise each has its own, and the other methods expect the series in the order they were
        fitted in, or ``series_idx``.
    n_jobs : int
        Number of series handled at the same time; -1 for as many as there are processors.
    verbose : bool
        Whether to show progress.
    columns : str or sequence of str, optional
        Names of the channels to scale; the others keep their values. Of a series without a grid,
        names of its components. Default: all. The ``component_mask`` of Darts' methods, which
        selects cells, is refused.

    Raises
    ------
    TypeError
        If `scaler` is a class, or lacks one of the three methods.
    ValueError
        From the methods: if a series has other channels than the scaler was fitted on, if it holds
        likelihood parameters other than quantiles, or infinite values, or if a channel to fit has
        no observed value.

    Notes
    -----
    If `scaler` has ``partial_fit``, as `MinMaxScaler`, `StandardScaler` and `MaxAbsScaler` do,
    `fit` reads about a million values at a time: the series may be a memory map larger than memory.
    With others, such as `RobustScaler`, fitting holds a copy of a channel. `transform` and
    `inverse_transform` return a series in memory.

    Examples
    --------
    >>> from darts_mim import frames_to_series, series_to_frames
    >>> rain_and_heat = [[0.0, 280.0], [5.0, 290.0], [10.0, 300.0]]  # (T, C)
    >>> frames = np.multiply.outer(rain_and_heat, np.ones((16, 12)))
    >>> scaler = GridScaler()
    >>> scaled = scaler.fit_transform(frames_to_series(frames))
    >>> series_to_frames(scaled)[:, :, 0, 0].round(3)
    array([[0. , 0. ],
           [0.5, 0.5],
           [1. , 1. ]], dtype=float32)
    >>> np.allclose(series_to_frames(scaler.inverse_transform(scaled)), frames)
    True

    The statistics are those of channels, so they are good for any other grid of the same channels:

    >>> larger = frames_to_series(np.full((1, 2, 64, 64), 285.0))
    >>> series_to_frames(scaler.transform(larger))[0, :, 0, 0].round(3)
    array([28.5 ,  0.25], dtype=float32)
    """

    def __init__(
        self,
        scaler: Any = None,
        name: str = "GridScaler",
        global_fit: bool = True,
        n_jobs: int = 1,
        verbose: bool = False,
        columns: str | Sequence[str] | None = None,
    ) -> None:
        # Darts passes attributes set before `super().__init__` to the methods below, as "fixed".
        self.transformer = MinMaxScaler() if scaler is None else scaler
        methods = ("fit", "transform", "inverse_transform")
        if isinstance(scaler, type) or not all(hasattr(self.transformer, m) for m in methods):
            raise TypeError(
                f"`scaler` must be an object with {', '.join(methods)}, got {scaler!r}; pass for "
                "example `sklearn.preprocessing.StandardScaler()`"
            )
        self.columns = [columns] if isinstance(columns, str) else columns
        super().__init__(
            name=name,
            n_jobs=n_jobs,
            verbose=verbose,
            mask_components=False,  # Darts would select components and break the grid
            global_fit=global_fit,
        )

    @staticmethod
    def ts_fit(
        series: TimeSeries | Sequence[TimeSeries],
        params: Mapping[str, Any],
        *args: Any,
        **kwargs: Any,
    ) -> tuple[_Scope, list[Any]]:
        """Fit the scaler to a series, or to a sequence of them; called by `fit`."""
        batch = [series] if isinstance(series, TimeSeries) else series
        scopes = [_scope_of(each, params, **kwargs) for each in batch]
        for scope in scopes:
            _check_channels(scope, scopes[0])
        scalers = []
        for k, name in enumerate(scopes[0].names):
            columns = (
                _checked_finite(cells[part], name)
                for each, scope in zip(batch, scopes, strict=True)
                for cells, part in _parts(each.all_values(copy=False), scope, k)
            )
            scaler = deepcopy(params["fixed"]["transformer"])
            _fit(scaler, (column[~np.isnan(column)] for column in columns), name)
            scalers.append(scaler)
        return scopes[0], scalers

    @staticmethod
    def ts_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> TimeSeries:
        """Scale a series; called by `transform`."""
        return _apply("transform", series, params, **kwargs)

    @staticmethod
    def ts_inverse_transform(
        series: TimeSeries, params: Mapping[str, Any], *args: Any, **kwargs: Any
    ) -> TimeSeries:
        """Scale a series back; called by `inverse_transform`."""
        return _apply("inverse_transform", series, params, **kwargs)


class _Scope(NamedTuple):
    """The part of a series that is scaled: some channels of its grid, at the cells of its mask."""

    grid: Grid
    has_grid: bool  # whether the series itself says so
    channels: NDArray[np.intp]  # (K,), their positions in the grid
    names: tuple[str, ...]  # K names; of components where the series has no grid


def _parts(
    values: NDArray[np.floating[Any]], scope: _Scope, k: int
) -> Iterator[tuple[NDArray[np.floating[Any]], tuple[Any, ...]]]:
    """Yield values (T, N, S) as cells (T, S, C, H*W), and where a stretch of a channel lies there.

    The cells are a view, of which nothing is read yet.
    """
    frames = scope.grid.to_frames(values.swapaxes(1, 2))  # (T, S, C, H, W)
    cells = frames.reshape(*frames.shape[:3], -1)
    mask = scope.grid.mask
    visible = slice(None) if mask is None else np.flatnonzero(mask)
    step = max(1, _STRETCH // (cells.shape[1] * cells.shape[3]))
    for t in range(0, len(cells), step):
        yield cells, (slice(t, t + step), slice(None), scope.channels[k], visible)


def _fit(scaler: Any, columns: Iterable[NDArray[Any]], name: str) -> None:
    """Fit a scaler to the known values of a channel, stretch by stretch if it can."""
    known = (column[:, np.newaxis] for column in columns if len(column))
    first = next(known, None)
    if first is None:
        raise ValueError(
            f"`series` has no observed value in channel {name!r} to fit a scaler on: all are NaN "
            "or hidden by the grid's mask; fit on other series, or choose channels with `columns`"
        )
    if not hasattr(scaler, "partial_fit"):
        first = np.concatenate([first, *known])
    scaler.fit(first)  # which forgets an earlier fit of the scaler
    for rows in known:
        scaler.partial_fit(rows)


def _apply(method: str, series: TimeSeries, params: Mapping[str, Any], **kwargs: Any) -> TimeSeries:
    """Return the series with its scaled channels replaced by the result of a scaler's method."""
    expected, scalers = params["fitted"]
    scope = _scope_of(series, params, **kwargs)
    _check_channels(scope, expected)
    # an array in memory, also of a memory map; the other channels keep their values
    values = np.array(series.all_values(copy=False), order="C")
    # the quantiles of a component stand beside each other, as its samples do
    held = values.reshape(len(values), scope.grid.n_components, -1)
    for k, (name, scaler) in enumerate(zip(scope.names, scalers, strict=True)):
        for cells, part in _parts(held, scope, k):
            block = _checked_finite(cells[part], name)
            cells[part] = getattr(scaler, method)(block.reshape(-1, 1)).reshape(block.shape)
    return rebuild_series(series, values=values)


def _checked_finite(values: NDArray[Any], name: str) -> NDArray[Any]:
    if np.isinf(values).any():
        raise ValueError(
            f"`series` must be finite to be scaled, got infinity in channel {name!r}; write NaN "
            "where a value is missing, or hide the cell with the grid's mask"
        )
    return values


def _scope_of(
    series: TimeSeries, params: Mapping[str, Any], component_mask: Any = None, **_: Any
) -> _Scope:
    """Find the part of a series to scale."""
    if component_mask is not None:
        raise ValueError(
            "`component_mask` selects cells, but a channel is scaled as a whole; select channels "
            "with `GridScaler(columns=...)`, and hide cells with the grid's mask"
        )
    has_grid = METADATA_KEY in (series.metadata or {})
    parameters = parameter_names(series) if has_grid else []
    # quantiles lie on the scale of the values; other parameters, say a rate, need not
    if not all(name.startswith("q") for name in parameters):
        raise ValueError(
            f"`series` holds likelihood parameters, such as {series.components[0]!r}, but a "
            "channel's statistics are for its values; forecast quantiles or samples"
        )
    grid = grid_of_forecast(series) if has_grid else grid_of(series)
    names = grid.channel_names if has_grid else tuple(series.components)
    columns = params["fixed"]["columns"]
    chosen = set(names if columns is None else columns)
    if not chosen or not chosen <= set(names):
        raise ValueError(
            f"`columns` must name channels of `series`, got {columns}; its channels are {names}"
        )
    channels = np.flatnonzero([name in chosen for name in names])
    return _Scope(grid, has_grid, channels, tuple(names[c] for c in channels))


def _check_channels(scope: _Scope, expected: _Scope) -> None:
    """Raise if other channels are to be scaled than expected; a series without a grid names none.

    Components of such series are called by anything, and Darts' own scaler goes by their number.
    """
    same_names = scope.names == expected.names or not (scope.has_grid and expected.has_grid)
    if len(scope.names) != len(expected.names) or not same_names:
        raise ValueError(
            f"`series` has other channels than the scaler is fitted on: expected "
            f"{expected.names!r:.120}, got {scope.names!r:.120}; give series of the same channels, "
            "or choose them with `columns`"
        )


def drop_hidden(series: TimeSeries, grid: Grid | None = None) -> TimeSeries:
    """Drop the components of cells that a grid's mask hides.

    A model forecasts NaN in those cells, and Darts' anomaly scorers and scikit-learn's models do
    not take NaN. The result is an ordinary multivariate series without a grid; `restore_hidden`
    brings it, or a series with the same components, back on the grid.

    Parameters
    ----------
    series : TimeSeries
        Values or samples on a grid.
    grid : Grid, optional
        The grid with the mask. Default: the grid of the series.

    Returns
    -------
    TimeSeries
        The components of the observed cells, in their order, with their static covariates; all of
        the components if there is no mask. A hierarchy is dropped.

    Raises
    ------
    ValueError
        If `series` does not have the components of `grid`.

    Examples
    --------
    >>> from darts_mim import frames_to_series
    >>> mask = [[True, False, True]]
    >>> series = frames_to_series(np.ones((4, 1, 1, 3)), layout="TCHW", mask=mask)
    >>> drop_hidden(series).components.tolist()
    ['channel_0_0_0', 'channel_0_0_2']
    """
    grid = grid_of(series) if grid is None else grid
    if series.n_components != grid.n_components:
        raise ValueError(
            f"`series` must have the {grid.n_components} components of {grid}, got "
            f"{series.n_components}; pass the grid of this series"
        )
    observed = observed_components(grid)
    table = series.static_covariates
    if table is not None and len(table) == series.n_components:
        table = table[observed]
    return rebuild_series(
        series,
        values=series.all_values(copy=False)[:, observed],
        components=series.components[observed],
        static_covariates=table,
        hierarchy=None,
        metadata={k: v for k, v in (series.metadata or {}).items() if k != METADATA_KEY},
    )


def restore_hidden(series: TimeSeries, grid: Grid) -> TimeSeries:
    """Put a series of observed cells back on its grid, with NaN in the hidden cells.

    Parameters
    ----------
    series : TimeSeries
        A component for each observed cell, as `drop_hidden` returns them, or a forecast or a score
        of such a series. Their names do not matter, their order does.
    grid : Grid
        The grid with the mask, such as ``Grid.from_series(series)`` before `drop_hidden`.

    Returns
    -------
    TimeSeries
        On `grid`. Static covariates and a hierarchy are dropped.

    Raises
    ------
    ValueError
        If `series` does not have a component for each observed cell.

    Examples
    --------
    >>> from darts_mim import frames_to_series, series_to_frames
    >>> mask = [[True, False, True]]
    >>> series = frames_to_series(np.ones((4, 1, 1, 3)), layout="TCHW", mask=mask)
    >>> restored = restore_hidden(drop_hidden(series) * 2, Grid.from_series(series))
    >>> series_to_frames(restored)[0]
    array([[[ 2., nan,  2.]]], dtype=float32)
    """
    observed = observed_components(grid)
    if series.n_components != observed.sum():
        raise ValueError(
            f"`series` must have a component for each of the {observed.sum()} observed components "
            f"of `grid`, got {series.n_components}; pass the grid that they were dropped from, and "
            "`component_wise=True` to a scorer"
        )
    t, _, s = series.shape
    values = np.full((t, grid.n_components, s), np.nan, dtype=series.dtype)
    values[:, observed] = series.all_values(copy=False)
    return rebuild_series(
        series,
        values=values,
        components=pd.Index(grid.component_names),
        static_covariates=None,
        hierarchy=None,
        metadata={**(series.metadata or {}), METADATA_KEY: grid.to_metadata()},
    )


def observed_components(grid: Grid) -> NDArray[np.bool_]:
    """Find the components that no mask hides, (N,)."""
    mask = np.ones(grid.shape[1:], dtype=bool) if grid.mask is None else grid.mask
    observed: NDArray[np.bool_] = np.broadcast_to(mask, grid.shape).ravel()
    return observed
