"""The flows of New York: dirty years are cleaned with a word, clean ones are read as they are."""

import logging
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest

from darts_mim import Grid, series_to_frames
from darts_mim.datasets import load_nyc_flow, load_taxinyc
from tests.datasets.flow_files import flows, write_flow

ROOT = Path("nyc")


def hours(day: str, days: int) -> list[str]:
    return [f"{t:%Y%m%d%H}" for t in pd.date_range(day, periods=24 * days, freq="h")]


@pytest.fixture
def dirty_year() -> np.ndarray:
    """Three days: an hour of zeros, one that comes twice, and two that are swapped.

    In hour 20 trips end and none begins.
    """
    dates, frames = hours("2010-01-01", 3), flows(72, 16, 8)
    frames[30] = 0
    frames[20, 0] = 0
    order = np.r_[0:40, 41, 40, 42:72, 5]
    write_flow(ROOT / "NYC10_Taxi_M16x8_T60_InOut.h5", [dates[i] for i in order], frames[order])
    (ROOT / "NY_Holiday.txt").write_text("20100101\n20100118\n")
    return frames


def test_a_dirty_year_is_cleaned_and_the_log_says_how(
    dirty_year: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "darts_mim"):
        data = load_taxinyc(ROOT, years=[2010], test_days=1)
    assert [len(one) for one in data.train] == [20, 9, 17]
    assert [(str(one.start_time()), len(one)) for one in data.test] == [("2010-01-03 00:00:00", 24)]
    dirty_year[5] *= 2  # the sum of both
    # trips that begin, the outflow, are the first channel of the files and the second of series
    expected = dirty_year[:, ::-1]
    for series, hours_kept in zip(
        data.train, (slice(20), slice(21, 30), slice(31, 48)), strict=True
    ):
        np.testing.assert_array_equal(series_to_frames(series), expected[hours_kept])
    for words in (
        "Dropped 1 of 73 frames: zero in all cells",
        "Put the frames in order of time",
        "Summed 1 frame into others",
        "Dropped 1 frame in which no trip begins",
        "NYC10_Taxi_M16x8_T60_InOut.h5: 70 of 73 frames are left",
        "Cut the frames at 2 gaps",
    ):
        assert words in caplog.text
    assert data.covariates is not None
    assert data.covariates.values()[:, 0].tolist() == [1.0] * 24 + [0.0] * 72
    assert Grid.from_series(data.test[0]).attributes_of("inflow")["units"] == "taxis per hour"


def test_missing_and_wrong_years_are_named(dirty_year: np.ndarray) -> None:
    with pytest.raises(FileNotFoundError, match=r"NYC11_Taxi_M16x8_T60_InOut\.h5; put TaxiNYC's"):
        load_taxinyc(ROOT)
    with pytest.raises(ValueError, match=r"`years` must be some of 2010, .* got \[2015\]; pass"):
        load_taxinyc(ROOT, years=[2015])
    with pytest.raises(ValueError, match="`years` must not be empty; pass some of 2010, 2011"):
        load_taxinyc(ROOT, years=[])
    assert load_taxinyc(ROOT, years=2010, test_days=1).train == (
        load_taxinyc(ROOT, years=[2010], test_days=1).train
    )
    write_flow(ROOT / "NYC11_Taxi_M16x8_T60_InOut.h5", hours("2011-01-01", 1), flows(24, 8, 16))
    with pytest.raises(ValueError, match=r"NYC11_Taxi.* must hold frames of 16 x 8 cells"):
        load_taxinyc(ROOT, years=[2010, 2011])
    zeros = np.zeros((24, 2, 16, 8))
    write_flow(ROOT / "NYC11_Taxi_M16x8_T60_InOut.h5", hours("2011-01-01", 1), zeros)
    with pytest.raises(ValueError, match=r"NYC11_Taxi.* begin, got none in 24 frames; get the"):
        load_taxinyc(ROOT, years=[2011])
    (ROOT / "NY_Holiday.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"NY_Holiday\.txt; .* holidays=False"):
        load_taxinyc(ROOT, years=[2010], test_days=1)
    assert load_taxinyc(ROOT, years=[2010], test_days=1, holidays=False).covariates is None


def test_damaged_years_and_splits_are_refused(dirty_year: np.ndarray) -> None:
    path, dates = ROOT / "NYC10_Taxi_M16x8_T60_InOut.h5", hours("2010-01-01", 3)
    for days in (3, 400):
        with pytest.raises(ValueError, match=f"`test_days={days}` leaves no training series"):
            load_taxinyc(ROOT, years=2010, test_days=days)
    with pytest.raises(ValueError, match="`test_days=0` must be at least 1"):
        load_taxinyc(ROOT, years=2010, test_days=0)
    anew = "; get the file anew$"
    for changed, message in (
        (
            [*dates[:-1], "2010013223"],
            "dates in .* must be a day and a slot in it, .* got 1 others",
        ),
        ([*dates[:-1], "2010010324"], "dates in .* must be a slot from 00 to 23 .* got 1 others"),
        (dates[:-1], ".* must hold a date for each of its 72 frames, and some of both, got 71"),
    ):
        write_flow(path, changed, dirty_year)
        with pytest.raises(ValueError, match=f"^`root`: {message}[^;]*{anew}"):
            load_taxinyc(ROOT, years=2010, test_days=1)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=f"^`root`: .*NYC10.* is no whole HDF5 file .*{anew}"):
            load_taxinyc(ROOT, years=2010, test_days=1)


