"""Checks of the networks' options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from darts_mim.checks import checked_flag, checked_integer, checked_number


def checked_options(
    *,
    hidden_channels: Any,
    kernel_size: Any,
    patch_size: Any,
    layer_norm: Any,
    forget_bias: Any,
    recompute: Any,
    fast_path: Any,
    least_layers: int,
) -> dict[str, Any]:
    """Check the options of a ``RecurrentNetwork`` and return them as plain Python values.

    Raises
    ------
    TypeError
        If an option is of a wrong type.
    ValueError
        If an option is out of its range.
    """
    if not isinstance(hidden_channels, Iterable) or isinstance(hidden_channels, str):
        raise TypeError(
            "`hidden_channels` must give the channels of each layer, got "
            f"{hidden_channels!r}; the paper's network is (64, 64, 64, 64)"
        )
    widths = tuple(checked_integer("hidden_channels", width) for width in hidden_channels)
    if len(widths) < least_layers:
        number = "one layer" if least_layers == 1 else "two layers"
        raise ValueError(
            f"`hidden_channels` must give at least {number}, got {widths}; the paper's network is "
            "(64, 64, 64, 64)"
        )
    return {
        "hidden_channels": widths,
        "kernel_size": checked_kernel_size(kernel_size),
        "patch_size": checked_integer("patch_size", patch_size),
        "layer_norm": checked_flag("layer_norm", layer_norm),
        "forget_bias": checked_number("forget_bias", forget_bias),
        "recompute": checked_flag("recompute", recompute),
        "fast_path": None if fast_path is None else checked_flag("fast_path", fast_path),
    }


def checked_st_resnet_options(
    *, kernel_size: Any, tanh: Any, recompute: Any, **numbers: Any
) -> dict[str, Any]:
    """Check the options of a ``STResNetNetwork`` and return them as plain Python values.

    Raises
    ------
    TypeError
        If an option is of a wrong type.
    ValueError
        If an option is out of its range.
    """
    may_be_zero = {"period", "trend", "residual_units"}
    return {
        **{
            name: checked_integer(name, n, int(name not in may_be_zero))
            for name, n in numbers.items()
        },
        "kernel_size": checked_kernel_size(kernel_size),
        "tanh": checked_flag("tanh", tanh),
        "recompute": checked_flag("recompute", recompute),
    }


def checked_kernel_size(kernel_size: Any) -> int:
    """Return the side of square kernels as a plain integer.

    Raises
    ------
    TypeError
        If it is no integer.
    ValueError
        If it is less than 1, or even.
    """
    side = checked_integer("kernel_size", kernel_size)
    if side % 2 == 0:
        raise ValueError(
            "`kernel_size` must be odd, so that a convolution keeps the size of the grid, got "
            f"{side}; use {side - 1} or {side + 1}"
        )
    return side


def checked_units(**units: Any) -> dict[str, bool]:
    """Check which units a ``MIMBlock`` is to have.

    Raises
    ------
    TypeError
        If one is no truth value.
    ValueError
        If there is none.
    """
    checked = {name: checked_flag(name, unit) for name, unit in units.items()}
    if not any(checked.values()):
        raise ValueError(
            "`nonstationary_unit` and `stationary_unit` cannot both be False: the paper's "
            "ablations remove one unit of the MIM block; leave one of them on"
        )
    return checked


def check_patch_fits(patch_size: int, height: int, width: int) -> None:
    """Refuse a patch that is larger than the grid.

    Raises
    ------
    ValueError
        If it is.
    """
    if patch_size > min(height, width):
        raise ValueError(
            f"`patch_size={patch_size}` is larger than the {height}x{width} grid; use at most "
            f"{min(height, width)}"
        )
