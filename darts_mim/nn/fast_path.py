"""Whether a network takes the fast path: decided once for a device, a type and a grid.

A decision is remembered under all that it depends on, and a network that was changed is looked at
anew. The plain cells do not know of this module; ``RecurrentNetwork.forward`` asks it for a faster
step before it unrolls.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from functools import cache
from typing import Any, Protocol, TypeAlias, cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad

from darts_mim.nn.compiled_steps import cannot_compile, compiled_step
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.direct import DirectConvolution
from darts_mim.nn.fused.layers import Convolution, FusedLayer
from darts_mim.nn.fused.native import NativeKernels
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.fused.winograd import WinogradConvolution, WinogradKernels, Workspace
from darts_mim.nn.gates import GateConvolution
from darts_mim.nn.unrolling import Step

logger = logging.getLogger(__name__)

FastPath: TypeAlias = Callable[[Step[Any], int], Step[Any]]
"""Makes of a step, for one unrolling over a number of steps, a faster one."""

STEPS_AT_ONCE = 4
"""Number of steps that the gradient of a weight is taken of at once, by matrix units."""

MOST_CHANNELS = 2**13
"""Channels of gates side by side that the kernels have room for, on the stack of a thread."""

LEAST_VALUES = 2**13
"""Values of a sequence's widest hidden state from which on the fast path is faster."""

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


class FastNetwork(Protocol):
    """A network that may take the fast path; ``RecurrentNetwork`` documents the options."""

    fast_path: bool | None
    recompute: bool
    hidden_channels: tuple[int, ...]
    patch_size: int


class _PlainPathError(Exception):
    """A network takes the plain path; the text says why."""


class _NotBuiltError(_PlainPathError):
    """It does until somebody acts on what the text says."""


def fast_path_of(network: FastNetwork, context: Tensor) -> FastPath | None:
    """Return the fast path of a network, ``None`` where it takes the plain one.

    Parameters
    ----------
    network
        The network, a module.
    context
        The frames that it is called with. They say where and in which type it computes.

    Returns
    -------
    FastPath or None
        Why a network takes the plain path is logged, once for each reason.
    """
    if network.fast_path is False or (network.fast_path is None and not _is_fusible(network)):
        return None
    module = cast(nn.Module, network)
    remembered = _DECISIONS.setdefault(module, {})
    gates = [part for part in module.modules() if isinstance(part, GateConvolution)]
    key = _key_of(network, context, gates)
    if key not in remembered:
        remembered[key] = _decide(network, context, gates)
    return remembered[key]


_DECISIONS: WeakKeyDictionary[nn.Module, dict[Hashable, FastPath | None]] = WeakKeyDictionary()


def _key_of(network: FastNetwork, context: Tensor, gates: list[GateConvolution]) -> Hashable:
    """Return all that a decision depends on."""
    parts = [part for each in gates for part in (each, each.convolution, each.norm)]
    weights = [each for part in parts for each in part._parameters.values() if each is not None]
    return (
        (type(context), context.dtype, context.device, context.shape[-2:]),
        _autocast_on(context),
        _is_watched(),
        (network.fast_path, network.recompute, network.patch_size),
        (*parts, *(any(getattr(part, name) for name in _HOOKS) for part in parts)),
        tuple((type(each), each.dtype, each.device) for each in weights),
    )


def _decide(network: FastNetwork, context: Tensor, gates: list[GateConvolution]) -> FastPath | None:
    try:
        if type(context) not in (Tensor, nn.Parameter):
            raise _PlainPathError("the network is traced")
        if watcher := _is_watched():
            raise _PlainPathError(watcher)
        if context.device.type == "cuda":
            return _on_gpu(network)
        return _on_cpu(network, context, gates)
    except _PlainPathError as reason:
        is_expected = network.fast_path is None and not isinstance(reason, _NotBuiltError)
        _log_once(logging.INFO if is_expected else logging.WARNING, str(reason))
        return None


def _is_watched() -> str | None:
    """Return who looks at what PyTorch is called for, if anybody: kernels are nothing to see."""
    is_traced = torch.onnx.is_in_onnx_export() or torch.jit.is_tracing()  # type: ignore[attr-defined]
    if is_traced or torch.compiler.is_compiling() or torch._C._len_torch_dispatch_stack() > 0:
        return "the network is traced"
    # not public, but what torch's own functions ask
    if torch._C._are_functorch_transforms_active() or forward_ad._current_level >= 0:
        return "the network is transformed by torch.func or differentiated forwards"
    return None


