"""Compile the kernels in C: once for a machine, in a few seconds.

The library is kept in a folder of the user's cache and found again by what it was made from: the
source, the compiler, its options and the processor. Of several processes one builds, and the others
wait for it. A build that fails is not tried again for an hour, by any process.
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
import time
from functools import cache
from pathlib import Path

from darts_mim.nn.fused.library_cache import find_library, keep_library, locked, trusted_folder

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.c", "winograd.c"))
ROWS = 32
"""Rows of channels that the elementwise kernels take at a time."""
TILES, CHANNELS = 64, 64
"""Tiles of a grid, and channels of each, that a convolution takes at a time."""
MOST_SECONDS_OF_A_BUILD, MOST_SECONDS_OF_WAITING, SECONDS_TO_A_RETRY = 300, 120, 3600

_OPTIONS = (
    *("-std=c11", "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC"),
    *(f"-DROWS={ROWS}", f"-DTILES={TILES}", f"-DCHANNELS={CHANNELS}"),
    # no trap and no errno to keep up, so that loops can be vectorised; a product and a sum may be
    # rounded once; all else as in IEEE 754
    *("-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"),
)


class CannotBuildError(Exception):
    """The kernels cannot be compiled here; its text says why."""


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
        return ctypes.CDLL(str(_library(command, trusted_folder())))
    # no place to keep them, no home, quotes that do not match, a compiler that hangs, a lock
    except (OSError, RuntimeError, ValueError, subprocess.TimeoutExpired) as error:
        raise CannotBuildError(
            f"the kernels cannot be built, kept or loaded ({error}); the environment variable "
            "DARTS_MIM_CACHE names another folder to keep them in"
        ) from error


def _library(command: list[str], folder: Path) -> Path:
    """Return the path of the library, which is made where there is none."""
    name = f"kernels-{_fingerprint(command)}"
    path = find_library(folder, name)
    if path is None:
        with locked(folder, MOST_SECONDS_OF_WAITING):
            path = find_library(folder, name)  # another process may have made it meanwhile
            if path is None:
                path = _build(command, folder, name)
    return path


def _build(command: list[str], folder: Path, name: str) -> Path:
    """Make the library, unless that has failed within the last hour."""
    note, made = folder / f"{name}.failed", folder / f"{name}.unfinished"
    if note.exists() and time.time() - note.stat().st_mtime < SECONDS_TO_A_RETRY:
        raise CannotBuildError(f"{note.read_text()} (delete {note} to try again at once)")
    try:
        run = _run([*command, *_OPTIONS, *map(str, SOURCES), "-o", str(made), "-lm"])
        lines = [*run.stderr.strip().splitlines(), f"exit status {run.returncode}"]
        reason = lines[0] if run.returncode else None
    except subprocess.TimeoutExpired:
        reason = f"it took more than {MOST_SECONDS_OF_A_BUILD} seconds"
    if reason is None:
        return keep_library(made, folder, name)
    made.unlink(missing_ok=True)
    note.write_text(f"the C compiler {command[0]!r} failed: {reason}")
    raise CannotBuildError(note.read_text())


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=MOST_SECONDS_OF_A_BUILD,
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
