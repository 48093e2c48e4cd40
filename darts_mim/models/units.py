"""Sizes and operations as one reads them."""

from __future__ import annotations

__all__ = ["in_bytes", "in_flop"]


def in_bytes(number: int) -> str:
    """Write bytes with a unit.

    Parameters
    ----------
    number
        Number of bytes.

    Returns
    -------
    str
        The number in bytes, KiB, MiB, GiB or TiB, in three digits or four.

    Examples
    --------
    >>> in_bytes(300), in_bytes(1536), in_bytes(2_139_000_000)
    ('300 bytes', '1.50 KiB', '1.99 GiB')
    """
    return _scaled(number, 1024, ("bytes", "KiB", "MiB", "GiB", "TiB"))


def in_flop(number: int) -> str:
    """Write floating-point operations with a unit.

    Parameters
    ----------
    number
        Number of operations.

    Returns
    -------
    str
        The number in FLOP, kFLOP and so on up to PFLOP, in three digits or four.

    Examples
    --------
    >>> in_flop(2_465_437_057_024)
    '2.47 TFLOP'
    """
    return _scaled(number, 1000, ("FLOP", "kFLOP", "MFLOP", "GFLOP", "TFLOP", "PFLOP"))


def _scaled(number: int, base: int, units: tuple[str, ...]) -> str:
    if number < base:
        return f"{number} {units[0]}" if (number, units[0]) != (1, "bytes") else "1 byte"
    power = next((k for k in range(1, len(units)) if number < base ** (k + 1)), len(units) - 1)
    value = number / base**power
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{digits}f} {units[power]}"
