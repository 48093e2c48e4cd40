"""Measure how far both paths are from double precision, at the paper's sizes.

    python -m benchmarks.agreement

Predictions and gradients of the network with its initial weights, on frames of noise: distances in
the Euclidean norm by the size, of plain cells and of the fast path. The network amplifies what is
rounded in a step from step to step.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.networks import MIMNetwork, check_fast_path
from benchmarks.origin import describe_origin
from benchmarks.sizes import PAPER
from benchmarks.timing import rounded

CONTEXT, HORIZON = 10, 10


class Results(NamedTuple):
    """What a pass forwards and backwards gives, in double precision.

    Attributes
    ----------
    outputs
        Predictions of the frames after the first one, (B, T - 1, C, H, W).
    gradients
        Those of all weights, one after the other.
    """

    outputs: Tensor
    gradients: Tensor


def results_of(network: MIMNetwork, clip: Tensor, fast_path: bool, precision: str) -> Results:
    """Return predictions of a clip (B, T, C, H, W), and the gradients of their squared error."""
    network.fast_path = fast_path
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        check_fast_path(network, clip[:, :CONTEXT])
        outputs, _ = network(clip[:, :CONTEXT], HORIZON)
    torch.nn.functional.mse_loss(outputs, clip[:, 1:]).backward()
    gradients = [
        weight.grad.flatten() for weight in network.parameters() if weight.grad is not None
    ]
    return Results(outputs.detach().double(), torch.cat(gradients).double())


def distances(seed: int, precisions: list[str], batch: int) -> dict[str, dict[str, list[float]]]:
    """Return for each precision and path the distances of outputs and of gradients."""
    setting = PAPER.settings[0]
    torch.manual_seed(seed)
    network = MIMNetwork(setting.channels, patch_size=setting.patch_size)
    clip = torch.rand(batch, CONTEXT + HORIZON, setting.channels, setting.height, setting.width)
    exact = results_of(copy.deepcopy(network).double(), clip.double(), False, "float64")
    found: dict[str, dict[str, list[float]]] = {}
    for precision in precisions:
        for name, fast_path in (("plain", False), ("fast", True)):
            results = results_of(network, clip, fast_path, precision)
            found.setdefault(precision, {})[name] = [
                float((got - wanted).norm() / wanted.norm())
                for got, wanted in zip(results, exact, strict=True)
            ]
    return found


def main() -> None:
    """Print the medians over some networks as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    found = [
        distances(seed, arguments.precisions, arguments.batch) for seed in range(arguments.seeds)
    ]
    rows: dict[str, Any] = {}
    for precision in arguments.precisions:
        for path in ("plain", "fast"):
            for number, what in enumerate(Results._fields):
                each = [distance[precision][path][number] for distance in found]
                row = rows.setdefault(precision, {}).setdefault(what, {})
                row[path] = rounded(statistics.median(each))
                row[f"{path}, at most"] = rounded(max(each))
    options = {"seeds": arguments.seeds, "batch": arguments.batch}
    print(json.dumps({**describe_origin(), **options, "distances": rows}, indent=1))


if __name__ == "__main__":
    main()
