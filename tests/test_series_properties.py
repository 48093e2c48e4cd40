"""Frames of any shape, type and layout come back exactly."""

from typing import Any

import numpy as np
import pandas as pd
from darts import TimeSeries
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from darts_mim import Grid, frames_to_series, series_to_frames

PROFILE = settings(max_examples=40, deadline=None, derandomize=True, database=None)
AXES = {"T": (1, 5), "C": (1, 3), "H": (1, 4), "W": (1, 4), "S": (1, 3), "B": (1, 3)}
DTYPES = st.sampled_from(["f2", "f4", "f8", ">f4", "i1", "u1", "i4", "i8", "?"])


@st.composite
def frames_and_layouts(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    optional = draw(st.sets(st.sampled_from("CSB")))
    layout = "".join(draw(st.permutations(["T", "H", "W", *sorted(optional)])))
    shape = tuple(draw(st.integers(*AXES[axis])) for axis in layout)
    dtype = np.dtype(draw(DTYPES))
    if dtype.kind == "f":
        elements: Any = st.floats(width=dtype.itemsize * 8, allow_infinity=False)
    elif dtype.kind == "b":
        elements = st.booleans()
    else:
        # what float32 holds exactly
        low, high = max(np.iinfo(dtype).min, -(2**24)), min(np.iinfo(dtype).max, 2**24)
        elements = st.integers(low, high)
    return draw(arrays.arrays(dtype, shape, elements=elements)), layout


@PROFILE
@given(frames_and_layouts())
def test_frames_make_the_round_trip_in_any_layout_and_type(drawn: tuple[np.ndarray, str]) -> None:
    frames, layout = drawn
    # integers and booleans become float32; floats keep their type
    series = frames_to_series(frames, layout=layout, dtype=None)
    assert isinstance(series, list) == ("B" in layout)
    back = series_to_frames(series, layout=layout)
    np.testing.assert_array_equal(back, frames.astype(back.dtype))


@PROFILE
@given(
    arrays.arrays(
        np.float32, st.tuples(*[st.integers(1, 4)] * 4), elements=st.floats(0, 1, width=32)
    ),
    st.sampled_from(["h", "30min", "D", "MS", "W-MON", "QS", 1, 3, "B"]),
    st.data(),
)
def test_grid_and_times_make_the_round_trip(frames: np.ndarray, freq: Any, data: Any) -> None:
    _, channels, height, width = frames.shape
    numbers = st.floats(-1e6, 1e6)
    coordinates = {
        "y": data.draw(st.lists(numbers, min_size=height, max_size=height)),
        "x": data.draw(st.lists(numbers, min_size=width, max_size=width)),
    }
    names = data.draw(
        st.lists(st.text(min_size=1), min_size=channels, max_size=channels, unique=True)
    )
    mask = data.draw(arrays.arrays(bool, (height, width)).filter(np.any))
    series = frames_to_series(
        frames, freq=freq, channel_names=names, coordinates=coordinates, mask=mask
    )
    assert isinstance(series, TimeSeries)
    assert Grid.from_series(series) == Grid(channels, height, width, names, coordinates, mask)
    assert series.freq == (
        freq if isinstance(freq, int) else pd.tseries.frequencies.to_offset(freq)
    )
    np.testing.assert_array_equal(series_to_frames(series), frames)
