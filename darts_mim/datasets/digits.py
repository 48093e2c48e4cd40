"""Images of handwritten digits: MNIST from its own files, and the few that scikit-learn brings.

Both come as bytes, ``(n, size, size)`` with 0 the paper and 255 the ink, in two splits that share
no image.
"""

import gzip
import os
import struct
import zlib
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from skimage.transform import resize
from sklearn.datasets import load_digits

from darts_mim.datasets.downloads import RemoteFile, find_file

Split: TypeAlias = Literal["train", "test"]
Images: TypeAlias = npt.NDArray[np.uint8]

_MNIST_FILES: dict[Split, tuple[str, int]] = {
    "train": ("train-images-idx3-ubyte", 60_000),
    "test": ("t10k-images-idx3-ubyte", 10_000),
}
# The address and the checksums are those of torchvision.datasets.MNIST.
_MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST_CHECKSUMS: dict[Split, str] = {
    "train": "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "test": "md5:9fb629c4189551a2d022fa330f9573f3",
}
_MNIST_SIZE = 28
_GZIP_MAGIC = b"\x1f\x8b"
_IDX_IMAGES_MAGIC = b"\x00\x00\x08\x03"  # two zero bytes, type "unsigned byte", three dimensions
_IDX_HEADER_SIZE = 16

_BUNDLED_SIZE = 8
_BUNDLED_WHITE = 16.0
_BUNDLED_SPLIT = 1415  # between two blocks of digits, each of which begins by counting from 0 to 9


def load_mnist_digits(
    path: str | os.PathLike[str],
    split: Split = "train",
    *,
    download: bool = False,
    base_url: str | None = None,
) -> Images:
    """Read the digits of MNIST from the files in which it is published.

    Parameters
    ----------
    path
        Folder with ``train-images-idx3-ubyte.gz`` and ``t10k-images-idx3-ubyte.gz``. The files may
        be unpacked, in which case their names lack the ``.gz``; of both forms the packed one is
        read. Label files are not needed.
    split
        ``"train"`` for the 60,000 training digits, ``"test"`` for the 10,000 of the ``t10k`` file.
    download
        Whether to fetch the packed file of the split into the folder if neither form of it is
        there, and to check a packed one that is.
    base_url
        Another server to fetch it from.

    Returns
    -------
    numpy.ndarray
        Bytes of shape (60000, 28, 28) or (10000, 28, 28), 0 the paper and 255 the ink.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched.
    FileNotFoundError
        If the folder, or the file of this split in it, does not exist.
    ImportError
        If a file is to be fetched and pooch is missing: ``pip install 'darts-mim[datasets]'``.
    ValueError
        If `split` is unknown, or the file is damaged or not MNIST's.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges. The MNIST database of handwritten digits. The section
    "File formats for the MNIST database" specifies IDX.

    Examples
    --------
    >>> digits = load_mnist_digits("data/mnist", split="test")  # doctest: +SKIP
    >>> digits.shape  # doctest: +SKIP
    (10000, 28, 28)
    """
    _check_split(split)
    name, count = _MNIST_FILES[split]
    packed = RemoteFile(f"{name}.gz", _MNIST_CHECKSUMS[split], _MNIST_URL)
    # the packed file is read if it is there, and then it is also the one to check
    if download and (Path(path, packed.name).is_file() or not Path(path, name).is_file()):
        find_file(packed, path, download=True, base_url=base_url)
    file = _find_mnist_file(Path(path), name)
    images = _read_idx_images(file)
    expected = (count, _MNIST_SIZE, _MNIST_SIZE)
    if images.shape != expected:
        raise ValueError(
            f"`path`: {file} must hold images of shape {expected} for split={split!r}, got "
            f"{images.shape}; put MNIST's own file there, or pass other images to `MovingDigits` "
            f"as an array"
        )
    return images


