"""HDF5 files of flows, one for each year, read as they were published.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim.adapters.flow import from_flow
from darts_mim.adapters.flow.files import FirstSlot, read_hdf5, slot_times
from darts_mim.adapters.flow.timeline import in_order, take, without_doubles, without_zero_frames
from darts_mim.checks import counted

logger = logging.getLogger(__name__)

_CHANNELS: Final = 2
_OUTFLOW: Final = 1


class YearFiles(NamedTuple):
    """What the files of a data set have in common."""

    shape: tuple[int, int]
    """Height and width."""

    freq: Any
    """Time from a frame to the next, a pandas offset."""

    first_slot: FirstSlot
    """Number of the first interval of a day."""

    units: str
    """Unit of the flows."""

    is_clean: bool
    """Whether frames out of order or doubled are an error. If not, frames that are zero in all
    cells go, the rest is sorted, those of one time are summed, and those in which no trip begins
    go."""

    has_outflow_first: bool = False
    """Whether the files have the outflow in front of the inflow."""


class _Year(NamedTuple):
    frames: NDArray[np.float32]
    times: Any  # dates, which pandas' stubs cannot tell


def read_years(files: Sequence[Path], kind: YearFiles, min_length: int) -> list[TimeSeries]:
    """Read a file for each year, and join them to stretches without gaps.

    Parameters
    ----------
    files
        HDF5 files in TaxiBJ's layout.
    kind
        What they have in common.
    min_length
        The least number of frames of a stretch; shorter ones are dropped.

    Returns
    -------
    list of TimeSeries
        In order of time, inflow first. What was dropped, summed and cut is in the log.
    """
    parts = [(file, _read_year(file, kind)) for file in files]
    parts.sort(key=lambda part: part[1].times[0])
    for (early, one), (late, other) in pairwise(parts):
        if other.times[0] <= one.times[-1]:
            raise ValueError(
                f"`root`: {early} and {late} must not overlap in time, got {one.times[-1]} as the "
                f"end of one and {other.times[0]} as the start of the other; get them anew"
            )
    first = parts[0][1]
    try:
        return from_flow(
            np.concatenate([part.frames for _, part in parts]),
            first.times.append([part.times for _, part in parts[1:]]),
            freq=kind.freq,
            min_length=min_length,
            attributes=flow_attributes(kind.units),
        )
    except ValueError as error:  # the frames are checked: no stretch is as long as min_length
        raise ValueError(f"{_without_advice(error)}; pass a smaller one") from error


def flow_attributes(units: str) -> dict[str, dict[str, str]]:
    """Return the attributes of the two channels."""
    return {name: {"units": units} for name in ("inflow", "outflow")}


@contextmanager
def as_published(file: Path) -> Iterator[None]:
    """Bring errors of what reads any file to one that was published: get it anew."""
    try:
        yield
    except (TypeError, ValueError) as error:
        found = _without_advice(error).removeprefix("`path`: ") or f"{file}: {error}"
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"`root`: {found}; get the file anew") from error


def _without_advice(error: Exception) -> str:
    """Return what an adapter found, without its advice on arguments that no loader has.

    The advice stands behind the last semicolon.
    """
    return str(error).rpartition("; ")[0]


def _read_year(file: Path, kind: YearFiles) -> _Year:
    with as_published(file):
        frames, dates = read_hdf5(file, "data")
        times = slot_times(dates, file, kind.freq, kind.first_slot)
    _check_frames(frames, len(times), kind, file)
    flows = frames.astype(np.float32)
    if kind.has_outflow_first:
        flows = flows[:, ::-1]
    if kind.is_clean:
        _check_order(times, file)
        return _Year(flows, times)
    return _cleaned(flows, times, file)


def _check_frames(frames: NDArray[np.generic], times: int, kind: YearFiles, file: Path) -> None:
    if frames.dtype.kind not in "fiu":
        raise TypeError(
            f"`root`: the frames in {file} must be real numbers, got dtype {frames.dtype}; get the "
            "file anew"
        )
    height, width = kind.shape
    if frames.shape[1:] != (_CHANNELS, height, width):
        raise ValueError(
            f"`root`: {file} must hold frames of {height} x {width} cells with inflow and outflow, "
            f"shape (T, {_CHANNELS}, {height}, {width}), got shape {frames.shape}; get the file "
            "anew"
        )
    if len(frames) != times or times == 0:
        raise ValueError(
            f"`root`: {file} must hold a date for each of its {len(frames)} frames, and some of "
            f"both, got {counted(times, 'date')}; get the file anew"
        )
    if not np.isfinite(frames).all():
        raise ValueError(
            f"`root`: {file} must hold finite flows, got NaN or infinity; get the file anew"
        )


def _check_order(times: pd.DatetimeIndex, file: Path) -> None:
    wrong = np.flatnonzero(times[1:] <= times[:-1])
    if len(wrong):
        i = wrong[0]
        raise ValueError(
            f"`root`: dates in {file} must rise, got {times[i + 1]} after {times[i]} (and "
            f"{len(wrong) - 1} more such); get the file anew"
        )


def _cleaned(flows: NDArray[np.float32], times: pd.DatetimeIndex, file: Path) -> _Year:
    """Leave out outages, sum what counts parts of an hour, and leave out what is a part alone."""
    if not flows[:, _OUTFLOW].any():
        raise ValueError(
            f"`root`: {file} must hold trips that begin, got none in {counted(len(flows), 'frame')}"
            "; get the file anew"
        )
    known = without_zero_frames(flows, times, None)
    frames, hours = without_doubles(*in_order(*known, sort=True), "sum")
    begins = frames[:, _OUTFLOW].any(axis=(1, 2))
    kept = np.flatnonzero(begins)
    if len(kept) < len(frames):
        logger.warning(
            "Dropped %s in which no trip begins: what is left of trips from before a gap.",
            counted(len(frames) - len(kept), "frame"),
        )
    if len(kept) < len(flows):
        logger.warning(
            "%s: %d of %d frames are left without those that are zero, of one time, or without a "
            "trip that begins.",
            file.name,
            len(kept),
            len(flows),
        )
    return _Year(np.asarray(take(frames, kept)), hours[kept])
