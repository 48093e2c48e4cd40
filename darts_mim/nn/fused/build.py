"""Compile the kernels in C: once for a machine, in a few seconds.

The library is kept in a folder of the user's cache and found again by what it was made from: the
source, the compiler, its options and the processor.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

__all__ = ["CHANNELS", "ROWS", "TILES", "CannotBuildError", "cache_folder", "kernel_library"]

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.c", "winograd.c"))
ROWS = 32
"""Rows of channels that the elementwise kernels take at a time."""
TILES, CHANNELS = 64, 64
"""Tiles of a grid, and channels of each, that a convolution takes at a time."""

_OPTIONS = (
    *("-std=c11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(f"-DROWS={ROWS}", f"-DTILES={TILES}", f"-DCHANNELS={CHANNELS}"),
    # no trap and no errno to keep up, so that loops can be vectorised; a product and a sum may be
    # rounded once; all else as in IEEE 754
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)


class CannotBuildError(Exception):
    """The kernels cannot be compiled here; its text says why."""


def cache_folder() -> Path:
    """Return the folder that compiled kernels are kept in.

    Returns
    -------
    pathlib.Path
        What the environment variable ``DARTS_MIM_CACHE`` says, else ``darts_mim`` in the user's
        folder for caches.
    """
    if given := os.environ.get("DARTS_MIM_CACHE"):
        return Path(given)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "darts_mim"


@cache
def kernel_library() -> ctypes.CDLL:
    """Return the compiled kernels, those of an earlier process if there are any.

    Returns
    -------
    ctypes.CDLL
        The library.

    Raises
    ------
    CannotBuildError
        If there is no compiler that can make them, or no place to keep them.
    """
    if sys.platform != "linux":
        raise CannotBuildError(f"the kernels are built on Linux alone, not on {sys.platform}")
    try:
        command = shlex.split(os.environ.get("CC", "")) or ["cc"]
        if shutil.which(command[0]) is None:
            raise CannotBuildError(
                f"there is no C compiler {command[0]!r}; install one, or name it in the "
                "environment variable CC"
            )
        return _load(command, _own_folder() / f"kernels-{_fingerprint(command)}.so")
    # no place to keep them, no home, quotes that do not match, a compiler that hangs
    except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        raise CannotBuildError(
            f"the kernels cannot be built, kept or loaded ({error}); the environment variable "
            "DARTS_MIM_CACHE names another folder to keep them in"
        ) from error


def _own_folder() -> Path:
    """Return the folder of the cache, which nobody else may put code into."""
    folder = cache_folder()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"others may write to {folder}")
    return folder


def _load(command: list[str], path: Path) -> ctypes.CDLL:
    """Load the library, and make it where there is none, or a damaged one."""
    if path.exists():
        try:
            return ctypes.CDLL(str(path))
        except OSError:
            path.unlink()
    _compile(command, path)
    return ctypes.CDLL(str(path))


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=120,
        check=False,
    )


def _fingerprint(command: list[str]) -> str:
    """Return a name for all that the compiled kernels depend on."""
    version = _run([*command, "--version"]).stdout
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    processor = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    parts = [
        *(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.[ch]"))),
        version.encode(),
        " ".join([*command, *_OPTIONS]).encode(),
        "\n".join([platform.machine(), *processor[:2]]).encode(),
    ]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:16]


def _compile(command: list[str], path: Path) -> None:
    """Write the library, whole or not at all: processes may build it at once."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder) / path.name
        run = _run([*command, *_OPTIONS, *map(str, SOURCES), "-o", str(made), "-lm"])
        if run.returncode:
            reason = (run.stderr.strip().splitlines() or [f"exit status {run.returncode}"])[0]
            raise CannotBuildError(f"the C compiler {command[0]!r} failed: {reason}")
        made.replace(path)
