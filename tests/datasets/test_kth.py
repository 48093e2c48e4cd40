"""KTH's list is the official one, windows lie in its ranges, and clips are read in their ranges."""

import logging
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts_mim import Grid, series_to_frames
from darts_mim.datasets import (
    KTHRange,
    SeriesWindows,
    kth_list,
    kth_ranges,
    kth_windows,
    load_kth,
    split_by_nonstationarity,
)
from darts_mim.datasets.kth_list import ACTIONS
from tests.adapters.video_clips import encode

RANGES = (
    KTHRange("person01_boxing_d1", 1, 9),
    KTHRange("person01_boxing_d1", 12, 16),
    KTHRange("person01_walking_d1", 3, 10),
    KTHRange("person02_running_d4", 2, 5),
    KTHRange("person17_walking_d2", 1, 6),
)


@pytest.fixture
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kth_list, "_manifest", lambda: RANGES)


def write(name: str, length: int) -> Path:
    """Write a clip, of which frame t, counted from 1, has the grey value 10 t."""
    path = Path("kth") / name
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = [np.full((12, 16, 3), 10 * t, np.uint8) for t in range(1, length + 1)]
    return encode(path, frames, "ffv1", "gray")


@pytest.fixture
def clips(short_ranges: None) -> Path:
    write("boxing/person01_boxing_d1_uncomp.avi", 20)
    write("person01_walking.avi", 10)
    write("person02_running_d4.avi", 6)
    write("test/person17_walking_d2_uncomp.avi", 6)
    return Path("kth")


def numbers(series) -> list[int]:
    return np.rint(series_to_frames(series)[:, 0, 0, 0] * 25.5).astype(int).tolist()


class TestList:
    def test_it_is_the_official_one(self, shared_data: Path) -> None:
        listed = shared_data / "kth" / "00sequences.txt"
        if not listed.is_file():
            pytest.skip(f"no list at {listed}")
        official = [
            (clip, int(first), int(last))
            for line in listed.read_text().splitlines()
            for clip in re.findall(r"^(person\d\d_\w+_d\d)\s+frames", line)
            for first, last in re.findall(r"(\d+)-(\d+)", line)
        ]
        assert [tuple(each) for each in kth_ranges("all")] == official

    def test_its_counts_are_known(self) -> None:
        ranges = kth_ranges("all")
        assert (len(ranges), len({each.clip for each in ranges})) == (2391, 599)
        assert {each.action for each in ranges} == set(ACTIONS)
        assert {each.scenario for each in ranges} == {1, 2, 3, 4}
        train, test = kth_ranges("train"), kth_ranges("test")
        assert {each.person for each in train} == set(range(1, 17))
        assert {each.person for each in test} == set(range(17, 26))
        assert sum(each.length for each in train) == 144_350
        assert sum(each.length for each in test) == 83_287

    def test_parts_are_chosen(self) -> None:
        chosen = kth_ranges(actions=["boxing", "running"], people=[3])
        assert {(each.person, each.action) for each in chosen} == {(3, "boxing"), (3, "running")}
        assert kth_ranges(actions="walking") == kth_ranges(actions=["walking"])
        assert kth_windows(20, people=3) == kth_windows(20, people={3})
        for wrong in ({"actions": ["dancing"]}, {"people": [1, 17]}, {"split": "validation"}):
            with pytest.raises(ValueError, match=f"`{next(iter(wrong))}` must be some of"):
                kth_ranges(**wrong)


class TestWindows:
    @settings(max_examples=15, deadline=None)
    @given(length=st.integers(1, 60), stride=st.integers(1, 40), person=st.integers(1, 25))
    def test_they_lie_in_ranges(self, length: int, stride: int, person: int) -> None:
        ranges = kth_ranges("all", people=[person])
        windows = kth_windows(length, stride, "all", people=[person])
        expected = [
            (each.clip, start)
            for each in ranges
            for start in range(each.first, each.last + 1, stride)
            if start + length - 1 <= each.last
        ]
        assert [tuple(window) for window in windows] == expected

    def test_a_stride_for_each_action(self) -> None:
        strides = dict.fromkeys(ACTIONS, 20) | {"jogging": 3, "running": 3}
        assert len(kth_windows(20, strides, "test")) == 6970
        for wrong in ({"length": 0}, {"length": 5, "stride": 0}):
            with pytest.raises(ValueError, match="must be at least 1"):
                kth_windows(**wrong)

    def test_they_are_those_of_the_series(self, clips: Path) -> None:
        windows = SeriesWindows(load_kth(clips, "all"), length=4, stride=2)
        listed = kth_windows(4, 2, "all")
        assert len(windows) == len(listed) == 10
        for window, (clip, start) in zip(windows.windows, listed, strict=True):
            series = windows.series[window.series]
            assert series.metadata["kth"]["clip"] == clip
            assert series.time_index[window.start] == start


