"""Time the elementwise work of a cell: formulas as they stand, compiled by PyTorch, and in C.

    python benchmarks/kernels.py

At the paper's sizes, on outputs that lie in memory rather than in the processor's cache, as they do
in a training step. What counts are the ratios within a round.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from origin import describe_origin
from torch import Tensor

from darts_mim.nn.fused.build import kernel_library
from darts_mim.nn.fused.compiled import CompiledKernels
from darts_mim.nn.fused.formulas import FormulaKernels, Kernels, Part, Source
from darts_mim.nn.fused.native import NativeKernels

BATCH, CHANNELS, SIDE = 8, 64, 16
COPIES = 64  # more outputs than a cache holds
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def laid_out(gates: int, kind: torch.dtype) -> Tensor:
    """Return the output of a convolution to some gates."""
    output = torch.randn(BATCH, gates * CHANNELS, SIDE, SIDE).to(kind)
    return output.contiguous(memory_format=torch.channels_last)


def works_of(kernels: Kernels, kind: torch.dtype) -> dict[str, Callable[[int], Any]]:
    """Return what is timed: each on the outputs of a number."""
    inputs = [laid_out(7, kind) for _ in range(COPIES)]  # of the input to an ST-LSTM
    hidden = [laid_out(4, kind) for _ in range(COPIES)]
    state, grad = (laid_out(1, torch.float32) for _ in range(2))
    gain, bias = torch.rand(2, 7 * CHANNELS)
    stats = kernels.statistics(inputs[0], 1e-5)
    n = 3 * CHANNELS

    def sources(number: int) -> tuple[Source, Source]:
        pair = inputs[number], hidden[number]
        first, second = (Source(raw[:, :n], stats, gain[:n], bias[:n]) for raw in pair)
        return first, second

    d_pre, _, sums = kernels.gates_backward("remember", sources(0), state, grad)
    parts = [Part(d_pre, sums[0]), Part(d_pre, sums[0])]
    parts.append(Part(d_pre[:, :CHANNELS].contiguous(), sums[0][..., :CHANNELS].contiguous()))
    out = torch.empty_like(inputs[0])
    return {
        "statistics of 7 gates": lambda i: kernels.statistics(inputs[i], 1e-5),
        "3 gates on a state": lambda i: kernels.gates("remember", sources(i), state),
        "their gradients": lambda i: kernels.gates_backward("remember", sources(i), state, grad),
        "gradient of 7 gates' output": lambda i: kernels.raw_gradient(
            parts, inputs[i], stats, gain, out
        ),
    }


def seconds_of(work: Callable[[int], Any]) -> float:
    """Return the mean seconds of a call."""
    start = time.perf_counter()
    for number in range(COPIES):
        work(number)
    return (time.perf_counter() - start) / COPIES


def first_seconds(work: Callable[[int], Any]) -> float:
    """Return what a first call takes."""
    start = time.perf_counter()
    work(0)
    return time.perf_counter() - start


def compare(kind: torch.dtype, rounds: int) -> dict[str, Any]:
    """Time all in turn."""
    implementations: dict[str, Kernels] = {
        "formulas": FormulaKernels(),
        "compiled": CompiledKernels(),
        "C": NativeKernels(kernel_library()),
    }
    with torch.no_grad():
        works = {name: works_of(kernels, kind) for name, kernels in implementations.items()}
        rows = {}
        for what in works["C"]:
            first = {name: round(first_seconds(each[what]), 2) for name, each in works.items()}
            times = [
                {name: seconds_of(each[what]) for name, each in works.items()}
                for _ in range(rounds + 1)
            ][1:]
            rows[what] = {
                "microseconds": {
                    name: round(1e6 * statistics.median(each[name] for each in times))
                    for name in works
                },
                "times faster than the formulas": {
                    name: round(
                        statistics.median(each["formulas"] / each[name] for each in times), 2
                    )
                    for name in ("compiled", "C")
                },
                "first call in seconds": first,
            }
    return rows


def main() -> None:
    """Compare in both precisions and print the result as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rows = {name: compare(kind, arguments.rounds) for name, kind in PRECISIONS.items()}
    print(json.dumps({**describe_origin(), "rounds": arguments.rounds, "kernels": rows}, indent=1))


if __name__ == "__main__":
    main()
