"""Frames with timestamps become series, and nothing is dropped or filled unless asked for."""

import logging
import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts_mim import Grid, frames_to_series, series_to_frames
from darts_mim.adapters import from_flow, to_flow
from darts_mim.series import series_to_times

PROFILE = settings(max_examples=20, deadline=None, derandomize=True, database=None)
C, H, W = 2, 3, 4
DAY = pd.date_range("2016-01-01", periods=48, freq="30min")


def flow(length: int) -> np.ndarray:
    """Frames that all differ, none of them zero."""
    return np.arange(1, 1 + length * C * H * W, dtype=np.float32).reshape(-1, C, H, W)


def levels(values: list[float]) -> np.ndarray:
    """Frames of one value each."""
    return np.array(values, np.float32)[:, None, None, None] + np.zeros((C, H, W), np.float32)


def assert_same_times(got: Any, expected: Any) -> None:
    assert got.equals(expected)
    assert getattr(got, "tz", None) == getattr(expected, "tz", None)


def means(series: Any) -> list[float]:
    return series_to_frames(series).mean(axis=(1, 2, 3)).tolist()


@st.composite
def gappy_times(draw: st.DrawFn) -> tuple[Any, Any]:
    """Times with gaps, and their step."""
    freq: Any = draw(st.sampled_from(["30min", "h", "D", "MS", 1, 3]))
    slots = sorted(draw(st.sets(st.integers(0, 30), min_size=1, max_size=20)))
    if isinstance(freq, int):
        return pd.Index([5 + slot * freq for slot in slots]), freq
    # Etc/GMT-8 is 8 hours ahead; none of these zones changes its clocks
    zone = draw(st.sampled_from([None, "UTC", "Asia/Shanghai", "Etc/GMT-8"]))
    return pd.date_range("2016-01-01", periods=31, freq=freq, tz=zone)[slots], freq


@PROFILE
@given(gappy_times(), st.permutations("TCHW"), st.integers(0, 2**32 - 1))
def test_flow_makes_the_round_trip(drawn: Any, letters: list[str], seed: int) -> None:
    times, freq = drawn
    layout = "".join(letters)
    rng = np.random.default_rng(seed)
    sizes = {"T": len(times), "C": C, "H": H, "W": W}
    frames = rng.random([sizes[letter] for letter in layout], dtype=np.float32)
    series = from_flow(frames, times, freq=freq, layout=layout, gaps="split")
    shuffled = [series[i] for i in rng.permutation(len(series))]
    filled = from_flow(frames, times, freq=freq, layout=layout, gaps="nan")
    for made, options in ((shuffled, {}), (filled, {"drop_missing": True})):
        back, back_times = to_flow(made, layout=layout, **options)
        np.testing.assert_array_equal(back, frames)
        assert_same_times(back_times, times)
    for one in series:
        assert Grid.from_series(one) == Grid(C, H, W, ["inflow", "outflow"])
        assert one.freq == filled.freq
    is_missing = ~to_flow(filled)[1].isin(times)
    np.testing.assert_array_equal(np.isnan(filled.values()).all(axis=1), is_missing)


@PROFILE
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=14),
    st.sampled_from(["first", "last", "sum"]),
    st.booleans(),
    st.sampled_from(["split", "nan", "zero", "previous", "linear"]),
    st.sampled_from([1, 3, 99]),
    st.integers(1, 3),
)
def test_dirty_flow_is_cleaned_as_frame_by_frame(
    drawn: list[tuple[int, int]],
    duplicates: Any,
    drop_zero_frames: bool,
    gaps: Any,
    max_gap: int,
    min_length: int,
) -> None:
    by_hour: dict[int, list[int]] = {}
    for hour, level in drawn:
        if level or not drop_zero_frames:
            by_hour.setdefault(hour, []).append(level)
    merge = {"first": lambda x: x[0], "last": lambda x: x[-1], "sum": sum}[duplicates]
    runs: list[list[float]] = []
    last = None
    for hour in sorted(by_hour):
        level = float(merge(by_hour[hour]))
        if last is None or hour - last - 1 > (0 if gaps == "split" else max_gap):
            runs.append([])
        else:
            before, way = runs[-1][-1], hour - last
            linear = [before + (level - before) * n / way for n in range(1, way)]
            constant = {"nan": np.nan, "zero": 0.0, "previous": before}
            runs[-1] += linear if gaps == "linear" else [constant.get(gaps)] * (way - 1)
        runs[-1].append(level)
        last = hour
    runs = [run for run in runs if len(run) >= min_length]
    arguments: dict[str, Any] = {
        "frames": levels([level for _, level in drawn]),
        "times": pd.Timestamp("2016-01-01") + pd.to_timedelta([hour for hour, _ in drawn], "h"),
        "freq": "h",
        "sort": True,
        "duplicates": duplicates,
        "drop_zero_frames": drop_zero_frames,
        "gaps": gaps,
        "max_gap": None if gaps == "split" else max_gap,
        "min_length": min_length,
    }
    if runs:
        series = from_flow(**arguments)
        assert len(series) == len(runs)
        for got, expected in zip(series, runs, strict=True):
            np.testing.assert_allclose(means(got), expected, rtol=1e-6)
    else:
        with pytest.raises(ValueError, match=r"`min_length=|`frames` "):
            from_flow(**arguments)


