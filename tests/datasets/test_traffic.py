"""The sets of traffic flow are read as published, split in time, and refused by name."""

import hashlib
import logging
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest

from darts_mim import Grid, series_to_frames
from darts_mim.adapters import to_flow
from darts_mim.datasets import FlowData, load_nyc_flow, load_taxibj, load_taxinyc, taxibj

ROOT = Path("flows")
BEIJING = {year: ROOT / f"BJ{year % 100}_M32x32_T30_InOut.h5" for year in (2013, 2014, 2015, 2016)}
NEW_YORK = ROOT / "NYC10_Taxi_M16x8_T60_InOut.h5"
WEATHER = ROOT / "BJ_Meteorology.h5"


def flows(length: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return counts (T, 2, H, W) as float64, like the files, none of them a frame of zeros."""
    return np.random.default_rng(seed).integers(1, 900, (length, 2, height, width)).astype(float)


def slots(day: str, days: int, per_day: int = 48, first: int = 1) -> list[str]:
    """Return the dates of whole days, YYYYMMDDSS."""
    dates = pd.date_range(day, periods=days)
    return [f"{date:%Y%m%d}{slot:02d}" for date in dates for slot in range(first, per_day + first)]


def write(path: Path, dates: list[str], **arrays: np.ndarray) -> None:
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["date"] = np.array(dates, "S")
        for name, values in arrays.items():
            file[name] = values


def write_year(year: int, day: str, days: int = 2, gone: slice = slice(0)) -> np.ndarray:
    frames = np.delete(flows(48 * days, 32, 32, seed=year), gone, axis=0)
    write(BEIJING[year], np.delete(slots(day, days), gone).tolist(), data=frames)
    return frames


def write_weather(dates: list[str]) -> None:
    """Write weather: a degree more each slot, and another kind of it."""
    numbers = np.arange(len(dates))
    weather, wind = np.eye(17)[numbers % 17], np.full(len(dates), 7.5)
    write(WEATHER, dates, Temperature=numbers.astype(float), WindSpeed=wind, Weather=weather)


def load(**arguments: Any) -> FlowData:
    return load_taxibj(ROOT, **({"verify": False, "test_days": 3} | arguments))


@pytest.fixture
def beijing() -> np.ndarray:
    """Two days of each year; of 2015 the slots 11 and 12 are missing."""
    frames = [
        write_year(2013, "2013-07-01"),
        write_year(2014, "2014-03-01"),
        write_year(2015, "2015-06-01", gone=slice(10, 12)),
        write_year(2016, "2015-11-01", days=4),
    ]
    (ROOT / "BJ_Holiday.txt").write_bytes(
        b"# of 2013\r\n20130702 # one\r\n\r\n20151102\r\n20160101"
    )
    dates = slots("2013-06-30", 4) + slots("2014-03-01", 2) + slots("2015-06-01", 2)
    write_weather(dates + slots("2015-11-01", 4))
    return np.concatenate(frames)


def test_years_become_stretches_and_the_last_days_the_test(
    beijing: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    data = load()
    assert [(str(one.start_time()), len(one)) for one in (*data.train, *data.test)] == [
        ("2013-07-01 00:00:00", 96),
        ("2014-03-01 00:00:00", 96),
        ("2015-06-01 00:00:00", 10),
        ("2015-06-01 06:00:00", 84),
        ("2015-11-01 00:00:00", 48),
        ("2015-11-02 00:00:00", 144),
    ]
    np.testing.assert_array_equal(to_flow(data.train + data.test)[0], beijing)
    grid = Grid.from_series(data.test[0])
    assert grid == Grid(2, 32, 32, ["inflow", "outflow"])
    assert grid.attributes_of("outflow")["units"] == "taxis per 30 min"
    assert [len(one) for one in load(min_length=60).train] == [96, 96, 84]
    assert "Dropped 1 of 5 runs: too short." in caplog.text
    assert "Dropped 1 stretches cut at 2015-11-02 00:00:00: too short." in caplog.text
    assert load(years=2014, test_days=1).train == load(years=[2014, 2014], test_days=1).train


def test_holidays_and_weather_are_on_one_timeline(
    beijing: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    covariates = load().covariates
    assert list(covariates.components) == ["holiday", "temperature", "wind_speed", *taxibj.WEATHER]
    assert covariates.freq_str == "30min"
    assert str(covariates.start_time()) == "2013-07-01 00:00:00"
    assert str(covariates.end_time()) == "2015-11-05 23:30:00"  # a day after the last frame
    table = covariates.to_dataframe()
    assert table["holiday"].sum() == 2 * 48
    assert (table.loc["2015-11-02", "holiday"] == 1).all()
    assert table.loc["2013-07-01 00:00", "temperature"] == 48  # the file begins a day before
    assert table.loc["2013-07-01 01:00", "sunny"] == (50 % 17 == 0)
    assert table.loc["2013-07-01 01:00", "dusty"] == (50 % 17 == 16)
    np.testing.assert_array_equal(table[list(taxibj.WEATHER)].sum(axis=1), 1)
    # between the parts of the recording no weather is known
    assert table.loc["2013-12-24 12:00", "temperature"] == 4 * 48 - 1
    assert "BJ_Meteorology.h5: " in caplog.text
    assert list(load(weather=False).covariates.components) == ["holiday"]
    assert load(holidays=False).covariates.n_components == 19
    assert load(holidays=False, weather=False).covariates is None


def test_scaling_goes_by_both_channels_of_the_training_series(beijing: np.ndarray) -> None:
    plain = load()
    least = min(one.values().min() for one in plain.train)
    largest = max(one.values().max() for one in plain.train)
    data, scaler = plain.scaled((-1, 1))
    expected = (plain.test[0].values() - least) / (largest - least) * 2 - 1
    np.testing.assert_allclose(data.test[0].values(), expected, atol=1e-5)
    back = scaler.inverse_transform(data.test[0])
    np.testing.assert_allclose(back.values(), plain.test[0].values(), atol=1e-2)
    assert data.covariates is plain.covariates


def test_the_test_is_given_its_history(beijing: np.ndarray) -> None:
    data = load(weather=False)
    [series] = data.test_with_history(10)
    assert series.start_time() == data.test[0].start_time() - pd.Timedelta("5h")
    assert series[10:] == data.test[0]
    assert series[:10] == data.train[-1][-10:]
    [series] = data.test_with_history(1000)  # more than the stretch before has
    assert series.start_time() == data.train[-1].start_time()
    gap = FlowData([data.train[-1][:-1]], data.test, None)
    assert gap.test_with_history(10) == data.test


def test_checksums_are_those_that_come_with_the_data(shared_data: Path) -> None:
    listed = shared_data / "taxibj" / "md5sum.txt"
    if not listed.is_file():
        pytest.skip(f"no checksums at {listed}")
    official = [line.split() for line in listed.read_text().splitlines()]
    assert {name.lstrip("*"): f"md5:{digest}" for digest, name in official} == taxibj.CHECKSUMS


def test_files_are_verified_unless_told(
    beijing: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"BJ13_M32x32.* must be the published file"):
        load(verify=True)
    for path in ROOT.glob("*.h5"):
        digest = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        monkeypatch.setitem(taxibj.CHECKSUMS, path.name, f"md5:{digest}")
    assert len(load(verify=True).train) == 5


def test_what_leaves_nothing_and_missing_files_are_named(beijing: np.ndarray) -> None:
    for arguments, message in (
        ({"years": 2017}, "`years` must be some of"),
        ({"test_days": 4000}, "`test_days=4000` leaves nothing"),
        ({"min_length": 999}, "`min_length=999` leaves no series"),
    ):
        with pytest.raises(ValueError, match=message):
            load(**arguments)
    for path, remedy in (
        (WEATHER, "weather=False"),
        (ROOT / "BJ_Holiday.txt", "holidays=False"),
        (BEIJING[2014], r"get TaxiBJ's files from .* `years`"),
    ):
        path.unlink()
        with pytest.raises(FileNotFoundError, match=rf"/.*{path.name}; .*{remedy}"):
            load()


def test_damaged_files_are_refused_by_name(beijing: np.ndarray) -> None:
    path, dates = BEIJING[2014], slots("2014-03-01", 1)
    good = path.read_bytes()
    for wrong, frames, message in (
        ([dates[1], dates[0], *dates[2:]], flows(48, 32, 32), "`times` must not go back"),
        ([*dates[:-1], "2014030149"], flows(48, 32, 32), "dates in .*BJ14_M"),
        (dates, flows(48, 32, 31), "`root` .* 32 x 32 cells|concatenation"),
    ):
        write(path, wrong, data=frames)
        with pytest.raises(ValueError, match=message):
            load(years=[2013, 2014], test_days=1, weather=False)
    path.write_bytes(good[: len(good) // 2])
    with pytest.raises(ValueError, match=r"BJ14_M.* must be a whole HDF5 file"):
        load()
    path.write_bytes(good)
    write_weather(slots("2019-07-01", 2))
    with pytest.raises(ValueError, match=r"BJ_Meteorology\.h5 must hold the weather of 2013"):
        load()
    (ROOT / "BJ_Holiday.txt").write_text("20130101\n2013-01-02\n")
    with pytest.raises(ValueError, match=r"BJ_Holiday\.txt must hold days YYYYMMDD, got '2013-01-"):
        load(weather=False)


def test_a_wrong_year_makes_no_long_timeline(beijing: np.ndarray) -> None:
    write(BEIJING[2014], slots("2213-03-01", 1), data=flows(48, 32, 32))
    with pytest.raises(ValueError, match=r"2213.* steps, of which \d+ hold data"):
        load(weather=False)


def test_a_dirty_year_is_cleaned_and_the_log_says_how(caplog: pytest.LogCaptureFixture) -> None:
    # three days: an hour of zeros, one that comes twice, and two that are swapped; in hour 20 trips
    # end and none begins
    dates, frames = slots("2010-01-01", 3, 24, 0), flows(72, 16, 8)
    frames[30] = 0
    frames[20, 0] = 0
    order = np.r_[0:40, 41, 40, 42:72, 5]
    write(NEW_YORK, [dates[i] for i in order], data=frames[order])
    (ROOT / "NY_Holiday.txt").write_text("20100101\n20100118\n")
    with caplog.at_level(logging.INFO, "darts_mim"):
        data = load_taxinyc(ROOT, years=[2010], test_days=1)
    assert [len(one) for one in (*data.train, *data.test)] == [20, 9, 17, 24]
    frames[5] *= 2  # the sum of both
    # trips that begin, the outflow, are the first channel of the files and the second of series
    kept = np.delete(frames, [20, 30], axis=0)[:, ::-1]
    np.testing.assert_array_equal(to_flow(data.train + data.test)[0], kept)
    for words in (
        "Dropped 1 of 73 frames: all zero",
        "Sorted 72 frames",
        "Merged 1 duplicate among 72 frames: sum",
        "Dropped 1 frames in which no trip begins",
    ):
        assert words in caplog.text
    assert data.covariates.values()[:, 0].tolist() == [1.0] * 24 + [0.0] * 72
    assert Grid.from_series(data.test[0]).attributes_of("inflow")["units"] == "taxis per hour"
    with pytest.raises(FileNotFoundError, match=r"NYC11_Taxi_M16x8_T60_InOut\.h5; put TaxiNYC's"):
        load_taxinyc(ROOT)


def test_real_years_are_read(shared_data: Path) -> None:
    folder = shared_data / "taxinyc_h5"
    if not folder.is_dir():
        pytest.skip(f"no flows in {folder}")
    data = load_taxinyc(folder, years=[2010, 2011], min_length=48)
    assert sum(map(len, data.test)) == 28 * 24
    assert str(data.test[0].start_time()) == "2011-12-04 00:00:00"
    assert str(data.covariates.end_time()) == "2012-01-01 23:00:00"
    frames, times = to_flow(data.train + data.test)
    assert frames[:, 1].any(axis=(1, 2)).all()  # no frame of trips that only end is left
    with h5py.File(folder / NEW_YORK.name) as file:
        quarter = file["data"][()][file["date"].asstr()[()] == "2010040100"]
    # trips that reach over the end of the quarter end in it, and none of them begins: they show
    # which channel is the outflow
    assert sorted(quarter[:, 0].sum(axis=(1, 2))) == [0, 17360]
    midnight = frames[times == pd.Timestamp("2010-04-01")][0]
    np.testing.assert_array_equal(midnight, quarter.sum(axis=0)[::-1])
    assert not times.isin(pd.to_datetime(["2010-09-01 00:00", "2011-03-13 02:00"])).any()


def write_city() -> Path:
    """Write half hours of a day and of 27 days, and the weather of 29 days."""
    folder = ROOT / "NYBike"
    folder.mkdir(parents=True)
    for name, length, seed in (("train", 48, 1), ("test", 27 * 48, 2)):
        np.savez(folder / f"flow_{name}.npz", flow=flows(length, 14, 8, seed).transpose(0, 2, 3, 1))
    weather = "maximum temperature,minimum temperature,average temperature,precipitation"
    head = f"date,{weather},snow fall,snow depth,day,holiday"
    rows = [f"{k}-8-2016,{80 + k},69,74.5,T,0.0,0,1,{int(k == 2)}" for k in range(1, 30)]
    (folder / "external_knowledge.csv").write_text("\n".join([head, *rows]))
    return folder


def test_numpy_files_are_read_with_their_days() -> None:
    folder = write_city()
    for root in (ROOT, folder):
        data = load_nyc_flow(root, "NYBike")
    [train], [test] = data.train, data.test
    np.testing.assert_array_equal(series_to_frames(train), flows(48, 14, 8, 1))
    np.testing.assert_array_equal(series_to_frames(test), flows(27 * 48, 14, 8, 2))
    assert str(test.start_time()) == "2016-08-02 00:00:00"
    assert Grid.from_series(test) == Grid(2, 14, 8, ["inflow", "outflow"])
    table = data.covariates.to_dataframe()
    assert (len(table), str(table.index[-1])) == (29 * 48, "2016-08-29 23:30:00")
    assert table.loc["2016-08-03 12:00", "maximum_temperature"] == 83
    assert (table["precipitation"].max(), table["holiday"].sum()) == (0, 48)  # a trace is 0
    assert load_nyc_flow(ROOT, "NYBike", covariates=False).covariates is None


def test_numpy_files_that_do_not_fit_are_named() -> None:
    folder = write_city()
    with pytest.raises(ValueError, match="`city` must be some of"):
        load_nyc_flow(ROOT, "Paris")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"`root` must hold .* 16 x 12 cells.*flow_train\.npz"):
        load_nyc_flow(folder, "NYTaxi")
    table = folder / "external_knowledge.csv"
    rows = table.read_text().splitlines()
    for lines, message in (
        (rows[:3], r"external_knowledge\.csv must hold each day from 2016-08-01 to 2016-08-28"),
        ([*rows[:-1], rows[-1].replace("-8-2016", "-8-2216")], "must hold each day"),
        ([row.replace("69", "") for row in rows], "must hold each day"),
    ):
        table.write_text("\n".join(lines))
        with pytest.raises(ValueError, match=message):
            load_nyc_flow(ROOT, "NYBike")
    for name, remedy in (
        ("external_knowledge.csv", "covariates=False"),
        ("flow_test.npz", "STSAN"),
    ):
        (folder / name).unlink()
        with pytest.raises(FileNotFoundError, match=rf"{name}; .*{remedy}"):
            load_nyc_flow(ROOT, "NYBike")


@pytest.mark.parametrize(
    ("city", "cells", "days", "holidays"), [("NYTaxi", 16 * 12, 91, 12), ("NYBike", 14 * 8, 92, 7)]
)
def test_real_cities_are_read(
    shared_data: Path, city: Any, cells: int, days: int, holidays: int
) -> None:
    folder = shared_data / "nyc_taxi_bike"
    if not folder.is_dir():
        pytest.skip(f"no flows in {folder}")
    data = load_nyc_flow(folder, city)
    shapes = [one.shape for one in (*data.train, *data.test)]
    assert shapes == [(3024, 2 * cells, 1), (1296, 2 * cells, 1)]
    if city == "NYTaxi":  # an hour that does not exist, as clocks were put forward
        unreal = pd.date_range("2016-03-13 02:00", periods=2, freq="30min")
        trips = series_to_frames(data.test[0])[data.test[0].time_index.isin(unreal)]
        assert trips.sum(axis=(1, 2, 3)).tolist() == [36, 41]
    assert len(data.covariates) == 48 * days
    assert data.covariates.to_dataframe()["holiday"].sum() == 48 * holidays
