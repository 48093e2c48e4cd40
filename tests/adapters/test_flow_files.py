"""Files of flows are read as their makers meant them, or refused by name."""

import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from darts_mim import series_to_frames
from darts_mim.adapters import read_flow, to_flow

C, H, W = 2, 3, 4


def flow(length: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + length * C * H * W, dtype=np.float64).reshape(-1, C, H, W)


def write(path: Path, dates: list[Any], frames: np.ndarray | None = None) -> Path:
    """Write a file in the layout of TaxiBJ."""
    with h5py.File(path, "w") as file:
        file["data"] = flow(len(dates)) if frames is None else frames
        file["date"] = np.array(dates, "S") if isinstance(dates[0], bytes | str) else dates
    return path


def slots(day: str, first: int, last: int) -> list[str]:
    return [f"{day}{slot:02d}" for slot in range(first, last + 1)]


def real(shared_data: Path, name: str) -> Path:
    folder = shared_data / name
    if not folder.is_dir():
        pytest.skip(f"no real flows at {folder}")
    return folder


@pytest.fixture
def beijing() -> Path:
    """Two days of half hours, of which the slots 11 and 12 of the first are missing."""
    dates = slots("20151101", 1, 10) + slots("20151101", 13, 48) + slots("20151102", 1, 48)
    return write(Path("BJ16_M32x32_T30_InOut.h5"), dates)


def test_a_file_of_taxibj_is_half_hours_from_01_to_48(beijing: Path) -> None:
    first, second = read_flow(beijing)
    assert (len(first), len(second)) == (10, 84)
    assert first.freq_str == "30min"
    assert first.start_time() == pd.Timestamp("2015-11-01 00:00")
    assert first.end_time() == pd.Timestamp("2015-11-01 04:30")  # slot 10
    assert second.start_time() == pd.Timestamp("2015-11-01 06:00")  # slot 13
    assert second.end_time() == pd.Timestamp("2015-11-02 23:30")  # slot 48
    np.testing.assert_array_equal(to_flow([first, second])[0], flow(94))
    assert first.components[0] == "inflow_0_0"


def test_the_interval_is_told_or_in_the_name_and_never_guessed(beijing: Path) -> None:
    renamed = beijing.rename("beijing.hdf5")
    with pytest.raises(ValueError, match=r"`freq` must be given for beijing\.hdf5"):
        read_flow(renamed)
    assert [len(one) for one in read_flow(renamed, freq="30min")] == [10, 84]
    with pytest.raises(ValueError, match=r"beijing.hdf5 .*a slot from 00 to 23 .*'2015110124' of"):
        read_flow(renamed, freq="h", first_slot=0)
    for freq in ("7h", "MS", 30):
        with pytest.raises(ValueError, match="must divide a day"):
            read_flow(renamed, freq=freq)
    quarters = write(Path("quarters.h5"), slots("20151101", 1, 96))
    [series] = read_flow(quarters, freq=pd.Timedelta("15min"))
    assert series.end_time() == pd.Timestamp("2015-11-01 23:45")


def test_hours_and_slots_of_an_hour_are_told_apart_by_00_and_24() -> None:
    hours = write(Path("NYC10_Taxi_M16x8_T60_InOut.h5"), slots("20100101", 0, 23))
    [series] = read_flow(hours)
    assert series.freq_str == "h"
    assert series.start_time() == pd.Timestamp("2010-01-01 00:00")
    counted = write(Path("NYC14_M16x8_T60_NewEnd.h5"), slots("20140401", 2, 24))
    [series] = read_flow(counted)
    assert series.start_time() == pd.Timestamp("2014-04-01 01:00")
    assert series.end_time() == pd.Timestamp("2014-04-01 23:00")


def test_hours_that_may_be_slots_are_refused_until_told() -> None:
    either = write(Path("a_T60_b.h5"), slots("20100101", 5, 20))
    with pytest.raises(ValueError, match=r"`first_slot` must be given for a_T60_b.h5.*neither"):
        read_flow(either)
    for first_slot, hour in ((0, 5), (1, 4)):
        [series] = read_flow(either, first_slot=first_slot)
        assert series.start_time() == pd.Timestamp(f"2010-01-01 0{hour}:00")
    both = write(Path("both_T60_.h5"), slots("20100101", 0, 24))
    with pytest.raises(ValueError, match="hold a slot 00 and a slot 24"):
        read_flow(both)
    with pytest.raises(ValueError, match="`first_slot` must be 0, 1 or None, got 2"):
        read_flow(both, first_slot=2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "date",
    ["2015110100", "2015110149", "2015023001", "20151101", "201511011x", "x", "", "2015-11-01"],
)
def test_a_date_that_does_not_exist_is_refused_with_file_and_frame(date: str) -> None:
    dates = slots("20151101", 1, 48)
    dates[7] = date
    file = write(Path("BJ15_M32x32_T30_InOut.h5"), dates)
    with pytest.raises(
        ValueError, match=rf"BJ15_M32x32_T30_InOut.h5 must be .*'{date}' of frame 7"
    ):
        read_flow(file)


