"""Kinds of unrollings, and which of them are recorded.

A kind is what is known before the first step; what the other steps read is seen when an unrolling
has come to its end. To record takes as long as several unrollings. So what comes seldom, like the
last batch of an epoch, is not recorded soon, nor are the forecasts of a model that goes to the GPU
and back for each of them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any
from weakref import WeakKeyDictionary

from torch import nn

from darts_mim.nn.fused.states import Reads
from darts_mim.nn.recorded.plan import Plan

__all__ = ["Kind", "Kinds", "forget_recordings", "kinds_of"]

MOST_PLANS = 4
"""Of how many kinds of unrollings a network keeps what was recorded, each with its activations."""

MOST_KINDS = 64
"""How many kinds of unrollings of a network are remembered at all."""

N_SEEN = 4
"""How many unrollings of a kind come before one is recorded, as many as are taken for it."""

PATIENCE = 200
"""After how many unrollings what was not replayed any more makes room for others."""

MOST_CHANGES = 3
"""How often the unrollings of a kind may turn out otherwise before none is recorded any more."""


class Kind:
    """What is known of a kind of unrolling.

    Attributes
    ----------
    reads
        What its steps read, ``None`` before one has come to its end, or where it cannot be told.
    plan
        Its recorded steps.
    n_seen
        How often it was met since the weights are where they are.
    used
        When it was met last.
    """

    def __init__(self) -> None:
        self.reads: list[Reads] | None = None
        self.plan: Plan | None = None
        self.n_seen = self.used = 0
        self._changes = 0

    def note(self, reads: list[Reads]) -> None:
        """Remember what the steps of an unrolling have read."""
        if reads == self.reads or self._changes > MOST_CHANGES:
            return
        self._changes += self.reads is not None
        self.plan, self.reads = None, reads if self._changes <= MOST_CHANGES else None


class Kinds:
    """The kinds of unrollings of a network.

    Attributes
    ----------
    has_failed
        Whether recording has failed in this process: memory that a device has set apart for what
        was to be recorded may be lost, so nobody tries again.
    """

    has_failed = False

    def __init__(self) -> None:
        self._places: list[Any] = []
        self._kinds: OrderedDict[Hashable, Kind] = OrderedDict()
        self._now = 0

    def look_at(self, network: nn.Module) -> None:
        """Forget what was recorded if the weights are elsewhere by now."""
        places = [(each.data_ptr(), each.shape, each.stride()) for each in network.parameters()]
        if places != self._places:
            self._places = places
            self.forget()

    def forget(self) -> None:
        """Forget what was recorded."""
        for kind in self._kinds.values():
            kind.plan, kind.n_seen = None, 0

    def of(self, key: Hashable) -> Kind:
        """Return a kind, a new one for a new key."""
        self._now += 1
        kind = self._kinds.setdefault(key, Kind())
        kind.used, kind.n_seen = self._now, kind.n_seen + 1
        self._kinds.move_to_end(key)
        if len(self._kinds) > MOST_KINDS:
            self._kinds.popitem(last=False)
        return kind

    def ask_for(self, kind: Kind) -> bool:
        """Return whether a kind is to be recorded now; what was not used for long makes room."""
        is_due = kind.reads is not None and kind.n_seen > N_SEEN
        if self.has_failed or kind.plan is not None or not is_due:
            return False
        recorded = [each for each in self._kinds.values() if each.plan is not None]
        if len(recorded) < MOST_PLANS:
            return True
        if self._now - recorded[0].used < PATIENCE:
            return False
        recorded[0].plan = None
        return True

    def record(self, kind: Kind, make_plan: Callable[[list[Reads]], Plan]) -> Exception | None:
        """Record a kind; return why it cannot be done, after which nothing is recorded any more."""
        try:
            kind.plan = make_plan(kind.reads or [])
        except Exception as error:
            Kinds.has_failed = True
            return error
        return None


# beside the networks: what was recorded is neither copied nor saved with them
_KINDS: WeakKeyDictionary[nn.Module, Kinds] = WeakKeyDictionary()


def kinds_of(network: nn.Module) -> Kinds:
    """Return the kinds of a network's unrollings that are known."""
    kinds = _KINDS.setdefault(network, Kinds())
    kinds.look_at(network)
    return kinds


def forget_recordings(network: nn.Module) -> None:
    """Forget what was recorded of a network, and give its memory back."""
    kinds = _KINDS.get(network)
    if kinds is not None:
        kinds.forget()
