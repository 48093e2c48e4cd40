"""Convolutions of the fast path by PyTorch's own, weight gradients over many time steps at once."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from darts_mim.nn.fused.layers import Convolution
from darts_mim.nn.fused.tensors import channels_last, empty_channels_last


class DirectConvolution(Convolution):
    """A ``Convolution`` that calls PyTorch's.

    On a processor with matrix units the weight's gradient is faster for many steps at once.

    Parameters
    ----------
    module
        The convolution of the network.
    kind
        Type that is convolved in.
    n_at_once
        Number of steps that the weight's gradient is taken of at once.
    """

    def __init__(self, module: nn.Conv2d, kind: torch.dtype, n_at_once: int = 1) -> None:
        super().__init__(module.weight.detach().to(kind, memory_format=torch.channels_last))
        self._padding = [side // 2 for side in module.kernel_size]
        self._sum_kind = torch.promote_types(kind, torch.float32)
        self._n_at_once = n_at_once
        self._held: list[Tensor] = []
        self._room: Tensor | None = None

    def convolve(self, x: Tensor) -> Tensor:
        """Return the output for ``x``; see ``Convolution``."""
        return channels_last(torch.conv2d(x, self.values, padding=self._padding))

    def place_for(self, raw: Tensor) -> Tensor:
        """Return where to write an output's gradient; see ``Convolution``."""
        if self._n_at_once == 1:
            return super().place_for(raw)
        b, first = len(raw), len(raw) * len(self._held)
        if self._room is None:
            self._room = empty_channels_last((b * self._n_at_once, *raw.shape[1:]), raw)
        return self._room[first : first + b]

    def backward(self, d_raw: Tensor, x: Tensor, of_input: bool, of_weight: bool) -> Tensor | None:
        """Return the input's gradient, add the weight's; see ``Convolution``."""
        now = of_weight and self._n_at_once == 1
        d_x, gradient = self._gradients(d_raw, x, of_input, now)
        if now:
            self._add(gradient)
        elif of_weight:
            self._held.append(x)
            if len(self._held) == self._n_at_once:
                self._add_held()
        return d_x

    def take(self) -> Tensor | None:
        """Return the sum of the weight's gradients; see ``Convolution``."""
        if self._held:
            self._add_held()
        return super().take()

    def forget(self) -> None:
        """Forget what another backward pass has left."""
        super().forget()
        self._held, self._room = [], None

    def _gradients(
        self, d_raw: Tensor, x: Tensor, of_input: bool, of_weight: bool
    ) -> tuple[Tensor | None, Tensor | None]:
        wanted, ones = [of_input, of_weight, False], [1, 1]
        if not any(wanted):
            return None, None
        d_x, d_weight, _ = torch.ops.aten.convolution_backward(
            d_raw, x, self.values, None, ones, self._padding, ones, False, [0, 0], 1, wanted
        )
        return d_x, d_weight

    def _add_held(self) -> None:
        x = torch.cat(self._held)
        self._held = []
        _, gradient = self._gradients(cast(Tensor, self._room)[: len(x)], x, False, True)
        self._add(gradient)

    def _add(self, gradient: Tensor | None) -> None:
        gradient = cast(Tensor, gradient).to(self._sum_kind)
        self._total = gradient if self._total is None else self._total.add_(gradient)
