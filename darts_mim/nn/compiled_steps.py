"""Steps that PyTorch compiles, and on a GPU replays as CUDA graphs: the fast path there.

On a GPU a step is hundreds of small kernels, and launching them takes longer than running them.
``torch.compile`` merges the elementwise ones, and with ``mode="reduce-overhead"`` launches all of a
step at once. This has not been measured on a GPU yet.

A compiled step is good for one kind of call: for one shape, with or without gradients. PyTorch
compiles the same code a limited number of times in a process, and then runs it as it is. So each
kind of call gets a copy of the code.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import lru_cache
from importlib.util import find_spec
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map

from darts_mim.nn.unrolling import Step, StepInputs

COMPILE_OPTIONS: dict[str, Any] = {"mode": "reduce-overhead", "dynamic": False}


def cannot_compile() -> str | None:
    """Return why steps cannot be compiled for a GPU here, ``None`` if they can."""
    if find_spec("triton") is None:
        return "on a GPU PyTorch's compiler needs Triton, which is not installed"
    return None


def compiled_step(step: Step[Any], n_steps: int) -> Step[Any]:
    """Return a compiled step for one unrolling.

    Parameters
    ----------
    step
        The method ``step`` of a network.
    n_steps
        Number of steps of the unrolling. A graph writes to the same memory in the next unrolling,
        so that the last state is copied.

    Returns
    -------
    Step
        The step, to be called once for each step of the unrolling.
    """
    torch.compiler.cudagraph_mark_step_begin()
    network, function = step.__self__, step.__func__  # type: ignore[attr-defined]
    n_done = 0

    def run(frame: Tensor, state: Any, inputs: StepInputs, /) -> tuple[Tensor, Any]:
        nonlocal n_done
        compiled = _compiled(function, _kind_of(network, frame, state, inputs))
        prediction, state = compiled(network, frame, state, inputs)
        n_done += 1
        return prediction, tree_map(_clone, state) if n_done == n_steps else state

    return run


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()


def _kind_of(network: Any, *read: Any) -> Hashable:
    """Return all that a step is compiled anew for."""
    leaves, form = tree_flatten(read)
    tensors = tuple(
        (each.shape, each.stride(), each.dtype, each.device, each.requires_grad)
        for each in leaves
        if each is not None
    )
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), network.training
    kind = read[0].device.type
    autocast = torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind)
    return id(network), tensors, str(form), modes, autocast


@lru_cache(maxsize=256)
def _compiled(function: FunctionType, kind: Hashable) -> Callable[..., Any]:
    """Return a copy of a function, compiled when it is first called."""
    parts = function.__globals__, function.__name__, function.__defaults__, function.__closure__
    copy = FunctionType(function.__code__.replace(), *parts)
    compiled: Callable[..., Any] = torch.compile(copy, **COMPILE_OPTIONS)
    return compiled
