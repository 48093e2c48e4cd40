"""Pictures to clips, with PyAV.

Letters for shapes: H height (rows), W width (columns), in pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from darts_mim._optional import import_optional

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Format:
    """How pictures are encoded, and in which pixel formats those of one and of three channels."""

    codec: str
    options: Mapping[str, str]
    grey: str
    colours: str
    container_options: Mapping[str, str]

    @property
    def is_halved(self) -> bool:
        """Whether colour is stored for every second pixel, so that sizes must be even."""
        return self.grey == "yuv420p"


# ITU-R BT.709 in the range of television, as players take it for granted; by its number in H.273.
_COLOUR_TAGS = {"color_primaries": 1, "color_trc": 1, "colorspace": 1, "color_range": 1}

FORMATS: Final = {
    # What all players and browsers show, and begin to show before they have it all. A constant rate
    # factor of 18 is taken for free of visible loss.
    ".mp4": Format("libx264", {"crf": "18"}, "yuv420p", "yuv420p", {"movflags": "+faststart"}),
    # Without loss. Version 1 has no slices: those of version 3 depend on the number of processors,
    # and leave no room for the smallest frames.
    ".mkv": Format("ffv1", {"level": "1"}, "gray", "bgr0", {}),
}


def encode(path: Path, pictures: Iterable[NDArray[np.uint8]], rate: Fraction) -> None:
    """Encode pictures as a clip.

    Parameters
    ----------
    path
        The file. Its ending, one of `FORMATS`, chooses the format.
    pictures
        All of shape (H, W), grey, or all of shape (H, W, 3), colours; at least one.
    rate
        Pictures per second.

    Raises
    ------
    ImportError
        If PyAV is not installed.
    ValueError
        If FFmpeg lacks the encoder.
    """
    av = import_optional("av", "video")
    form = FORMATS[path.suffix.lower()]
    pictures = iter(_evened(pictures) if form.is_halved else pictures)
    first = next(pictures)
    # FFmpeg takes what stands before a colon for a protocol
    with av.open(str(path.absolute()), "w", options=dict(form.container_options)) as container:
        stream = _add_stream(av, container, first, rate, form)
        for number, picture in enumerate(chain([first], pictures)):
            given = "gray" if picture.ndim == 2 else "rgb24"
            frame = av.VideoFrame.from_ndarray(picture, format=given)
            # of grey the matrix of colours changes nothing but the rounding
            matrix = {"dst_colorspace": "ITU709"} if form.is_halved and given == "rgb24" else {}
            frame = frame.reformat(format=stream.pix_fmt, **matrix)
            frame.pts, frame.time_base = number, 1 / rate
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def _add_stream(
    av: Any, container: Any, picture: NDArray[np.uint8], rate: Fraction, form: Format
) -> Any:
    try:
        stream = container.add_stream(form.codec, rate=rate, options=dict(form.options))
    except av.codec.codec.UnknownCodecError as error:
        raise ValueError(
            f"`path`: the FFmpeg that PyAV was built with lacks the encoder {form.codec}; install "
            f"PyAV with pip, or write another of {', '.join(FORMATS)}"
        ) from error
    stream.height, stream.width = picture.shape[:2]
    stream.pix_fmt = form.grey if picture.ndim == 2 else form.colours
    stream.codec_context.time_base = 1 / rate
    if form.is_halved:
        for setting, value in _COLOUR_TAGS.items():
            setattr(stream.codec_context, setting, value)
    return stream


def _evened(pictures: Iterable[NDArray[np.uint8]]) -> Iterator[NDArray[np.uint8]]:
    """Write the last row or column twice where their number is odd."""
    for number, picture in enumerate(pictures):
        height, width = picture.shape[:2]
        if number == 0 and (height % 2 or width % 2):
            logger.warning(
                "Frames of %d x %d pixels (height x width) become %d x %d, because .mp4 needs even "
                "sides: the last row or column is written twice.",
                height,
                width,
                height + height % 2,
                width + width % 2,
            )
        added = [(0, height % 2), (0, width % 2), (0, 0)]
        yield np.pad(picture, added[: picture.ndim], mode="edge")
