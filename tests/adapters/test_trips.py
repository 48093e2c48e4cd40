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

PROFILE = settings(max_examples=80, deadline=None, derandomize=True, database=None)
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
    trips: pd.DataFrame, edges: dict[str, list[float]], minutes: int, length: int, within_cell: bool
) -> np.ndarray:
    """Count trip by trip into (T, 2, H, W), from `START` on."""
    rows, columns = edges.values()
    frames = np.zeros((length, 2, len(rows) - 1, len(columns) - 1))
    for trip in trips.itertuples():
        origin = (cell_of(trip.origin_lat, rows), cell_of(trip.origin_lon, columns))
        destination = (
            cell_of(trip.destination_lat, rows),
            cell_of(trip.destination_lon, columns),
        )
        if origin == destination and None not in origin and not within_cell:
            continue
        for channel, (time, place) in enumerate(
            [(trip.end_time, destination), (trip.start_time, origin)]
        ):
            for t in range(length):
                low = START + pd.Timedelta(minutes=minutes * t)
                high = START + pd.Timedelta(minutes=minutes * (t + 1))
                if low <= time < high and None not in place:
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
    length = 120 // minutes
    expected = count_slowly(trips, edges, minutes, length, within_cell)
    arguments: dict[str, Any] = {
        "trips": trips,
        "grid": edges,
        "freq": f"{minutes}min",
        "start": START,
        "end": START + pd.Timedelta(hours=2),
        "within_cell": within_cell,
    }
    places = [
        (cell_of(lat, edges["lat"]), cell_of(lon, edges["lon"]))
        for end in ("origin", "destination")
        for lat, lon in zip(trips[f"{end}_lat"], trips[f"{end}_lon"], strict=True)
    ]
    if all(None in place for place in places):
        with pytest.raises(ValueError, match="begin outside the grid"):
            count_trips(**arguments)
    else:
        series = count_trips(**arguments)
        np.testing.assert_array_equal(series_to_frames(series), expected)
        assert series.start_time() == START


