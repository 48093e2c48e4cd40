"""Whatever fields are given to `from_xarray`, `to_xarray` gives them back."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darts_mim.adapters import from_xarray, to_xarray

PROFILE = settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],  # on a busy machine
)
CALENDARS = ["noleap", "360_day", "julian", "all_leap", "standard", "proleptic_gregorian"]

pytestmark = pytest.mark.slow


def attributes() -> st.SearchStrategy[dict[str, Any]]:
    values = st.one_of(
        st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=5),
        st.integers(-(2**31), 2**31),
        st.floats(allow_nan=False),
        arrays.arrays(st.sampled_from(["f4", "f8", "i2"]), (2,), elements=st.integers(0, 9)),
    )
    return st.dictionaries(st.sampled_from(["long_name", "note", "valid_range"]), values)


@st.composite
def stamps(draw: st.DrawFn, length: int) -> Any:
    """Times of dates, of any calendar, in the middle of months, or numbers."""
    kind = draw(st.sampled_from(["dates", "calendar", "middle", "numbers"]))
    if kind == "numbers":
        return draw(st.integers(-50, 50)) + draw(st.integers(1, 5)) * np.arange(length)
    freq = draw(st.sampled_from(["D", "MS", "6h", "3MS", "YS", "90min"]))
    if kind == "dates":
        unit = draw(st.sampled_from(["s", "us", "ns"]))
        return pd.date_range("1999-11-03", periods=length, freq=freq, unit=unit)
    calendar = {"calendar": draw(st.sampled_from(CALENDARS)), "use_cftime": True}
    start = f"{draw(st.sampled_from([1, 850, 1999, 2400])):04d}-11-01T03:00:00"
    if kind == "calendar":
        return xr.date_range(start, periods=length, freq=freq, **calendar)
    begins = xr.date_range(start[:10], periods=length + 1, freq="MS", **calendar)
    return begins[:-1] + (begins[1:] - begins[:-1]) / 2


@st.composite
def fields(draw: st.DrawFn) -> xr.Dataset:
    """A Dataset of fields on a grid, some with levels or samples."""
    sizes = {dim: draw(st.integers(1, 3)) for dim in ("lat", "lon", "level", "sample")}
    sizes["time"] = draw(st.integers(3, 5))
    optional = draw(st.sets(st.sampled_from(["level", "sample"])))
    variables = {}
    for name in ("one", "two")[: draw(st.integers(1, 2))]:
        order = draw(st.permutations(["time", "lat", "lon", *sorted(optional)]))
        dtype = np.dtype(draw(st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "?"])))
        numbers: st.SearchStrategy[Any] = st.integers(0, 1 if dtype.kind == "b" else 99)
        if dtype.kind == "f":
            numbers = st.floats(allow_infinity=False, width=16)
        values = draw(arrays.arrays(dtype, [sizes[dim] for dim in order], elements=numbers))
        variables[name] = xr.Variable(order, values, draw(attributes()))
    coords: dict[str, Any] = {"time": ("time", draw(stamps(sizes["time"])), draw(attributes()))}
    for dim in draw(st.sets(st.sampled_from(["lat", "lon", "level"]))) & set(variables["one"].dims):
        values = draw(arrays.arrays("f4", sizes[dim], elements=st.integers(-90, 360), unique=True))
        coords[dim] = (dim, values, draw(attributes()))
    if draw(st.booleans()):
        coords["area"] = (("lon", "lat"), np.ones((sizes["lon"], sizes["lat"])), draw(attributes()))
        coords["run"] = ((), draw(st.sampled_from(["a", 3, np.datetime64("2000-01-01", "ns")])))
        coords["season"] = ("time", draw(arrays.arrays("i4", sizes["time"])))
    return xr.Dataset(variables, coords, draw(attributes()))


@PROFILE
@given(fields(), st.data())
def test_data_and_their_parts_come_back_as_they_were(data: xr.Dataset, draws: Any) -> None:
    channel = "level" if "level" in data.dims else None
    series = from_xarray(data, channel=channel, dtype=None, mask=False)
    back = to_xarray(series)
    xr.testing.assert_identical(back, data)
    for name in data.data_vars:
        assert (back[name].dims, back[name].dtype) == (data[name].dims, data[name].dtype)
    start = draws.draw(st.integers(0, data.sizes["time"] - 1))
    part = data.isel(time=slice(start, None))
    xr.testing.assert_identical(to_xarray(series[start:]), part)
    array = to_xarray(from_xarray(data["one"], channel=channel, dtype=None, mask=False))
    xr.testing.assert_identical(array, data["one"])
