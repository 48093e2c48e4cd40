"""Convolutions of the fast path on a CPU by fewer products: Winograd's minimal filtering, in C.

A kernel of 5 by 5 takes 36 products for four outputs and not 100, one of 3 by 3 takes 36 for 16 and
not 144. ``winograd.c`` explains the method. Legend: B batch, I and O input and output
channels, H height, W width, k side of the kernel, P channels of a panel.

References
----------
.. [1] A. Lavin, S. Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016.
.. [2] B. Barabasz, A. Anderson, K. M. Soodhalter, D. Gregg, "Error Analysis and Improving the
   Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 2020: points that round
   less.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from math import prod
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from darts_mim.nn.fused.build import CHANNELS, TILES
from darts_mim.nn.fused.layers import Convolution
from darts_mim.nn.fused.native import SUFFIXES, bound, in_c
from darts_mim.nn.fused.tensors import channels_last, empty_channels_last

_SIDES = (3, 5)
_POINTS = 6
_SQUARE = _POINTS**2
_MULTIPLE = 32  # of which numbers of channels must be
_SLAB, _HALF_SLAB = (_SQUARE * (TILES * each + 16) for each in (CHANNELS, _MULTIPLE))  # values
_HALVES_AT_ONCE = 32
_TILES_AT_ONCE = 8  # that a product of matrices has rows for
_MOST_VALUES = 2**24  # of an evaluated weight: it has to be read for each step

_Address, _Size, _Integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_OF_WEIGHTS: dict[str, list[Any]] = {
    "evaluate": [*[_Address] * 3, *[_Size] * 3, _Integer],
    "read": [*[_Address] * 3, *[_Size] * 3, _Integer],
}
_OF_FIELDS: dict[str, list[Any]] = {
    "convolve": [*[_Address] * 4, *[_Size] * 6, _Integer],
    "weight_gradient": [*[_Address] * 4, *[_Size] * 7, _Integer],
}


class Workspace:
    """Memory that the convolutions of an unrolling use one after the other.

    Attributes
    ----------
    lock
        To be held by who uses it: backward passes may be run by several threads.
    """

    def __init__(self) -> None:
        self.lock = Lock()
        self._room: Tensor | None = None

    def room(self, size: int, like: Tensor) -> Tensor:
        """Return room for ``size`` values of float32."""
        if self._room is None or self._room.numel() < size:
            self._room = like.new_empty(size, dtype=torch.float32)
        return self._room


class WinogradKernels:
    """The functions in C, on tensors in float32 or bfloat16.

    Weights are evaluated to *panels*, of shape (O / P, 36, I, P).

    Parameters
    ----------
    library
        The library that ``winograd.c`` was compiled to.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._panel: int = library.winograd_panel()
        self._functions: dict[Any, Any] = {
            name: bound(library, f"winograd_{name}", arguments)
            for name, arguments in _OF_WEIGHTS.items()
        }
        for name, arguments in _OF_FIELDS.items():
            for kind, suffix in SUFFIXES.items():
                function = bound(library, f"winograd_{name}_{suffix}", arguments)
                self._functions[name, kind] = function

    def zeros(self, weight: Tensor) -> Tensor:
        """Return panels of zeros, for the gradient of a weight (O, I, k, k)."""
        out, channels, *_ = weight.shape
        return weight.new_zeros(out // self._panel, _SQUARE, channels, self._panel)

    def evaluate(self, weight: Tensor, is_turned: bool) -> Tensor:
        """Return the panels of a weight (O, I, k, k).

        With ``is_turned`` they are of the weight that brings gradients back from outputs to inputs:
        O and I change places, and kernels are turned by half a turn.
        """
        out, channels, kernel, _ = weight.shape
        if weight.dtype is not torch.float32 or kernel not in _SIDES:
            raise ValueError(
                f"a weight must be float32 with a kernel of a side in {_SIDES}, got {weight.dtype} "
                f"of the shape {tuple(weight.shape)}"
            )
        strides, address = weight.stride(), weight.data_ptr()
        if is_turned:
            out, channels = channels, out
            address += (kernel - 1) * (strides[2] + strides[3]) * weight.element_size()
            strides = strides[1], strides[0], -strides[2], -strides[3]
        panels = weight.new_empty(out // self._panel, _SQUARE, channels, self._panel)
        arguments = address, _integers(strides), panels, channels, out, kernel
        self._call("evaluate", torch.get_num_threads(), *arguments)
        return panels

    def read(self, panels: Tensor, like: Tensor) -> Tensor:
        """Return the gradient of a weight, ``like`` it, for that of its panels."""
        weight = torch.empty_like(like)
        out, channels, kernel, _ = weight.shape
        arguments = panels, weight, _integers(weight.stride()), channels, out, kernel
        self._call("read", torch.get_num_threads(), *arguments)
        return weight

    def convolve(self, x: Tensor, panels: Tensor, kernel: int, workspace: Workspace) -> Tensor:
        """Return the output (B, O, H, W) for an input (B, I, H, W)."""
        x = channels_last(x)
        b, channels, height, width = x.shape
        _check(panels, channels)
        out, threads = len(panels) * self._panel, torch.get_num_threads()
        with workspace.lock:
            room = workspace.room(3 * threads * _SLAB, x)
            y = empty_channels_last((b, out, height, width), x)
            arguments = x, panels, y, room, b, height, width, channels, out, kernel
            self._call(("convolve", x.dtype), threads, *arguments)
        return y

    def add_weight_gradient(
        self, x: Tensor, d_y: Tensor, panels: Tensor, kernel: int, workspace: Workspace
    ) -> None:
        """Add to ``panels`` their gradient for an input and the gradient of the output."""
        x, d_y = channels_last(x), channels_last(d_y)
        b, channels, height, width = x.shape
        out = len(panels) * self._panel
        _check(panels, channels)
        if d_y.dtype is not x.dtype or d_y.shape != (b, out, height, width):
            raise ValueError(
                f"the gradient must be {x.dtype} of the shape {(b, out, height, width)}, got "
                f"{d_y.dtype} of the shape {tuple(d_y.shape)}"
            )
        n_halves, threads = max(_HALVES_AT_ONCE, channels // _MULTIPLE), torch.get_num_threads()
        with workspace.lock:
            room = workspace.room(threads * _SLAB + n_halves * _HALF_SLAB, x)
            arguments = x, d_y, panels, room, n_halves, b, height, width, channels, out, kernel
            self._call(("weight_gradient", x.dtype), threads, *arguments)

    def _call(self, function: Any, threads: int, *arguments: Any) -> None:
        self._functions[function](*in_c(arguments), threads)


def _check(panels: Tensor, channels: int) -> None:
    """Refuse what would be read out of bounds."""
    if panels.shape[2] != channels:
        raise ValueError(
            f"an input of {panels.shape[2]} channels is convolved with this weight, got {channels}"
        )


def _integers(values: Sequence[int]) -> Any:
    return (_Size * len(values))(*values)


class WinogradConvolution(Convolution):
    """A ``Convolution`` by Winograd's minimal filtering.

    Parameters
    ----------
    module
        The convolution of the network; see ``suits``.
    kernels
        What computes.
    workspace
        Room that is shared with others.
    keeps
        Whether to keep evaluated weights, which are larger than the weights, rather than to
        evaluate them for each step.
    """

    def __init__(
        self,
        module: nn.Conv2d,
        kernels: WinogradKernels,
        workspace: Workspace,
        keeps: bool = True,
    ) -> None:
        super().__init__(module.weight.detach())
        self._side = module.kernel_size[0]
        self._kernels, self._workspace, self._keeps = kernels, workspace, keeps
        self._version = self._version_now()
        self._kept: dict[bool, Tensor] = {}

    @staticmethod
    def suits(module: nn.Conv2d, height: int, width: int) -> bool:
        """Return whether a convolution can be done so, and is faster on a grid.

        The size of a batch makes no difference: a forecast alone is the one among others.
        """
        side = module.kernel_size[0]
        if side not in _SIDES or module.kernel_size != (side, side):
            return False
        n_kernels = module.in_channels * module.out_channels
        if module.in_channels % _MULTIPLE or module.out_channels % _MULTIPLE:
            return False
        if n_kernels * _SQUARE > _MOST_VALUES:
            return False
        tile = _POINTS - side + 1
        n_tiles = prod(-(-extent // tile) for extent in (height, width))
        n_products = _SQUARE * -(-n_tiles // _TILES_AT_ONCE) * _TILES_AT_ONCE
        # beside the products there is other work, half as much in time
        return 1.5 * n_products < height * width * side**2

    def convolve(self, x: Tensor) -> Tensor:
        """Return the output for ``x``; see ``Convolution``."""
        return self._kernels.convolve(x, self._evaluated(False), self._side, self._workspace)

    def backward(self, d_raw: Tensor, x: Tensor, of_input: bool, of_weight: bool) -> Tensor | None:
        """Return the input's gradient, add the weight's; see ``Convolution``."""
        if of_weight:
            if self._total is None:
                self._total = self._kernels.zeros(self.values)
            self._kernels.add_weight_gradient(x, d_raw, self._total, self._side, self._workspace)
        if not of_input:
            return None
        return self._kernels.convolve(d_raw, self._evaluated(True), self._side, self._workspace)

    def take(self) -> Tensor | None:
        """Return the sum of the weight's gradients; see ``Convolution``."""
        total = super().take()
        return None if total is None else self._kernels.read(total, self.values)

    def _evaluated(self, is_turned: bool) -> Tensor:
        """Return the panels of the weight, or of the one that brings gradients back."""
        panels = self._kept.get(is_turned)
        if panels is None:
            if self._version_now() != self._version:
                raise RuntimeError(
                    "a weight has been modified by an inplace operation since the forward pass; "
                    "call `backward` before the optimizer's step"
                )
            panels = self._kernels.evaluate(self.values, is_turned)
            if self._keeps:
                self._kept[is_turned] = panels
        return panels

    def _version_now(self) -> int:
        """Return how often the weight was changed, as autograd counts it."""
        return 0 if self.values.is_inference() else self.values._version
