"""The formulas, compiled: the fast path's elementwise work on a GPU.

Each formula becomes a kernel or two, compiled when it is first called: once for a type and a number
of sources, and again where a size is 1 or two sizes are the same that were not before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

from darts_mim.nn.fused.formulas import FormulaKernels, Mode, Part, Source

__all__ = ["CompiledKernels"]

_FORMULAS = FormulaKernels()


class CompiledKernels:
    """``Kernels`` that are compiled from the formulas by ``torch.compile``."""

    def statistics(self, raw: Tensor, epsilon: float) -> Tensor:
        """Return mean and 1 / standard deviation; see ``Kernels``."""
        stats: Tensor = _compiled("statistics")(raw, epsilon)
        return stats

    def gates(self, mode: Mode, sources: Sequence[Source], state: Tensor) -> Tensor:
        """Return the result of gates; see ``Kernels``."""
        result: Tensor = _compiled("gates")(mode, tuple(sources), state)
        return result

    def gates_backward(
        self, mode: Mode, sources: Sequence[Source], state: Tensor, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the gradients of ``gates``; see ``Kernels``."""
        result: tuple[Tensor, Tensor, Tensor]
        result = _compiled("gates_backward")(mode, tuple(sources), state, grad)
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
        affine: Tensor = _compiled("raw_gradient")(tuple(parts), raw, stats, gain, out)
        return affine


@cache
def _compiled(name: str) -> Callable[..., Any]:
    """Return a formula, compiled for any sizes when it is first called."""
    compiled: Callable[..., Any] = torch.compile(getattr(_FORMULAS, name), dynamic=True)
    return compiled
