"""Tables of trips, counted into in- and outflow on a grid.

Letters for shapes: T time, H height (rows), W width (columns), P trips.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import ArrayLike, DTypeLike, NDArray

from darts_mim.adapters.flow.gaps import check_span, wall_clock
from darts_mim.grid import Grid
from darts_mim.series import frames_to_series
from darts_mim.times import Frequency, Start, time_zone, with_time_zone

__all__ = ["count_trips"]

logger = logging.getLogger(__name__)

Columns: TypeAlias = str | tuple[str, str]

_OUTSIDE: Final = -1
_EDGES: Final = "edges"  # the attribute in which a coordinate keeps the edges of its cells


def count_trips(
    trips: pd.DataFrame | Iterable[pd.DataFrame],
    grid: Grid | Mapping[str, ArrayLike],
    freq: Frequency,
    *,
    origin: Columns = ("origin_lat", "origin_lon"),
    destination: Columns = ("destination_lat", "destination_lon"),
    start_time: str = "start_time",
    end_time: str = "end_time",
    start: Start | None = None,
    end: Start | None = None,
    within_cell: bool = True,
    channel_names: Sequence[str] = ("inflow", "outflow"),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    dtype: DTypeLike = np.float32,
) -> TimeSeries:
    """Count trips into the inflow and the outflow of each cell and interval.

    A trip is one outflow of the cell where it begins, in the interval in which it begins, and one
    inflow of the cell where it ends, in the interval in which it ends. The two ends are counted
    independently: a trip into the city from outside the grid is an inflow.

    Parameters
    ----------
    trips : pandas.DataFrame or iterable of DataFrame
        A row for each trip, in any order. Tables that do not fit into memory may come in parts,
        such as those of ``pandas.read_csv(..., chunksize=1_000_000)``; `start` and `end` are
        needed then.
    grid : Grid or mapping of str to array_like
        The cells. A mapping holds the H+1 edges of the rows, then the W+1 edges of the columns,
        rising or falling: ``{"lat": ..., "lon": ...}``. The coordinates of a `Grid` are the
        centres of cells that meet halfway between them, unless it keeps its edges, as the grid of
        a series made here does. A point on an edge belongs to the cell above it; one on the
        uppermost edge, to the last cell.
    freq : str, timedelta or pandas offset
        Length of the intervals, such as ``"30min"`` or ``"D"``.
    origin, destination : pair of str or str
        The columns of the two coordinates of a place, in the order of the grid's, rows first. If
        the grid has no coordinates, the columns of the row and the column of the cell, from 0. A
        single column holds the number of the cell, row * W + column, from 0.
    start_time, end_time : str
        The columns of the dates when trips begin and end, in one time zone or none. Name the same
        column twice if there is only one.
    start, end : str or datetime, optional
        Start of the first and end of the last interval. Default: around all trips, with the first
        interval a whole number of intervals after midnight. Intervals without a trip are frames of
        zeros.
    within_cell : bool
        Whether to count trips from a cell to itself. Without them, the flows are those of the
        reference: who leaves the cell and who enters it.
    channel_names : sequence of str
        Names of inflow and outflow, in this order.
    attributes : mapping of str to mapping, optional
        Attributes of the grid, beside its own and the units of the channels,
        ``"trips per 30min"``.
    dtype : floating dtype
        Type of the values.

    Returns
    -------
    TimeSeries
        Shape (T, 2*H*W, 1), with the coordinates, mask and attributes of the grid.

    Raises
    ------
    KeyError
        If a column does not exist.
    ValueError
        If values are missing, places are outside and must not be, the grid or the intervals are
        not valid, or the clocks of the time zone change in between.

    References
    ----------
    J. Zhang, Y. Zheng, D. Qi. Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
    Prediction. AAAI 2017. (Definition 2, for trajectories of which the two ends are known.)

    Examples
    --------
    >>> trips = pd.DataFrame(
    ...     {
    ...         "start_time": pd.to_datetime(["2016-01-01 08:10", "2016-01-01 08:50"]),
    ...         "origin_lat": [40.75, 40.71],
    ...         "origin_lon": [-73.98, -74.01],
    ...         "end_time": pd.to_datetime(["2016-01-01 08:40", "2016-01-01 09:05"]),
    ...         "destination_lat": [40.71, 40.78],
    ...         "destination_lon": [-74.01, -73.96],
    ...     }
    ... )
    >>> edges = {"lat": [40.7, 40.74, 40.8], "lon": [-74.02, -73.97, -73.92]}
    >>> series = count_trips(trips, edges, "30min")
    >>> from darts_mim import series_to_frames
    >>> series_to_frames(series)[1, 0]  # half past eight, inflow: rows from south to north
    array([[1., 0.],
           [0., 0.]], dtype=float32)
    """
    cells = _with_edges(grid)
    if isinstance(trips, pd.DataFrame):
        tables: Iterable[pd.DataFrame] = [trips]
        starts = _intervals(trips, (start_time, end_time), freq, start, end)
    else:
        tables = trips
        bounds: Any = {"start": start, "end": end, "freq": freq}  # None is refused by pandas
        starts = pd.date_range(**bounds, inclusive="left")
    if not len(starts):
        raise ValueError(f"`start` must lie before `end` and all trips, got {start!r} and {end!r}")
    step: Any = starts.freq
    counts = np.zeros((len(starts), 2, cells.height * cells.width), np.int64)
    total, n_outside = 0, np.zeros(2, int)
    for table in tables:
        ends = [_cells_of(table, place, cells) for place in (destination, origin)]
        total += len(table)
        n_outside += [(numbers == _OUTSIDE).sum() for numbers in ends]
        is_counted = (ends[0] != ends[1]) | within_cell
        for channel, (numbers, name) in enumerate(zip(ends, (end_time, start_time), strict=True)):
            dates = _dates(table, name)
            interval = starts.searchsorted(dates, side="right") - 1
            interval[dates >= starts[-1] + step] = _OUTSIDE
            chosen = is_counted & (numbers != _OUTSIDE) & (interval != _OUTSIDE)
            np.add.at(counts, (interval[chosen], channel, numbers[chosen]), 1)
    report = f"{n_outside[1]} of {total} trips begin outside the grid, and {n_outside[0]} end there"
    if total and (n_outside == total).all():
        raise ValueError(f"{report}; check the order of `origin` and `destination`, rows first")
    if n_outside.any():
        logger.warning("%s: not counted.", report)
    kept = {name: each for name, each in (cells.attributes or {}).items() if name != "time"}
    units = {name: {"units": f"trips per {starts.freqstr}"} for name in channel_names}
    for name, each in (*units.items(), *(attributes or {}).items()):
        kept[name] = {**kept.get(name, {}), **each}
    series: Any = frames_to_series(  # one: the layout has no B
        counts.reshape(len(starts), 2, cells.height, cells.width),
        channel_names=channel_names,
        times=wall_clock(starts),
        freq=step,
        coordinates=cells.coordinates,
        mask=cells.mask,
        attributes=with_time_zone(kept, time_zone(starts)),
        dtype=dtype,
    )
    return series  # type: ignore[no-any-return]


def _with_edges(grid: Grid | Mapping[str, ArrayLike]) -> Grid:
    """Return a grid of one channel whose coordinates, if any, keep the edges of its cells."""
    if isinstance(grid, Grid):
        edges = {
            name: _edges_of(centres, grid.attributes_of(name).get(_EDGES))
            for name, centres in (grid.coordinates or {}).items()
        }
    else:
        edges = {name: np.asarray(values, np.float64) for name, values in grid.items()}
        centres_of = {name: (values[1:] + values[:-1]) / 2 for name, values in edges.items()}
        height, width = map(len, centres_of.values())
        grid = Grid(1, height, width, coordinates=centres_of)
    kept = {name: {**grid.attributes_of(name), _EDGES: edges[name].tolist()} for name in edges}
    attributes = {**(grid.attributes or {}), **kept}
    return grid.evolve(channels=1, channel_names=None, attributes=attributes)


def _edges_of(centres: NDArray[np.float64], kept: Any) -> NDArray[np.float64]:
    """Return the edges that a coordinate keeps, or those halfway between the centres of cells."""
    if kept is not None and len(kept) == len(centres) + 1:
        return np.asarray(kept, np.float64)
    half = np.diff(centres) / 2
    return np.concatenate([centres[:1] - half[0], centres[:-1] + half, centres[-1:] + half[-1]])


def _cells_of(table: pd.DataFrame, columns: Columns, grid: Grid) -> NDArray[np.intp]:
    """Return the number of the cell, counted along the rows, of each place (P,), or `_OUTSIDE`."""
    names = [columns] if isinstance(columns, str) else list(columns)
    places = table[names].to_numpy(np.float64, na_value=np.nan)
    if np.isnan(places).any():
        raise ValueError(f"`trips` must have a place in every row, got NaN in {names}; drop these")
    if len(names) == 2 and grid.coordinates is not None:
        edges = [np.asarray(grid.attributes_of(name)[_EDGES]) for name in grid.coordinates]
        row, column = (_between(place, edge) for place, edge in zip(places.T, edges, strict=True))
    elif (places % 1).any():
        raise ValueError(
            f"`trips` must number cells from 0 in {names}, got fractions; pass a grid with "
            "coordinates if these are coordinates"
        )
    else:
        row, column = places.T if len(names) == 2 else np.divmod(places[:, 0], grid.width)
    is_inside = (row >= 0) & (row < grid.height) & (column >= 0) & (column < grid.width)
    return np.where(is_inside, row * grid.width + column, _OUTSIDE).astype(np.intp)


def _between(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Return the cell of each value; one on an edge is above it, if there is a cell."""
    cells = np.digitize(values, edges) - 1
    uppermost = int(edges.argmax())
    cells[values == edges[uppermost]] = min(uppermost, len(edges) - 2)
    return cells


