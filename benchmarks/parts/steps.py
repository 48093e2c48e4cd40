"""Training steps and rollouts of plain cells and of the fast path, and the floor under both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from typing import Any

from benchmarks.floor import Floor, count_flops
from benchmarks.options import Case, Options
from benchmarks.processes import first_call, peak_memory
from benchmarks.timing import in_turn, medians, ratio, rounded, timed
from benchmarks.workload import (
    COMPARED,
    MEASURED,
    Measured,
    Workload,
    describe,
    describe_frames,
    workload_of,
)


def cases(options: Options) -> list[Case]:
    """Return the rows: times of all networks first, then memory, then first calls."""
    workloads = [
        workload_of(options, *each)
        for each in product(options.settings, options.widths, options.precisions)
    ]
    timing = [
        Case(
            {"measured": measured, **describe(workload), "rounds": options.rounds},
            partial(compare, workload, options, measured),
        )
        for workload in workloads
        for measured in MEASURED
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


def compare(workload: Workload, options: Options, measured: Measured) -> dict[str, Any]:
    """Time both variants and the floor in turn; in bfloat16 plain cells in float32, too."""
    flops = count_flops(workload, trains=measured == "training step")
    floor = Floor(workload, options.sizes.convolution, flops)
    works: dict[str, Callable[[], None]]
    works = {name: workload.work(measured, name) for name in COMPARED}
    is_mixed = workload.precision != "float32"
    if is_mixed:
        single = replace(workload, precision="float32")
        works["plain_float32"] = single.work(measured, "plain")
    measures = {name: timed(work, workload.device) for name, work in works.items()}
    times = in_turn({**measures, "floor": floor}, options.rounds)
    beside = {}
    if is_mixed:
        beside["fast_over_plain_float32"] = ratio(times, "fast", over="plain_float32")
    return {
        **describe_frames(workload.setting),
        "seconds": medians(times),
        "fast_over_plain": ratio(times, "fast", over="plain"),
        **beside,
        "over_floor": {name: ratio(times, name, over="floor") for name in COMPARED},
        **floor.describe(),
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def compare_memory(workload: Workload) -> dict[str, Any]:
    """Measure the peak memory of a training step of both variants."""
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
