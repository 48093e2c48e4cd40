"""Training steps and rollouts of plain cells and of the fast path, and the floor under both."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from benchmarks.floor import Floor, costs_of
from benchmarks.options import Case, Options
from benchmarks.processes import first_call, lacking_memory, peak_memory
from benchmarks.timing import in_turn, medians, ratio, rounded, timed
from benchmarks.workload import COMPARED, Workload, describe, describe_frames, workload_of


def cases(options: Options) -> list[Case]:
    """Return the rows: times of all networks first, then memory, then first calls."""
    workloads = [
        workload_of(options, *each)
        for each in product(options.settings, options.widths, options.precisions)
    ]
    timing = [
        Case(
            {"measured": measured, **describe(workload), "rounds": options.rounds},
            partial(compare, workload, options, trains=measured == "training step"),
        )
        for workload in workloads
        for measured in ("training step", "rollout")
    ]
    memory = [
        Case({"measured": "peak memory", **describe(workload)}, partial(compare_memory, workload))
        for workload in workloads
    ]
    # what compiling takes hardly depends on sizes
    first = [
        Case({"measured": "first call", **describe(workload)}, partial(compare_first, workload))
        for workload in workloads[: len(options.precisions)]
    ]
    return timing + memory + first


def compare(workload: Workload, options: Options, *, trains: bool) -> dict[str, Any]:
    """Time both variants and the floor in turn."""
    make = workload.training_step if trains else workload.rollout
    costs = costs_of(workload, trains=trains)
    if lacking := lacking_memory(costs.n_bytes, workload.device):
        return {**describe_frames(workload.setting), "left_out": lacking}
    floor = Floor(workload, options.sizes.convolution, costs.flops)
    measures = {name: timed(make(name), workload.device) for name in COMPARED}
    times = in_turn({**measures, "floor": floor}, options.rounds)
    return {
        **describe_frames(workload.setting),
        "seconds": medians(times),
        "fast_over_plain": ratio(times, "fast", over="plain"),
        "over_floor": {name: ratio(times, name, over="floor") for name in COMPARED},
        **floor.describe(),
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def compare_memory(workload: Workload) -> dict[str, Any]:
    """Measure the peak memory of a training step of both variants."""
    n_bytes = costs_of(workload, trains=True).n_bytes
    if lacking := lacking_memory(n_bytes, workload.device):
        return {**describe_frames(workload.setting), "left_out": lacking}
    plain, fast = (peak_memory(workload, variant) for variant in COMPARED)
    return {
        **describe_frames(workload.setting),
        "mib": {"plain": rounded(plain), "fast": rounded(fast)},
        "fast_over_plain": rounded(fast / plain),
    }


def compare_first(workload: Workload) -> dict[str, Any]:
    """Measure what the first step of both variants takes over a later one."""
    return {
        **describe_frames(workload.setting),
        "seconds": {variant: rounded(first_call(workload, variant)) for variant in COMPARED},
    }
