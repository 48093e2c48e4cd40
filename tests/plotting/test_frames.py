"""Forecasts frame by frame: what is shown, where it is from, and what is written beside it."""

import numpy as np
import pytest
from darts import TimeSeries
from matplotlib.figure import Figure

from darts_mim import frames_to_series
from darts_mim.plotting import plot_frames


def panels(figure, n_columns):
    """Return the axes of the frames, row by row; what is left are the colour bars."""
    axes = [ax for ax in figure.axes if not hasattr(ax, "_colorbar")]
    return [axes[i : i + n_columns] for i in range(0, len(axes), n_columns)]


def bars(figure):
    return [ax for ax in figure.axes if hasattr(ax, "_colorbar")]


def drawn(row):
    """Return the value of each (uniform) frame in a row."""
    return [float(ax.images[0].get_array()[0, 0]) for ax in row]


def steps(row):
    return [ax.get_title().replace("\N{MINUS SIGN}", "-") for ax in row]


def names(figure):
    """Return what is written at the left of the rows."""
    return [text.get_text() for ax in figure.axes for text in ax.texts]


class TestRows:
    def test_they_are_context_truth_forecast_and_difference(self, series):
        figure = plot_frames(series[:4], series[4:7], series[4:7] * 2.0)
        assert isinstance(figure, Figure)
        context, truth, forecast, difference = panels(figure, 3)
        assert drawn(context) == [1, 2, 3]
        assert drawn(truth) == [4, 5, 6]
        assert drawn(forecast) == [8, 10, 12]
        assert drawn(difference) == [4, 5, 6]
        assert steps(context) == ["t-2", "t-1", "t"]
        assert steps(truth) == ["t+1", "t+2", "t+3"]
        assert steps(forecast) == ["", "", ""]
        assert names(figure) == ["Context", "Truth", "Forecast", "Absolute\ndifference"]

    def test_a_forecast_of_what_nobody_knows_has_two(self, series):
        figure = plot_frames(series[:4], None, series[4:7])
        assert names(figure) == ["Context", "Forecast"]
        context, forecast = panels(figure, 3)
        assert (steps(context)[-1], steps(forecast)[0]) == ("t", "t+1")
        assert len(bars(figure)) == 1
        assert forecast[0].images[0].get_clim() == (1.0, 6.0)

    def test_several_models_have_a_row_each(self, series):
        forecasts = {"MIM": series[4:7] * 2.0, "persistence": series[4:7] * 0.0 + 3.0}
        figure = plot_frames(series[:4], series, forecasts)
        assert names(figure) == [
            "Context",
            "Truth",
            "MIM",
            "persistence",
            "MIM\n|difference|",
            "persistence\n|difference|",
        ]
        rows = panels(figure, 3)
        assert [drawn(row) for row in rows[2:]] == [[8, 10, 12], [3, 3, 3], [4, 5, 6], [1, 2, 3]]
        assert {ax.images[0].get_clim() for row in rows[4:] for ax in row} == {(0.0, 6.0)}

    def test_they_can_be_chosen(self, series):
        forecasts = {"MIM": series[4:7] * 2.0, "persistence": series[4:7]}
        figure = plot_frames(series[:4], series, forecasts, rows=["difference", "truth"])
        assert names(figure) == ["MIM\n|difference|", "persistence\n|difference|", "Truth"]
        assert steps(panels(figure, 3)[0]) == ["t+1", "t+2", "t+3"]

    def test_a_scale_that_no_row_uses_has_no_bar(self, series):
        figure = plot_frames(series[:4], series, series[4:7] * 2.0, rows=["difference"])
        assert [bar.get_xlabel() for bar in bars(figure)] == ["|forecast \N{MINUS SIGN} truth|"]

    def test_the_difference_can_have_a_sign(self, series):
        figure = plot_frames(series[:4], series, series[4:7] * 0.5, signed=True)
        image = panels(figure, 3)[3][0].images[0]
        assert image.get_array()[0, 0] == -2.0
        assert image.get_clim() == (-3.0, 3.0)
        assert bars(figure)[1].get_xlabel() == "forecast \N{MINUS SIGN} truth"

    @pytest.mark.parametrize("channel", [1, "wind"])
    def test_a_channel_goes_by_number_or_name(self, series, channel):
        figure = plot_frames(series[:4], series[4:6], series[4:6], channel=channel)
        assert drawn(panels(figure, 2)[1]) == [104, 105]

    def test_only_some_frames_are_drawn_where_asked(self, series):
        figure = plot_frames(series[:6], series[6:], series[6:], every=2)
        context, truth, forecast, _ = panels(figure, 3)
        assert steps(context) == ["t-4", "t-2", "t"]
        assert steps(truth) == ["t+2", "t+4", "t+6"]
        assert drawn(forecast) == [7, 9, 11]

    def test_whole_series_may_be_passed(self, series):
        context, truth, *_ = panels(plot_frames(series, series, series[6:8]), 2)
        assert (drawn(context), drawn(truth)) == ([4, 5], [6, 7])

    def test_a_gap_before_the_forecast_is_counted(self, series):
        context, truth, *_ = panels(plot_frames(series[:4], series, series[6:8]), 2)
        assert steps(context) == ["t-1", "t"]
        assert steps(truth) == ["t+3", "t+4"]

    def test_dates_are_as_good_as_numbers(self, series):
        frames = series.all_values()[:, :, 0].reshape(12, 2, 5, 7)
        dated = frames_to_series(frames, start="2016-01-31", freq="ME")
        assert steps(panels(plot_frames(dated[:4], dated, dated[4:6]), 2)[1]) == ["t+1", "t+2"]

    def test_many_frames_are_named_as_far_as_there_is_room_the_last_always(self):
        long = frames_to_series(np.zeros((60, 1, 3, 4), np.float32))
        (truth,) = panels(plot_frames(long[:30], long, long[30:], rows=["truth"]), 30)
        written = [step for step in steps(truth) if step]
        assert written[-1] == "t+30"
        assert 5 < len(written) < 20

    def test_a_stochastic_forecast_is_drawn_as_its_median(self, series):
        future = series[4:6]
        samples = np.concatenate([future.all_values() + shift for shift in (-3, 0, 1)], axis=2)
        figure = plot_frames(series[:4], future, future.with_values(samples))
        assert drawn(panels(figure, 2)[2]) == [4, 5]
        assert names(figure)[2] == "Forecast\n(median)"

    def test_quantiles_as_components_are_drawn_as_their_median(self, series):
        future = series[4:6]
        samples = np.concatenate([future.all_values() + shift for shift in (-3, 0, 1)], axis=2)
        quantiles = future.with_values(samples).quantile([0.1, 0.5, 0.9])
        figure = plot_frames(series[:4], future, quantiles, channel="wind")
        assert drawn(panels(figure, 2)[2]) == [104, 105]

    def test_a_series_without_a_grid_is_a_column_of_channels(self):
        series = TimeSeries.from_values(np.arange(12.0).reshape(6, 2))
        figure = plot_frames(series[:3], series[3:], series[3:], channel=1)
        assert drawn(panels(figure, 3)[1]) == [7, 9, 11]

    def test_a_frame_without_values_is_blank(self, series):
        values = series.all_values()
        values[5] = np.nan
        holed = series.with_values(values)
        _, truth, *_ = panels(plot_frames(holed[:4], holed[4:7], series[4:7]), 3)
        assert [ax.images[0].get_array().mask.all() for ax in truth] == [False, True, False]

    def test_a_perfect_forecast_of_a_constant_can_be_drawn(self):
        series = frames_to_series(np.zeros((4, 1, 3, 4), np.float32))
        assert len(plot_frames(series[:2], series[2:], series[2:]).axes) == 10


