"""Time a training step of the MIM network: memory formats and precisions against each other.

    python benchmarks/training_step.py --setting paper

Every variant runs once in each round, so that a busy machine slows all of them alike; what counts
are the ratios to the first one. Use a machine on which nothing else runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from origin import describe_origin

from darts_mim.nn import MIMNetwork

CONTEXT, HORIZON = 10, 10


class Setting(NamedTuple):
    """Sizes of a network and of its batch of 20 frames."""

    hidden_channels: tuple[int, ...]
    kernel_size: int
    batch: int
    side: int


SETTINGS = {
    "paper": Setting((64,) * 4, 5, batch=8, side=64),
    "cpu": Setting((32,) * 4, 3, batch=8, side=64),
}


def channels_first() -> AbstractContextManager[Any]:
    """Let the network lay out its tensors as PyTorch does by default."""
    return patch.object(torch, "channels_last", torch.contiguous_format)


VARIANTS: dict[str, tuple[Callable[[], AbstractContextManager[Any]], bool]] = {
    "float32, channels first": (channels_first, False),
    "float32": (nullcontext, False),
    "bfloat16, channels first": (channels_first, True),
    "bfloat16": (nullcontext, True),
}


def time_step(setting: Setting, layout: Callable[[], Any], autocast: bool, device: str) -> float:
    """Return the seconds of one training step, after one to warm up."""
    torch.manual_seed(0)
    with layout():
        network = MIMNetwork(
            1, setting.hidden_channels, kernel_size=setting.kernel_size, patch_size=4
        ).to(device)
        optimizer = torch.optim.Adam(network.parameters())
        clip = torch.rand(setting.batch, 20, 1, setting.side, setting.side, device=device)
        seconds = 0.0
        for _ in range(2):
            start = time.perf_counter()
            with torch.autocast(device, torch.bfloat16, enabled=autocast):
                frames, _ = network(clip[:, :CONTEXT], HORIZON)
                loss = torch.nn.functional.mse_loss(frames, clip[:, 1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if device == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - start
    return seconds


def main() -> None:
    """Time all variants in turn and print their medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--setting", choices=SETTINGS, default="cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    arguments = parser.parse_args()
    setting = SETTINGS[arguments.setting]
    times: dict[str, list[float]] = {name: [] for name in VARIANTS}
    for _ in range(arguments.rounds):
        for name, (layout, autocast) in VARIANTS.items():
            times[name].append(time_step(setting, layout, autocast, arguments.device))
    medians = {name: statistics.median(seconds) for name, seconds in times.items()}
    first = medians[next(iter(medians))]
    table = {
        name: {"seconds": round(seconds, 3), "times faster": round(first / seconds, 2)}
        for name, seconds in medians.items()
    }
    record = {
        **describe_origin(),
        "setting": arguments.setting,
        "device": arguments.device,
        "rounds": arguments.rounds,
    }
    print(json.dumps({**record, "steps": table}, indent=1))


if __name__ == "__main__":
    main()
