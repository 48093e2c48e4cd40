"""Tables of trips, counted into in- and outflow on a grid.

Letters for shapes: T time, H height (rows), W width (columns), P trips.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import ArrayLike, DTypeLike, NDArray

from darts_mim.adapters.flow.runs import wall_clock
from darts_mim.adapters.flow.timeline import checked_choice, listed
from darts_mim.adapters.trips.cells import (
    OUTSIDE,
    Cells,
    cells_of_places,
    checked_cells,
)
from darts_mim.adapters.trips.times import Intervals, intervals_of, moments, units_of
from darts_mim.checks import checked_attributes
from darts_mim.grid import Grid
from darts_mim.series import frames_to_series
from darts_mim.times import Frequency, Start, time_zone, with_time_zone

__all__ = ["count_trips"]

logger = logging.getLogger(__name__)

Columns: TypeAlias = str | Sequence[str]
Outside: TypeAlias = Literal["drop", "raise"]
Missing: TypeAlias = Literal["raise", "drop"]


def count_trips(
    trips: pd.DataFrame,
    grid: Grid | Mapping[str, ArrayLike],
    freq: Frequency,
    *,
    origin: Columns = ("origin_lat", "origin_lon"),
    destination: Columns = ("destination_lat", "destination_lon"),
    start_time: str | None = None,
    end_time: str | None = None,
    time: str | None = None,
    start: Start | None = None,
    end: Start | None = None,
    within_cell: bool = True,
    outside: Outside = "drop",
    missing: Missing = "raise",
    channel_names: Sequence[str] = ("inflow", "outflow"),
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    dtype: DTypeLike = np.float32,
) -> TimeSeries:
    """Count trips into the in- and outflow of each cell and interval.

    A trip is one outflow of the cell where it begins, in the interval in which it begins, and one
    inflow of the cell where it ends, in the interval in which it ends. The two ends are counted
    each for itself: of a trip into the city from outside the grid there is the inflow.

    Parameters
    ----------
    trips : pandas.DataFrame
        A row for each trip, in any order.
    grid : Grid or mapping of str to array_like
        The cells. A mapping holds the H+1 edges of the rows, then the W+1 edges of the columns,
        rising or falling, at any distances: ``{"lat": ..., "lon": ...}``. The coordinates of a
        `Grid` are the centres of cells that meet halfway between them, unless it keeps edges: the
        grid of a series made here does. A point on an edge is in the cell above it; one on the
        uppermost edge is in the last.
    freq : str, timedelta or pandas offset
        Length of the intervals, such as ``"30min"`` or ``"D"``.
    origin, destination : pair of str or str
        The columns of the two coordinates of a place, in the order of the grid's, rows first. If
        the grid has no coordinates, those of the row and the column of the cell, from 0. A single
        column numbers the cells along the rows, row * W + column, from 0.
    start_time, end_time : str, optional
        The columns of dates when trips begin and end, in one time zone or none. Default:
        ``"start_time"`` and ``"end_time"``.
    time : str, optional
        Instead of these, the only column of dates: both ends are counted then.
    start : str or datetime, optional
        Start of the first interval. Default: that of the first trip, on a whole number of intervals
        after midnight.
    end : str or datetime, optional
        End of the last interval, which does not belong to it. Default: that of the last trip's.
        Intervals without a trip are frames of zeros.
    within_cell : bool
        Whether trips from a cell to itself count. If they do, the flows are all departures and
        arrivals; if not, those who leave the cell and enter it, as defined in the reference.
    outside : {"drop", "raise"}
        Whether an end outside the grid is left out, and counted in the log, or an error. If no trip
        begins or ends inside, it always is.
    missing : {"raise", "drop"}
        Whether a missing place or time is an error, or the trip is left out, and counted in the
        log.
    channel_names : sequence of str
        Names of inflow and outflow, in this order.
    attributes : mapping of str to mapping, optional
        Attributes of the grid, beside its own and the units of the channels, which are
        ``"trips per 30 min"`` and the like.
    dtype : floating dtype
        Type of the values.

    Returns
    -------
    TimeSeries
        Shape (T, 2*H*W, 1), with the coordinates, mask and attributes of the grid.

    Raises
    ------
    TypeError
        If `trips` are no DataFrame, or a column or `grid` is of the wrong type.
    ValueError
        If columns are not there; places or times are missing, or places outside, and may not be;
        the grid or the intervals are not valid; or the clocks of the time zone change in between.

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
    checked_choice("outside", outside, Outside)
    checked_choice("missing", missing, Missing)
    given = checked_attributes(attributes)
    cells = checked_cells(grid)
    places = (_checked_columns("origin", origin), _checked_columns("destination", destination))
    dates = _time_columns(start_time, end_time, time)
    table = _complete(trips, [*places[0], *places[1], *dates], missing)
    origins, destinations = (cells_of_places(table, columns, cells) for columns in places)
    departures, arrivals = (moments(table, name) for name in dates)
    intervals = intervals_of(departures, arrivals, freq, start, end)
    _check_outside(table, places, (origins, destinations), cells, outside)
    if not within_cell:
        stays = (origins == destinations) & (origins != OUTSIDE)
        logger.info("%d of %d trips stay in a cell: left out.", stays.sum(), len(stays))
        origins, destinations = (np.where(stays, OUTSIDE, c) for c in (origins, destinations))
    frames = _counted((destinations, origins), (arrivals, departures), intervals, cells.shape[1:])
    series: Any = frames_to_series(  # one: the layout has no B
        frames,
        channel_names=channel_names,
        times=wall_clock(intervals.starts),
        coordinates=cells.coordinates,
        mask=cells.mask,
        attributes=_attributes(cells, channel_names, intervals, given),
        dtype=dtype,
    )
    return series  # type: ignore[no-any-return]


