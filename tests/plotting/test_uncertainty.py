"""Maps of a forecast's distribution."""

import numpy as np
import pytest

from darts_mim import frames_to_series
from darts_mim.plotting import plot_uncertainty
from tests.plotting.conftest import bars, cells, labels


@pytest.fixture(scope="module")
def actual():
    """Six frames in which a cell holds its number, 0 to 11; the last cell is hidden."""
    frames = np.broadcast_to(np.arange(12.0).reshape(3, 4), (6, 1, 3, 4))
    mask, units = np.arange(12).reshape(3, 4) < 11, {"rain": {"units": "mm"}}
    return frames_to_series(frames, mask=mask, channel_names=["rain"], attributes=units)


def spread_around(series, half_width):
    """Return samples spread evenly over an interval around a series."""
    return series.with_values(series.all_values() + np.linspace(-half_width, half_width, 101))


def maps(figure):
    """Return the values of each map by its title."""
    found = figure.axes[: -len(bars(figure))]
    return {ax.get_title().replace("\n", " ").split(":")[0]: cells(ax) for ax in found}


def coverage(figure):
    return figure.axes[3].get_title()


class TestMaps:
    def test_without_a_truth_there_are_centre_and_width(self, actual):
        figure = plot_uncertainty(spread_around(actual[2:4], 10.0))
        found = maps(figure)
        assert list(found) == ["Median", "Width of the 80 % interval"]
        np.testing.assert_allclose(found["Median"][0], [0, 1, 2, 3], atol=1e-5)
        width = found["Width of the 80 % interval"]
        np.testing.assert_allclose(width.compressed(), 16.0, rtol=1e-5)
        assert width.mask[2, 3]
        assert labels(bars(figure)) == [
            "rain [mm], mean of 2 frames",
            "width [mm], mean of 2 frames",
        ]

    def test_the_coverage_is_the_share_of_frames_inside_cell_by_cell(self, actual):
        values = actual.all_values().copy()
        values[2, 0] += 100.0  # the first cell leaves the interval in one of four frames
        values[3:5, 1] = np.nan  # the second is known in two frames, and leaves it in one
        values[2, 1] -= 100.0
        figure = plot_uncertainty(spread_around(actual[2:6], 1.0), actual.with_values(values))
        found = maps(figure)
        assert list(found) == ["Truth", "Median", "Width of the 80 % interval", "Coverage"]
        np.testing.assert_allclose(found["Coverage"][0], [0.75, 0.5, 1.0, 1.0])
        assert (coverage(figure), found["Coverage"].mask[2, 3]) == ("Coverage: 95 %", True)
        truth, median, _, share = (ax.collections[0] for ax in figure.axes[:4])
        assert truth.get_clim() == median.get_clim()
        assert min(share.get_cmap()(share.norm(0.8))[:3]) > 0.95  # the promised share is white

    def test_a_calibrated_forecast_is_covered_as_promised(self, actual):
        steps = np.linspace(-10.0, 10.0, 201)[:, None, None, None]
        truth = frames_to_series(np.broadcast_to(steps, (201, 1, 2, 2)))
        forecast = spread_around(truth * 0.0, 10.0)
        assert coverage(plot_uncertainty(forecast, truth, interval=0.9)) == "Coverage: 90 %"
        assert coverage(plot_uncertainty(forecast, truth, interval=0.5)) == "Coverage: 50 %"

    def test_truth_and_centre_are_means_of_the_same_frames(self, actual):
        rising = actual.with_values(actual.all_values() + 10.0 * np.arange(6)[:, None, None])
        values = rising.all_values().copy()
        values[4:] = np.nan  # not known yet
        values[:, 2] = np.nan  # never known
        forecast = spread_around(rising[2:6], 1.0)
        found = maps(plot_uncertainty(forecast, rising.with_values(values)))
        known = [0, 1, 3]
        np.testing.assert_allclose(found["Truth"][0, known], found["Median"][0, known], rtol=1e-5)
        assert (found["Truth"].mask[0, 2], found["Median"][0, 2]) == (True, pytest.approx(37.0))
        figure = plot_uncertainty(forecast, rising, frame=3)
        np.testing.assert_allclose(maps(figure)["Median"][0], [40, 41, 42, 43], rtol=1e-5)
        assert labels(bars(figure))[0] == "rain [mm]"

    def test_many_forecasts_are_taken_together(self, actual):
        forecasts = [spread_around(actual[i : i + 2] + 9.0 * (i > 1), 1.0) for i in range(4)]
        figure = plot_uncertainty(forecasts, actual)
        np.testing.assert_allclose(maps(figure)["Coverage"].compressed(), 0.5)
        assert labels(bars(figure))[0] == "rain [mm], mean of 8 frames"
        assert coverage(plot_uncertainty(forecasts, [actual] * 4)) == coverage(figure)

    def test_the_centre_can_be_the_mean(self, actual):
        skewed = actual[:2].with_values(actual[:2].all_values() + np.array([0.0, 0.0, 0.0, 8.0]))
        assert maps(plot_uncertainty(skewed, centre="mean"))["Mean"][0, 0] == 2.0
        assert maps(plot_uncertainty(skewed))["Median"][0, 0] == 0.0


class TestQuantiles:
    @pytest.mark.parametrize("has_grid", [True, False])
    def test_components_are_as_good_as_samples(self, series, has_grid):
        series = series if has_grid else series.with_metadata({})
        forecast = spread_around(series[4:6], 10.0)
        quantiles = forecast.quantile([0.05, 0.1, 0.5, 0.9, 0.95])
        options = {"interval": 0.9, "channel": 1, "value_label": "wind [m/s]"}
        figure = plot_uncertainty(quantiles, series, **options)
        assert labels(bars(figure))[1] == "width [m/s], mean of 2 frames"
        for name, values in maps(plot_uncertainty(forecast, series, **options)).items():
            np.testing.assert_allclose(maps(figure)[name], values, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forecast": "plain"}, "`forecast` must hold samples or quantiles"),
        ({"interval": 80}, r"`interval` must be finite and in \[0.001, 0.999\], got 80"),
        ({"frame": 3}, "`frame` must be at most 2, .* got 3"),
        ({"centre": "mode"}, "`centre` must be 'median' or 'mean', got 'mode'"),
        ({"actual": "later"}, r"`forecast` \(2 to 3\) must share time steps"),
        ({"actual": "other"}, r"one grid, got .*'actual\[0\]': \(.*\(2, 5, 7\)\)"),
        ({"actual": "three"}, "`actual` must be one series .*, got 3 for 1 forecasts"),
        ({"forecast": "quantiles", "interval": 0.95}, "must hold q0.025 .*, got q0.100, q0.500"),
        ({"forecast": "quantiles", "centre": "mean"}, "must hold mean .*, got q0.100"),
    ],
)
def test_refusals_name_the_argument(actual, series, options, message):
    samples = spread_around(actual[2:4], 1.0)
    given = {
        "plain": actual[2:4],
        "quantiles": samples.quantile([0.1, 0.5, 0.9]),
        "later": actual[4:],
        "other": series,
        "three": [actual] * 3,
    }
    options = {"forecast": samples, "actual": actual, **options}
    found = {k: given.get(v, v) if isinstance(v, str) else v for k, v in options.items()}
    with pytest.raises(ValueError, match=message):
        plot_uncertainty(**found)
