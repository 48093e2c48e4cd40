"""Scheduled sampling: how often training feeds the network a true frame.

A recurrent network that forecasts reads its own predictions. Training may feed it the true
frames instead, more often at first and less and less as training goes on. Everything here is a
pure function of the training step, so that a resumed run continues where it stopped.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from darts_mim.checks import checked_integer, checked_number
from darts_mim.nn.seeding import keyed_generator

Shape = Literal["constant", "linear", "exponential", "sigmoid"]
_SHAPES = ("constant", "linear", "exponential", "sigmoid")


@dataclass(frozen=True)
class Schedule:
    """A probability that moves from ``start`` to ``end`` as training goes on.

    With s = ``steps`` and x the number of steps since ``begin`` divided by s, the share of the
    way gone is

    - ``"constant"``: 0;
    - ``"linear"``: x, and 1 from x = 1 on;
    - ``"exponential"``: 1 - exp(-x);
    - ``"sigmoid"``: 1 - s / (s + exp(x)), the inverse sigmoid of [1]_: 1 / (s + 1) of the way is
      gone at x = 0, half of it at x = log(s).

    Parameters
    ----------
    shape
        One of ``"constant"``, ``"linear"``, ``"exponential"`` and ``"sigmoid"``.
    start
        Probability from which the schedule moves away, in [0, 1].
    end
        Probability that the schedule moves to, in [0, 1].
    steps
        Length s of the decay in optimizer steps, at least 1.
    begin
        Optimizer step at which the decay begins, at least 0.
    until
        Optimizer step from which the probability is ``end``, whatever the shape; ``None`` for
        never.

    Raises
    ------
    TypeError
        If a parameter is of a wrong type.
    ValueError
        If a parameter is out of its range.

    References
    ----------
    .. [1] S. Bengio et al., "Scheduled Sampling for Sequence Prediction with Recurrent Neural
       Networks", NeurIPS 2015, section 2.4.

    Examples
    --------
    >>> Schedule("linear", start=1.0, end=0.0, steps=100)(25)
    0.75
    """

    shape: Shape = "linear"
    start: float = 1.0
    end: float = 0.0
    steps: int = 1
    begin: int = 0
    until: int | None = None

    def __post_init__(self) -> None:
        if self.shape not in _SHAPES:
            raise ValueError(f"`shape` must be one of {_SHAPES}, got {self.shape!r}")
        values = {
            "start": checked_number("start", self.start, 0.0, 1.0),
            "end": checked_number("end", self.end, 0.0, 1.0),
            "steps": checked_integer("steps", self.steps),
            "begin": checked_integer("begin", self.begin, least=0),
            "until": None if self.until is None else checked_integer("until", self.until, least=0),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if self.until is not None and self.until < self.begin:
            raise ValueError(
                f"`until` must not lie before `begin` ({self.begin}), got {self.until}"
            )

    def __call__(self, step: int) -> float:
        """Return the probability at an optimizer step.

        Parameters
        ----------
        step
            Number of optimizer steps taken so far, at least 0.

        Returns
        -------
        float
            Probability in [0, 1].
        """
        if self.until is not None and step >= self.until:
            return self.end
        return self.start + (self.end - self.start) * self._share_gone(step)

    def _share_gone(self, step: int) -> float:
        x = max(step - self.begin, 0) / self.steps
        if self.shape == "linear":
            return min(x, 1.0)
        if self.shape == "exponential":
            return -math.expm1(-x)
        if self.shape == "sigmoid":
            # 1 - s / (s + exp(x)), written so that a large x cannot overflow
            return 1.0 / (1.0 + self.steps * math.exp(-x))
        return 0.0


@dataclass(frozen=True)
class ScheduledSampling:
    """Which frames training feeds the network: true ones, or its own predictions.

    Two probabilities of feeding the true frame, one over the context (from its second frame on)
    and one over the horizon. At 1 a frame is always true (teacher forcing), at 0 always the
    network's own prediction (free running). Validation and prediction never use it.

    The named constructors cover the schedules of the literature; build other ones from two
    ``Schedule`` objects.

    Parameters
    ----------
    horizon
        Probability of feeding a true frame of the horizon.
    context
        Probability of feeding a true frame of the context, by default always 1.

    Raises
    ------
    TypeError
        If ``horizon`` or ``context`` is not a ``Schedule``.

    Examples
    --------
    >>> sampling = ScheduledSampling.linear(steps=50_000)
    >>> sampling.horizon(0), sampling.horizon(25_000), sampling.horizon(60_000)
    (1.0, 0.5, 0.0)
    >>> reverse = ScheduledSampling.reverse()
    >>> reverse.context(0), reverse.context(50_000), reverse.horizon(37_500)
    (0.5, 1.0, 0.25)
    """

    horizon: Schedule
    context: Schedule = Schedule("constant", start=1.0)

    def __post_init__(self) -> None:
        for name in ("horizon", "context"):
            if not isinstance(getattr(self, name), Schedule):
                raise TypeError(
                    f"`{name}` must be a Schedule, got {type(getattr(self, name)).__name__}; "
                    "use ScheduledSampling.linear(steps=...) or another named constructor"
                )

    @classmethod
    def linear(cls, steps: int, start: float = 1.0, end: float = 0.0) -> ScheduledSampling:
        """Decay linearly over ``steps`` optimizer steps (50,000 in the paper's experiments)."""
        return cls(Schedule("linear", start, end, steps))

    @classmethod
    def exponential(cls, steps: int, start: float = 1.0, end: float = 0.0) -> ScheduledSampling:
        """Decay exponentially; after ``steps`` optimizer steps 1 / e of the way is left."""
        return cls(Schedule("exponential", start, end, steps))

    @classmethod
    def sigmoid(cls, steps: int, start: float = 1.0, end: float = 0.0) -> ScheduledSampling:
        """Decay as an inverse sigmoid; half the way is gone after steps * log(steps)."""
        return cls(Schedule("sigmoid", start, end, steps))

    @classmethod
    def reverse(
        cls, begin: int = 25_000, until: int = 50_000, steps: int = 5_000
    ) -> ScheduledSampling:
        """Return the reverse scheduled sampling of PredRNN-V2.

        Over the context the probability of a true frame rises exponentially from 0.5 to 1, so
        that the encoder learns to forecast before it is given every frame; over the horizon it
        falls linearly from 0.5 to 0. Both rest at 0.5 before ``begin`` and are done at ``until``.

        Parameters
        ----------
        begin
            Optimizer step at which both begin to move.
        until
            Optimizer step at which both are done.
        steps
            Time constant of the context's exponential, in optimizer steps.

        Returns
        -------
        ScheduledSampling
            The two schedules.

        References
        ----------
        .. [1] Y. Wang et al., "PredRNN: A Recurrent Neural Network for Spatiotemporal Predictive
           Learning", IEEE TPAMI 2022, section 3.4.
        """
        return cls(
            horizon=Schedule("linear", 0.5, 0.0, max(until - begin, 1), begin, until),
            context=Schedule("exponential", 0.5, 1.0, steps, begin, until),
        )

    def draw(
        self, step: int, *, batch: int, context: int, horizon: int, key: tuple[int, ...]
    ) -> Tensor:
        """Draw which input frames are true at an optimizer step.

        A pure function of its arguments. The first frame of the context has no prediction to
        replace it and the last frame of the horizon is never fed, which leaves
        ``context + horizon - 2`` draws for a sequence.

        Parameters
        ----------
        step
            Number of optimizer steps taken so far.
        batch
            Number of sequences B.
        context, horizon
            Numbers of frames, each at least 1.
        key
            What else the draws depend on: the seed of the run, and what tells apart batches that
            are drawn for at the same step.

        Returns
        -------
        Tensor
            Booleans of shape (B, context + horizon - 2) on the CPU, ``True`` for a true frame.
        """
        probability = torch.tensor(
            [self.context(step)] * (context - 1) + [self.horizon(step)] * (horizon - 1),
            device="cpu",
        )
        generator = keyed_generator("scheduled sampling", *key, step)
        size = (batch, context + horizon - 2)
        draws = torch.rand(size, generator=generator, device="cpu")
        return draws < probability


class HalfTeacherForced:
    """Feed true frames all the way in about half of the sequences, and over the context in all.

    What models of distributions train with: they learn from the true frames to continue a sampled
    path, and in free running to say what is known of each frame from the context alone.
    """

    def draw(
        self, step: int, *, batch: int, context: int, horizon: int, key: tuple[int, ...]
    ) -> Tensor:
        """Draw which input frames are true, with arguments as in ``ScheduledSampling.draw``."""
        generator = keyed_generator("teacher forcing", *key, step)
        is_forced = torch.rand((batch, 1), generator=generator, device="cpu") < 0.5
        context_is_true = torch.ones(batch, context - 1, dtype=torch.bool, device="cpu")
        return torch.cat([context_is_true, is_forced.expand(-1, horizon - 1)], dim=1)