class TestLoading:
    def test_a_series_for_each_range_in_the_order_of_the_list(self, clips: Path) -> None:
        series = load_kth(clips, "all", size=(10, 14))
        for one, each in zip(series, RANGES, strict=True):
            assert numbers(one) == list(range(each.first, each.last + 1))
            assert one.time_index[0] == each.first
            facts = {name: getattr(each, name) for name in ("person", "action", "scenario")}
            assert one.metadata["kth"] == {"clip": each.clip, **facts}
            grid = Grid.from_series(one)
            assert grid == Grid(1, 10, 14, ["grey"])
            assert grid.attributes_of("time")["frames_per_second"] == 25
        assert series[0].dtype == np.float32

    def test_the_papers_split_and_size_are_the_defaults(self, clips: Path) -> None:
        series = load_kth(clips)
        assert [one.metadata["kth"]["person"] for one in series] == [1, 1, 1, 2]
        assert Grid.from_series(series[0]).shape == (1, 128, 128)
        [test] = load_kth(clips, "test", size=None)
        assert Grid.from_series(test).shape == (1, 12, 16)

    def test_decoded_frames_are_mapped_from_a_cache(self, clips: Path) -> None:
        for _ in range(2):
            series = load_kth(clips, size=None, cache="cache")
        assert len(list(Path("cache").iterdir())) == 3
        for one, plain in zip(series, load_kth(clips, size=None), strict=True):
            base = one.all_values(copy=False)
            while not isinstance(base, np.memmap):
                base = base.base
            np.testing.assert_array_equal(one.values(), plain.values())
            base = plain.all_values(copy=False)
            while base.base is not None:
                base = base.base
            assert base.size == plain.values().size  # frames between ranges are not kept

    def test_missing_clips_are_named(self, clips: Path, caplog: pytest.LogCaptureFixture) -> None:
        (clips / "person01_walking.avi").unlink()
        found = r"1 of 3 clips are not in /.*kth, first person01_walking_d1"
        with pytest.raises(FileNotFoundError, match=rf"`root`: {found}; get the six archives"):
            load_kth(clips)
        with caplog.at_level(logging.WARNING, "darts_mim"):
            assert len(load_kth(clips, missing="skip")) == 3
        assert re.search(found, caplog.text)
        assert len(load_kth(clips, actions=["boxing"])) == 2
        with pytest.raises(FileNotFoundError, match=r"of . .*csc\.kth\.se/cvap"):
            load_kth("none", "all", missing="skip")

    def test_short_clips_are_refused_by_name(self, clips: Path) -> None:
        write("person01_walking.avi", 9)
        with pytest.raises(ValueError, match=r"person01_walking\.avi.* 9 frames"):
            load_kth(clips)


@pytest.mark.slow
def test_real_clips_are_told_apart_by_whether_people_move_on(shared_data: Path) -> None:
    folder = shared_data / "kth"
    if not folder.is_dir():
        pytest.skip(f"no clips in {folder}")
    series = load_kth(folder, missing="skip", people=[1, 3, 4, 15], size=(48, 64))
    assert len(series) == 40
    windows = SeriesWindows(series, length=20, stride=10)
    nonstationary = split_by_nonstationarity(windows).nonstationary
    shares: dict[str, list[bool]] = {}
    for i, (k, _) in enumerate(windows.windows):
        clip = windows.series[k].metadata["kth"]["clip"]
        shares.setdefault(clip, []).append(i in nonstationary)
    assert len(shares) == 10
    for clip, parts in shares.items():
        moves_on = clip.split("_")[1] in ("walking", "jogging", "running")
        assert (np.mean(parts) > 0.5) == moves_on, clip