@pytest.mark.parametrize("slots", [[0, 1, 2, 3], [0, 1, 2, 5]])
def test_arguments_and_not_data_decide_whether_a_list_is_returned(slots: list[int]) -> None:
    times = DAY[slots]
    assert isinstance(from_flow(flow(4), times, gaps="split"), list)
    assert isinstance(from_flow(flow(4), times, gaps="nan", max_gap=1), list)
    assert len(from_flow(flow(4), times, gaps="zero")) == slots[-1] + 1
    if slots[-1] == 3:
        assert len(from_flow(flow(4), times)[:3]) == 3
    else:
        with pytest.raises(ValueError, match=r"1, the first after .*01:00:00; pass gaps='split'"):
            from_flow(flow(4), times)


def test_the_log_counts_what_is_dropped_and_merged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    slots = [0, 1, 2, 2, 4, 3, 7, 12, 13]
    frames = levels([1, 2, 3, 4, 5, 6, 0, 7, 8])
    asked: Any = {"sort": True, "duplicates": "first", "drop_zero_frames": True}
    series = from_flow(frames, DAY[slots], gaps="nan", max_gap=3, min_length=3, **asked)
    assert [means(one) for one in series] == [[1, 2, 3, 6, 5]]
    assert [record.getMessage() for record in caplog.records] == [
        "Dropped 1 of 9 frames: all zero.",
        "Sorted 8 frames by time.",
        "Merged 1 duplicate among 8 frames: first.",
        "Dropped 1 of 2 runs: too short.",
    ]


@pytest.mark.parametrize(
    ("slots", "arguments", "message"),
    [
        ([0, 2, 1], {}, r"`times` must not go back, got .*00:30:00 after .*sort=True.* UTC"),
        ([0, 1, 1], {}, r"`times` must be unique, got 1 duplicate, .*00:30:00; .*'first'.* UTC"),
        ([0, 2, 4], {"freq": "h", "min_length": 4}, "`min_length=4` leaves no series"),
        ([0, 1, 3], {"freq": "h"}, "`times` must lie on `freq='h'` from .*, got .*00:30:00"),
        ([0, 2, 4, 5], {}, "`freq` cannot be read from 4 `times`"),
        ([5], {}, "`freq` cannot be read from 1 `times`"),
        ([0, 1, 2], {"gaps": "fill"}, "`gaps` must be one of"),
        ([0, 1, 2], {"duplicates": "mean"}, "`duplicates` must be one of"),
        ([0, 1, 2], {"max_gap": 2}, "`max_gap=2` needs `gaps`"),
        ([0, 1, 2], {"layout": "BCHW"}, "`layout` must be a string of T, H, W"),
        ([0, 1, 2], {"times": DAY}, "`times` must have one entry for each of the 3 frames"),
        ([0, 1, 2], {"times": None}, "`times` must be a list of dates or integers"),
        ([0, 1, 2], {"freq": 1}, "`freq` must be of the kind of `times`, got 1"),
        ([0], {"frames": 0 * flow(1), "drop_zero_frames": True}, "`frames` must not all be zero"),
        ([0], {"frames": flow(1)[None], "layout": "BTCHW"}, "`layout=.* must have no B"),
    ],
)
def test_what_the_arguments_leave_open_is_refused(
    slots: list[int], arguments: Any, message: str
) -> None:
    given = {"frames": flow(len(slots)), "times": pd.DatetimeIndex(DAY[slots].to_numpy())}
    with pytest.raises((TypeError, ValueError), match=message):
        from_flow(**{**given, **arguments})


def test_the_step_is_read_from_times_with_gaps() -> None:
    for freq in ("30min", "h", "D"):
        times = pd.date_range("2016-01-01", periods=10, freq=freq).delete([3, 4, 7])
        assert [one.freq_str for one in from_flow(flow(7), times, gaps="split")] == [freq] * 3
    months = pd.DatetimeIndex(pd.date_range("2016-01-01", periods=10, freq="MS").to_numpy())
    assert from_flow(flow(10), months).freq_str == "MS"
    parts = from_flow(flow(9), months.delete(5), freq="MS", gaps="split")
    assert [len(one) for one in parts] == [5, 4]
    assert [len(one) for one in from_flow(flow(4), [0, 3, 6, 12], gaps="split")] == [3, 1]
    assert from_flow(flow(1), DAY[:1]).freq == DAY.freq


def test_frames_of_the_same_time_keep_their_order_when_sorted() -> None:
    frames, slots = levels(list(range(400))), np.arange(400) % 40
    for duplicates, expected in (("first", range(40)), ("last", range(360, 400))):
        series = from_flow(frames, DAY[slots], sort=True, duplicates=duplicates)  # type: ignore[arg-type]
        assert means(series) == list(expected)