def _intervals(
    trips: pd.DataFrame, columns: tuple[str, str], freq: Any, start: Any, end: Any
) -> pd.DatetimeIndex:
    """Return the starts of the intervals, around all trips by default."""
    dates: Any = _dates(trips, columns[0]).append(_dates(trips, columns[1]))
    if start is None:
        start = pd.date_range(dates.min().normalize(), dates.min(), freq=freq)[-1]
    # wall-clock bounds are meant in the zone of the trips
    first, last = (
        each if each.tz is not None else each.tz_localize(dates.tz)
        for each in (pd.Timestamp(start), dates.max() if end is None else pd.Timestamp(end))
    )
    if end is not None:
        return pd.date_range(first, last, freq=freq, inclusive="left")
    starts = pd.date_range(first, last, freq=freq)
    busy = len(np.unique(starts.searchsorted(dates)))
    check_span(len(starts), busy, first, last, "pass `start` and `end`")
    return starts


def _dates(table: pd.DataFrame, name: str) -> pd.DatetimeIndex:
    dates = table[name]
    if not pd.api.types.is_datetime64_any_dtype(dates) or dates.hasnans:
        raise ValueError(
            f"`trips[{name!r}]` must be dates, none of them missing, got dtype {dates.dtype}; "
            "convert them with `pd.to_datetime`, and drop missing ones"
        )
    return pd.DatetimeIndex(dates)