def test_real_years_are_read(shared_data: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = shared_data / "taxinyc_h5"
    if not folder.is_dir():
        pytest.skip(f"no flows in {folder}")
    data = load_taxinyc(folder, years=[2010, 2011], min_length=48)
    assert "NYC10_Taxi_M16x8_T60_InOut.h5: 8040 of 8112 frames are left" in caplog.text
    assert "NYC11_Taxi_M16x8_T60_InOut.h5: 8039 of 8136 frames are left" in caplog.text
    assert sum(map(len, data.test)) == 28 * 24
    assert str(data.test[0].start_time()) == "2011-12-04 00:00:00"
    assert data.covariates is not None
    assert str(data.covariates.end_time()) == "2012-01-01 23:00:00"
    assert "Dropped 3 frames in which no trip begins" in caplog.text
    series = [*data.train, *data.test]
    outflow = [series_to_frames(one)[:, 1].sum(axis=(1, 2)) for one in series]
    assert min(map(np.min, outflow)) > 0  # no frame of trips that only end is left
    with h5py.File(folder / "NYC10_Taxi_M16x8_T60_InOut.h5") as file:
        dates, frames = file["date"].asstr()[()], file["data"][()]
    quarter = frames[dates == "2010040100"]
    # trips that reach over the end of the quarter end in it, and none of them begins: they show
    # which channel is the outflow
    assert sorted(quarter[:, 0].sum(axis=(1, 2))) == [0, 17360]
    assert sorted(quarter[:, 1].sum(axis=(1, 2))) == [3668, 14817]
    [spring] = [one for one in series if pd.Timestamp("2010-04-01") in one.time_index]
    midnight = series_to_frames(spring[pd.Timestamp("2010-04-01")])[0]
    np.testing.assert_array_equal(midnight, quarter.sum(axis=0)[::-1])
    assert not any(pd.Timestamp("2010-09-01") in one.time_index for one in series)
    assert not any(pd.Timestamp("2011-03-13 02:00") in one.time_index for one in series)


def write_city(city: str = "NYBike", start: str = "2016-08-01", trace: str = "T") -> Path:
    """Write three days and one of half hours, and the weather of five days."""
    folder = ROOT / city
    folder.mkdir(parents=True)
    for name, length, seed in (("train", 3 * 48, 1), ("test", 48, 2)):
        frames = flows(length, 14, 8, seed).transpose(0, 2, 3, 1)
        np.savez(folder / f"flow_{name}.npz", flow=frames)
    weather = "maximum temperature,minimum temperature,average temperature,precipitation"
    rows = [f"date,{weather},snow fall,snow depth,day,holiday"]
    for k, day in enumerate(pd.date_range(start, periods=5)):
        rows.append(f"{day.day}-{day.month}-{day.year},8{k},69,74.5,{trace},0.0,0,1,{int(k == 1)}")
    (folder / "external_knowledge.csv").write_text("\n".join(rows))
    return folder


def test_numpy_files_are_read_with_their_days() -> None:
    folder = write_city()
    for root in (ROOT, folder):
        data = load_nyc_flow(root, "NYBike")
    [train], [test] = data.train, data.test
    np.testing.assert_array_equal(series_to_frames(train), flows(144, 14, 8, 1))
    np.testing.assert_array_equal(series_to_frames(test), flows(48, 14, 8, 2))
    assert str(test.start_time()) == "2016-08-04 00:00:00"
    assert Grid.from_series(test) == Grid(2, 14, 8, ["inflow", "outflow"])
    assert data.covariates is not None
    table = data.covariates.to_dataframe()
    assert (len(table), str(table.index[-1])) == (5 * 48, "2016-08-05 23:30:00")
    assert table.loc["2016-08-03 12:00", "maximum_temperature"] == 82
    assert table["precipitation"].max() == 0  # a trace
    assert table["holiday"].sum() == 48
    assert load_nyc_flow(ROOT, "NYBike", covariates=False).covariates is None


def test_numpy_files_that_do_not_fit_are_named() -> None:
    folder = write_city()
    with pytest.raises(ValueError, match="`city` must be one of NYTaxi, NYBike, got 'Paris'"):
        load_nyc_flow(ROOT, "Paris")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"flow_train\.npz must hold .* 16 x 12 cells, 384 values"):
        load_nyc_flow(folder, "NYTaxi")
    table = folder / "external_knowledge.csv"
    rows = table.read_text().splitlines()
    for lines, message in (
        (rows[:3], "must have each day from 2016-08-01 to 2016-08-04"),
        ([*rows, rows[1]], "must have each day"),
        ([row.rpartition(",")[0] for row in rows], "must be a table of days"),
        ([row.replace("-8-", "-13-") for row in rows], "must be a table of days"),
        ([row.replace("69", "warm") for row in rows], "must be a table of days"),
        ([row.replace("69", "") for row in rows], "must have each day .* no empty field"),
    ):
        table.write_text("\n".join(lines))
        with pytest.raises(ValueError, match=rf"external_knowledge\.csv {message}"):
            load_nyc_flow(ROOT, "NYBike")
    table.unlink()
    with pytest.raises(FileNotFoundError, match=r"external_knowledge\.csv; .*covariates=False"):
        load_nyc_flow(ROOT, "NYBike")
    (folder / "flow_test.npz").write_bytes(b"no archive")
    with pytest.raises(
        ValueError, match=r"^`root`: .*flow_test\.npz is no whole .*; get the file anew$"
    ):
        load_nyc_flow(ROOT, "NYBike")
    (folder / "flow_test.npz").unlink()
    with pytest.raises(FileNotFoundError, match=r"flow_test\.npz; get it from https://github"):
        load_nyc_flow(ROOT, "NYBike")


@pytest.mark.parametrize(
    ("city", "cells", "days", "holidays"), [("NYTaxi", 16 * 12, 91, 12), ("NYBike", 14 * 8, 92, 7)]
)
def test_real_cities_are_read(
    shared_data: Path, city: str, cells: int, days: int, holidays: int
) -> None:
    folder = shared_data / "nyc_taxi_bike"
    if not folder.is_dir():
        pytest.skip(f"no flows in {folder}")
    data = load_nyc_flow(folder, city)  # type: ignore[arg-type]
    assert [one.shape for one in (*data.train, *data.test)] == [
        (3024, 2 * cells, 1),
        (1296, 2 * cells, 1),
    ]
    if city == "NYTaxi":  # an hour that does not exist, as clocks were put forward
        unreal = pd.date_range("2016-03-13 02:00", periods=2, freq="30min")
        trips = series_to_frames(data.test[0])[data.test[0].time_index.isin(unreal)]
        assert trips.sum(axis=(1, 2, 3)).tolist() == [36, 41]
    assert data.covariates is not None
    assert len(data.covariates) == 48 * days
    assert data.covariates.to_dataframe()["holiday"].sum() == 48 * holidays
