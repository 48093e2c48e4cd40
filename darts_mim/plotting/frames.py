"""Forecasts frame by frame, in one figure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import cast

from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.colors import Colormap
from matplotlib.figure import Figure

from darts_mim.checks import checked_integer
from darts_mim.plotting.board import Board, Panel
from darts_mim.plotting.colours import DEFAULT_CMAP
from darts_mim.plotting.scene import Row, make_scene, step_name

_SIZE, _TALLEST = 1.3, 1.7  # inches of a frame
_MOST_FRAMES = 14  # in a row, unless `every` asks for more


def plot_frames(
    history: TimeSeries,
    actual: TimeSeries | None,
    forecast: TimeSeries | Mapping[str, TimeSeries],
    *,
    channel: int | str = 0,
    every: int | None = None,
    rows: Sequence[Row] | None = None,
    signed: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
    difference_vmax: float | None = None,
    cmap: str | Colormap = DEFAULT_CMAP,
    value_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw forecasts frame by frame, in rows: context, truth, forecast, difference.

    Frames are numbered from ``t``, the last one of the context. Coordinates of the grid grow
    upwards and to the right, as on a map; rows whose coordinate has the attribute
    ``"positive": "down"`` grow downwards. Without coordinates, the first row of cells is at the
    top. All frames share one colour scale, and all differences another one. Cells without a value,
    such as masked ones, are hatched.

    Parameters
    ----------
    history
        The series that the model was given. Its last frames are drawn, at most as many as the
        forecast has; frames from the first step of the forecast on are ignored.
    actual
        The frames observed later, which are compared with the forecast; ``None`` if they are not
        known.
    forecast
        A forecast, or several by the names of their models. Of a distribution, given as samples or
        quantiles, the median is drawn. Frames are drawn at the time steps that all of these and
        `actual` have.
    channel
        Number or name of the channel to draw; ``"rgb"`` draws three channels with values in [0, 1]
        as red, green and blue.
    every
        Draw only the time steps divisible by this number; 1 draws all. The default draws at most 14
        frames in a row.
    rows
        The rows to draw, from the top, out of "context", "truth", "forecast" and "difference"; by
        default all of them. "forecast" and "difference" are one row for each model.
    signed
        Whether the difference is forecast minus truth, rather than its absolute value.
    vmin, vmax
        Ends of the colour scale, in the unit of the series; by default the range of context and
        truth, or without a truth of context and forecasts. An arrow at the colour bar marks values
        beyond.
    difference_vmax
        Upper end of the colour scale of the difference; by default the largest difference. Set it
        to compare figures.
    cmap
        A colour map of matplotlib for the frames, such as "viridis" or "gray".
    value_label
        Label of the values, with the unit; by default that of the channel.
    title
        Title of the figure, or of `ax`.
    ax
        Axes to replace by the whole picture, in a figure of yours: they lose frame and ticks, and
        the panels become their ``child_axes``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with an axes for each frame, row by row, then the colour bars; or the one of `ax`.

    Raises
    ------
    TypeError
        If one of the series is not a TimeSeries.
    ValueError
        If the series differ in frequency or grid, share no time step, or hold no finite value; if
        the channel or the colour map is unknown, `every` exceeds the horizon, `rows` need a truth
        that is not given, or the range of a colour scale is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((8, 1, 4, 6), dtype=np.float32))
    >>> figure = plot_frames(series[:5], series[5:], series[5:])
    >>> len(figure.axes)  # 4 rows of 3 frames, 2 colour bars
    14

    Compare two models by their errors:

    >>> forecasts = {"MIM": series[5:] * 0.9, "persistence": series[5:] * 0.5}
    >>> figure = plot_frames(series[:5], series[5:], forecasts, rows=["truth", "difference"])
    """
    grid, _, strips = make_scene(
        history, actual, forecast, channel, signed, (vmin, vmax, difference_vmax), cmap, value_label
    )
    kinds = list(dict.fromkeys(strip.kind for strip in strips))
    if rows is not None and (isinstance(rows, str) or not rows or not set(rows) <= set(kinds)):
        raise ValueError(
            f"`rows` must be a list of some of {', '.join(map(repr, kinds))}, got {rows!r}; truth "
            "and difference need `actual`"
        )
    steps = strips[-1].steps
    if every is None:
        every = math.ceil(len(steps) / _MOST_FRAMES)
    elif checked_integer("every", every) > steps[-1]:
        raise ValueError(
            f"`every` must be at most {steps[-1]}, the last step of the forecast, got {every}; use "
            "1 to draw all frames"
        )
    strips = [strip for kind in rows or kinds for strip in strips if strip.kind == kind]
    panels = []
    for row, strip in enumerate(strips):
        is_new = row == 0 or strip.steps is not strips[row - 1].steps
        drawn = [(f, s) for f, s in zip(strip.frames, strip.steps, strict=True) if s % every == 0]
        for column, (frame, step) in enumerate(drawn):
            name = step_name(step) if is_new else ""
            panels.append(Panel(row, column, frame, strip.scale, name))
    names = [strip.name for strip in strips]
    board = Board(grid, panels, size=_SIZE, tallest=_TALLEST, row_names=names, title=title, ax=ax)
    return cast(Figure, board.figure)
