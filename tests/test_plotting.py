"""Strips, error curves and animations: what they show, and that they leave nothing behind."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from darts import TimeSeries
from matplotlib.figure import Figure
from PIL import Image

from darts_mim import frames_to_series
from darts_mim.plotting import plot_error_curve, plot_strip, save_animation, save_figure


@pytest.fixture
def series():
    """Twelve frames of 2 channels, 5 rows and 7 columns; frame t of channel c holds t + 100 c."""
    frames = np.arange(12.0)[:, None, None, None] + 100.0 * np.arange(2.0)[:, None, None]
    frames = np.broadcast_to(frames, (12, 2, 5, 7)).astype(np.float32)
    return frames_to_series(frames, channel_names=["rain", "wind"])


def drawn(ax):
    """Return the value of each (uniform) frame in a row, and what is written above it."""
    return [float(image.get_array()[0, 0]) for image in ax.images]


def written(ax):
    return [label.get_text().replace("\N{MINUS SIGN}", "-") for label in ax.get_xticklabels()]


class TestStrip:
    def test_it_shows_context_truth_forecast_and_difference(self, series):
        figure = plot_strip(series[:4], series[4:7], series[4:7] * 2.0)
        assert isinstance(figure, Figure)
        assert len(figure.axes) == 6
        context, truth, forecast, difference = figure.axes[:4]
        assert drawn(context) == [1, 2, 3]
        assert drawn(truth) == [4, 5, 6]
        assert drawn(forecast) == [8, 10, 12]
        assert drawn(difference) == [4, 5, 6]
        assert written(context) == ["t-2", "t-1", "t"]
        assert written(truth) == ["t+1", "t+2", "t+3"]

    def test_frames_keep_their_shape(self, series):
        image = plot_strip(series[:4], series[4:7], series[4:7]).axes[1].images[1]
        assert image.get_array().shape == (5, 7)
        left, right, bottom, top = image.get_extent()
        assert (right - left, bottom - top) == (7.0, 5.0)

    @pytest.mark.parametrize("channel", [1, "wind"])
    def test_a_channel_goes_by_number_or_name(self, series, channel):
        figure = plot_strip(series[:4], series[4:6], series[4:6], channel=channel)
        assert drawn(figure.axes[1]) == [104, 105]

    def test_only_some_frames_are_drawn_where_asked(self, series):
        figure = plot_strip(series[:6], series[6:], series[6:], every=2)
        assert written(figure.axes[0]) == ["t-4", "t-2", "t"]
        assert written(figure.axes[1]) == ["t+2", "t+4", "t+6"]
        assert drawn(figure.axes[2]) == [7, 9, 11]

    def test_whole_series_may_be_passed(self, series):
        figure = plot_strip(series, series, series[6:8])
        assert drawn(figure.axes[0]) == [4, 5]
        assert drawn(figure.axes[1]) == [6, 7]

    def test_a_gap_before_the_forecast_is_counted(self, series):
        figure = plot_strip(series[:4], series, series[6:8])
        assert written(figure.axes[0]) == ["t-1", "t"]
        assert written(figure.axes[1]) == ["t+3", "t+4"]

    def test_dates_are_as_good_as_numbers(self, series):
        frames = series.all_values()[:, :, 0].reshape(12, 2, 5, 7)
        dated = frames_to_series(frames, start="2016-01-31", freq="ME")
        figure = plot_strip(dated[:4], dated, dated[4:6])
        assert written(figure.axes[1]) == ["t+1", "t+2"]

    def test_a_stochastic_forecast_is_drawn_as_its_median(self, series):
        future = series[4:6]
        samples = np.concatenate([future.all_values() + shift for shift in (-3, 0, 1)], axis=2)
        figure = plot_strip(series[:4], future, future.with_values(samples))
        assert drawn(figure.axes[2]) == [4, 5]

    def test_a_series_without_a_grid_is_a_column_of_channels(self):
        values = np.arange(12.0).reshape(6, 2)
        series = TimeSeries.from_values(values)
        assert drawn(plot_strip(series[:3], series[3:], series[3:], channel=1).axes[1]) == [
            7,
            9,
            11,
        ]

    def test_cells_that_are_not_observed_are_left_out(self, series):
        frames = np.ones((6, 1, 5, 7), np.float32)
        frames[..., 2, 3] = 1000.0
        masked = frames_to_series(frames, mask=frames[0, 0] == 1.0)
        image = plot_strip(masked[:3], masked[3:], masked[3:]).axes[1].images[0]
        assert np.isnan(np.ma.filled(image.get_array(), np.nan)[2, 3])
        assert image.get_clim() == (1.0, 2.0)

    def test_colours_span_context_and_truth_and_the_bar_shows_what_goes_beyond(self, series):
        _, truth, _, difference, values_bar, difference_bar = plot_strip(
            series[:4], series[4:7], series[4:7] * 2.0, value_label="mm"
        ).axes
        assert truth.images[0].get_clim() == (1.0, 6.0)
        assert difference.images[0].get_clim() == (0.0, 6.0)
        assert values_bar.get_ylabel() == "mm"
        assert (values_bar._colorbar.extend, difference_bar._colorbar.extend) == ("max", "neither")

    def test_colour_scales_can_be_set(self, series):
        axes = plot_strip(
            series[:4], series[4:7], series[4:7], vmin=-5, vmax=5, difference_vmax=2
        ).axes
        assert axes[2].images[0].get_clim() == (-5, 5)
        assert axes[3].images[0].get_clim() == (0, 2)

    def test_a_perfect_forecast_of_a_constant_can_be_drawn(self):
        series = frames_to_series(np.zeros((4, 1, 3, 4), np.float32))
        assert len(plot_strip(series[:2], series[2:], series[2:]).axes) == 6

    def test_it_leaves_pyplot_alone(self, series):
        plot_strip(series[:4], series[4:], series[4:])
        assert plt.get_fignums() == []

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"channel": 2}, r"`channel` must be a number in 0..1 or a name of .*, got 2"),
            ({"channel": -1}, r"`channel` must be a number in 0..1 or a name of .*, got -1"),
            ({"channel": "snow"}, r"`channel` must be .*rain, wind.*, got 'snow'"),
            ({"every": 0}, r"`every` must be in 1..3, the last step of the forecast, got 0"),
            ({"every": 4}, r"`every` must be in 1..3, the last step of the forecast, got 4"),
            ({"cmap": "grau"}, "`cmap` must name a colour map of matplotlib, got 'grau'"),
            ({"vmin": 9.0}, "`vmin` must be below `vmax`, got 9.0 and 6.0"),
            ({"difference_vmax": 0.0}, "`difference_vmax` must be positive, got 0.0"),
        ],
    )
    def test_options_out_of_range_are_refused(self, series, options, message):
        with pytest.raises(ValueError, match=message):
            plot_strip(series[:4], series[4:7], series[4:7], **options)

    def test_series_that_do_not_belong_together_are_refused(self, series):
        other = frames_to_series(np.zeros((12, 2, 7, 5), np.float32))
        slower = frames_to_series(np.zeros((4, 2, 5, 7), np.float32), start=4, freq=2)
        with pytest.raises(ValueError, match="must share time steps, got 4 to 5 and 6 to 11"):
            plot_strip(series[:4], series[4:6], series[6:])
        with pytest.raises(ValueError, match=r"`history` must begin before .* step 4, got 4 to 11"):
            plot_strip(series[4:], series, series[4:6])
        with pytest.raises(ValueError, match=r"one grid, .*'forecast': \(2, 7, 5\)"):
            plot_strip(series[:4], series[4:], other[4:])
        with pytest.raises(ValueError, match=r"one frequency, got .*'forecast': '?2"):
            plot_strip(series[:4], series[4:], slower)
        with pytest.raises(TypeError, match="`forecast` must be a TimeSeries, got list"):
            plot_strip(series[:4], series[4:], [series[4:]])
        with pytest.raises(ValueError, match="must hold a finite value"):
            plot_strip(series[:4], series[4:], series[4:] * np.nan)


class TestErrorCurve:
    def test_it_draws_a_line_for_each_model_from_the_first_frame_on(self):
        figure = plot_error_curve({"MIM": [1, 2, 3], "last frame": np.ones(4)}, ylabel="MSE")
        (ax,) = figure.axes
        first, second = ax.lines
        np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(second.get_ydata(), np.ones(4))
        assert first.get_color() != second.get_color()
        assert [text.get_text() for text in ax.get_legend().get_texts()] == ["MIM", "last frame"]
        assert (ax.get_ylabel(), ax.get_ylim()[0]) == ("MSE", 0.0)
        assert plt.get_fignums() == []

    def test_the_axis_need_not_begin_at_zero(self):
        (ax,) = plot_error_curve({"MIM": [0.8, 0.9]}, from_zero=False).axes
        assert ax.get_ylim()[0] > 0.7

    def test_more_models_than_colours_are_drawn(self):
        assert len(plot_error_curve({str(i): [1.0] for i in range(9)}).axes[0].lines) == 9

    def test_errors_of_another_shape_are_refused(self):
        with pytest.raises(ValueError, match="`errors` must hold at least one model"):
            plot_error_curve({})
        with pytest.raises(ValueError, match=r"`errors\['MIM'\]` must have shape .* got \(2, 3\)"):
            plot_error_curve({"MIM": np.ones((2, 3))})
        with pytest.raises(ValueError, match=r"`errors\['MIM'\]` must have shape .* got \(0,\)"):
            plot_error_curve({"MIM": []})


class TestAnimation:
    def test_the_file_holds_context_and_forecast_and_runs_for_ever(self, series, tmp_path):
        path = tmp_path / "new" / "forecast.gif"
        assert save_animation(path, series[:4], series[4:7], series[4:7] * 2.0, fps=5) == path
        with Image.open(path) as gif:
            assert (gif.format, gif.n_frames, gif.info["loop"]) == ("GIF", 6, 0)
            pictures = set()
            for i in range(gif.n_frames):
                gif.seek(i)
                assert gif.info["duration"] == 200
                pictures.add(gif.convert("RGB").tobytes())
        assert len(pictures) == 6
        assert [file.name for file in path.parent.iterdir()] == ["forecast.gif"]
        assert plt.get_fignums() == []

    def test_frames_that_do_not_change_are_all_kept(self, tmp_path):
        still = frames_to_series(np.ones((6, 1, 3, 4), np.float32))
        path = save_animation(tmp_path / "still.gif", still[:3], still[3:], still[3:])
        with Image.open(path) as gif:
            assert gif.n_frames == 6

    def test_what_goes_wrong_leaves_the_old_file_whole(self, series, tmp_path, monkeypatch):
        path = tmp_path / "forecast.gif"
        path.write_bytes(b"old")

        def fail(self, file, **_):
            Path(file).write_bytes(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(Image.Image, "save", fail)
        with pytest.raises(OSError, match="no space left"):
            save_animation(path, series[:4], series[4:6], series[4:6])
        assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"old"]

    def test_arguments_out_of_range_are_refused(self, series, tmp_path):
        with pytest.raises(ValueError, match=r'`path` must end in ".gif", got .*forecast.mp4'):
            save_animation(tmp_path / "forecast.mp4", series[:4], series[4:], series[4:])
        with pytest.raises(ValueError, match=r"`fps` must be in 1..50 frames per second, got 0"):
            save_animation(tmp_path / "a.gif", series[:4], series[4:], series[4:], fps=0)
        assert list(tmp_path.iterdir()) == []


class TestSaveFigure:
    def test_the_ending_chooses_the_format(self, tmp_path):
        figure = plot_error_curve({"MIM": [1.0, 2.0]})
        path = save_figure(tmp_path / "new" / "curve.png", figure, dpi=50)
        with Image.open(path) as picture:
            assert (picture.format, picture.size) == ("PNG", (350, 200))
        assert save_figure(tmp_path / "curve.pdf", figure).read_bytes().startswith(b"%PDF")

    def test_an_unknown_ending_is_refused(self, tmp_path):
        with pytest.raises(ValueError, match=r"`path` must end in one of .*pdf.*got .*curve.doc"):
            save_figure(tmp_path / "curve.doc", plot_error_curve({"MIM": [1.0]}))
