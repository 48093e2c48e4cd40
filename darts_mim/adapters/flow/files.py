"""Files of flows: HDF5 in TaxiBJ's layout, and NumPy's.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
import re
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from darts_mim._optional import import_optional
from darts_mim.adapters.flow.timeline import listed
from darts_mim.times import make_time_index, time_zone

FirstSlot: TypeAlias = Literal[0, 1]

_HDF5: Final = (".h5", ".hdf5")
_NUMPY: Final = (".npz", ".npy")
_DATE_KEY: Final = "date"
_MINUTES_IN_NAME: Final = re.compile(r"_T(\d+)_")  # BJ16_M32x32_T30_InOut.h5
_DAY: Final = pd.Timedelta(days=1)
_HOURS: Final = 24


class DatedFrames(NamedTuple):
    """Frames in the layout of their file, their times as the file has them, and the step."""

    frames: NDArray[np.generic]
    times: Any  # Any: dates or integers
    freq: Any


def read_files(
    paths: Sequence[str | os.PathLike[str]],
    *,
    freq: Any,
    first_slot: FirstSlot | None,
    start: Any,
    key: str | None,
    layout: str,
    channels: int,
) -> DatedFrames:
    """Read files of one kind, and join them in time."""
    files = [Path(path) for path in paths]
    kinds = {_kind_of(file) for file in files}
    if len(kinds) != 1:
        raise ValueError(
            f"`path` must be files of one kind, got {[str(file) for file in files]}; pass one or "
            f"more that end in {' or '.join(_HDF5)}, or that end in {' or '.join(_NUMPY)}"
        )
    for file in files:
        if not file.is_file():
            raise FileNotFoundError(
                f"`path`: there is no file {file.absolute()}; correct the path, or put it there"
            )
    if kinds == {_NUMPY}:
        _check_numpy_options(freq, first_slot, start)
        arrays = [_checked(_read_numpy(file, key), file, layout, channels) for file in files]
        frames = _joined(arrays, files, layout)
        times = _counted_times(frames.shape[layout.index("T")], start, freq)
        return DatedFrames(frames, times, freq)
    if start is not None:
        raise ValueError(f"`start={start!r}` is for files without dates; HDF5 files hold theirs")
    return _read_dated(files, "data" if key is None else key, freq, first_slot, layout, channels)


def _read_dated(
    files: Sequence[Path],
    key: str,
    freq: Any,
    first_slot: FirstSlot | None,
    layout: str,
    channels: int,
) -> DatedFrames:
    parts = []
    for file in files:
        frames, dates = read_hdf5(file, key)
        length = _checked(frames, file, layout, channels).shape[layout.index("T")]
        step = _step_of(file, freq)
        times = slot_times(dates, file, step, first_slot)
        if len(times) != length:
            raise ValueError(
                f"`path`: {file} must hold a date for each of its {length} frames, got "
                f"{len(times)}; check which letter of `layout={layout!r}` is T, or download the "
                "file again"
            )
        parts.append((file, DatedFrames(frames, times, step)))
    parts.sort(key=lambda part: part[1].times[0])
    steps = {part.freq: file for file, part in parts}
    if len(steps) > 1:
        raise ValueError(
            "`path` must be files of one interval, got "
            f"{listed(f'{step.freqstr} of {file}' for step, file in steps.items())}; read them one "
            "by one"
        )
    first, *others = (part.times for _, part in parts)
    arrays = [part.frames for _, part in parts]
    frames = _joined(arrays, [file for file, _ in parts], layout)
    return DatedFrames(frames, first.append(others), parts[0][1].freq)


def _kind_of(file: Path) -> tuple[str, ...]:
    for kind in (_HDF5, _NUMPY):
        if file.suffix.lower() in kind:
            return kind
    raise ValueError(
        f"`path` must end in one of {', '.join((*_HDF5, *_NUMPY))}, got {str(file)!r}; read other "
        "files yourself, and pass frames and times to `from_flow`"
    )


def read_hdf5(file: Path, key: str) -> tuple[NDArray[np.generic], NDArray[np.generic]]:
    """Return an array of a file, and its dates."""
    h5py = import_optional("h5py", extra="flow")
    try:
        with h5py.File(file, "r") as content:
            for name in (key, _DATE_KEY):
                if not isinstance(content.get(name), h5py.Dataset):
                    raise ValueError(
                        f"`path`: {file} must hold a dataset {name!r}, got {sorted(content)}; name "
                        f"the frames with `key=`, and call their dates {_DATE_KEY!r}"
                    )
            return content[key][()], content[_DATE_KEY][()]
    except OSError as error:
        raise ValueError(
            f"`path`: {file} is no whole HDF5 file ({error}); download it again"
        ) from error


def _read_numpy(file: Path, key: str | None) -> NDArray[np.generic]:
    try:
        if file.suffix.lower() == ".npy":
            array: NDArray[np.generic] = np.load(file, mmap_mode="r", allow_pickle=False)
            return array
        # opened here: NumPy leaves open what it cannot read
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as content:
            names = list(content)
            name = names[0] if key is None and len(names) == 1 else key
            if name not in names:
                raise KeyError(names)
            named: NDArray[np.generic] = content[name]
            return named
    except KeyError as error:
        raise ValueError(
            f"`path`: {file} must hold {'one array' if key is None else f'an array {key!r}'}, got "
            f"{error.args[0]}; pass the name of the frames as `key`"
        ) from error
    except (EOFError, OSError, TypeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"`path`: {file} is no whole {file.suffix.lower()} file of numbers ({error}); save the "
            "frames again, as an array of numbers"
        ) from error


def _checked(
    frames: NDArray[np.generic], file: Path, layout: str, channels: int
) -> NDArray[np.generic]:
    """Return frames that fit the layout, or raise with the name of their file."""
    if frames.dtype.kind not in "fiu":
        raise TypeError(
            f"`path`: the frames in {file} must be real numbers, got dtype {frames.dtype}; check "
            "`key`"
        )
    if frames.ndim != len(layout) or "T" not in layout or frames.size == 0:
        raise ValueError(
            f"`path`: the frames in {file} must have an axis for each letter of "
            f"`layout={layout!r}`, none of them empty, got shape {frames.shape}; pass the `layout` "
            "of the file, such as 'THWC'"
        )
    found = frames.shape[layout.index("C")] if "C" in layout else 1
    if found != channels:
        raise ValueError(
            f"`path`: the frames in {file} must have {channels} channels, one for each of "
            f"`channel_names`, got shape {frames.shape} in `layout={layout!r}`; pass the `layout` "
            "of the file, such as 'THWC', or other names"
        )
    return frames


def _joined(
    arrays: Sequence[NDArray[np.generic]], files: Sequence[Path], layout: str
) -> NDArray[np.generic]:
    axis = layout.index("T")
    shapes = [array.shape[:axis] + array.shape[axis + 1 :] for array in arrays]
    for file, shape in zip(files, shapes, strict=True):
        if shape != shapes[0]:
            raise ValueError(
                f"`path` must be files of one grid, got frames of shape {shapes[0]} in {files[0]} "
                f"and {shape} in {file}; read them one by one"
            )
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=axis)


def _check_numpy_options(freq: Any, first_slot: FirstSlot | None, start: Any) -> None:
    if start is None or freq is None:
        raise ValueError(
            f"`start` and `freq` must be given for files without dates, got {start!r} and {freq!r};"
            " pass for example start='2016-01-01', freq='30min'"
        )
    if first_slot is not None:
        raise ValueError(f"`first_slot={first_slot}` is for files with dates; leave it out")


def _counted_times(length: int, start: Any, freq: Any) -> Any:
    if time_zone(start) is None:
        return make_time_index(length, start=start, freq=freq)
    first = pd.Timestamp(start)
    # the wall clock is checked, and time goes on from it whatever the clocks do
    step: Any = make_time_index(1, start=first.tz_localize(None), freq=freq).freq  # type: ignore[union-attr]
    return pd.date_range(first, periods=length, freq=step)


def _step_of(file: Path, freq: Any) -> Any:
    """Return the interval of a file of slots, as told or as its name says."""
    if freq is None:
        named = _MINUTES_IN_NAME.search(file.name)
        if named is None:
            raise ValueError(
                f"`freq` must be given for {file}, whose name does not say it: the slots of a day "
                "may be hours, half hours or others; pass for example freq='30min'"
            )
        freq = pd.Timedelta(minutes=int(named[1]))
    step = getattr(make_time_index(1, freq=freq), "freq", None)
    if not isinstance(step, pd.offsets.Tick) or _DAY % _length(step):
        raise ValueError(
            f"`freq={freq!r}` must divide a day into slots for {file}; pass for example '30min'"
        )
    length: Any = _length(step)  # pandas' stubs do not take it for a frequency
    return pd.tseries.frequencies.to_offset(length)  # 60min and h are one


def _length(step: pd.offsets.Tick) -> pd.Timedelta:
    return pd.Timedelta(step.nanos, "ns")


def slot_times(
    dates: NDArray[np.generic], file: Path, step: Any, first_slot: FirstSlot | None
) -> pd.DatetimeIndex:
    """Read dates YYYYMMDDTT, the day and the slot in it."""
    if first_slot not in (None, 0, 1):
        raise ValueError(f"`first_slot` must be 0, 1 or None, got {first_slot!r}")
    if dates.ndim != 1 or dates.dtype.kind not in "SUO":
        raise TypeError(
            f"`path`: {_DATE_KEY!r} in {file} must be a list of texts such as b'2016010148', got "
            f"shape {dates.shape} of {dates.dtype}; write it as TaxiBJ does"
        )
    text = pd.Series([d.decode("ascii", "replace") if isinstance(d, bytes) else d for d in dates])
    well_formed = text.astype(str).str.fullmatch(r"\d{10,11}")
    days = pd.to_datetime(text.where(well_formed).str[:8], format="%Y%m%d", errors="coerce")
    _refuse(text[days.isna()], file, "a day and a slot in it, YYYYMMDDTT")
    slots = text.str[8:].astype(int)
    per_day = _DAY // _length(step)
    first = _first_slot(slots, per_day, file) if first_slot is None else first_slot
    is_slot = slots.between(first, first + per_day - 1)
    expected = f"a slot from {first:02d} to {first + per_day - 1:02d} (freq={step.freqstr!r})"
    _refuse(text[~is_slot], file, expected)
    return pd.DatetimeIndex(days + (slots - first) * _length(step))


def _first_slot(slots: pd.Series[int], per_day: int, file: Path) -> int:
    """Tell the hours 00 to 23 from the slots 01 to 24; all other slots count from 1."""
    if per_day != _HOURS:
        return 1
    is_hour, is_slot = bool((slots == 0).any()), bool((slots == _HOURS).any())
    if is_hour == is_slot:
        raise ValueError(
            f"`first_slot` must be given for {file}, whose dates hold "
            f"{'a slot 00 and' if is_hour else 'neither a slot 00 nor'} a slot 24; pass "
            "first_slot=0 if they are hours from 00 to 23, or 1 if they are slots from 01 to 24"
        )
    return 0 if is_hour else 1


def _refuse(dates: pd.Series[str], file: Path, expected: str) -> None:
    if len(dates):
        first = listed(f"{date!r} of frame {row}" for row, date in dates.iloc[:4].items())
        raise ValueError(
            f"`path`: dates in {file} must be {expected}, got {len(dates)} others: {first}; "
            "correct the file, or pass the `freq` and `first_slot` that it has"
        )
