"""What the calls of functions in C take on a CPU, whatever the grid is: all but the functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch

from benchmarks.networks import fast_path, native, winograd
from benchmarks.options import Case, Options, PartSkippedError
from benchmarks.timing import in_turn, medians, ratio, rounded, timed
from benchmarks.workload import (
    MEASURED,
    Measured,
    TrainingStep,
    Workload,
    describe,
    describe_frames,
    workload_of,
)

ONCE_A_BATCH = ("winograd_evaluate", "winograd_read")


def cases(options: Options) -> list[Case]:
    """Return a row for training steps and one for rollouts, in each precision."""
    if options.device != "cpu":
        raise PartSkippedError("on a GPU there are no functions in C")
    setting, width = options.sizes.settings[0], options.sizes.widths[0]
    workloads = [
        workload_of(options, setting, width, precision) for precision in options.precisions
    ]
    return [
        Case(
            {"measured": f"calls of a {measured}", **describe(workload), "rounds": options.rounds},
            partial(compare, workload, measured, options.rounds),
        )
        for measured in MEASURED
        for workload in workloads
    ]


def compare(workload: Workload, measured: Measured, rounds: int) -> dict[str, Any]:
    """Time all of it, and in turn the same with functions in C that do nothing.

    The latter of a single sequence and without the optimizer, so that what PyTorch computes by
    itself is as little as can be.
    """
    alone = replace(workload, setting=workload.setting._replace(batch=1))
    work = alone.work(measured, "fast")
    if isinstance(work, TrainingStep):
        work = work.gradients
    with idle_kernels():
        calls = timed(work, workload.device)
    measures = {
        "all": timed(workload.work(measured, "fast"), workload.device),
        "calls": _while_idle(calls),
    }
    times = in_turn(measures, rounds)
    return {
        **describe_frames(workload.setting),
        "calls_batch": 1,
        "seconds": medians(times),
        "calls_over_all": ratio(times, "calls", over="all"),
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


@contextmanager
def idle_kernels() -> Iterator[None]:
    """Let the functions in C do nothing, but for those that evaluate weights, once a batch."""
    bind, library_of_c = native.bound, ctypes.CDLL(None)

    def bound(library: ctypes.CDLL, name: str, arguments: list[Any]) -> Any:
        if name.startswith(ONCE_A_BATCH):
            return bind(library, name, arguments)
        return bind(library_of_c, "abs", arguments)  # which reads no more than the first

    _forget()
    try:
        with patch.object(native, "bound", bound), patch.object(winograd, "bound", bound):
            yield
    finally:
        _forget()


def _forget() -> None:
    fast_path._built_kernels.cache_clear()
    fast_path._DECISIONS.clear()


def _while_idle(measure: Callable[[], float]) -> Callable[[], float]:
    def idle() -> float:
        with idle_kernels():
            return measure()

    return idle