class TestColours:
    def test_they_span_context_and_truth_and_the_bar_shows_what_goes_beyond(self, series):
        figure = plot_frames(series[:4], series[4:7], series[4:7] * 2.0, value_label="mm")
        _, truth, _, difference = panels(figure, 3)
        values, differences = bars(figure)
        assert truth[0].images[0].get_clim() == (1.0, 6.0)
        assert difference[0].images[0].get_clim() == (0.0, 6.0)
        assert values.get_xlabel() == "mm"
        assert (values._colorbar.extend, differences._colorbar.extend) == ("max", "neither")

    def test_they_can_be_set(self, series):
        figure = plot_frames(
            series[:4], series[4:7], series[4:7], vmin=-5, vmax=5, difference_vmax=2, cmap="gray"
        )
        _, _, forecast, difference = panels(figure, 3)
        assert forecast[0].images[0].get_clim() == (-5, 5)
        assert forecast[0].images[0].get_cmap().name == "gray"
        assert difference[0].images[0].get_clim() == (0, 2)

    def test_their_bars_say_channel_and_unit(self, field):
        values, differences = bars(plot_frames(field[:4], field, field[4:6] * 0.9))
        assert " ".join(values.get_xlabel().split()) == "sea surface temperature [degC]"
        assert " ".join(differences.get_xlabel().split()) == (
            "|forecast \N{MINUS SIGN} truth| [degC]"
        )

    def test_a_channel_without_a_name_has_values(self):
        series = frames_to_series(np.random.default_rng(0).random((4, 1, 3, 4)))
        assert bars(plot_frames(series[:2], None, series[2:]))[0].get_xlabel() == "value"