def _checked_columns(name: str, columns: Any) -> tuple[str, ...]:
    if not isinstance(columns, Iterable):
        raise TypeError(
            f"`{name}` must be the name of a column or a pair of them, got {columns!r}; pass for "
            f"example ('{name}_lat', '{name}_lon')"
        )
    found = (columns,) if isinstance(columns, str) else tuple(columns)
    if len(found) not in (1, 2):
        raise ValueError(
            f"`{name}` must be two columns, for the rows and the columns of the grid, or one that "
            f"numbers its cells, got {columns!r}"
        )
    return found


def _time_columns(start_time: str | None, end_time: str | None, time: str | None) -> list[str]:
    if time is None:
        return [start_time or "start_time", end_time or "end_time"]
    if start_time is not None or end_time is not None:
        raise ValueError(
            f"`time={time!r}` is for tables without `start_time` and `end_time`, got "
            f"{start_time!r} and {end_time!r}; pass the one or the others"
        )
    return [time, time]


def _complete(trips: Any, columns: Sequence[str], missing: Missing) -> pd.DataFrame:
    """Return the columns that are needed of the trips that have all of them."""
    if not isinstance(trips, pd.DataFrame):
        raise TypeError(f"`trips` must be a pandas DataFrame, got {type(trips).__name__}")
    lacking = [name for name in columns if name not in trips.columns]
    if lacking:
        raise ValueError(
            f"`trips` must have the columns {lacking}, got {list(trips.columns)}; name yours with "
            "`origin`, `destination`, `start_time` and `end_time`, or `time`"
        )
    table = trips[list(dict.fromkeys(columns))]
    if not table.columns.is_unique:
        doubled = sorted(set(table.columns[table.columns.duplicated()]))
        raise ValueError(
            f"`trips` must have each column once, got {doubled} more than once; rename or drop one"
        )
    gaps = table.isna().sum()
    if not gaps.any():
        return table
    if missing == "raise":
        raise ValueError(
            f"`trips` must have a value in every row, got missing ones in "
            f"{listed(f'{count} of {name!r}' for name, count in gaps[gaps > 0].items())}; fill "
            "them, or pass missing='drop' to leave these trips out"
        )
    whole = table.dropna()
    logger.warning("Dropped %d of %d trips: values missing.", len(table) - len(whole), len(table))
    return whole


def _check_outside(
    table: pd.DataFrame,
    places: tuple[tuple[str, ...], ...],
    cells: tuple[Cells, Cells],
    grid: Grid,
    outside: Outside,
) -> None:
    is_outside = [numbers == OUTSIDE for numbers in cells]
    begin, end = (int(each.sum()) for each in is_outside)
    if not begin + end:
        return
    counts = f"{begin} of {len(table)} trips begin outside the grid, and {end} end there"
    if outside == "raise" or begin == end == len(table):
        side = 0 if begin else 1
        row = table.loc[is_outside[side], list(places[side])].iloc[0].to_dict()
        raise ValueError(
            f"{counts}, the first at {row}, and the grid is {grid}; check the order of `origin` "
            "and `destination`, rows first, and their units"
            + (", or pass outside='drop' to leave such ends out" if outside == "raise" else "")
        )
    logger.warning("%s: left out.", counts)


def _counted(
    cells: tuple[Cells, Cells],
    dates: tuple[pd.DatetimeIndex, pd.DatetimeIndex],
    intervals: Intervals,
    sizes: tuple[int, int],
) -> NDArray[np.intp]:
    """Count the ends of trips and their beginnings into frames (T, 2, H, W)."""
    shape = (len(intervals.starts), 2, math.prod(sizes))
    places = []
    for channel, what in enumerate(("end", "begin")):
        when = intervals.number(dates[channel])
        other = int((when < 0).sum())
        if other:
            logger.info("%d of %d trips %s at another time: left out.", other, len(when), what)
        is_counted = (when >= 0) & (cells[channel] != OUTSIDE)
        t, cell = when[is_counted], cells[channel][is_counted]
        places.append((t * shape[1] + channel) * shape[2] + cell)
    counts = np.bincount(np.concatenate(places), minlength=math.prod(shape))
    return counts.reshape(*shape[:2], *sizes)


def _attributes(
    grid: Grid,
    channel_names: Sequence[str],
    intervals: Intervals,
    given: Mapping[str, Mapping[str, Any]] | None,
) -> Mapping[str, Mapping[str, Any]] | None:
    """Add the units and what the caller gives to the attributes of the grid."""
    units = {name: {"units": units_of(intervals.starts)} for name in channel_names}
    merged = {name: dict(each) for name, each in (grid.attributes or {}).items() if name != "time"}
    for more in (units, given or {}):
        for name, each in more.items():
            merged[name] = {**merged.get(name, {}), **each}
    return with_time_zone(merged, time_zone(intervals.starts))
