"""Whatever fields are given to `from_xarray`, `to_xarray` gives them back."""

from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darts_mim import Grid, frames_to_series
from darts_mim.adapters import from_xarray, to_xarray

PROFILE = settings(max_examples=40, deadline=None, derandomize=True, database=None)
DTYPES = st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "i8", "?"])
NAMES = st.text(min_size=1, max_size=5).filter(
    lambda name: name not in ("time", "global", "xarray")
)
CALENDARS = ["noleap", "360_day", "julian", "all_leap", "standard", "proleptic_gregorian"]
SPACE = {
    "y": ["y", "lat", "latitude", "rlat"],
    "x": ["x", "lon", "longitude", "rlon"],
}


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    values = st.one_of(
        st.text(max_size=5),
        st.integers(-(2**31), 2**31),
        st.floats(allow_nan=False),
        st.lists(st.integers(0, 9), min_size=1, max_size=3),
        arrays.arrays(st.sampled_from(["f4", "f8", "i2", "U3"]), (2,)),
        st.sampled_from([np.float32(0.1), np.int8(3)]),
    )
    return st.dictionaries(st.sampled_from(["units", "long_name", "note", "valid_range"]), values)


@st.composite
def stamps(draw: st.DrawFn, length: int) -> Any:
    """Times of dates, of any calendar, in the middle of months, or numbers."""
    kind = draw(st.sampled_from(["dates", "calendar", "middle", "numbers"]))
    if kind == "numbers":
        return draw(st.integers(-50, 50)) + draw(st.integers(1, 5)) * np.arange(length)
    freq = draw(st.sampled_from(["D", "MS", "6h", "3MS", "YS", "90min"]))
    if kind == "dates":
        unit = draw(st.sampled_from(["s", "us", "ns"]))
        start = pd.Timestamp("1999-11-01") + pd.Timedelta(draw(st.integers(0, 30)), "D")
        return pd.date_range(start, periods=length, freq=freq, unit=unit)
    calendar = {"calendar": draw(st.sampled_from(CALENDARS)), "use_cftime": True}
    start = f"{draw(st.sampled_from([1, 850, 1999, 2400])):04d}-11-01T03:00:00"
    if kind == "calendar":
        return xr.date_range(start, periods=length, freq=freq, **calendar)
    begins = xr.date_range(start[:10], periods=length + 1, freq="MS", **calendar)
    return begins[:-1] + (begins[1:] - begins[:-1]) / 2


@st.composite
def fields(draw: st.DrawFn) -> tuple[xr.Dataset, str | None]:
    """A Dataset, and the name of its channel dimension."""
    sizes = {axis: draw(st.integers(1, 3)) for axis in ("y", "x", "channel", "sample")}
    sizes["time"] = draw(st.integers(3, 5))
    dims = {axis: draw(st.sampled_from(names)) for axis, names in SPACE.items()}
    dims |= {"time": "time", "channel": "level", "sample": "sample"}
    optional = draw(st.sets(st.sampled_from(["channel", "sample"])))
    hidden = draw(arrays.arrays(bool, (sizes["y"], sizes["x"])).filter(lambda a: not a.all()))
    names = ["one"] if "channel" in optional else draw(st.sampled_from([["one"], ["one", "two"]]))
    variables = {}
    for name in names:
        order = draw(st.permutations(["time", "y", "x", *sorted(optional)]))
        dtype = np.dtype(draw(DTYPES))
        values = draw(values_of(dtype, tuple(sizes[axis] for axis in order)))
        variable = xr.Variable([dims[axis] for axis in order], values, draw(attributes()))
        if dtype.kind == "f":
            variable = variable.where(~xr.Variable([dims["y"], dims["x"]], hidden)).transpose(
                *variable.dims
            )
            variable.attrs = draw(attributes())
        variables[name] = variable
    notes = draw(attributes())
    notes.pop("units", None)  # of dates, xarray writes it
    coords: dict[str, Any] = {"time": ("time", draw(stamps(sizes["time"])), notes)}
    if draw(st.booleans()):
        notes["time_zone"] = "Europe/Berlin"
    for axis in ("y", "x"):
        if draw(st.booleans()):
            numbers = arrays.arrays(
                st.sampled_from(["f4", "f8", "i4"]), sizes[axis], elements=st.integers(-90, 360)
            )
            coords[dims[axis]] = (dims[axis], draw(numbers), draw(attributes()))
    if draw(st.booleans()):
        area = draw(arrays.arrays("f8", (sizes["x"], sizes["y"])))
        coords["area"] = ((dims["x"], dims["y"]), area, draw(attributes()))
        coords["run"] = ((), draw(st.sampled_from(["a", 3, np.datetime64("2000-01-01", "ns")])))
        coords["season"] = ("time", draw(arrays.arrays("i4", sizes["time"])))
    if "channel" in optional and draw(st.booleans()):
        coords["level"] = ("level", np.arange(sizes["channel"]) * 10.5, {"positive": "down"})
    data = xr.Dataset(variables, coords, draw(attributes()))
    return data, "level" if "channel" in optional else None


