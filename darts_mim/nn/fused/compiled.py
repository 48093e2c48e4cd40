"""The formulas, compiled: the fast path's elementwise work on a GPU.

Each formula becomes a kernel or two, compiled when it is first called: once for each way in which
its arguments may be laid out, and again where a size is 1 or two sizes are the same that were not
before.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import cache
from types import FunctionType
from typing import Any

import torch
from torch import Tensor

from darts_mim.nn.fused.formulas import FormulaKernels, Mode, Part, Source
from darts_mim.nn.fused.states import leaves_of, replaced

__all__ = ["CompiledKernels"]

_FORMULAS = FormulaKernels()


class CompiledKernels:
    """``Kernels`` that are compiled from the formulas by ``torch.compile``."""

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        """Return mean and 1 / standard deviation; see ``Kernels``."""
        stats: Tensor = _call("statistics", raw, epsilon)
        return stats

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        """Return the result of gates; see ``Kernels``."""
        result: Tensor = _call("gates", mode, tuple(sources), state)
        return result

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ``gates``; see ``Kernels``."""
        result: tuple[Tensor, Tensor, Tensor]
        result = _call("gates_backward", mode, tuple(sources), state, grad)
        return result

    def raw_gradient(
        self,
        parts: Sequence[Part],
        raw: Tensor,
        stats: Tensor | None,
        gain: Tensor | None,
        out: Tensor,
    ) -> Tensor:
        """Write the gradient of a convolution's output; see ``Kernels``."""
        affine: Tensor = _call("raw_gradient", tuple(parts), raw, stats, gain, out)
        return affine


def _call(name: str, *arguments: Any) -> Any:
    """Call a compiled formula on its arguments, without their places in the graph of autograd."""
    leaves: list[Any] = leaves_of(arguments)
    plain = [each.detach() if isinstance(each, Tensor) else each for each in leaves]
    compiled = _compiled(name, torch.is_inference_mode_enabled(), *map(_layout_of, plain))
    return compiled(_FORMULAS, *replaced(arguments, iter(plain)))


def _layout_of(argument: Any) -> Hashable:
    """Return the type of a tensor, and if it is a piece of another; other things as they are."""
    if not isinstance(argument, Tensor):
        return argument  # type: ignore[no-any-return]
    is_whole = argument.dim() < 4 or argument.stride(3) == argument.shape[1]
    return argument.dtype, argument.storage_offset() == 0, is_whole


@cache
def _compiled(name: str, *layout: Hashable) -> Callable[..., Any]:
    """Return a formula, compiled for any sizes when it is first called.

    PyTorch compiles the same code no more than eight times, and then runs it as it is: a step asks
    for more than that. So each layout has a copy of the code.
    """
    formula: Any = getattr(FormulaKernels, name)
    copy = FunctionType(formula.__code__.replace(), formula.__globals__, name)
    compiled: Callable[..., Any] = torch.compile(copy, dynamic=True)
    return compiled
