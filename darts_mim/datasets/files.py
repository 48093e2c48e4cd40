"""Parts of a data set that are chosen; its files, found, checked or fetched."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from darts_mim._optional import import_optional


def chosen(name: str, given: Any, known: Sequence[Any]) -> list[Any]:
    """Return one or some of the known parts, each once and in their order; None is all.

    Examples
    --------
    >>> chosen("years", [2012, 2010, 2012], range(2010, 2015))
    [2010, 2012]
    """
    parts = known if given is None else [given] if isinstance(given, str | int) else list(given)
    if not parts or not set(parts) <= set(known):
        raise ValueError(f"`{name}` must be some of {list(known)}, got {given!r}")
    return [each for each in known if each in parts]


def find_file(path: Path, remedy: str) -> Path:
    """Return the path of a file, or raise an error that says how to get it."""
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path.absolute()}; {remedy}")
    return path


def check_file(path: Path, checksum: str) -> None:
    """Raise if a file is not the published one.

    Parameters
    ----------
    path
        The file.
    checksum
        Algorithm and digest, such as ``"md5:be08..."``.
    """
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, algorithm).hexdigest()
    if digest != expected:
        raise ValueError(
            f"{path} must be the published file with {algorithm} {expected}, got {digest}; it may "
            "be cut off or another version: remove it and get it again"
        )


def fetch_file(path: Path, checksum: str, base_url: str) -> None:
    """Fetch a file unless it exists, and compare it with its checksum.

    A file that exists is never replaced. A file that is fetched appears whole and checked, or not
    at all.
    """
    if path.is_file():
        check_file(path, checksum)
        return
    pooch = import_optional("pooch", extra="datasets")
    pooch.create(
        path=path.parent,
        base_url=f"{base_url.rstrip('/')}/",
        registry={path.name: checksum},
    ).fetch(path.name)
