"""Profile a training step: how long its convolutions take, and what else takes long.

    python benchmarks/step_profile.py

Plain cells and the fast path, at the paper's sizes, seen by PyTorch's profiler: the time of each
operation itself, without those that it calls.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from typing import Any

import torch
from origin import describe_origin
from torch.profiler import ProfilerActivity, profile, record_function

from darts_mim.nn import MIMNetwork
from darts_mim.nn.fused.winograd import WinogradKernels

GROUPS: dict[str, tuple[str, ...]] = {
    "convolutions": ("conv",),
    "normalisation": ("group_norm",),
    "normalisation and gates in C": ("_Gates", "_Convolution"),
    "elementwise": ("aten::mul", "aten::add", "sigmoid", "tanh"),
    "copies": ("aten::copy_", "aten::cat", "aten::empty", "aten::clone"),
}
"""Words in the names of operations; the first group that has one takes the operation."""


def group_of(name: str) -> str:
    """Return the group of an operation."""
    if name.startswith("_"):  # a function of ours: by itself it calls the kernels
        return "normalisation and gates in C"
    found = (group for group, words in GROUPS.items() if any(word in name for word in words))
    return next(found, "the rest")


def show_convolutions() -> None:
    """Let the profiler see the convolutions in C, too."""
    for name in ("evaluate", "read", "convolve", "add_weight_gradient"):
        function = getattr(WinogradKernels, name)

        def shown(*arguments: Any, function: Any = function, **options: Any) -> Any:
            with record_function("conv"):
                return function(*arguments, **options)

        setattr(WinogradKernels, name, shown)


def training_step(fast_path: bool, precision: str) -> Callable[[], None]:
    """Return a step of the paper's network on eight clips of 64x64."""
    torch.manual_seed(0)
    network = MIMNetwork(1, patch_size=4, fast_path=fast_path)
    optimizer = torch.optim.Adam(network.parameters())
    clip = torch.rand(8, 20, 1, 64, 64)

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = torch.nn.functional.mse_loss(network(clip[:, :10], 10)[0], clip[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


def seconds_by_group(step: Callable[[], None]) -> dict[str, float]:
    """Profile a step."""
    with profile(activities=[ProfilerActivity.CPU]) as profiler:
        step()
    seconds = dict.fromkeys([*GROUPS, "the rest"], 0.0)
    for event in profiler.key_averages():
        seconds[group_of(event.key)] += event.self_cpu_time_total / 1e6
    return seconds


def main() -> None:
    """Profile both paths in both precisions and print the medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    show_convolutions()
    rows: dict[str, Any] = {}
    for precision in arguments.precisions:
        steps = {
            name: training_step(fast_path, precision)
            for name, fast_path in (("plain", False), ("fast", True))
        }
        rounds: dict[str, list[dict[str, float]]] = {name: [] for name in steps}
        for number in range(arguments.rounds + 1):
            for name, step in steps.items():
                if number == 0:
                    step()  # memory that is allocated at first
                else:
                    rounds[name].append(seconds_by_group(step))
        rows[precision] = {
            name: {
                group: round(statistics.median(each[group] for each in profiles), 3)
                for group in profiles[0]
            }
            for name, profiles in rounds.items()
        }
    print(json.dumps({**describe_origin(), "rounds": arguments.rounds, "seconds": rows}, indent=1))


if __name__ == "__main__":
    main()
