"""Where cells lie on the axes of a picture, where the picture lies in a figure, and its file."""

import pickle

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from darts_mim import frames_to_series
from darts_mim.plotting import plot_frames, plot_horizon_error, plot_uncertainty, save_figure
from tests.plotting.conftest import bars, cells, labels, rows


def series_on(y, x, attributes=None):
    """Return six frames in which the value of a cell is its row * 10 + its column."""
    frame = 10.0 * np.arange(len(y))[:, None] + np.arange(len(x))
    frames = np.broadcast_to(frame, (6, 1, len(y), len(x)))
    return frames_to_series(frames, coordinates={"y": y, "x": x}, attributes=attributes)


def first_panel(series):
    return plot_frames(series[:3], None, series[3:]).axes[0]


def value_at(ax, x, y):
    """Return the value of the cell that is drawn at a place."""
    corners = ax.collections[0].get_coordinates()
    column = np.argmax(np.abs(np.diff(np.sign(corners[0, :, 0] - x))) > 0)
    row = np.argmax(np.abs(np.diff(np.sign(corners[:, 0, 1] - y))) > 0)
    return float(cells(ax)[row, column])


class TestCoordinates:
    @pytest.mark.parametrize("y", [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    @pytest.mark.parametrize("x", [[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
    def test_they_grow_upwards_and_to_the_right_in_any_order(self, y, x):
        ax = first_panel(series_on(y, x))
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 3.5), (-0.5, 2.5))
        places = [(row, column) for row in range(3) for column in range(4)]
        assert all(value_at(ax, x[c], y[r]) == 10.0 * r + c for r, c in places)

    def test_pixels_lie_where_their_coordinates_say(self):
        """A bright cell at the north east, in a picture drawn and read again."""
        frames = np.zeros((4, 1, 2, 2), np.float32)
        frames[:, 0, 1, 1] = 1.0  # the second row is the northern one
        series = frames_to_series(frames, coordinates={"lat": [10.0, 20.0], "lon": [0.0, 5.0]})
        figure = plot_frames(series[:2], series[2:], series[2:], cmap="gray")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels, box = np.asarray(canvas.buffer_rgba())[..., 0], figure.axes[0].get_window_extent()
        north, south = (len(pixels) - int(box.y0 + share * box.height) for share in (0.75, 0.25))
        west, east = (int(box.x0 + share * box.width) for share in (0.25, 0.75))
        assert pixels[north, east] == 255
        assert pixels[[north, south, south], [west, west, east]].max() == 0

    def test_uneven_cells_reach_half_way_to_their_neighbours(self):
        ax = first_panel(series_on([0.0, 1.0, 4.0], [10.0, 11.0, 13.0, 17.0]))
        assert (ax.get_xlim(), ax.get_ylim()) == ((9.5, 19.0), (-0.5, 5.5))
        assert (value_at(ax, 11.9, 2.6), value_at(ax, 12.1, 2.4)) == (21.0, 12.0)

    def test_a_depth_grows_downwards(self):
        ax = first_panel(series_on([0.0, 5.0, 10.0], [0.0, 1.0], {"y": {"positive": "down"}}))
        assert ax.get_ylim() == (12.5, -2.5)

    def test_longitudes_that_pass_360_stay_in_their_order(self):
        series = series_on([0.0, 1.0], [350.0, 355.0, 0.0, 5.0])
        ax = rows(plot_frames(series[:1], None, series[1:2]))[-1][0]
        assert value_at(ax, 2.0, 1.0) == 12.0
        ax.figure.draw_without_rendering()
        written = [text.get_text() for text in ax.get_xticklabels()]
        assert written == [f"{[350, 355, 0, 5][round(place)]}" for place in ax.get_xticks()]
        assert written

    def test_without_coordinates_the_first_row_is_at_the_top_and_nothing_is_labelled(self, series):
        ax = rows(plot_frames(series[:4], None, series[4:7]))[-1][0]
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 6.5), (4.5, -0.5))
        assert (len(ax.get_xticks()), len(ax.get_yticks())) == (0, 0)

    def test_outer_axes_have_ticks_names_and_units(self, field):
        figure = plot_frames(field[:4], field, field[4:7])
        assert [[len(ax.get_yticks()) > 0 for ax in row] for row in rows(figure)] == [[1, 0, 0]] * 4
        has_x = [[len(ax.get_xticks()) > 0 for ax in row] for row in rows(figure)]
        assert has_x == [[False] * 3] * 3 + [[True] * 3]
        last = rows(figure)[-1][-1]
        assert last.get_xlabel() == "lon [°E]"
        assert all(98.0 < tick < 132.0 for tick in last.get_xticks())  # away from the next frame
        assert figure.axes[0].texts[0].get_text() == "lat [°N]"
        assert labels(bars(figure)) == [
            "sea surface temperature [°C]",
            "|forecast \N{MINUS SIGN} truth| [°C]",
        ]


def texts_of(figure):
    """Return the boxes of all labels that are seen, but not the ticks."""
    found = [figure._suptitle]
    for ax in figure.axes:
        found += [ax.title, ax.xaxis.label, ax.yaxis.label, *ax.texts]
    return [text.get_window_extent() for text in found if text.get_text()]


def overlap(boxes):
    return any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])


