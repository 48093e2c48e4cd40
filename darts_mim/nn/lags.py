"""Which frames a network reads: the last ones before the predicted frame, and some long before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Lags(NamedTuple):
    """Frames that the branches of ST-ResNet read; ``STResNetNetwork`` documents the options.

    Attributes
    ----------
    closeness, period, trend
        Number of frames of each branch.
    period_length, trend_length
        Number of time steps between the frames of the branch, and from its last one to the
        predicted frame.
    """

    closeness: int
    period: int
    trend: int
    period_length: int
    trend_length: int

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Lags:
        """Return the lags among the checked options of a network."""
        return cls(*(options[name] for name in cls._fields))

    @property
    def distances(self) -> dict[str, tuple[int, ...]]:
        """How many time steps before the predicted frame each branch reads, the farthest first.

        Examples
        --------
        >>> Lags(closeness=3, period=2, trend=0, period_length=48, trend_length=336).distances
        {'closeness': (3, 2, 1), 'period': (96, 48)}
        """
        lengths = (1, self.period_length, self.trend_length)
        return {
            name: tuple(k * length for k in range(number, 0, -1))
            for name, number, length in zip(_BRANCHES, self[:3], lengths, strict=True)
            if number
        }

    def check_reach(self, name: str, length: int) -> None:
        """Refuse a context that does not reach back to all frames that are read.

        Parameters
        ----------
        name
            What says how long the context is, for the error.
        length
            Number of its frames.

        Raises
        ------
        ValueError
            If it does not.
        """
        branch, (farthest, *_) = max(self.distances.items(), key=lambda each: each[1][0])
        if length >= farthest:
            return
        numbers = self._asdict()
        factors = [each for each in (branch, f"{branch}_length") if each in numbers]
        reach = " x ".join(f"{each}={numbers[each]}" for each in factors)
        raise ValueError(
            f"`{name}` must be at least {farthest}, so that it reaches back to the first frame "
            f"that is read ({reach}), got {length}; give {farthest} or more, or a smaller "
            + " or ".join(f"`{each}`" for each in factors)
        )


_BRANCHES = ("closeness", "period", "trend")
