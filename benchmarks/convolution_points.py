"""Measure how much convolutions by fewer products round, for the points they are evaluated at.

    python benchmarks/convolution_points.py

The points are 0, some ratios with both signs, and infinity; all sets of one size are tried whose
ratios have terms of at most --largest. Distances are those of the output from that in float64, in
the Euclidean norm, for random inputs and weights of 64 channels.
"""

from __future__ import annotations

import argparse
import json
from fractions import Fraction
from itertools import combinations
from math import prod
from typing import Any

import torch
from origin import describe_origin
from torch import Tensor

CHANNELS, GRID = 64, 24
SIZES = {"two ratios": 2, "three ratios": 3}
USUAL = {2: (Fraction(1), Fraction(2)), 3: (Fraction(1, 2), Fraction(1), Fraction(2))}


def polynomial_of(roots: list[Fraction]) -> list[Fraction]:
    """Return the coefficients, from the constant on, of the polynomial with these roots."""
    coefficients = [Fraction(1)]
    for root in roots:
        raised = [Fraction(0), *coefficients]
        lowered = [root * each for each in coefficients] + [Fraction(0)]
        coefficients = [a - b for a, b in zip(raised, lowered, strict=True)]
    return coefficients


def matrices_of(ratios: tuple[Fraction, ...], kernel: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return what evaluates inputs and kernels along an axis, and what reads outputs off."""
    points = [Fraction(0), *(sign * each for each in ratios for sign in (1, -1))]
    n = len(points) + 1
    tile = n - kernel + 1
    of_inputs, of_kernels, of_outputs = [], [], []
    for point in points:
        others = [other for other in points if other != point]
        distance = prod((point - other for other in others), start=Fraction(1))
        of_inputs.append([*polynomial_of(others), Fraction(0)])
        of_kernels.append([point**power / distance for power in range(kernel)])
        of_outputs.append([point**power for power in range(tile)])
    of_inputs.append(polynomial_of(points))
    for rows, width in ((of_kernels, kernel), (of_outputs, tile)):
        rows.append([Fraction(0)] * (width - 1) + [Fraction(1)])
    inputs, kernels, outputs = (
        torch.tensor([[float(each) for each in row] for row in rows], dtype=torch.float64)
        for rows in (of_inputs, of_kernels, of_outputs)
    )
    return inputs, kernels, outputs.T


def convolve(x: Tensor, weight: Tensor, ratios: tuple[Fraction, ...]) -> Tensor:
    """Return the "same" convolution by fewer products, in float32."""
    kernel = weight.shape[-1]
    inputs, kernels, outputs = (each.float() for each in matrices_of(ratios, kernel))
    n, margin = len(inputs), kernel // 2
    tile = n - kernel + 1
    padded = torch.nn.functional.pad(x, [margin] * 4)
    tiles = padded.unfold(2, n, tile).unfold(3, n, tile)
    values = torch.einsum("pa,bcyxad,qd->pqbcyx", inputs, tiles, inputs)
    weights = torch.einsum("pa,ocad,qd->pqoc", kernels, weight, kernels)
    products = torch.einsum("pqoc,pqbcyx->pqboyx", weights, values)
    y = torch.einsum("ap,pqboyx,dq->boyaxd", outputs, products, outputs)
    return y.reshape(*x.shape[:1], len(weight), *x.shape[2:])


def distances_of(kernel: int, n_ratios: int, largest: int) -> dict[str, Any]:
    """Return how far outputs are from those in float64, for all points and by definition."""
    torch.manual_seed(0)
    x = torch.randn(1, CHANNELS, GRID, GRID)
    weight = torch.randn(CHANNELS, CHANNELS, kernel, kernel) / (CHANNELS * kernel**2) ** 0.5
    exact = torch.conv2d(x.double(), weight.double(), padding=kernel // 2)

    def distance(y: Tensor) -> float:
        return float(f"{float((y.double() - exact).norm() / exact.norm()):.3g}")

    terms = range(1, largest + 1)
    ratios = sorted({Fraction(a, b) for a in terms for b in terms})
    found = {each: distance(convolve(x, weight, each)) for each in combinations(ratios, n_ratios)}
    best = sorted(found, key=found.__getitem__)[:3]
    tile = 2 * n_ratios + 2 - kernel + 1
    return {
        "products of the definition over products": round(
            (tile * kernel) ** 2 / (tile + kernel - 1) ** 2, 2
        ),
        "sets tried": len(found),
        "definition": distance(torch.conv2d(x, weight, padding=kernel // 2)),
        "usual": {name_of(USUAL[n_ratios]): found[USUAL[n_ratios]]},
        "best": {name_of(each): found[each] for each in best},
    }


def name_of(ratios: tuple[Fraction, ...]) -> str:
    """Return points in words."""
    return ", ".join(["0", *(f"±{each}" for each in ratios), "∞"])


def main() -> None:
    """Measure all and print the record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=4)
    arguments = parser.parse_args()
    distances = {
        f"{kernel}x{kernel}": {
            name: distances_of(kernel, n_ratios, arguments.largest)
            for name, n_ratios in SIZES.items()
        }
        for kernel in (5, 3)
    }
    print(json.dumps({**describe_origin(), "distances": distances}, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