class TestLayout:
    @pytest.mark.parametrize(("height", "width"), [(3, 200), (200, 3), (1, 1), (12, 16)])
    @pytest.mark.parametrize("n_frames", [1, 4])
    def test_nothing_is_cut_off_and_no_labels_overlap(self, height, width, n_frames):
        rng = np.random.default_rng(0)
        coordinates = {"lat": 3.0 * np.arange(height), "a long name": np.arange(width) / 3.0}
        series = frames_to_series(rng.random((8, 1, height, width)), coordinates=coordinates)
        history, future = series[: 8 - n_frames], series[8 - n_frames :]
        figure = plot_frames(history, future, future * 0.5, title="A title that is rather long")
        figure.draw_without_rendering()
        whole, (inches_x, inches_y) = figure.get_tightbbox(), figure.get_size_inches()
        assert min(whole.x0, whole.y0, inches_x - whole.x1, inches_y - whole.y1) > -0.01
        assert not overlap(texts_of(figure))
        box = figure.axes[0].get_window_extent()
        assert 0.24 < box.height / box.width < 4.1
        assert inches_x < 8.5

    def test_maps_and_their_bars_do_not_overlap(self, field):
        samples = np.random.default_rng(0).random((*field[4:7].all_values().shape[:2], 20))
        figure = plot_uncertainty(field[4:7].with_values(samples), field, title="Uncertainty")
        figure.draw_without_rendering()
        assert not overlap([ax.get_tightbbox() for ax in bars(figure)] + texts_of(figure)[:5])

    def test_the_picture_can_lie_in_axes_of_another_figure(self, field):
        figure = Figure(figsize=(12.0, 6.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        assert plot_frames(field[:4], field, field[4:7], ax=left, title="mine") is figure
        right.plot([1.0, 2.0])
        figure.draw_without_rendering()
        assert figure.axes == [left, right]
        assert (left.get_title(), len(left.child_axes)) == ("mine", 4 * 3 + 2)
        place = left.get_window_extent().padded(1.0)
        for ax in left.child_axes:
            box = ax.get_tightbbox()
            assert place.x0 < box.x0 < box.x1 < place.x1
            assert place.y0 < box.y0 < box.y1 < place.y1

    def test_the_picture_follows_its_axes_in_a_part_of_a_figure(self, field):
        whole = Figure(figsize=(8.0, 8.0))
        part = whole.subfigures(2, 1)[1]
        ax = part.add_axes((0.0, 0.0, 1.0, 1.0))
        assert plot_frames(field[:4], field, field[4:6], ax=ax) is part
        ax.set_position((0.5, 0.0, 0.5, 1.0))
        whole.draw_without_rendering()
        box = ax.child_axes[0].get_window_extent()
        assert (box.x0 > 4.0 * whole.dpi, box.y1 < 4.0 * whole.dpi) == (True, True)


class TestFiles:
    def test_figures_are_shown_pickled_and_saved_without_pyplot(self, field, tmp_path):
        figure = pickle.loads(pickle.dumps(plot_frames(field[:4], None, field[4:7])))
        assert figure._repr_png_().startswith(b"\x89PNG")
        assert plt.get_fignums() == []
        path = save_figure(tmp_path / "new" / "frames.pdf", figure)
        assert path.read_bytes().startswith(b"%PDF")
        curve = plot_horizon_error({"MIM": [1.0, 2.0]})
        with Image.open(save_figure(tmp_path / "curve.png", curve, dpi=50)) as picture:
            assert picture.size == (320, 190)
        with pytest.raises(ValueError, match=r"'doc' is not supported"):
            save_figure(tmp_path / "curve.doc", curve)
        assert {path.name for path in tmp_path.iterdir()} == {"new", "curve.png"}
