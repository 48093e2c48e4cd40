"""Where cells lie on the axes of a picture, and where the picture lies in a figure."""

import pickle

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from darts_mim import Grid, frames_to_series, series_to_frames
from darts_mim.plotting import plot_frames, plot_uncertainty, save_figure


def series_on(rows, columns, **attributes):
    """Return six frames in which the value of a cell is its row * 10 + its column."""
    height, width = len(rows), len(columns)
    frame = 10.0 * np.arange(height)[:, None] + np.arange(width)
    return frames_to_series(
        np.broadcast_to(frame, (6, 1, height, width)),
        coordinates={"y": rows, "x": columns},
        attributes=attributes,
    )


def first_panel(series):
    return plot_frames(series[:3], series[3:], series[3:]).axes[0]


def value_at(ax, x, y):
    """Return the value drawn at a place, whatever draws it."""
    if ax.images:
        left, right, bottom, top = ax.images[0].get_extent()
        cells = ax.images[0].get_array()
        row = int((y - top) / (bottom - top) * cells.shape[0])
        column = int((x - left) / (right - left) * cells.shape[1])
        return float(cells[row, column])
    mesh = ax.collections[0]
    corners = mesh.get_coordinates()
    cells = mesh.get_array()
    inside_x = np.abs(np.diff(np.sign(corners[0, :, 0] - x))) > 0
    inside_y = np.abs(np.diff(np.sign(corners[:, 0, 1] - y))) > 0
    return float(cells[np.argmax(inside_y), np.argmax(inside_x)])


def hidden_overlaps(figure):
    """Return whether texts of a figure lie outside of it."""
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    return box.x0 < -0.01 or box.y0 < -0.01 or box.x1 > width + 0.01 or box.y1 > height + 0.01


class TestCoordinates:
    def test_cells_reach_half_way_to_their_neighbours(self, field):
        ax = first_panel(field)
        assert (ax.get_xlim(), ax.get_ylim()) == ((95.0, 135.0), (-5.0, 25.0))
        assert ax.images[0].get_extent() == [95.0, 135.0, -5.0, 25.0]

    @pytest.mark.parametrize("rows", [[0.0, 1.0, 2.0], [2.0, 1.0, 0.0]])
    @pytest.mark.parametrize("columns", [[0.0, 1.0, 2.0, 3.0], [3.0, 2.0, 1.0, 0.0]])
    def test_coordinates_grow_upwards_and_to_the_right_in_any_order(self, rows, columns):
        ax = first_panel(series_on(rows, columns))
        assert (ax.get_xlim(), ax.get_ylim()) == ((-0.5, 3.5), (-0.5, 2.5))
        for row, y in enumerate(rows):
            for column, x in enumerate(columns):
                assert value_at(ax, x, y) == 10.0 * row + column

    def test_pixels_lie_where_their_coordinates_say(self):
        """A bright cell at the north east, in a picture drawn and read again."""
        frames = np.zeros((4, 1, 2, 2), np.float32)
        frames[:, 0, 1, 1] = 1.0  # the second row is the northern one
        series = frames_to_series(frames, coordinates={"lat": [10.0, 20.0], "lon": [0.0, 5.0]})
        figure = plot_frames(series[:2], series[2:], series[2:], cmap="gray")
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        pixels = np.asarray(canvas.buffer_rgba())[..., 0]
        box = figure.axes[0].get_window_extent()
        height = len(pixels)

        def at(x, y):
            column = int(box.x0 + x * box.width)
            return pixels[height - int(box.y0 + y * box.height), column]

        assert at(0.75, 0.75) == 255
        assert max(at(0.25, 0.25), at(0.25, 0.75), at(0.75, 0.25)) == 0

    def test_irregular_cells_are_as_wide_as_they_are(self):
        ax = first_panel(series_on([0.0, 1.0, 4.0], [10.0, 11.0, 13.0, 17.0]))
        assert not ax.images
        np.testing.assert_allclose(
            ax.collections[0].get_coordinates()[0, :, 0], [9.5, 10.5, 12.0, 15.0, 19.0]
        )
        assert (ax.get_xlim(), ax.get_ylim()) == ((9.5, 19.0), (-0.5, 5.5))
        assert (value_at(ax, 16.0, 3.0), value_at(ax, 9.6, 0.0)) == (23.0, 0.0)

    def test_a_depth_grows_downwards(self):
        ax = first_panel(series_on([0.0, 5.0, 10.0], [0.0, 1.0], y={"positive": "down"}))
        assert ax.get_ylim() == (12.5, -2.5)

    def test_longitudes_that_pass_360_stay_in_their_order(self):
        ax = first_panel(series_on([0.0, 1.0], [350.0, 355.0, 0.0, 5.0]))
        assert ax.get_xlim() == (0.0, 4.0)
        assert value_at(ax, 2.5, 1.0) == 12.0
        series = series_on([0.0, 1.0], [350.0, 355.0, 0.0, 5.0])
        figure = plot_frames(series[:1], series[1:2], series[1:2])
        written = [label.get_text() for label in figure.axes[-3].get_xticklabels()]
        assert set(written) <= {"350", "355", "0", "5"}
        assert written

    def test_one_row_or_column_is_enough(self):
        ax = first_panel(series_on([50.0], [13.5]))
        assert (ax.get_xlim(), ax.get_ylim()) == ((0.0, 1.0), (1.0, 0.0))

    def test_without_coordinates_the_first_row_is_at_the_top_and_nothing_is_labelled(self, series):
        figure = plot_frames(series[:4], series[4:7], series[4:7])
        ax = figure.axes[9]
        assert (ax.get_xlim(), ax.get_ylim()) == ((0.0, 7.0), (5.0, 0.0))
        assert (len(ax.get_xticks()), len(ax.get_yticks())) == (0, 0)


