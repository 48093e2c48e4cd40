"""The clips of KTH and Weizmann: as many frames as their lists say, and no fewer."""

import re
from pathlib import Path

import pytest

from darts_mim import Grid
from darts_mim.adapters import read_video


def clips_of(folder: Path, pattern: str) -> list[Path]:
    clips = sorted(folder.glob(pattern))
    return clips or pytest.skip(f"no clips in {folder}")


@pytest.mark.slow
def test_the_last_range_of_frames_in_kth_ends_with_each_clip(shared_data):
    clips = clips_of(shared_data / "kth", "*.avi")
    listed = (shared_data / "kth" / "00sequences.txt").read_text()
    lines = re.findall(r"^(person\S+)\s+frames\s+(\S.*)$", listed, re.MULTILINE)
    ends = {name: int(re.findall(r"-(\d+)", ranges)[-1]) for name, ranges in lines}
    assert len(clips) == 10
    for clip, series in zip(clips, read_video(clips, grey=True, size=(12, 16)), strict=True):
        name = clip.stem.removesuffix("_uncomp")
        assert len(series) == ends[name if name in ends else f"{name}_d1"], clip.name
        assert Grid.from_series(series).attributes_of("time")["frames_per_second"] == 25


@pytest.mark.slow
def test_every_clip_of_weizmann_is_read(shared_data):
    series = read_video(clips_of(shared_data / "weizmann", "*/*.avi"), grey=True, size=(12, 15))
    lengths = [len(one) for one in series]
    assert len(lengths) == 90
    assert (min(lengths), max(lengths), sum(lengths)) == (36, 146, 5855)
    assert all(0 <= one.values().min() < one.values().max() <= 1 for one in series)
