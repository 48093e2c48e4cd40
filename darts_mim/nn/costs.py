"""Operations and memory of a computation."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry


class CostMeter(TorchDispatchMode):
    """Count the operations done in a context, and the bytes of the tensors made in it.

    Unlike ``torch.utils.flop_counter.FlopCounterMode``, whose formulas it uses, it keeps no tensor
    alive, so that memory and recomputation are counted as they are.

    Attributes
    ----------
    flops
        Floating-point operations of convolutions and matrix products. A product and a sum are two.
    held
        Bytes of the tensors made in the context that still exist. Views hold none of their own.

    Examples
    --------
    >>> with CostMeter() as meter:
    ...     a = torch.ones(10, 30)
    ...     b = (a @ a.T).sum()
    >>> meter.flops, meter.held
    (6000, 1204)
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.held = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            self.flops += count(*args, **kwargs, out_val=result)
        given = {each.untyped_storage()._cdata for each in _tensors((args, *kwargs.values()))}
        for tensor in _tensors([result]):
            if tensor.untyped_storage()._cdata not in given:
                self._hold(tensor.untyped_storage())
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        size = storage.nbytes()
        self.held += size
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.held -= size


def _tensors(values: Iterable[Any]) -> Iterator[Tensor]:
    for each in values:
        if isinstance(each, Tensor):
            yield each
        elif isinstance(each, list | tuple):
            yield from _tensors(each)
