"""Seconds of what is done in turn, so that a busy machine slows all of it alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch

Times = dict[str, list[float]]

N_FIRST = {"cpu": 1, "cuda": 4}
"""How many calls do something for the first time: on a GPU PyTorch compiles and records steps."""


def seconds_of(work: Callable[[], Any], device: str) -> float:
    """Return how long something takes, until the device has done it."""
    start = clock(device)
    work()
    return clock(device) - start


def clock(device: str) -> float:
    """Wait until the device has done what it was given, and return the time in seconds."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def timed(work: Callable[[], Any], device: str) -> Callable[[], float]:
    """Return what does the first work here and now, and then each time measures its seconds."""
    for _ in range(N_FIRST[device]):
        work()  # what is compiled, allocated or recorded at first
    return partial(seconds_of, work, device)


def in_turn(measures: Mapping[str, Callable[[], float]], rounds: int) -> Times:
    """Measure one after the other, in each round anew.

    Parameters
    ----------
    measures
        What returns its seconds.
    rounds
        How often each is measured.

    Returns
    -------
    dict
        The seconds of each, by round.
    """
    times: Times = {name: [] for name in measures}
    for _ in range(rounds):
        for name, measure in measures.items():
            times[name].append(measure())
    return times


def medians(times: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the median of each, to four digits."""
    return {name: rounded(statistics.median(each)) for name, each in times.items()}


def ratio(times: Mapping[str, Sequence[float]], name: str, over: str) -> float:
    """Return the median of the ratios within a round, to four digits."""
    pairs = zip(times[name], times[over], strict=True)
    return rounded(statistics.median(each / other for each, other in pairs))


def rounded(value: float) -> float:
    """Return a number to four digits."""
    return float(f"{value:.4g}")
