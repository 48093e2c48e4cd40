"""Unrollings whose steps are recorded, and then replayed: one launch for each step and way.

On a GPU a step of all layers is hundreds of small kernels, and to launch them takes longer than to
run them. What is recorded fits one kind of unrolling: the first few of a kind run as they are, then
one is recorded before it is replayed, and what turns out otherwise on the way goes on as it is.

One unrolling at a time has the memory of a recording, until its backward pass is done; another one
in between runs as it is. Settings of PyTorch's such as the precision of float32 products are those
at the time of recording.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import cache
from threading import RLock
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import disable_saved_tensors_hooks
from torch.nn.modules import module as torch_module

from darts_mim.nn.fused.states import Reads, leaves_of, signatures_of
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.recorded.kinds import Kind, kinds_of
from darts_mim.nn.recorded.plan import Plan, Subject
from darts_mim.nn.recorded.recording import RECORDERS
from darts_mim.nn.recorded.replay import Place, Run, advance, begin, leave
from darts_mim.nn.unrolling import Step, StepInputs

if TYPE_CHECKING:
    from darts_mim.nn.recurrent import RecurrentNetwork

__all__ = ["RecordedUnrolling", "can_record"]

logger = logging.getLogger(__name__)

_LOCK = RLock()


def can_record(network: RecurrentNetwork[Any], context: Tensor) -> bool:
    """Return whether the steps of a network can be recorded here.

    Code of others that runs within a step would not run in a replay: hooks, other layers, what
    looks at the operations of PyTorch. Dropout draws its masks before the first step.
    """
    device = context.device
    if network.recompute or device.type not in RECORDERS:
        return False
    is_watched = (
        torch._C._len_torch_dispatch_stack() > 0
        or _are_saved_elsewhere()
        or torch.is_anomaly_enabled()
    )
    if is_watched or RECORDERS[device.type].queue_on(device) is None:
        return False
    weights = list(network.parameters())  # none in a replica of nn.DataParallel
    if not weights or any(
        each.dtype != torch.float32 or each.device != device or type(each) is not nn.Parameter
        for each in weights
    ):
        return False
    own = set(network.modules()) - {network}
    own -= set() if network.dropout is None else set(network.dropout.modules())
    if _has_global_hooks() or not all(_is_plain(module) for module in own):
        _log_once("a layer of the network was changed, or has hooks")
        return False
    return True


_PLAIN = (nn.Conv2d, nn.GroupNorm, nn.Identity, nn.ModuleList)

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def _is_plain(module: nn.Module) -> bool:
    is_known = type(module) in _PLAIN or type(module).__module__.startswith("darts_mim.nn.")
    return is_known and not any(getattr(module, name) for name in _HOOKS)


def _has_global_hooks() -> bool:
    return any(getattr(torch_module, f"_global{name}") for name in _HOOKS)


def _are_saved_elsewhere() -> bool:
    """Return whether others decide what becomes of activations, as to compute them again."""
    try:
        with disable_saved_tensors_hooks(""):
            return False
    except RuntimeError:
        return True


class RecordedUnrolling:
    """One unrolling of a network, with its steps recorded if it is of a kind that was seen before.

    Parameters
    ----------
    network
        The network.
    n_steps
        Over how many steps it unrolls.
    unrolling_of
        Returns the fast path for some steps, ``None`` for the plain one: what is recorded, and what
        runs where nothing is.
    """

    def __init__(
        self,
        network: RecurrentNetwork[Any],
        n_steps: int,
        unrolling_of: Callable[[int], FusedUnrolling | None],
    ) -> None:
        self._network, self._n_steps, self._unrolling_of = network, n_steps, unrolling_of
        self._reads: list[Reads] = []
        self._kind = Kind()
        self._unrecorded: Step[Any] | None = None

    def running(self, step: Step[Any]) -> Step[Any]:
        """Return a step that is replayed; to be called for all steps of the unrolling in order."""

        def run(frame: Tensor, state: Any, inputs: StepInputs, /) -> tuple[Tensor, Any]:
            t, read = len(self._reads), [frame, *inputs]
            self._reads.append(signatures_of(read))
            if t == 0:
                state = self._first_state(frame) if state is None else state
                state = self._begin(step, state)
            if isinstance(state, Place) and state.run.plan.reads[t] != self._reads[t]:
                state = leave(state)
            if isinstance(state, Place):
                prediction, state = advance(state, read)
            else:
                prediction, state = self._run_unrecorded(step)(frame, state, inputs)
            is_last = t == self._n_steps - 1
            if is_last:
                self._kind.note(self._reads)
            return prediction, leave(state) if is_last and isinstance(state, Place) else state

        return run

    def _first_state(self, frame: Tensor) -> Any:
        rows, columns = (-(-side // self._network.patch_size) for side in frame.shape[-2:])
        return self._network.initial_state(frame.new_empty(len(frame), 1, rows, columns))

    def _run_unrecorded(self, step: Step[Any]) -> Step[Any]:
        if self._unrecorded is None:
            unrolling = self._unrolling_of(self._n_steps)
            self._unrecorded = step if unrolling is None else unrolling.running(step)
        return self._unrecorded

    def _begin(self, step: Step[Any], state: Any) -> Any:
        """Return the place before the first step, or the state where nothing can be replayed."""
        network, device = self._network, next(self._network.parameters()).device
        trains, autocast = torch.is_grad_enabled(), _autocast_on(device)

        def make_plan(reads: list[Reads]) -> Plan:
            subject = Subject(network, step, self._unrolling_of, autocast, trains)
            return Plan(subject, reads, state, RECORDERS[device.type](device))

        with _LOCK:
            run = self._claim(self._key(state, device), make_plan)
        return state if run is None else begin(run, network.parameters(), state)

    def _claim(self, key: Hashable, make_plan: Callable[[list[Reads]], Plan]) -> Run | None:
        """Return the right to replay, ``None`` where nothing is recorded or is in use."""
        kinds = kinds_of(self._network)
        self._kind = kind = kinds.of(key)
        if kinds.ask_for(kind):
            error = kinds.record(kind, make_plan)
            if error is not None:
                cause = _first_of(error)
                _log_once(f"{type(cause).__name__}: {cause}")
        return None if kind.plan is None else Run.of(kind.plan)

    def _key(self, state: Any, device: torch.device) -> Hashable:
        """Return all that tells kinds of unrollings of a network apart before the first step."""
        return (
            self._n_steps,
            self._reads[0],
            signatures_of(leaves_of(state)),
            tuple(weight.requires_grad for weight in self._network.parameters()),
            (self._network.training, torch.is_grad_enabled(), _autocast_on(device)),
            torch.are_deterministic_algorithms_enabled(),
            (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark),
            RECORDERS[device.type].queue_on(device),
        )


def _first_of(error: BaseException) -> BaseException:
    """Return the error that came before others, such as that of a capture that was broken off."""
    while error.__context__ is not None:
        error = error.__context__
    return error


def _autocast_on(device: torch.device) -> torch.dtype | None:
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None


@cache
def _log_once(reason: str) -> None:
    logger.warning("The steps of the network are not recorded: %s.", reason)