@settings(PROFILE, max_examples=20)
@given(tables_and_edges(), st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_cells_count_as_the_coordinates_in_them(
    drawn: Any, height: int, width: int, seed: int
) -> None:
    trips, _ = drawn
    rng = np.random.default_rng(seed)
    sizes = {"r0": height, "c0": width, "r1": height, "c1": width}
    cells = pd.DataFrame({name: rng.integers(0, n, len(trips)) for name, n in sizes.items()})
    edges = {"y": np.arange(height + 1), "x": np.arange(width + 1)}
    both = trips[["start_time", "end_time"]].join(cells)
    both["n0"], both["n1"] = both.r0 * width + both.c0, both.r1 * width + both.c1
    ways: list[tuple[Any, Any, Any]] = [
        (edges, ("r0", "c0"), ("r1", "c1")),
        (Grid(5, height, width), ("r0", "c0"), ["r1", "c1"]),
        (Grid(1, height, width), "n0", "n1"),
        (edges, "n0", ("r1", "c1")),
    ]
    first, *others = (
        count_trips(both, grid, "h", origin=origin, destination=destination).values()
        for grid, origin, destination in ways
    )
    assert first.sum() == 2 * len(trips)
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_an_end_is_counted_in_its_cell_and_its_interval() -> None:
    trips = table((10, 0.5, 1, 40, 3.5, 5.5), (29, 0.5, 1, 30, 2, 4), (65, 2, 4, 80, 2, 4))
    series = count_trips(trips, EDGES, "30min")
    inflow, outflow = series_to_frames(series).swapaxes(0, 1)
    assert [tuple(map(int, place)) for place in np.argwhere(inflow)] == [
        (1, 1, 2),
        (1, 2, 3),
        (2, 1, 2),
    ]
    assert outflow[0, 0, 0] == 2
    assert outflow.sum() == 3
    assert series.freq_str == "30min"
    grid = Grid.from_series(series)
    assert grid is not None
    assert grid.channel_names == ("inflow", "outflow")
    assert grid.label("inflow") == "inflow [trips per 30 min]"
    assert grid.coordinates is not None
    np.testing.assert_array_equal(grid.coordinates["lon"], [1, 2.5, 4, 5.5])


def test_trips_within_a_cell_count_or_not_as_told() -> None:
    trips = table((0, 0.5, 1, 5, 0.6, 1.1), (0, 0.5, 1, 5, 2, 1))
    assert count_trips(trips, EDGES, "h").values().sum() == 4
    assert count_trips(trips, EDGES, "h", within_cell=False).values().sum() == 2


def test_rows_keep_the_order_of_the_grid() -> None:
    trips = table((0, 0.5, 1, 5, 3.5, 5.5))  # from the south-west to the north-east
    north_first = {"lat": EDGES["lat"][::-1], "lon": EDGES["lon"]}
    south = series_to_frames(count_trips(trips, EDGES, "h"))
    north = series_to_frames(count_trips(trips, north_first, "h"))
    assert south[0, 1, 0, 0] == 1
    assert north[0, 1, 2, 0] == 1
    np.testing.assert_array_equal(north, south[:, :, ::-1])


def test_the_grid_of_a_series_has_the_same_cells_again() -> None:
    rng = np.random.default_rng(0)
    edges = {"lat": np.cumsum(rng.random(6)), "lon": np.cumsum(rng.random(5))}
    trips = table(
        *((0, lat, lon, 0, lat, lon) for lat in edges["lat"] for lon in edges["lon"])
    )  # on the edges, of which the centres of the cells no longer tell
    series = count_trips(trips, edges, "h")
    grid = Grid.from_series(series)
    assert grid is not None
    again = count_trips(trips, grid, "h")
    np.testing.assert_array_equal(again.values(), series.values())
    assert Grid.from_series(again) == grid


def test_centres_of_a_grid_meet_halfway() -> None:
    mask = np.ones((2, 3), bool)
    mask[0, 0] = False
    grid = Grid(
        2,
        2,
        3,
        ["rides", "other"],
        {"lat": [2, 1], "lon": [0, 1, 3]},
        mask,
        {"lat": {"units": "degrees_north"}, "time": {"time_zone": "Asia/Shanghai"}},
    )
    # edges: 2.5, 1.5, 0.5 and -0.5, 0.5, 2, 4
    trips = table((0, 1.5, 0.5, 0, 0.5, 4), (0, 2.4, -0.5, 0, 0.49, 0))
    series = count_trips(trips, grid, "h", attributes={"inflow": {"units": "rides"}})
    frames = series_to_frames(series)[0]
    np.testing.assert_array_equal(frames[1], [[1, 1, 0], [0, 0, 0]])
    np.testing.assert_array_equal(frames[0], [[0, 0, 0], [0, 0, 1]])
    own = Grid.from_series(series)
    assert own is not None
    assert own == Grid(2, 2, 3, ["inflow", "outflow"], grid.coordinates, mask)
    assert own.label("lat") == "lat [degrees_north]"
    assert own.label("inflow") == "inflow [rides]"
    assert own.label("outflow") == "outflow [trips per h]"
    assert series_to_times(series).tz is None


def test_the_timeline_is_half_open_and_selectable(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    trips = table((-1, 2, 4, 30, 2, 4), (0, 2, 4, 89, 2, 4), (60, 2, 4, 120, 2, 4))
    whole = count_trips(trips, EDGES, "30min")
    assert (str(whole.start_time()), len(whole)) == ("2016-01-01 07:30:00", 6)
    series = count_trips(trips, EDGES, "30min", start="2016-01-01 08:00", end="2016-01-01 09:30")
    inflow, outflow = series_to_frames(series).sum(axis=(2, 3)).T
    assert inflow.tolist() == [0, 1, 1]
    assert outflow.tolist() == [1, 0, 1]
    assert "1 of 3 trips end at another time: left out." in caplog.text
    assert "1 of 3 trips begin at another time: left out." in caplog.text
    long = count_trips(trips, EDGES, "h", start="2016-01-01", end="2016-01-03")
    assert (len(long), long.values().sum()) == (48, 6)
    for freq, units, start in (
        ("D", "trips per day", "2016-01-01 00:00"),
        ("2D", "trips per 2 day", "2016-01-01 00:00"),
        ("2h", "trips per 2 h", "2016-01-01 06:00"),
        ("45s", "trips per 45 s", "2016-01-01 07:58:30"),
        (pd.Timedelta("7h"), "trips per 7 h", "2016-01-01 07:00"),
    ):
        series = count_trips(trips, EDGES, freq)
        grid = Grid.from_series(series)
        assert grid is not None
        assert grid.attributes_of("outflow") == {"units": units}
        assert series.start_time() == pd.Timestamp(start)
        assert series.values().sum() == 6


def test_a_single_time_counts_both_ends() -> None:
    trips = table((10, 0.5, 1, 700, 2, 4)).drop(columns="end_time")
    series = count_trips(trips.rename(columns={"start_time": "day"}), EDGES, "D", time="day")
    assert series_to_frames(series).sum(axis=(2, 3)).tolist() == [[1, 1]]
    with pytest.raises(ValueError, match="`time='start_time'` is for tables without"):
        count_trips(trips, EDGES, "D", time="start_time", end_time="start_time")


def test_no_trips_are_frames_of_zeros() -> None:
    series = count_trips(table(), EDGES, "h", start="2016-01-01", end="2016-01-02")
    assert (len(series), series.values().sum()) == (24, 0)
    with pytest.raises(ValueError, match="`start` and `end` must say from when to when"):
        count_trips(table(), EDGES, "h", start="2016-01-01")


def test_ends_outside_are_left_out_with_their_number_or_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trips = table((0, 2, 4, 5, 2, 4), (0, -1, 4, 5, 2, 4), (0, 2, 4, 5, 2, 6.5), (0, 9, 9, 5, 9, 9))
    series = count_trips(trips, EDGES, "h")
    assert series_to_frames(series).sum(axis=(0, 2, 3)).tolist() == [2, 2]
    assert "2 of 4 trips begin outside the grid, and 2 end there: left out." in caplog.text
    with pytest.raises(ValueError, match=r"2 of 4 trips begin .* first at .*-1\.0.*outside='drop'"):
        count_trips(trips, EDGES, "h", outside="raise")
    swapped: Any = {"lat": [10, 11, 12], "lon": [0, 1]}
    with pytest.raises(ValueError, match=r"4 of 4 trips begin .* check the order .* rows first"):
        count_trips(trips, swapped, "h")


def test_a_date_of_another_century_is_suspected_before_it_is_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trips = table((0, 2, 4, 5, 2, 4), (0, 2, 4, 60 * 24 * 365 * 68, 2, 4))
    series = count_trips(trips, EDGES, "D")
    assert (len(series), series.values().sum()) == (24821, 4)
    assert "Only 2 of the 24821 intervals from 2016-01-01 00:00:00 to 2083-12-16" in caplog.text
    assert "pass `start` and `end`" in caplog.text
    caplog.clear()
    count_trips(trips, EDGES, "D", start="2016-01-01", end="2083-12-16")  # asked for
    count_trips(trips, EDGES, "7D", end="2016-01-08")
    assert "Only" not in caplog.text


def test_missing_values_are_refused_or_dropped_with_their_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    trips = table(*[(0, 2, 4, 5, 2, 4)] * 5)
    trips.loc[1, "origin_lon"] = np.nan
    trips.loc[3, "origin_lon"] = np.nan
    trips.loc[3, "end_time"] = pd.NaT
    with pytest.raises(ValueError, match=r"2 of 'origin_lon', 1 of 'end_time'; .*missing='drop'"):
        count_trips(trips, EDGES, "h")
    assert count_trips(trips, EDGES, "h", missing="drop").values().sum() == 6
    assert "Dropped 2 of 5 trips: values missing." in caplog.text
    cells = pd.DataFrame({"t": [START] * 3, "a": pd.array([0, None, 5], "Int64"), "b": [0, 1, 2]})
    options: Any = {"origin": "a", "destination": "b", "time": "t"}
    series = count_trips(cells, Grid(1, 2, 3), "h", missing="drop", **options)
    assert series_to_frames(series)[0, 1].tolist() == [[1, 0, 0], [0, 0, 1]]


def test_times_in_a_zone_keep_it_and_clocks_may_not_change() -> None:
    trips = table((0, 2, 4, 40, 2, 4), (100, 2, 4, 120, 2, 4))
    for column in ("start_time", "end_time"):
        trips[column] = trips[column].dt.tz_localize("America/New_York")
    series = count_trips(trips, EDGES, "30min", start="2016-01-01 08:00")
    assert series.start_time() == START
    assert series_to_times(series)[0] == START.tz_localize("America/New_York")
    utc = count_trips(trips, EDGES, "30min", start=pd.Timestamp("2016-01-01 13:00", tz="UTC"))
    np.testing.assert_array_equal(utc.values(), series.values())
    summer = trips.assign(end_time=trips.end_time + pd.Timedelta(days=90))
    with pytest.raises(ValueError, match="clocks of the time zone America/New_York change"):
        count_trips(summer, EDGES, "h")
    days = count_trips(summer, EDGES, "D")
    assert (len(days), days.values().sum()) == (91, 4)
    mixed = trips.assign(end_time=trips.end_time.dt.tz_convert("UTC"))
    with pytest.raises(ValueError, match="in one time zone, got America/New_York and UTC"):
        count_trips(mixed, EDGES, "h")
    with pytest.raises(ValueError, match=r"`start=.* has a time zone, but the times of `trips`"):
        count_trips(table((0, 2, 4, 4, 2, 4)), EDGES, "h", start=START.tz_localize("UTC"))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"trips": [1, 2]}, TypeError, "`trips` must be a pandas DataFrame, got list"),
        ({"origin": ("lat", "lon")}, ValueError, r"must have the columns \['lat', 'lon'\], got"),
        ({"origin": ("a", "b", "c")}, ValueError, "`origin` must be two columns"),
        ({"origin": None}, TypeError, "`origin` must be the name of a column or a pair"),
        (
            {"trips": TRIP.assign(origin_lat=1j)},
            TypeError,
            r"`trips\['origin_lat'\]` must be real numbers, got dtype complex128",
        ),
        (
            {"trips": pd.concat([TRIP, TRIP[["origin_lat"]]], axis=1)},
            ValueError,
            r"each column once, got \['origin_lat'\] more than once",
        ),
        ({"start": 5}, ValueError, "`start=5` is no date"),
        ({"attributes": "trips"}, TypeError, "`attributes` must map names to mappings, got str"),
        ({"attributes": {"inflow": "trips"}}, TypeError, r"\['inflow'\]` must be a mapping"),
        ({"origin": "origin_lat"}, ValueError, r"`trips\['origin_lat'\]` must number cells from 0"),
        ({"origin": "start_time"}, TypeError, r"`trips\['start_time'\]` must be real numbers"),
        ({"time": "origin_lat"}, TypeError, r"`trips\['origin_lat'\]` must be dates, got dtype"),
        ({"freq": "MS"}, ValueError, "`freq='MS'` must be a length of time"),
        ({"freq": 30}, ValueError, "`freq=30` must be a length of time"),
        ({"freq": "-1h"}, ValueError, "must be positive"),
        ({"start": "soon"}, ValueError, "`start='soon'` is no date"),
        ({"end": None, "start": "2017-01-01"}, ValueError, "before the last trip"),
        ({"start": "2017-01-01", "end": "2016-01-01"}, ValueError, "must lie before `end`"),
        ({"start": START, "end": "2016-01-01 08:45"}, ValueError, "pass .*08:30:00 or .*09:00:00"),
        ({"outside": "ignore"}, ValueError, "`outside` must be one of 'drop', 'raise'"),
        ({"missing": "fill"}, ValueError, "`missing` must be one of 'raise', 'drop'"),
        ({"grid": 3}, TypeError, "`grid` must be a Grid or a mapping of edges, got int"),
        ({"grid": {"lat": [0, 1]}}, ValueError, r"edges of the rows, then .* got \['lat'\]"),
        ({"grid": {"lat": [0], "lon": [0, 1]}}, ValueError, r"grid\['lat'\]` must be at least two"),
        ({"grid": {"lat": [0, 2, 1], "lon": [0, 1]}}, ValueError, "must rise or fall strictly"),
        ({"grid": {"lat": "01", "lon": [0, 1]}}, TypeError, r"grid\['lat'\]` must be numbers"),
        (
            {"grid": Grid(1, 1, 2, coordinates={"y": [0], "x": [0, 1]})},
            ValueError,
            "a single cell along 'y'",
        ),
        (
            {
                "grid": Grid(
                    1,
                    2,
                    2,
                    coordinates={"y": [0, 1], "x": [0, 1]},
                    attributes={"y": {"edges": [0, 1]}},
                )
            },
            ValueError,
            "must have 3 edges for the 2 cells along 'y', got 2",
        ),
        (
            {"grid": Grid(1, 2, 2, coordinates={"y": [0, 0], "x": [0, 1]})},
            ValueError,
            r"grid\.coordinates\['y'\]` must rise or fall",
        ),
        ({"channel_names": ["trips"]}, ValueError, "one name for each of 2 channels"),
    ],
)
def test_what_cannot_be_counted_is_refused(
    change: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        count_trips(**{"trips": TRIP, "grid": EDGES, "freq": "30min", **change})
