"""The convolution floor: how long the convolutions of a step would take at the best rate.

The best rate is what a large convolution reaches on the same machine, in the same precision.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.sizes import Convolution
from benchmarks.timing import Times, medians, rounded, seconds_of
from benchmarks.workload import Workload

TRIES = 4


def count_flops(workload: Workload, *, trains: bool) -> int:
    """Count the operations of plain cells, by computing those of a single sequence.

    Parameters
    ----------
    workload
        Network and frames.
    trains
        Whether to count the backward pass, too.

    Returns
    -------
    int
        Operations of its convolutions; a product and a sum are two.
    """
    batch = workload.setting.batch
    one = replace(workload, setting=workload.setting._replace(batch=1), device="cpu")
    network, clip = one.network("plain"), one.clip()
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(trains):
        loss = one.loss(network, clip)
        if trains:
            loss.backward()
    flops: int = counter.get_total_flops()
    return batch * flops


class Floor:
    """Seconds of a number of operations at the best rate, which each call measures anew.

    Parameters
    ----------
    workload
        Precision and device.
    convolution
        The large convolution.
    flops
        The number of operations.
    """

    def __init__(self, workload: Workload, convolution: Convolution, flops: int) -> None:
        self.flops, self.size = flops, convolution
        self.passes = passes_of(workload, convolution)
        self.device = workload.device
        self.rates: Times = {name: [] for name in self.passes}

    def __call__(self) -> float:
        """Measure the rates and return the seconds."""
        b, channels, kernel_size, side = self.size
        flops = 2 * b * side**2 * channels**2 * kernel_size**2
        for name, convolve in self.passes.items():
            best = min(seconds_of(convolve, self.device) for _ in range(TRIES))
            self.rates[name].append(flops / best)
        return self.flops / max(rates[-1] for rates in self.rates.values())

    def describe(self) -> dict[str, Any]:
        """Return the rates, in TFLOP/s as medians over the calls, and which was the best."""
        rates = medians(self.rates)
        return {
            "convolution_tflop": rounded(self.flops / 1e12),
            "best_rate": max(rates, key=lambda name: statistics.median(self.rates[name])),
            "tflop_per_second": {name: rounded(rate / 1e12) for name, rate in rates.items()},
        }


def passes_of(workload: Workload, size: Convolution) -> dict[str, Callable[[], Any]]:
    """Return the forward pass of a large convolution and the two halves of its backward pass."""
    kind = getattr(torch, workload.precision)
    layer = nn.Conv2d(size.channels, size.channels, size.kernel_size, padding="same", bias=False)
    layer = layer.to(workload.device, kind, memory_format=torch.channels_last)
    x = torch.rand(size.batch, size.channels, size.side, size.side, dtype=kind)
    x = x.to(workload.device, memory_format=torch.channels_last).requires_grad_()
    output, weight = layer(x), layer.weight

    def gradient_of(what: Tensor) -> Callable[[], Any]:
        return partial(torch.autograd.grad, output, what, upstream, retain_graph=True)

    upstream = torch.rand_like(output)
    passes = {
        "forward": torch.no_grad()(partial(layer, x)),
        "input_gradient": gradient_of(x),
        "weight_gradient": gradient_of(weight),
    }
    for convolve in passes.values():
        convolve()
    return passes
