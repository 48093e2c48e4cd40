"""What clips hold arrives in the series: pixels, colours, rate, times."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from PIL import Image

from darts_mim import Grid, series_to_frames, series_to_times
from darts_mim.adapters import read_video
from tests.adapters.video_clips import encode, levels, moving_frames

MILLISECOND = Fraction(1, 1000)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Twelve frames of 16 rows and 24 columns, 25 a second; frame t holds 10 t."""
    return encode(tmp_path / "clip.mkv", levels(12), "ffv1", "bgr0")


def drawn(series: TimeSeries) -> list[int]:
    """Return the value, in bytes, of each (uniform) frame."""
    frames = series_to_frames(series)
    assert np.ptp(frames, axis=(1, 2, 3)).max() == 0
    return np.rint(frames[:, 0, 0, 0] * 255).astype(int).tolist()


def attribute(series: TimeSeries, of: str, name: str):
    return Grid.from_series(series).attributes_of(of)[name]


class TestPixels:
    def test_colours_are_bytes_over_255_in_three_channels(self, tmp_path):
        frames = moving_frames(4, height=5, width=7)
        series = read_video(encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0"))
        grid = Grid.from_series(series)
        assert grid.shape == (3, 5, 7)
        assert grid.channel_names == ("red", "green", "blue")
        assert series.dtype == np.float32
        expected = np.moveaxis(np.stack(frames), -1, 1) / np.float32(255)
        np.testing.assert_array_equal(series_to_frames(series), expected)

    def test_a_clip_of_one_component_is_grey(self, tmp_path):
        frames = [frame[..., 0] for frame in moving_frames(4)]
        series = read_video(encode(tmp_path / "a.mkv", frames, "ffv1", "gray", given="gray"))
        assert Grid.from_series(series).channel_names == ("grey",)
        np.testing.assert_array_equal(
            series_to_frames(series)[:, 0], np.stack(frames) / np.float32(255)
        )

    @pytest.mark.parametrize(
        ("pixel_format", "given", "shape"),
        [("gray16le", "gray16le", (6, 8)), ("gbrp16le", "rgb48le", (6, 8, 3))],
    )
    def test_sixteen_bits_stay_sixteen_bits(self, tmp_path, pixel_format, given, shape):
        rng = np.random.default_rng(0)
        frames = list(rng.integers(0, 2**16, (3, *shape), dtype=np.uint16))
        path = encode(tmp_path / "a.mkv", frames, "ffv1", pixel_format, given=given)
        series = read_video(path, dtype=np.float64)
        read = np.rint(series_to_frames(series, layout="THWC") * 65535)
        np.testing.assert_array_equal(read, np.stack(frames).reshape(read.shape))

    def test_grey_of_colours_weighs_them_as_the_eye_does(self, tmp_path):
        frames = moving_frames(3)
        series = read_video(encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0"), grey=True)
        expected = np.stack(frames) @ [0.299, 0.587, 0.114]
        read = series_to_frames(series)[:, 0] * 255
        np.testing.assert_allclose(read, expected, atol=0.51)

    def test_grey_of_a_usual_clip_is_its_own_brightness_over_the_full_range(self, tmp_path):
        # Y from 16 to 235 is what yuv420p means by black to white
        luma = np.repeat(np.arange(16, 236, dtype=np.uint8)[None, :], 4, axis=0)
        planes = np.vstack([luma, np.full((2, 220), 128, np.uint8)])
        path = encode(tmp_path / "a.mkv", [planes], "ffv1", "yuv420p", given="yuv420p")
        row = series_to_frames(read_video(path, grey=True))[0, 0, 0]
        np.testing.assert_allclose(row, np.linspace(0, 1, 220), atol=0.51 / 255)

    def test_the_colours_of_a_clip_in_bt709_are_read_as_such(self, tmp_path):
        # pure red by ITU-R BT.709: Y, Cb, Cr = 63, 102, 240
        planes = np.vstack(
            [np.full((4, 4), 63, np.uint8), np.array([[102] * 4, [240] * 4], np.uint8)]
        )
        path = encode(
            tmp_path / "a.mkv", [planes], "ffv1", "yuv420p", given="yuv420p", tags={"colorspace": 1}
        )
        red = series_to_frames(read_video(path))[0, :, 0, 0]
        np.testing.assert_allclose(red, [1, 0, 0], atol=4 / 255)

    def test_float64_where_asked(self, clip):
        series = read_video(clip, dtype=np.float64)
        assert series.dtype == np.float64
        assert series.values()[1, 0] == 10 / 255


class TestSize:
    def test_shrinking_averages_what_a_new_pixel_covers(self, tmp_path):
        board = np.indices((16, 24)).sum(axis=0) % 2 * np.uint8(200)
        path = encode(tmp_path / "a.mkv", [board.astype(np.uint8)], "ffv1", "gray", given="gray")
        frames = series_to_frames(read_video(path, size=(4, 6)))
        assert frames.shape == (1, 1, 4, 6)
        np.testing.assert_allclose(frames, 100 / 255, atol=4 / 255)

    def test_it_agrees_with_an_independent_filter(self, tmp_path):
        # a triangle as wide as two new pixels, as in Pillow's description of its filters
        frames = moving_frames(1, height=16, width=24)
        path = encode(tmp_path / "a.mkv", frames, "ffv1", "bgr0")
        read = series_to_frames(read_video(path, size=(8, 8)))[0]
        expected = np.moveaxis(frames[0] / 255, -1, 0)
        for axis, (old, new) in zip((1, 2), ((16, 8), (24, 8)), strict=True):
            centres = (np.arange(new) + 0.5) * old / new
            distance = np.abs(np.arange(old) + 0.5 - centres[:, None]) * new / old
            weights = np.maximum(0, 1 - distance)
            weights /= weights.sum(axis=1, keepdims=True)
            expected = np.moveaxis(np.tensordot(weights, expected, (1, axis)), 0, axis)
        np.testing.assert_allclose(read, expected, atol=1e-6)

    def test_a_number_makes_squares_and_growing_keeps_values(self, clip):
        series = read_video(clip, size=20)
        assert Grid.from_series(series).shape == (3, 20, 20)
        assert drawn(series) == [10 * t for t in range(12)]

    def test_values_stay_within_0_and_1(self, tmp_path):
        path = encode(tmp_path / "a.mkv", [np.full((9, 11, 3), 255, np.uint8)], "ffv1", "bgr0")
        assert series_to_frames(read_video(path, size=(7, 31))).max() == 1


class TestRate:
    def test_it_is_kept_with_the_name_of_the_clip(self, clip):
        series = read_video(clip)
        assert attribute(series, "time", "frames_per_second") == 25
        assert attribute(series, "global", "source") == "clip.mkv"
        assert Grid.from_series(series).label("red") == "red intensity [1]"
        assert attribute(series[3:5] * 2, "time", "frames_per_second") == 25

    @pytest.mark.parametrize("ending", ["mkv", "avi"])
    @pytest.mark.parametrize(
        ("fps", "shown"),
        [
            (25, [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]),
            (12.5, [0, 20, 40, 60, 80, 100]),
            (50, [value for t in range(12) for value in (10 * t, 10 * t)]),
            (10, [0, 20, 50, 70, 100]),  # at 0.1 s frame 2 of 0.08 s, at 0.2 s frame 5
            (1, [0]),
        ],
    )
    def test_frames_are_those_shown_at_the_new_times(self, tmp_path, ending, fps, shown):
        clip = encode(tmp_path / f"clip.{ending}", levels(12), "ffv1", "bgr0")
        series = read_video(clip, fps=fps)
        assert drawn(series) == shown
        assert attribute(series, "time", "frames_per_second") == fps

    def test_a_frame_that_stays_longer_is_repeated(self, tmp_path):
        times = [0, 40, 80, 320, 360, 400]
        clip = encode(tmp_path / "a.mkv", levels(6), "ffv1", "bgr0", times=times, tick=MILLISECOND)
        assert drawn(read_video(clip, fps=25)) == [0, 10, 20, 20, 20, 20, 20, 20, 30, 40, 50]
        assert drawn(read_video(clip, fps=12.5)) == [0, 20, 20, 20, 30, 50]

    def test_without_fps_such_a_clip_is_refused(self, tmp_path):
        times = [0, 40, 80, 320, 360, 400]
        clip = encode(tmp_path / "a.mkv", levels(6), "ffv1", "bgr0", times=times, tick=MILLISECOND)
        with pytest.raises(
            ValueError, match=r"a\.mkv' has no constant frame rate: .* 0\.04 s, frame 2 .*fps=25"
        ):
            read_video(clip)

    def test_a_clip_that_goes_back_in_time_is_refused(self):
        from darts_mim.adapters.video.rates import Moment, at_rate, constant_rate

        times = [Fraction(0), Fraction(2), Fraction(1)]
        with pytest.raises(ValueError, match="frame 2 is shown before frame 1"):
            constant_rate(times, Fraction(0), None, Path("a.ts"))
        moments = (Moment(None, time, None) for time in times)
        with pytest.raises(ValueError, match="frame 2 is shown before frame 1"):
            list(at_rate(moments, Fraction(1), Fraction(0), None, Path("a.ts")))

    def test_times_that_a_file_rounds_are_no_fault(self, tmp_path):
        times = [round(1000 * t / 30) for t in range(60)]
        clip = encode(
            tmp_path / "a.mkv", levels(12) * 5, "ffv1", "bgr0", times=times, tick=MILLISECOND
        )
        series = read_video(clip)
        assert len(series) == 60
        assert attribute(series, "time", "frames_per_second") == pytest.approx(30, rel=1e-3)
        assert drawn(read_video(clip, fps=30)) == drawn(series)
        assert drawn(read_video(clip, fps=15)) == drawn(series)[::2]

    def test_the_rate_of_television_is_exact(self, tmp_path):
        clip = encode(
            tmp_path / "a.mp4", levels(12), "libx264", "yuv420p", tick=Fraction(1001, 30000)
        )
        rate = attribute(read_video(clip), "time", "frames_per_second")
        assert rate == pytest.approx(30000 / 1001, rel=1e-12)

    def test_a_gif_keeps_time_in_hundredths(self, tmp_path):
        pictures = [Image.fromarray(frame) for frame in levels(4)]
        pictures[0].save(
            tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[30, 30, 40, 30]
        )
        assert drawn(read_video(tmp_path / "a.gif")) == [0, 10, 20, 30]


class TestSpanAndTimes:
    def test_the_index_counts_frames(self, clip):
        assert read_video(clip).time_index.equals(pd.RangeIndex(12))

    @pytest.mark.parametrize("span", [(0, 12), (3, 7), (5, None), (11, None), (0, 1)])
    @pytest.mark.parametrize("times", [{}, {"start": 100}, {"start": "2026-01-01"}, {"freq": "h"}])
    def test_a_span_is_the_slice_of_the_whole(self, clip, span, times):
        part = read_video(clip, start_frame=span[0], stop_frame=span[1], **times)
        assert part == read_video(clip, **times)[span[0] : span[1]]

    def test_a_span_counts_at_the_new_rate(self, clip):
        part = read_video(clip, fps=12.5, start_frame=2, stop_frame=4)
        assert drawn(part) == [40, 60]
        assert part.time_index.tolist() == [2, 3]

    def test_after_a_date_frames_follow_at_the_rate(self, clip):
        series = read_video(clip, start=pd.Timestamp("2026-01-01", tz="Europe/Berlin"))
        assert series.freq_str == "40ms"
        assert str(series_to_times(series)[-1]) == "2026-01-01 00:00:00.440000+01:00"

    def test_frames_of_a_film_may_be_minutes_apart(self, clip):
        series = read_video(clip, start="2026-01-01", freq="5min")
        assert str(series.end_time()) == "2026-01-01 00:55:00"
        assert attribute(series, "time", "frames_per_second") == 25

    @pytest.mark.parametrize(
        ("span", "message"),
        [
            ((0, 13), r"`stop_frame=13` lies beyond the end of .*, which has 12 frames"),
            ((12, None), r"`start_frame=12` lies beyond the end of .*, which has 12 frames"),
            ((5, 5), r"`start_frame=5` must be .* below `stop_frame=5`"),
            ((-1, None), r"`start_frame=-1` must be at least 0"),
        ],
    )
    def test_a_span_beyond_the_clip_is_refused(self, clip, span, message):
        with pytest.raises(ValueError, match=message):
            read_video(clip, start_frame=span[0], stop_frame=span[1])

    def test_seconds_are_no_frames(self, clip):
        with pytest.raises(
            TypeError, match=r"`stop_frame` must be the number of a frame, got 0\.4"
        ):
            read_video(clip, stop_frame=0.4)


class TestOrientation:
    """A phone writes frames as its sensor sees them, and how to turn them beside."""

    UPRIGHT = np.zeros((16, 24, 3), np.uint8)
    UPRIGHT[:8, :8] = 250  # bright at the top left

    @pytest.mark.parametrize(
        ("matrix", "turn"),
        [
            ((1, 0, 0, 1), lambda frame: frame),
            ((0, 1, -1, 0), lambda frame: np.rot90(frame, -1)),
            ((-1, 0, 0, -1), lambda frame: np.rot90(frame, 2)),
            ((0, -1, 1, 0), lambda frame: np.rot90(frame, 1)),
            ((-1, 0, 0, 1), np.fliplr),
            ((1, 0, 0, -1), np.flipud),
            ((0, 1, 1, 0), lambda frame: np.swapaxes(frame, 0, 1)),
        ],
    )
    def test_turns_and_mirrors_are_applied(self, tmp_path, matrix, turn):
        path = self.turned(tmp_path, matrix)
        frame = series_to_frames(read_video(path, grey=True))[0, 0]
        np.testing.assert_allclose(frame, turn(self.UPRIGHT[..., 0]) / 255, atol=0.05)

    def test_other_angles_are_refused(self, tmp_path):
        with pytest.raises(ValueError, match="must be shown upright, mirrored or turned"):
            read_video(self.turned(tmp_path, (0.7, 0.7, -0.7, 0.7)))

    def test_of_data_that_pyav_does_not_know_the_angle_is_left(self):
        from darts_mim.adapters.video import pixels

        class Frame:
            rotation = -90

            @property
            def side_data(self):
                raise ValueError("31 is not a valid Type")

        assert pixels._display_matrix(Frame()) == (0, 1, -1, 0)

    def turned(self, folder: Path, matrix: tuple[float, ...]) -> Path:
        """Write the matrix into the header of the track, big-endian numbers of 16.16 bits."""
        path = encode(
            folder / "a.mp4", [self.UPRIGHT] * 3, "libx264", "yuv420p", options={"crf": "1"}
        )
        data = bytearray(path.read_bytes())
        at = data.find(b"tkhd") + 44
        a, b, c, d = (round(65536 * entry) for entry in matrix)
        assert data[at : at + 4] == (65536).to_bytes(4, "big")
        for offset, entry in zip((0, 4, 12, 16), (a, b, c, d), strict=True):
            data[at + offset : at + offset + 4] = entry.to_bytes(4, "big", signed=True)
        path.write_bytes(data)
        return path


class TestManyClips:
    def test_each_becomes_a_series(self, tmp_path):
        paths = [encode(tmp_path / f"{n}.mkv", levels(n), "ffv1", "bgr0") for n in (3, 5, 4)]
        series = read_video(paths)
        assert [len(one) for one in series] == [3, 5, 4]
        assert [attribute(one, "global", "source") for one in series] == [
            "3.mkv",
            "5.mkv",
            "4.mkv",
        ]

    def test_one_in_a_list_is_a_list(self, clip):
        assert isinstance(read_video(str(clip)), TimeSeries)
        assert isinstance(read_video([str(clip)]), list)

    @pytest.mark.parametrize("given", [iter(["a.mkv"]), {"a.mkv"}, 5, ["a.mkv", 5], b"a.mkv"])
    def test_what_is_no_path_is_refused(self, given):
        with pytest.raises(TypeError, match="`path` must be a path or a sequence of paths, got"):
            read_video(given)

    def test_so_is_an_empty_list(self):
        with pytest.raises(ValueError, match="`path` must not be an empty sequence"):
            read_video([])


class TestCache:
    def test_frames_go_through_a_file_that_is_mapped(self, clip, tmp_path):
        series = read_video(clip, cache=tmp_path / "cache")
        assert isinstance(series.all_values(copy=False).base, np.memmap)
        assert series == read_video(clip)
        (file,) = (tmp_path / "cache").iterdir()
        assert file.name.startswith("clip-")
        np.testing.assert_array_equal(np.load(file), series_to_frames(series))

    def test_each_clip_and_each_setting_has_a_file_of_its_own(self, clip, tmp_path):
        (tmp_path / "other").mkdir()
        other = encode(tmp_path / "other" / "clip.mkv", levels(5), "ffv1", "bgr0")
        first, second = read_video([clip, other], cache=tmp_path / "cache")
        small = read_video(clip, cache=tmp_path / "cache", size=4)
        assert (len(first), len(second), small.n_components) == (12, 5, 48)
        assert len(list((tmp_path / "cache").iterdir())) == 3

    def test_an_earlier_file_is_replaced(self, clip, tmp_path):
        before = read_video(clip, cache=tmp_path / "cache")
        encode(clip, levels(12)[::-1], "ffv1", "bgr0")
        after = read_video(clip, cache=tmp_path / "cache")
        assert drawn(after) == drawn(before)[::-1]
        assert len(list((tmp_path / "cache").iterdir())) == 1

    def test_a_clip_that_is_refused_leaves_nothing(self, tmp_path):
        clip = encode(
            tmp_path / "a.mkv", levels(3), "ffv1", "bgr0", times=[0, 1, 9], tick=MILLISECOND
        )
        with pytest.raises(ValueError, match="constant frame rate"):
            read_video(clip, cache=tmp_path / "cache")
        assert list((tmp_path / "cache").iterdir()) == []


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"size": (4, 5, 6)}, ValueError, r"`size` must be \(height, width\) or one integer"),
            ({"size": 0}, ValueError, r"`size\[0\]=0` must be at least 1"),
            ({"size": (4, 2.5)}, TypeError, r"`size\[1\]` must be an integer, got 2\.5"),
            ({"fps": 0}, ValueError, "`fps=0` must be positive and finite"),
            ({"fps": float("nan")}, ValueError, "`fps=nan` must be positive and finite"),
            ({"fps": 1e-9}, ValueError, "`fps=1e-09` must be at least one frame in"),
            ({"fps": "25"}, TypeError, "`fps` must be a number of frames per second, got '25'"),
            ({"dtype": np.uint8}, TypeError, "`dtype` must be one of the types that series hold"),
            ({"dtype": np.float16}, TypeError, "`dtype` must be one of the types that series hold"),
            ({"dtype": None}, TypeError, "`dtype` must be one of the types that series hold"),
            ({"start": "never"}, ValueError, "`start='never'` is neither"),
        ],
    )
    def test_what_is_wrong_is_named(self, clip, arguments, error, message):
        with pytest.raises(error, match=message):
            read_video(clip, **arguments)
