"""Series whose frames are known when they are seen again in a picture."""

import numpy as np
import pytest

from darts_mim import frames_to_series


@pytest.fixture
def series():
    """Twelve frames of 2 channels, 5 rows and 7 columns; frame t of channel c holds t + 100 c."""
    frames = np.arange(12.0)[:, None, None, None] + 100.0 * np.arange(2.0)[:, None, None]
    frames = np.broadcast_to(frames, (12, 2, 5, 7)).astype(np.float32)
    return frames_to_series(frames, channel_names=["rain", "wind"])


@pytest.fixture
def field():
    """Ten frames of random values, 3 rows of descending latitude and 4 columns, one masked cell."""
    frames = np.random.default_rng(0).random((10, 1, 3, 4), dtype=np.float32)
    mask = np.ones((3, 4), bool)
    mask[2, 1] = False
    return frames_to_series(
        frames,
        channel_names=["sst"],
        mask=mask,
        coordinates={"lat": [20.0, 10.0, 0.0], "lon": [100.0, 110.0, 120.0, 130.0]},
        attributes={
            "sst": {"long_name": "sea surface temperature", "units": "degC"},
            "lat": {"units": "degrees_north"},
            "lon": {"units": "degrees_east"},
        },
        start="2020-01-01",
        freq="MS",
    )
