"""How much memory a device has, on machines that are made up."""

from pathlib import Path

import pytest
import torch

from darts_mim.models import capacity
from darts_mim.models.capacity import Capacity, capacity_of

resource = pytest.importorskip("resource", reason="there are no such limits on Windows")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the root of a machine with 8,000 KiB, 1,000 KiB of swap, and no limits."""
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    monkeypatch.setattr(resource, "getrlimit", lambda _: unlimited)
    monkeypatch.setattr(capacity, "_PROC", tmp_path / "proc")
    monkeypatch.setattr(capacity, "_CGROUPS", tmp_path / "groups")
    write(
        tmp_path / "proc/meminfo", "MemTotal: 8000 kB\nMemAvailable: 5000 kB\nSwapTotal: 1000 kB\n"
    )
    write(tmp_path / "proc/self/status", "VmSize: 900 kB\nVmData: 600 kB\n")
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def in_kib() -> tuple[float, float]:
    capacity = capacity_of(torch.device("cpu"))
    assert capacity is not None
    return capacity.total / 1024, capacity.free / 1024


def test_a_machine_has_its_memory_and_swap(machine: Path) -> None:
    assert in_kib() == (9000, 5000)


def test_control_groups_bound_it(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "0::/jobs/mine\n")
    group = machine / "groups/jobs"
    write(group / "mine/memory.max", "max\n")
    write(group / "memory.max", f"{4000 * 1024}\n")
    write(group / "memory.current", f"{3000 * 1024}\n")
    write(group / "memory.stat", f"anon 5\ninactive_file {500 * 1024}\n")
    assert in_kib() == (5000, 1500)
    write(group / "memory.swap.max", "0\n")
    assert in_kib() == (4000, 1500)


def test_control_groups_of_the_first_version_bound_it(machine: Path) -> None:
    write(machine / "proc/self/cgroup", "4:cpu:/x\n3:hugetlb,memory:/outside\n")
    group = machine / "groups/memory"
    write(group / "memory.limit_in_bytes", f"{2000 * 1024}\n")
    write(group / "memory.usage_in_bytes", f"{1900 * 1024}\n")
    assert in_kib() == (3000, 100)
    write(group / "memory.limit_in_bytes", "9223372036854771712\n")
    assert in_kib() == (9000, 5000)


def test_limits_of_the_process_bound_it(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = {resource.RLIMIT_AS: 2000 * 1024, resource.RLIMIT_DATA: 1000 * 1024}
    monkeypatch.setattr(resource, "getrlimit", lambda limit: (bounds[limit],) * 2)
    assert in_kib() == (1000, 400)


def test_a_gpu_has_what_torch_keeps_of_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (300, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: 500)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: 450)
    assert capacity_of(torch.device("cuda", 0)) == Capacity(1000, 350)


def test_where_nothing_is_known_none_is_told(machine: Path) -> None:
    (machine / "proc/meminfo").unlink()
    assert capacity_of(torch.device("cpu")) is None
    assert capacity_of(torch.device("meta")) is None
