"""Whatever bytes a series holds, a lossless clip gives them back, frame by frame."""

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from darts_mim import Grid, frames_to_series, series_to_frames
from darts_mim.adapters import read_frames, read_video, write_gif, write_video

PROFILE = settings(max_examples=25, deadline=None, derandomize=True, database=None)


def clips(channels: st.SearchStrategy[int], most: int = 6) -> st.SearchStrategy[np.ndarray]:
    """Draw bytes (T, C, H, W)."""
    sizes = st.tuples(st.integers(1, 5), channels, st.integers(1, most), st.integers(1, most))
    return arrays.arrays(np.uint8, sizes, elements=st.integers(0, 255))


COLOURS, GREY = clips(st.sampled_from([1, 3])), clips(st.just(1))
RATES = st.one_of(
    st.integers(1, 240),
    st.integers(1, 240).map(lambda rate: rate * 1000 / 1001),
    st.floats(0.01, 200).map(lambda rate: round(rate, 2)),
)


def in_bytes(series) -> np.ndarray:
    return np.rint(series_to_frames(series) * 255).astype(np.uint8)


@PROFILE
@given(st.lists(COLOURS, min_size=1, max_size=3), RATES)
def test_lossless_clips_give_bytes_and_rate_back(drawn: list[np.ndarray], fps: float) -> None:
    with tempfile.TemporaryDirectory() as folder:
        written = [frames_to_series(frames / np.float32(255), layout="TCHW") for frames in drawn]
        paths = [
            write_video(Path(folder) / f"{n}.mkv", series, fps=fps)
            for n, series in enumerate(written)
        ]
        read = read_video(paths)
    for frames, before, after in zip(drawn, written, read, strict=True):
        np.testing.assert_array_equal(in_bytes(after), frames)
        np.testing.assert_array_equal(after.values(), before.values())
        rate = Grid.from_series(after).attributes_of("time")["frames_per_second"]
        # FFmpeg states the rate of a Matroska file as a fraction of numbers up to 30,000
        assert abs(rate - fps) <= fps / 30_000


@PROFILE
@given(GREY, st.sampled_from([1, 4, 10, 25, 50]))
def test_a_grey_gif_gives_bytes_back_at_its_rate(drawn: np.ndarray, fps: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        series = frames_to_series(drawn / np.float32(255), layout="TCHW")
        path = write_gif(Path(folder) / "a.gif", series, fps=fps)
        read = read_video(path, grey=True, fps=fps)
    np.testing.assert_array_equal(in_bytes(read), drawn)


@PROFILE
@given(
    st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(dtype, st.tuples(*[st.integers(1, 6)] * 3))
    ),
    st.sampled_from(["png", "tif"]),
)
def test_a_folder_of_images_gives_its_numbers_back(drawn: np.ndarray, ending: str) -> None:
    peak = np.iinfo(drawn.dtype).max
    with tempfile.TemporaryDirectory() as folder:
        for number, frame in enumerate(drawn):
            Image.fromarray(frame).save(Path(folder) / f"{number}.{ending}")
        read = read_frames(folder, dtype=np.float64)
    np.testing.assert_array_equal(np.rint(series_to_frames(read)[:, 0] * peak), drawn)
