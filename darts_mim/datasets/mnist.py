"""Handwritten digits, of MNIST and of scikit-learn, and the fixed test set of Moving MNIST.

Images of digits come as bytes, ``(n, size, size)`` with 0 the paper and 255 the ink, in two splits
that share no image.
"""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from skimage.transform import resize
from sklearn.datasets import load_digits

from darts_mim._optional import import_optional
from darts_mim.checks import checked_integer
from darts_mim.datasets.clips import IndexedClips
from darts_mim.datasets.files import chosen, fetch_file, find_file
from darts_mim.grid import Grid

Split: TypeAlias = Literal["train", "test"]
Images: TypeAlias = npt.NDArray[np.uint8]

# The address and the checksums are those of torchvision.datasets.MNIST.
_MNIST_URL: Final = "https://ossci-datasets.s3.amazonaws.com/mnist"
_MNIST: Final = {
    "train": ("train-images-idx3-ubyte", 60_000, "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873"),
    "test": ("t10k-images-idx3-ubyte", 10_000, "md5:9fb629c4189551a2d022fa330f9573f3"),
}
_MNIST_SIZE: Final = 28
_IDX_IMAGES: Final = b"\x00\x00\x08\x03"  # two zero bytes, type "unsigned byte", three dimensions

_BUNDLED_SIZE: Final = 8
_BUNDLED_WHITE: Final = 16.0
# between two blocks of digits, each of which begins by counting from 0 to 9
_BUNDLED_SPLIT: Final = 1415

# The address and the checksum are those of torchvision.datasets.MovingMNIST.
_MOVING: Final = "mnist_test_seq.npy"
_MOVING_CHECKSUM: Final = "md5:be083ec986bfe91a449d63653c411eb2"
_MOVING_URL: Final = "http://www.cs.toronto.edu/~nitish/unsupervised_video"
_MOVING_SHAPE: Final = (20, 10_000, 64, 64)
_BYTE_MAX: Final = 255


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
        If a file is to be fetched and pooch is missing, which the extra ``datasets`` installs.
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
    chosen("split", split, list(_MNIST))
    name, count, checksum = _MNIST[split]
    packed, plain = Path(path, f"{name}.gz"), Path(path, name)
    if download and (packed.is_file() or not plain.is_file()):
        fetch_file(packed, checksum, base_url or _MNIST_URL)
    remedy = f"pass download=True, or put MNIST's {packed.name} there"
    file = plain if plain.is_file() and not packed.is_file() else find_file(packed, remedy)
    return _read_idx(file, (count, _MNIST_SIZE, _MNIST_SIZE))


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
    chosen("split", split, list(_MNIST))
    checked_integer("size", size, least=_BUNDLED_SIZE)
    part = slice(None, _BUNDLED_SPLIT) if split == "train" else slice(_BUNDLED_SPLIT, None)
    images = load_digits().images[part] / _BUNDLED_WHITE
    if size != _BUNDLED_SIZE:
        images = resize(images, (len(images), size, size), order=3, mode="constant")
    digits: Images = np.rint(255.0 * images).astype(np.uint8)
    return digits


