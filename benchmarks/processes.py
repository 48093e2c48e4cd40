"""Peak memory and first calls, each measured in a process of its own."""

from __future__ import annotations

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar
from unittest.mock import patch

import torch

from benchmarks.process_memory import MIB, PAGES, peak_of
from benchmarks.timing import N_FIRST, seconds_of
from benchmarks.workload import Variant, Workload

Result = TypeVar("Result")

CACHES = ("DARTS_MIM_CACHE", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR")


def in_own_process(
    function: Callable[..., Result], *arguments: Any, environment: Mapping[str, str]
) -> Result:
    """Call a function in a new process, which has its threads from this one.

    Parameters
    ----------
    function, arguments
        What to call.
    environment
        Variables that the process has besides those of this one.

    Returns
    -------
    object
        What the function returned.
    """
    with (
        patch.dict(os.environ, environment),
        ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=torch.set_num_threads,
            initargs=(torch.get_num_threads(),),
        ) as pool,
    ):
        return pool.submit(function, *arguments).result()


def peak_memory(workload: Workload, variant: Variant) -> float:
    """Return the MiB that a training step needs at the most, what lasts between steps included.

    On a GPU what PyTorch has allocated at the most. On a CPU the anonymous memory over what the
    process had before a second step, and weights, gradients, moments and frames.
    """
    environment = {} if workload.device == "cuda" else PAGES
    return in_own_process(_peak_here, workload, variant, environment=environment)


def _peak_here(workload: Workload, variant: Variant) -> float:
    step = workload.training_step(variant)
    for _ in range(N_FIRST[workload.device]):
        step()  # gradients and moments have their memory from here on
    if workload.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() / MIB
    return peak_of(step)[0] + step.kept_bytes / MIB


def first_call(workload: Workload, variant: Variant) -> float:
    """Return the seconds that the first training step takes over a later one, with empty caches.

    Making the network belongs to it, whenever code is compiled; on a GPU so do the steps until
    PyTorch has recorded them.
    """
    with tempfile.TemporaryDirectory() as folder:
        environment = dict.fromkeys(CACHES, folder)
        return in_own_process(_first_here, workload, variant, environment=environment)


def _first_here(workload: Workload, variant: Variant) -> float:
    torch.ones(1, device=workload.device).add_(1)  # starts the device, which is not ours to count
    made: list[Callable[[], Any]] = []
    n_first = N_FIRST[workload.device]

    def make_and_call() -> None:
        made.append(workload.training_step(variant))
        for _ in range(n_first):
            made[0]()

    first = seconds_of(make_and_call, workload.device)
    return first - n_first * seconds_of(made[0], workload.device)
