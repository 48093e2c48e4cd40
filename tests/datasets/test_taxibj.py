"""TaxiBJ is read as its ReadMe says, split in time, and refused by name where it is not so."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from sklearn.preprocessing import MinMaxScaler

from darts_mim import Grid, MIMModel, series_to_frames
from darts_mim.adapters import to_flow
from darts_mim.datasets import FlowData, load_taxibj, taxibj
from darts_mim.datasets.downloads import RemoteFile
from tests.datasets.flow_files import flows, half_hours, write_flow, write_weather

NAMES = {year: f"BJ{year % 100}_M32x32_T30_InOut.h5" for year in (2013, 2014, 2015, 2016)}
ROOT = Path("taxibj")
ANEW = "; get the file anew$"  # all that can be done about a file that is published


def write_year(year: int, day: str, days: int = 2, gone: slice = slice(0)) -> np.ndarray:
    dates, frames = half_hours(day, days), flows(48 * days, 32, 32, seed=year)
    kept = np.delete(np.arange(len(dates)), gone)
    write_flow(ROOT / NAMES[year], [dates[i] for i in kept], frames[kept])
    return frames[kept]


@pytest.fixture
def beijing() -> dict[int, np.ndarray]:
    """Two days of each year; of 2015 the slots 11 and 12 are missing."""
    frames = {
        2013: write_year(2013, "2013-07-01"),
        2014: write_year(2014, "2014-03-01"),
        2015: write_year(2015, "2015-06-01", gone=slice(10, 12)),
        2016: write_year(2016, "2015-11-01", days=4),
    }
    (ROOT / "BJ_Holiday.txt").write_bytes(b"20130702\r\n20151102\r\n20160101")
    dates = half_hours("2013-06-30", 4) + half_hours("2014-03-01", 2)
    dates += half_hours("2015-06-01", 2) + half_hours("2015-11-01", 6)
    write_weather(ROOT / "BJ_Meteorology.h5", dates)
    return frames


def load(**arguments: Any) -> FlowData:
    return load_taxibj(ROOT, **({"verify": False, "test_days": 3} | arguments))


def test_years_become_stretches_and_the_last_days_the_test(beijing: dict[int, np.ndarray]) -> None:
    data = load()
    assert [(str(one.start_time()), len(one)) for one in data.train] == [
        ("2013-07-01 00:00:00", 96),
        ("2014-03-01 00:00:00", 96),
        ("2015-06-01 00:00:00", 10),
        ("2015-06-01 06:00:00", 84),
        ("2015-11-01 00:00:00", 48),
    ]
    [test] = data.test
    assert (str(test.start_time()), str(test.end_time())) == (
        "2015-11-02 00:00:00",
        "2015-11-04 23:30:00",
    )
    frames, _ = to_flow(data.train + data.test)
    np.testing.assert_array_equal(frames, np.concatenate(list(beijing.values())))
    grid = Grid.from_series(test)
    assert grid == Grid(2, 32, 32, ["inflow", "outflow"])
    assert grid.attributes_of("outflow")["units"] == "taxis per 30 min"
    assert test.dtype == np.float32


def test_the_last_four_weeks_are_the_default_test() -> None:
    write_year(2016, "2015-11-01", days=30)
    data = load_taxibj(ROOT, years=[2016], verify=False, holidays=False, weather=False)
    assert data.covariates is None
    assert [len(part) for part in (*data.train, *data.test)] == [2 * 48, 28 * 48]


def test_holidays_and_weather_are_on_one_timeline(
    beijing: dict[int, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    covariates = load().covariates
    assert covariates is not None
    assert list(covariates.components) == ["holiday", "temperature", "wind_speed", *taxibj.WEATHER]
    assert covariates.freq_str == "30min"
    assert (str(covariates.start_time()), str(covariates.end_time())) == (
        "2013-07-01 00:00:00",
        "2015-11-06 23:30:00",  # as far as the weather is known
    )
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
    assert "times have no entry" in caplog.text


def test_covariates_are_left_out_or_taken_alone(beijing: dict[int, np.ndarray]) -> None:
    alone = load(weather=False).covariates
    assert alone is not None
    assert list(alone.components) == ["holiday"]
    assert str(alone.end_time()) == "2015-11-05 23:30:00"  # a day after the last frame
    both = load(holidays=False).covariates
    assert both is not None
    assert both.n_components == 19
    for name in ("BJ_Holiday.txt", "BJ_Meteorology.h5"):
        (ROOT / name).unlink()
    with pytest.raises(FileNotFoundError, match=r"BJ_Meteorology\.h5; .* pass weather=False"):
        load()
    with pytest.raises(FileNotFoundError, match=r"BJ_Holiday\.txt; .* pass holidays=False"):
        load(weather=False)


def test_a_model_trains_on_it_with_its_covariates(beijing: dict[int, np.ndarray]) -> None:
    data, scaler = load(min_length=16).scaled((-1, 1))
    assert min(map(len, data.train)) >= 16
    model = MIMModel(
        input_chunk_length=2,
        output_chunk_length=2,
        hidden_channels=(4, 4),
        patch_size=8,
        kernel_size=3,
        n_epochs=1,
        batch_size=2,
        pl_trainer_kwargs={
            "accelerator": "cpu",
            "limit_train_batches": 1,
            "enable_progress_bar": False,
            "enable_model_summary": False,
        },
    )
    assert data.covariates is not None
    scaled = MinMaxScaler().fit_transform(data.covariates.values()).astype(np.float32)
    covariates = data.covariates.with_values(scaled)
    model.fit(data.train, future_covariates=[covariates] * len(data.train))
    forecast = model.predict(4, series=data.test[0], future_covariates=covariates)
    assert scaler.inverse_transform(forecast).start_time() == pd.Timestamp("2015-11-05")


def test_scaling_goes_by_both_channels_of_the_training_series(
    beijing: dict[int, np.ndarray],
) -> None:
    plain = load()
    least = min(one.values().min() for one in plain.train)
    largest = max(one.values().max() for one in plain.train)
    for low, high in ((0.0, 1.0), (-1.0, 1.0)):
        data, scaler = plain.scaled((low, high))
        values = np.concatenate([one.values() for one in data.train])
        assert (values.min(), values.max()) == pytest.approx((low, high))
        expected = (plain.test[0].values() - least) / (largest - least) * (high - low) + low
        np.testing.assert_allclose(data.test[0].values(), expected, atol=1e-5)
        back = scaler.inverse_transform(data.test[0])
        np.testing.assert_allclose(back.values(), plain.test[0].values(), atol=1e-2)
        assert data.covariates is plain.covariates
    with pytest.raises(ValueError, match=r"`feature_range` must rise, got \(1, 0\)"):
        plain.scaled((1, 0))


def test_checksums_are_those_that_come_with_the_data(shared_data: Path) -> None:
    listed = shared_data / "taxibj" / "md5sum.txt"
    if not listed.is_file():
        pytest.skip(f"no checksums at {listed}")
    official = {
        name.lstrip("*"): f"md5:{digest}"
        for digest, name in map(str.split, listed.read_text().splitlines())
    }
    files = [*taxibj.FLOW_FILES.values(), taxibj.WEATHER_FILE]
    assert {file.name: file.checksum for file in files} == official


def test_real_holidays_are_read(shared_data: Path, beijing: dict[int, np.ndarray]) -> None:
    real = shared_data / "taxibj" / "BJ_Holiday.txt"
    if not real.is_file():
        pytest.skip(f"no holidays at {real}")
    (ROOT / "BJ_Holiday.txt").write_bytes(real.read_bytes())
    covariates = load(weather=False).covariates
    assert covariates is not None
    holidays = covariates.to_dataframe()["holiday"].resample("D").max()
    assert holidays.loc["2013-10-01"] == 1
    assert holidays.loc["2013-07-02"] == 0
    listed = [day for day in real.read_text().split() if "20130701" <= day <= "20151105"]
    assert holidays.sum() == len(listed) > 50


def test_other_files_than_the_published_ones_are_refused(
    beijing: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"BJ13_M32x32.* is not the file .* pass verify=False to"):
        load(verify=True)
    digests = {
        path.name: f"md5:{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}"
        for path in ROOT.glob("*.h5")
    }
    files = {year: RemoteFile(name, digests[name]) for year, name in NAMES.items()}
    weather = RemoteFile("BJ_Meteorology.h5", digests["BJ_Meteorology.h5"])
    monkeypatch.setattr(taxibj, "FLOW_FILES", files)
    monkeypatch.setattr(taxibj, "WEATHER_FILE", weather)
    assert len(load(verify=True).train) == 5


def test_missing_years_say_where_to_get_them(beijing: dict[int, np.ndarray]) -> None:
    (ROOT / NAMES[2014]).unlink()
    with pytest.raises(
        FileNotFoundError, match=r"no file /.*BJ14_M32x32_T30_InOut\.h5; get TaxiBJ's .* `years`"
    ):
        load()
    assert len(load(years=[2013, 2015, 2016]).train) == 4


def test_years_are_chosen(beijing: dict[int, np.ndarray]) -> None:
    assert load(years=2014, test_days=1, weather=False).train == (
        load(years=[2014, 2014], test_days=1, weather=False).train
    )
    with pytest.raises(ValueError, match=r"`years` must be some of 2013, .* got \[2017\]; pass"):
        load(years=[2017])
    with pytest.raises(ValueError, match=r"`years` must not be empty; pass some of 2013, 2014"):
        load(years=[])
    for wrong in (2017, "2013", None):
        with pytest.raises(ValueError, match=rf"`years` must be some of .* got \[{wrong!r}\]"):
            load(years=wrong)


def rewrite(dates: list[str], frames: np.ndarray | None = None) -> None:
    write_flow(ROOT / NAMES[2014], dates, flows(len(dates), 32, 32) if frames is None else frames)


def test_dirty_dates_are_refused_by_name(beijing: dict[int, np.ndarray]) -> None:
    dates = half_hours("2014-03-01", 1)
    for changed, message in (
        ([dates[1], dates[0], *dates[2:]], r"must rise, got .* 00:00:00 after .* 00:30:00 \(.*\)"),
        ([dates[0], *dates], r"must rise, got .* 00:00:00 after .* 00:00:00 \(and 0 more such\)"),
        ([*dates[:-1], "2014030149"], r"must be a slot from 01 to 48 \(.*\), got 1 others: .*"),
        ([*dates[:-1], "2014023001"], "must be a day and a slot in it, .* got 1 others: .*"),
    ):
        rewrite(changed)
        with pytest.raises(ValueError, match=f"^`root`: dates in .*BJ14_M[^;]*{message}{ANEW}"):
            load()
    rewrite(half_hours("2013-07-02", 1))
    with pytest.raises(ValueError, match=r"BJ13_M.* and .*BJ14_M.* must not overlap in time"):
        load()


def test_damaged_files_are_refused_by_name(beijing: dict[int, np.ndarray]) -> None:
    path, dates = ROOT / NAMES[2014], half_hours("2014-03-01", 1)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[: len(whole) // 2]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=rf"^`root`: .*BJ14_M.* is no whole HDF5 .*\){ANEW}"):
            load()
    with h5py.File(path, "w") as file:
        file["data"] = flows(48, 32, 32)
    with pytest.raises(
        ValueError, match=rf"^`root`: .*BJ14_M.* a dataset 'date', got \['data'\]{ANEW}"
    ):
        load()
    for frames, error, message in (
        (flows(48, 32, 32).astype("S"), TypeError, "real numbers"),
        (flows(47, 32, 32), ValueError, "a date for each of its 47 frames"),
        (flows(0, 32, 32), ValueError, "a date for each of its 0 frames"),
        (flows(48, 32, 31), ValueError, "frames of 32 x 32 cells"),
        (flows(48, 32, 32)[:, :1], ValueError, r"with inflow and outflow, .* got .* \(48, 1, 32"),
        (flows(48, 32, 32)[:, 0], ValueError, r"frames .* got shape \(48, 32, 32\)"),
        (np.full((48, 2, 32, 32), np.nan), ValueError, "finite flows"),
    ):
        rewrite(dates, frames)
        with pytest.raises(error, match=f"^`root`: .*BJ14_M[^;]*{message}[^;]*{ANEW}"):
            load()
    rewrite([], flows(0, 32, 32))
    with pytest.raises(ValueError, match=f"BJ14_M.*, and some of both, got 0 dates{ANEW}"):
        load()
    rewrite(dates)
    with h5py.File(path, "a") as file:
        del file["date"]
        file["date"] = np.array([int(date) for date in dates])
    with pytest.raises(TypeError, match=f"^`root`: 'date' in .*BJ14_M.* got shape .*int64{ANEW}"):
        load()


def test_damaged_covariates_are_refused_by_name(beijing: dict[int, np.ndarray]) -> None:
    weather, dates = ROOT / "BJ_Meteorology.h5", half_hours("2013-07-01", 2)
    for changed, message in (
        (
            {"Weather": np.eye(16)[np.zeros(96, int)]},
            r"'Weather' in .*BJ_Meteorology\.h5 must be numbers of shape \(96, 17\), got",
        ),
        ({"Temperature": np.zeros(95)}, r"'Temperature' in .*logy\.h5 .* shape \(96,\), got"),
        ({"WindSpeed": np.full(96, b"x")}, r"'WindSpeed' in .*logy\.h5 must be numbers"),
        ({"date": np.array(["2013079901"] * 96, "S")}, rf"^`root`: dates in .*got 96 .*{ANEW}"),
        ({"date": np.array(dates[::-1], "S")}, r"dates in .*BJ_Meteorology\.h5 must rise"),
    ):
        write_weather(weather, dates, **changed)
        with pytest.raises(ValueError, match=message):
            load()
    write_weather(weather, half_hours("2019-07-01", 2))
    with pytest.raises(ValueError, match=r"BJ_Meteorology\.h5 must tell of the time of the flows"):
        load()


def test_lines_of_holidays_are_counted_as_in_the_file(beijing: dict[int, np.ndarray]) -> None:
    path = ROOT / "BJ_Holiday.txt"
    path.write_text("# of 2013\n\n20130702  # a Tuesday\n\n20151102\n")
    covariates = load(weather=False).covariates
    assert covariates is not None
    assert covariates.to_dataframe()["holiday"].sum() == 2 * 48
    for text, line in (
        ("20130101\n2013-01-02\n", 2),
        ("20130101\n\n# none\n20130101 20130102\n", 4),
        ("\n20130230", 2),
    ):
        path.write_text(text)
        with pytest.raises(
            ValueError, match=rf"line {line} of .*BJ_Holiday\.txt must be a day YYYYMMDD, got"
        ):
            load(weather=False)
    for text in ("", "\n \n", "# none\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"BJ_Holiday\.txt must hold days .* holidays=False"):
            load(weather=False)


def test_the_test_is_given_its_history(beijing: dict[int, np.ndarray]) -> None:
    data = load()
    [series] = data.test_with_history(10)
    assert series.start_time() == data.test[0].start_time() - pd.Timedelta("5h")
    assert series[10:] == data.test[0]
    assert series[:10] == data.train[-1][-10:]
    [series] = data.test_with_history(1000)  # more than the stretch before has
    assert series.start_time() == data.train[-1].start_time()
    assert Grid.from_series(series) == Grid.from_series(data.test[0])
    gap = FlowData([data.train[-1][:-1]], data.test, None)
    assert gap.test_with_history(10) == data.test
    with pytest.raises(ValueError, match="`length=0` must be at least 1"):
        data.test_with_history(0)


def test_a_split_that_leaves_nothing_is_refused(beijing: dict[int, np.ndarray]) -> None:
    with pytest.raises(ValueError, match="`test_days=4000` leaves no training series"):
        load(test_days=4000)
    with pytest.raises(ValueError, match="`test_days=0` must be at least 1"):
        load(test_days=0)
    with pytest.raises(ValueError, match=r"^`min_length=999` leaves none .*; pass a smaller one$"):
        load(min_length=999)


def test_short_stretches_are_dropped_with_a_warning(
    beijing: dict[int, np.ndarray], caplog: pytest.LogCaptureFixture
) -> None:
    data = load(min_length=60)
    assert [len(one) for one in data.train] == [96, 96, 84]
    assert "Dropped 10 frames in 1 run shorter than min_length=60." in caplog.text
    assert "Dropped 48 frames from 2015-11-01 00:00:00 on, cut off at the start" in caplog.text
    assert series_to_frames(data.test[0]).shape == (144, 2, 32, 32)


def test_without_h5py_the_error_names_an_extra(
    beijing: dict[int, np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r"pip install 'darts-mim\[flow\]'"):
        load()
