"""Traffic flow from files: HDF5 in TaxiBJ's layout, and NumPy's.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import math
import os
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias

import numpy as np
import pandas as pd
from darts import TimeSeries
from numpy.typing import NDArray

from darts_mim._optional import import_optional
from darts_mim.adapters.flow.series import from_flow
from darts_mim.series import check_layout
from darts_mim.times import Frequency, Start, make_time_index, time_zone

__all__ = ["read_flow"]

FirstSlot: TypeAlias = Literal[0, 1]

_HDF5: Final = {".h5", ".hdf5"}
_NUMPY: Final = {".npz", ".npy"}
_DAMAGE: Final = (AttributeError, EOFError, KeyError, OSError, RuntimeError, ValueError)
_MOST_COMPRESSED: Final = 1100  # deflate makes at most 1032 bytes of one


def read_flow(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    freq: Frequency,
    first_slot: FirstSlot | None = None,
    start: Start | None = None,
    key: str | None = None,
    layout: str = "TCHW",
    **options: Any,
) -> TimeSeries | list[TimeSeries]:
    """Read flows from files, HDF5 in TaxiBJ's layout or NumPy's.

    Several files, such as one a year, form one timeline, which is then cut or filled at gaps. HDF5
    files hold frames in ``data``, and in ``date`` the day and the slot within it,
    ``b"2016010148"``; they are joined in the order of their first times. Files ``.npy`` and
    ``.npz`` hold no times: each starts where the one before it ends.

    Parameters
    ----------
    path : path or sequence of paths
        Files ending in ``.h5``, ``.hdf5`` (which need the extra ``flow``), ``.npz`` or ``.npy``.
    freq : int, str, timedelta or pandas offset
        Time from a frame to the next, such as ``"30min"``. For HDF5 files, the length of a slot.
    first_slot : {0, 1}
        Number of the first slot of a day in HDF5 files, which must be given, as the dates do not
        show it: 1 in TaxiBJ, whose half hours are 01 to 48; 0 where the slot is the hour, 00 to 23.
    start : int, str or datetime
        Time of the first frame of NumPy's files, which must be given.
    key : str, optional
        The array of the frames. Default: ``"data"`` in HDF5 files, the only array in others.
    layout : str
        The axes of the frames in the file, as in `from_flow`.
    **options
        Further arguments of `from_flow`, such as `gaps`, `duplicates` and `attributes`.

    Returns
    -------
    TimeSeries or list of TimeSeries
        As from `from_flow`: a list if and only if ``gaps="split"`` or `max_gap` is given. The
        times are those of the file, usually local ones.

    Raises
    ------
    ImportError
        If `path` is an HDF5 file, and the extra ``flow`` is not installed.
    FileNotFoundError
        If a file does not exist.
    ValueError
        If a file is damaged, lacks an array, or has dates that do not exist; if `first_slot` or
        `start` are missing; or as `from_flow` does.

    References
    ----------
    J. Zhang, Y. Zheng, D. Qi. Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
    Prediction. AAAI 2017. (The layout is that of their data set TaxiBJ.)

    Examples
    --------
    >>> np.savez("flow.npz", flow=np.ones((96, 16, 12, 2)))
    >>> series = read_flow("flow.npz", layout="THWC", start="2016-01-01", freq="30min")
    >>> series.n_components, str(series.end_time())
    (384, '2016-01-02 23:30:00')
    """
    check_layout(layout)
    files = [Path(one) for one in ([path] if isinstance(path, str | os.PathLike) else path)]
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(f"`path`: there is no file {file.absolute()}")
    suffixes = {file.suffix.lower() for file in files}
    axis = layout.index("T")
    if suffixes and suffixes <= _HDF5:
        frames, times = _read_slots(files, key or "data", axis, freq, first_slot)
    elif suffixes and suffixes <= _NUMPY:
        frames = _joined([_read_numpy(file, key) for file in files], axis)
        times = _times_from(start, frames.shape[axis], freq)
    else:
        raise ValueError(
            f"`path` must be files that end in {sorted(_HDF5)}, or in {sorted(_NUMPY)}, got {path}"
        )
    return from_flow(frames, times, freq=freq, layout=layout, **options)


def read_hdf5(file: Path, *names: str) -> list[NDArray[Any]]:
    """Read arrays of an HDF5 file; none is larger than what the file can hold."""
    h5py = import_optional("h5py", extra="flow")
    try:
        with h5py.File(file, "r") as content:
            for name in names:
                stated, stored = content[name].nbytes, content[name].id.get_storage_size()
                if stated > _MOST_COMPRESSED * stored:
                    raise ValueError(f"{name} states {stated} bytes, which {stored} cannot hold")
            return [content[name][()] for name in names]
    except _DAMAGE as error:
        raise ValueError(
            f"`path`: {file} must be a whole HDF5 file with the arrays {list(names)} ({error}); "
            "name the frames with `key`, or get the file again"
        ) from error


def slot_times(
    dates: NDArray[Any], file: Path, freq: Frequency, first_slot: FirstSlot
) -> pd.DatetimeIndex:
    """Return the times of dates YYYYMMDDSS, the day and the slot within it."""
    text = pd.Series(dates.astype("S")).str.decode("ascii", errors="replace")
    parts = text.str.extract(r"\A(\d{8})(\d{2,3})\Z")
    days = pd.to_datetime(parts[0], format="%Y%m%d", errors="coerce")
    slots = pd.to_numeric(parts[1]) - first_slot
    length: Any = pd.Timedelta(pd.tseries.frequencies.to_offset(freq))  # type: ignore[arg-type]
    is_date = days.notna() & slots.between(0, pd.Timedelta("1D") // length - 1)
    if not is_date.all():
        raise ValueError(
            f"`path`: dates in {file} must be a day and a slot of `freq={freq!r}` from "
            f"{first_slot:02d} on, YYYYMMDDSS, got {text[~is_date].iloc[0]!r}; pass the `freq` and "
            "`first_slot` of the file, or correct it"
        )
    return pd.DatetimeIndex(days + slots.astype(int) * length)


def _read_slots(
    files: Sequence[Path], key: str, axis: int, freq: Frequency, first_slot: FirstSlot | None
) -> tuple[NDArray[Any], Any]:
    if first_slot not in (0, 1):
        raise ValueError(
            f"`first_slot` must be 0 or 1 for HDF5 files, got {first_slot!r}; the slots of a day "
            "are counted from 1 in TaxiBJ, hours often from 0"
        )
    parts = []
    for file in files:
        frames, dates = read_hdf5(file, key, "date")
        parts.append((slot_times(dates, file, freq, first_slot), frames))
    parts.sort(key=lambda part: part[0][0])
    first, *others = (times for times, _ in parts)
    return _joined([frames for _, frames in parts], axis), first.append(others)


def _read_numpy(file: Path, key: str | None) -> NDArray[Any]:
    try:
        if file.suffix.lower() == ".npy":
            array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
            return array
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist() if key is None else [f"{key}.npy"]
            if len(names) != 1:
                raise KeyError(f"it holds {names}")
            with archive.open(names[0]) as member:
                _check_size(member, archive.getinfo(names[0]).file_size)
                named: NDArray[Any] = np.lib.format.read_array(member, allow_pickle=False)
                return named
    except (zipfile.BadZipFile, zlib.error, *_DAMAGE) as error:
        raise ValueError(
            f"`path`: {file} must be a whole {file.suffix} file of numbers ({error}); pass "
            "the name of the frames as `key` if it holds several arrays"
        ) from error


def _check_size(file: IO[bytes], held: int) -> None:
    """Compare the size that the header of an array states with what its file holds."""
    np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    stated = file.tell() + math.prod(shape) * dtype.itemsize
    if stated != held:
        raise ValueError(f"the header states {stated} bytes, the file holds {held}")
    file.seek(0)


def _joined(arrays: Sequence[NDArray[Any]], axis: int) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=axis)


def _times_from(start: Start | None, length: int, freq: Frequency) -> Any:
    if start is None:
        raise ValueError("`start` must be given for NumPy's files, which hold no times")
    if time_zone(start) is None:
        return make_time_index(length, start=start, freq=freq)
    return pd.date_range(pd.Timestamp(start), periods=length, freq=freq)  # type: ignore[arg-type]
