"""The steps of an unrolling, recorded one by one, and the memory that they share.

Forward they are recorded in order, backward in reverse order. A step reads its state where the step
before it wrote it, and its backward pass reads the state's gradient where that of the step behind
wrote it: between two steps nothing is copied but the frame. All gradients of the weights are summed
up in one piece of memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from darts_mim.nn.fused.states import Reads, Signature, leaves_of, replaced
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.recorded.recording import Recorder, Recording, Work, do_once
from darts_mim.nn.unrolling import Step, StepInputs

__all__ = ["Plan", "RecordedStep", "Subject"]

Record = Callable[[Work], Recording]

ALIGNED = 64
"""Of how many values the places of the gradients are multiples, for the kernels that read them."""


class Subject:
    """What is recorded: the steps of a network, on stand-ins for its weights.

    They share the memory of the weights, and neither their hooks nor their place in the graph.

    Parameters
    ----------
    network, step
        The network, and its step.
    unrolling_of
        Returns the fast path for some steps, ``None`` for the plain one.
    autocast
        Type of mixed precision, ``None`` without.
    trains
        Whether gradients are wanted.

    Attributes
    ----------
    weights
        The stand-ins.
    device
        Where they are.
    """

    def __init__(
        self,
        network: nn.Module,
        step: Step[Any],
        unrolling_of: Callable[[int], FusedUnrolling | None],
        autocast: torch.dtype | None,
        trains: bool,
    ) -> None:
        self._holder, self._step, self._unrolling_of = _Holder(network), step, unrolling_of
        self._autocast, self.trains = autocast, trains
        self.weights = {
            f"network.{name}": weight.detach().requires_grad_(weight.requires_grad)
            for name, weight in network.named_parameters()
        }
        self.device = next(iter(self.weights.values())).device

    def begin(self) -> None:
        """Make ready for an unrolling: weights are brought into the type that is convolved in."""
        self._unrolling: FusedUnrolling | None = self._call(self._unrolling_of, 1)

    def advance(self, frame: Tensor, state: Any, inputs: StepInputs) -> tuple[Tensor, Any]:
        """Take a step, of which a backward pass of its own takes the gradients."""
        unrolling = self._unrolling
        step = self._step if unrolling is None else self._call(unrolling.anew).running(self._step)
        result: tuple[Tensor, Any] = self._call(step, frame, state, inputs)
        return result

    def _call(self, function: Callable[..., Any], *arguments: Any) -> Any:
        kind = self.device.type
        # a weight that autocast keeps from an earlier step would not be read anew in a replay
        autocast = torch.autocast(
            kind, self._autocast, enabled=self._autocast is not None, cache_enabled=False
        )
        with torch.inference_mode(False), torch.set_grad_enabled(self.trains), autocast:
            return functional_call(self._holder, self.weights, (function, *arguments))


class _Holder(nn.Module):
    """A module that calls any function, with a network's weights replaced."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, function: Callable[..., Any], *arguments: Any) -> Any:
        return function(*arguments)


class RecordedStep:
    """A step that was recorded.

    Parameters
    ----------
    reads
        Signatures of its frame, and of what it reads besides.
    state
        The tensors that it reads its state from.

    Attributes
    ----------
    inputs
        The tensors that it reads frame and all else from.
    prediction, state_after
        The tensors that it writes to.
    d_inputs, d_state, d_prediction, d_state_after
        Their gradients, ``None`` where none is wanted.
    replay, replay_backward
        Take the step, and the one back.
    """

    def __init__(self, reads: Reads, state: Any) -> None:
        self.inputs = [None if each is None else _room_for(each) for each in reads]
        own = (each if each is None else _leaf(each) for each in leaves_of(state))
        self.state = replaced(state, own)
        self.replay_backward: Callable[[], None] = lambda: None

    def record(self, subject: Subject, record: Record, is_first: bool) -> None:
        """Record the step forward."""
        recording = record(partial(self._forward, subject, is_first))
        self.replay = recording.replay
        prediction, *leaves = recording.results
        self.prediction: Any = prediction
        self.state_after = replaced(self._state_after, iter(leaves))

    def _forward(self, subject: Subject, is_first: bool) -> list[Tensor | None]:
        if is_first:
            subject.begin()
        frame, *others = self.inputs
        result = subject.advance(frame, self.state, StepInputs(*others))  # type: ignore[arg-type]
        prediction, self._state_after = result
        # they lead to the activations, which stay where they are as long as these do
        self._results = [prediction, *leaves_of(self._state_after)]
        return self._results

    def record_backward(
        self,
        weights: Sequence[Tensor],
        sums: Sequence[Tensor],
        d_state_after: Sequence[Tensor | None],
        record: Record,
    ) -> None:
        """Record the step backward, which adds the gradients of the weights to ``sums``."""
        self.d_prediction, self.d_state_after = _zeros_for(self.prediction), d_state_after
        gradients: Sequence[Tensor | None] = [None] * len(self._read())
        if any(each is not None for each in (self.d_prediction, *d_state_after)):
            recording = record(partial(self._backward, weights, sums))
            gradients, self.replay_backward = recording.results, recording.replay
        found = [
            _zeros_for(each) if gradient is None else gradient
            for each, gradient in zip(self._read(), gradients, strict=True)
        ]
        self.d_inputs, self.d_state = found[: len(self.inputs)], found[len(self.inputs) :]

    def _backward(self, weights: Sequence[Tensor], sums: Sequence[Tensor]) -> list[Tensor | None]:
        wanted = [each for each in self._read() if each is not None and each.requires_grad]
        after = zip(self._results, (self.d_prediction, *self.d_state_after), strict=True)
        outputs, given = zip(*(pair for pair in after if pair[1] is not None), strict=True)
        # backward passes run outside of mixed precision, whatever this one is recorded in
        with torch.autocast(self.prediction.device.type, enabled=False):
            gradients = torch.autograd.grad(
                outputs, [*wanted, *weights], given, retain_graph=True, allow_unused=True
            )
        of_read, of_weights = iter(gradients[: len(wanted)]), gradients[len(wanted) :]
        pairs = [pair for pair in zip(sums, of_weights, strict=True) if isinstance(pair[1], Tensor)]
        if pairs:
            torch._foreach_add_(*(list(each) for each in zip(*pairs, strict=True)))
        return [
            _dense(next(of_read)) if each is not None and each.requires_grad else None
            for each in self._read()
        ]

    def _read(self) -> list[Tensor | None]:
        return [*self.inputs, *leaves_of(self.state)]


