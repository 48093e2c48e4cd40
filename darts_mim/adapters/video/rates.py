"""Frame rates: when the frames of a clip are shown, and how they become regular."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

# The float nearest to a rate such as 30000/1001 gives that rate back; so does that of 1 per day.
_LARGEST_DENOMINATOR = 100_000


@dataclass(frozen=True)
class Moment:
    """A decoded frame, and when it is shown.

    Attributes
    ----------
    frame
        A frame of PyAV.
    time
        When it is first shown, in seconds, as far as the clip says.
    duration
        How long, in seconds, as far as the clip says.
    """

    frame: Any
    time: Fraction | None
    duration: Fraction | None


# Any: what narrows the type, `numbers.Real`, means nothing to a type checker.
def checked_rate(fps: Any) -> Fraction:
    """Return frames per second as the fraction they stand for.

    Examples
    --------
    >>> checked_rate(29.97002997002997), checked_rate(12.5)
    (Fraction(30000, 1001), Fraction(25, 2))
    """
    if isinstance(fps, bool) or not isinstance(fps, Real):
        raise TypeError(
            f"`fps` must be a number of frames per second, got {fps!r} of type "
            f"{type(fps).__name__}; pass for example 25"
        )
    number = float(fps)
    if not 0 < number < float("inf"):
        raise ValueError(f"`fps={fps}` must be positive and finite; pass for example 25")
    rate = Fraction(number).limit_denominator(_LARGEST_DENOMINATOR)
    if rate == 0:
        raise ValueError(
            f"`fps={fps}` must be at least one frame in {_LARGEST_DENOMINATOR} seconds; pass the "
            "rate of a film, for example 4, and the times of the frames as `start` and `freq`"
        )
    return rate


def hundredths(count: int, rate: Fraction) -> list[int]:
    """Divide the time of frames into whole hundredths of a second, as evenly as it goes.

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
        The unit of the times, in seconds: they are rounded to it.
    stated
        The rate that the clip states.
    path
        The clip, for messages.

    Returns
    -------
    Fraction or None
        What the clip states where the times agree but for their rounding, else what they say. None
        if nothing says it.

    Raises
    ------
    ValueError
        If a frame is shown for less than half or more than one and a half times as long as most
        (times are rounded in files, so some difference is normal), or before the one before it.
    """
    known = [time for time in times if time is not None]
    if len(known) < max(2, len(times)):
        return stated
    steps = np.diff(np.array(known, np.float64))
    if steps.min() < 0:
        raise _backwards(int(np.argmin(steps)) + 1, path)
    typical = float(np.median(steps))
    slack = 1e-6 * typical
    if steps.min() < typical / 2 - slack or steps.max() > 1.5 * typical + slack:
        odd = int(np.argmax(np.abs(steps - typical)))
        raise ValueError(
            f"`path`: {str(path)!r} has no constant frame rate: most frames are shown for "
            f"{typical:.4g} s, frame {odd} for {steps[odd]:.4g} s; pass `fps`, for example "
            f"fps={_readable(typical)}, to read it at a constant rate by its time stamps"
        )
    span = known[-1] - known[0]
    if stated is not None and abs((len(known) - 1) / stated - span) <= tick:
        return stated
    return (len(known) - 1) / span


def at_rate(
    moments: Iterable[Moment], fps: Fraction, tick: Fraction, stated: Fraction | None, path: Path
) -> Iterator[Moment]:
    """Repeat and leave out frames so that they follow each other in constant steps.

    At every time k / fps after the first frame stands the frame that a player shows then.

    Parameters
    ----------
    moments
        The frames of a clip.
    fps
        Frames per second to make.
    tick
        The unit of the clip's times, in seconds: they are rounded to it.
    stated
        The rate that the clip states, for frames without times.
    path
        The clip, for messages.

    Yields
    ------
    Moment
        The frames at the new rate; together they last as long as the clip, to half a frame.

    Raises
    ------
    ValueError
        If the times of the frames are not known or go back.
    """
    shown: Moment | None = None
    first = time = step = Fraction(0)
    made = 0
    for number, moment in enumerate(moments):
        before, time = time, _time(moment, number, stated, path)
        if shown is None:
            first = before = time
        elif time < before:
            raise _backwards(number, path)
        step = time - before
        while shown is not None and made / fps + tick / 2 <= time - first:
            yield shown
            made += 1
        shown = moment
    if shown is not None:
        last = shown.duration or step or 1 / (stated or fps)
        for _ in range(made, max(1, _rounded((time - first + last) * fps))):
            yield shown


def _time(moment: Moment, number: int, stated: Fraction | None, path: Path) -> Fraction:
    if moment.time is not None:
        return moment.time
    if stated is None:
        raise ValueError(
            f"`path`: {str(path)!r} says neither when its frames are shown nor how many a second; "
            "leave out `fps` to take the frames as they come"
        )
    return number / stated


def _backwards(number: int, path: Path) -> ValueError:
    return ValueError(
        f"`path`: {str(path)!r} goes back in time: frame {number} is shown before frame "
        f"{number - 1}; convert the clip, for example with `ffmpeg -i clip.avi clip.mp4`"
    )


def _rounded(value: Fraction) -> int:
    """Round half up."""
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def _readable(interval: float) -> float | int:
    rate = 1 / interval if interval > 0 else 25.0
    return round(rate) if rate >= 5 else float(f"{rate:.3g}")