class TestLabels:
    def test_only_the_outer_axes_have_ticks(self, field):
        axes = plot_frames(field[:4], field, field[4:7]).axes[:12]
        has_rows = [len(ax.get_yticks()) > 0 for ax in axes]
        has_columns = [len(ax.get_xticks()) > 0 for ax in axes]
        assert has_rows == [True, False, False] * 4
        assert has_columns == [False] * 9 + [True] * 3

    def test_ticks_keep_away_from_the_edges(self, field):
        ax = plot_frames(field[:4], field, field[4:7]).axes[9]
        low, high = ax.get_xlim()
        assert all(low + 2.0 < tick < high - 2.0 for tick in ax.get_xticks())

    def test_coordinates_are_named_with_their_units(self, field):
        figure = plot_frames(field[:4], field, field[4:7])
        (block,) = figure.axes[0].child_axes
        assert [text.get_text() for text in block.texts] == [
            "lat [degrees_north]",
            "lon [degrees_east]",
        ]

    def test_what_only_one_of_the_series_tells_holds_for_all(self, field):
        plain = frames_to_series(
            field.all_values().reshape(10, 1, 3, 4), start="2020-01-01", freq="MS"
        )
        axes = plot_frames(plain[:4], field[4:7], plain[4:7]).axes
        assert axes[0].get_xlim() == (95.0, 135.0)
        assert axes[6].images[0].get_array().mask[2, 1]

    def test_series_whose_cells_lie_elsewhere_are_refused(self, field):
        frames = field.all_values().reshape(10, 1, 3, 4)[:, :, ::-1]
        grid = Grid.from_series(field)
        coordinates = {"lat": grid.coordinates["lat"][::-1], "lon": grid.coordinates["lon"]}
        turned = frames_to_series(
            frames, start="2020-01-01", freq="MS", channel_names=["sst"], coordinates=coordinates
        )
        message = r"`forecast` must lie on the cells of `actual`, with 'lat' from 20 to 0, got 0 to"
        with pytest.raises(ValueError, match=message):
            plot_frames(field[:4], field[4:7], turned[4:7])
        rounded = {name: np.float32(values / 3) for name, values in grid.coordinates.items()}
        exact = {name: values / 3 for name, values in grid.coordinates.items()}
        one, other = (
            frames_to_series(frames, coordinates=coordinates) for coordinates in (rounded, exact)
        )
        plot_frames(one[:4], one[4:7], other[4:7])

    def test_series_of_other_channels_are_refused(self, series):
        swapped = frames_to_series(
            series_to_frames(series)[:, ::-1], channel_names=["wind", "rain"]
        )
        with pytest.raises(ValueError, match=r"the channels of `actual`, rain, wind, got wind, ra"):
            plot_frames(series[:4], series[4:7], swapped[4:7])

    def test_masked_cells_are_blank_in_every_row(self, field):
        for ax in plot_frames(field[:4], field, field[4:7]).axes[:12]:
            mask = np.zeros((3, 4), bool)
            mask[2, 1] = True
            np.testing.assert_array_equal(ax.images[0].get_array().mask, mask)
            assert ax.images[0].get_cmap().get_bad()[3] == 0.0
            assert ax.patch.get_hatch()