def test_zero_frames_are_those_that_are_zero_where_the_mask_shows() -> None:
    frames, mask = flow(4), np.ones((H, W), bool)
    mask[0, 1] = False
    frames[2] = 0
    frames[2, :, 0, 1] = np.nan  # hidden
    frames[1, :, 1:] = 0  # a few cells of it are not zero
    options: Any = {"drop_zero_frames": True, "gaps": "split"}
    assert len(from_flow(frames, DAY[:4], **options)) == 1
    assert [len(one) for one in from_flow(frames, DAY[:4], mask=mask, **options)] == [2, 1]
    filled = from_flow(frames, DAY[:4], mask=mask, drop_zero_frames=True, gaps="nan")
    assert len(to_flow(filled, drop_missing=True)[0]) == 3


def test_options_of_the_grid_reach_every_series() -> None:
    coordinates, mask = {"lat": np.arange(3.0), "lon": np.arange(4.0)}, np.eye(H, W, dtype=bool)
    series = from_flow(
        flow(6).transpose(0, 2, 3, 1),
        DAY[[0, 1, 2, 5, 6, 7]],
        layout="THWC",
        channel_names=["in", "out"],
        gaps="split",
        coordinates=coordinates,
        mask=mask,
        attributes={"in": {"units": "trips per 30 min"}},
        metadata={"city": "New York"},
        dtype=np.float64,
    )
    for one in series:
        grid = Grid.from_series(one)
        assert grid == Grid(C, H, W, ["in", "out"], coordinates, mask)
        assert grid.label("in") == "in [trips per 30 min]"
        assert one.metadata["city"] == "New York"
        assert one.dtype == np.float64
    np.testing.assert_array_equal(to_flow(series)[0], flow(6))


def test_series_between_gaps_share_the_memory_of_the_frames(tmp_path: Any) -> None:
    frames = np.lib.format.open_memmap(tmp_path / "flow.npy", "w+", np.float32, (6, C, H, W))
    frames[:] = flow(6)
    for one in from_flow(frames, DAY[[0, 1, 2, 5, 6, 7]], gaps="split"):
        assert isinstance(one.all_values(copy=False), np.memmap)
        assert np.shares_memory(one.all_values(copy=False), frames)


@pytest.mark.parametrize("day", ["2016-03-13", "2016-11-06"])
def test_clocks_may_change_between_runs_and_days_but_not_within_a_run(day: str) -> None:
    times = pd.date_range(day, periods=20, freq="30min", tz="America/New_York")
    with pytest.raises(ValueError, match=r"`times` must not span .*New_York.* convert .* to UTC"):
        from_flow(flow(20), times)
    assert_same_times(
        to_flow(from_flow(flow(20), times.tz_convert("UTC")))[1], times.tz_convert("UTC")
    )
    kept = times[[0, 1, 10, 11, 12]]
    series = from_flow(flow(5), kept, gaps="split")
    assert series_to_times(series[1])[0] == kept[2]
    assert_same_times(to_flow(series)[1], kept)
    days = pd.date_range("2016-03-11", periods=5, freq="D", tz="America/New_York")
    assert_same_times(to_flow(from_flow(flow(5), days))[1], days)


def test_a_forecast_becomes_flow_with_its_samples() -> None:
    samples = np.random.default_rng(0).random((4, C, H, W, 5), dtype=np.float32)
    forecast = frames_to_series(samples, layout="TCHWS", start="2016-01-01", freq="h")
    frames, times = to_flow(forecast)
    np.testing.assert_array_equal(frames, samples)
    assert times[-1] == pd.Timestamp("2016-01-01 03:00")
    assert to_flow(forecast, layout="STHWC", drop_missing=True)[0].shape == (5, 4, H, W, C)


def test_one_wrong_date_costs_no_memory_for_the_time_in_between() -> None:
    times = pd.DatetimeIndex(["2016-01-01 00:00:00", "2016-01-01 00:00:01", "2156-01-01"])
    tracemalloc.start()
    series = from_flow(flow(3), times, freq="s", gaps="split")
    with pytest.raises(ValueError, match=r"2156.* are \d+ steps, of which 3 hold .* `max_gap`"):
        from_flow(flow(3), times, freq="s", gaps="nan")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(one) for one in series] == [2, 1]
    assert peak < 50e6  # a century in seconds is 25 GB


def test_series_that_cannot_be_joined_are_refused() -> None:
    first, second = from_flow(flow(6), DAY[[0, 1, 2, 5, 6, 7]], gaps="split")
    other_grid = from_flow(flow(3)[:, :, :2], DAY[20:23])
    in_utc = from_flow(flow(3), DAY[20:23].tz_localize("UTC"))
    for series, message in (
        ([], "`series` must hold at least one"),
        ([first, second, first], "`series` must not overlap"),
        ([first, other_grid], "`series` must agree in grid"),
        ([first, in_utc], "`series` must agree in .*UTC"),
    ):
        with pytest.raises(ValueError, match=message):
            to_flow(series)
    with pytest.raises(ValueError, match="`layout='BTCHW'` must have no B"):
        to_flow(first, layout="BTCHW")
