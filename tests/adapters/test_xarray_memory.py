"""Data larger than memory: never loaded whole, written into one file that appears whole."""

import sys
import tracemalloc
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from darts_mim import Grid
from darts_mim.adapters import from_xarray, to_xarray

MIB = 2**20


def fields(t: int = 40) -> xr.Dataset:
    rng = np.random.default_rng(0)
    values = {name: rng.random((t, 5, 7)).astype(np.float32) for name in ("rain", "heat")}
    for each in values.values():
        each[:, 0, 1] = np.nan
    return xr.Dataset(
        {name: (("time", "lat", "lon"), each, {"units": "1"}) for name, each in values.items()},
        {
            "time": pd.date_range("2000-01-01", periods=t, freq="h"),
            "lat": np.linspace(50, 40, 5),
            "lon": np.linspace(0, 12, 7),
        },
    )


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def test_chunks_in_memory_and_in_a_file_give_the_same_series(tmp_path: Path) -> None:
    data = fields()
    mapped = from_xarray(data.chunk(time=7, lat=2), cache=tmp_path, progress=False)
    xr.testing.assert_identical(to_xarray(mapped), to_xarray(from_xarray(data)))
    assert Grid.from_series(mapped).mask.sum() == 34
    xr.testing.assert_identical(to_xarray(mapped), data)
    np.testing.assert_array_equal(
        np.load(only_file(tmp_path)), np.stack([data.rain, data.heat], axis=1)
    )


def test_samples_and_gaps_go_into_the_file(tmp_path: Path) -> None:
    scale = xr.DataArray(np.float32([1, 2, 3]), dims="member")
    data = (fields().rain * scale).isel(time=[0, 1, 2, 5, 6]).transpose("member", ...)
    options: dict[str, Any] = {"sample": "member", "freq": "h"}
    mapped = from_xarray(data.chunk(member=2), cache=tmp_path, progress=False, **options)
    held = from_xarray(data, **options)
    xr.testing.assert_identical(to_xarray(mapped), to_xarray(held))
    assert mapped.shape == (7, 35, 3)
    assert np.isnan(mapped.all_values()[3:5]).all()
    assert not np.isnan(mapped.all_values()[5:, 0]).any()


@pytest.mark.parametrize("engine", ["h5netcdf", "zarr"])
@pytest.mark.parametrize("chunks", [None, {}])
def test_files_are_mapped(tmp_path: Path, engine: Any, chunks: Any) -> None:
    data, path = fields(), tmp_path / "fields"
    options: dict[str, Any] = {"consolidated": False} if engine == "zarr" else {}
    if engine == "zarr":
        data.to_zarr(path, **options)
    else:
        data.to_netcdf(path, engine=engine)
    with xr.open_dataset(path, engine=engine, chunks=chunks, **options) as opened:
        # Zarr lists variables in any order
        series = from_xarray(opened[list(data)], cache=tmp_path / "cache", progress=False)
    assert isinstance(series.all_values(copy=False), np.memmap)
    assert Grid.from_series(series) == Grid.from_series(from_xarray(data))
    xr.testing.assert_identical(to_xarray(series), data)


def test_a_failure_leaves_no_file(tmp_path: Path) -> None:
    data = fields()
    data.heat[33, 2, 3] = np.inf
    with pytest.raises(ValueError, match=r"infinity at 2000-01-02 09:00:00, row 2 and column 3"):
        from_xarray(data.chunk(time=7), cache=tmp_path, progress=False)
    big = fields().assign(heat=fields().heat.fillna(0).astype("i8") + 2**25)
    with pytest.raises(ValueError, match=r"`data\['heat'\]` hold integers beyond"):
        from_xarray(big.chunk(time=7), cache=tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


def test_a_second_call_writes_the_file_again_or_takes_it_where_asked(tmp_path: Path) -> None:
    data = fields()
    with xr.set_options(keep_attrs=True):  # as newer versions of xarray do by default
        twice = data * 2
    first = from_xarray(data.chunk(), cache=tmp_path, progress=False)
    second = from_xarray(twice.chunk(), cache=tmp_path, progress=False)
    xr.testing.assert_identical(to_xarray(second), to_xarray(from_xarray(twice)))
    if sys.platform != "win32":  # what was mapped before stays as it was
        xr.testing.assert_identical(to_xarray(first), to_xarray(from_xarray(data)))
    written = only_file(tmp_path).stat().st_mtime_ns
    again = from_xarray(twice.chunk(), cache=tmp_path, progress=False, reuse=True)
    xr.testing.assert_identical(to_xarray(again), to_xarray(second))
    assert only_file(tmp_path).stat().st_mtime_ns == written


@pytest.mark.parametrize("changed", [0, 20, 39])
def test_a_file_of_other_values_is_not_taken(tmp_path: Path, changed: int) -> None:
    data, options = fields(), {"cache": tmp_path, "progress": False}
    from_xarray(data.chunk(), **options)
    data.heat[changed, 1, 1] += 1
    with pytest.raises(ValueError, match=r"`cache` holds '.*' with other values at 2000"):
        from_xarray(data.chunk(), reuse=True, **options)


def test_other_data_have_a_file_of_their_own(tmp_path: Path) -> None:
    options: dict[str, Any] = {"cache": tmp_path, "progress": False, "reuse": True}
    data = fields()
    others = [data.isel(time=slice(1, None)), data.rename(heat="cold"), data[["heat", "rain"]]]
    for other in (data, *others, data.assign_coords(lat=data.lat + 1)):
        mapped, held = (to_xarray(from_xarray(other, **each)) for each in (options, {}))
        xr.testing.assert_identical(mapped, held)
    assert len(list(tmp_path.iterdir())) == 5


def test_a_folder_without_room_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(OSError, match=r"`cache='.*'` has room for 0.0 GiB, but the frames need"):
        from_xarray(fields(), cache=tmp_path)


def test_progress_is_shown_where_wanted(tmp_path: Path, capsys: Any) -> None:
    for progress in (True, False):
        from_xarray(fields().chunk(), cache=tmp_path, progress=progress)
        assert ("100%" in capsys.readouterr().err) == progress


@pytest.mark.slow
def test_an_archive_is_never_in_memory_as_a_whole(tmp_path: Path) -> None:
    frames = np.repeat(np.arange(128, dtype=np.float32), 64)[:, np.newaxis, np.newaxis]
    values = da.from_array(frames, (64, 1, 1)) * da.ones((64, 128), dtype=np.float32)  # 256 MiB
    times = pd.date_range("2000-01-01", periods=len(frames), freq="h")
    data = xr.DataArray(values, {"time": times}, ("time", "y", "x"), name="rain")
    data.to_dataset().to_zarr(tmp_path / "archive", consolidated=False)
    opened = xr.open_zarr(tmp_path / "archive", consolidated=False)
    tracemalloc.start()
    back = to_xarray(from_xarray(opened, cache=tmp_path / "cache", progress=False))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * MIB
    assert float(back.rain[-1].mean()) == 127