def _on_gpu(network: FastNetwork) -> FastPath:
    """Return the fast path on a GPU, all of which is PyTorch's."""
    if network.fast_path is None:
        raise _PlainPathError("the fast path was not measured on a GPU yet; ask for it")
    if network.recompute:
        raise _PlainPathError("compiled steps are not recomputed")
    if reason := cannot_compile():
        raise _NotBuiltError(reason)
    return compiled_step


def _on_cpu(network: FastNetwork, context: Tensor, gates: list[GateConvolution]) -> FastPath:
    """Return the fast path on a CPU, by kernels in C."""
    height, width = (-(-side // network.patch_size) for side in context.shape[-2:])
    _check_network(network, context, height * width)
    _check_weights(context, gates)
    kind = _autocast_on(context) or torch.float32
    if kind not in (torch.float32, torch.bfloat16):
        raise _PlainPathError(f"there is no fast path in {kind} on a CPU")
    built = _built_kernels()
    if isinstance(built, str):
        raise _NotBuiltError(built)
    elementwise, products = built
    has_units = kind is torch.bfloat16 and _has_matrix_units()
    takes_fewer_products = {
        part: not has_units and WinogradConvolution.suits(part.convolution, height, width)
        for part in gates
    }
    keeps_evaluated = not network.recompute  # with it, memory counts for more than time
    most_at_once = STEPS_AT_ONCE if has_units and keeps_evaluated else 1

    def accelerate(step: Step[Any], n_steps: int) -> Step[Any]:
        workspace, n_at_once = Workspace(), min(most_at_once, n_steps)

        def convolution_of(part: GateConvolution) -> Convolution:
            if takes_fewer_products[part]:
                return WinogradConvolution(part.convolution, products, workspace, keeps_evaluated)
            return DirectConvolution(part.convolution, kind, n_at_once)

        layers = {part: FusedLayer(part, convolution_of(part), elementwise, kind) for part in gates}
        return FusedUnrolling(layers, elementwise).running(step)

    return accelerate


def _check_network(network: FastNetwork, context: Tensor, cells: int) -> None:
    if not _is_fusible(network):
        raise _PlainPathError("there is no fast path for the cells of this network")
    # the size of a batch makes no difference: a forecast alone is the one among others
    is_small = cells * max(network.hidden_channels) < LEAST_VALUES
    if network.fast_path is None and is_small:
        raise _PlainPathError("the fast path is not faster for small grids and narrow layers")
    if context.device.type != "cpu":
        raise _PlainPathError(f"there is no fast path on the device {context.device.type!r}")


def _check_weights(context: Tensor, gates: list[GateConvolution]) -> None:
    for part in gates:
        _check_layer(part)
    weights = [each for part in gates for each in part.parameters()]
    if {context.dtype, *(each.dtype for each in weights)} != {torch.float32}:
        raise _PlainPathError("the fast path is for weights and frames of type float32")
    if {each.device for each in weights} != {context.device}:
        raise _PlainPathError("weights and frames are on several devices")


def _is_fusible(network: FastNetwork) -> bool:
    """Return whether a class says so itself: one that inherits from it may have other cells."""
    return bool(vars(type(network)).get("is_fusible", False))


def _check_layer(part: GateConvolution) -> None:
    """Refuse a gate convolution that is not as it was made: its parts are not called."""
    convolution, norm = part.convolution, part.norm
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
        and type(weight) in (Tensor, nn.Parameter)
        # else it is computed whenever it is asked for
        and convolution._parameters.get("weight") is weight
    )
    has_hooks = any(getattr(each, name) for each in (part, convolution, norm) for name in _HOOKS)
    if not is_plain or has_hooks:
        raise _PlainPathError("a gate convolution was changed, or has hooks")
    if max(part.group_channels) > MOST_CHANNELS:
        raise _PlainPathError("its layers are too wide")


def _autocast_on(context: Tensor) -> torch.dtype | None:
    device = context.device.type
    return torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else None


def _has_matrix_units() -> bool:
    """Return whether the processor has units that multiply matrices in bfloat16 (AMX)."""
    if hasattr(torch.cpu, "get_capabilities"):
        return bool(torch.cpu.get_capabilities().get("amx_bf16"))
    # not public, but all there is in older versions
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", bool)())


@cache
def _built_kernels() -> tuple[NativeKernels, WinogradKernels] | str:
    """Return the kernels in C, or why there are none."""
    try:
        library = kernel_library()
    except CannotBuildError as error:
        return str(error)
    return NativeKernels(library), WinogradKernels(library)


@cache
def _log_once(level: int, reason: str) -> None:
    logger.log(level, "Using the plain cells: %s.", reason)
