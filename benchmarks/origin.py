"""Where the figures of a benchmark come from."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[1]


def describe_origin() -> dict[str, Any]:
    """Return the command, the commit, the machine and the versions of this process."""
    return {
        "command": _command(),
        "commit": describe_commit(Path(__file__).parent),
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "darts": _darts_version(),
    }


def _command() -> str:
    """Return how this process was started, without where the checkout lies."""
    spec = sys.modules["__main__"].__spec__
    script = Path(sys.argv[0]).resolve()
    start = [str(script.relative_to(ROOT))] if script.is_relative_to(ROOT) else sys.argv[:1]
    return shlex.join(["python", *(["-m", spec.name] if spec else start), *sys.argv[1:]])


def describe_commit(folder: Path) -> str:
    """Return the commit of a checkout, and whether files differ from it."""
    describe = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(describe, cwd=folder, capture_output=True, text=True, check=False)
    return commit.stdout.strip() or "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _darts_version() -> str | None:
    try:
        return version("darts")
    except PackageNotFoundError:  # what measures networks alone does without
        return None
