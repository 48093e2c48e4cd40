"""The values of xarray data as frames: in memory, or stretch by stretch into a memory map.

Letters for shapes: T time, S samples, C channels, H height, W width, P likelihood parameters. Here
frames have all six axes, some of length 1.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray
from tqdm import tqdm

from darts_mim.files import whole_file

logger = logging.getLogger(__name__)

_STRETCH = 2**20  # values read in one go, unless a chunk of the data holds more

Region = tuple[slice, ...]


class Field(NamedTuple):
    """A variable, and which channels of the frames it is."""

    name: str
    variable: xr.Variable  # its dimensions in the order (T, S, C, H, W, P), some may lack
    axes: tuple[int, ...]  # which of the six they are
    channels: slice

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of all six axes."""
        return self.full(self.variable.shape)

    def full(self, lengths: Sequence[int]) -> tuple[int, ...]:
        """Return lengths of all six axes, of those that the variable has."""
        lacking = dict.fromkeys(range(6), 1)
        return tuple((lacking | dict(zip(self.axes, lengths, strict=True))).values())

    def read(self, region: Region) -> NDArray[Any]:
        """Load a part of the variable, with all six axes."""
        part = self.variable[region].to_numpy()
        return part.reshape(self.full(part.shape))


class Plan(NamedTuple):
    """What is to be read, and what it becomes."""

    fields: Sequence[Field]
    times: pd.Index[Any]  # T of them, also of frames that the data lack
    positions: NDArray[np.intp]  # where in them the frames of the data lie
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all frames, (T, S, C, H, W, P)."""
        _, s, _, h, w, p = self.fields[0].shape
        return len(self.times), s, self.fields[-1].channels.stop, h, w, p

    @property
    def has_gaps(self) -> bool:
        """Whether the data lack frames."""
        return len(self.times) > len(self.positions)


def load_frames(plan: Plan) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Read frames into memory, or take those that lie there already as they are.

    Parameters
    ----------
    plan
        What to read.

    Returns
    -------
    frames : array
        Of shape (T, S, C, H, W, P).
    observed : array
        Of shape (C, H, W), True where there is a value at any time.

    Raises
    ------
    ValueError
        If there are infinite values, or some that the type cannot hold.
    """
    first = plan.fields[0]
    if len(plan.fields) == 1 and first.variable.dtype == plan.dtype and not plan.has_gaps:
        loaded = first._replace(variable=first.variable.compute())  # no copy of what is loaded
        frames = loaded.variable.to_numpy().reshape(first.shape)
        return frames, _fill(None, plan._replace(fields=[loaded]))
    frames = np.empty(plan.shape, plan.dtype)
    return frames, _fill(frames, plan)


