"""Curves of errors over the horizon."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure

from darts_mim import frame_mae, frame_mse, frames_to_series
from darts_mim.plotting import plot_horizon_error

RNG = np.random.default_rng(0)


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


class TestCurves:
    def test_each_model_has_a_line_from_the_first_frame_on(self):
        figure = plot_horizon_error({"MIM": [1, 2, 3], "last frame": np.ones(4)}, ylabel="MSE")
        (ax,) = figure.axes
        first, second = ax.lines
        np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(second.get_ydata(), np.ones(4))
        assert first.get_color() != second.get_color()
        assert legend(ax) == ["MIM", "last frame"]
        assert (ax.get_ylabel(), ax.get_ylim()[0]) == ("MSE", 0.0)
        assert plt.get_fignums() == []

    def test_the_axis_need_not_begin_at_zero(self):
        (ax,) = plot_horizon_error({"MIM": [0.8, 0.9]}, from_zero=False).axes
        assert ax.get_ylim()[0] > 0.7

    def test_more_models_than_colours_are_drawn(self):
        assert len(plot_horizon_error({str(i): [1.0] for i in range(9)}).axes[0].lines) == 9

    def test_they_can_lie_in_axes_of_another_figure(self):
        figure = Figure()
        left, right = figure.subplots(1, 2)
        assert plot_horizon_error({"MIM": [1.0, 2.0]}, ax=right, title="mine") is figure
        assert (len(left.lines), len(right.lines)) == (0, 1)
        assert right.get_title() == "mine"

    def test_curves_can_be_added_to_axes_that_have_some(self):
        figure = plot_horizon_error({"MIM": [1.0, 2.0]})
        plot_horizon_error({"last frame": [10.0, 20.0]}, ax=figure.axes[0])
        assert figure.axes[0].get_ylim()[1] > 20.0


class TestSpread:
    def test_errors_of_each_forecast_have_a_mean_and_a_band(self):
        errors = RNG.random((50, 3))
        (ax,) = plot_horizon_error({"MIM": errors, "other": [1.0, 1.0, 1.0]}).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), errors.mean(axis=0))
        (band,) = ax.collections
        expected = np.quantile(errors, [0.1, 0.9], axis=0)
        corners = band.get_paths()[0].vertices
        np.testing.assert_allclose(corners[:, 1].min(), expected.min())
        np.testing.assert_allclose(corners[:, 1].max(), expected.max())
        assert legend(ax) == ["MIM", "other", "10 to 90 % of forecasts"]

    def test_the_band_can_be_another_or_none(self):
        errors = {"MIM": RNG.random((50, 3))}
        assert legend(plot_horizon_error(errors, spread=(0.25, 0.75)).axes[0])[1].startswith("25")
        assert not plot_horizon_error(errors, spread=None).axes[0].collections

    def test_what_backtest_returns_for_several_series_is_joined(self):
        parts = [RNG.random((4, 3)), RNG.random((2, 3))]
        (ax,) = plot_horizon_error({"MIM": parts}).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), np.concatenate(parts).mean(axis=0))

    def test_missing_errors_are_left_out_and_leave_a_gap(self):
        errors = np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.nan]])
        (ax,) = plot_horizon_error({"MIM": errors}).axes
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.0, 5.0, np.nan])
        (ax,) = plot_horizon_error({"MIM": [[np.inf, 20.0], [30.0, 40.0]]}).axes  # PSNR
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [30.0, 30.0])


class TestForecasts:
    @pytest.fixture
    def actual(self):
        return frames_to_series(RNG.random((9, 2, 3, 4)))

    def test_their_errors_are_computed(self, actual):
        forecasts = [actual[i : i + 3] + 0.5 * (i + 1) for i in range(4)]
        figure = plot_horizon_error({"MIM": forecasts}, actual, metric=frame_mae)
        (ax,) = figure.axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.25] * 3)
        assert (ax.get_ylabel(), legend(ax)) == ("MAE", ["MIM", "10 to 90 % of forecasts"])

    def test_one_forecast_or_a_truth_for_each_is_as_good(self, actual):
        (ax,) = plot_horizon_error({"MIM": actual[3:6] + 2.0}, actual, metric=frame_mse).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [4.0] * 3)
        pairs = [actual[3:6] + 2.0, actual[4:7] + 2.0]
        (ax,) = plot_horizon_error({"MIM": pairs}, [actual, actual], metric=frame_mse).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [4.0] * 3)

    def test_of_quantiles_the_median_counts(self, actual):
        samples = actual[3:6].with_values(actual[3:6].all_values() + np.array([-9.0, 2.0, 3.0]))
        quantiles = samples.quantile([0.1, 0.5, 0.9])
        (ax,) = plot_horizon_error({"MIM": quantiles}, actual, metric=frame_mse).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [4.0] * 3)
        with pytest.raises(ValueError, match=r"must hold the quantile 0.500 .*, got 0.100, 0.900"):
            plot_horizon_error({"MIM": samples.quantile([0.1, 0.9])}, actual, metric=frame_mse)

    def test_a_horizon_of_one_frame_has_a_point(self, actual):
        forecasts = [actual[i : i + 1] + 1.0 for i in range(4)]
        (ax,) = plot_horizon_error({"MIM": forecasts}, actual, metric=frame_mse).axes
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.0])

    def test_what_is_missing_or_does_not_match_is_said(self, actual):
        with pytest.raises(TypeError, match=r"`errors\['MIM'\]` holds forecasts, which need"):
            plot_horizon_error({"MIM": [actual]})
        with pytest.raises(ValueError, match=r"for all of the 2 forecasts of 'MIM' .*, got 1"):
            plot_horizon_error({"MIM": [actual, actual]}, [actual], metric=frame_mse)
        with pytest.raises(ValueError, match=r"must have equally many frames .*, got 2 to 3"):
            plot_horizon_error({"MIM": [actual[:2], actual[:3]]}, actual, metric=frame_mse)


class TestRefusals:
    def test_errors_of_another_shape(self):
        with pytest.raises(ValueError, match="`errors` must hold at least one model"):
            plot_horizon_error({})
        with pytest.raises(ValueError, match=r"`errors\['MIM'\]` must have .* got \(2, 3, 4\)"):
            plot_horizon_error({"MIM": np.ones((2, 3, 4))})
        with pytest.raises(
            ValueError, match=r"`errors\['MIM'\]` must have the shape .* got \(0,\)"
        ):
            plot_horizon_error({"MIM": []})

    @pytest.mark.parametrize("errors", [np.ones(3), None, [1.0, 2.0]])
    def test_errors_without_names(self, errors):
        with pytest.raises(TypeError, match="`errors` must be a mapping from a model's name"):
            plot_horizon_error(errors)

    @pytest.mark.parametrize(
        "errors",
        [
            [np.ones(3), np.ones(4)],
            [np.ones((2, 3)), np.ones((2, 4))],
            [[1.0, 2.0, 3.0], [1.0, 2.0, 3.0, 4.0]],
        ],
    )
    def test_horizons_that_differ_within_a_model(self, errors):
        with pytest.raises(ValueError, match=r"`errors\['MIM'\]` must have .* got 3 and 4; give"):
            plot_horizon_error({"MIM": errors})

    @pytest.mark.parametrize("spread", [(0.9, 0.1), (-0.1, 0.5), (0.5, 1.1), 0.8])
    def test_a_spread_that_is_none(self, spread):
        with pytest.raises(ValueError, match="`spread` must be two quantiles"):
            plot_horizon_error({"MIM": [1.0]}, spread=spread)
