"""Maps of a forecast's distribution."""

import numpy as np
import pytest
from darts import TimeSeries
from matplotlib.figure import Figure

from darts_mim import frames_to_series
from darts_mim.plotting import plot_uncertainty

N_SAMPLES = 101


@pytest.fixture
def actual():
    """Six frames in which a cell holds its number, 0 to 11; the last cell is hidden."""
    frames = np.broadcast_to(np.arange(12.0).reshape(3, 4), (6, 1, 3, 4))
    return frames_to_series(
        frames,
        mask=np.arange(12).reshape(3, 4) < 11,
        channel_names=["rain"],
        attributes={"rain": {"units": "mm"}},
    )


def spread_around(series, half_width):
    """Return samples spread evenly over an interval around a series."""
    values = series.all_values()
    return series.with_values(values + np.linspace(-half_width, half_width, N_SAMPLES))


def maps(figure):
    return {ax.get_title().split(":")[0]: ax.images[0] for ax in figure.axes if ax.images}


def bars(figure):
    return [" ".join(ax.get_xlabel().split()) for ax in figure.axes if hasattr(ax, "_colorbar")]


class TestMaps:
    def test_without_a_truth_there_are_centre_and_width(self, actual):
        figure = plot_uncertainty(spread_around(actual[2:4], 10.0))
        found = maps(figure)
        assert list(found) == ["Median", "Width of the 80 % interval"]
        np.testing.assert_allclose(found["Median"].get_array()[0], [0, 1, 2, 3], atol=1e-5)
        width = found["Width of the 80 % interval"]
        np.testing.assert_allclose(width.get_array().compressed(), 16.0, rtol=1e-5)
        assert width.get_clim()[0] == 0.0
        assert bars(figure) == ["rain [mm], mean of 2 frames", "width [mm], mean of 2 frames"]

    def test_with_a_truth_it_and_the_coverage_are_drawn_too(self, actual):
        off = actual + 1.0  # the truth lies 1 below the forecast's centre
        figure = plot_uncertainty(spread_around(off[2:6], 10.0), actual, interval=0.9)
        found = maps(figure)
        assert list(found) == ["Truth", "Median", "Width of the 90 % interval", "Coverage"]
        assert found["Truth"].get_clim() == found["Median"].get_clim()
        np.testing.assert_array_equal(found["Coverage"].get_array().compressed(), 1.0)
        assert figure.axes[3].get_title() == "Coverage: 100 %"

    def test_the_coverage_is_the_share_of_frames_inside_cell_by_cell(self, actual):
        values = actual.all_values()
        values[2, 0] += 100.0  # the first cell leaves the interval in one of four frames
        values[3:5, 1] = np.nan  # the second is known in two frames, and leaves it in one
        values[2, 1] -= 100.0
        forecast = spread_around(actual[2:6], 1.0)
        figure = plot_uncertainty(forecast, actual.with_values(values))
        shares = maps(figure)["Coverage"].get_array()
        np.testing.assert_allclose(shares[0], [0.75, 0.5, 1.0, 1.0])
        assert figure.axes[3].get_title() == "Coverage: 95 %"  # 40 of 42 values
        assert shares.mask[2, 3]

    def test_truth_and_centre_are_means_of_the_same_frames(self, actual):
        rising = actual.with_values(actual.all_values() + 10.0 * np.arange(6)[:, None, None])
        values = rising.all_values()
        values[4:] = np.nan  # not known yet
        values[:, 2] = np.nan  # never known
        figure = plot_uncertainty(spread_around(rising[2:6], 1.0), rising.with_values(values))
        found = maps(figure)
        truth, median = (found[name].get_array()[0] for name in ("Truth", "Median"))
        np.testing.assert_allclose(truth[[0, 1, 3]], median[[0, 1, 3]], rtol=1e-5)
        assert truth.mask[2]
        assert median[2] == pytest.approx(37.0)

    def test_without_any_truth_the_coverage_is_not_known(self, actual):
        unknown = actual.with_values(np.full_like(actual.all_values(), np.nan))
        figure = plot_uncertainty(spread_around(actual[2:6], 1.0), unknown)
        assert figure.axes[3].get_title() == "Coverage: not known"

    def test_its_colours_are_white_where_it_is_as_expected(self, actual):
        image = maps(plot_uncertainty(spread_around(actual, 1.0), actual, interval=0.6))["Coverage"]
        red, green, blue, _ = image.get_cmap()(image.norm(0.6))
        assert min(red, green, blue) > 0.95
        assert (image.norm(0.0), image.norm(1.0)) == (0.0, 1.0)

    def test_a_frame_can_be_chosen(self, actual):
        rising = actual.with_values(actual.all_values() + 10.0 * np.arange(6)[:, None, None])
        figure = plot_uncertainty(spread_around(rising[2:6], 1.0), rising, frame=3)
        np.testing.assert_allclose(
            maps(figure)["Median"].get_array()[0], [40, 41, 42, 43], rtol=1e-5
        )
        assert bars(figure)[0] == "rain [mm]"

    def test_many_forecasts_are_taken_together(self, actual):
        forecasts = [spread_around(actual[i : i + 2], 1.0) for i in range(4)]
        off = [spread_around(actual[i : i + 2] + 9.0, 1.0) for i in range(4)]
        figure = plot_uncertainty([*forecasts, *off], actual)
        np.testing.assert_allclose(maps(figure)["Coverage"].get_array().compressed(), 0.5)
        assert bars(figure)[0] == "rain [mm], mean of 16 frames"
        same = plot_uncertainty([*forecasts, *off], [actual] * 8)
        assert figure.axes[3].get_title() == same.axes[3].get_title() == "Coverage: 50 %"

    def test_the_centre_can_be_the_mean(self, actual):
        values = np.repeat(actual[:2].all_values(), 4, axis=2)
        values[:, :, 3] += 8.0
        skewed = actual[:2].with_values(values)
        assert maps(plot_uncertainty(skewed, centre="mean"))["Mean"].get_array()[0, 0] == 2.0
        assert maps(plot_uncertainty(skewed))["Median"].get_array()[0, 0] == 0.0

    def test_a_channel_goes_by_name(self, series):
        figure = plot_uncertainty(spread_around(series[4:6], 1.0), channel="wind")
        np.testing.assert_allclose(maps(figure)["Median"].get_array(), 104.5)

    def test_they_can_lie_in_axes_of_another_figure(self, actual):
        figure = Figure(figsize=(9.0, 3.0))
        ax = figure.add_subplot()
        forecast = spread_around(actual[2:4], 1.0)
        assert plot_uncertainty(forecast, actual, ax=ax, title="mine") is figure
        assert ax.get_title() == "mine"
        assert len(ax.child_axes) == 4 + 3


