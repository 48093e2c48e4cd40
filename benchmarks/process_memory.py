"""The memory of this process that lies in no file."""

from __future__ import annotations

import ctypes
import gc
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20
PAGES = {"MALLOC_MMAP_THRESHOLD_": "65536"}
"""Environment in which each tensor of 64 KiB or more has pages of its own.

Else the C library keeps freed memory, which would be counted; steps are many times slower with it.
"""


def anonymous_memory() -> float:
    """Return the MiB that this process holds and that lie in no file."""
    status = Path("/proc/self/status").read_text()
    kib = re.search(r"RssAnon:\s+(\d+)", status)
    if kib is None:
        raise OSError("/proc/self/status has no RssAnon: run this on Linux")
    return int(kib[1]) / 1024


def peak_of(step: Callable[[], Any]) -> tuple[float, float]:
    """Return the MiB that a step takes at the most, and its seconds."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # give back what is free: a step shall not live on that
    before, peak, ended = anonymous_memory(), 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(0.001):
            peak = max(peak, anonymous_memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    try:
        step()
    finally:
        seconds = time.perf_counter() - start
        ended.set()
        watcher.join()
    return max(peak - before, 0.0), seconds