class TestRedGreenBlue:
    @pytest.fixture
    def clip(self):
        frames = np.random.default_rng(0).random((6, 3, 4, 5), dtype=np.float32)
        return frames_to_series(frames, mask=np.arange(20).reshape(4, 5) > 0)

    def test_three_channels_are_drawn_as_colours_of_which_none_has_a_bar(self, clip):
        figure = plot_frames(clip[:3], clip, clip[3:] * 2.0, channel="rgb")
        _, truth, forecast, difference = panels(figure, 3)
        expected = np.moveaxis(clip[3].values().reshape(3, 4, 5), 0, -1)
        colours = truth[0].images[0].get_array()
        np.testing.assert_array_equal(colours[..., :3][1:], expected[1:])
        assert (colours[0, 0, 3], colours[0, 1, 3]) == (0.0, 1.0)
        assert forecast[0].images[0].get_array().max() == 1.0
        np.testing.assert_allclose(
            difference[0].images[0].get_array()[1:], expected.mean(axis=-1)[1:], rtol=1e-6
        )
        assert len(bars(figure)) == 1

    def test_other_channels_or_values_are_refused(self, clip, series):
        with pytest.raises(ValueError, match='`channel="rgb"` needs the three channels'):
            plot_frames(series[:3], None, series[3:], channel="rgb")
        with pytest.raises(ValueError, match=r"draws values in \[0, 1\], got .*; scale the series"):
            plot_frames(clip[:3] * 255.0, None, clip[3:] * 255.0, channel="rgb")


class TestRefusals:
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
            ({"rows": ["error"]}, r"`rows` must be a list of some of 'context', .*\['error'\]"),
            ({"rows": []}, r"`rows` must be a list of some of 'context', .*, got \[\]"),
            ({"rows": "truth"}, "`rows` must be a list of some of 'context', .*, got 'truth'"),
        ],
    )
    def test_options_out_of_range(self, series, options, message):
        with pytest.raises(ValueError, match=message):
            plot_frames(series[:4], series[4:7], series[4:7], **options)

    def test_rows_of_a_truth_that_is_not_there(self, series):
        with pytest.raises(ValueError, match=r"got .*; without `actual` there is no truth"):
            plot_frames(series[:4], None, series[4:7], rows=["truth"])

    def test_series_that_do_not_belong_together(self, series):
        other = frames_to_series(np.zeros((12, 2, 7, 5), np.float32))
        slower = frames_to_series(np.zeros((4, 2, 5, 7), np.float32), start=4, freq=2)
        with pytest.raises(ValueError, match="must share time steps, got 4 to 5 and 6 to 11"):
            plot_frames(series[:4], series[4:6], series[6:])
        with pytest.raises(ValueError, match=r"`history` must begin before .* step 4, got 4 to 11"):
            plot_frames(series[4:], series, series[4:6])
        with pytest.raises(ValueError, match=r"one grid, .*'forecast': \(2, 7, 5\)"):
            plot_frames(series[:4], series[4:], other[4:])
        with pytest.raises(ValueError, match=r"one frequency, got .*'forecast': '?2"):
            plot_frames(series[:4], series[4:], slower)

    def test_what_is_no_series(self, series):
        with pytest.raises(TypeError, match="`forecast` must be a TimeSeries, got list"):
            plot_frames(series[:4], series[4:], [series[4:]])
        with pytest.raises(TypeError, match=r"`forecast\['MIM'\]` must be a TimeSeries, got int"):
            plot_frames(series[:4], series[4:], {"MIM": 3})
        with pytest.raises(ValueError, match="`forecast` must hold at least one model"):
            plot_frames(series[:4], series[4:], {})

    def test_no_value_at_all(self, series):
        with pytest.raises(ValueError, match="must hold a finite value"):
            plot_frames(series[:4], series[4:], series[4:] * np.nan)
