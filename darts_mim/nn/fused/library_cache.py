"""The folder in which compiled kernels are kept, and which of its files may be loaded.

A library runs in the user's process. So none is loaded that another user could have put there or
changed, and none that is damaged: the end of a truncated one would kill the process.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder that compiled kernels are kept in.

    Returns
    -------
    pathlib.Path
        The value of the environment variable ``DARTS_MIM_CACHE``, else ``darts_mim`` in the user's
        folder for caches.
    """
    if given := os.environ.get("DARTS_MIM_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "darts_mim"


def trusted_folder() -> Path:
    """Make the folder of the cache and return it.

    Raises
    ------
    PermissionError
        If another user may put files into it, or may replace it or one of its parents.
    """
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder = folder.resolve()
    for place in (folder, *folder.parents):
        # in a sticky folder such as /tmp nobody may replace what belongs to others
        is_sticky = place != folder and place.stat().st_mode & stat.S_ISVTX
        if fault := _fault_of(place, may_be_written=bool(is_sticky)):
            raise PermissionError(fault)
    return folder


def find_library(folder: Path, name: str) -> Path | None:
    """Return the library ``name-DIGEST.so`` of a trusted folder, ``None`` if there is none.

    One that cannot be trusted, or whose contents have another digest, does not count.
    """
    for path in sorted(folder.glob(f"{name}-*.so")):
        with suppress(FileNotFoundError):  # another process may remove it
            if _fault_of(path) is None and path == _path_of(path, folder, name):
                return path
    return None


def keep_library(made: Path, folder: Path, name: str) -> Path:
    """Move a library that was made in the folder to its place, and remove others of its name."""
    with made.open("rb") as file:
        os.fsync(file.fileno())
    made.chmod(0o700)
    path = made.replace(_path_of(made, folder, name))
    for other in set(folder.glob(f"{name}-*.so")) - {path}:
        other.unlink(missing_ok=True)
    return path


@contextmanager
def locked(folder: Path, most_seconds: float) -> Iterator[None]:
    """Keep other processes out that want the same lock.

    Raises
    ------
    TimeoutError
        If another process keeps it for longer.
    """
    import fcntl  # here: there is none on Windows

    deadline = time.monotonic() + most_seconds
    with (folder / "lock").open("a") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        f"another process has been building them for {most_seconds:g} seconds"
                    ) from None
                time.sleep(0.05)
        yield


def _path_of(library: Path, folder: Path, name: str) -> Path:
    """Return where a library belongs, after its contents."""
    digest = hashlib.sha256(library.read_bytes()).hexdigest()[:32]
    return folder / f"{name}-{digest}.so"


def _fault_of(path: Path, may_be_written: bool = False) -> str | None:
    """Return why a file or folder cannot be trusted, ``None`` if it can."""
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        return f"{path} is a symbolic link"
    if status.st_uid not in (os.getuid(), 0):
        return f"{path} belongs to another user"
    if status.st_mode & 0o022 and not may_be_written:
        return f"others may write to {path}"
    return None
