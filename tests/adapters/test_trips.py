"""Trips are counted as one by one, wherever and whenever they begin and end."""

import logging
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts_mim import Grid, series_to_frames
from darts_mim.adapters import count_trips
from darts_mim.series import series_to_times

PROFILE = settings(max_examples=25, deadline=None, derandomize=True, database=None)
EDGES = {"lat": [0.0, 1.0, 3.0, 4.0], "lon": [0.0, 2.0, 3.0, 5.0, 6.0]}  # 3 x 4 cells
START = pd.Timestamp("2016-01-01 08:00")


def table(*trips: tuple[Any, ...]) -> pd.DataFrame:
    """Trips: minute, lat, lon of the origin, then of the destination."""
    rows = np.array(trips, float).reshape(-1, 6)
    return pd.DataFrame(
        {
            "start_time": START + pd.to_timedelta(rows[:, 0], "min"),
            "origin_lat": rows[:, 1],
            "origin_lon": rows[:, 2],
            "end_time": START + pd.to_timedelta(rows[:, 3], "min"),
            "destination_lat": rows[:, 4],
            "destination_lon": rows[:, 5],
        }
    )


TRIP = table((0, 2.5, 4, 5, 2.5, 4))


def cell_of(value: float, edges: list[float]) -> int | None:
    """The cell [low, high) around a value; the uppermost has both its edges."""
    for cell, (a, b) in enumerate(pairwise(edges)):
        low, high = min(a, b), max(a, b)
        if low <= value < high or (value == high and high == max(edges)):
            return cell
    return None


