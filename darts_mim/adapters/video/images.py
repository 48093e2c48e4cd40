"""Image files to pixels.

Letters for shapes: C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from darts_mim._optional import import_optional
from darts_mim.adapters.video.endings import check_ending
from darts_mim.adapters.video.pixels import check_opaque, decoded_pixels

_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0

_ORIENTATION = 0x0112  # a tag of EXIF
_UPRIGHT = 1

_GREY = {"1", "L", "LA"}
_COLOURS = {"RGB", "RGBA", "P", "PA", "YCbCr"}


# What Pillow raises where a file is not as it should be: SyntaxError, say, for wrong check sums.
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,
    TypeError,
    ValueError,
    Image.DecompressionBombError,
)


def read_pictures(path: Path, grey: bool) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Read the pictures of a file: one, or the pages of a TIFF file.

    Parameters
    ----------
    path
        A PNG, JPEG or TIFF file.
    grey
        Whether to return one channel where there are three.

    Yields
    ------
    name : str
        The picture's name, for messages.
    pixels : array
        Integers of shape (H, W, C), C = 1 or 3.
    peak : int
        The integer that stands for 1.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a picture cannot be read whole, is transparent, or has no range of its own.
    """
    if not path.exists():
        raise FileNotFoundError(f"`path`: there is no image {str(path)!r}; check the name")
    if path.is_dir():
        raise ValueError(
            f"`path`: {str(path)!r} is a folder among images; pass one folder, or images alone"
        )
    with path.open("rb") as file:
        # By name, Pillow 13 maps a grey TIFF file, and mixes its pixels up if it is to be turned.
        with _damage_named(path):
            image = Image.open(file)
            count = getattr(image, "n_frames", 1)
        for page in range(_pages(image, count, path)):
            with _damage_named(path):
                image.seek(page)
                image.load()
            name = f"page {page} of {str(path)!r}" if page else repr(str(path))
            yield name, *_pixels(image, grey, path, name)


@contextmanager
def _damage_named(path: Path) -> Iterator[None]:
    """Say which file it is that cannot be read."""
    try:
        yield
    except _DAMAGE as error:
        raise ValueError(
            f"`path`: {str(path)!r} of {path.stat().st_size} bytes must be a PNG, JPEG or TIFF "
            f"image, but cannot be read: {error}; fetch or make the file anew, or leave it out"
        ) from error


def _pages(image: Image.Image, count: int, path: Path) -> int:
    if image.format == "TIFF":
        check_ending(path, "tiff")
        return count
    # The further pictures of a JPEG file are previews and maps of depth or brightness.
    if count > 1 and image.format != "MPO":
        raise ValueError(
            f"`path`: {str(path)!r} must hold one picture, got an animation of {count}; save each "
            "as a file, or read a clip with `read_video`"
        )
    return 1


def _pixels(image: Image.Image, grey: bool, path: Path, name: str) -> tuple[NDArray[Any], int]:
    """Return pixels (H, W, C) and the integer that stands for 1."""
    bits = _bits(image, path)
    if image.mode.startswith("I;16"):
        peak = 2**bits - 1
        pixels = np.asarray(ImageOps.exif_transpose(image))[..., np.newaxis]
        tags = getattr(image, "tag_v2", {})
        return (peak - pixels if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO else pixels), peak
    if image.mode not in _GREY | _COLOURS:
        raise ValueError(
            f"`path`: {name} must hold grey or RGB colours of at most 16 bits, got Pillow's mode "
            f"{image.mode!r}, whose range is not known here; convert it, or load it yourself and "
            "pass the frames to `frames_to_series`"
        )
    if bits > 8:
        return _deep_pixels(image, grey, path, name)
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        upright = upright.convert("RGBA")
        check_opaque(np.asarray(upright)[..., 3], name)
    if not grey and image.mode in _COLOURS:
        return np.asarray(upright.convert("RGB")), 255
    return np.asarray(upright.convert("L"))[..., np.newaxis], 255


def _bits(image: Image.Image, path: Path) -> int:
    """Return the bits of a channel, of which Pillow keeps 8 where there are several channels."""
    if image.format == "TIFF":
        return int(max(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (1,))))
    if image.format == "PNG":
        with path.open("rb") as file:
            return file.read(25)[24]
    return 8


def _deep_pixels(image: Image.Image, grey: bool, path: Path, name: str) -> tuple[NDArray[Any], int]:
    """Decode colours of 16 bits with FFmpeg."""
    if getattr(image, "n_frames", 1) > 1 or image.getexif().get(_ORIENTATION, _UPRIGHT) != _UPRIGHT:
        raise ValueError(
            f"`path`: {name} has colours of more than 8 bits, and must then be alone in its file "
            "and upright; save its pages one by one, turned"
        )
    av = import_optional("av", "video")
    with _damage_named(path):
        try:
            with av.open(str(path.absolute())) as container:
                frame = next(container.decode(video=0))
        except (av.FFmpegError, StopIteration) as error:
            raise OSError(f"FFmpeg finds {error}") from error
    pixels = decoded_pixels(frame, av.video.reformatter.VideoReformatter(), grey, name)
    return pixels, int(np.iinfo(pixels.dtype).max)