class TestQuantiles:
    def test_components_are_as_good_as_samples(self, series):
        forecast = spread_around(series[4:6], 10.0)
        quantiles = forecast.quantile([0.05, 0.1, 0.5, 0.9, 0.95])
        for interval in (0.8, 0.9):
            options = {"interval": interval, "channel": "wind"}
            of_samples = maps(plot_uncertainty(forecast, series, **options))
            of_quantiles = maps(plot_uncertainty(quantiles, series, **options))
            for name, image in of_samples.items():
                np.testing.assert_allclose(
                    of_quantiles[name].get_array(), image.get_array(), rtol=1e-5
                )

    def test_a_series_without_a_grid_is_as_good(self):
        series = TimeSeries.from_values(np.random.default_rng(0).random((5, 2, 50)))
        quantiles = series.quantile([0.1, 0.5, 0.9])
        assert maps(plot_uncertainty(quantiles, channel=1))["Median"].get_array().shape == (1, 1)

    def test_quantiles_that_are_not_there_are_named(self, series):
        forecast = spread_around(series[4:6], 10.0).quantile([0.1, 0.5, 0.9])
        with pytest.raises(ValueError, match=r"must hold the quantile 0.025 .*, got 0.100, 0.500"):
            plot_uncertainty(forecast, interval=0.95)
        with pytest.raises(ValueError, match=r"`centre` must be 'median' .*, got 'mean'"):
            plot_uncertainty(forecast, centre="mean")


class TestRefusals:
    def test_a_forecast_without_uncertainty(self, actual):
        with pytest.raises(ValueError, match=r"`forecast` must hold samples or quantiles"):
            plot_uncertainty(actual[2:4], actual)

    @pytest.mark.parametrize("interval", [0.0, 1.0, 80])
    def test_an_interval_that_is_no_probability(self, actual, interval):
        with pytest.raises(ValueError, match=r"`interval` must be a probability in \(0, 1\)"):
            plot_uncertainty(spread_around(actual[2:4], 1.0), interval=interval)

    @pytest.mark.parametrize("frame", [0, 3, 1.0])
    def test_a_frame_that_is_not_there(self, actual, frame):
        with pytest.raises(ValueError, match=rf"`frame` must be in 1..2, .* got {frame}"):
            plot_uncertainty(spread_around(actual[2:4], 1.0), frame=frame)

    def test_series_that_do_not_belong_together(self, actual, series):
        forecast = spread_around(actual[2:4], 1.0)
        with pytest.raises(ValueError, match=r"must share time steps, got 4 to 5 and 2 to 3"):
            plot_uncertainty(forecast, actual[4:])
        with pytest.raises(ValueError, match=r"must have one grid, .*'actual': \(2, 5, 7\)"):
            plot_uncertainty(forecast, series)
        with pytest.raises(
            ValueError, match=r"`actual` must be one series .* 2 forecasts .* got 1"
        ):
            plot_uncertainty([forecast, forecast], [actual])
        with pytest.raises(TypeError, match="`forecast` must be a TimeSeries, got int"):
            plot_uncertainty([3], actual)
        with pytest.raises(TypeError, match="`forecast` must be a TimeSeries or several, got Non"):
            plot_uncertainty(None, actual)
        with pytest.raises(ValueError, match="`forecast` must hold at least one forecast"):
            plot_uncertainty([], actual)

    def test_another_centre(self, actual):
        with pytest.raises(ValueError, match="`centre` must be 'median' or 'mean', got 'mode'"):
            plot_uncertainty(spread_around(actual[2:4], 1.0), centre="mode")
