"""A forecast frame by frame, on paper.

Legend: T time, H height, W width.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_mim.plotting.colours import ColourScale
from darts_mim.plotting.scene import Scene, step_name

_FRAME_SIZE = 1.1  # inches, the longer side
_MAX_ROW_WIDTH = 13.0  # inches, for the frames of a row together
_GAP = 0.06  # between two frames, as a share of their width


def plot_strip(
    history: TimeSeries,
    actual: TimeSeries,
    forecast: TimeSeries,
    *,
    channel: int | str = 0,
    every: int = 1,
    vmin: float | None = None,
    vmax: float | None = None,
    difference_vmax: float | None = None,
    cmap: str = "gray",
    value_label: str = "value",
    title: str | None = None,
) -> Figure:
    """Draw a forecast frame by frame, in four rows: context, truth, forecast, absolute difference.

    Frames are numbered from ``t``, the last one of the context. A cell without a value is grey.

    Parameters
    ----------
    history
        What the model saw. At most as many frames as the forecast has are drawn, the last ones;
        frames from the forecast's first on are left out, so that a whole series may be passed.
    actual
        What came. It may be longer than the forecast: the time steps of both are drawn.
    forecast
        What was forecast; the median of the samples where it is stochastic.
    channel
        Number or name of the channel to draw.
    every
        Draw every so many frames, counted from ``t``; at least 1.
    vmin, vmax
        Values of the ends of the colour scale, in the unit of the series; by default the range of
        context and truth. An arrow at the colour bar says that the forecast goes beyond.
    difference_vmax
        Value of the upper end of the difference's colour scale; by default the largest difference.
        Set it to compare figures.
    cmap
        A colour map of matplotlib for the frames, such as "gray" or "viridis".
    value_label
        What the values are, with the unit.
    title
        Title of the figure.

    Returns
    -------
    matplotlib.figure.Figure
        Six axes: the four rows, then the colour bars of the frames and of the difference.

    Raises
    ------
    TypeError
        If one of the three is not a series.
    ValueError
        If the series differ in frequency or grid, share no time step, or hold no value at all; if
        the channel or the colour map is unknown, `every` does not fit the horizon, or the range
        of a colour scale is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((8, 1, 4, 6), dtype=np.float32))
    >>> figure = plot_strip(series[:5], series[5:], series[5:])
    >>> len(figure.axes)
    6
    """
    scene = Scene.from_series(history, actual, forecast, channel)
    last_step = int(scene.forecast_steps[-1])
    if not 1 <= every <= last_step:
        raise ValueError(
            f"`every` must be in 1..{last_step}, the last step of the forecast, got {every}; use 1 "
            f"to draw all frames"
        )
    values = ColourScale.of_values(scene, vmin, vmax, cmap)
    differences = ColourScale.of_difference(scene, difference_vmax)
    past, future = scene.context_steps % every == 0, scene.forecast_steps % every == 0
    rows = (
        _Row("Context", scene.context[past], values, scene.context_steps[past]),
        _Row("Truth", scene.truth[future], values, scene.forecast_steps[future]),
        _Row("Forecast", scene.forecast[future], values),
        _Row("Absolute\ndifference", scene.difference[future], differences),
    )
    figure, axes = _lay_out(rows, title)
    values.add_bar(figure, axes[:3], aspect=24.0, label=value_label)
    differences.add_bar(figure, axes[3:], aspect=7.0)
    return figure


class _Row(NamedTuple):
    """Frames (T, H, W), and their time steps where they are to be written above them."""

    name: str
    frames: npt.NDArray[np.floating[Any]]
    scale: ColourScale
    steps: npt.NDArray[np.int64] | None = None


def _lay_out(rows: Sequence[_Row], title: str | None) -> tuple[Figure, list[Axes]]:
    n_columns = max(len(row.frames) for row in rows)
    height, width = rows[0].frames.shape[1:]
    frame_width = min(_MAX_ROW_WIDTH / n_columns, _FRAME_SIZE, _FRAME_SIZE * width / height)
    row_height = frame_width * height / width + 0.1
    figure = Figure(
        figsize=(n_columns * frame_width * (1.0 + _GAP) + 2.2, len(rows) * row_height + 0.8),
        layout="compressed",
    )
    if title is not None:
        figure.suptitle(title)
    axes = list(figure.subplots(len(rows), 1))
    for ax, row in zip(axes, rows, strict=True):
        _draw_row(ax, row, n_columns)
    return figure, axes


def _draw_row(ax: Axes, row: _Row, n_columns: int) -> None:
    """Draw the frames of a row side by side, an image each."""
    _, height, width = row.frames.shape
    pitch = width * (1.0 + _GAP)
    starts = np.arange(len(row.frames)) * pitch
    for start, frame in zip(starts, row.frames, strict=True):
        row.scale.draw(ax, frame, extent=(start, start + width, height, 0.0))
    ax.set(xlim=(0.0, n_columns * pitch), ylim=(height, 0.0), xticks=[], yticks=[])
    ax.set_ylabel(row.name, rotation=0, ha="right", va="center")
    ax.spines[:].set_visible(False)
    if row.steps is not None:
        ax.xaxis.tick_top()
        ax.tick_params(axis="x", length=0)
        ax.set_xticks(starts + width / 2.0, [step_name(step) for step in row.steps])
