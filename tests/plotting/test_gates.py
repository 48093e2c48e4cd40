"""Curves of open gates."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from darts_mim.diagnostics import GateSaturation
from darts_mim.plotting import plot_gates


@pytest.fixture
def saturation():
    shares = pd.DataFrame(
        {1: [0.9, 0.8, 0.7, 0.6], 2: [np.nan, 0.5, 0.4, 0.3], 3: [np.nan] * 4},
        index=pd.RangeIndex(-1, 3, name="step"),
    )
    return GateSaturation(shares, ("f", "T / C", ""), threshold=0.9)


def test_each_layer_has_a_line_over_the_steps(saturation):
    (ax,) = plot_gates(saturation).axes
    first, second, third = ax.lines
    np.testing.assert_array_equal(first.get_xdata(), [-1, 0, 1, 2])
    np.testing.assert_array_equal(second.get_ydata(), [np.nan, 0.5, 0.4, 0.3])
    assert np.isnan(third.get_ydata()).all()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "layer 1 (ST-LSTM, f)",
        "layer 2 (MIM, T / C)",
        "layer 3 (no MIM-S, no gate)",
    ]


def test_the_axes_tell_threshold_steps_and_the_context(saturation):
    (ax,) = plot_gates(saturation, title="NYC taxi").axes
    assert (ax.get_ylabel(), ax.get_title()) == ("gates above 0.9", "NYC taxi")
    assert ax.xaxis.get_major_formatter()(-1.0, 0) == "t\N{MINUS SIGN}1"
    assert ax.yaxis.get_major_formatter()(0.5, 0) == "50%"
    (context,) = ax.patches
    assert context.get_extents().x1 == pytest.approx(ax.transData.transform((0.5, 0.0))[0])


def test_what_is_no_saturation_is_refused():
    with pytest.raises(TypeError, match="`saturation` must be a GateSaturation, got NoneType"):
        plot_gates(None)


def test_it_can_lie_in_axes_of_another_figure(saturation):
    figure = Figure()
    left, right = figure.subplots(1, 2, sharey=True)
    assert plot_gates(saturation, ax=right) is figure
    assert (len(left.lines), len(right.lines)) == (0, 3)
