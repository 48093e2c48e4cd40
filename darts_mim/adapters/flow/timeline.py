"""Frames with dirty timestamps: freed of outages and doubles, and put in order.

Nothing here leaves out or makes up a frame unasked, and what it does it counts in the log.
Letters for shapes: T time, S samples, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal, TypeAlias, get_args

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darts_mim.checks import counted

logger = logging.getLogger(__name__)

Duplicates: TypeAlias = Literal["raise", "first", "last", "sum"]
Frames: TypeAlias = NDArray[np.floating[Any]]

_CLOCK_CHANGE: Final = "where clocks are put back, convert the times to UTC first"


def checked_choice(name: str, value: object, choices: object) -> None:
    """Raise unless an argument is one of the strings of a `Literal`."""
    known = get_args(choices)
    if value not in known:
        raise ValueError(f"`{name}` must be one of {', '.join(map(repr, known))}, got {value!r}")


def without_zero_frames(
    frames: Frames, times: pd.Index[Any], mask: NDArray[np.bool_] | None
) -> tuple[Frames, pd.Index[Any]]:
    """Leave out the frames (T, S, C, H, W) that are zero in every cell that the mask shows."""
    is_zero = np.ones(len(frames), bool)
    for row, frame in enumerate(frames):  # one at a time: a memory map may be larger than memory
        is_zero[row] = not (frame if mask is None else frame[..., mask]).any()
    if is_zero.all():
        raise ValueError(
            f"`frames` are zero in all of the {len(frames)} frames, so that drop_zero_frames=True "
            "leaves none; check the data, or keep zero frames"
        )
    if is_zero.any():
        logger.warning("Dropped %d of %d frames: zero in all cells.", is_zero.sum(), len(times))
    return take(frames, np.flatnonzero(~is_zero)), times[~is_zero]


def in_order(frames: Frames, times: pd.Index[Any], sort: bool) -> tuple[Frames, pd.Index[Any]]:
    """Return frames and times in order of time, or raise where they are not."""
    if times.is_monotonic_increasing:
        return frames, times
    backwards = np.flatnonzero(times[1:] < times[:-1])
    if not sort:
        raise ValueError(
            f"`times` must not go back, which they do {counted(len(backwards), 'time')}: "
            f"{listed(f'{times[i + 1]} comes after {times[i]}' for i in backwards[:4])}; pass "
            f"sort=True to put the frames in order; {_CLOCK_CHANGE}"
        )
    logger.info(
        "Put the frames in order of time, which went back %s.", counted(len(backwards), "time")
    )
    order = np.argsort(instants(times), kind="stable")
    return take(frames, order), times[order]


def without_doubles(
    frames: Frames, times: pd.Index[Any], duplicates: Duplicates
) -> tuple[Frames, pd.Index[Any]]:
    """Make one frame of those of the same time; times are in order."""
    if times.is_unique:
        return frames, times
    doubles = times[times.duplicated()]
    if duplicates == "raise":
        distinct = doubles.unique()
        raise ValueError(
            f"`times` must be unique, but {counted(len(distinct), 'time')} "
            f"{'has' if len(distinct) == 1 else 'have'} several frames: "
            f"{listed(map(str, distinct[:4]))}; pass duplicates='first' or 'last' to keep one of "
            "them, or 'sum' if each of them counts a part of the flow; drop_zero_frames=True first "
            f"takes out those that are zero; {_CLOCK_CHANGE}"
        )
    if duplicates == "sum":
        starts = np.flatnonzero(~times.duplicated())
        logger.info("Summed %s into others of the same time.", counted(len(doubles), "frame"))
        return np.add.reduceat(frames, starts, axis=0), times[starts]
    kept = ~times.duplicated(keep=duplicates)
    logger.warning(
        "Dropped %d of %d frames: not the %s of their time.", len(doubles), len(times), duplicates
    )
    return take(frames, np.flatnonzero(kept)), times[kept]


def instants(times: pd.Index[Any]) -> NDArray[Any]:
    """Return times as an array, dates in UTC if they have a zone."""
    if isinstance(times, pd.DatetimeIndex) and times.tz is not None:
        times = times.tz_convert(None)
    return times.to_numpy()


def take(frames: Frames, rows: NDArray[np.intp]) -> Frames:
    """Take frames; a view where they follow each other."""
    if len(rows) and (np.diff(rows) == 1).all():
        return frames[rows[0] : rows[-1] + 1]
    return np.asarray(frames[rows])  # the copy of a memory map lies in memory: it is an array


def listed(offenders: Iterable[str]) -> str:
    """Join three offenders; a fourth shows that there are more."""
    shown: Sequence[str] = list(offenders)
    return ", ".join(shown[:3]) + (", ..." if len(shown) > 3 else "")
