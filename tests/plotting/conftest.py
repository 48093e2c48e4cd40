"""Series whose frames are recognised in a picture, and what is read from one."""

import numpy as np
import pytest

from darts_mim import frames_to_series

MINUS = "\N{MINUS SIGN}"


@pytest.fixture(scope="session")
def series():
    """Twelve frames of 2 channels, 5 rows and 7 columns; frame t of channel c holds t + 100 c."""
    frames = np.arange(12.0)[:, None, None, None] + 100.0 * np.arange(2.0)[:, None, None]
    frames = np.broadcast_to(frames, (12, 2, 5, 7)).astype(np.float32)
    return frames_to_series(frames, channel_names=["rain", "wind"])


@pytest.fixture(scope="session")
def field():
    """Ten frames of 3 rows of descending latitude and 4 columns, one masked cell, with units."""
    frames = np.random.default_rng(0).random((10, 1, 3, 4), dtype=np.float32)
    return frames_to_series(
        frames,
        channel_names=["sst"],
        mask=np.arange(12).reshape(3, 4) != 9,
        coordinates={"lat": [20.0, 10.0, 0.0], "lon": [100.0, 110.0, 120.0, 130.0]},
        attributes={
            "sst": {"long_name": "sea surface temperature", "units": "degC"},
            "lat": {"units": "degrees_north"},
            "lon": {"units": "degrees_east"},
        },
        start="2020-01-01",
        freq="MS",
    )


def bars(figure):
    """Return the axes of the colour bars, which come last."""
    return [ax for ax in figure.axes if hasattr(ax, "_colorbar")]


def rows(figure):
    """Return the axes of the frames by row; the first one of each is named."""
    found = []
    for ax in figure.axes[: -len(bars(figure)) or None]:
        if ax.get_ylabel() or not found:
            found.append([])
        found[-1].append(ax)
    return found


def cells(ax):
    """Return the values that are drawn in a panel."""
    return ax.collections[0].get_array()


def drawn(row):
    """Return the value of each uniform frame of a row."""
    return [float(cells(ax)[0, 0]) for ax in row]


def limits(ax):
    """Return the ends of the colour scale of a panel."""
    return ax.collections[0].get_clim()


def labels(axes):
    """Return what is written below axes, in one line each."""
    return [" ".join(ax.get_xlabel().split()) for ax in axes]
