"""What it takes to recompute activations in the backward pass, and what it saves."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.options import Case, Options, PartSkippedError
from benchmarks.processes import peak_memory
from benchmarks.timing import in_turn, medians, ratio, rounded, timed
from benchmarks.workload import VARIANTS, Workload, describe, describe_frames, workload_of


def cases(options: Options) -> list[Case]:
    """Return a row for each precision."""
    if options.device != "cpu":
        raise PartSkippedError("on a GPU steps that are recomputed take the plain path")
    setting, width = options.sizes.settings[0], options.sizes.widths[0]
    workloads = [
        workload_of(options, setting, width, precision) for precision in options.precisions
    ]
    return [
        Case(
            {"measured": "recomputation", **describe(workload), "rounds": options.rounds},
            partial(compare, workload, options.rounds),
        )
        for workload in workloads
    ]


def compare(workload: Workload, rounds: int) -> dict[str, Any]:
    """Time a training step with and without recomputation in turn, and measure its memory."""
    steps = {name: workload.training_step(name) for name in VARIANTS}
    times = in_turn({name: timed(step, workload.device) for name, step in steps.items()}, rounds)
    mib = {name: peak_memory(workload, name) for name in VARIANTS}
    return {
        **describe_frames(workload.setting),
        "seconds": medians(times),
        "mib": {name: rounded(each) for name, each in mib.items()},
        "recompute_over_fast": {
            "seconds": ratio(times, "recompute", over="fast"),
            "memory": rounded(mib["recompute"] / mib["fast"]),
        },
        "recompute_over_plain": {
            "seconds": ratio(times, "recompute", over="plain"),
            "memory": rounded(mib["recompute"] / mib["plain"]),
        },
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }
