"""Measure from which size on the fast path is faster than plain cells.

    python -m benchmarks.small_networks

Training steps and rollouts of a few sequences, for grids and widths around the least number of
values of a hidden state that takes the fast path without being asked.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from benchmarks.networks import fast_path
from benchmarks.origin import describe_origin
from benchmarks.sizes import Setting
from benchmarks.timing import in_turn, medians, ratio, timed
from benchmarks.workload import COMPARED, MEASURED, Workload

SIDES, WIDTHS = (8, 16, 32, 64), (8, 16, 32, 64)
LAYERS = 3
MOST = 4 * fast_path.LEAST_VALUES


def compare(side: int, width: int, kernel_size: int, batch: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of both paths in turn, and the ratio within a round."""
    setting = Setting("small", 1, side, side, patch_size=1, batch=batch, context=5, horizon=5)
    workload = Workload(setting, (width,) * LAYERS, kernel_size, "float32", "cpu")
    row: dict[str, Any] = {
        "grid": f"{side}x{side}",
        "width": width,
        "kernel_size": kernel_size,
        "batch": batch,
        "values": side * side * width,
    }
    for measured in MEASURED:
        measures: dict[str, Callable[[], float]]
        measures = {name: timed(workload.work(measured, name), "cpu") for name in COMPARED}
        times = in_turn(measures, rounds)
        over = ratio(times, "fast", over="plain")
        row[measured] = {"seconds": medians(times), "fast_over_plain": over}
    return row


def main() -> None:
    """Print the rows as JSON, those of small states first."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kernel-sizes", type=int, nargs="+", default=[3, 5])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    arguments = parser.parse_args()
    grids = [(side, width) for side, width in product(SIDES, WIDTHS) if side**2 * width <= MOST]
    sizes = product(grids, arguments.kernel_sizes, arguments.batches)
    rows = [compare(*grid, *others, arguments.rounds) for grid, *others in sizes]
    rows.sort(key=lambda row: row["values"])
    about = {"rounds": arguments.rounds, "least_values": fast_path.LEAST_VALUES}
    print(json.dumps({**describe_origin(), **about, "rows": rows}, indent=1))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
