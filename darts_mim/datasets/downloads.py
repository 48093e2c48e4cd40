"""Files that a data set consists of: found in a folder, checked, or fetched by pooch."""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from darts_mim._optional import import_optional

logger = logging.getLogger(__name__)

_EXTRA: Final = "datasets"
_TIMEOUT: Final = 60  # seconds without a byte
_BLOCK: Final = 1 << 20


@dataclass(frozen=True)
class RemoteFile:
    """A file that is published, and how to tell that it is the right one.

    Parameters
    ----------
    name
        Name of the file, in its folder and behind the URL.
    checksum
        Algorithm and digest, such as ``"md5:be08..."``.
    base_url
        What stands before the name; None where there is none that a program can fetch from.
    """

    name: str
    checksum: str
    base_url: str | None = None

    def url(self, base_url: str | None = None) -> str | None:
        """Return where the file lies, there or on another server."""
        base = self.base_url if base_url is None else base_url
        return None if base is None else f"{base.rstrip('/')}/{self.name}"


def cache_folder(name: str) -> Path:
    """Return the folder for a data set in the cache of the user, ``~/.cache/darts_mim`` on Linux.

    Parameters
    ----------
    name
        Name of the data set.

    Returns
    -------
    pathlib.Path
        The folder, which need not exist.

    Raises
    ------
    ImportError
        If pooch, which knows the cache, is missing: ``pip install 'darts-mim[datasets]'``.
    """
    pooch = import_optional("pooch", _EXTRA)
    return Path(pooch.os_cache("darts_mim")) / name


def find_file(
    file: RemoteFile,
    root: str | os.PathLike[str],
    *,
    download: bool = False,
    base_url: str | None = None,
    remedy: str = "",
) -> Path:
    """Find a file in a folder, or fetch it there.

    A file that is there already is never replaced. What is fetched appears whole and checked, or
    not at all.

    Parameters
    ----------
    file
        The file.
    root
        The folder. It is made where something is fetched.
    download
        Whether to fetch the file if it is missing. If so, one that is there is checked as well.
    base_url
        Another server to fetch it from: a mirror, say.
    remedy
        Where else to get it, for messages.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    ConnectionError
        If it cannot be fetched, or not to its end.
    FileNotFoundError
        If it is missing and is not to be fetched.
    ImportError
        If pooch is missing: ``pip install 'darts-mim[datasets]'``.
    OSError
        If the folder cannot be made, or the file not be written to it.
    ValueError
        If what was fetched, or is there, is another file than the one that is published.
    """
    target = Path(root) / file.name
    if download and not target.is_file():
        _fetch(file, target, base_url)
    elif not target.is_file():
        raise FileNotFoundError(missing_file(file, target, base_url, remedy))
    elif download:
        check_file(file, target)
    return target


def missing_file(file: RemoteFile, target: Path, base_url: str | None, remedy: str) -> str:
    """Say which file is missing, where it was looked for, and what to do."""
    url = file.url(base_url)
    fetch = "" if url is None else f"pass download=True to fetch it from {url}, "
    return (
        f"`root`: there is no file {target.absolute()}; {fetch}"
        f"{remedy or 'put it there under this name'}, or correct `root`"
    )


def check_file(file: RemoteFile, path: Path) -> None:
    """Raise if a file is not the one that is published.

    Parameters
    ----------
    file
        What is expected.
    path
        What is there.

    Raises
    ------
    ValueError
        If the checksums differ.
    """
    algorithm, _, expected = file.checksum.partition(":")
    got = _digest(path, algorithm)
    if got != expected:
        raise ValueError(
            f"`root`: {path} is not the file that is published: expected {algorithm} {expected}, "
            f"got {got} of {path.stat().st_size} bytes; it may be cut off or another version; "
            "remove it and get it anew"
        )


def _digest(path: Path, algorithm: str) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as opened:
        while block := opened.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _fetch(file: RemoteFile, target: Path, base_url: str | None) -> None:
    pooch = import_optional("pooch", _EXTRA)
    requests = import_optional("requests", _EXTRA)  # which comes with pooch
    url = file.url(base_url)
    if url is None:
        raise ValueError(
            f"`download=True`: {file.name} is not offered where a program can fetch it; pass "
            "`base_url` of a server that has it, or get it by hand"
        )
    logger.info("Fetching %s to %s.", url, target)
    advice = f"try again, pass the `base_url` of a mirror, or put the file at {target.absolute()}"
    _make_folder(target.parent)
    try:
        pooch.retrieve(
            url,
            known_hash=file.checksum,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT),
        )
    except (requests.exceptions.RequestException, ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"`download=True`: {url} could not be fetched ({error}), and nothing was kept; {advice}"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"`download=True`: {url} is not the file that is published: expected "
            f"{file.checksum.replace(':', ' ')}; nothing was kept; {advice}"
        ) from error
    except OSError as error:  # those of requests are above, which are OSErrors too
        raise OSError(
            f"`root`: {target.absolute()} cannot be written ({error}), and nothing was kept; make "
            "room there, or pass another `root`"
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"`root`: the folder {folder.absolute()} cannot be made ({error}); pass another `root`"
        ) from error
