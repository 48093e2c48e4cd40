"""Clips as other programs write them: any codec, any time stamps."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np


def encode(
    path: Path,
    frames: Sequence[np.ndarray | av.VideoFrame],
    codec: str,
    pixel_format: str,
    *,
    given: str = "rgb24",
    times: Sequence[int] | None = None,
    tick: Fraction = Fraction(1, 25),
    tags: dict[str, Any] | None = None,
) -> Path:
    """Write frames, each shown from its time on, in ticks; by default 25 a second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=25)
        pictures = [
            each
            if isinstance(each, av.VideoFrame)
            else av.VideoFrame.from_ndarray(each, format=given).reformat(format=pixel_format)
            for each in frames
        ]
        stream.height, stream.width = pictures[0].height, pictures[0].width
        stream.pix_fmt = pixel_format
        stream.codec_context.time_base = tick
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        for number, picture in enumerate(pictures):
            picture.pts = number if times is None else times[number]
            picture.time_base = tick
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return path


def moving_frames(count: int, height: int = 32, width: int = 48) -> list[np.ndarray]:
    """Return coloured frames (H, W, 3) of which no two are alike."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :width]
    noise = rng.integers(-20, 21, (count, height, width, 3))
    waves = [127 + 90 * np.sin(0.2 * x + 0.1 * y + 0.3 * t) for t in range(count)]
    return [
        np.clip(np.stack([w, 255 - w, np.roll(w, 5, 1)], -1) + n, 0, 255).astype(np.uint8)
        for w, n in zip(waves, noise, strict=True)
    ]


def levels(count: int, height: int = 16, width: int = 24) -> list[np.ndarray]:
    """Return grey frames (H, W, 3): frame t holds 10 t."""
    return [np.full((height, width, 3), 10 * t, np.uint8) for t in range(count)]


def flat(pixel_format: str, number: int) -> av.VideoFrame:
    """Return a grey frame that holds one number, as luma or in each of the colours."""
    frame = av.VideoFrame(24, 16, pixel_format)
    bits = frame.format.components[0].bits
    for plane, level in zip(frame.planes, [number, 2 ** (bits - 1), 2 ** (bits - 1)], strict=False):
        level = number if frame.format.is_rgb else level
        pixels = np.frombuffer(plane, np.uint8 if bits == 8 else "<u2")
        plane.update(np.full_like(pixels, level).tobytes())
    return frame
