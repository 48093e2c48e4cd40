"""Unroll one-step networks over the frames of a context and of a horizon.

Legend: B batch, T time, C channels, H height, W width, S = T - 1 + horizon steps of an unrolling.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

State = TypeVar("State")


class StepInputs(NamedTuple):
    """The inputs of a network at one step besides the frame.

    Attributes
    ----------
    planes
        Fields on the grid of the frames, of shape (B, E, H, W).
    scalars
        Numbers that hold for the whole grid, of shape (B, F).
    observed
        Where the frame's values were observed, rather than predicted, as booleans (B, C, H, W);
        ``None`` for everywhere.
    """

    planes: Tensor | None = None
    scalars: Tensor | None = None
    observed: Tensor | None = None


class Inputs(NamedTuple):
    """The inputs of a network besides the frames: at step t, those of the step from t to t+1.

    Attributes
    ----------
    planes
        Fields on the grid of the frames, of shape (B, S, E, H, W).
    constants
        Fields that do not change with time, of shape (B, E', H, W).
    scalars
        Numbers that hold for the whole grid, of shape (B, S, F).
    """

    planes: Tensor | None = None
    constants: Tensor | None = None
    scalars: Tensor | None = None

    def at(self, t: int, observed: Tensor | None = None) -> StepInputs:
        """Return what is read at step t, where some of the frame's values were ``observed``."""
        planes = None if self.planes is None else self.planes[:, t]
        if planes is None or self.constants is None:
            planes = self.constants if planes is None else planes
        else:
            planes = torch.cat([planes, self.constants], dim=1)
        scalars = None if self.scalars is None else self.scalars[:, t]
        return StepInputs(planes, scalars, observed)


class FedFrame(NamedTuple):
    """A frame that stands in for one that is not known.

    Attributes
    ----------
    values
        The frame, of shape (B, C, H, W).
    observed
        Which of its values to count as observed, broadcastable to it; ``None`` for all.
    """

    values: Tensor
    observed: Tensor | None = None

    def unless_true(self, is_true: Tensor, true: Tensor) -> FedFrame:
        """Return the frame in which values are ``true`` ones where booleans say so."""
        observed = None if self.observed is None else is_true | self.observed
        return FedFrame(torch.where(is_true, true, self.values), observed)


class FeedBack(Protocol):
    """A function that makes the frame to feed of its prediction."""

    def __call__(self, prediction: Tensor, step: int, /) -> FedFrame:
        """Return the frame (B, C, H, W) for a prediction (B, C', H, W).

        ``step`` is the frame's index, from 0 for the first frame of the context on.
        """


def feed_prediction(prediction: Tensor, step: int) -> FedFrame:
    """Feed a prediction as it stands; see ``FeedBack``.

    Examples
    --------
    >>> feed_prediction(torch.zeros(1, 2, 3, 4), step=10).values.shape
    torch.Size([1, 2, 3, 4])
    """
    return FedFrame(prediction)


class Step(Protocol[State]):
    """One step of a network: a frame and a state in, the next frame and the new state out."""

    def __call__(
        self, frame: Tensor, state: State | None, inputs: StepInputs, /
    ) -> tuple[Tensor, State]:
        """Return a prediction (B, C', H, W) and the new state."""


def flags_of(frame: Tensor, observed: Tensor | None) -> Tensor:
    """Return as 0 and 1, of the shape of a frame, which of its values were observed.

    Parameters
    ----------
    frame
        Frame of shape (B, C, H, W).
    observed
        Booleans that can be broadcast to it; ``None`` for all.

    Returns
    -------
    Tensor
        Flags of shape (B, C, H, W).
    """
    if observed is None:
        return torch.ones_like(frame)
    return observed.to(frame).expand_as(frame)


def unroll(
    step: Step[State],
    context: Tensor,
    horizon: int,
    *,
    future: Tensor | None = None,
    feed_true: Tensor | None = None,
    observed: Tensor | None = None,
    inputs: Inputs | None = None,
    feed_back: FeedBack = feed_prediction,
    state: State | None = None,
    recompute: bool = False,
) -> tuple[Tensor, State]:
    """Encode the frames of a context, then predict the frames of a horizon one by one.

    Parameters
    ----------
    step
        A function from a frame (B, C, H, W), a state (``None`` before the first frame) and what
        else the step reads to a prediction of the next frame (B, C', H, W) and the new state.
    context
        Known frames of shape (B, T, C, H, W), T at least 1.
    horizon
        Number of frames to predict after the context, at least 1.
    future
        True frames of the horizon, of shape (B, horizon, C, H, W); needed beside ``feed_true``.
    feed_true
        Booleans of shape (B, T + horizon - 2): which input frames, from the second one on, are
        true ones rather than the network's own predictions. By default all frames of the
        context and none of the horizon.
    observed
        Booleans (B, T, C, H, W) beside the context, or (B, T + horizon, C, H, W) beside context
        and future: which values are known. By default all. An unknown value is fed from the
        prediction; in the first frame, which no prediction precedes, it is fed as it stands.
    inputs
        What the step reads besides the frames.
    feed_back
        Makes the frame that is fed of a prediction and the frame's index, where C' is not C or
        where not all of the prediction is to be fed. It is called in order, once for each frame of
        the horizon but the last, and for those frames of the context of which some values may be
        unknown or not true. A network that unrolls by itself has to call it so.
    state
        State to carry on from, as returned by an earlier call.
    recompute
        Whether to keep of each step what it was called with alone, where gradients are wanted, and
        to compute the rest of it again in the backward pass. Outputs and gradients are the same.

    Returns
    -------
    predictions
        The prediction of the frame after each input frame, of shape
        (B, T - 1 + horizon, C', H, W); the last ``horizon`` of them are the forecast.
    state
        State after the last input frame, which is the last but one of the horizon.

    Examples
    --------
    A step that keeps no state and predicts half of what it reads:

    >>> def halve(frame, state, inputs):
    ...     return frame / 2, None
    >>> context = torch.full((1, 2, 1, 4, 4), 8.0)
    >>> predictions, _ = unroll(halve, context, horizon=3)
    >>> predictions[0, :, 0, 0, 0]  # of the second frame, then of the horizon
    tensor([4., 4., 2., 1.])
    """
    length = context.shape[1]
    n_steps = length + horizon - 1
    known = context if future is None else torch.cat([context, future[:, :-1]], dim=1)
    inputs = Inputs() if inputs is None else inputs
    first = None if observed is None else observed[:, 0]
    # the last step is the first of the backward pass, which would recompute it at once
    steps = [_recomputed(step) if recompute else step] * (n_steps - 1) + [step]
    prediction, state = steps[0](context[:, 0], state, inputs.at(0, first))
    predictions = [prediction]
    for t in range(1, n_steps):
        is_free = feed_true is None and t >= length
        is_true = None if feed_true is None else feed_true[:, t - 1, None, None, None]
        if observed is not None and not is_free:
            is_true = observed[:, t] if is_true is None else observed[:, t] & is_true
        if is_free:
            frame, is_known = feed_back(prediction, t)
        elif is_true is None:
            frame, is_known = known[:, t], None
        else:
            frame, is_known = feed_back(prediction, t).unless_true(is_true, known[:, t])
        prediction, state = steps[t](frame, state, inputs.at(t, is_known))
        predictions.append(prediction)
    return torch.stack(predictions, dim=1), state


def _recomputed(step: Step[State]) -> Step[State]:
    """Return a step of which the backward pass recomputes what it needs, its random draws alike."""

    def recomputed(frame: Tensor, state: State | None, inputs: StepInputs) -> tuple[Tensor, State]:
        if not torch.is_grad_enabled():
            return step(frame, state, inputs)
        result: tuple[Tensor, State] = checkpoint(step, frame, state, inputs, use_reentrant=False)
        return result

    return recomputed
