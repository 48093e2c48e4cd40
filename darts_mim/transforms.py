"""Scale grid series with one set of statistics per channel rather than per cell.

Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns),
N = C*H*W components, K scaled channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from itertools import compress
from typing import Any, NamedTuple

import numpy as np
from darts import TimeSeries
from darts.dataprocessing.transformers import FittableDataTransformer, InvertibleDataTransformer
from numpy.typing import NDArray
from sklearn.preprocessing import MinMaxScaler

from darts_mim.grid import METADATA_KEY, Grid, grid_of
from darts_mim.series import parameter_names, rebuild_series

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
        that treats columns alike and leaves NaN alone. It gets the observed cells as rows and the
        channels as columns, (T*S*H*W, C). It is copied, never fitted itself. Default:
        ``MinMaxScaler(feature_range=(0, 1))``.
    name : str
        Name of the transformer.
    global_fit : bool
        Whether all series given to `fit` share their statistics. By default each has its own, and
        `transform` expects the series in the order they were fitted in, or ``series_idx``.
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
        likelihood parameters, or if a channel to fit has no observed value.

    Notes
    -----
    If `scaler` has ``partial_fit``, as `MinMaxScaler`, `StandardScaler` and `MaxAbsScaler` do,
    `fit` reads stretches of about a million values (at least a frame) and holds one at a time: the
    series may be a memory map larger than memory. With others, such as `RobustScaler`, fitting
    holds copies of all values. `transform` and `inverse_transform` return a series in memory.

    A channel that is never observed for a whole such stretch gets a copy of `scaler` to itself, or
    with others like it, fitted on the stretches that have values.

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
        global_fit: bool = False,
        n_jobs: int = 1,
        verbose: bool = False,
        columns: str | Sequence[str] | None = None,
    ) -> None:
        # Darts hands what is set before `super().__init__` to the methods below, as "fixed".
        self.transformer = _checked_scaler(scaler)
        self.columns = [columns] if isinstance(columns, str) else columns
        super().__init__(
            name=name,
            n_jobs=n_jobs,
            verbose=verbose,
            # Darts would select components and break the grid: columns are channels here.
            mask_components=False,
            global_fit=global_fit,
        )

    @staticmethod
    def ts_fit(
        series: TimeSeries | Sequence[TimeSeries],
        params: Mapping[str, Any],
        *args: Any,
        component_mask: NDArray[np.bool_] | None = None,
        **kwargs: Any,
    ) -> _Fitted:
        """Fit the scaler to a series, or to a sequence of them; called by `fit`."""
        scaler = params["fixed"]["transformer"]
        batch = [series] if isinstance(series, TimeSeries) else series
        scopes = [_scope_of(each, params["fixed"]["columns"], component_mask) for each in batch]
        for scope in scopes:
            _check_channels(scope, scopes[0])
        size = _STRETCH if hasattr(scaler, "partial_fit") else None
        stretches = [
            stretch
            for each, scope in zip(batch, scopes, strict=True)
            for stretch in _stretches(each.all_values(copy=False), scope, size)
        ]
        groups = []
        for columns, observed in _group_channels(stretches, scopes[0]):
            group = _Group(columns, deepcopy(scaler))
            _fit(group.scaler, (stretch.rows(columns) for stretch in observed))
            groups.append(group)
        return _Fitted(scopes[0], groups)

    @staticmethod
    def ts_transform(
        series: TimeSeries,
        params: Mapping[str, Any],
        *args: Any,
        component_mask: NDArray[np.bool_] | None = None,
        **kwargs: Any,
    ) -> TimeSeries:
        """Scale a series; called by `transform`."""
        return _apply("transform", series, params, component_mask)

    @staticmethod
    def ts_inverse_transform(
        series: TimeSeries,
        params: Mapping[str, Any],
        insample: TimeSeries | None = None,
        *args: Any,
        component_mask: NDArray[np.bool_] | None = None,
        **kwargs: Any,
    ) -> TimeSeries:
        """Scale a series back; called by `inverse_transform`."""
        return _apply("inverse_transform", series, params, component_mask)


class _Scope(NamedTuple):
    """What of a series is scaled: some channels of its grid, at the cells that no mask hides."""

    grid: Grid
    has_grid: bool  # whether the series itself says so
    channels: NDArray[np.intp]  # (K,), their positions in the grid
    names: tuple[str, ...]  # K names; of components where the series has no grid

    def __str__(self) -> str:
        """Name the channels in messages."""
        names = ", ".join(map(repr, self.names[:3])) + (", ..." if len(self.names) > 3 else "")
        return f"{len(self.names)} ({names})"


class _Group(NamedTuple):
    """Channels that share a scaler."""

    columns: NDArray[np.intp]  # their positions among the K channels
    scaler: Any


class _Fitted(NamedTuple):
    """What a fit leaves."""

    scope: _Scope
    groups: list[_Group]


class _Stretch(NamedTuple):
    """A stretch of a series in time, not read before its rows are asked for."""

    cells: NDArray[np.floating[Any]]  # (T, S, C, H*W), a view
    scope: _Scope

    def rows(self, columns: NDArray[np.intp]) -> NDArray[np.floating[Any]]:
        """Return the visible cells as rows, (T*S*cells, columns)."""
        block: NDArray[np.floating[Any]] = self.cells[self._index(columns)]  # a copy
        return np.moveaxis(block, 2, -1).reshape(-1, len(columns))

    def write(self, columns: NDArray[np.intp], rows: NDArray[Any]) -> None:
        """Put rows where `rows` took its own from."""
        block = rows.reshape(*self.cells.shape[:2], -1, len(columns))
        self.cells[self._index(columns)] = np.moveaxis(block, -1, 2)

    def observed(self) -> NDArray[np.bool_]:
        """Tell which of the K channels have a value here, (K,)."""
        every = np.arange(len(self.scope.channels))
        first = self._replace(cells=self.cells[:1])
        for part in (first, self):
            missing: NDArray[np.bool_] = np.isnan(part.rows(every)).all(axis=0)
            if not missing.any():  # as a rule in the first frame, and the rest need not be read
                break
        return ~missing

    def _index(self, columns: NDArray[np.intp]) -> tuple[Any, ...]:
        channels, mask = self.scope.channels[columns], self.scope.grid.mask
        visible = (channels,) if mask is None else np.ix_(channels, np.flatnonzero(mask))
        return slice(None), slice(None), *visible


def _fit(scaler: Any, stretches: Iterable[NDArray[Any]]) -> None:
    """Fit a scaler to rows, stretch by stretch if it can."""
    if not hasattr(scaler, "partial_fit"):
        scaler.fit(np.concatenate(list(stretches)))
        return
    fit = scaler.fit  # which forgets what the scaler may have been fitted on before
    for rows in stretches:
        fit(rows)
        fit = scaler.partial_fit


def _apply(
    method: str,
    series: TimeSeries,
    params: Mapping[str, Any],
    component_mask: NDArray[np.bool_] | None,
) -> TimeSeries:
    """Return the series with its scaled channels replaced by what a method makes of them."""
    fitted: _Fitted = params["fitted"]
    scope = _scope_of(series, params["fixed"]["columns"], component_mask)
    _check_channels(scope, fitted.scope)
    # an array in memory, also of a memory map; what is not scaled is there already
    values = np.array(series.all_values(copy=False), order="C")
    for stretch in _stretches(values, scope, _STRETCH):
        for columns, scaler in fitted.groups:
            stretch.write(columns, getattr(scaler, method)(stretch.rows(columns)))
    return rebuild_series(series, values=values)


def _stretches(
    values: NDArray[np.floating[Any]], scope: _Scope, size: int | None
) -> list[_Stretch]:
    """Cut values (T, N, S) into stretches of about `size` values, or into one without a size."""
    frames = scope.grid.to_frames(values.swapaxes(1, 2))  # (T, S, C, H, W)
    cells = frames.reshape(*frames.shape[:3], scope.grid.height * scope.grid.width)
    step = max(1, len(cells) if size is None else size // math.prod(cells.shape[1:]))
    return [_Stretch(cells[t : t + step], scope) for t in range(0, len(cells), step)]


def _group_channels(
    stretches: list[_Stretch], scope: _Scope
) -> list[tuple[NDArray[np.intp], list[_Stretch]]]:
    """Group channels that have values in the same stretches, and return those with each group.

    In scikit-learn's ``partial_fit``, statistics become NaN for good after a stretch in which their
    column has no value at all. As a rule there is a single group: each channel is observed often.
    """
    observed = np.empty((len(stretches), len(scope.names)), dtype=bool)
    for i, stretch in enumerate(stretches):
        observed[i] = stretch.observed()
    groups: dict[bytes, list[int]] = {}
    for column, (name, pattern) in enumerate(zip(scope.names, observed.T, strict=True)):
        if not pattern.any():
            raise ValueError(
                f"`series` has no observed value in channel {name!r} to fit a scaler on: all are "
                "NaN or hidden by the grid's mask; fit on other series, with `global_fit=True` on "
                "several, or name the channels to scale with `columns`"
            )
        groups.setdefault(pattern.tobytes(), []).append(column)
    return [
        (np.array(columns), list(compress(stretches, observed[:, columns[0]])))
        for columns in groups.values()
    ]


def _scope_of(
    series: TimeSeries, columns: Sequence[str] | None, component_mask: NDArray[np.bool_] | None
) -> _Scope:
    """Find out what of a series is to be scaled."""
    if component_mask is not None:
        raise ValueError(
            "`component_mask` selects cells, but a channel is scaled as a whole; select channels "
            "with `GridScaler(columns=...)`, and hide cells with the grid's mask"
        )
    _check_no_parameters(series)
    grid, has_grid = grid_of(series), METADATA_KEY in (series.metadata or {})
    names = grid.channel_names if has_grid else tuple(series.components)
    chosen = set(names if columns is None else columns)
    if not chosen or not chosen <= set(names):
        raise ValueError(
            f"`columns` must name channels of `series`, got {columns}; its channels are "
            f"{', '.join(map(repr, names))}"
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
            f"`series` has other channels than the scaler is fitted on: expected {expected}, got "
            f"{scope}; give series of the same channels, one value for each (samples of a forecast "
            "rather than likelihood parameters), or choose them with `columns`"
        )


def _check_no_parameters(series: TimeSeries) -> None:
    """Refuse what Darts names after components: likelihood parameters. A single quantile is fine.

    Quantiles lie on the scale of the values, other parameters need not: say, a rate.
    """
    has_grid = METADATA_KEY in (series.metadata or {})
    parameters = parameter_names(series) if has_grid else []
    if len(parameters) > 1 or (parameters and not parameters[0].startswith("q")):
        raise ValueError(
            f"`series` holds likelihood parameters or several quantiles, such as "
            f"{series.components[0]!r}, but a channel's statistics are for its values; forecast "
            "samples, without `predict_likelihood_parameters`, scale them back, and take quantiles "
            "of the result"
        )


def _checked_scaler(scaler: Any) -> Any:
    if scaler is None:
        return MinMaxScaler(feature_range=(0, 1))
    methods = ("fit", "transform", "inverse_transform")
    if isinstance(scaler, type) or not all(callable(getattr(scaler, m, None)) for m in methods):
        raise TypeError(
            f"`scaler` must be an object with {', '.join(methods)}, got {scaler!r}; pass for "
            "example `sklearn.preprocessing.StandardScaler()`"
        )
    return scaler
