"""Recorded steps as functions that can be differentiated.

Between the steps goes a zero for the state, which lies where it was recorded: autograd learns of it
in what order the steps go back. What others may keep is copied: predictions, the last state, and
gradients.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd import Function

from darts_mim.nn.fused.layers import refuse_second_derivative
from darts_mim.nn.fused.states import leaves_of, replaced
from darts_mim.nn.recorded.plan import Plan

__all__ = ["Place", "Run", "advance", "begin", "leave"]


class Run:
    """An unrolling that replays a plan, and has its memory as long as a backward pass may come.

    The graph of autograd holds it, and the plan does not: it is gone when nobody can ask for one.

    Parameters
    ----------
    plan
        The plan.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._versions = _versions(plan.weights)
        self._first: Callable[[], Any] = lambda: None

    @classmethod
    def of(cls, plan: Plan) -> Run | None:
        """Return a new unrolling, ``None`` as long as another one may need the memory."""
        last = plan.last_run()
        if isinstance(last, Run) and not last.is_done():
            return None
        run = cls(plan)
        plan.last_run = weakref.ref(run)
        return run

    def note_first(self, node: Any) -> None:
        """Remember the first step's node of the graph, which all backward passes come to."""
        self._first = weakref.ref(node)

    def is_done(self) -> bool:
        """Return whether the last backward pass was one that does not retain the graph."""
        node = self._first()
        try:
            return node is not None and not node.saved_tensors
        except RuntimeError:
            return True

    def begin_backward(self) -> None:
        """Make ready for a backward pass.

        Raises
        ------
        RuntimeError
            If activations or weights are not those of the forward pass any more.
        """
        self.check()
        if _versions(self.plan.weights) != self._versions:
            raise RuntimeError(
                "a weight has been modified by an inplace operation since the forward pass; call "
                "`backward` before the optimizer's step"
            )
        self.plan.begin_backward()

    def check(self) -> None:
        """Refuse a backward pass whose activations were overwritten."""
        if self.plan.last_run() is not self:
            raise RuntimeError(
                "a later forward pass has overwritten the activations of this one, which was "
                "differentiated without `retain_graph=True`; retain the graph, or make the network "
                "with `fast_path=False`"
            )


class Place(NamedTuple):
    """What goes from step to step for a state: the unrolling, the step before, and a zero."""

    run: Run
    t: int
    link: Tensor


def begin(run: Run, weights: Iterable[Tensor], state: Any) -> Place:
    """Bring in the weights and the state before the first step."""
    trained = [weight for weight in weights if weight.requires_grad]
    return Place(run, -1, _Begin.apply(run, len(trained), *trained, *leaves_of(state)))


def advance(place: Place, read: Sequence[Tensor | None]) -> tuple[Tensor, Place]:
    """Replay the next step, which reads a frame and all else; return its prediction, too."""
    run, t, link = place
    prediction, link = _Advance.apply(run, t + 1, link, *read)
    return prediction, Place(run, t + 1, link)


def leave(place: Place) -> Any:
    """Return the state behind a step, as tensors of the caller's own."""
    state = place.run.plan.steps[place.t].state_after
    return replaced(state, iter(_Leave.apply(*place)))


class _Begin(Function):
    """Bring in the state before the first step, and hand out the gradients behind the last one."""

    @staticmethod
    def forward(ctx: Any, run: Run, n_weights: int, *tensors: Tensor | None) -> Tensor:
        ctx.run = run
        _copy(tensors[n_weights:], leaves_of(run.plan.steps[0].state))
        return run.plan.zero.detach()

    @staticmethod
    def backward(ctx: Any, _: Tensor) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        run: Run = ctx.run
        run.check()
        d_state = _clones(run.plan.steps[0].d_state)
        return None, None, *run.plan.weight_gradients(), *d_state


class _Advance(Function):
    """Replay a step."""

    @staticmethod
    def forward(
        ctx: Any, run: Run, t: int, link: Tensor, *read: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        ctx.set_materialize_grads(False)
        ctx.run, ctx.t = run, t
        ctx.save_for_backward(run.plan.zero)  # so that autograd tells when it is done with it
        if t == 0:
            run.note_first(ctx)
        step = run.plan.steps[t]
        _copy(read, step.inputs)
        step.replay()
        prediction: Tensor = step.prediction.detach().clone()
        return prediction, run.plan.zero.detach()

    @staticmethod
    def backward(
        ctx: Any, d_prediction: Tensor | None, d_link: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        run: Run = ctx.run
        (zero,) = ctx.saved_tensors
        run.check()
        step = run.plan.steps[ctx.t]
        if d_link is None:  # nothing behind this step is differentiated
            run.begin_backward()
            _copy([None] * len(step.d_state_after), step.d_state_after)
        _copy([d_prediction], [step.d_prediction])
        step.replay_backward()
        return None, None, zero, *_clones(step.d_inputs)


class _Leave(Function):
    """Hand out the state behind a step, and bring in its gradient."""

    @staticmethod
    def forward(ctx: Any, run: Run, t: int, link: Tensor) -> tuple[Tensor | None, ...]:
        ctx.set_materialize_grads(False)
        ctx.run, ctx.t = run, t
        leaves = leaves_of(run.plan.steps[t].state_after)
        copies = [None if each is None else each.detach().clone() for each in leaves]
        pairs = zip(leaves, copies, strict=True)
        ctx.mark_non_differentiable(
            *(copy for leaf, copy in pairs if leaf is not None and not leaf.requires_grad)
        )
        return tuple(copies)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        refuse_second_derivative()
        run: Run = ctx.run
        run.begin_backward()
        _copy(gradients, run.plan.steps[ctx.t].d_state_after)
        return None, None, run.plan.zero


def _copy(sources: Sequence[Tensor | None], targets: Sequence[Tensor | None]) -> None:
    """Copy tensors, all in one launch where that can be; zeros for what is missing."""
    given: dict[Tensor, Tensor] = {}
    missing: list[Tensor] = []
    for source, target in zip(sources, targets, strict=True):
        if target is not None and source is not None:
            given[target] = source
        elif target is not None:
            missing.append(target)
    if given:
        torch._foreach_copy_(list(given), list(given.values()))
    if missing:
        torch._foreach_zero_(missing)


def _clones(tensors: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [None if each is None else each.clone() for each in tensors]


def _versions(weights: Sequence[Tensor]) -> list[int]:
    return [weight._version for weight in weights]
