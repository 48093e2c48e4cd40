"""Frames with timestamps become series without gaps, and nothing is lost unasked."""

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

PROFILE = settings(max_examples=60, deadline=None, derandomize=True, database=None)
C, H, W = 2, 3, 4
DAY = pd.date_range("2016-01-01", periods=48, freq="30min")


def flow(length: int, first: int = 1) -> np.ndarray:
    """Frames that all differ, none of them zero."""
    return np.arange(first, first + length * C * H * W, dtype=np.float32).reshape(-1, C, H, W)


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
def test_split_flow_makes_the_round_trip(drawn: Any, letters: list[str], seed: int) -> None:
    times, freq = drawn
    layout = "".join(letters)
    rng = np.random.default_rng(seed)
    sizes = {"T": len(times), "C": C, "H": H, "W": W}
    frames = rng.random([sizes[letter] for letter in layout], dtype=np.float32)
    series = from_flow(frames, times, freq=freq, layout=layout)
    shuffled = [series[i] for i in rng.permutation(len(series))]
    back, back_times = to_flow(shuffled, layout=layout)
    np.testing.assert_array_equal(back, frames)
    assert_same_times(back_times, times)
    for one in series:
        assert Grid.from_series(one) == Grid(C, H, W, ["inflow", "outflow"])
        assert one.freq == series[0].freq


@PROFILE
@given(gappy_times(), st.integers(0, 2**32 - 1))
def test_filled_flow_makes_the_round_trip(drawn: Any, seed: int) -> None:
    times, freq = drawn
    frames = np.random.default_rng(seed).random((len(times), C, H, W), dtype=np.float32)
    [series] = from_flow(frames, times, freq=freq, gaps="nan")
    back, back_times = to_flow(series, drop_missing=True)
    np.testing.assert_array_equal(back, frames)
    assert_same_times(back_times, times)
    whole, whole_times = to_flow(series)
    missing = ~whole_times.isin(times)
    assert np.isnan(whole[missing]).all()
    assert not np.isnan(whole[~missing]).any()


@PROFILE
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=14),
    st.sampled_from(["first", "last", "sum"]),
    st.booleans(),
    st.sampled_from(["split", "nan", "zero", "previous", "linear"]),
    st.sampled_from([None, 1, 3]),
    st.integers(1, 3),
)
def test_dirty_flow_is_cleaned_as_frame_by_frame(
    drawn: list[tuple[int, int]],
    duplicates: Any,
    drop_zero_frames: bool,
    gaps: Any,
    max_gap: int | None,
    min_length: int,
) -> None:
    if gaps == "split":
        max_gap = None
    kept = [(hour, level) for hour, level in drawn if level or not drop_zero_frames]
    by_hour: dict[int, list[int]] = {}
    for hour, level in kept:
        by_hour.setdefault(hour, []).append(level)
    one = {"first": lambda x: x[0], "last": lambda x: x[-1], "sum": sum}[duplicates]
    limit = 0 if gaps == "split" else max_gap if max_gap else 99
    runs: list[list[float]] = []
    last = None
    for hour in sorted(by_hour):
        level = float(one(by_hour[hour]))
        if last is None or hour - last - 1 > limit:
            runs.append([])
        else:
            before = runs[-1][-1]
            for n in range(1, hour - last):
                weight = n / (hour - last)
                runs[-1].append(
                    {
                        "nan": np.nan,
                        "zero": 0.0,
                        "previous": before,
                        "linear": (1 - weight) * before + weight * level,
                    }[gaps]
                )
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
        "max_gap": max_gap,
        "min_length": min_length,
    }
    if runs:
        series = from_flow(**arguments)
        assert len(series) == len(runs)
        for got, expected in zip(series, runs, strict=True):
            np.testing.assert_allclose(means(got), expected, rtol=1e-6)
    else:
        with pytest.raises(ValueError, match=r"min_length|drop_zero_frames"):
            from_flow(**arguments)


