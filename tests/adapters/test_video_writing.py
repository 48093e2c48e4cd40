"""What is written shows the series: in players, in browsers, and when it is read again."""

import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from darts_mim import Grid, frames_to_series, series_to_frames
from darts_mim.adapters import read_video, write_gif, write_video
from darts_mim.adapters.video.gif import save_gif
from tests.adapters.video_clips import encode, levels, moving_frames

# eight frames of 32 rows and 48 columns
COLOURS = frames_to_series(np.stack(moving_frames(8)) / np.float32(255), layout="THWC")


def uniform(values, **options):
    """Make frames of 4 rows and 6 columns, each of one value."""
    frames = np.broadcast_to(np.reshape(values, (-1, 1, 1, 1)), (len(values), 1, 4, 6))
    return frames_to_series(frames.astype(np.float32), **options)


def pictures_of(path: Path) -> tuple[list[np.ndarray], list[int]]:
    with Image.open(path) as image:
        frames = [(f.convert("RGB"), f.info["duration"]) for f in ImageSequence.Iterator(image)]
    return [np.asarray(frame) for frame, _ in frames], [duration for _, duration in frames]


class TestMP4:
    def test_it_is_what_players_and_browsers_show(self, tmp_path):
        path = write_video(tmp_path / "deeper" / "a.mp4", COLOURS, fps=12.5)
        with av.open(str(path)) as container:
            assert float(container.duration / 1e6) == 0.64
            codec = container.streams.video[0].codec_context
            assert (codec.name, codec.pix_fmt) == ("h264", "yuv420p")
            # ITU-R BT.709, in the range of television
            assert (codec.colorspace, codec.color_range) == (1, 1)
        data = path.read_bytes()
        assert data.index(b"moov") < data.index(b"mdat")  # shown before all of it is there

    def test_colours_keep_their_hue(self, tmp_path):
        bars = np.zeros((3, 3, 16, 64), np.float32)
        colours = [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.2, 0.4, 0.6)]
        for number, colour in enumerate(colours):
            bars[..., 16 * number : 16 * number + 16] = np.reshape(colour, (3, 1, 1))
        read = read_video(write_video(tmp_path / "a.mp4", frames_to_series(bars), fps=25))
        centres = series_to_frames(read)[1, :, 8, 8::16].T
        np.testing.assert_allclose(centres, colours, atol=6 / 255)

    def test_sides_become_even(self, tmp_path):
        frames = np.linspace(0, 1, 5 * 7, dtype=np.float32).reshape(1, 1, 5, 7)
        path = write_video(tmp_path / "a.mp4", frames_to_series(frames), fps=1)
        read = series_to_frames(read_video(path, grey=True))[0, 0]
        np.testing.assert_allclose(read, np.pad(frames[0, 0], [(0, 1)] * 2, "edge"), atol=0.06)

    @pytest.mark.parametrize("fps", [1 / 1800, 30000 / 1001, 500])
    @pytest.mark.parametrize("ending", ["mp4", "mkv"])
    def test_any_rate_is_kept(self, tmp_path, fps, ending):
        series = read_video(write_video(tmp_path / f"a.{ending}", uniform([0, 0.4, 1]), fps=fps))
        rate = Grid.from_series(series).attributes_of("time")["frames_per_second"]
        assert rate == pytest.approx(fps, rel=1e-6)
        assert len(series) == 3


class TestGIF:
    def test_colours_are_close(self, tmp_path):
        y, x = np.mgrid[:32, :48]
        frame = np.stack([y / 31, x / 47, np.full((32, 48), 0.5)])[None].astype(np.float32)
        pictures, _ = pictures_of(write_gif(tmp_path / "a.gif", frames_to_series(frame), fps=1))
        error = np.abs(np.moveaxis(frame[0], 0, -1) * 255 - pictures[0])
        assert error.mean() < 5
        assert error.max() < 30

    def test_a_rate_that_does_not_divide_100_loses_no_time(self, tmp_path):
        path = write_gif(tmp_path / "a.gif", uniform(np.arange(60) / 60), fps=30)
        _, durations = pictures_of(path)
        assert set(durations) == {30, 40}
        assert sum(durations) == 2000
        rate = Grid.from_series(read_video(path)).attributes_of("time")["frames_per_second"]
        assert rate == pytest.approx(30, rel=0.02)

    def test_frames_that_are_alike_become_one_that_lasts(self, tmp_path):
        series = uniform([0, 0.5, 0.5, 0.5, 1])
        path = write_gif(tmp_path / "a.gif", series, fps=10)
        assert pictures_of(path)[1] == [100, 300, 100]
        np.testing.assert_allclose(
            read_video(path, fps=10, grey=True).values(), series.values(), atol=0.5 / 255
        )

    def test_grey_and_coloured_frames_may_follow_each_other(self, tmp_path):
        grey = np.repeat(np.arange(240, dtype=np.uint8).reshape(12, 20, 1), 3, axis=-1)
        colours = np.random.default_rng(0).integers(0, 4, (12, 20, 3), dtype=np.uint8) * 60
        frames = np.stack([grey, colours, grey, grey])
        save_gif(tmp_path / "deeper" / "a.gif", frames, [40, 50, 60, 70])
        pictures, durations = pictures_of(tmp_path / "deeper" / "a.gif")
        np.testing.assert_array_equal(pictures, frames[:3])
        assert durations == [40, 50, 130]