def map_frames(
    plan: Plan, folder: Path, signature: str, *, reuse: bool, progress: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Write frames into a file, a stretch at a time, and map it.

    Parameters
    ----------
    plan
        What to read.
    folder
        Where the file is written.
    signature
        What the data are, but for the values. The file is named after it.
    reuse
        Whether to take a file that is there.
    progress
        Whether to show a bar.

    Returns
    -------
    frames : numpy.memmap
        Of shape (T, S, C, H, W, P), read-only.
    observed : array
        Of shape (C, H, W), True where there is a value at any time.

    Raises
    ------
    OSError
        If it is no folder, or has no room for the file.
    ValueError
        If the file that is there has other values, or as `load_frames` does.
    """
    path = folder / _file_name(plan, signature)
    if reuse and path.exists():
        frames = np.load(path, mmap_mode="r").reshape(plan.shape)
        _check_same(frames, plan, path)
        dims = ("t", "s", "c", "h", "w", "p")
        whole = Field(
            path.name, xr.Variable(dims, frames), tuple(range(6)), slice(0, plan.shape[2])
        )
        every = np.arange(len(plan.times))
        return frames, _fill(None, plan._replace(fields=[whole], positions=every))
    size = math.prod(plan.shape) * plan.dtype.itemsize
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(
            f"`cache={str(folder)!r}` must be a folder, got a file; pass the folder to write to"
        )
    folder.mkdir(parents=True, exist_ok=True)
    if size > shutil.disk_usage(folder).free:
        raise OSError(
            f"`cache={str(folder)!r}` has room for {shutil.disk_usage(folder).free / 2**30:.1f} "
            f"GiB, but the frames need {size / 2**30:.1f} GiB; choose another folder, or a part "
            "of the data"
        )
    t, s, c, h, w, p = plan.shape
    squeezed = (t, *(s,) * (s > 1), c, h, w, *(p,) * (p > 1))  # readable as it is
    with (
        whole_file(path) as draft,
        tqdm(total=size, unit="B", unit_scale=True, desc=path.name, disable=not progress) as bar,
    ):
        archive = np.lib.format.open_memmap(draft, "w+", plan.dtype, squeezed)
        observed = _fill(archive.reshape(plan.shape), plan, bar)
        archive.flush()
        del archive  # closed before it is renamed
    logger.info("Wrote the frames of `data` to %s.", path)
    return np.load(path, mmap_mode="r").reshape(plan.shape), observed


def _fill(frames: NDArray[Any] | None, plan: Plan, bar: Any = None) -> NDArray[np.bool_]:
    """Read all fields, check them and write them to frames, if there are any to write to.

    Returns
    -------
    array
        Of shape (C, H, W), True where there is a value at any time.
    """
    observed = np.zeros(plan.shape[2:5], bool)
    for field in plan.fields:
        for region in _regions(field):
            block = field.read(region)
            t, s, c, h, w, p = _full_region(field, region)
            _check_finite(block, field, plan.times[plan.positions[t]], (h.start, w.start))
            observed[c, h, w] |= ~np.isnan(block).all(axis=(0, 1, 5))
            if frames is not None:
                frames[plan.positions[t], s, c, h, w, p] = _cast(block, plan.dtype, field)
            if bar is not None:
                bar.update(block.size * plan.dtype.itemsize)
    if frames is not None and plan.has_gaps:
        for position in np.setdiff1d(np.arange(len(plan.times)), plan.positions):
            frames[position] = np.nan
    return observed


def _regions(field: Field) -> Iterator[Region]:
    """Cut a variable into parts of whole chunks that hold about a stretch each."""
    variable, limit = field.variable, _STRETCH
    preferred = variable.encoding.get("preferred_chunks", {})
    cuts = []
    for axis, (dim, size) in enumerate(variable.sizes.items()):
        step = preferred.get(dim, 1)
        chunks = variable.chunksizes.get(dim) or [
            min(step, size - at) for at in range(0, size, step)
        ]
        length = max(limit // math.prod(variable.shape[axis + 1 :]), *chunks, 1)
        limit = max(1, limit // min(length, size))
        cuts.append(_runs(chunks, length))
    yield from product(*cuts)


def _runs(chunks: Sequence[int], length: int) -> list[slice]:
    """Join chunks that follow each other, up to a length."""
    edges = [0]
    end = 0
    for chunk in chunks:
        if end + chunk - edges[-1] > length:
            edges.append(end)
        end += chunk
    return [slice(start, stop) for start, stop in pairwise([*edges, end])]


def _full_region(field: Field, region: Region) -> Region:
    """Place a part of a variable in the frames."""
    placed = {axis: slice(0, 1) for axis in range(6)} | {2: field.channels}
    placed |= dict(zip(field.axes, region, strict=True))
    if 2 in field.axes:
        first = field.channels.start
        placed[2] = slice(first + placed[2].start, first + placed[2].stop)
    return tuple(placed.values())


def _check_finite(
    block: NDArray[Any], field: Field, times: pd.Index[Any], corner: tuple[int, int]
) -> None:
    if block.dtype.kind != "f" or not np.isinf(block).any():
        return
    t, _, _, h, w, _ = np.argwhere(np.isinf(block))[0]
    raise ValueError(
        f"`data` must be finite or NaN, got infinity in {field.name} at {times[t]}, row "
        f"{corner[0] + h} and column {corner[1] + w}; mark what is missing as NaN, for example "
        "with `data.where(abs(data) < float('inf'))`"
    )


def _cast(block: NDArray[Any], dtype: np.dtype[Any], field: Field) -> NDArray[Any]:
    """Convert values to a floating type that can hold them."""
    if block.dtype.kind in "iu" and block.size:
        exact = 2 ** (np.finfo(dtype).nmant + 1)
        largest = max(-int(block.min()), int(block.max()))
        if largest > exact:
            raise ValueError(
                f"`data` holds the integer {largest} (or its negative) in {field.name}, but "
                f"{dtype} is exact only up to {exact}; pass dtype=np.float64, or scale the data"
            )
    try:
        with np.errstate(over="raise"):
            return block.astype(dtype, copy=False)
    except FloatingPointError as error:
        raise ValueError(
            f"`data` holds values beyond {np.finfo(dtype).max:g} in {field.name}, the largest of "
            f"{dtype}; pass dtype=np.float64, or scale the data"
        ) from error


def _file_name(plan: Plan, signature: str) -> str:
    names = "-".join(field.name.strip("'") for field in plan.fields)
    digest = hashlib.sha256(repr((signature, plan.shape, plan.dtype)).encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', names)[:40]}-{digest[:16]}.npy"


def _check_same(frames: NDArray[Any], plan: Plan, path: Path) -> None:
    """Raise if the first, middle or last frame of the file is another than that of the data."""
    count = len(plan.positions)
    for t, field in product(sorted({0, count // 2, count - 1}), plan.fields):
        region = (slice(t, t + 1), *(slice(0, size) for size in field.variable.shape[1:]))
        block = _cast(field.read(region), plan.dtype, field)
        at = plan.positions[t]
        if not np.array_equal(frames[at : at + 1, :, field.channels], block, equal_nan=True):
            raise ValueError(
                f"`cache` holds {str(path)!r} with other values of {field.name} at "
                f"{plan.times[at]} than `data`; pass reuse=False to write it anew"
            )
