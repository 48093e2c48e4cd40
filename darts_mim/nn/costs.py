"""What a computation costs: operations and memory, counted on tensors that have no values.

Nothing is computed and nothing large is allocated, and yet the very operations of a training step
run, those of its backward pass, of mixed precision and of recomputation among them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

# not public, but documented for estimates such as this: torch's own tensors without values, which
# know what each operation returns; to run all of a step on them takes ten times as long
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils.flop_counter import flop_registry

__all__ = ["CostMeter", "drop_values", "metered"]

_aten = torch.ops.aten


@contextmanager
def metered() -> Iterator[CostMeter]:
    """Count what operations cost in this context, in which new tensors have no values.

    Yields
    ------
    CostMeter
        The counts.

    Examples
    --------
    >>> with metered() as meter:
    ...     a = torch.ones(1_000_000, 100)
    ...     b = (a @ a.T).sum()
    >>> meter.flops, meter.peak == 4 * (a.numel() + 1_000_000**2 + 1)
    (200000000000000, True)
    """
    with CostMeter() as meter:
        yield meter


def drop_values(
    module: nn.Module, device: torch.device, dtype: torch.dtype | None = None
) -> nn.Module:
    """Replace the parameters and buffers of a module by tensors without values, in place.

    Parameters
    ----------
    module
        A module, best one built on the device ``"meta"``, which allocates nothing.
    device
        Device to compute for.
    dtype
        Type of what is floating-point, ``None`` to leave it.

    Returns
    -------
    torch.nn.Module
        The module; call this in a context of ``metered``, and the module there alone.

    Examples
    --------
    >>> with torch.device("meta"):
    ...     layer = nn.Linear(10_000, 10_000)
    >>> with metered() as meter:
    ...     drop_values(layer, torch.device("cpu"))(torch.ones(1, 10_000)).sum().backward()
    >>> meter.held == 4 * 2 * (10_000 * 10_000 + 10_000)  # weights and gradients
    True
    """
    replaced: dict[Tensor, Any] = {}  # what several parts share

    def empty(tensor: Tensor) -> Any:
        kind = dtype if dtype is not None and tensor.is_floating_point() else tensor.dtype
        size, stride = tensor.shape, tensor.stride()
        return torch.empty_strided(size, stride, dtype=kind, device=device)

    for part in module.modules():
        for name, parameter in part._parameters.items():
            if parameter is not None:
                if parameter not in replaced:
                    new = nn.Parameter(empty(parameter), parameter.requires_grad)
                    replaced[parameter] = new
                part._parameters[name] = replaced[parameter]
        for name, buffer in part._buffers.items():
            if buffer is not None:
                part._buffers[name] = empty(buffer)
    return module


class _Memory:
    """Bytes that tensors share; given back with the last of them."""

    __slots__ = ("meter", "size")

    def __init__(self, meter: CostMeter, size: int) -> None:
        self.meter, self.size = meter, size
        meter.held += size
        meter.peak = max(meter.peak, meter.held)

    def __del__(self) -> None:
        self.meter.held -= self.size


class _ValuelessTensor(Tensor):
    """Tensor of which there are shape, type and device alone."""

    has_values = False
    memory: _Memory
    is_any: bool = False

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, *_: Any) -> Any:
        return NotImplemented  # outside of its meter


class _Result(NamedTuple):
    """A tensor that an operation returns.

    Attributes
    ----------
    description
        Size, strides, offset, type and device.
    n_bytes
        Bytes of new memory.
    shared
        Position of the argument with which it shares memory, ``None`` for new memory.
    is_argument
        Whether it is that argument itself.
    """

    description: tuple[Any, ...]
    n_bytes: int
    shared: int | None = None
    is_argument: bool = False


class CostMeter(TorchDispatchMode):
    """Count floating-point operations, and the bytes of the tensors that are held at once.

    What asks for a value is told that it is 1: checks of values pass, because ``all`` of them are
    as they should be, and not ``any`` of them otherwise.

    Attributes
    ----------
    flops
        Floating-point operations of convolutions and matrix products, as
        ``torch.utils.flop_counter`` counts them: a product and a sum are two.
    held
        Bytes of the tensors that there are; a view holds none of its own.
    peak
        The most bytes held at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = self.held = self.peak = 0
        self._fake_mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._known: dict[Any, tuple[int, Any]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors: list[Tensor] = []
        key = (func, _describe(args, tensors), _describe(tuple(kwargs.items()), tensors))
        if tensors and _ValuelessTensor not in types:
            # small things that have values: constants, the state of a random generator
            with _disable_current_modes():
                return func(*args, **kwargs)
        if func is _aten._local_scalar_dense.default:
            return 0 if args[0].is_any else 1
        if func is _aten.nonzero.default:
            n, axes = args[0].numel(), args[0].ndim
            indices = (n, axes), (axes, 1), 0, torch.long, args[0].device
            return self._make(_Result(indices, 8 * n * axes), tensors)
        if key not in self._known:
            self._known[key] = self._learn(func, args, kwargs)
        flops, results = self._known[key]
        self.flops += flops
        if isinstance(results, list):
            return [self._make(each, tensors) for each in results]
        if isinstance(results, tuple) and not isinstance(results, _Result):
            return tuple(self._make(each, tensors) for each in results)
        tensor = self._make(results, tensors)
        if func._overloadpacket is _aten.any:
            tensor.is_any = True
        return tensor

    def _make(self, result: Any, arguments: list[Tensor]) -> Any:
        """Return what an operation returns, for the tensors among its arguments."""
        if not isinstance(result, _Result):
            return result
        if result.shared is None:
            memory = _Memory(self, result.n_bytes)
        elif result.is_argument:
            return arguments[result.shared]
        else:
            memory = cast(_ValuelessTensor, arguments[result.shared]).memory
        size, stride, offset, dtype, device = result.description
        tensor = Tensor._make_wrapper_subclass(
            _ValuelessTensor, size, stride, offset, dtype=dtype, device=device
        )
        tensor.memory = memory
        return tensor

    def _learn(self, func: Any, args: Any, kwargs: dict[str, Any]) -> tuple[int, Any]:
        """Ask torch for the operations of a function and for what it returns."""
        fakes: list[Tensor] = []

        def fake(value: Any) -> Any:
            if isinstance(value, Tensor):
                fakes.append(
                    torch.empty_strided(
                        value.shape, value.stride(), dtype=value.dtype, device=value.device
                    )
                )
                return fakes[-1]
            if isinstance(value, list | tuple):
                return type(value)(map(fake, value))
            return value

        def describe(value: Any) -> Any:
            if isinstance(value, Tensor):
                return _describe_result(value, fakes)
            if isinstance(value, list | tuple):
                return type(value)(map(describe, value))
            return value

        with _disable_current_modes(), self._fake_mode:
            fake_args = fake(args)
            fake_kwargs = dict(fake(tuple(kwargs.items())))
            result = func(*fake_args, **fake_kwargs)
            count = flop_registry.get(func._overloadpacket)
            flops = 0 if count is None else count(*fake_args, **fake_kwargs, out_val=result)
            return flops, describe(result)


def _describe(value: Any, tensors: list[Tensor]) -> Any:
    """Return all that what a function returns depends on, and note the tensors."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.shape, value.stride(), value.storage_offset(), value.dtype, value.device
    if isinstance(value, list | tuple):
        return tuple(_describe(each, tensors) for each in value)
    return type(value), value  # 2 equals 2.0, but makes another type


def _describe_result(tensor: Tensor, arguments: list[Tensor]) -> _Result:
    storage = tensor.untyped_storage()
    description = (
        tensor.shape,
        tensor.stride(),
        tensor.storage_offset(),
        tensor.dtype,
        tensor.device,
    )
    for position, argument in enumerate(arguments):
        if argument is tensor:
            return _Result(description, 0, position, is_argument=True)
        if argument.untyped_storage()._cdata == storage._cdata:
            return _Result(description, 0, position)
    return _Result(description, storage.nbytes())