def test_what_is_left_out_or_made_up_is_counted_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    slots = [0, 1, 2, 2, 4, 3, 7, 12, 13]
    frames = levels([1, 2, 3, 4, 5, 6, 0, 7, 8])
    asked: Any = {"sort": True, "duplicates": "first", "drop_zero_frames": True}
    series = from_flow(frames, DAY[slots], gaps="nan", max_gap=3, min_length=3, **asked)
    assert [means(one) for one in series] == [[1, 2, 3, 6, 5]]
    assert [record.getMessage() for record in caplog.records] == [
        "Dropped 1 of 9 frames: zero in all cells.",
        "Put the frames in order of time, which went back 1 time.",
        "Dropped 1 of 8 frames: not the first of their time.",
        "Cut the frames at 1 gap.",
        "Dropped 2 frames in 1 run shorter than min_length=3.",
    ]
    caplog.clear()
    from_flow(frames[:5], DAY[[0, 1, 3, 3, 5]], duplicates="sum", gaps="linear", freq="30min")
    assert [record.getMessage() for record in caplog.records] == [
        "Summed 1 frame into others of the same time.",
        "Filled 2 missing frames (gaps='linear').",
    ]
    caplog.clear()
    from_flow(frames[:5], DAY[:5])
    assert not caplog.records


