"""Forecasts frame by frame, on paper."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias, cast

import numpy as np
import numpy.typing as npt
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from darts_mim.plotting.board import Bar, Board
from darts_mim.plotting.colours import DEFAULT_CMAP, ColourScale
from darts_mim.plotting.distributions import Floats
from darts_mim.plotting.layout import GAP
from darts_mim.plotting.maps import GridMap
from darts_mim.plotting.scales import Scales
from darts_mim.plotting.scene import Scene, step_name

Row: TypeAlias = Literal["context", "truth", "forecast", "difference"]

_ROWS: tuple[Row, ...] = ("context", "truth", "forecast", "difference")
_ALL_COLUMNS = 6.4  # inches, the most that the frames of a row take
_WIDEST, _TALLEST = 1.3, 1.6  # inches of a frame
_LETTER = 0.085  # inches of a letter above a frame, the space to the next name included


def plot_frames(
    history: TimeSeries,
    actual: TimeSeries | None,
    forecast: TimeSeries | Mapping[str, TimeSeries],
    *,
    channel: int | str = 0,
    every: int = 1,
    rows: Sequence[Row] | None = None,
    signed: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
    difference_vmax: float | None = None,
    cmap: str = DEFAULT_CMAP,
    value_label: str | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw forecasts frame by frame, in rows: context, truth, forecast, difference.

    Frames are numbered from ``t``, the last one of the context. They lie on axes with the grid's
    coordinates, which grow upwards and to the right as on a map (downwards where the attribute
    ``"positive"`` of the rows' coordinate is ``"down"``), cells between coordinates half-way; the
    axes of the first column and of the last row are labelled. Without coordinates the first row of
    cells is at the top. All frames share one colour scale, and all differences another. A cell
    without a value is left blank, with hatching.

    Parameters
    ----------
    history
        What the model saw. At most as many frames as the forecast has are drawn, the last ones;
        frames from the forecast's first on are left out, so that a whole series may be passed.
    actual
        What came; ``None`` where nobody knows yet. It may be longer than the forecast: the time
        steps of both are drawn.
    forecast
        What was forecast, or for several models the forecast of each by its name: a row each. Of
        samples, and of quantiles as components, the median is drawn.
    channel
        Number or name of the channel to draw. ``"rgb"`` draws three channels with values in [0, 1]
        as red, green and blue; the difference is then the mean over the three.
    every
        Draw every so many frames, counted from ``t``; at least 1.
    rows
        What to draw, in this order, of "context", "truth", "forecast" and "difference"; by default
        all that there is. "forecast" and "difference" are a row for each model.
    signed
        Whether the difference is forecast minus truth, rather than its absolute value.
    vmin, vmax
        Values of the ends of the colour scale, in the unit of the series; by default the range of
        context and truth, or without a truth of context and forecasts. An arrow at the colour bar
        says that there are values beyond.
    difference_vmax
        Value of the upper end of the difference's colour scale; by default the largest difference.
        Set it to compare figures.
    cmap
        A colour map of matplotlib for the frames, such as "viridis" or "gray".
    value_label
        What the values are, with the unit; by default what the grid says of the channel.
    title
        Title of the figure, or of `ax`.
    ax
        Axes whose place the whole picture takes, in a figure of yours: they lose their own frame
        and ticks, and the panels become their ``child_axes``.

    Returns
    -------
    matplotlib.figure.Figure
        A figure with an axes for each frame, row by row, then the colour bars; or the one of `ax`.

    Raises
    ------
    TypeError
        If one of the series is none.
    ValueError
        If the series differ in frequency or grid, share no time step, or hold no value at all; if
        the channel or the colour map is unknown, `every` does not fit the horizon, `rows` ask for
        what there is not, or the range of a colour scale is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((8, 1, 4, 6), dtype=np.float32))
    >>> figure = plot_frames(series[:5], series[5:], series[5:])
    >>> len(figure.axes)  # 4 rows of 3 frames, 2 colour bars
    14

    Two models, their errors below each other:

    >>> forecasts = {"MIM": series[5:] * 0.9, "persistence": series[5:] * 0.5}
    >>> figure = plot_frames(series[:5], series[5:], forecasts, rows=["truth", "difference"])
    """
    scene = Scene.from_series(history, actual, forecast, channel)
    wanted = _checked_rows(rows, scene)
    last_step = int(scene.forecast_steps[-1])
    if not (isinstance(every, int | np.integer) and 1 <= every <= last_step):
        raise ValueError(
            f"`every` must be in 1..{last_step}, the last step of the forecast, got {every}; use 1 "
            f"to draw all frames"
        )
    differences = scene.differences(signed=signed) if "difference" in wanted else {}
    scales = Scales.of(
        scene,
        differences,
        signed=signed,
        vmin=vmin,
        vmax=vmax,
        difference_vmax=difference_vmax,
        cmap=cmap,
        label=value_label,
    )
    strips = list(_strips(scene, differences, wanted, scales, signed=signed))
    return _draw(GridMap.of(scene.grid), [strip.thinned(every) for strip in strips], title, ax)