class TestLayout:
    @pytest.mark.parametrize("shape", [(3, 200), (200, 3), (1, 1), (12, 16)])
    @pytest.mark.parametrize("n_frames", [1, 4])
    def test_nothing_is_cut_off_and_frames_are_no_slivers(self, shape, n_frames):
        rng = np.random.default_rng(0)
        coordinates = {"lat": 3.0 * np.arange(shape[0]), "a long name": np.arange(shape[1]) / 3.0}
        series = frames_to_series(rng.random((8, 1, *shape)), coordinates=coordinates)
        history, future = series[: 8 - n_frames], series[8 - n_frames :]
        figure = plot_frames(history, future, future * 0.5, title="A title that is rather long")
        assert not hidden_overlaps(figure)
        box = figure.axes[0].get_window_extent()
        assert 0.24 < box.height / box.width < 4.1
        assert figure.get_figwidth() < 8.0

    def test_panels_keep_their_shape_when_the_figure_is_resized(self, field):
        figure = plot_frames(field[:4], field, field[4:6])
        before = figure.axes[0].get_window_extent()
        width, height = before.width, before.height
        figure.set_size_inches(12.0, 12.0)
        figure.draw_without_rendering()
        after = figure.axes[0].get_window_extent()
        assert after.width > 1.2 * width
        np.testing.assert_allclose(after.height / after.width, height / width)

    def test_the_picture_can_lie_in_axes_of_another_figure(self, field):
        figure = Figure(figsize=(12.0, 6.0), layout="constrained")
        left, right = figure.subplots(1, 2)
        assert plot_frames(field[:4], field, field[4:7], ax=left, title="mine") is figure
        right.plot([1.0, 2.0])
        figure.draw_without_rendering()
        assert figure.axes == [left, right]
        assert left.get_title() == "mine"
        place = left.get_window_extent()
        children = left.child_axes
        assert len(children) == 4 * 3 + 2
        for ax in children:
            box = ax.get_tightbbox()
            assert place.x0 - 1 <= box.x0 < box.x1 <= place.x1 + 1
            assert place.y0 - 1 <= box.y0 < box.y1 <= place.y1 + 1

    def test_the_picture_follows_its_axes(self, field):
        figure = Figure(figsize=(9.0, 6.0))
        ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        plot_frames(field[:4], field, field[4:7], ax=ax)
        ax.set_position((0.5, 0.0, 0.5, 1.0))
        figure.draw_without_rendering()
        assert ax.child_axes[0].get_window_extent().x0 > 4.5 * figure.dpi

    def test_a_part_of_a_figure_is_as_good(self, field):
        whole = Figure(figsize=(8.0, 8.0))
        part = whole.subfigures(2, 1)[1]
        ax = part.add_subplot()
        assert plot_frames(field[:4], field, field[4:6], ax=ax) is part
        whole.draw_without_rendering()
        assert ax.child_axes[0].get_window_extent().y1 < 4.0 * whole.dpi

    def test_axes_too_small_for_a_frame_are_told_of(self, field, caplog):
        ax = Figure(figsize=(3.0, 1.5)).add_subplot()
        plot_frames(field[:4], field, field[4:7], ax=ax)
        assert "A frame is drawn 0.0" in caplog.text

    def test_a_figure_can_be_pickled_and_saved(self, field, tmp_path):
        figure = plot_frames(field[:4], field, field[4:7])
        again = pickle.loads(pickle.dumps(figure))
        assert save_figure(tmp_path / "again.svg", again).stat().st_size > 1000

    def test_bars_share_a_line_where_they_have_room(self, field):
        wide = plot_frames(field[:4], field, field[4:10])
        narrow = plot_frames(field[:4], field, field[4:5])
        for figure, n_lines in ((wide, 1), (narrow, 2)):
            figure.draw_without_rendering()
            tops = {round(ax.get_window_extent().y0) for ax in figure.axes[-2:]}
            assert len(tops) == n_lines

    def test_all_pictures_share_the_layout(self, field):
        samples = np.random.default_rng(0).random((*field[4:7].all_values().shape[:2], 20))
        figure = plot_uncertainty(field[4:7].with_values(samples), field, title="Uncertainty")
        assert not hidden_overlaps(figure)