@st.composite
def values_of(draw: st.DrawFn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> np.ndarray:
    if dtype.kind == "f":
        elements: Any = st.floats(width=dtype.itemsize * 8, allow_infinity=False)
    elif dtype.kind == "b":
        elements = st.booleans()
    else:  # what float32 holds exactly
        low, high = max(np.iinfo(dtype).min, -(2**24)), min(np.iinfo(dtype).max, 2**24)
        elements = st.integers(low, high)
    return draw(arrays.arrays(dtype, shape, elements=elements, fill=st.nothing()))


def assert_same(back: Any, data: Any) -> None:
    """As xarray's `assert_identical`, and types as well."""
    xr.testing.assert_identical(back, data)
    ours, theirs = (
        each._to_temp_dataset() if isinstance(each, xr.DataArray) else each for each in (back, data)
    )
    for name, variable in theirs.variables.items():
        assert ours[name].dims == variable.dims
        assert ours[name].dtype == variable.dtype
        for key, value in variable.attrs.items():
            assert type(ours[name].attrs[key]) is type(value)
            assert np.asarray(ours[name].attrs[key]).dtype == np.asarray(value).dtype


@PROFILE
@given(fields())
def test_datasets_come_back_as_they_were(drawn: tuple[xr.Dataset, str | None]) -> None:
    data, channel = drawn
    # a grid has one mask, and several channels may lack values in different cells
    series = from_xarray(
        data, channel=channel, dtype=None, mask=len(data) == 1 and not channel and has_values(data)
    )
    assert_same(to_xarray(series), data)


def has_values(data: xr.Dataset) -> bool:
    """Whether some cell has a value, as a mask asks for."""
    return all(bool(variable.notnull().any()) for variable in data.data_vars.values())


@PROFILE
@given(fields())
def test_arrays_come_back_as_they_were(drawn: tuple[xr.Dataset, str | None]) -> None:
    data, channel = drawn
    array = data["one"]
    series = from_xarray(array, channel=channel, dtype=None, mask=False)
    back = to_xarray(series)
    assert isinstance(back, xr.DataArray)
    assert_same(back, array)


@PROFILE
@given(fields(), st.data())
def test_a_part_in_time_comes_back_as_that_part(
    drawn: tuple[xr.Dataset, str | None], data: st.DataObject
) -> None:
    whole, channel = drawn
    start = data.draw(st.integers(0, whole.sizes["time"] - 1))
    series = from_xarray(whole, channel=channel, dtype=None, mask=False)
    assert_same(to_xarray(series[start:]), whole.isel(time=slice(start, None)))


@PROFILE
@given(
    arrays.arrays(
        np.float32,
        st.tuples(st.integers(3, 5), *[st.integers(1, 3)] * 4),
        elements=st.floats(0, 1, width=32),
    ),
    st.sampled_from(["h", "30min", "D", "MS", "W-MON", "QS", "ME", 1, 3]),
    st.data(),
)
def test_series_come_back_as_they_were(frames: np.ndarray, freq: Any, data: Any) -> None:
    *_, channels, height, width = frames.shape
    numbers = st.floats(-1e6, 1e6)
    coordinates = {
        name: data.draw(st.lists(numbers, min_size=size, max_size=size))
        for name, size in (("northing", height), ("easting", width))
    }
    units = {"northing": {"axis": "Y", "units": "m"}, "easting": {"axis": "X", "units": "m"}}
    names = data.draw(st.lists(NAMES, min_size=channels, max_size=channels, unique=True))
    mask = data.draw(arrays.arrays(bool, (height, width)).filter(np.any))
    series = frames_to_series(
        np.where(mask, frames, np.nan),
        layout="TSCHW",
        freq=freq,
        channel_names=names,
        coordinates=coordinates,
        mask=None if mask.all() else mask,
        attributes={**units, "time": {"time_zone": "Asia/Tokyo"}, names[0]: {"units": "K"}},
    )
    back = from_xarray(to_xarray(series))
    assert Grid.from_series(back) == Grid.from_series(series)
    for name in (*names, "northing", "easting"):
        assert Grid.from_series(back).label(name) == Grid.from_series(series).label(name)
    assert Grid.from_series(back).attributes_of("time")["time_zone"] == "Asia/Tokyo"
    pd.testing.assert_index_equal(back.time_index, series.time_index)
    np.testing.assert_array_equal(back.all_values(), series.all_values())


@pytest.mark.parametrize("calendar", CALENDARS)
@PROFILE
@given(data=st.data())
def test_times_go_on_in_their_calendar(calendar: str, data: Any) -> None:
    freq = data.draw(st.sampled_from(["D", "MS", "12h", "2MS", "YS"]))
    start = data.draw(st.sampled_from(["1581-12-01", "1999-02-01", "2000-02-01"]))
    times = xr.date_range(start, periods=80, freq=freq, calendar=calendar, use_cftime=True)
    values = np.random.default_rng(0).random((80, 1, 2))
    whole = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": times})
    history = from_xarray(whole[:40], dtype=None)
    future = history.append_values(values[40:].reshape(40, 2))[40:]
    assert_same(to_xarray(future), whole[40:])
    assert isinstance(times[0], cftime.datetime)
