"""Files of flows are read as their makers meant them, or refused by name."""

import sys
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from darts_mim import series_to_frames
from darts_mim.adapters import read_flow, to_flow

C, H, W = 2, 3, 4
HALF_HOURS: Any = {"freq": "30min", "first_slot": 1}
HOURS: Any = {"freq": "h", "first_slot": 0}
TIMES: Any = {"start": "2016-01-01", "freq": "30min"}


def flow(length: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + length * C * H * W, dtype=np.float64).reshape(-1, C, H, W)


def write(name: str, dates: list[Any], frames: np.ndarray | None = None) -> Path:
    """Write a file in the layout of TaxiBJ."""
    with h5py.File(name, "w") as file:
        file["data"] = flow(len(dates)) if frames is None else frames
        file["date"] = np.array(dates, "S")
    return Path(name)


def slots(day: str, first: int, last: int) -> list[str]:
    return [f"{day}{slot:02d}" for slot in range(first, last + 1)]


@pytest.fixture
def beijing() -> Path:
    """Two days of half hours, of which the slots 11 and 12 of the first are missing."""
    dates = slots("20151101", 1, 10) + slots("20151101", 13, 48) + slots("20151102", 1, 48)
    return write("BJ16_M32x32_T30_InOut.h5", dates)


def test_slots_become_times_and_options_reach_the_series(beijing: Path) -> None:
    first, second = read_flow(beijing, gaps="split", **HALF_HOURS)
    assert (len(first), len(second), first.freq_str) == (10, 84, "30min")
    assert str(first.start_time()) == "2015-11-01 00:00:00"
    assert str(first.end_time()) == "2015-11-01 04:30:00"  # slot 10
    assert str(second.start_time()) == "2015-11-01 06:00:00"  # slot 13
    assert str(second.end_time()) == "2015-11-02 23:30:00"  # slot 48
    np.testing.assert_array_equal(to_flow([first, second])[0], flow(94))
    attributes = {"time": {"time_zone": "Asia/Shanghai"}}
    series = read_flow(beijing, gaps="linear", attributes=attributes, **HALF_HOURS)
    assert len(series[:96]) == 96
    assert to_flow(series)[1][0] == pd.Timestamp("2015-11-01", tz="Asia/Shanghai")
    with pytest.raises(ValueError, match="`times` must have no gap"):
        read_flow(beijing, **HALF_HOURS)
    hours = write("hours.h5", slots("20100101", 0, 23))
    assert str(read_flow(hours, **HOURS).start_time()) == "2010-01-01 00:00:00"
    quarters = write("quarters.h5", slots("20151101", 1, 96))
    series = read_flow(quarters, freq=pd.Timedelta("15min"), first_slot=1)
    assert str(series.end_time()) == "2015-11-01 23:45:00"


@pytest.mark.parametrize(
    "date",
    ["2015110100", "2015110149", "2015023001", "20151101", "201511011x", "", "2015-11-01"],
)
def test_a_date_that_does_not_exist_is_refused_with_its_file(date: str) -> None:
    dates = slots("20151101", 1, 48)
    dates[7] = date
    file = write("BJ15.h5", dates)
    with pytest.raises(ValueError, match=rf"dates in BJ15\.h5 must be .* got '{date}'"):
        read_flow(file, **HALF_HOURS)


def test_years_are_joined_in_time() -> None:
    late = write("late.h5", slots("20140101", 1, 20), flow(20, first=10_000))
    early = write("early.h5", slots("20131231", 29, 48), flow(20))
    series = read_flow([late, early], **HALF_HOURS)
    assert (str(series.start_time()), len(series)) == ("2013-12-31 14:00:00", 40)
    expected = np.concatenate([flow(20), flow(20, first=10_000)])
    np.testing.assert_array_equal(series_to_frames(series), expected)


def test_dates_may_be_text_of_any_length_or_numbers() -> None:
    dates = slots("20151101", 1, 48)
    for written in ({"data": dates, "dtype": h5py.string_dtype()}, {"data": list(map(int, dates))}):
        with h5py.File("some.hdf5", "w") as file:
            file["flow"] = flow(48).astype(np.uint16)
            file.create_dataset("date", **written)
        series = read_flow("some.hdf5", key="flow", **HALF_HOURS)
        assert (len(series), series.dtype) == (48, np.float32)