@pytest.mark.parametrize(
    ("slots", "arguments", "message"),
    [
        ([0, 2, 1], {}, "must not go back, which they do 1 time: 2016-01-01 00:30:00 comes after"),
        ([0, 2, 1], {}, "sort=True .* convert the times to UTC"),
        ([0, 1, 1], {}, "1 time has several frames: 2016-01-01 00:30:00; pass duplicates='first'"),
        ([0, 1, 1], {}, "drop_zero_frames=True .* convert the times to UTC"),
        ([0, 2, 3], {"gaps": "raise"}, "1 gap of `freq='30min'`.*: 1 frame between .*00:00:00 and"),
        ([0, 2, 4], {"freq": "h", "min_length": 4}, "leaves none of 1 run, .* has 3 frames"),
        ([0, 1, 3], {"freq": "h"}, "must lie on `freq='h'`.*2 of 3 do not: 2016-01-01 00:30:00, "),
        ([0, 1], {}, "`freq` cannot be read from 2 `times`"),
        ([0, 2, 5], {}, "smallest step, h, does not divide another one, 90min"),
        ([0, 2, 4, 5], {}, "smallest step, 30min, is not their most common one, h"),
        ([0, 1, 2], {"gaps": "fill"}, "`gaps` must be one of 'raise', 'split', 'nan'"),
        ([0, 1, 2], {"duplicates": "mean"}, "`duplicates` must be one of 'raise', 'first'"),
        ([0, 1, 2], {"max_gap": 2}, "`max_gap=2` .* gaps='split' fills none"),
        ([0, 1, 2], {"min_length": 0}, "`min_length=0` must be at least 1; pass a larger one"),
        ([0, 1, 2], {"layout": "BCHW"}, "`layout='BCHW'` has missing letters: 'T'"),
        ([0, 1, 2], {"channel_names": ["inflow"]}, "one name for each of 2 channels"),
    ],
)
def test_what_the_arguments_leave_open_is_refused(
    slots: list[int], arguments: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        from_flow(flow(len(slots)), DAY[slots], **arguments)


def test_frames_and_times_of_the_wrong_kind_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry for each of the 3 frames, got 48"):
        from_flow(flow(3), DAY)
    with pytest.raises(ValueError, match="got 1 NaT, for frame 1; leave out"):
        from_flow(flow(3), DAY[:3].where([True, False, True]))
    with pytest.raises(TypeError, match=r"must be dates or integers, got .*to_datetime"):
        from_flow(flow(2), ["2016010101", "2016010102"])
    with pytest.raises(TypeError, match="`freq` must be a pandas offset such as '30min'"):
        from_flow(flow(3), DAY[:3], freq=1)
    with pytest.raises(TypeError, match="`freq` must be int for `times` of int64, got 'h'"):
        from_flow(flow(3), [1, 2, 3], freq="h")
    with pytest.raises(ValueError, match="must have no B"):
        from_flow(flow(3)[None], DAY[:3], layout="BTCHW")
    with pytest.raises(ValueError, match="zero in all of the 3 frames"):
        from_flow(levels([0, 0, 0]), DAY[:3], drop_zero_frames=True)
    with pytest.raises(TypeError, match="masked array"):
        from_flow(np.ma.masked_equal(flow(3), 2), DAY[:3])
    with pytest.raises(ValueError, match="`frames` hold the integer 16777217"):
        from_flow(np.full((3, C, H, W), 2**24 + 1), DAY[[0, 1, 4]], freq="30min", gaps="nan")


def test_the_step_is_read_from_times_with_gaps() -> None:
    for freq, other in (("30min", "30min"), ("h", "h"), ("D", "D")):
        times = pd.date_range("2016-01-01", periods=10, freq=freq).delete([3, 4, 7])
        assert [one.freq_str for one in from_flow(flow(7), times)] == [other] * 3
    months = pd.date_range("2016-01-01", periods=10, freq="MS")
    assert from_flow(flow(10), months)[0].freq_str == "MS"
    with pytest.raises(ValueError, match="smallest step, 29D, is not"):
        from_flow(flow(9), months.delete(5))
    assert [len(one) for one in from_flow(flow(9), months.delete(5), freq="MS")] == [5, 4]
    assert [len(one) for one in from_flow(flow(4), [0, 3, 6, 12])] == [3, 1]


def test_frames_of_the_same_time_keep_their_order_when_sorted() -> None:
    frames = levels(list(range(400)))
    slots = np.arange(400) % 40
    for duplicates, expected in (("first", range(40)), ("last", range(360, 400))):
        [series] = from_flow(frames, DAY[slots], sort=True, duplicates=duplicates)  # type: ignore[arg-type]
        assert means(series) == list(expected)


def test_days_off_are_gaps_and_not_a_calendar_of_business_days() -> None:
    weekdays = pd.date_range("2016-01-01", periods=15, freq="B")
    assert [len(one) for one in from_flow(flow(15), weekdays)] == [1, 5, 5, 4]
    nine_to_five = pd.date_range("2016-01-04", periods=24, freq="bh")
    assert [len(one) for one in from_flow(flow(24), nine_to_five)] == [8, 8, 8]


def test_zero_frames_are_those_that_are_zero_where_the_mask_shows() -> None:
    frames = flow(4)
    mask = np.ones((H, W), bool)
    mask[0, 1] = False
    frames[2] = 0
    frames[2, :, 0, 1] = np.nan  # hidden
    frames[1, :, 1:] = 0  # a few cells of it are not zero
    assert len(from_flow(frames, DAY[:4], drop_zero_frames=True)) == 1
    first, second = from_flow(frames, DAY[:4], drop_zero_frames=True, mask=mask)
    assert (len(first), len(second)) == (2, 1)


def test_options_of_the_grid_reach_every_series() -> None:
    coordinates = {"lat": np.arange(3.0), "lon": np.arange(4.0)}
    mask = np.eye(H, W, dtype=bool)
    series = from_flow(
        flow(6).transpose(0, 2, 3, 1),
        DAY[[0, 1, 2, 5, 6, 7]],
        layout="THWC",
        channel_names=["in", "out"],
        coordinates=coordinates,
        mask=mask,
        static_fields={"roads": np.ones((H, W))},
        attributes={"in": {"units": "trips per 30 min"}},
        metadata={"city": "New York"},
        dtype=np.float64,
    )
    for one in series:
        grid = Grid.from_series(one)
        assert grid == Grid(C, H, W, ["in", "out"], coordinates, mask)
        assert grid is not None
        assert grid.label("in") == "in [trips per 30 min]"
        assert one.metadata is not None
        assert one.metadata["city"] == "New York"
        assert list(one.static_covariates.columns) == ["roads"]
        assert one.dtype == np.float64
    np.testing.assert_array_equal(to_flow(series)[0], flow(6))


def test_series_between_gaps_share_the_memory_of_the_frames(tmp_path: Any) -> None:
    frames = np.lib.format.open_memmap(tmp_path / "flow.npy", "w+", np.float32, (6, C, H, W))
    frames[:] = flow(6)
    first, second = from_flow(frames, DAY[[0, 1, 2, 5, 6, 7]])
    for one in (first, second):
        assert isinstance(one.all_values(copy=False), np.memmap)
        assert np.shares_memory(one.all_values(copy=False), frames)


def test_flow_in_utc_makes_the_round_trip_over_a_change_of_clocks() -> None:
    utc = pd.date_range("2016-03-13 04:00", periods=48, freq="30min", tz="UTC")
    [series] = from_flow(flow(48), utc)
    frames, times = to_flow(series)
    assert_same_times(times, utc)
    np.testing.assert_array_equal(frames, flow(48))


@pytest.mark.parametrize("day", ["2016-03-13", "2016-11-06"])
def test_a_change_of_clocks_within_a_run_says_to_convert_to_utc(day: str) -> None:
    times = pd.date_range(day, periods=20, freq="30min", tz="America/New_York")
    with pytest.raises(ValueError, match=r"New_York change between .*convert .* to UTC"):
        from_flow(flow(20), times)
    # an end in the hour that there is twice: the zone could not be given back
    if day == "2016-11-06":
        with pytest.raises(ValueError, match="UTC"):
            from_flow(flow(3), times[:3])


def test_a_change_of_clocks_in_a_gap_or_between_days_does_no_harm() -> None:
    times = pd.date_range("2016-03-13", periods=20, freq="30min", tz="America/New_York")
    kept = times[[0, 1, 2, 10, 11, 12]]
    series = from_flow(flow(6), kept)
    assert [len(one) for one in series] == [3, 3]
    assert series_to_times(series[1])[0] == kept[3]
    assert_same_times(to_flow(series)[1], kept)
    days = pd.date_range("2016-03-11", periods=5, freq="D", tz="America/New_York")
    [series_of_days] = from_flow(flow(5), days)
    assert_same_times(to_flow(series_of_days)[1], days)


def test_dirty_times_in_a_zone_are_sorted_and_their_step_is_read() -> None:
    times = pd.date_range("2016-01-01", periods=8, freq="h", tz="Asia/Shanghai")
    slots = [3, 0, 1, 2, 6, 7]
    series = from_flow(flow(6), times[slots], sort=True)
    assert [len(one) for one in series] == [4, 2]
    frames, back = to_flow(series)
    assert_same_times(back, times[sorted(slots)])
    np.testing.assert_array_equal(frames[3], flow(6)[0])


def test_wall_clock_times_that_a_zone_doubles_are_refused_with_the_remedy() -> None:
    times = pd.DatetimeIndex(["2016-11-06 00:00", "2016-11-06 01:00", "2016-11-06 01:00"])
    with pytest.raises(ValueError, match="convert the times to UTC"):
        from_flow(flow(3), times)


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
    series = from_flow(flow(3), times, freq="s")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [len(one) for one in series] == [2, 1]
    assert_same_times(to_flow(series)[1], times)
    assert peak < 50e6  # a century in seconds is 25 GB


def test_the_step_that_times_carry_is_known_for_a_single_frame() -> None:
    with pytest.raises(ValueError, match="`freq` cannot be read from 1 `times`"):
        from_flow(flow(1), DAY[::-1][:1])
    for times in (DAY[:1], DAY[:2]):
        [series] = from_flow(flow(len(times)), times)
        assert series.freq == times.freq
        again, back = to_flow(series)
        assert_same_times(back, times)
        assert len(from_flow(again, back)) == 1


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (None, TypeError, "`times` must be a list of dates or integers, got None"),
        (5, TypeError, "`times` must be a list of dates or integers, got 5"),
        (np.zeros((3, 2), int), TypeError, "`times` must be a list of dates or integers, got"),
        (pd.array([1, None, 3], "Int64"), ValueError, "got 1 NA, for frame 1; leave out"),
    ],
)
def test_times_that_are_no_list_are_refused(times: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        from_flow(flow(3), times)


def test_series_that_cannot_be_joined_are_refused() -> None:
    first, second = from_flow(flow(6), DAY[[0, 1, 2, 5, 6, 7]])
    [other_grid] = from_flow(flow(3)[:, :, :2], DAY[20:23])
    [in_utc] = from_flow(flow(3), DAY[20:23].tz_localize("UTC"))
    [counted] = from_flow(flow(3), [0, 1, 2])
    for wrong, message in (
        ([first, first], "must not overlap"),
        ([first, from_flow(flow(3), DAY[2:5])[0]], "must not overlap"),
        ([second, first, second[1:]], "must not overlap"),
        ([first, other_grid], "agree in grid"),
        ([first, in_utc], "agree in time zone .* None for series 0 and UTC for series 1"),
        ([first, counted], "agree in kind of times"),
        ([], "must not be an empty sequence"),
    ):
        with pytest.raises(ValueError, match=message):
            to_flow(wrong)
    with pytest.raises(TypeError, match="must be a TimeSeries or a sequence of them, got int"):
        to_flow(3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="must have no B"):
        to_flow([first, second], layout="BTCHW")
    with pytest.raises(ValueError, match="missing letters: 'T'"):
        to_flow([first, second], layout="CHW")
    with pytest.raises(TypeError, match="`layout` must be a string, got None"):
        to_flow(first, layout=None)  # type: ignore[arg-type]
