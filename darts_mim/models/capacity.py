"""How much memory a device has for a training step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

__all__ = ["Capacity", "capacity_of"]

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")
_UNLIMITED = 2**60  # what version 1 of control groups says where there is no limit


class Capacity(NamedTuple):
    """Memory of a device, in bytes.

    Attributes
    ----------
    total
        What there is of it, or what this process may take. What needs more, fits by no means.
    free
        What can be had now.
    """

    total: int
    free: int


def capacity_of(device: torch.device) -> Capacity | None:
    """Return the memory of a device, ``None`` where that is not known.

    On a CPU it is that of the machine and its swap space, under the limits of the control group
    and of the process (``RLIMIT_AS`` and ``RLIMIT_DATA``); it is known on Linux.

    Parameters
    ----------
    device
        The device.

    Returns
    -------
    Capacity or None
        Its memory.
    """
    if device.type == "cuda" and torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info(device)
        # torch keeps what it has given back for the next who asks
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return Capacity(total, free + kept)
    if device.type != "cpu":
        return None
    bounds = [*_machine(), *_control_group(), *_limits()]
    if not bounds:
        return None
    return Capacity(min(each.total for each in bounds), min(each.free for each in bounds))


def _machine() -> Iterator[Capacity]:
    sizes = _fields(_PROC / "meminfo")
    if sizes:
        total = sizes["MemTotal"] + sizes.get("SwapTotal", 0)
        yield Capacity(total, sizes.get("MemAvailable", total))


def _control_group() -> Iterator[Capacity]:
    """Yield what control groups leave to this process, its own and those around it.

    Version 2 names files otherwise than version 1, which has a tree for memory alone.
    """
    swap = _fields(_PROC / "meminfo").get("SwapTotal", 0)
    for root, controller, limit, used in (
        (_CGROUPS, "", "memory.max", "memory.current"),
        (_CGROUPS / "memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        for folder in _folders(root, controller):
            total = _number(folder / limit)
            if total is None or total >= _UNLIMITED:
                continue
            # pages of files can be given up: part of what is used is free
            stat = _fields(folder / "memory.stat", unit=1)
            # version 1 counts what the groups inside hold apart
            whole = "total_" if "total_inactive_file" in stat else ""
            pages = sum(stat.get(f"{whole}{kind}_file", 0) for kind in ("inactive", "active"))
            free = total - (_number(folder / used) or 0) + pages
            may_swap = _number(folder / "memory.swap.max")
            yield Capacity(
                total + (swap if may_swap is None else min(swap, may_swap)),
                max(min(free, total), 0),
            )


def _folders(root: Path, controller: str) -> list[Path]:
    """Return the folders of this process's group and of those around it, up to the root."""
    try:
        lines = (_PROC / "self/cgroup").read_text().splitlines()
    except OSError:
        return []
    groups = (line.split(":", 2)[1:] for line in lines)
    paths = [path for controllers, path in groups if controller in controllers.split(",")]
    # in a container the path may be that outside of it, where its own group is the root
    folder = root / (paths[0] if paths else "").lstrip("/")
    return [each for each in (folder, *folder.parents) if each.is_relative_to(root)]


def _limits() -> Iterator[Capacity]:
    try:
        import resource  # there is none on Windows
    except ImportError:
        return
    sizes = _fields(_PROC / "self/status")
    for limit, used in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
        bound = resource.getrlimit(limit)[0]
        if bound != resource.RLIM_INFINITY:
            yield Capacity(bound, max(bound - sizes.get(used, 0), 0))


def _fields(path: Path, unit: int = 1024) -> dict[str, int]:
    """Read lines such as ``MemTotal: 16384 kB``; none where there is no such file."""
    try:
        lines = re.findall(r"^(\w+):?\s+(\d+)", path.read_text(), re.MULTILINE)
    except OSError:
        return {}
    return {name: int(value) * unit for name, value in lines}


def _number(path: Path) -> int | None:
    """Read a number; ``None`` for ``max``, and where there is no such file."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None
