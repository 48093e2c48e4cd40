"""Forecasts in motion.

Legend: T time, H height, W width.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from darts import TimeSeries
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap

from darts_mim._optional import import_optional
from darts_mim.adapters.video.encoding import encode
from darts_mim.adapters.video.gif import save_gif
from darts_mim.adapters.video.rates import checked_rate, hundredths
from darts_mim.checks import checked_number
from darts_mim.files import whole_file
from darts_mim.plotting.board import Board, Panel
from darts_mim.plotting.cells import cells_of
from darts_mim.plotting.colours import CONTEXT_COLOUR, DEFAULT_CMAP, FORECAST_COLOUR
from darts_mim.plotting.scene import Scene, Strip, difference_of, make_scene, step_name

_SIZE, _TALLEST = 2.4, 4.0  # inches of a panel
_DPI = 100
_MAX_FPS = 50  # viewers slow down where a frame lasts less than two hundredths of a second


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
    cmap: str | Colormap = DEFAULT_CMAP,
    value_label: str | None = None,
    title: str | None = None,
) -> Path:
    """Write an animation: truth, forecast and their difference side by side, as GIF or MP4.

    It runs through the context first, which the forecast's panel shows as well, then through the
    forecast. Several forecasts stand side by side, with their differences below them. The file
    appears whole or not at all; folders are made as needed.

    Parameters
    ----------
    path
        The file. Its ending chooses the format: ".gif" repeats forever and has 256 colours;
        ".mp4" is smaller, has all colours, and needs the extra ``video``.
    history, actual, forecast, channel, signed
        As in ``plot_frames``.
    vmin, vmax, difference_vmax, cmap, value_label
        As in ``plot_frames``.
    fps
        Frames per second, 1 to 50. A GIF counts time in hundredths of a second: at a rate that
        does not divide 100, some frames last a hundredth longer than others.
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
        If one of the series is not a TimeSeries, or `fps` not a number.
    ValueError
        If `path` has another ending or `fps` is out of range, and as in ``plot_frames``.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((4, 1, 4, 6), dtype=np.float32))
    >>> animate("forecast.gif", series[:2], series[2:], series[2:]).name
    'forecast.gif'
    """
    target = Path(path)
    ending = target.suffix.lower()
    if ending not in (".gif", ".mp4"):
        raise ValueError(f'`path` must end in ".gif" or ".mp4", got {str(path)!r}; rename the file')
    rate = checked_rate(checked_number("fps", fps, 1, _MAX_FPS))
    if ending == ".mp4":
        import_optional("av", extra="video")  # before the work
    scene = make_scene(
        history, actual, forecast, channel, signed, (vmin, vmax, difference_vmax), cmap, value_label
    )
    pictures = _pictures(scene, title)
    if ending == ".gif":
        save_gif(target, pictures, [10 * each for each in hundredths(len(scene.times), rate)])
    else:
        with whole_file(target) as draft:
            encode(draft, pictures, rate)
    return target


def _pictures(scene: Scene, title: str | None) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield a picture (height, width, 3) for each time."""
    context, *others = scene.strips
    before = dict.fromkeys(("truth", "forecast"), context.frames)
    # while the context is shown, it differs nowhere from itself
    before["difference"] = difference_of(context.frames, context.frames, signed=True)
    frames = [np.concatenate([before[strip.kind], strip.frames]) for strip in others]
    headings = _headings(scene, title)
    panels = [
        Panel(*place, each[0], strip.scale, strip.name.replace("\n", " "))
        for place, each, strip in zip(_places(others), frames, others, strict=True)
    ]
    board = Board(scene.grid, panels, size=_SIZE, tallest=_TALLEST, title=headings[0])
    # MP4 needs an even number of pixels
    width, height = (2 * np.ceil(side * _DPI / 2) for side in board.figure.get_size_inches())
    board.figure.set_size_inches((width + 0.5) / _DPI, (height + 0.5) / _DPI)
    board.figure.set_dpi(_DPI)
    canvas = FigureCanvasAgg(board.figure)
    names = [mesh.axes.get_title() for mesh in board.meshes]
    for moment, heading in enumerate(headings):
        board.retitle(heading)
        is_context = moment < len(context.steps)
        for strip, each, mesh, name in zip(others, frames, board.meshes, names, strict=True):
            mesh.set_array(cells_of(each[moment]))
            if strip.kind == "forecast":
                colour = CONTEXT_COLOUR if is_context else FORECAST_COLOUR
                mesh.axes.title.set(text="Context" if is_context else name, color=colour)
                mesh.axes.spines[:].set(color=colour, linewidth=2.0)
        canvas.draw()
        yield np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _places(strips: Sequence[Strip]) -> list[tuple[int, int]]:
    """Return rows and columns: the difference beside a single forecast, else below its own."""
    n_forecasts = sum(strip.kind == "forecast" for strip in strips)
    below = strips[0].kind == "truth" and n_forecasts > 1
    return [
        (1, i - n_forecasts) if below and strip.kind == "difference" else (0, i)
        for i, strip in enumerate(strips)
    ]


def _headings(scene: Scene, title: str | None) -> list[str]:
    """Return the time of each frame, below the title."""
    headings = [step_name(step) for strip in scene.strips[:2] for step in strip.steps]
    if isinstance(scene.times, pd.DatetimeIndex):
        has_hours = (scene.times != scene.times.normalize()).any()
        dates = scene.times.strftime("%Y-%m-%d %H:%M" if has_hours else "%Y-%m-%d")
        headings = [f"{step}: {date}" for step, date in zip(headings, dates, strict=True)]
    return headings if title is None else [f"{title}\n{heading}" for heading in headings]
