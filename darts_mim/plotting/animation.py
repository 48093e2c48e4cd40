"""Forecasts frame by frame, in motion.

Legend: T time, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import numpy as np
from darts import TimeSeries
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg

from darts_mim._optional import import_optional
from darts_mim.adapters.video.rates import checked_rate
from darts_mim.files import whole_file
from darts_mim.plotting.board import Bar, Board
from darts_mim.plotting.colours import DEFAULT_CMAP, PALETTE, ColourScale
from darts_mim.plotting.distributions import Floats
from darts_mim.plotting.layout import GAP
from darts_mim.plotting.maps import GridMap, redraw
from darts_mim.plotting.maps import Picture as Drawn
from darts_mim.plotting.movies import Picture, write_gif, write_mp4
from darts_mim.plotting.scales import Scales
from darts_mim.plotting.scene import Scene, step_name

_CONTEXT_COLOUR, _FORECAST_COLOUR = PALETTE[:2]
_ALL_COLUMNS = 6.9  # inches, the most that the panels take
_WIDEST, _TALLEST = 2.4, 3.2  # inches of a panel
_DPI = 100
_MAX_FPS = 50  # viewers slow down where a frame lasts less than two hundredths of a second
_WRITERS: dict[str, Callable[[Path, Iterable[Picture], Fraction], None]] = {
    ".gif": write_gif,
    ".mp4": write_mp4,
}


def animate(
    path: str | os.PathLike[str],
    history: TimeSeries,
    actual: TimeSeries | None,
    forecast: TimeSeries | Mapping[str, TimeSeries],
    *,
    fps: float = 4,
    channel: int | str = 0,
    signed: bool = False,
    vmin: float | None = None,
    vmax: float | None = None,
    difference_vmax: float | None = None,
    cmap: str = DEFAULT_CMAP,
    value_label: str | None = None,
    title: str | None = None,
) -> Path:
    """Write an animation: truth, forecast and their difference side by side, as GIF or MP4.

    It first runs through the context, which the forecast's panel shows as what the model is given,
    then through the forecast. Of several models, the forecasts stand side by side and the
    differences below them. The file appears whole or not at all; folders are made as needed.

    Parameters
    ----------
    path
        Where to write. The ending chooses the format: ".gif" runs for ever and in 256 colours;
        ".mp4" is smaller, has all colours, and needs the extra ``video``.
    history, actual, forecast, channel, signed
        As in ``plot_frames``.
    vmin, vmax, difference_vmax, cmap, value_label
        As in ``plot_frames``.
    fps
        Frames per second, 1 to 50. A GIF counts time in hundredths of a second: at a rate that
        does not divide 100 some frames last one more than others.
    title
        Title, above the time.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ImportError
        If a package of the extra ``video`` is missing for an MP4.
    TypeError
        If one of the series is none, or `fps` no number.
    ValueError
        If `path` has another ending or `fps` is out of range, and as ``plot_frames`` does.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((4, 1, 4, 6), dtype=np.float32))
    >>> animate("forecast.gif", series[:2], series[2:], series[2:]).name
    'forecast.gif'
    """
    target = Path(path)
    if target.suffix.lower() not in _WRITERS:
        raise ValueError(f'`path` must end in ".gif" or ".mp4", got {str(path)!r}; rename the file')
    rate = checked_rate(fps)
    if not 1 <= rate <= _MAX_FPS:
        raise ValueError(
            f"`fps` must be in 1..{_MAX_FPS} frames per second, got {fps}; 2 to 10 are easy to "
            f"follow"
        )
    if target.suffix.lower() == ".mp4":
        import_optional("av", extra="video")  # before the work
    scene = Scene.from_series(history, actual, forecast, channel)
    differences = scene.differences(signed=signed)
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
    panels = list(_panels(scene, differences, scales, signed=signed))
    with whole_file(target) as draft:
        _WRITERS[target.suffix.lower()](draft, _pictures(scene, panels, scales, title), rate)
    return target


class _Panel(NamedTuple):
    """A place on the board, and what it shows over time: frames (T, H, W)."""

    row: int
    column: int
    title: str
    frames: Floats
    scale: ColourScale | None
    is_forecast: bool = False


def _panels(
    scene: Scene, differences: Mapping[str, Floats], scales: Scales, *, signed: bool
) -> Iterator[_Panel]:
    """Yield the truth, the forecasts, and the differences: beside a single forecast, else below."""
    context, column = scene.context, 0
    if scene.truth is not None:
        yield _Panel(0, 0, "Truth", np.concatenate([context, scene.truth]), scales.values)
        column = 1
    for i, (name, frames) in enumerate(scene.forecasts.items()):
        shown, text = np.concatenate([context, frames]), scene.forecast_name(name)
        yield _Panel(0, column + i, text.replace("\n", " "), shown, scales.values, is_forecast=True)
    # what is no value in the context has no difference
    is_known = np.isfinite(context) if context.ndim == 3 else np.isfinite(context).all(axis=-1)
    blank = np.where(is_known, 0.0, np.nan).astype(context.dtype)
    for i, (name, frames) in enumerate(differences.items()):
        row, place = (0, 2) if len(differences) == 1 else (1, column + i)
        text = scene.difference_name(name, signed=signed).replace("\n", " ")
        yield _Panel(row, place, text, np.concatenate([blank, frames]), scales.differences)


def _pictures(
    scene: Scene, panels: Sequence[_Panel], scales: Scales, title: str | None
) -> Iterator[Picture]:
    """Yield what is seen at each moment."""
    board, drawn = _lay_out(GridMap.of(scene.grid), panels, scales, _heading(scene, 0, title))
    canvas = FigureCanvasAgg(board.figure)
    for moment in range(len(panels[0].frames)):
        board.retitle(_heading(scene, moment, title))
        is_past = moment < len(scene.context)
        for panel, (ax, picture) in zip(panels, drawn, strict=True):
            redraw(picture, panel.frames[moment])
            if panel.is_forecast:
                _mark(ax, "Context" if is_past else panel.title, is_past=is_past)
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _heading(scene: Scene, moment: int, title: str | None) -> str:
    """Say what time it is, below the title."""
    step = step_name(int([*scene.context_steps, *scene.forecast_steps][moment]))
    times = scene.time_names
    now = f"{step}: {times[moment]}" if times else step
    return now if title is None else f"{title}\n{now}"


def _lay_out(
    grid_map: GridMap, panels: Sequence[_Panel], scales: Scales, heading: str
) -> tuple[Board, list[tuple[Axes, Drawn]]]:
    n_rows = 1 + max(panel.row for panel in panels)
    n_columns = 1 + max(panel.column for panel in panels)
    ratio = grid_map.ratio
    width = min(_ALL_COLUMNS / n_columns - GAP, _WIDEST / ratio**0.5, _TALLEST / ratio)
    board = Board(None, n_rows, n_columns, ratio=ratio, width=width)
    board.figure.set_dpi(_DPI)
    drawn = []
    for panel in panels:
        ax = board.add_panel(panel.row, panel.column)
        drawn.append((ax, grid_map.draw(ax, panel.frames[0], panel.scale)))
        if panel.column == min(each.column for each in panels if each.row == panel.row):
            grid_map.label_rows(ax, board.panel_size[1])
        if panel.row == max(each.row for each in panels if each.column == panel.column):
            grid_map.label_columns(ax, board.panel_size[0])
        ax.set_title(panel.title, fontsize="medium", pad=3.0)
    board.finish(
        _bars(scales, split=2.0 / 3.0 if n_rows == 1 else 0.5),
        x_label=grid_map.columns.label,
        y_label=grid_map.rows.label,
        title=heading,
    )
    return board, drawn


def _bars(scales: Scales, split: float) -> list[Bar]:
    """Return the colour bars, that of the frames up to a share of the width."""
    if scales.differences is None:
        return [] if scales.values is None else [Bar(scales.values)]
    bars = [] if scales.values is None else [Bar(scales.values, 0.0, split)]
    return [*bars, Bar(scales.differences, split, 1.0)]


def _mark(ax: Axes, title: str, *, is_past: bool) -> None:
    """Show whether a panel holds what the model is given or what it says."""
    colour = _CONTEXT_COLOUR if is_past else _FORECAST_COLOUR
    ax.set_title(title, color=colour, fontsize="medium", pad=3.0)
    ax.spines[:].set(color=colour, linewidth=2.0)
