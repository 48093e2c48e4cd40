"""The record of a run: rows by part, written after each of them."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.origin import describe_origin

Row = dict[str, Any]


def describe_run(device: str) -> dict[str, Any]:
    """Return where the figures come from: command, code, machine and versions."""
    origin = describe_origin()
    return {
        **origin,
        "command": shlex.join(["python", "-m", "benchmarks", *sys.argv[1:]]),
        "source": source_digest(),
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "cuda": torch.version.cuda,
        "float32_convolutions": "TF32" if _uses_tf32(device) else "float32",
    }


def source_digest() -> str:
    """Return a digest of this code and of what it measures: a commit tells nothing of changes."""
    spec = find_spec("darts_mim")
    package = Path(spec.origin if spec and spec.origin else __file__).parent
    digest = hashlib.sha256()
    for folder in (package, Path(__file__).parent):
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix != ".pyc":
                digest.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _uses_tf32(device: str) -> bool:
    return device == "cuda" and torch.backends.cudnn.allow_tf32


class Record:
    """Rows that were measured, in a file that is whole at any time.

    Parameters
    ----------
    path
        The file. Rows that are there stay, if they are of the same code and machine; else the file
        is kept as ``NAME.before.json``, and a new one is begun.
    origin
        Where the rows come from.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "record.json"
    >>> origin = {"command": "python -m benchmarks", "commit": "a"}
    >>> Record(path, origin).add("steps", {"width": 4, "seconds": 0.1})
    >>> Record(path, origin).has("steps", {"width": 4})
    True
    >>> Record(path, {**origin, "commit": "b"}).has("steps", {"width": 4})
    False
    """

    def __init__(self, path: Path, origin: dict[str, Any]) -> None:
        self.path = path
        self.content: dict[str, Any] = {"origin": origin, "parts": {}}
        if not path.exists():
            return
        earlier = json.loads(path.read_text())
        commands = earlier["origin"]["command"].split(" && ")
        if {**earlier["origin"], "command": origin["command"]} != origin:
            path.replace(path.with_suffix(".before.json"))
            return
        together = " && ".join(dict.fromkeys([*commands, origin["command"]]))
        self.content = {"origin": {**origin, "command": together}, "parts": earlier["parts"]}

    def rows(self, part: str) -> list[Row]:
        """Return the rows of a part."""
        rows: list[Row] = self.content["parts"].get(part, {}).get("rows", [])
        return rows

    def has(self, part: str, key: Row) -> bool:
        """Return whether there is a row with these entries."""
        return any(key.items() <= _scalars(row).items() for row in self.rows(part))

    def add(self, part: str, row: Row) -> None:
        """Add a row and write the file."""
        self.content["parts"][part] = {"rows": [*self.rows(part), row]}
        self._write()

    def skip(self, part: str, reason: str) -> None:
        """Note why a part is not there, unless it is, and write the file."""
        if not self.rows(part):
            self.content["parts"][part] = {"skipped": reason, "rows": []}
            self._write()

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(self.content, indent=1) + "\n")
        unfinished.replace(self.path)  # whole or not at all


def _scalars(row: Row) -> Row:
    return {name: value for name, value in row.items() if not isinstance(value, dict | list)}
