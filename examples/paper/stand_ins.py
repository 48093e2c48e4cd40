"""Small files in the formats of real data, for runs without any: they show that everything works.

Each function writes to a path and returns it. Nothing in these files was observed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

PEOPLE = ("ada", "ben", "cleo", "dan", "eva")
ACTIONS = ("walk", "wave")


def write_sea_surface(path: Path) -> Path:
    """Write monthly sea-surface temperatures as NetCDF, in the layout of NOAA's ERSST.

    Six years of seasons on a coarse globe, with warm spots that drift west, and land.
    """
    times = pd.date_range("2015-01-01", periods=72, freq="MS")
    latitudes, longitudes = (
        np.arange(44.0, -45.0, -4.0),
        np.arange(0.0, 360.0, 4.0),
    )
    month = np.arange(len(times))[:, None, None]
    y, x = np.deg2rad(latitudes)[:, None], np.deg2rad(longitudes)
    season = -6.0 * np.sin(y) * np.cos(2 * np.pi * (month - 1) / 12)
    spots = 1.5 * np.cos(3.0 * x + 0.5 * month) * np.exp(-4.0 * y**2)
    noise = np.random.default_rng(0).normal(
        scale=0.2, size=(len(times), len(y), len(x))
    )
    temperature = 29.0 * np.cos(y) ** 2 + season + spots + noise
    latitude, longitude = latitudes[:, None], longitudes
    is_land = (longitude < 50) | ((longitude > 284) & (abs(latitude) < 30))
    is_land |= (abs(longitude - 134) < 20) & (abs(latitude + 25) < 12)
    field = xr.DataArray(
        np.where(is_land, np.nan, temperature).astype(np.float32),
        dims=("time", "lat", "lon"),
        coords={
            "time": times,
            "lat": (
                "lat",
                latitudes,
                {"units": "degrees_north", "long_name": "Latitude"},
            ),
            "lon": (
                "lon",
                longitudes,
                {"units": "degrees_east", "long_name": "Longitude"},
            ),
        },
        attrs={
            "units": "degC",
            "long_name": "Sea surface temperature, made up",
        },
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    xr.Dataset(
        {"sst": field}, attrs={"title": "Nothing in this file was observed"}
    ).to_netcdf(path)
    return path


def write_flows(folder: Path) -> Path:
    """Write flows in and out of the cells of a town, in the layout of the NYTaxi files.

    Three weeks of half hours, in the morning into the centre and in the evening out of it, less at
    weekends and on a holiday.
    """
    days = pd.date_range("2016-01-01", periods=21, freq="D")
    times = pd.date_range(days[0], periods=48 * len(days), freq="30min")
    is_free = (days.dayofweek >= 5) | (days == days[14])
    hour = times.hour + times.minute / 60.0
    morning, evening = (
        np.exp(-((hour - peak) ** 2) / 4.0) for peak in (8.5, 18.0)
    )
    volume = np.repeat(np.where(is_free, 0.4, 1.0), 48)
    y, x = np.mgrid[:16, :12]
    centre = np.exp(-((y - 8) ** 2 + (x - 6) ** 2) / 18.0)
    there = np.multiply.outer(volume * (0.2 + morning.to_numpy()), centre)
    back = np.multiply.outer(volume * (0.2 + evening.to_numpy()), centre)
    rates = 300.0 * np.stack([there + 0.4 * back, back + 0.4 * there], axis=-1)
    flow = (
        np.random.default_rng(0).poisson(rates).astype(np.float64)
    )  # (T, H, W, 2)
    folder.mkdir(parents=True, exist_ok=True)
    n_train = 48 * 15
    np.savez_compressed(folder / "flow_train.npz", flow=flow[:n_train])
    np.savez_compressed(folder / "flow_test.npz", flow=flow[n_train:])
    table = pd.DataFrame(
        {
            "date": [f"{day.day}-{day.month}-{day.year}" for day in days],
            "day": days.dayofweek,
            "maximum temperature": 45 + np.arange(len(days)) % 5,
            "minimum temperature": 30 + np.arange(len(days)) % 5,
            "average temperature": 37.5 + np.arange(len(days)) % 5,
            "precipitation": [
                "T" if day % 6 == 0 else "0.0" for day in days.day
            ],
            "snow fall": 0.0,
            "snow depth": 0,
            "holiday": (days == days[14]).astype(int),
        }
    )
    table.to_csv(folder / "external_knowledge.csv", index=False)
    return folder


def write_clips(folder: Path) -> Path:
    """Write clips of figures that walk and wave, in the layout of the Weizmann actions.

    `<action>/<person>_<action>.avi`, 180 by 144 pixels, 25 frames a second, 40 frames each.
    """
    for number, person in enumerate(PEOPLE):
        rng = np.random.default_rng(number)
        for action in ACTIONS:
            path = folder / action / f"{person}_{action}.avi"
            path.parent.mkdir(parents=True, exist_ok=True)
            _write_clip(path, _draw_figure(action, rng, n_frames=40))
    return folder


def _draw_figure(
    action: str, rng: np.random.Generator, n_frames: int
) -> np.ndarray:
    """Return grey frames (T, 144, 180) of a figure of ellipses before a still background."""
    y, x = np.mgrid[:144, :180]
    background = (
        150.0 + 30.0 * np.sin(x / 40.0 + rng.uniform(0, 6)) + 20.0 * (y > 110)
    )
    speed = rng.uniform(2.0, 3.0) if action == "walk" else 0.0
    begin = 30.0 if action == "walk" else rng.uniform(60.0, 120.0)
    phase = rng.uniform(0, 6)
    frames = []
    for t in range(n_frames):
        frame, column = background.copy(), begin + speed * t
        swing = np.sin(0.6 * t + phase)
        parts = [(85.0, column, 22.0, 7.0), (58.0, column, 6.0, 5.0)]
        for side in (-1, 1):
            parts.append((112.0, column + side * 5.0 * swing, 12.0, 3.0))
            height = 72.0 - 12.0 * (1.0 + swing) if action == "wave" else 84.0
            parts.append(
                (height, column + side * (9.0 + 3.0 * swing), 10.0, 3.0)
            )
        for row, centre, tall, wide in parts:
            frame[
                ((y - row) / tall) ** 2 + ((x - centre) / wide) ** 2 < 1.0
            ] = 50.0
        frames.append(frame)
    return np.stack(frames).astype(np.uint8)


def _write_clip(path: Path, frames: np.ndarray) -> None:
    import av

    _, height, width = frames.shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = 2_000_000
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(
                np.repeat(frame[..., None], 3, axis=-1), "rgb24"
            )
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
