"""What clips hold arrives in the series: pixels, colours, rate, times."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries

from darts_mim import Grid, frames_to_series, series_to_frames, series_to_times
from darts_mim.adapters import read_video, write_video
from darts_mim.adapters.video.rates import constant_rate
from tests.adapters.video_clips import encode, flat, levels, moving_frames

MILLISECOND = Fraction(1, 1000)


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """Twelve frames of 16 rows and 24 columns, 25 a second; frame t holds 10 t."""
    return encode(tmp_path_factory.mktemp("clip") / "clip.mkv", levels(12), "ffv1", "bgr0")


@pytest.fixture(scope="module")
def uneven(tmp_path_factory) -> Path:
    """Six frames, of which the third is shown for 240 ms, the others for 40 ms."""
    path = tmp_path_factory.mktemp("uneven") / "uneven.mkv"
    times = [0, 40, 80, 320, 360, 400]
    return encode(path, levels(6), "ffv1", "bgr0", times=times, tick=MILLISECOND)


def drawn(series: TimeSeries) -> list[int]:
    """Return the value, in bytes, of each (uniform) frame."""
    frames = series_to_frames(series)
    assert np.ptp(frames, axis=(1, 2, 3)).max() == 0
    return np.rint(frames[:, 0, 0, 0] * 255).astype(int).tolist()


def attribute(series: TimeSeries, of: str, name: str):
    return Grid.from_series(series).attributes_of(of)[name]


class TestPixels:
    @pytest.mark.parametrize(
        ("pixel_format", "given", "shape"),
        [
            ("bgr0", "rgb24", (5, 7, 3)),
            ("gray", "gray", (5, 7)),
            ("gbrp16le", "rgb48le", (5, 7, 3)),
            ("gray16le", "gray16le", (5, 7)),
        ],
    )
    def test_numbers_are_exact_shares_of_the_largest(self, tmp_path, pixel_format, given, shape):
        dtype = np.uint16 if "16" in pixel_format else np.uint8
        peak = np.iinfo(dtype).max
        frames = np.random.default_rng(0).integers(0, peak, (3, *shape), dtype, endpoint=True)
        path = encode(tmp_path / "a.mkv", frames, "ffv1", pixel_format, given=given)
        series = read_video(path)
        is_grey = len(shape) == 2
        names = ("grey",) if is_grey else ("red", "green", "blue")
        assert Grid.from_series(series).channel_names == names
        assert series.dtype == np.float32
        read = series_to_frames(series, layout="THWC")
        np.testing.assert_array_equal(read, frames.reshape(read.shape) / np.float32(peak))
        as_grey = series_to_frames(read_video(path, grey=True, dtype=np.float64))[:, 0]
        luma = frames if is_grey else frames @ [0.299, 0.587, 0.114]
        np.testing.assert_allclose(as_grey, luma / peak, atol=0.5001 / 255 if peak == 255 else 1e-9)

    @pytest.mark.parametrize("grey", [False, True])
    @pytest.mark.parametrize(
        ("pixel_format", "tags", "intensities"),
        [
            ("yuv420p", {}, {16: 0, 235: 1, 255: 1}),
            ("yuv420p", {"color_range": 2}, {0: 0, 51: 0.2, 255: 1}),
            ("yuv420p9le", {}, {32: 0, 251: 0.5, 470: 1}),
            ("yuv420p10le", {}, {64: 0, 502: 0.5, 940: 1, 1023: 1}),
            ("yuv420p10le", {"color_range": 2}, {0: 0, 341: 1 / 3, 1023: 1}),
            ("yuv422p12le", {"colorspace": 9}, {256: 0, 2008: 0.5, 3760: 1}),
            ("yuv444p16le", {"colorspace": 1}, {4096: 0, 32128: 0.5, 60160: 1}),
            ("gray10le", {}, {0: 0, 341: 1 / 3, 1023: 1}),
            ("gbrp12le", {}, {0: 0, 1365: 1 / 3, 4095: 1}),
        ],
    )
    def test_black_to_white_of_any_depth_and_range(
        self, tmp_path, pixel_format, tags, intensities, grey
    ):
        frames = [flat(pixel_format, number) for number in intensities]
        path = encode(tmp_path / "a.mkv", frames, "ffv1", pixel_format, tags=tags)
        read = series_to_frames(read_video(path, grey=grey))
        expected = np.broadcast_to(np.reshape([*intensities.values()], (-1, 1, 1, 1)), read.shape)
        np.testing.assert_allclose(read, expected, atol=1e-6)

    def test_jpeg_has_the_full_range(self, tmp_path):
        frames = [flat("yuvj420p", number) for number in (0, 51, 255)]
        path = encode(tmp_path / "a.avi", frames, "mjpeg", "yuvj420p")
        read = series_to_frames(read_video(path))[:, :, 0, 0]
        np.testing.assert_allclose(read.T, [[0, 0.2, 1]] * 3, atol=1.5 / 255)

    @pytest.mark.parametrize(
        ("pixel_format", "matrix", "red"),
        [
            ("yuv444p", 5, (81, 90, 240)),  # Y, Cb, Cr of pure red
            ("yuv444p10le", 1, (250, 409, 960)),
            ("yuv444p10le", 9, (294, 387, 960)),
        ],
    )
    def test_colours_are_read_by_the_matrix_of_the_clip(self, tmp_path, pixel_format, matrix, red):
        frame = flat(pixel_format, 0)
        for plane, number in zip(frame.planes, red, strict=True):
            pixels = np.frombuffer(plane, "<u2" if "10" in pixel_format else np.uint8)
            plane.update(np.full_like(pixels, number).tobytes())
        tags = {"colorspace": matrix}
        path = encode(tmp_path / "a.mkv", [frame], "ffv1", pixel_format, tags=tags)
        read = series_to_frames(read_video(path))[0, :, 0, 0]
        np.testing.assert_allclose(read, [1, 0, 0], atol=2 / 255)


class TestSize:
    def test_shrinking_is_a_triangle_as_wide_as_two_new_pixels(self, tmp_path):
        frames = moving_frames(1, height=16, width=24)
        path = encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0")
        read = series_to_frames(read_video(path, size=(8, 6)))[0]
        expected = np.moveaxis(frames[0] / 255, -1, 0)
        for axis, (old, new) in zip((1, 2), ((16, 8), (24, 6)), strict=True):
            centres = (np.arange(new) + 0.5) * old / new
            distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) * new / old
            weights = np.maximum(0, 1 - distance)
            weights /= weights.sum(axis=1, keepdims=True)
            expected = np.moveaxis(np.tensordot(weights, expected, (1, axis)), 0, axis)
        np.testing.assert_allclose(read, expected, atol=1e-6)

    def test_growing_keeps_values_within_0_and_1(self, clip, tmp_path):
        series = read_video(clip, size=20)
        assert Grid.from_series(series).shape == (3, 20, 20)
        assert drawn(series) == [10 * t for t in range(12)]
        white = encode(tmp_path / "a.mkv", [flat("bgr0", 255)], "ffv1", "bgr0")
        assert series_to_frames(read_video(white, size=(7, 31))).max() == 1


class TestRate:
    @pytest.mark.parametrize("ending", ["mkv", "avi"])
    @pytest.mark.parametrize(
        ("fps", "shown"),
        [
            (None, [10 * t for t in range(12)]),
            (50, [value for t in range(12) for value in (10 * t, 10 * t)]),
            (10, [0, 20, 50, 70, 100]),  # at 0.1 s frame 2 of 0.08 s, at 0.2 s frame 5
            (7, [0, 30, 70, 100]),
        ],
    )
    def test_frames_are_those_shown_at_the_new_times(self, tmp_path, ending, fps, shown):
        clip = encode(tmp_path / f"clip.{ending}", levels(12), "ffv1", "bgr0")
        series = read_video(clip, fps=fps)
        assert drawn(series) == shown
        assert attribute(series, "time", "frames_per_second") == (fps or 25)
        assert attribute(series[3:5] * 2, "global", "source") == clip.name

    def test_a_frame_that_stays_longer_is_repeated(self, uneven):
        assert drawn(read_video(uneven, fps=25)) == [0, 10, 20, 20, 20, 20, 20, 20, 30, 40, 50]
        assert drawn(read_video(uneven, fps=12.5)) == [0, 20, 20, 20, 30, 50]

    def test_a_rate_that_changes_is_not_taken_for_constant(self, tmp_path):
        times = [4 * t for t in range(15)] + [60 + 5 * t for t in range(12)]  # 30, then 24 a second
        frames = [flat("gray", 9 * t) for t in range(27)]
        path = tmp_path / "a.nut"
        encode(path, frames, "ffv1", "gray", times=times, tick=Fraction(1, 120))
        message = r"a\.nut' has no constant frame rate: frame 15 is shown at 0\.5 s, .* fps="
        with pytest.raises(ValueError, match=message):
            read_video(path)
        series = read_video(path, fps=50, start="2026-01-01")
        assert str(series.time_index[25]) == "2026-01-01 00:00:00.500000"
        assert drawn(series)[24:26] == [9 * 14, 9 * 15]
        assert len(series) == 50

    @pytest.mark.parametrize("fps", [30, 60, 30000 / 1001])
    def test_times_that_a_file_rounds_are_no_fault(self, tmp_path, fps):
        written = frames_to_series(np.arange(60)[:, None, None] / np.float32(255), layout="THW")
        path = write_video(tmp_path / "a.mkv", written, fps=fps)
        series = read_video(path)
        assert attribute(series, "time", "frames_per_second") == pytest.approx(fps, rel=1e-6)
        assert drawn(read_video(path, fps=fps)) == list(range(60))
        assert drawn(read_video(path, fps=fps / 2)) == list(range(0, 60, 2))

    @pytest.mark.parametrize(
        ("times", "tick", "stated", "rate"),
        [
            ([0, 1, 2, 3], 1, 1, 1),
            ([0, 3, 7, 10], 1, None, Fraction(3, 10)),  # hundredths of a GIF
            ([0, 33, 67, 100, 133], 1, Fraction(3, 100), Fraction(3, 100)),
            ([0, 10, 21, 30, 40], Fraction(1, 9), Fraction(1, 10), Fraction(1, 10)),  # jitter
            ([None, None], 1, 25, 25),
            ([5], 1, 25, 25),
        ],
    )
    def test_a_constant_rate_is_found(self, times, tick, stated, rate):
        times = [None if time is None else Fraction(time) for time in times]
        stated = None if stated is None else Fraction(stated)
        assert constant_rate(times, Fraction(tick), stated, Path("a")) == rate

    @pytest.mark.parametrize(
        "times",
        [
            [0, 1, 3, 4],  # AVI leaves a frame out
            [0, 20, 10, 30],
            [4 * t for t in range(150)] + [600 + 5 * t for t in range(120)],
        ],
    )
    def test_another_one_is_not(self, times):
        with pytest.raises(ValueError, match=r"'a' has no constant frame rate: .* pass `fps`"):
            constant_rate([Fraction(t) for t in times], Fraction(1), Fraction(1), Path("a"))


class TestSpanAndTimes:
    @pytest.mark.parametrize("span", [(3, 7), (5, None), (0, 1)])
    @pytest.mark.parametrize("times", [{}, {"start": 100}, {"start": "2026-01-01"}, {"freq": "h"}])
    def test_a_span_is_the_slice_of_the_whole(self, clip, span, times):
        part = read_video(clip, start_frame=span[0], stop_frame=span[1], **times)
        assert part == read_video(clip, **times)[span[0] : span[1]]
        part = read_video(clip, fps=50, start_frame=span[0], stop_frame=span[1])
        assert part == read_video(clip, fps=50)[span[0] : span[1]]

    def test_after_a_date_frames_follow_at_the_rate(self, clip):
        series = read_video(clip, start=pd.Timestamp("2026-01-01", tz="Europe/Berlin"))
        assert series.freq_str == "40ms"
        assert str(series_to_times(series)[-1]) == "2026-01-01 00:00:00.440000+01:00"
        series = read_video(clip, start="2026-01-01", freq="5min")
        assert str(series.end_time()) == "2026-01-01 00:55:00"


class TestRotation:
    """A phone writes frames as its sensor sees them, and how to rotate them beside."""

    UPRIGHT = np.zeros((16, 24, 3), np.uint8)
    UPRIGHT[:8, :8] = 250  # bright at the top left

    @pytest.mark.parametrize(
        ("matrix", "turns"),
        [((1, 0, 0, 1), 0), ((0, 1, -1, 0), -1), ((-1, 0, 0, -1), 2), ((0, -1, 1, 0), 1)],
    )
    def test_it_is_applied(self, tmp_path, matrix, turns):
        path = self.rotated(tmp_path, matrix)
        frame = series_to_frames(read_video(path, grey=True))[0, 0]
        np.testing.assert_allclose(frame, np.rot90(self.UPRIGHT[..., 0] / 255, turns), atol=0.05)

    def test_other_angles_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"rotated by right angles, got 8 bits .* degrees"):
            read_video(self.rotated(tmp_path, (0.7, 0.7, -0.7, 0.7)))

    def rotated(self, folder: Path, matrix: tuple[float, ...]) -> Path:
        """Write the matrix into the header of the track, big-endian numbers of 16.16 bits."""
        path = encode(folder / "a.mp4", [self.UPRIGHT] * 3, "mpeg4", "yuv420p")
        data = bytearray(path.read_bytes())
        at = data.find(b"tkhd") + 44
        for offset, entry in zip((0, 4, 12, 16), matrix, strict=True):
            number = round(65536 * entry)
            data[at + offset : at + offset + 4] = number.to_bytes(4, "big", signed=True)
        path.write_bytes(data)
        return path


def test_several_clips_become_a_list(clip, uneven):
    series = read_video([str(clip), uneven], fps=25)
    assert [len(one) for one in series] == [12, 11]
    assert [attribute(one, "global", "source") for one in series] == ["clip.mkv", "uneven.mkv"]
    assert isinstance(read_video([clip]), list)


class TestCache:
    def test_frames_go_through_a_file_that_is_mapped(self, clip, tmp_path):
        cache = tmp_path / "cache"
        series = read_video(clip, cache=cache)
        assert isinstance(series.all_values(copy=False).base, np.memmap)
        assert series == read_video(clip)
        read_video(clip, cache=cache)
        assert [path.name.startswith("clip-") for path in cache.iterdir()] == [True]
        assert len(read_video(clip, cache=cache, size=4)) == 12
        assert len(list(cache.iterdir())) == 2

    def test_a_clip_that_is_refused_leaves_nothing(self, uneven, tmp_path):
        with pytest.raises(ValueError, match="constant frame rate"):
            read_video(uneven, cache=tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"size": (4, 2.5)}, TypeError, "`size` must be an integer"),
        ({"fps": 0}, ValueError, "`fps` must be finite"),
        ({"dtype": np.uint8}, TypeError, "`dtype` must be np.float32 or np.float64"),
        ({"start": "never"}, ValueError, "never"),
        ({"stop_frame": 0.4}, TypeError, "`stop_frame` must be an integer"),
        ({"start_frame": -1}, ValueError, "`start_frame` must be at least 0"),
        ({"start_frame": 5, "stop_frame": 5}, ValueError, "`stop_frame` must be at least 6"),
        ({"stop_frame": 13}, ValueError, "`stop_frame=13` lies beyond .* which has 12 frames"),
        ({"start_frame": 12}, ValueError, "`start_frame=12` lies beyond .* which has 12 frames"),
        ({"path": {"a.mkv"}}, ValueError, "`path` must be a path or a list"),
        ({"path": []}, ValueError, "`path` must be a path or a list"),
    ],
)
def test_what_is_wrong_is_named(clip, arguments, error, message):
    with pytest.raises(error, match=message):
        read_video(**{"path": clip, **arguments})
