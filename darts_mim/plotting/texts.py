"""How much room texts take, and how they are written beside axes; lengths in inches."""

from __future__ import annotations

import re
import textwrap
from typing import Any, NamedTuple, cast

from matplotlib.axes import Axes
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

_POINTS = 72.0  # in an inch


class Room(NamedTuple):
    """Inches that labels take on each side of axes."""

    left: float
    right: float
    bottom: float
    top: float


def overhang(axes: Axes) -> Room:
    """Return the room that ticks, labels and texts of axes take around them."""
    whole, own, dpi = cast(Bbox, axes.get_tightbbox()), axes.bbox, axes.figure.dpi
    sides = (own.x0 - whole.x0, whole.x1 - own.x1, own.y0 - whole.y0, whole.y1 - own.y1)
    return Room(*(max(side, 0.0) / dpi for side in sides))


def size_of(text: Text) -> Bbox:
    """Return the extent of a text in inches."""
    extent = text.get_window_extent()
    return Bbox(extent.get_points() / text.figure.dpi)


def wrapped(label: str, letters: int) -> str:
    """Break a label into lines, but not within its unit."""
    kept = re.sub(r"\[.*?\]", lambda unit: unit[0].replace(" ", "\N{NO-BREAK SPACE}"), label)
    lines = kept.splitlines()
    return "\n".join(textwrap.fill(line, letters, break_long_words=False) for line in lines)


def write_left(axes: Axes, text: str, inches: float, **options: Any) -> Annotation:
    """Write at the left of axes, half-way up."""
    return axes.annotate(
        text,
        (0.0, 0.5),
        xycoords="axes fraction",
        xytext=(-_POINTS * inches, 0.0),
        textcoords="offset points",
        ha="right",
        va="center",
        **options,
    )


def write_below(axes: Axes, text: str, inches: float, **options: Any) -> Annotation:
    """Write below axes, half-way along."""
    return axes.annotate(
        text,
        (0.5, 0.0),
        xycoords="axes fraction",
        xytext=(0.0, -_POINTS * inches),
        textcoords="offset points",
        ha="center",
        va="top",
        **options,
    )
