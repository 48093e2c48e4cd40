"""Curves of errors over the horizon, and of open gates."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from darts_mim import frame_mae, frame_mse, frame_psnr, frames_to_series
from darts_mim.diagnostics import GateSaturation
from darts_mim.plotting import plot_gates, plot_horizon_error
from tests.plotting.conftest import MINUS

ERRORS = np.random.default_rng(0).random((50, 3))


def axes_of(*args, **options):
    (ax,) = plot_horizon_error(*args, **options).axes
    return ax


def legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.fixture(scope="module")
def actual():
    return frames_to_series(np.random.default_rng(1).random((9, 2, 3, 4)))


@pytest.fixture(scope="module")
def saturation():
    shares = pd.DataFrame(
        {1: [0.9, 0.8, 0.7, 0.6], 2: [np.nan, 0.5, 0.4, 0.3], 3: [np.nan] * 4},
        index=pd.RangeIndex(-1, 3, name="step"),
    )
    return GateSaturation(shares, ("f", "T / C", ""), threshold=0.9)


class TestHorizonError:
    def test_each_model_has_a_line_from_the_first_frame_on(self):
        ax = axes_of({"MIM": [1, 2, 3], "last frame": np.ones(4)}, ylabel="MSE [K²]")
        first, second = ax.lines
        np.testing.assert_array_equal(first.get_xdata(), [1, 2, 3])
        np.testing.assert_array_equal(second.get_ydata(), np.ones(4))
        assert (legend(ax), ax.get_ylabel()) == (["MIM", "last frame"], "MSE [K²]")
        assert (ax.get_xlim(), ax.get_ylim()[0]) == ((0.5, 4.5), 0.0)
        assert axes_of({"MIM": [0.8, 0.9]}, from_zero=False).get_ylim()[0] > 0.7

    def test_nine_models_have_nine_styles(self):
        lines = axes_of({str(i): [1.0] for i in range(9)}).lines
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 9
        # all are readable on a dark background
        assert not {line.get_color() for line in lines} & {"#000000", "black"}

    def test_curves_can_be_added_to_axes_of_a_figure(self):
        figure = Figure()
        left, right = figure.subplots(1, 2)
        assert plot_horizon_error({"MIM": [1.0]}, ax=right, title="mine") is figure
        plot_horizon_error({"last frame": [10.0, 20.0]}, ax=right)
        assert (len(left.lines), len(right.lines), right.get_title()) == (0, 2, "mine")
        assert (right.get_xlim()[1], right.get_ylim()[1] > 20.0) == (2.5, True)

    def test_errors_of_each_forecast_have_a_mean_and_a_band(self):
        several_series = [ERRORS[:40], ERRORS[40:]]
        ax = axes_of({"MIM": several_series, "other": [1.0, 1.0, 1.0]})
        np.testing.assert_allclose(ax.lines[0].get_ydata(), ERRORS.mean(axis=0))
        corners = ax.collections[0].get_paths()[0].vertices[:, 1]
        expected = np.quantile(ERRORS, [0.1, 0.9], axis=0)
        np.testing.assert_allclose([corners.min(), corners.max()], [expected.min(), expected.max()])
        assert legend(ax) == ["MIM", "other", "10 to 90 % of forecasts"]
        assert legend(axes_of({"MIM": ERRORS}, spread=(0.25, 0.75)))[1].startswith("25 to 75 %")
        assert not axes_of({"MIM": ERRORS}, spread=None).collections

    def test_values_that_are_not_finite_are_left_out_and_leave_a_gap(self, actual):
        ax = axes_of({"MIM": [[1.0, np.nan, np.inf], [3.0, 5.0, np.nan]]})
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [2.0, 5.0, np.nan])
        ax = axes_of({"MIM": actual[:2]}, actual, metric=lambda *_: [np.array([np.inf, 20.0])])
        np.testing.assert_array_equal(ax.lines[0].get_ydata(), [np.nan, 20.0])

    def test_errors_are_computed_from_forecasts(self, actual):
        forecasts = [actual[i : i + 3] + 0.5 * (i + 1) for i in range(4)]
        ax = axes_of({"MIM": forecasts}, actual, metric=frame_mae)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [1.25] * 3)
        assert (ax.get_ylabel(), legend(ax)) == ("MAE", ["MIM", "10 to 90 % of forecasts"])
        samples = actual[3:6].with_values(actual[3:6].all_values() + np.array([-9.0, 2.0, 3.0]))
        quantiles = samples.quantile([0.1, 0.5, 0.9])
        for forecast in (actual[3:6] + 2.0, samples, quantiles):
            ax = axes_of({"MIM": forecast}, actual, metric=frame_mse)
            np.testing.assert_allclose(ax.lines[0].get_ydata(), [4.0] * 3)
        ax = axes_of({"MIM": [actual[3:4] + 2.0] * 2}, [actual] * 2, metric=frame_mse)
        np.testing.assert_allclose(ax.lines[0].get_ydata(), [4.0])

    @pytest.mark.parametrize(
        ("errors", "error", "message"),
        [
            ({"MIM": np.ones((2, 3, 4))}, ValueError, r"`errors\['MIM'\]` must be .*\(2, 3, 4\)"),
            ({"MIM": []}, ValueError, r"`errors\['MIM'\]` must be an error per frame"),
            ({"MIM": [[1.0], [1.0, 2.0]]}, ValueError, r"`errors\['MIM'\]` .*\[\(1,\), \(2,\)\]"),
            ({"MIM": "forecasts"}, TypeError, r"`errors\['MIM'\]` holds forecasts, which need"),
            (np.ones(3), TypeError, "`errors` must map the name of each model"),
        ],
    )
    def test_refusals_name_the_argument(self, actual, errors, error, message):
        if "holds forecasts" in message:
            errors = {"MIM": [actual]}
        with pytest.raises(error, match=message):
            plot_horizon_error(errors, actual, metric=frame_psnr if error is ValueError else None)


class TestGates:
    def test_each_layer_has_a_line_over_the_steps(self, saturation):
        figure = Figure()
        left, ax = figure.subplots(1, 2, sharey=True)
        assert plot_gates(saturation, title="NYC taxi", ax=ax) is figure
        assert not left.lines
        first, second, third = ax.lines
        np.testing.assert_array_equal(first.get_xdata(), [-1, 0, 1, 2])
        np.testing.assert_array_equal(second.get_ydata(), [np.nan, 0.5, 0.4, 0.3])
        assert np.isnan(third.get_ydata()).all()
        kinds = ["(ST-LSTM, f)", "(MIM, T / C)", "(no MIM-S, no gate)"]
        assert legend(ax) == [f"layer {i} {kind}" for i, kind in enumerate(kinds, 1)]
        assert (ax.get_ylabel(), ax.get_title()) == ("gates above 0.9", "NYC taxi")
        assert ax.xaxis.get_major_formatter()(-1.0, 0) == f"t{MINUS}1"
        (context,) = ax.patches
        assert context.get_extents().x1 == pytest.approx(ax.transData.transform((0.5, 0.0))[0])
