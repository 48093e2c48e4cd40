"""Windows lie in their series, in order, and are divided by whether motion moves on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from darts_mim import frames_to_series, series_to_frames
from darts_mim.datasets import (
    NONSTATIONARY_FROM,
    SeriesWindows,
    nonstationarity,
    split_by_nonstationarity,
)


def numbered(length: int, first: int = 0):
    """Return a series whose frames hold their numbers."""
    frames = np.arange(first, first + length, dtype=np.float32)[:, None, None, None]
    return frames_to_series(np.broadcast_to(frames, (length, 2, 3, 4)))


STOCHASTIC = frames_to_series(np.zeros((5, 2, 3, 4, 6)), layout="TCHWS")
OTHER = frames_to_series(np.zeros((5, 2, 3, 5)))


@settings(max_examples=60, deadline=None)
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=4),
    length=st.integers(1, 8),
    stride=st.integers(1, 5),
)
def test_windows_lie_in_their_series_and_none_is_left_out(
    lengths: list[int], length: int, stride: int
) -> None:
    clips = SeriesWindows([numbered(n, 100 * k) for k, n in enumerate(lengths)], length, stride)
    expected = [
        [100 * k + start + t for t in range(length)]
        for k, n in enumerate(lengths)
        for start in range(0, n, stride)
        if start + length <= n
    ]
    assert [clip[:, 0, 0, 0].tolist() for clip in clips] == expected
    assert len(clips) == len(expected)


def test_windows_are_views_of_memory_maps(tmp_path) -> None:
    np.save(tmp_path / "a.npy", np.ones((9, 2, 3, 4), np.float32))
    frames = np.load(tmp_path / "a.npy", mmap_mode="r")
    clips = SeriesWindows([frames_to_series(frames)], 4)
    assert np.shares_memory(clips[2], frames)
    assert clips[2].shape == (4, 2, 3, 4)


def test_windows_are_selected_and_become_series() -> None:
    clips = SeriesWindows([numbered(5), numbered(6, 100)], 4, [1, 2])
    assert [tuple(window) for window in clips.windows] == [(0, 0), (0, 1), (1, 0), (1, 2)]
    some = clips.select([3, 0])
    assert [clip[0, 0, 0, 0] for clip in some] == [102, 0]
    [series] = some.to_series([0])
    np.testing.assert_array_equal(series.values()[:, 0], [102, 103, 104, 105])
    assert series.components.equals(some.series[0].components)


def test_windows_become_slices_with_times_and_metadata() -> None:
    frames = np.arange(7 * 2 * 3 * 4.0).reshape(7, 2, 3, 4)
    series = frames_to_series(
        frames,
        start="2016-01-01",
        freq="30min",
        static_fields={"height": np.ones((3, 4))},
        metadata={"city": "here"},
        dtype=np.float64,
    )
    clips = SeriesWindows([numbered(2), series], 4, 3)
    one, again = clips.to_series([-1, 0])
    assert (str(one.start_time()), len(one)) == ("2016-01-01 01:30:00", 4)
    assert one.metadata["city"] == "here"
    np.testing.assert_array_equal(one.static_covariates, series.static_covariates)
    assert (one.dtype, clips[1].dtype) == (np.float32, np.float32)
    np.testing.assert_array_equal(series_to_frames(one), clips[1])
    np.testing.assert_array_equal(series_to_frames(again), clips[0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"series": [numbered(5), STOCHASTIC]}, ValueError, "`series` must not be sto"),
        ({"series": []}, ValueError, "`series` must be at least one"),
        ({"series": [numbered(5), OTHER]}, ValueError, "`series` must be .* of one grid"),
        ({"stride": 1.5}, TypeError, "`stride` must be an integer"),
        ({"windows": [(0, 4)]}, ValueError, "`windows` must lie within"),
    ],
)
def test_windows_that_cannot_be_are_refused(arguments, error, message) -> None:
    with pytest.raises(error, match=message):
        SeriesWindows(**{"series": [numbered(5)], "length": 2, **arguments})


def spot(x, y, *, height: int = 30, width: int = 44, radius: float = 4.0) -> np.ndarray:
    """Return frames (T, H, W) of a spot whose centre moves."""
    rows, columns = np.mgrid[:height, :width]
    distance = (columns - np.reshape(x, (-1, 1, 1))) ** 2 + (rows - np.reshape(y, (-1, 1, 1))) ** 2
    return np.exp(-distance / (2 * radius**2))


class TestNonstationarity:
    t = np.arange(20)

    @pytest.mark.parametrize("angle", [0.0, 0.7, 1.5])
    def test_what_passes_by_is_told_from_what_swings(self, angle: float) -> None:
        way = 0.8 * (self.t - 9.5)
        passing = spot(22 + way * np.cos(angle), 15 + way * np.sin(angle))
        swing = 3 * np.sin(1.2 * self.t)
        swinging = spot(22 + swing * np.cos(angle), 15 + swing * np.sin(angle))
        assert nonstationarity(passing) > 1.5 * NONSTATIONARY_FROM
        assert nonstationarity(swinging) < 0.5 * NONSTATIONARY_FROM

    def test_it_is_the_way_in_units_of_the_extent(self) -> None:
        # two pixels that blink, 6 columns apart, move on by 2 columns a frame: by hand, an extent
        # of 3 pixels, and 9 moments at 2 columns each
        frames = np.zeros((10, 3, 40))
        for t in range(10):
            frames[t, 1, [2 * t, 2 * t + 6]] = 1
        changes = np.zeros((10, 3, 40))
        for t in range(1, 10):
            changes[t] = changes[t - 1]
            changes[t, 1, [2 * t, 2 * t + 6]] += 1
        assert nonstationarity(changes) == pytest.approx(2 * 9 / 3)

    def test_brightness_contrast_size_and_channels_do_not_matter(self) -> None:
        frames = spot(8 + self.t, 15 + 0 * self.t)
        value = nonstationarity(frames)
        assert nonstationarity(255 * frames + 7) == pytest.approx(value)
        assert nonstationarity(frames[:, None].repeat(3, axis=1)) == pytest.approx(value)
        large = spot(2 * (8 + self.t), 30 + 0 * self.t, height=60, width=88, radius=8.0)
        assert nonstationarity(large) == pytest.approx(value, rel=0.02)

    def test_noise_and_stillness_are_stationary(self) -> None:
        noise = np.random.default_rng(0).normal(size=(20, 30, 44))
        assert nonstationarity(noise) < 0.2
        assert nonstationarity(np.ones((20, 30, 44))) == 0.0
        assert nonstationarity(np.full((20, 30, 44), np.nan)) == 0.0
        still = np.concatenate([np.zeros((1, 4, 4)), np.ones((5, 4, 4))])
        assert nonstationarity(still) == 0.0

    def test_windows_are_divided(self) -> None:
        passing, still = spot(8 + self.t, 15 + 0 * self.t)[:, None], np.zeros((20, 1, 30, 44))
        split = split_by_nonstationarity([still, passing, still])
        assert split == ([0, 2], [1])
        assert split_by_nonstationarity([passing], threshold=100) == ([0], [])

    def test_what_is_no_window_is_refused(self) -> None:
        for shape in ((2, 4, 4), (5, 4), (2, 5, 1, 4, 4)):
            with pytest.raises(ValueError, match=r"`frames` must have shape \(T, H, W\) or"):
                nonstationarity(np.zeros(shape))
