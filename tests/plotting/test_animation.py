"""Animations: the files are opened again, picture by picture."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageSequence

from darts_mim import frames_to_series
from darts_mim.plotting import animate
from tests.plotting.conftest import MINUS, cells


def pictures_of(path):
    """Return all pictures (H, W, 3) of a GIF or MP4."""
    if path.suffix == ".gif":
        with Image.open(path) as gif:
            return [np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(gif)]
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture(scope="module")
def blinking():
    """Four frames, black and white by turns."""
    frames = np.zeros((4, 1, 3, 4), np.float32)
    frames[1::2] = 1.0
    return frames_to_series(frames)


class TestFiles:
    def test_a_gif_lasts_as_long_as_its_rate_says_and_runs_for_ever(self, blinking, tmp_path):
        path = tmp_path / "new" / "2024-01-01T12:00.gif"
        assert animate(path, blinking[:2], blinking, blinking[2:], fps=34) == path
        with Image.open(path) as gif:
            durations = [each.info["duration"] for each in ImageSequence.Iterator(gif)]
            assert (gif.format, len(durations), gif.info["loop"]) == ("GIF", 4, 0)
        assert sum(durations) == pytest.approx(4000 / 34, abs=5)
        assert max(durations) - min(durations) <= 10
        assert [file.name for file in path.parent.iterdir()] == [path.name]

    def test_an_mp4_holds_the_same_pictures(self, blinking, tmp_path):
        paths = [tmp_path / f"12:00{ending}" for ending in (".gif", ".mp4")]
        for path in paths:
            animate(path, blinking[:2], blinking, blinking[2:], fps=5, cmap="gray")
        gif, mp4 = map(pictures_of, paths)
        assert (len(gif), gif[0].shape) == (4, mp4[0].shape)
        for one, other in zip(gif, mp4, strict=True):
            assert np.abs(other.astype(int) - one).mean() < 3.0
        with av.open(str(paths[1])) as container:
            assert container.streams.video[0].average_rate == 5

    def test_a_failure_leaves_the_old_file(self, blinking, tmp_path, monkeypatch):
        path = tmp_path / f"{'a' * 251}.mp4"
        path.write_bytes(b"old")

        def fail(draft, pictures, rate):
            Path(draft).write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setitem(animate.__globals__, "encode", fail)
        with pytest.raises(OSError, match="no space left"):
            animate(path, blinking[:2], None, blinking[2:])
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]

    def test_without_pyav_the_extra_is_named(self, blinking, tmp_path, monkeypatch):
        monkeypatch.setitem(__import__("sys").modules, "av", None)
        with pytest.raises(ImportError, match=r"pip install '\.\[video\]'"):
            animate(tmp_path / "a.mp4", blinking[:2], None, blinking[2:])
        assert animate(tmp_path / "a.gif", blinking[:2], None, blinking[2:]).exists()

    @pytest.mark.parametrize(
        ("name", "fps", "message"),
        [
            ("a.avi", 4, '`path` must end in ".gif" or ".mp4", got .*a.avi'),
            ("a.gif", 0.5, r"`fps` must be finite and in \[1, 50\], got 0.5"),
            ("a.gif", 51, r"`fps` must be .*got 51"),
        ],
    )
    def test_refusals_name_the_argument(self, blinking, tmp_path, name, fps, message):
        with pytest.raises(ValueError, match=message):
            animate(tmp_path / name, blinking[:2], None, blinking[2:], fps=fps)
        assert list(tmp_path.iterdir()) == []


class TestPictures:
    @pytest.fixture
    def seen(self, monkeypatch):
        """Return the figures as they are when a picture is taken of them."""
        moments = []
        canvas_class = animate.__globals__["FigureCanvasAgg"]
        draw = canvas_class.draw

        def note(canvas):
            draw(canvas)
            figure = canvas.figure
            values = {
                ax.get_title().replace("\n", " "): float(np.ma.filled(cells(ax), np.nan).flat[0])
                for ax in figure.axes
                if not hasattr(ax, "_colorbar")
            }
            width = figure._suptitle.get_window_extent().width / figure.bbox.width
            moments.append((figure.get_suptitle(), values, width))

        monkeypatch.setattr(canvas_class, "draw", note)
        return moments

    def test_they_run_through_context_and_forecast(self, series, tmp_path, seen):
        animate(tmp_path / "a.gif", series[:2], series, series[2:4] * 2.0, title="Rain")
        assert [title for title, *_ in seen] == [
            f"Rain\n{step}" for step in (f"t{MINUS}1", "t", "t+1", "t+2")
        ]
        assert seen[1][1] == {"Truth": 1.0, "Context": 1.0, "Absolute difference": 0.0}
        assert seen[3][1] == {"Truth": 3.0, "Forecast": 6.0, "Absolute difference": 3.0}

    def test_models_stand_side_by_side_with_their_differences_below(self, series, tmp_path, seen):
        forecasts = {"MIM": series[2:3] * 2.0, "persistence": series[2:3] * 0.0}
        title = "How much rain the model expects over the coming days, " * 3
        animate(tmp_path / "a.gif", series[:2], series, forecasts, signed=True, title=title)
        assert seen[-1][1] == {
            "Truth": 2.0,
            "MIM": 4.0,
            "persistence": 0.0,
            "MIM difference": 2.0,
            "persistence difference": -2.0,
        }
        assert all(title.count("\n") > 2 and width < 1.0 for title, _, width in seen)

    def test_masked_cells_of_colours_are_never_a_difference(self, tmp_path, seen):
        mask = np.array([[False, True], [True, True]])
        series = frames_to_series(np.full((3, 3, 2, 2), 0.5), mask=mask)
        animate(tmp_path / "a.gif", series[:1], series, series[1:], channel="rgb")
        differences = [values["Absolute difference"] for _, values, _ in seen]
        np.testing.assert_array_equal(differences, [np.nan] * 3)

    def test_without_a_truth_the_forecast_and_its_dates_are_shown(self, field, tmp_path, seen):
        animate(tmp_path / "a.gif", field[:1], None, field[1:2])
        assert [list(values) for _, values, _ in seen] == [["Context"], ["Forecast"]]
        hourly = frames_to_series(np.zeros((2, 1, 2, 3)), start="2026-01-01", freq="30min")
        animate(tmp_path / "b.gif", hourly[:1], None, hourly[1:])
        titles = [title for title, *_ in seen]
        assert titles[:2] == ["t: 2020-01-01", "t+1: 2020-02-01"]
        assert titles[3] == "t+1: 2026-01-01 00:30"

    def test_pixels_change_with_the_frames(self, tmp_path):
        frames = np.zeros((2, 3, 4, 5), np.float32)
        frames[1, 0] = 1.0
        series = frames_to_series(frames)
        path = animate(tmp_path / "a.gif", series[:1], None, series[1:], channel="rgb")
        before, after = pictures_of(path)
        middle = before.shape[0] // 2, before.shape[1] // 2
        assert (tuple(before[middle]), tuple(after[middle])) == ((0, 0, 0), (255, 0, 0))
