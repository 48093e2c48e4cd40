"""The clips of KTH and Weizmann: as many frames as their lists say, and no fewer."""

import re
from pathlib import Path

import numpy as np
import pytest

from darts_mim import Grid, series_to_frames
from darts_mim.adapters import read_video, write_video


@pytest.fixture(scope="module")
def kth(shared_data) -> Path:
    if not (shared_data / "kth").is_dir():
        pytest.skip(f"no clips in {shared_data / 'kth'}")
    return shared_data / "kth"


@pytest.fixture(scope="module")
def weizmann(shared_data) -> list[Path]:
    clips = sorted((shared_data / "weizmann").glob("*/*.avi"))
    if not clips:
        pytest.skip(f"no clips in {shared_data / 'weizmann'}")
    return clips


@pytest.mark.slow
def test_the_last_range_of_frames_in_kth_ends_with_each_clip(kth):
    ends = {
        name: int(re.findall(r"-(\d+)", ranges)[-1])
        for name, ranges in re.findall(
            r"^(person\S+)\s+frames\s+(\S.*)$", (kth / "00sequences.txt").read_text(), re.MULTILINE
        )
    }
    clips = sorted(kth.glob("*.avi"))
    assert len(clips) == 10
    for clip, series in zip(clips, read_video(clips, grey=True, size=(12, 16)), strict=True):
        name = clip.stem.removesuffix("_uncomp")
        assert len(series) == ends[name if name in ends else f"{name}_d1"], clip.name
        assert Grid.from_series(series).attributes_of("time")["frames_per_second"] == 25


@pytest.mark.slow
def test_every_clip_of_weizmann_is_read(weizmann):
    series = read_video(weizmann, grey=True, size=(12, 15))
    lengths = [len(one) for one in series]
    assert len(lengths) == 90
    assert (min(lengths), max(lengths), sum(lengths)) == (36, 146, 5855)
    assert all(0 <= one.values().min() < one.values().max() <= 1 for one in series)


def test_a_real_clip_makes_the_lossless_round_trip(weizmann, tmp_path):
    series = read_video(weizmann[0], stop_frame=20)
    assert Grid.from_series(series).shape == (3, 144, 180)
    again = read_video(write_video(tmp_path / "a.mkv", series))
    np.testing.assert_array_equal(again.values(), series.values())


def test_grey_of_a_real_clip_is_as_bright_as_its_colours(kth):
    clip = sorted(kth.glob("*.avi"))[0]
    grey = series_to_frames(read_video(clip, grey=True, stop_frame=5))[:, 0]
    colours = series_to_frames(read_video(clip, stop_frame=5))
    weighed = np.tensordot([0.299, 0.587, 0.114], colours, (0, 1))
    # colours beyond black and white are cut off
    np.testing.assert_allclose(weighed, grey, atol=1.5 / 255)


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7, 0.9, 0.99])
def test_a_real_clip_that_is_cut_off_is_refused(kth, tmp_path, share):
    clip = sorted(kth.glob("*.avi"))[0]
    data = clip.read_bytes()
    path = tmp_path / clip.name
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=rf"`path`: '.*{re.escape(clip.name)}'"):
        read_video(path, grey=True, size=(12, 16))
