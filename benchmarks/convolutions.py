"""Time the convolutions of a training step one by one, and what might make them faster.

    python benchmarks/convolutions.py

At the paper's sizes, a time step of a batch of 8 unless it says otherwise. Rates are medians over
rounds in which all are timed in turn; those with fewer products count the products of the
definition, and weights are evaluated before: once for all steps of an unrolling. Rounding is the
distance from the convolution in float64, in the Euclidean norm.
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
from torch import Tensor, nn

from darts_mim.nn.fused.build import kernel_library
from darts_mim.nn.fused.winograd import WinogradConvolution, WinogradKernels, Workspace

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
        **works_of_fewer_products(x, grad, weight),
    }
    for steps in STEPS:
        many = [
            laid_out(steps * BATCH, channels, SIDE, SIDE, kind=kind) for channels in (CHANNELS, n)
        ]
        works[f"weight gradient, {steps} steps at once"] = steps, backward(*many, False, True)
    return works


def works_of_fewer_products(
    x: Tensor, grad: Tensor, weight: Tensor
) -> dict[str, tuple[int, Callable[[], Any]]]:
    """Return the convolution of the fast path without units for matrices, and its gradients."""
    convolution = convolution_of(weight)
    return {
        "forward, fewer products": (1, lambda: convolution.convolve(x)),
        "input gradient, fewer products": (1, lambda: convolution.backward(grad, x, True, False)),
        "weight gradient, fewer products": (1, lambda: convolution.backward(grad, x, False, True)),
    }


def convolution_of(weight: Tensor) -> WinogradConvolution:
    """Return a convolution by fewer products with a weight."""
    out, channels, kernel, _ = weight.shape
    module = nn.Conv2d(channels, out, kernel, bias=False)
    module.weight.data.copy_(weight)
    return WinogradConvolution(module, WinogradKernels(kernel_library()), Workspace())


def rounding_of(kernel: int) -> dict[str, dict[str, float]]:
    """Return how far results in float32 are from those in float64, for each way to convolve."""
    torch.manual_seed(0)
    x = torch.randn(BATCH, CHANNELS, SIDE, SIDE)
    grad = torch.randn(BATCH, GATES[0] * CHANNELS, SIDE, SIDE)
    weight = torch.randn(GATES[0] * CHANNELS, CHANNELS, kernel, kernel)
    # as they are initialised, so that outputs are about as large as inputs
    weight /= (CHANNELS * kernel**2) ** 0.5

    def defined(kind: torch.dtype) -> list[Tensor]:
        inputs = [each.to(kind).requires_grad_() for each in (x, weight)]
        y = torch.conv2d(*inputs, padding=kernel // 2)
        return [y.detach(), *torch.autograd.grad(y, inputs, grad.to(kind))]

    convolution = convolution_of(weight)
    d_x = convolution.backward(grad, x, True, True)
    fewer = [convolution.convolve(x), d_x, convolution.take()]
    ways = {"definition": defined(torch.float32), "fewer products": fewer}
    return {
        name: {
            way: float(f"{float((results[i].double() - exact).norm() / exact.norm()):.3g}")
            for way, results in ways.items()
        }
        for i, (name, exact) in enumerate(
            zip(
                ("output", "input gradient", "weight gradient"), defined(torch.float64), strict=True
            )
        )
    }


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
    rounding = {f"{kernel}x{kernel}": rounding_of(kernel) for kernel in (5, 3)}
    record = {
        **describe_origin(),
        "rounds": arguments.rounds,
        "tflop_per_second": rates,
        "rounding": rounding,
    }
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
