"""The values of xarray data as frames, in memory or in a file that is mapped.

Letters for shapes: T time, S samples, C channels, H height, W width, P likelihood parameters. Here
frames have all six axes, some of length 1.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from darts_mim.adapters.xarray.axes import Axes
from darts_mim.checks import checked_floats
from darts_mim.files import whole_file

logger = logging.getLogger(__name__)

_STRETCH = 2**20  # values looked at in one go
_CHUNK = "8MiB"  # read in one go by each thread, from files without chunks of their own


class Plan(NamedTuple):
    """The variables to read, and the frames that they become."""

    fields: list[xr.DataArray]
    axes: Axes
    times: pd.Index[Any]  # T of them, also of frames that the data lack
    positions: NDArray[np.intp]  # of the frames of the data among them
    dtype: np.dtype[Any]

    def frames(self) -> Any:
        """Return frames (T, S, C, H, W, P) of NumPy or Dask; a view where that is possible.

        Raises
        ------
        ValueError
            If there are values that the type cannot hold.
        """
        order = self.axes.order
        arrays = []
        for field in self.fields:
            own = field.variable.transpose(*(dim for dim in order if dim in field.dims))
            cast = xr.apply_ufunc(
                partial(checked_floats, f"data[{field.name!r}]", dtype=self.dtype),
                own,
                dask="parallelized",
                output_dtypes=[self.dtype],
            )
            arrays.append(cast.data[tuple(slice(None) if d in own.dims else None for d in order)])
        frames = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=2)
        if len(self.times) == len(self.positions):
            return frames
        known = xr.DataArray(frames, dims=("t", *"schwp"), coords={"t": self.positions})
        return known.reindex(t=np.arange(len(self.times))).data


def map_frames(
    plan: Plan, folder: Path, description: Any, *, reuse: bool, progress: bool
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.float32]]:
    """Write frames into a file, chunk by chunk, and map it.

    Parameters
    ----------
    plan
        What to read.
    folder
        Where the file is written.
    description
        Plain data that describe everything but the values. The file is named after it.
    reuse
        Whether to take a file that is there.
    progress
        Whether to show a bar.

    Returns
    -------
    frames : numpy.memmap
        Of shape (T, S, C, H, W, P), read-only.
    observed, sums : array
        As `scan_frames` returns them.

    Raises
    ------
    OSError
        If `folder` has no room.
    ValueError
        If the file that is there has other values, or as `scan_frames` does.
    """
    import dask
    import dask.array as da
    from tqdm.dask import TqdmCallback

    with dask.config.set({"array.chunk-size": _CHUNK}):
        chunked = [f if f.chunks is not None else f.chunk("auto") for f in plan.fields]
    frames = plan._replace(fields=chunked).frames()
    path = folder / _file_name(plan, description, frames.shape)
    if reuse and path.exists():
        return _reused(path, plan, frames)
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if frames.nbytes > free:
        raise OSError(
            f"`cache={str(folder)!r}` has room for {free / 2**30:.1f} GiB, but the frames need "
            f"{frames.nbytes / 2**30:.1f} GiB; choose another folder, or a part of the data"
        )
    t, s, c, h, w, p = frames.shape
    readable = (t, *(s,) * (s > 1), c, h, w, *(p,) * (p > 1))
    with whole_file(path) as draft, TqdmCallback(desc=path.name, disable=not progress):
        archive = np.lib.format.open_memmap(draft, "w+", plan.dtype, readable)
        da.store(frames, archive.reshape(frames.shape), lock=False)
        archive.flush()
        observed, sums = scan_frames(archive.reshape(frames.shape), plan.times)
        del archive  # closed before it is renamed
    logger.info("Wrote the frames of `data` to %s.", path)
    return np.load(path, mmap_mode="r").reshape(frames.shape), observed, sums


def stretches(frames: NDArray[Any]) -> Iterator[slice]:
    """Cut frames along time into parts of about a million values."""
    step = max(1, _STRETCH // frames[0].size)
    yield from (slice(at, at + step) for at in range(0, len(frames), step))


def checksums(block: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Describe each frame by two numbers, by which other values are recognised.

    Parameters
    ----------
    block
        Frames of shape (T, ...).

    Returns
    -------
    sums : array
        Of shape (T, 2): a sum of the values, each with a weight of its own, and how many are NaN.
    tolerances : array
        Of shape (T, 2): how far these move when values are scaled and scaled back in float32.
    """
    flat = block.reshape(len(block), -1)
    weighted = np.nan_to_num(flat.astype(np.float64)) * np.cos(np.arange(flat.shape[1]))
    sums = np.stack([weighted.sum(axis=1), np.isnan(flat).sum(axis=1)], axis=1)
    sizes = np.abs(weighted).sum(axis=1)
    tolerances = np.stack([2e-6 * sizes, np.full(len(flat), 0.5)], axis=1)
    return sums.astype(np.float32), tolerances.astype(np.float32)


def scan_frames(
    frames: NDArray[Any], times: pd.Index[Any]
) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """Look at all frames once.

    Parameters
    ----------
    frames
        Of shape (T, S, C, H, W, P).
    times
        Their T times.

    Returns
    -------
    observed : array
        Of shape (C, H, W), True where there is a value at any time.
    sums : array
        Of shape (T, 2), as `checksums` returns them.

    Raises
    ------
    ValueError
        If there are infinite values.
    """
    observed = np.zeros(frames.shape[2:5], bool)
    sums = np.empty((len(frames), 2), np.float32)
    for part in stretches(frames):
        block = frames[part]
        if np.isinf(block).any():
            t, _, _, row, column, _ = np.argwhere(np.isinf(block))[0]
            raise ValueError(
                f"`data` must be NaN or finite, got infinity at {times[part.start + t]}, row {row} "
                f"and column {column}; mark missing values as NaN"
            )
        observed |= ~np.isnan(block).all(axis=(0, 1, 5))
        sums[part] = checksums(block)[0]
    return observed, sums


def _file_name(plan: Plan, description: Any, shape: tuple[int, ...]) -> str:
    names = "-".join(str(field.name) for field in plan.fields)
    text = json.dumps([description, shape, str(plan.dtype), str(plan.times[0])], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', names)[:40]}-{digest[:16]}.npy"


def _reused(
    path: Path, plan: Plan, frames: Any
) -> tuple[NDArray[Any], NDArray[np.bool_], NDArray[np.float32]]:
    """Map a file, after a comparison of its first, middle and last frame with the data."""
    mapped = np.load(path, mmap_mode="r").reshape(frames.shape)
    known = plan.positions
    for t in {known[0], known[len(known) // 2], known[-1]}:
        if not np.array_equal(mapped[t], np.asarray(frames[t]), equal_nan=True):
            raise ValueError(
                f"`cache` holds {str(path)!r} with other values at {plan.times[t]} than `data`; "
                "pass reuse=False to write it again"
            )
    return mapped, *scan_frames(mapped, plan.times)
