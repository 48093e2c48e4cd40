"""Where it is decided whether a network takes the fast path."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.compiled import CompiledKernels
from darts_mim.nn.fused.formulas import FormulaKernels, Kernels
from darts_mim.nn.fused.layers import FusedLayer
from darts_mim.nn.fused.native import NativeKernels
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.gates import GateConvolution

__all__ = ["STEPS_AT_ONCE", "fast_path_of"]

logger = logging.getLogger(__name__)

STEPS_AT_ONCE = 4
"""Of how many steps the gradient of a weight is taken at once, where units for matrices do it."""

LEAST_VALUES = 2**13
"""Values of a sequence's widest hidden state from which on the fast path is faster."""


class FusibleNetwork(Protocol):
    """A network whose cells can take the fast path.

    Attributes
    ----------
    fused
        ``None`` for the fast path wherever it is known to be right and faster, ``True`` for
        wherever it can run, ``False`` for never.
    recompute
        Whether memory counts for more than time.
    hidden_channels
        Channels of each layer.
    patch_size
        Side of the patches of a frame that are a cell of the hidden states.
    """

    fused: bool | None
    recompute: bool
    hidden_channels: tuple[int, ...]
    patch_size: int

    def modules(self) -> Iterator[nn.Module]:
        """Return its parts."""


class _NotFusedError(Exception):
    """A network has to take the plain path; the text says why."""


def fast_path_of(network: FusibleNetwork, context: Tensor, n_steps: int) -> FusedUnrolling | None:
    """Return the fast path of a network for one unrolling, ``None`` for the plain one.

    Parameters
    ----------
    network
        The network.
    context
        What it is called with: says where and in which type it computes.
    n_steps
        How many steps it unrolls over.

    Returns
    -------
    FusedUnrolling or None
        The fast path. Why it is not taken is logged, once for each reason.
    """
    if network.fused is False:
        return None
    modules = [module for module in network.modules() if isinstance(module, GateConvolution)]
    try:
        if network.fused is None:
            _check_size(network, context)
        kind = _kind_of(context, modules)
        kernels = _kernels_for(context, kind, network.fused)
    except _NotFusedError as reason:
        _log_once(logging.INFO if network.fused is None else logging.WARNING, str(reason))
        return None
    n_at_once = 1 if network.recompute else min(_steps_at_once(context, kind), n_steps)
    layers: dict[nn.Module, FusedLayer] = {
        module: _layer_of(module, kernels, kind, n_at_once) for module in modules
    }
    return FusedUnrolling(layers, kernels)


def _layer_of(
    module: GateConvolution, kernels: Kernels, kind: torch.dtype, n_at_once: int
) -> FusedLayer:
    norm = module.norm if isinstance(module.norm, nn.GroupNorm) else None
    return FusedLayer(module.convolution, norm, module.group_channels, kernels, kind, n_at_once)


def _check_size(network: FusibleNetwork, context: Tensor) -> None:
    """Refuse hidden states so small that the calls of the kernels take longer than their work.

    The size of a batch makes no difference: a forecast alone is the one among others.
    """
    cells = math.prod(-(-side // network.patch_size) for side in context.shape[-2:])
    if cells * max(network.hidden_channels) < LEAST_VALUES:
        raise _NotFusedError("it is as fast for small grids and narrow layers")


def _kind_of(context: Tensor, modules: list[GateConvolution]) -> torch.dtype:
    """Return the type that convolutions compute in."""
    is_known = type(context) is Tensor or not _has_values(context)
    if not is_known or torch.onnx.is_in_onnx_export() or torch.compiler.is_compiling():
        raise _NotFusedError("the network is traced")
    device = context.device.type
    weights = {module.convolution.weight.dtype for module in modules}
    if weights != {torch.float32} or context.dtype is not torch.float32:
        raise _NotFusedError("the fast path is for weights and frames of type float32")
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.float32


def _steps_at_once(context: Tensor, kind: torch.dtype) -> int:
    """Return of how many steps a weight's gradient is best taken at once.

    Units for matrices are faster on many. Elsewhere that gains next to nothing, and takes memory.
    """
    if context.device.type == "cpu":
        # torch 2.6 cannot tell yet
        able: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return STEPS_AT_ONCE if kind is torch.bfloat16 and able.get("amx_bf16") else 1
    return STEPS_AT_ONCE


def _kernels_for(context: Tensor, kind: torch.dtype, fused: bool | None) -> Kernels:
    device = context.device.type
    if device == "cpu":
        kernels = _native_kernels(kind)
        return kernels if _has_values(context) else NativeKernels(library=None)
    if device != "cuda":
        raise _NotFusedError(f"there is no fast path on the device {device!r}")
    if fused is None:
        raise _NotFusedError("the fast path was not measured on a GPU yet; ask for it")
    return CompiledKernels() if _has_values(context) else FormulaKernels()


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor has values, unlike those that costs are counted on."""
    return getattr(tensor, "has_values", True)


def _native_kernels(kind: torch.dtype) -> NativeKernels:
    if kind not in (torch.float32, torch.bfloat16):
        raise _NotFusedError(f"there is no fast path in {kind} on a CPU")
    found = _built_kernels()
    if isinstance(found, str):
        raise _NotFusedError(found)
    return found


@cache
def _built_kernels() -> NativeKernels | str:
    """Return the kernels in C, or why there are none."""
    try:
        return NativeKernels(kernel_library())
    except CannotBuildError as error:
        return str(error)


@cache
def _log_once(level: int, reason: str) -> None:
    logger.log(level, "The plain path is taken: %s.", reason)
