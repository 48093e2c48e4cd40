"""Pictures that follow each other, as files.

Legend: H height, W width, in pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from darts_mim._optional import import_optional

Picture: TypeAlias = npt.NDArray[np.uint8]

# ITU-R BT.709 in the range of television, as players take it for granted; by its number in H.273.
_COLOURS = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}


def write_gif(path: Path, pictures: Iterable[Picture], fps: int) -> None:
    """Write pictures (H, W, 3) as an endless GIF, in 256 colours that cover each of them evenly."""
    first, *others = [
        Image.fromarray(picture).quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    first.save(path, save_all=True, append_images=others, duration=1000 / fps, loop=0)


def write_mp4(path: Path, pictures: Iterable[Picture], fps: int) -> None:
    """Write pictures (H, W, 3) as an MP4 in H.264, which browsers play; sizes become even."""
    av: Any = import_optional("av", extra="video")
    # the index first, so that a browser plays before it has read all
    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream = None
        for picture in pictures:
            frame = av.VideoFrame.from_ndarray(_even(picture), format="rgb24")
            if stream is None:
                stream = container.add_stream("libx264", rate=fps, options={"crf": "18"})
                stream.width, stream.height, stream.pix_fmt = frame.width, frame.height, "yuv420p"
                for name, number in _COLOURS.items():
                    setattr(stream.codec_context, name, number)
            frame = frame.reformat(format=stream.pix_fmt, dst_colorspace="ITU709")
            container.mux(stream.encode(frame))
        if stream is not None:
            container.mux(stream.encode())


def _even(picture: Picture) -> Picture:
    """Pad a picture with white to an even height and width: its colours are stored by 2x2."""
    height, width, _ = picture.shape
    padding = ((0, height % 2), (0, width % 2), (0, 0))
    return np.pad(picture, padding, constant_values=255)