@pytest.mark.parametrize("write", [write_video, write_gif])
class TestBoth:
    """What holds for clips and GIFs."""

    @pytest.fixture
    def path(self, tmp_path, write) -> Path:
        return tmp_path / ("a.gif" if write is write_gif else "a.mkv")

    def read(self, path: Path) -> np.ndarray:
        """Return the first pixel of each frame as bytes (T, C)."""
        frames = series_to_frames(read_video(path))[..., 0, 0]
        return np.rint(frames * 255).astype(int)

    def test_the_rate_is_that_of_the_clip(self, write, path, tmp_path):
        clip = encode(tmp_path / "clip.mkv", levels(6), "ffv1", "bgr0")
        series = read_video(clip, grey=True)
        write(path, series[2:5] * 1.5)
        rate = Grid.from_series(read_video(path)).attributes_of("time")["frames_per_second"]
        assert rate == 25

    def test_values_have_a_range(self, write, path):
        write(path, uniform([-20, -5, 10]), fps=1, vmin=-20, vmax=10)
        assert self.read(path)[:, 0].tolist() == [0, 128, 255]

    def test_values_outside_are_cut_off_with_a_warning(self, write, path, caplog):
        write(path, uniform([-0.001, 1.001]), fps=1)  # rounds to the range
        write(path, uniform([-0.5, 0.5, 1.5]), fps=1, vmin=0, vmax=1)  # as asked for
        assert caplog.text == ""
        write(path, uniform([-0.5, 0.5, 1.5]), fps=1)
        assert "Cut off values outside 0 to 1; pass `vmin` and `vmax`" in caplog.text
        assert self.read(path)[:, 0].tolist() == [0, 128, 255]

    def test_missing_cells_are_black_and_grey_on_a_colour_map(self, write, path):
        write(path, uniform([0.5, 0.8], mask=np.arange(24).reshape(4, 6) > 0), fps=1)
        assert self.read(path)[:, 0].tolist() == [0, 0]
        write(path, uniform([np.nan, 0.8]), fps=1)
        assert self.read(path)[:, 0].tolist() == [0, 204]
        write(path, uniform([np.nan, 0, 1]), fps=1, cmap="viridis")
        colours = [[217, 217, 217], [68, 1, 84], [253, 231, 36]]
        np.testing.assert_allclose(self.read(path), colours, atol=1)

    def test_of_samples_the_median_is_drawn(self, write, path):
        samples = np.array([0.1, 0.2, 0.9], np.float32)
        frames = np.broadcast_to(samples, (2, 1, 4, 6, 3))
        write(path, frames_to_series(frames, layout="TCHWS"), fps=1)
        assert self.read(path)[0, 0] == 51

    def test_one_of_many_channels_is_chosen(self, write, path):
        frames = np.zeros((2, 2, 4, 6), np.float32)
        frames[0, 1] = 0.6
        series = frames_to_series(frames, channel_names=["inflow", "outflow"])
        for channel in ("outflow", 1, np.int64(1)):
            write(path, series, fps=1, channel=channel)
            assert self.read(path)[:, 0].tolist() == [153, 0]
        for channel in (None, "speed", 2, -1):
            with pytest.raises(ValueError, match=r"`channel` must be one of \['inflow', 'out"):
                write(path, series, fps=1, channel=channel)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"vmax": np.nan}, "`vmin` must be below `vmax`"),
            ({"scale": 1.5}, "`scale` must be an integer"),
            ({"cmap": "no map"}, "no map"),
            ({"series": COLOURS, "cmap": "magma"}, "`cmap='magma'` needs one `channel`"),
            ({"fps": None}, "`fps` must be given"),
            ({"fps": 501}, r"`fps` must be .* got 501"),
            ({"path": "a.xyz"}, r"`path` must end in .*, got 'a\.xyz'"),
        ],
    )
    def test_what_is_wrong_is_named(self, write, path, arguments, message):
        with pytest.raises((KeyError, TypeError, ValueError), match=message):
            write(**{"path": path, "series": uniform([0, 1]), "fps": 1, **arguments})
        assert not path.exists()

    def test_a_file_appears_whole_or_not_at_all(self, write, path, monkeypatch):
        write(path, uniform([0, 1]), fps=1)
        before = path.read_bytes()

        def fail(*_, **__):
            raise OSError("no space left")

        monkeypatch.setattr(av.VideoFrame, "from_ndarray", fail, raising=False) if (
            write is write_video
        ) else monkeypatch.setattr(Image, "fromarray", fail)
        with pytest.raises(OSError, match="no space left"):
            write(path, uniform([1, 0]), fps=1)
        assert path.read_bytes() == before
        assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".gif"])
def test_a_name_may_hold_a_colon(monkeypatch, tmp_path, ending):
    monkeypatch.chdir(tmp_path)
    write = write_gif if ending == ".gif" else write_video
    path = write(f"2024-01-01T12:00{ending}", uniform([0, 1]), fps=4)
    assert len(read_video(path)) == 2


def test_without_pyav_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[video\]'"):
        write_video(tmp_path / "a.mp4", uniform([0, 1]), fps=1)
    assert write_gif(tmp_path / "a.gif", uniform([0, 1]), fps=1).exists()
