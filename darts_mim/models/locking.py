"""Threads take turns with the models.

Darts keeps what ``predict`` was asked for on the model, and seeds torch's random state, of which
there is one for all threads. Calls that use either wait for each other, also those of two models.
The bound: a thread that draws from torch's random state by other means, such as a model of Darts'
own, still shifts the draws of a call that runs at the same time.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_turn = threading.RLock()  # a call may call others


def one_at_a_time(method: Callable[P, T]) -> Callable[P, T]:
    """Let calls of a method wait until no other thread is in any method decorated so."""

    @wraps(method)
    def waiting(*args: P.args, **kwargs: P.kwargs) -> T:
        with _turn:
            return method(*args, **kwargs)

    return waiting
