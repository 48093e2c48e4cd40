"""Frame rates: what a user asks for, and what the times of a clip say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from darts_mim.checks import checked_number

# The float nearest to a rate such as 30000/1001 gives that rate back.
_LARGEST_DENOMINATOR = 100_000


def checked_rate(fps: Any, most: float = math.inf) -> Fraction:
    """Return frames per second, at most `most`, as the fraction they stand for.

    Examples
    --------
    >>> checked_rate(29.97002997002997), checked_rate(12.5)
    (Fraction(30000, 1001), Fraction(25, 2))
    """
    number = checked_number("fps", fps, 1 / _LARGEST_DENOMINATOR, most)
    return Fraction(number).limit_denominator(_LARGEST_DENOMINATOR)


def hundredths(count: int, rate: Fraction) -> list[int]:
    """Divide the time of frames into whole hundredths of a second, as evenly as possible.

    Examples
    --------
    >>> hundredths(4, Fraction(40))
    [2, 3, 3, 2]
    """
    ends = [round(100 * number / rate) for number in range(count + 1)]
    return [end - start for start, end in pairwise(ends)]


def constant_rate(
    times: Sequence[Fraction | None], tick: Fraction, stated: Fraction | None, path: Path
) -> Fraction | None:
    """Find the frames per second of a clip, which must be the same throughout.

    Parameters
    ----------
    times
        When the frames are shown, in seconds.
    tick
        The unit of the times, in seconds.
    stated
        The rate that the clip states.
    path
        The clip, for messages.

    Returns
    -------
    Fraction or None
        The stated rate where every time agrees with it to a tick, else the mean rate. None if the
        clip has neither a rate nor times.

    Raises
    ------
    ValueError
        If a frame is shown further from its time at the mean rate than a fifth of a frame, or a
        tick where the clip rounds its times.
    """
    known = [time for time in times if time is not None]
    if len(known) < max(2, len(times)) or known[-1] <= known[0]:
        return stated
    shown = np.array([time - known[0] for time in known], np.float64)
    numbers = np.arange(len(shown))
    # a tick of a frame's length, as in AVI files, rounds nothing
    rounding = float(tick) if 2 * tick * (len(known) - 1) <= known[-1] - known[0] else 0.0
    if stated is not None and np.abs(shown - numbers / float(stated)).max() <= rounding + 1e-9:
        return stated
    mean = (len(known) - 1) / (known[-1] - known[0])
    expected = numbers / float(mean)
    worst = int(np.abs(shown - expected).argmax())
    if abs(shown[worst] - expected[worst]) > max(rounding, 0.2 / float(mean)):
        usual = 1 / max(np.median(np.diff(shown)), 1e-3)
        raise ValueError(
            f"`path`: {str(path)!r} has no constant frame rate: frame {worst} is shown at "
            f"{shown[worst]:.4g} s, but would be at {expected[worst]:.4g} s at its mean rate; pass "
            f"`fps`, for example fps={usual:.3g}, to read it by its time stamps"
        )
    return mean
