"""Kernels in C, compiled on the machine they run on: the fast path's elementwise work on a CPU.

Legend: B batch, C channels, H height, W width, N = H * W, G gates, K sources.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from darts_mim.nn.fused.build import ROWS
from darts_mim.nn.fused.tensors import channels_last
from darts_mim.nn.gates import Mode

N_GATES: dict[Mode, int] = {"remember": 3, "admit": 2, "emit": 1}
"""Gates of each mode, in the order g, i, f; that of ``"emit"`` is o."""

_MODES: dict[Mode, int] = {"remember": 0, "admit": 1, "emit": 2}
SUFFIXES = {torch.float32: "float", torch.bfloat16: "bfloat16"}
_Address, _Size, _Integer = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_ARGUMENTS: dict[str, list[Any]] = {
    "statistics": [*[_Address] * 3, ctypes.c_double, *[_Size] * 3, _Integer],
    "gates": [_Integer, _Integer, *[_Address] * 3, *[_Size] * 3, _Integer],
    "gates_backward": [_Integer, _Integer, *[_Address] * 7, *[_Size] * 3, _Integer],
    "raw_gradient": [_Integer, *[_Address] * 9, *[_Size] * 3, _Integer],
}


class Source(NamedTuple):
    """A summand of pre-activations: channels of a convolution's output, not yet normalised.

    Attributes
    ----------
    raw
        The channels, of shape (B, G * C, H, W).
    stats
        Mean and 1 / standard deviation of each sample of the whole output, of shape (B, 2);
        ``None`` without normalisation.
    gain, bias
        What normalised channels are multiplied with, and what is added, of shape (G * C,); ``None``
        for 1 and 0.
    """

    raw: Tensor
    stats: Tensor | None
    gain: Tensor | None
    bias: Tensor | None


class Part(NamedTuple):
    """Gradient of a source: of the pre-activations, and what gain and bias need of it.

    Attributes
    ----------
    d_pre
        Gradient of the pre-activations, of shape (B, G * C, H, W).
    sums
        Its sums over the grid, and those of its product with the normalised channels, of shape
        (B, 2, G * C).
    """

    d_pre: Tensor
    sums: Tensor


class NativeKernels:
    """The elementwise work of a step and of its backward pass, in C.

    Outputs of convolutions are float32 or bfloat16, states float32. The tests hold it to formulas
    in PyTorch.

    Parameters
    ----------
    library
        The library that ``kernels.c`` was compiled to.
    """

    def __init__(self, library: ctypes.CDLL) -> None:
        self._functions = {
            (name, kind): bound(library, f"{name}_{suffix}", arguments)
            for name, arguments in _ARGUMENTS.items()
            for kind, suffix in SUFFIXES.items()
        }

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        """Return mean and 1 / standard deviation of each sample, (B, 2), of ``raw`` (B, C, H, W).

        ``epsilon`` is added to the variance.
        """
        b, _, height, width = raw.shape
        stats = raw.new_empty(b, 2, dtype=torch.float32)
        partial = raw.new_empty(b * _blocks(height * width) * 3, dtype=torch.float64)
        self._call("statistics", raw.dtype, raw, stats, partial, epsilon, *_sizes(raw))
        return stats

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        """Return the result of gates, of the shape (B, C, H, W) and the type of ``state``."""
        _check(mode, sources, state)
        state, rows = channels_last(state), _in_rows(sources)
        result = torch.empty_like(state)
        arguments = _MODES[mode], len(sources), rows, state, result, *_sizes(state)
        self._call("gates", sources[0].raw.dtype, *arguments)
        return result

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ``gates``, from that of its result.

        Returns
        -------
        d_pre
            Gradient of the pre-activations, of shape (B, G * C, H, W), of the type of the sources.
        d_state
            Gradient of the state.
        sums
            For each source what ``Part.sums`` is, of shape (K, B, 2, G * C).
        """
        _check(mode, sources, state, grad)
        state, grad, rows = channels_last(state), channels_last(grad), _in_rows(sources)
        b, c, height, width = state.shape
        k, channels = len(sources), N_GATES[mode] * c
        d_pre = torch.empty_like(sources[0].raw, memory_format=torch.channels_last)
        d_state = grad if mode == "admit" else torch.empty_like(state)
        sums = state.new_empty(k, b, 2, channels)
        partial = state.new_empty(b * _blocks(height * width) * (1 + k) * channels)
        tensors = state, grad, d_pre, d_state, sums, partial
        arguments = _MODES[mode], k, rows, *tensors, *_sizes(state)
        self._call("gates_backward", d_pre.dtype, *arguments)
        return d_pre, d_state, sums

    def raw_gradient(
        self,
        parts: Sequence[Part],
        raw: Tensor,
        stats: Tensor | None,
        gain: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Write the gradient of a convolution's output, and return that of gain and bias.

        Parameters
        ----------
        parts
            Gradients of the sources that the output was split into, in the order of channels.
        raw, stats, gain
            The output, of shape (B, C, H, W), and how it was normalised, as for ``Source``.
        out
            Where its gradient is written, of its shape.

        Returns
        -------
        Tensor
            Gradients of bias and gain, of shape (2, C).
        """
        raw = channels_last(raw)
        if {raw.dtype, out.dtype, *(part.d_pre.dtype for part in parts)} != {raw.dtype}:
            raise TypeError("gradients must be of the type of the convolution's output")
        d_pre = [channels_last(part.d_pre) for part in parts]
        sums = [part.sums.contiguous() for part in parts]
        widths = [each.shape[1] for each in d_pre]
        d_affine = sums[0].new_empty(2, raw.shape[1])
        d_bias, d_gain = d_affine
        tensors = d_pre, sums, raw, stats, gain, out, d_gain, d_bias
        self._call("raw_gradient", raw.dtype, len(parts), widths, *tensors, *_sizes(raw))
        return d_affine

    def _call(self, name: str, kind: torch.dtype, *arguments: Any) -> None:
        self._functions[name, kind](*in_c(arguments), torch.get_num_threads())


def _check(mode: Mode, sources: Sequence[Source], *states: Tensor) -> None:
    """Refuse what the C functions would read or write out of bounds.

    Frames that are fed back, or states that are handed in, may have other sizes than the rest.
    """
    shape = states[0].shape
    b, c, height, width = shape
    kind, expected = sources[0].raw.dtype, (b, N_GATES[mode] * c, height, width)
    for state in states:
        if state.dtype is not torch.float32 or state.shape != shape or not state.is_cpu:
            raise ValueError(
                f"a state and its gradient must be float32 of the shape {tuple(shape)} on the CPU, "
                f"got {state.dtype} of the shape {tuple(state.shape)} on {state.device}"
            )
    for raw in (source.raw for source in sources):
        if raw.shape != expected or raw.dtype is not kind or not raw.is_cpu:
            raise ValueError(
                f"gates must be computed of {kind} of the shape {expected} on the CPU, got "
                f"{raw.dtype} of the shape {tuple(raw.shape)} on {raw.device}; give frames and "
                "states of one batch and grid"
            )


def bound(library: ctypes.CDLL, name: str, arguments: list[Any]) -> Any:
    """Return a function of a library that takes ``arguments`` and returns nothing."""
    function = library[name]
    function.argtypes, function.restype = arguments, None
    return function


def _blocks(n: int) -> int:
    return -(-n // ROWS)


def in_c(arguments: Iterable[Any]) -> list[Any]:
    """Return arguments as the C functions take them.

    Tensors become addresses, and must outlive the call; lists become arrays.
    """
    values: list[Any] = []
    for each in arguments:
        if isinstance(each, Tensor):
            values.append(each.data_ptr())
        elif isinstance(each, list):
            words = in_c(each)
            values.append((_Size * len(words))(*words))
        else:
            values.append(each)
    return values


def _in_rows(sources: Sequence[Source]) -> list[Tensor | int]:
    """Return the fields of ``Source`` in C, one source after the other.

    Cells must be equally far from each other, with the channels innermost: others are copied.
    """
    rows: list[Tensor | int] = []
    for raw, *norm in sources:
        width = _row_width(raw)
        if width is None:
            raw = channels_last(raw)
            width = raw.shape[1]
        rows += raw, width, *(0 if each is None else each for each in norm)
    return rows


def _row_width(raw: Tensor) -> int | None:
    """Return how far it is from one cell to the next, in values; ``None`` if that differs."""
    b, channels, height, width = shape = raw.shape
    strides = of_sample, _, of_line, of_cell = raw.stride()
    far = of_cell if width > 1 else of_line if height > 1 else of_sample if b > 1 else channels
    expected = height * width * far, 1, width * far, far
    if strides == expected:
        return far
    pairs = zip(shape, strides, expected, strict=True)
    return far if all(size == 1 or stride == wanted for size, stride, wanted in pairs) else None


def _sizes(tensor: Tensor) -> tuple[int, int, int]:
    b, c, height, width = tensor.shape
    return b, height * width, c