def test_slots_counted_from_0_are_read_when_told() -> None:
    file = write(Path("zero_T30_.h5"), slots("20151101", 0, 47))
    with pytest.raises(ValueError, match=r"from 01 to 48.*'2015110100' of frame 0"):
        read_flow(file)
    [series] = read_flow(file, first_slot=0)
    assert series.end_time() == pd.Timestamp("2015-11-01 23:30")


def test_doubled_slots_are_refused_or_resolved(beijing: Path) -> None:
    dates = [*slots("20151101", 1, 5), "2015110103", *slots("20151101", 6, 10)]
    file = write(beijing, dates)
    with pytest.raises(ValueError, match="must not go back"):
        read_flow(file)
    with pytest.raises(ValueError, match="1 time has several frames: 2015-11-01 01:00:00"):
        read_flow(file, sort=True)
    frames = flow(11)
    for duplicates, expected in (
        ("first", frames[2]),
        ("last", frames[5]),
        ("sum", frames[2] + frames[5]),
    ):
        [series] = read_flow(file, sort=True, duplicates=duplicates)
        np.testing.assert_array_equal(series_to_frames(series)[2], expected)


def test_years_are_joined_in_time_before_they_are_split() -> None:
    late = write(Path("BJ14_T30_.h5"), slots("20140101", 1, 20), flow(20, first=10_000))
    early = write(Path("BJ13_T30_.h5"), slots("20131231", 29, 48), flow(20))
    [series] = read_flow([late, early])
    assert (series.start_time(), len(series)) == (pd.Timestamp("2013-12-31 14:00"), 40)
    np.testing.assert_array_equal(
        series_to_frames(series), np.concatenate([flow(20), flow(20, first=10_000)])
    )
    hourly = write(Path("NYC_T60_.h5"), slots("20140102", 0, 23))
    with pytest.raises(ValueError, match=r"of one interval, got 30min of BJ14.*, h of NYC_T60_"):
        read_flow([late, hourly])
    wide = write(Path("BJ15_T30_.h5"), slots("20150101", 1, 4), np.ones((4, C, H, W + 1)))
    with pytest.raises(ValueError, match=r"of one grid, .*\(2, 3, 4\) in BJ13.*5\) in BJ15"):
        read_flow([early, wide])


def test_dates_may_be_text_of_any_length(beijing: Path) -> None:
    dates = slots("20151101", 1, 48)
    with h5py.File(beijing, "w") as file:
        file["flow"] = flow(48).astype(np.uint16)
        file.create_dataset("date", data=dates, dtype=h5py.string_dtype())
    [series] = read_flow(beijing, key="flow")
    assert (len(series), series.dtype) == (48, np.float32)
    with pytest.raises(
        ValueError, match=r"T30_InOut\.h5 must hold a dataset 'data', got \['date', "
    ):
        read_flow(beijing)


def test_arrays_that_do_not_fit_are_refused_by_name(beijing: Path) -> None:
    dates = slots("20151101", 1, 4)
    for frames, message in (
        (np.ones((5, C, H, W)), "for each of its 5 frames, got 4"),
        (np.ones((4, H, W)), "for each letter of `layout='TCHW'`"),
        (np.ones((4, 3, H, W)), "2 channels, one for each"),
    ):
        with pytest.raises(ValueError, match=rf"{beijing.name} must .*{message}"):
            read_flow(write(beijing, dates, frames))
    with pytest.raises(TypeError, match=rf"in {beijing.name} must be real numbers, got dtype"):
        read_flow(write(beijing, dates, np.ones((4, C, H, W), complex)))
    with pytest.raises(TypeError, match=rf"'date' in {beijing.name} must be a list of texts"):
        read_flow(write(beijing, [1, 2, 3, 4], flow(4)))
    with h5py.File(beijing, "w") as file:
        file.create_group("data")
    with pytest.raises(ValueError, match=f"{beijing.name} must hold a dataset 'data'"):
        read_flow(beijing)


