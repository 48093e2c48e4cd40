"""Animations: the files are opened again, picture by picture."""

from fractions import Fraction
from pathlib import Path

import av
import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from darts_mim import frames_to_series
from darts_mim.plotting import animate
from darts_mim.plotting.movies import write_mp4


def pictures_of(path):
    """Return all pictures (H, W, 3) of a GIF or MP4."""
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            pictures = []
            for i in range(gif.n_frames):
                gif.seek(i)
                pictures.append(np.asarray(gif.convert("RGB")))
            return pictures
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture
def blinking():
    """Six frames, black and white by turns."""
    frames = np.zeros((6, 1, 3, 4), np.float32)
    frames[1::2] = 1.0
    return frames_to_series(frames)


class TestFiles:
    def test_a_gif_holds_context_and_forecast_and_runs_for_ever(self, series, tmp_path):
        path = tmp_path / "new" / "forecast.gif"
        assert animate(path, series[:4], series[4:7], series[4:7] * 2.0, fps=5) == path
        with Image.open(path) as gif:
            assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", 6, 0)
            for i in range(gif.n_frames):
                gif.seek(i)
                assert gif.info["duration"] == 200
        assert len({picture.tobytes() for picture in pictures_of(path)}) == 6
        assert [file.name for file in path.parent.iterdir()] == ["forecast.gif"]
        assert plt.get_fignums() == []

    def test_an_mp4_holds_the_same_pictures(self, blinking, tmp_path):
        paths = [tmp_path / f"forecast{ending}" for ending in (".gif", ".mp4")]
        for path in paths:
            animate(path, blinking[:3], blinking, blinking[3:], fps=5, cmap="gray")
        gif, mp4 = map(pictures_of, paths)
        assert len(gif) == len(mp4) == 6
        height, width, _ = mp4[0].shape
        assert (height % 2, width % 2) == (0, 0)
        for one, other in zip(gif, mp4, strict=True):
            same = other[: one.shape[0], : one.shape[1]].astype(int) - one
            assert np.abs(same).mean() < 3.0
        with av.open(str(paths[1])) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.average_rate) == ("h264", 5)
            assert stream.codec_context.pix_fmt == "yuv420p"

    @pytest.mark.parametrize("fps", [24, 34, 40, 2.5])
    def test_a_gif_lasts_as_long_as_its_rate_says(self, blinking, tmp_path, fps):
        path = animate(tmp_path / "a.gif", blinking[:3], blinking, blinking[3:], fps=fps)
        with Image.open(path) as gif:
            durations = []
            for i in range(gif.n_frames):
                gif.seek(i)
                durations.append(gif.info["duration"])
        assert sum(durations) == pytest.approx(6000 / fps, abs=5)
        assert max(durations) - min(durations) <= 10

    @pytest.mark.parametrize("ending", [".gif", ".mp4"])
    def test_a_name_may_hold_a_colon(self, blinking, tmp_path, monkeypatch, ending):
        monkeypatch.chdir(tmp_path)
        path = animate(f"2024-01-01T12:00{ending}", blinking[:3], None, blinking[3:])
        assert path.stat().st_size > 0

    def test_frames_that_do_not_change_are_all_kept(self, tmp_path):
        still = frames_to_series(np.ones((6, 1, 3, 4), np.float32))
        path = animate(tmp_path / "still.gif", still[:3], still[3:], still[3:])
        assert len(pictures_of(path)) == 6

    def test_pictures_of_odd_sizes_are_padded_with_white(self, tmp_path):
        path = tmp_path / "odd.mp4"
        write_mp4(path, [np.zeros((65, 33, 3), np.uint8)] * 2, Fraction(2))
        first, _ = pictures_of(path)
        assert first.shape == (66, 34, 3)
        assert first[10, 10].max() < 20
        assert first[65, 33].min() > 150

    @pytest.mark.parametrize("ending", [".gif", ".mp4"])
    def test_what_goes_wrong_leaves_the_old_file_whole(self, series, tmp_path, monkeypatch, ending):
        path = tmp_path / f"forecast{ending}"
        path.write_bytes(b"old")

        def fail(draft, pictures, rate):
            Path(draft).write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setitem(animate.__globals__["_WRITERS"], ending, fail)
        with pytest.raises(OSError, match="no space left"):
            animate(path, series[:4], series[4:6], series[4:6])
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]

    def test_without_pyav_the_extra_is_named(self, series, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "av", None)
        with pytest.raises(ImportError, match=r"pip install 'darts-mim\[video\]'"):
            animate(tmp_path / "a.mp4", series[:4], series[4:6], series[4:6])
        assert animate(tmp_path / "a.gif", series[:4], series[4:6], series[4:6]).exists()

    def test_arguments_out_of_range_are_refused(self, series, tmp_path):
        with pytest.raises(ValueError, match=r'must end in ".gif" or ".mp4", got .*forecast.avi'):
            animate(tmp_path / "forecast.avi", series[:4], series[4:], series[4:])
        for fps in (0.5, 51):
            with pytest.raises(ValueError, match=rf"`fps` must be in 1..50 .*, got {fps}"):
                animate(tmp_path / "a.gif", series[:4], series[4:], series[4:], fps=fps)
        with pytest.raises(TypeError, match="`fps` must be a number of frames per second, got '4'"):
            animate(tmp_path / "a.gif", series[:4], series[4:], series[4:], fps="4")
        assert list(tmp_path.iterdir()) == []