class _Strip(NamedTuple):
    """A row of frames (T, H, W), the scale of their colours, and their time steps."""

    name: str
    frames: Floats
    scale: ColourScale | None
    steps: npt.NDArray[np.int64]

    def thinned(self, every: int) -> _Strip:
        """Keep every so many frames."""
        is_kept = self.steps % every == 0
        return self._replace(frames=self.frames[is_kept], steps=self.steps[is_kept])


def _checked_rows(rows: Sequence[Row] | None, scene: Scene) -> Sequence[Row]:
    there: list[Row] = [
        row for row in _ROWS if scene.truth is not None or row in ("context", "forecast")
    ]
    if rows is None:
        return there
    if isinstance(rows, str) or not rows or not set(rows) <= set(there):
        why = "" if len(there) == len(_ROWS) else "; without `actual` there is no truth"
        raise ValueError(
            f"`rows` must be a list of some of {', '.join(map(repr, there))}, got {rows!r}{why}"
        )
    return rows


def _strips(
    scene: Scene,
    differences: Mapping[str, Floats],
    rows: Sequence[Row],
    scales: Scales,
    *,
    signed: bool,
) -> Iterator[_Strip]:
    for row in rows:
        if row == "context":
            yield _Strip("Context", scene.context, scales.values, scene.context_steps)
        elif row == "truth":
            truth = cast(Floats, scene.truth)
            yield _Strip("Truth", truth, scales.values, scene.forecast_steps)
        elif row == "forecast":
            for name, frames in scene.forecasts.items():
                text = scene.forecast_name(name)
                yield _Strip(text, frames, scales.values, scene.forecast_steps)
        else:
            for name, frames in differences.items():
                text = scene.difference_name(name, signed=signed)
                yield _Strip(text, frames, scales.differences, scene.forecast_steps)


def _draw(
    grid_map: GridMap,
    strips: Sequence[_Strip],
    title: str | None,
    ax: Axes | None,
) -> Figure:
    n_columns = max(len(strip.frames) for strip in strips)
    ratio = grid_map.ratio
    width = min(_ALL_COLUMNS / n_columns - GAP, _WIDEST / ratio**0.5, _TALLEST / ratio)
    board = Board(ax, len(strips), n_columns, ratio=ratio, width=width)
    above = None
    for row, strip in enumerate(strips):
        panels = [board.add_panel(row, column) for column in range(len(strip.frames))]
        for panel, frame in zip(panels, strip.frames, strict=True):
            grid_map.draw(panel, frame, strip.scale)
        grid_map.label_rows(panels[0], board.panel_size[1])
        if above is None or not np.array_equal(strip.steps, above):
            _write_steps(panels, strip.steps, board.panel_size[0])
        above = strip.steps
    for panel in panels:
        grid_map.label_columns(panel, board.panel_size[0])
    scales = list(dict.fromkeys(strip.scale for strip in strips if strip.scale is not None))
    board.finish(
        [Bar(scale, i / len(scales), (i + 1) / len(scales)) for i, scale in enumerate(scales)],
        row_names=[strip.name for strip in strips],
        x_label=grid_map.columns.label,
        y_label=grid_map.rows.label,
        title=title,
    )
    return cast(Figure, board.figure)


def _write_steps(panels: Sequence[Axes], steps: npt.NDArray[np.int64], inches: float) -> None:
    """Name the time steps above the panels, as many as there is room for, the last one always."""
    names = [step_name(step) for step in steps]
    every = max(1, math.ceil(max(map(len, names)) * _LETTER / inches))
    for panel, name in list(zip(panels, names, strict=True))[::-every]:
        panel.set_title(name, fontsize="small", pad=2.0)