def count_slowly(
    trips: pd.DataFrame, edges: dict[str, list[float]], minutes: int, within_cell: bool
) -> np.ndarray:
    """Count trip by trip into (T, 2, H, W), two hours from `START` on."""
    rows, columns = edges.values()
    frames = np.zeros((120 // minutes, 2, len(rows) - 1, len(columns) - 1))
    for trip in trips.itertuples():
        origin = cell_of(trip.origin_lat, rows), cell_of(trip.origin_lon, columns)
        end = cell_of(trip.destination_lat, rows), cell_of(trip.destination_lon, columns)
        if origin == end and not within_cell:
            continue
        for channel, (time, place) in enumerate([(trip.end_time, end), (trip.start_time, origin)]):
            t = (time - START) // pd.Timedelta(minutes=minutes)
            if 0 <= t < len(frames) and None not in place:
                frames[(t, channel, *place)] += 1
    return frames


@st.composite
def tables_and_edges(draw: st.DrawFn) -> tuple[pd.DataFrame, dict[str, list[float]]]:
    """Trips on few places, so that many lie on edges, and rising or falling edges."""
    edges = {}
    for name in ("lat", "lon"):
        numbers = sorted(draw(st.sets(st.integers(-3, 6), min_size=2, max_size=6)))
        steps = [number / 2 for number in numbers]
        edges[name] = draw(st.sampled_from([steps, steps[::-1]]))
    place = st.integers(-8, 14).map(lambda n: n / 4)
    trip = st.tuples(st.integers(0, 90), place, place, st.integers(-30, 150), place, place)
    return table(*draw(st.lists(trip, min_size=1, max_size=20))), edges


@PROFILE
@given(tables_and_edges(), st.sampled_from([10, 30, 60]), st.booleans())
def test_trips_are_counted_as_in_a_slow_loop(drawn: Any, minutes: int, within_cell: bool) -> None:
    trips, edges = drawn
    expected = count_slowly(trips, edges, minutes, within_cell)
    options: dict[str, Any] = {
        "freq": f"{minutes}min",
        "start": START,
        "end": START + pd.Timedelta(hours=2),
        "within_cell": within_cell,
    }
    is_inside = [
        None not in (cell_of(lat, edges["lat"]), cell_of(lon, edges["lon"]))
        for end in ("origin", "destination")
        for lat, lon in zip(trips[f"{end}_lat"], trips[f"{end}_lon"], strict=True)
    ]
    if not any(is_inside):
        with pytest.raises(ValueError, match="begin outside the grid"):
            count_trips(trips, edges, **options)
        return
    series = count_trips(trips, edges, **options)
    np.testing.assert_array_equal(series_to_frames(series), expected)
    assert series.start_time() == START
    # in parts, and on the grid that a series keeps
    again = count_trips((trips[k::3] for k in range(3)), Grid.from_series(series), **options)
    assert again == series


def test_cells_count_as_the_coordinates_in_them() -> None:
    rng, height, width = np.random.default_rng(0), 2, 3
    sizes = {"r0": height, "c0": width, "r1": height, "c1": width}
    both = table(*rng.integers(0, 90, (40, 6)))[["start_time", "end_time"]]
    both = both.assign(**{name: rng.integers(0, n, 40) for name, n in sizes.items()})
    both["n0"], both["n1"] = both.r0 * width + both.c0, both.r1 * width + both.c1
    edges = {"y": np.arange(height + 1), "x": np.arange(width + 1)}
    ways: list[tuple[Any, Any, Any]] = [
        (edges, ("r0", "c0"), ("r1", "c1")),
        (Grid(5, height, width), ("r0", "c0"), ("r1", "c1")),
        (Grid(1, height, width), "n0", "n1"),
        (edges, "n0", ("r1", "c1")),
    ]
    first, *others = (
        count_trips(both, grid, "h", origin=origin, destination=destination).values()
        for grid, origin, destination in ways
    )
    assert first.sum() == 2 * len(both)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_an_end_is_counted_in_its_cell_and_its_interval() -> None:
    trips = table((10, 0.5, 1, 40, 3.5, 5.5), (29, 0.5, 1, 30, 2, 4), (65, 2, 4, 80, 2, 4))
    series = count_trips(trips, EDGES, "30min")
    inflow, outflow = series_to_frames(series).swapaxes(0, 1)
    assert np.argwhere(inflow).tolist() == [[1, 1, 2], [1, 2, 3], [2, 1, 2]]
    assert (outflow[0, 0, 0], outflow.sum(), series.freq_str) == (2, 3, "30min")
    grid = Grid.from_series(series)
    assert grid.channel_names == ("inflow", "outflow")
    assert grid.label("inflow") == "inflow [trips per 30min]"
    np.testing.assert_array_equal(grid.coordinates["lon"], [1, 2.5, 4, 5.5])


def test_centres_of_a_grid_meet_halfway() -> None:
    mask = np.array([[False, True, True], [True, True, True]])
    coordinates = {"lat": [2, 1], "lon": [0, 1, 3]}
    attributes = {"lat": {"units": "degrees_north"}, "time": {"time_zone": "Asia/Shanghai"}}
    grid = Grid(2, 2, 3, ["rides", "other"], coordinates, mask, attributes)
    # edges: 2.5, 1.5, 0.5 and -0.5, 0.5, 2, 4
    trips = table((0, 1.5, 0.5, 0, 0.5, 4), (0, 2.4, -0.5, 0, 0.49, 0))
    series = count_trips(trips, grid, "h", attributes={"inflow": {"units": "rides"}})
    inflow, outflow = series_to_frames(series)[0]
    np.testing.assert_array_equal(outflow, [[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(inflow, [[0, 0, 0], [0, 0, 1]])
    own = Grid.from_series(series)
    assert own == Grid(2, 2, 3, ["inflow", "outflow"], grid.coordinates, mask)
    labels = [own.label(name) for name in ("lat", "inflow", "outflow")]
    assert labels == ["lat [degrees_north]", "inflow [rides]", "outflow [trips per h]"]
    assert series_to_times(series).tz is None


def test_the_timeline_is_half_open_and_selectable() -> None:
    trips = table((-1, 2, 4, 30, 2, 4), (0, 2, 4, 89, 2, 4), (60, 2, 4, 120, 2, 4))
    whole = count_trips(trips, EDGES, "30min")
    assert (str(whole.start_time()), len(whole)) == ("2016-01-01 07:30:00", 6)
    series = count_trips(trips, EDGES, "30min", start="2016-01-01 08:00", end="2016-01-01 09:30")
    assert series_to_frames(series).sum(axis=(2, 3)).tolist() == [[0, 1], [1, 0], [1, 1]]
    for freq, start in (
        ("D", "2016-01-01 00:00"),
        ("MS", "2016-01-01 00:00"),
        ("45s", "2016-01-01 07:58:30"),
        (pd.Timedelta("7h"), "2016-01-01 07:00"),
    ):
        series = count_trips(trips, EDGES, freq)
        assert (series.start_time(), series.values().sum()) == (pd.Timestamp(start), 6)
    once = count_trips(trips, EDGES, "D", start_time="end_time")
    assert series_to_frames(once).sum(axis=(2, 3)).tolist() == [[3, 3]]
    none = count_trips(table(), EDGES, "h", start="2016-01-01", end="2016-01-02")
    assert (len(none), none.values().sum()) == (24, 0)


def test_ends_outside_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trips = table((0, 2, 4, 5, 2, 4), (0, -1, 4, 5, 2, 4), (0, 2, 4, 5, 2, 6.5), (0, 9, 9, 5, 9, 9))
    series = count_trips(trips, EDGES, "h")
    assert series_to_frames(series).sum(axis=(0, 2, 3)).tolist() == [2, 2]
    assert "2 of 4 trips begin outside the grid, and 2 end there: not counted." in caplog.text
    with pytest.raises(ValueError, match=r"4 of 4 trips begin .* check the order .* rows first"):
        count_trips(trips, {"lat": [10, 11, 12], "lon": [0, 1]}, "h")


def test_times_in_a_zone_keep_it_and_clocks_may_not_change() -> None:
    trips = table((0, 2, 4, 40, 2, 4), (100, 2, 4, 120, 2, 4))
    for column in ("start_time", "end_time"):
        trips[column] = trips[column].dt.tz_localize("America/New_York")
    series = count_trips(trips, EDGES, "30min", start="2016-01-01 08:00")
    assert series.start_time() == START
    assert series_to_times(series)[0] == START.tz_localize("America/New_York")
    summer = trips.assign(end_time=trips.end_time + pd.Timedelta(days=90))
    with pytest.raises(ValueError, match=r"`times` must not span a change .* America/New_York"):
        count_trips(summer, EDGES, "h")
    days = count_trips(summer, EDGES, "D")
    assert (len(days), days.values().sum()) == (91, 4)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"origin": ("lat", "lon")}, KeyError, "lat"),
        ({"trips": TRIP.assign(origin_lat=np.nan)}, ValueError, "`trips` must have a place"),
        ({"trips": TRIP.assign(end_time=pd.NaT)}, ValueError, r"`trips\['end_time'\]` must be da"),
        ({"origin": "origin_lat"}, ValueError, "`trips` must number cells from 0"),
        ({"trips": [TRIP]}, ValueError, "start, end, periods"),
        ({"start": "2017-01-01"}, ValueError, "`start`"),
        (
            {"freq": "D", "trips": table((0, 2, 4, 60 * 24 * 365 * 68, 2, 4))},
            ValueError,
            r"2083.* are 24821 steps, of which 2 hold .* pass `start` and `end`",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(
    change: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        count_trips(**{"trips": TRIP, "grid": EDGES, "freq": "30min", **change})