class TestPictures:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Return the figures as they are when a picture is taken of them."""
        moments = []
        module = animate.__globals__
        draw = module["FigureCanvasAgg"].draw

        def note(canvas):
            draw(canvas)
            moments.append(
                {
                    "title": canvas.figure.get_suptitle(),
                    "edges": canvas.figure._suptitle.get_window_extent().intervalx
                    / canvas.figure.bbox.width,
                    "panels": {
                        ax.get_title(): float(np.ma.filled(image.get_array(), np.nan).flat[0])
                        for ax in canvas.figure.axes
                        for image in ax.images
                    },
                    "bars": sum(hasattr(ax, "_colorbar") for ax in canvas.figure.axes),
                }
            )

        monkeypatch.setattr(module["FigureCanvasAgg"], "draw", note)
        return moments

    def test_they_run_through_context_and_forecast(self, series, tmp_path, seen):
        animate(tmp_path / "a.gif", series[:2], series, series[2:4] * 2.0, title="Rain")
        assert [moment["title"] for moment in seen] == [
            "Rain\nt\N{MINUS SIGN}1",
            "Rain\nt",
            "Rain\nt+1",
            "Rain\nt+2",
        ]
        assert seen[1]["panels"] == {"Truth": 1.0, "Context": 1.0, "Absolute difference": 0.0}
        assert seen[3]["panels"] == {"Truth": 3.0, "Forecast": 6.0, "Absolute difference": 3.0}
        assert seen[3]["bars"] == 2

    def test_without_a_truth_there_is_the_forecast_alone(self, series, tmp_path, seen):
        animate(tmp_path / "a.gif", series[:2], None, series[2:3], channel=1)
        assert [moment["panels"] for moment in seen] == [{"Context": 101.0}, {"Forecast": 102.0}]

    def test_models_stand_side_by_side(self, series, tmp_path, seen):
        forecasts = {"MIM": series[2:3] * 2.0, "persistence": series[2:3] * 0.0}
        animate(tmp_path / "a.gif", series[:2], series, forecasts, signed=True)
        assert seen[-1]["panels"] == {
            "Truth": 2.0,
            "MIM": 4.0,
            "persistence": 0.0,
            "MIM difference": 2.0,
            "persistence difference": -2.0,
        }

    def test_a_long_title_is_wrapped(self, series, tmp_path, seen):
        title = "How much rain the model expects over the coming days, " * 3
        animate(tmp_path / "a.gif", series[:2], series, series[2:3], title=title)
        for moment in seen:
            assert moment["title"].count("\n") == seen[0]["title"].count("\n") > 2
            assert 0.0 <= moment["edges"][0] < moment["edges"][1] <= 1.0

    def test_masked_cells_of_colours_are_never_a_difference(self, tmp_path, seen):
        mask = np.array([[False, True], [True, True]])
        series = frames_to_series(np.full((4, 3, 2, 2), 0.5), mask=mask)
        animate(tmp_path / "a.gif", series[:2], series, series[2:], channel="rgb")
        differences = [moment["panels"]["Absolute difference"] for moment in seen]
        np.testing.assert_array_equal(differences, np.full(4, np.nan))

    def test_dates_are_told(self, field, tmp_path, seen):
        animate(tmp_path / "a.gif", field[:2], field, field[2:3])
        assert [moment["title"] for moment in seen] == ["t: 2020-02-01", "t+1: 2020-03-01"]

    def test_hours_are_told_where_there_are_any(self, tmp_path, seen):
        series = frames_to_series(np.zeros((2, 1, 2, 3)), start="2026-01-01", freq="30min")
        animate(tmp_path / "a.gif", series[:1], series, series[1:])
        assert seen[-1]["title"] == "t+1: 2026-01-01 00:30"

    def test_irregular_cells_move_too(self, tmp_path):
        frames = np.zeros((3, 1, 3, 4), np.float32)
        frames[2] = 1.0
        series = frames_to_series(frames, coordinates={"y": [0, 1, 5], "x": [0, 1, 2, 3]})
        path = animate(tmp_path / "a.gif", series[:2], series, series[2:], cmap="gray")
        context, ahead = pictures_of(path)
        middle = context.shape[0] // 2, context.shape[1] // 6
        assert (context[middle].max(), ahead[middle].min()) == (0, 255)

    def test_colours_are_drawn_as_they_are(self, tmp_path):
        frames = np.zeros((2, 3, 4, 5), np.float32)
        frames[:, 0] = 1.0
        series = frames_to_series(frames)
        path = animate(tmp_path / "a.gif", series[:1], None, series[1:], channel="rgb")
        picture = pictures_of(path)[1]
        assert tuple(picture[picture.shape[0] // 2, picture.shape[1] // 2]) == (255, 0, 0)