def load_bundled_digits(split: Split = "train", *, size: int = _BUNDLED_SIZE) -> Images:
    """Load the real handwritten digits that come with scikit-learn, so that nothing is downloaded.

    The 1,797 images of 8 by 8 pixels lie in the file writer after writer: blocks of about 130
    digits, most of which begin by counting from 0 to 9 three times. The split falls between two
    such blocks, so that the test digits are other images, and in the main other handwriting, than
    the training digits.

    Parameters
    ----------
    split
        ``"train"`` for the first 1,415 digits, ``"test"`` for the last 382.
    size
        Height and width in pixels, at least 8. Larger images are interpolated by cubic splines.

    Returns
    -------
    numpy.ndarray
        Bytes of shape (1415, size, size) or (382, size, size), 0 the paper and 255 the ink.

    Raises
    ------
    ValueError
        If `split` is unknown or `size` is below 8.

    References
    ----------
    E. Alpaydin, C. Kaynak. Optical Recognition of Handwritten Digits, UCI Machine Learning
    Repository, 1998. (The copy in scikit-learn is the test set, by 13 writers.)

    Examples
    --------
    >>> digits = load_bundled_digits("test", size=16)
    >>> digits.shape, digits.dtype, digits.min(), digits.max()
    ((382, 16, 16), dtype('uint8'), np.uint8(0), np.uint8(255))
    """
    _check_split(split)
    if size < _BUNDLED_SIZE:
        raise ValueError(
            f"`size` must be at least {_BUNDLED_SIZE}, the size of the images themselves, got "
            f"{size}; use {_BUNDLED_SIZE} for the images as they are or more to enlarge them"
        )
    part = slice(None, _BUNDLED_SPLIT) if split == "train" else slice(_BUNDLED_SPLIT, None)
    images = load_digits().images[part] / _BUNDLED_WHITE
    if size != _BUNDLED_SIZE:
        images = resize(images, (len(images), size, size), order=3, mode="constant")
    digits: Images = np.rint(255.0 * images).astype(np.uint8)
    return digits


def _check_split(split: str) -> None:
    if split not in _MNIST_FILES:
        raise ValueError(
            f'`split` must be "train" or "test", got {split!r}; set aside validation digits '
            f'by slicing the array of split="train"'
        )


def _find_mnist_file(folder: Path, name: str) -> Path:
    """Return the packed file, or the unpacked one where there is no other."""
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`path`: the folder {folder.absolute()} does not exist; expected the folder that "
            f"holds MNIST's files, such as {name}.gz; correct the path, put them there, or pass "
            f"download=True"
        )
    for candidate in (folder / f"{name}.gz", folder / name):
        if candidate.is_file():
            return candidate
    raise FileNotFoundError(
        f"`path`: {folder.absolute()} has neither {name}.gz nor {name}; pass download=True to "
        f"fetch it, put MNIST's files there under these names, or correct the path"
    )


def _read_idx_images(file: Path) -> Images:
    """Read an IDX file of images: magic number, three big-endian sizes, then the bytes."""
    content = file.read_bytes()
    if content.startswith(_GZIP_MAGIC):
        try:
            content = gzip.decompress(content)
        except (EOFError, OSError, zlib.error) as error:
            raise ValueError(
                f"`path`: {file} is not a whole gzip file ({error}); download it again"
            ) from error
    if not content.startswith(_IDX_IMAGES_MAGIC) or len(content) < _IDX_HEADER_SIZE:
        raise ValueError(
            f"`path`: {file} must begin with the {_IDX_HEADER_SIZE} bytes of an IDX file of "
            f"images, {_IDX_IMAGES_MAGIC.hex(' ')} first, got {len(content)} bytes that begin with "
            f"{content[:4].hex(' ') or 'nothing'}; check that it is an image file of MNIST, not a "
            f"label file or a web page"
        )
    count, height, width = struct.unpack_from(">3I", content, offset=len(_IDX_IMAGES_MAGIC))
    body = memoryview(content)[_IDX_HEADER_SIZE:]
    if len(body) != count * height * width:
        raise ValueError(
            f"`path`: {file} announces {count} images of {height}x{width} bytes and must hold "
            f"{count * height * width} bytes of them, got {len(body)}; download it again"
        )
    return np.frombuffer(body, np.uint8).reshape(count, height, width)