class Plan:
    """The recorded steps of an unrolling.

    Parameters
    ----------
    subject
        Whose steps.
    reads
        For each step the signatures of what it reads.
    state
        A state like the one before the first step.
    recorder
        What records.

    Attributes
    ----------
    steps
        The steps.
    zero
        A zero that goes from step to step and back, so that autograd knows their order.
    last_run
        Returns who replayed them last, ``None`` if that is forgotten.
    """

    def __init__(
        self, subject: Subject, reads: Sequence[Reads], state: Any, recorder: Recorder
    ) -> None:
        self.reads, self.weights = list(reads), list(subject.weights.values())
        self._trained = [weight for weight in self.weights if weight.requires_grad]
        self.last_run: Callable[[], object] = lambda: None
        sizes = (-(-weight.numel() // ALIGNED) * ALIGNED for weight in self._trained)
        *self._places, size = accumulate(sizes, initial=0)
        # to leave inference mode alone lets gradients be recorded again
        with torch.inference_mode(False), torch.set_grad_enabled(subject.trains):
            self.zero = torch.zeros((), device=subject.device)
            self._sum = torch.zeros(size, device=subject.device)
            rooms = [None if each is None else _room_like(each) for each in leaves_of(state)]
            state = replaced(state, iter(rooms))
            recorder.warm_up(partial(self._record, subject, state, do_once))
            self.steps = self._record(subject, state, recorder.record)

    def begin_backward(self) -> None:
        """Forget the gradients of the weights from an earlier backward pass."""
        self._sum.zero_()

    def weight_gradients(self) -> list[Tensor]:
        """Return copies of the gradients of the weights."""
        return self._split(self._sum.clone())

    def _record(self, subject: Subject, state: Any, record: Record) -> list[RecordedStep]:
        steps: list[RecordedStep] = []
        for t, reads in enumerate(self.reads):
            step = RecordedStep(reads, state)
            step.record(subject, record, is_first=t == 0)
            steps.append(step)
            state = step.state_after
        gradients = [_zeros_for(each) for each in leaves_of(state)]
        sums = self._split(self._sum)
        for step in reversed(steps):
            step.record_backward(self._trained, sums, gradients, record)
            gradients = step.d_state
        return steps

    def _split(self, values: Tensor) -> list[Tensor]:
        """Return the places of the weights in a piece of memory, laid out as these."""
        return [
            values.as_strided(weight.shape, _strides_of(weight), place)
            for weight, place in zip(self._trained, self._places, strict=True)
        ]


def _room_for(signature: Signature) -> Tensor:
    shape, kind, device, requires_grad = signature
    return torch.zeros(shape, dtype=kind, device=device).requires_grad_(requires_grad)


def _room_like(tensor: Tensor) -> Tensor:
    requires_grad = tensor.requires_grad and torch.is_grad_enabled()
    return torch.zeros_like(tensor).requires_grad_(requires_grad)


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


def _zeros_for(tensor: Tensor | None) -> Tensor | None:
    """Return room for a tensor's gradient, if it has one."""
    return None if tensor is None or not tensor.requires_grad else torch.zeros_like(tensor)


def _dense(gradient: Tensor | None) -> Tensor | None:
    """Return a gradient of which each value has a place of its own, so that it can be zeroed."""
    return gradient if gradient is None or 0 not in gradient.stride() else gradient.contiguous()


def _strides_of(weight: Tensor) -> tuple[int, ...]:
    return torch.empty_like(weight, device="meta").stride()
