"""Where it is decided whether a network takes the fast path."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.compiled import CompiledKernels
from darts_mim.nn.fused.direct import DirectConvolution
from darts_mim.nn.fused.formulas import FormulaKernels, Kernels
from darts_mim.nn.fused.layers import Convolution, FusedLayer
from darts_mim.nn.fused.native import NativeKernels
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.fused.winograd import WinogradConvolution, WinogradKernels, Workspace
from darts_mim.nn.gates import GateConvolution
from darts_mim.nn.recorded.graphs import RecordedUnrolling, can_record

__all__ = ["STEPS_AT_ONCE", "fast_path_of"]

logger = logging.getLogger(__name__)

STEPS_AT_ONCE = 4
"""Of how many steps the gradient of a weight is taken at once, where units for matrices do it."""

MOST_CHANNELS = 2**13
"""Channels of gates side by side that the kernels have room for, on the stack of a thread."""

LEAST_VALUES = 2**13
"""Values of a sequence's widest hidden state from which on the fast path is faster."""


class FusibleNetwork(Protocol):
    """A network whose cells may take the fast path.

    Attributes
    ----------
    fast_path
        ``None`` for the fast path wherever it is known to be right and faster, ``True`` for
        wherever it can run, ``False`` for never.
    recompute
        Whether memory counts for more than time.
    hidden_channels
        Channels of each layer.
    patch_size
        Side of the patches of a frame that are a cell of the hidden states.
    """

    fast_path: bool | None
    recompute: bool
    hidden_channels: tuple[int, ...]
    patch_size: int

    def modules(self) -> Iterator[nn.Module]:
        """Return its parts."""


class _NotFusedError(Exception):
    """A network has to take the plain path; the text says why."""


class _NotBuiltError(_NotFusedError):
    """It has to, until somebody sees to what the text says."""


def fast_path_of(
    network: FusibleNetwork, context: Tensor, n_steps: int
) -> FusedUnrolling | RecordedUnrolling | None:
    """Return the fast path of a network for one unrolling, ``None`` for the plain one.

    On a GPU, where it has to be asked for, its steps are recorded; see ``graphs``.

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
    FusedUnrolling, RecordedUnrolling or None
        The fast path. Why it is not taken is logged, once for each reason.
    """
    if _may_record(network, context):
        unrolling_of = partial(_fused_unrolling_of, network, context)
        return RecordedUnrolling(cast(Any, network), n_steps, unrolling_of)
    return _fused_unrolling_of(network, context, n_steps)


def _fused_unrolling_of(
    network: FusibleNetwork, context: Tensor, n_steps: int
) -> FusedUnrolling | None:
    # of a class itself: one that inherits from it may have other cells
    is_fusible = vars(type(network)).get("is_fusible", False)
    if network.fast_path is False or (network.fast_path is None and not is_fusible):
        return None
    modules = [module for module in network.modules() if isinstance(module, GateConvolution)]
    try:
        if not is_fusible:
            raise _NotFusedError("there is no fast path for the cells of this network")
        if network.fast_path is None:
            _check_size(network, context)
        for module in modules:
            _check_layer(module)
        kind = _kind_of(context, modules)
        kernels = _kernels_for(context, kind, network.fast_path)
    except _NotFusedError as reason:
        is_expected = network.fast_path is None and not isinstance(reason, _NotBuiltError)
        _log_once(logging.INFO if is_expected else logging.WARNING, str(reason))
        return None
    convolution_of = _convolutions_for(network, context, kind, n_steps)
    layers: dict[nn.Module, FusedLayer] = {
        module: _layer_of(module, convolution_of(module.convolution), kernels, kind)
        for module in modules
    }
    return FusedUnrolling(layers, kernels)


def _layer_of(
    module: GateConvolution, convolution: Convolution, kernels: Kernels, kind: torch.dtype
) -> FusedLayer:
    norm = module.norm if isinstance(module.norm, nn.GroupNorm) else None
    channels = module.group_channels
    return FusedLayer(module.convolution, norm, channels, convolution, kernels, kind)


def _may_record(network: FusibleNetwork, context: Tensor) -> bool:
    """Return whether the steps of an unrolling are to be recorded, where they can be."""
    if not network.fast_path or not vars(type(network)).get("is_fusible", False):
        return False
    try:
        _check_mode(context)
    except _NotFusedError:
        return False
    return can_record(cast(Any, network), context)


def _check_mode(context: Tensor) -> None:
    """Refuse to run where others look at what PyTorch is called for: kernels are nothing to see."""
    is_known = type(context) in (Tensor, nn.Parameter) or not _has_values(context)
    is_traced = torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    if not is_known or is_traced or torch.compiler.is_compiling():
        raise _NotFusedError("the network is traced")
    # not public, but what torch's own functions ask
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        raise _NotFusedError("the network is transformed by torch.func or differentiated forwards")