def test_a_damaged_hdf5_file_is_named() -> None:
    file = Path("BJ13_T30_.h5")
    with h5py.File(file, "w") as content:
        content.create_dataset("data", data=flow(48), compression="gzip")
        content["date"] = np.array(slots("20151101", 1, 48), "S")
    whole = file.read_bytes()
    for damaged in (b"", b"<html>", whole[:100], whole[: len(whole) // 2], whole[:-1]):
        file.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"BJ13_T30_\.h5 is no whole HDF5 file"):
            read_flow(file)
    # one byte anywhere: refused by name, or not in what is read
    file.write_bytes(whole)
    for at in range(0, len(whole), 97):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :])
        refusal = ""
        try:
            read_flow(file)
        except (TypeError, ValueError) as error:
            refusal = str(error)
        assert not refusal or "BJ13_T30_.h5" in refusal or "`times`" in refusal


@pytest.mark.parametrize("ending", ["npy", "npz"])
def test_arrays_of_numpy_go_on_where_the_one_before_ends(ending: str) -> None:
    paths = []
    for name, frames in (("b", flow(5)), ("a", flow(3, first=500))):
        path = Path(f"{name}.{ending}")
        if ending == "npy":
            np.save(path, frames.transpose(0, 2, 3, 1))
        else:
            np.savez(path, flow=frames.transpose(0, 2, 3, 1))
        paths.append(path)
    [series] = read_flow(paths, layout="THWC", start="2016-01-01", freq="30min")
    assert series.end_time() == pd.Timestamp("2016-01-01 03:30")
    np.testing.assert_array_equal(
        series_to_frames(series), np.concatenate([flow(5), flow(3, first=500)])
    )


def test_arrays_of_numpy_start_at_any_time() -> None:
    np.save("flow.npy", flow(5).astype(np.float32))
    start: Any
    for start in ("2016-03-13 00:00-05:00", pd.Timestamp("2016-11-06 04:00", tz="UTC")):
        [series] = read_flow("flow.npy", start=start, freq="h")
        assert to_flow(series)[1][0] == pd.Timestamp(start)
    [series] = read_flow("flow.npy", start=3, freq=2)
    assert series.time_index.tolist() == [3, 5, 7, 9, 11]
    assert isinstance(series.all_values(copy=False), np.memmap)
    local = pd.Timestamp("2016-11-06 00:00", tz="America/New_York")
    with pytest.raises(ValueError, match="to UTC first"):
        read_flow("flow.npy", start=local, freq="h")


def test_arrays_of_numpy_that_say_too_little_are_refused() -> None:
    np.savez("two.npz", a=flow(3), b=flow(4))
    np.savez("objects.npz", a=np.array([{}], dtype=object))
    Path("text.npz").write_text("no archive")
    Path("cut.npz").write_bytes(Path("two.npz").read_bytes()[:-30])
    np.save("cut.npy", flow(3))
    Path("cut.npy").write_bytes(Path("cut.npy").read_bytes()[:-30])
    np.save("array.npy", flow(3))
    Path("array.npy").rename("array.npz")
    times: Any = {"start": "2016-01-01", "freq": "30min"}
    [series] = read_flow("two.npz", key="b", **times)
    assert len(series) == 4
    for name, arguments, message in (
        ("two.npz", times, r"two\.npz must hold one array, got \['a', 'b'\]"),
        ("two.npz", {**times, "key": "c"}, r"two\.npz must hold an array 'c'"),
        ("objects.npz", times, r"objects\.npz is no whole \.npz file of numbers"),
        ("text.npz", times, r"text\.npz is no whole \.npz file"),
        ("cut.npz", times, r"cut\.npz is no whole \.npz file"),
        ("cut.npy", times, r"cut\.npy is no whole \.npy file"),
        ("array.npz", times, r"array\.npz is no whole \.npz file"),
        ("two.npz", {"key": "a"}, "`start` and `freq` must be given for files without dates"),
        ("two.npz", {**times, "key": "a", "first_slot": 1}, "`first_slot=1` is for files with"),
        ("two.npz", {**times, "key": "a", "layout": "THWC"}, "must have 2 channels, one for each"),
    ):
        with pytest.raises(ValueError, match=message):
            read_flow(name, **arguments)