class MovingMNIST(IndexedClips):
    """The sequences of an array of bytes, such as the mapped file of Moving MNIST.

    A read-only collection like `MovingDigits`: ``len()`` and an index give sequences one by one, as
    frames of shape (T, 1, H, W), float32 in [0, 1]. Only what is asked for is read.

    Parameters
    ----------
    frames
        Bytes of shape (T, n, H, W), time first, as in the file.

    Raises
    ------
    ValueError
        If `frames` are not bytes with four axes, none of them empty.

    See Also
    --------
    load_moving_mnist : Reads or fetches the file.

    Examples
    --------
    >>> clips = MovingMNIST(np.full((20, 3, 12, 16), 255, np.uint8))
    >>> len(clips), clips[0].shape, clips[0].max()
    (3, (20, 1, 12, 16), np.float32(1.0))
    >>> [series.shape for series in clips.to_series([2])]
    [(20, 192, 1)]
    """

    def __init__(self, frames: npt.NDArray[np.uint8]) -> None:
        if frames.dtype != np.uint8 or frames.ndim != 4 or 0 in frames.shape:
            raise ValueError(
                "`frames` must be bytes (uint8) of shape (T, n, H, W), none of them 0, got "
                f"{frames.dtype} of shape {frames.shape}; pass the array of the file"
            )
        self.frames = frames

    @property
    def grid(self) -> Grid:
        """The grid of the frames: one channel, H by W."""
        return Grid(1, *self.frames.shape[2:])

    def __len__(self) -> int:
        return int(self.frames.shape[1])

    def _clip(self, i: int) -> npt.NDArray[np.float32]:
        # (T, H, W) -> (T, 1, H, W)
        return np.divide(self.frames[:, i, np.newaxis], _BYTE_MAX, dtype=np.float32)


def load_moving_mnist(
    root: str | os.PathLike[str] | None = None,
    *,
    download: bool = False,
    base_url: str | None = None,
) -> MovingMNIST:
    """Open the test set of Moving MNIST.

    The file of 781 MiB is mapped, not read: sequences are brought in as they are asked for.

    Parameters
    ----------
    root
        Folder with ``mnist_test_seq.npy``. Default: ``moving_mnist`` in the cache of the user.
    download
        Whether to fetch the file if it is missing, and to check it if it is there.
    base_url
        Another server to fetch it from.

    Returns
    -------
    MovingMNIST
        10,000 sequences of 20 frames, 64 by 64 pixels.

    Raises
    ------
    ConnectionError
        If the file cannot be fetched.
    FileNotFoundError
        If there is no file, and `download` is off.
    ImportError
        If pooch is needed and missing, which the extra ``datasets`` installs.
    ValueError
        If the file is another, damaged or cut off.

    References
    ----------
    N. Srivastava, E. Mansimov, R. Salakhutdinov. Unsupervised Learning of Video Representations
    using LSTMs. ICML 2015.

    Examples
    --------
    >>> clips = load_moving_mnist("data/moving_mnist", download=True)  # doctest: +SKIP
    >>> test = clips.to_series(range(100))  # doctest: +SKIP
    """
    if root is None:
        root = import_optional("pooch", extra="datasets").os_cache("darts_mim") / "moving_mnist"
    file = Path(root, _MOVING)
    if download:
        fetch_file(file, _MOVING_CHECKSUM, base_url or _MOVING_URL)
    find_file(file, f"pass download=True to fetch it from {_MOVING_URL}, or correct `root`")
    try:
        frames: npt.NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (EOFError, OSError, ValueError) as error:
        raise ValueError(f"{file} must be a whole .npy file ({error}); get it again") from error
    if frames.shape != _MOVING_SHAPE:
        raise ValueError(
            f"{file} must hold frames of shape {_MOVING_SHAPE}, got {frames.shape}; pass an array "
            "of your own to `MovingMNIST`"
        )
    return MovingMNIST(frames)


def _read_idx(file: Path, shape: tuple[int, int, int]) -> Images:
    """Read an IDX file of images: magic number, three big-endian sizes, then the bytes."""
    header = _IDX_IMAGES + struct.pack(">3I", *shape)
    size = len(header) + math.prod(shape)
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as opened:
            content = opened.read(size + 1)  # no more, whatever the file unpacks to
    except (EOFError, OSError, zlib.error) as error:
        raise ValueError(f"{file} must be a whole gzip file ({error}); get it again") from error
    if len(content) != size or not content.startswith(header):
        raise ValueError(
            f"{file} must be MNIST's file of {shape[0]} images, got {len(content)} bytes and not "
            f"{size}, or another header; pass other images to `MovingDigits` as an array"
        )
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