def _check_layer(module: GateConvolution) -> None:
    """Refuse a gate convolution that is not as it was made: its parts are not called."""
    convolution, norm = module.convolution, module.norm
    weight, sides = convolution.weight, convolution.kernel_size
    is_plain_norm = type(norm) is nn.Identity or (
        type(norm) is nn.GroupNorm and norm.num_groups == 1 and norm.affine
    )
    is_plain = (
        type(convolution).forward is nn.Conv2d.forward
        and (convolution.stride, convolution.dilation, convolution.groups) == ((1, 1), (1, 1), 1)
        and convolution.padding == tuple(side // 2 for side in sides)
        and convolution.padding_mode == "zeros"
        and is_plain_norm
        and (type(weight) in (Tensor, nn.Parameter) or not _has_values(weight))
        # else it is computed whenever it is asked for
        and convolution._parameters.get("weight") is weight
    )
    hooks = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    has_hooks = any(getattr(part, name) for part in (module, convolution, norm) for name in hooks)
    if not is_plain or has_hooks:
        raise _NotFusedError("a gate convolution was changed, or has hooks")
    if max(module.group_channels) > MOST_CHANNELS:
        raise _NotFusedError("its layers are too wide")


def _check_size(network: FusibleNetwork, context: Tensor) -> None:
    """Refuse hidden states so small that the calls of the kernels take longer than their work.

    The size of a batch makes no difference: a forecast alone is the one among others.
    """
    cells = math.prod(_grid_of(network, context))
    if cells * max(network.hidden_channels) < LEAST_VALUES:
        raise _NotFusedError("it is as fast for small grids and narrow layers")


def _kind_of(context: Tensor, modules: list[GateConvolution]) -> torch.dtype:
    """Return the type that convolutions compute in."""
    _check_mode(context)
    device = context.device.type
    parameters = [each for module in modules for each in module.parameters()]
    if {context.dtype, *(each.dtype for each in parameters)} != {torch.float32}:
        raise _NotFusedError("the fast path is for weights and frames of type float32")
    if {each.device for each in parameters} != {context.device}:
        raise _NotFusedError("weights and frames are on several devices")
    if torch.is_autocast_enabled(device):
        return torch.get_autocast_dtype(device)
    return torch.float32


def _grid_of(network: FusibleNetwork, context: Tensor) -> tuple[int, int]:
    """Return height and width of the hidden states."""
    height, width = (-(-side // network.patch_size) for side in context.shape[-2:])
    return height, width


def _convolutions_for(
    network: FusibleNetwork, context: Tensor, kind: torch.dtype, n_steps: int
) -> Callable[[nn.Conv2d], Convolution]:
    """Return what makes the convolutions of an unrolling of those of the network.

    On a CPU they have fewer products than they are defined by, unless units for matrices do these.
    """
    if _has_units_for(context, kind):
        n_at_once = 1 if network.recompute else min(STEPS_AT_ONCE, n_steps)
        return lambda module: DirectConvolution(module, kind, n_at_once)
    grid, workspace = _grid_of(network, context), Workspace()
    kernels = WinogradKernels(kernel_library() if _has_values(context) else None)

    def convolution_of(module: nn.Conv2d) -> Convolution:
        if WinogradConvolution.suits(module, *grid):
            return WinogradConvolution(module, kernels, workspace, keeps=not network.recompute)
        return DirectConvolution(module, kind, n_at_once=1)

    return convolution_of


def _has_units_for(context: Tensor, kind: torch.dtype) -> bool:
    """Return whether the device has units for matrices of a type."""
    if context.device.type != "cpu":
        return True
    if kind is not torch.bfloat16:
        return False
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_bf16"))
    # not public, but all there is in older versions
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


def _kernels_for(context: Tensor, kind: torch.dtype, fast_path: bool | None) -> Kernels:
    device = context.device.type
    if device == "cpu":
        kernels = _native_kernels(kind)
        return kernels if _has_values(context) else NativeKernels(library=None)
    if device != "cuda":
        raise _NotFusedError(f"there is no fast path on the device {device!r}")
    if fast_path is None:
        raise _NotFusedError("the fast path was not measured on a GPU yet; ask for it")
    if find_spec("triton") is None:
        raise _NotFusedError("on a GPU PyTorch's compiler needs Triton, which is not installed")
    return CompiledKernels() if _has_values(context) else FormulaKernels()


def _has_values(tensor: Tensor) -> bool:
    """Return whether a tensor has values, unlike those that costs are counted on."""
    return getattr(tensor, "has_values", True)


def _native_kernels(kind: torch.dtype) -> NativeKernels:
    if kind not in (torch.float32, torch.bfloat16):
        raise _NotFusedError(f"there is no fast path in {kind} on a CPU")
    found = _built_kernels()
    if isinstance(found, str):
        raise _NotBuiltError(found)
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
