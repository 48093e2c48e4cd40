"""Whether a file is there to its end, for formats whose headers do not count their frames."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

_GIF_TRAILER = 0x3B
_GIF_EXTENSION = 0x21
_GIF_IMAGE = 0x2C


def check_ending(path: Path, format_name: str) -> None:
    """Raise if a GIF, Matroska or TIFF file ends before it should.

    FFmpeg and Pillow read what is left of such a file without a word.

    Parameters
    ----------
    path
        The file.
    format_name
        What FFmpeg calls its format, or "tiff".

    Raises
    ------
    ValueError
        If its end is missing.
    """
    checks = {"gif": _gif_is_whole, "matroska,webm": _matroska_is_whole, "tiff": _tiff_is_whole}
    with path.open("rb") as file:
        if format_name not in checks or checks[format_name](file):
            return
    raise ValueError(
        f"`path`: {str(path)!r} is cut off after {path.stat().st_size} bytes; fetch or make the "
        "file anew, or leave it out"
    )


def _gif_is_whole(file: BinaryIO) -> bool:
    """Walk through the blocks of a GIF to its trailer (GIF89a specification, appendix A)."""
    header = file.read(13)
    file.seek(_palette_size(header[10]), 1)
    while (kind := file.read(1)) and kind[0] != _GIF_TRAILER:
        if kind[0] == _GIF_EXTENSION:
            file.seek(1, 1)
        elif kind[0] == _GIF_IMAGE:
            descriptor = file.read(9)
            file.seek(_palette_size(descriptor[8]) + 1 if len(descriptor) == 9 else 0, 1)
        else:  # no block begins like this: FFmpeg reports what it makes of it
            return True
        while (length := file.read(1)) and length[0]:
            file.seek(length[0], 1)
    return bool(kind)


def _palette_size(flags: int) -> int:
    return 3 * 2 ** ((flags & 0b111) + 1) if flags & 0b1000_0000 else 0


def _matroska_is_whole(file: BinaryIO) -> bool:
    """Compare the size that a file states for its segment with its own (RFC 8794, section 5)."""
    file.read(4)
    header_size = _ebml_size(file)
    file.seek(header_size or 0, 1)
    file.read(4)
    size = _ebml_size(file)
    start = file.tell()
    return size is None or start + size <= file.seek(0, 2)


def _ebml_size(file: BinaryIO) -> int | None:
    """Read a number of 1 to 8 bytes; its leading zeros say how many. All ones: not known."""
    first = file.read(1)
    if not first or not first[0]:
        return None
    more = 8 - first[0].bit_length()
    size = int.from_bytes(first + file.read(more), "big") - (1 << (7 * (more + 1)))
    return None if size == (1 << (7 * (more + 1))) - 1 else size


def _tiff_is_whole(file: BinaryIO) -> bool:
    """Follow the directories of a TIFF file, one for each page, to the last (TIFF 6.0, section 2).

    In a BigTIFF file numbers are wider.
    """
    header = file.read(4)
    order = "<" if header[:2] == b"II" else ">"
    is_big = struct.unpack(f"{order}H", header[2:])[0] == 43
    count_format, entry_size, offset_format = ("Q", 20, "Q") if is_big else ("H", 12, "I")
    file.seek(8 if is_big else 4)
    visited = set()
    try:
        (offset,) = _unpack(order + offset_format, file)
        while offset and offset not in visited:
            visited.add(offset)
            file.seek(offset)
            (entries,) = _unpack(order + count_format, file)
            file.seek(entries * entry_size, 1)
            (offset,) = _unpack(order + offset_format, file)
    except struct.error:
        return False
    return True


def _unpack(form: str, file: BinaryIO) -> tuple[int, ...]:
    """Read numbers, or raise `struct.error` where the file ends."""
    return struct.unpack(form, file.read(struct.calcsize(form)))