def test_without_h5py_the_error_names_the_extra(
    beijing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'darts-mim\[flow\]'"):
        read_flow(beijing)


def test_paths_that_are_no_flow_are_refused(beijing: Path) -> None:
    np.save("flow.npy", flow(3))
    with pytest.raises(FileNotFoundError, match=r"no file .*missing\.h5"):
        read_flow("missing.h5")
    with pytest.raises(ValueError, match=r"must end in one of \.h5, .* got 'flow\.csv'"):
        read_flow("flow.csv")
    with pytest.raises(ValueError, match="files of one kind"):
        read_flow([beijing, "flow.npy"])
    with pytest.raises(ValueError, match=r"files of one kind, got \[\]"):
        read_flow([])
    wrong: Any
    for wrong in (5, None, b"flow.npy", [5]):
        with pytest.raises(TypeError, match=r"`path` must (be a path or|hold paths)"):
            read_flow(wrong)
    with pytest.raises(TypeError, match="`layout` must be a string, got None"):
        read_flow("flow.npy", layout=None, start=0, freq=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="`layout='TTHW'` has repeated letters: 'T'"):
        read_flow("flow.npy", layout="TTHW", start=0, freq=1)
    with pytest.raises(ValueError, match="HDF5 files hold theirs"):
        read_flow(beijing, start="2016-01-01")


def test_options_of_from_flow_reach_files(beijing: Path) -> None:
    [series] = read_flow(
        beijing,
        gaps="linear",
        max_gap=2,
        coordinates={"y": range(H), "x": range(W)},
        attributes={
            "inflow": {"units": "taxis per 30 min"},
            "time": {"time_zone": "Asia/Shanghai"},
        },
    )
    assert len(series) == 96
    frames = series_to_frames(series)
    np.testing.assert_allclose(frames[10], frames[9] + (frames[12] - frames[9]) / 3, rtol=1e-6)
    assert to_flow(series)[1][0] == pd.Timestamp("2015-11-01", tz="Asia/Shanghai")


def test_taxis_of_new_york_are_cleaned_to_the_figures_known_of_them(shared_data: Path) -> None:
    figures = {}
    for file in sorted(real(shared_data, "taxinyc_h5").glob("*.h5")):
        with h5py.File(file) as content:
            total, frames = content["data"][()].sum(), len(content["date"])
        with pytest.raises(ValueError, match="must not go back, which they do 2 times"):
            read_flow(file)
        with pytest.raises(ValueError, match="have several frames") as refusal:
            read_flow(file, sort=True, drop_zero_frames=True)
        # each quarter of a year also counts the few trips that reach over its ends
        series = read_flow(file, sort=True, drop_zero_frames=True, duplicates="sum")
        assert all(one.freq_str == "h" for one in series)
        assert sum(one.all_values().sum(dtype=np.float64) for one in series) == total
        doubles = int(str(refusal.value).split("but ")[1].split()[0])
        zeros = frames - doubles - sum(map(len, series))
        figures[file.name[:5]] = zeros, doubles, max(map(len, series))
    assert figures == {
        "NYC10": (59, 10, 5835),
        "NYC11": (82, 11, 4129),
        "NYC12": (64, 7, 4175),
        "NYC13": (303, 6, 4199),
        "NYC14": (1741, 10, 4223),
    }


def test_years_of_taxis_of_new_york_are_one_timeline(shared_data: Path) -> None:
    files = sorted(real(shared_data, "taxinyc_h5").glob("NYC1[01]*.h5"), reverse=True)
    series = read_flow(
        files, sort=True, drop_zero_frames=True, duplicates="sum", gaps="nan", max_gap=1
    )
    # September is missing; the hour that the clocks skipped in March 2011 is filled
    assert [str(one.start_time()) for one in series] == [
        "2010-01-01 00:00:00",
        "2010-10-01 00:00:00",
        "2011-10-01 00:00:00",
    ]
    frames, times = to_flow(series)
    assert times[np.isnan(frames).all(axis=(1, 2, 3))].tolist() == [
        pd.Timestamp("2011-03-13 02:00")
    ]


@pytest.mark.parametrize(
    ("city", "start", "end", "shape", "most"),
    [
        ("NYTaxi", "2016-01-01", "2016-03-30 23:30", (4320, 2, 16, 12), 1518),
        ("NYBike", "2016-08-01", "2016-10-29 23:30", (4320, 2, 14, 8), 323),
    ],
)
def test_test_frames_of_new_york_continue_those_for_training(
    shared_data: Path, city: str, start: str, end: str, shape: tuple[int, ...], most: float
) -> None:
    folder = real(shared_data, f"nyc_taxi_bike/{city}")
    paths = [folder / "flow_train.npz", folder / "flow_test.npz"]
    [series] = read_flow(paths, layout="THWC", start=start, freq="30min")
    assert series.end_time() == pd.Timestamp(end)
    frames = series_to_frames(series)
    assert (frames.shape, frames.max()) == (shape, most)
    with np.load(paths[1]) as content:
        np.testing.assert_array_equal(frames[3024:].transpose(0, 2, 3, 1), content["flow"])