def test_a_damaged_hdf5_file_is_named() -> None:
    dates = slots("20151101", 1, 48)
    whole = write("BJ13.h5", dates).read_bytes()
    for damaged in (b"", b"<html>", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        Path("BJ13.h5").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"BJ13\.h5 must be a whole HDF5 file"):
            read_flow("BJ13.h5", **HALF_HOURS)
    write("BJ13.h5", dates)
    with pytest.raises(ValueError, match=r"BJ13\.h5 must be .* with the arrays \['flow', 'date'\]"):
        read_flow("BJ13.h5", key="flow", **HALF_HOURS)
    with pytest.raises(ValueError, match="`times` must have one entry for each of the 47 frames"):
        read_flow(write("BJ13.h5", dates, flow(47)), **HALF_HOURS)


def test_a_size_that_a_file_states_is_compared_before_it_is_read() -> None:
    with h5py.File("huge.h5", "w") as file:  # a few kilobytes that state 64 TB
        file.create_dataset("data", (10**9, C, 64, 64), "f8", chunks=(1, C, 64, 64))
        file["date"] = np.array(slots("20151101", 1, 48), "S")
    header = {"descr": "<f8", "fortran_order": False, "shape": (10**8, C, H, W)}
    with zipfile.ZipFile("huge.npz", "w") as archive, archive.open("a.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
    tracemalloc.start()
    for name, options in (("huge.h5", HALF_HOURS), ("huge.npz", TIMES)):
        with pytest.raises(ValueError, match=rf"{name} .* \d+ bytes"):
            read_flow(name, **options)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5e6


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_of_numpy_go_on_where_the_one_before_ends(ending: str) -> None:
    expected = np.concatenate([flow(5), flow(3, first=500)])
    save: Any = np.save if ending == "npy" else np.savez_compressed
    paths = [f"b.{ending}", f"a.{ending}"]
    for path, frames in zip(paths, np.split(expected, [5]), strict=True):
        save(path, frames.transpose(0, 2, 3, 1))
    series = read_flow(paths, layout="THWC", **TIMES)
    assert str(series.end_time()) == "2016-01-01 03:30:00"
    np.testing.assert_array_equal(series_to_frames(series), expected)


def test_arrays_of_numpy_start_at_any_time() -> None:
    np.save("flow.npy", flow(5).astype(np.float32))
    start: Any
    for start in ("2016-03-13 00:00-05:00", pd.Timestamp("2016-11-06 04:00", tz="UTC")):
        series = read_flow("flow.npy", start=start, freq="h")
        assert to_flow(series)[1][0] == pd.Timestamp(start)
    series = read_flow("flow.npy", start=3, freq=2)
    assert series.time_index.tolist() == [3, 5, 7, 9, 11]
    assert isinstance(series.all_values(copy=False), np.memmap)


def test_what_is_no_flow_is_refused(beijing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez("two.npz", a=flow(3), b=flow(4))
    assert len(read_flow("two.npz", key="b", **TIMES)) == 4
    np.savez("objects.npz", a=np.array([{}], dtype=object))
    Path("text.npz").write_text("no archive")
    Path("cut.npz").write_bytes(Path("two.npz").read_bytes()[:-30])
    np.save("array.npy", flow(3))
    Path("cut.npy").write_bytes(Path("array.npy").read_bytes()[:-30])
    for name, arguments, message in (
        ("two.npz", TIMES, r"two\.npz must be a whole .* \['a\.npy', 'b\.npy'\].* `key`"),
        ("two.npz", {**TIMES, "key": "c"}, r"two\.npz must be .* 'c\.npy'"),
        ("objects.npz", TIMES, r"objects\.npz must be a whole \.npz file of numbers"),
        ("text.npz", TIMES, r"text\.npz must be a whole \.npz file"),
        ("cut.npz", TIMES, r"cut\.npz must be a whole \.npz file"),
        ("cut.npy", TIMES, r"cut\.npy must be a whole \.npy file"),
        ("array.npy", {"freq": "h"}, "`start` must be given"),
        ("array.npy", {**TIMES, "layout": "TTHW"}, "`layout` must be a string of T, H, W"),
        (beijing, {"freq": "30min"}, "`first_slot` must be 0 or 1 for HDF5 files, got None"),
        ([beijing, "array.npy"], TIMES, "`path` must be files that end in"),
        ([], TIMES, "`path` must be files that end in"),
    ):
        with pytest.raises(ValueError, match=message):
            read_flow(name, **arguments)
    with pytest.raises(FileNotFoundError, match=r"`path`: .*missing\.h5"):
        read_flow("missing.h5", **HALF_HOURS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"\.\[flow\]"):
        read_flow(beijing, **HALF_HOURS)
