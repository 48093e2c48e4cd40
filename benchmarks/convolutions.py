"""Time the convolutions of a training step one by one, and what might make them faster.

    python benchmarks/convolutions.py

At the paper's sizes, a time step of a batch of 8 unless it says otherwise. Rates are medians over
rounds in which all are timed in turn.
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

BATCH, CHANNELS, SIDE, KERNEL = 8, 64, 16, 5
GATES = (7, 6, 4, 3, 1)
STEPS = (2, 4, 8, 19)
PADDING, ONES = [KERNEL // 2] * 2, [1, 1]
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def laid_out(*shape: int, kind: torch.dtype) -> Tensor:
    """Return random values with the channels innermost."""
    return torch.rand(*shape, dtype=kind).contiguous(memory_format=torch.channels_last)


def works_of(gates: int, kind: torch.dtype) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return what is timed for a convolution to some gates, and of how many time steps it is."""
    n = gates * CHANNELS
    x = laid_out(BATCH, CHANNELS, SIDE, SIDE, kind=kind)
    weight = laid_out(n, CHANNELS, KERNEL, KERNEL, kind=kind)
    grad = laid_out(BATCH, n, SIDE, SIDE, kind=kind)
    # the input's gradient is a convolution, too: with the kernels turned round
    turned = weight.transpose(0, 1).flip(2, 3).contiguous(memory_format=torch.channels_last)

    def backward(x: Tensor, grad: Tensor, *wanted: bool) -> Callable[[], Any]:
        return lambda: torch.ops.aten.convolution_backward(
            grad, x, weight, None, ONES, PADDING, ONES, False, [0, 0], 1, [*wanted, False]
        )

    works: dict[str, tuple[int, Callable[[], Any]]] = {
        "forward": (1, lambda: torch.conv2d(x, weight, padding=PADDING)),
        "forward, weight laid out before": (1, packed(x, weight)),
        "input gradient": (1, backward(x, grad, True, False)),
        "input gradient, weight laid out before": (1, packed(grad, turned)),
        "weight gradient": (1, backward(x, grad, False, True)),
    }
    for steps in STEPS:
        many = [
            laid_out(steps * BATCH, channels, SIDE, SIDE, kind=kind) for channels in (CHANNELS, n)
        ]
        works[f"weight gradient, {steps} steps at once"] = steps, backward(*many, False, True)
    return works


def packed(x: Tensor, weight: Tensor) -> Callable[[], Any]:
    """Return a convolution whose weight has the library's own layout already.

    By functions that PyTorch's compiler uses and does not document.
    """
    arguments = PADDING, ONES, ONES, 1
    laid = torch._C._nn.mkldnn_reorder_conv2d_weight(weight.to_mkldnn(), *arguments, x.shape)
    convolve = torch.ops.mkldnn._convolution_pointwise
    return lambda: convolve(x, laid, None, *arguments, "none", [], "")


def tflops_of(gates: int, steps: int, work: Callable[[], Any]) -> float:
    """Return the rate of a call in TFLOP/s, the better of two."""
    flops = 2 * steps * BATCH * SIDE**2 * gates * CHANNELS**2 * KERNEL**2
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return flops / min(seconds) / 1e12


def main() -> None:
    """Time all and print the rates as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    rates: dict[str, Any] = {}
    for precision, kind in PRECISIONS.items():
        works = {gates: works_of(gates, kind) for gates in GATES}
        found: dict[Any, list[float]] = {}
        for _ in range(arguments.rounds + 1):
            for gates, each in works.items():
                for name, (steps, work) in each.items():
                    found.setdefault((name, gates), []).append(tflops_of(gates, steps, work))
        rates[precision] = {
            name: {
                f"{gates} gates": round(statistics.median(found[name, gates][1:]), 4)
                for gates in GATES
            }
            for name in works[GATES[0]]
        }
    record = {**describe_origin(), "rounds": arguments.rounds, "tflop_per_second": rates}
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
