"""Frames that come one by one into one array, in memory or in a file.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from darts_mim.files import whole_file

logger = logging.getLogger(__name__)


def in_memory(frames: Iterable[NDArray[Any]], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Join frames into an array.

    How many there are is known with the last one: they are appended to a buffer that grows in
    place, so that none is held twice.

    Parameters
    ----------
    frames
        Arrays of `dtype` and of one shape, (C, H, W); at least one.
    dtype
        Their type.

    Returns
    -------
    array
        Of shape (T, C, H, W).
    """
    buffer = io.BytesIO()
    shape = _append(frames, buffer)
    return np.frombuffer(buffer.getbuffer(), dtype).reshape(shape)


def in_file(
    frames: Iterable[NDArray[Any]], dtype: np.dtype[Any], folder: Path, name: str, origin: object
) -> NDArray[Any]:
    """Write frames to a file in NumPy's format as they come, and map it.

    Parameters
    ----------
    frames, dtype
        As for `in_memory`.
    folder
        Where the file is made. It appears whole or not at all.
    name
        What its name begins with.
    origin
        What the frames are made of, and how. It tells files of one name apart.

    Returns
    -------
    numpy.memmap
        Of shape (T, C, H, W), read-only.
    """
    digest = hashlib.sha256(repr(origin).encode()).hexdigest()
    target = folder / f"{name}-{digest[:16]}.npy"
    with whole_file(target) as draft, draft.open("wb") as file:
        # of one length for all shapes: NumPy leaves room for the first axis to grow
        _write_header(file, (0, 0, 0, 0), dtype)
        shape = _append(frames, file)
        file.seek(0)
        _write_header(file, shape, dtype)
    logger.info("Wrote %d frames to %s.", shape[0], target)
    mapped: NDArray[Any] = np.load(target, mmap_mode="r")
    return mapped


def _append(frames: Iterable[NDArray[Any]], file: BinaryIO) -> tuple[int, ...]:
    count, shape = 0, ()
    for frame in frames:
        file.write(np.ascontiguousarray(frame).data)
        count, shape = count + 1, frame.shape
    return (count, *shape)


def _write_header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    descr = np.lib.format.dtype_to_descr(dtype)
    np.lib.format.write_array_header_1_0(
        file, {"descr": descr, "fortran_order": False, "shape": shape}
    )
