"""Percent-format scripts: their cells, and a run that keeps the output of each cell.

As a program, it runs a script from top to bottom in this process, as `python SCRIPT` would, and
writes the text that each cell printed, and the pictures that it wrote below `out/`, to a JSON file:

    python docs/_hooks/cells.py RECORD SCRIPT [ARGUMENT ...]
"""

from __future__ import annotations
import __future__

import io
import json
import re
import sys
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

_MARKER = re.compile(r"^# %%(?P<kind>[ \t]*\[markdown\])?[ \t]*$")
_FUTURE_FLAGS = sum(
    getattr(__future__, name).compiler_flag for name in __future__.all_feature_names
)


@dataclass(frozen=True)
class Cell:
    """A cell of a script.

    Attributes
    ----------
    is_markdown
        Whether it is text rather than code.
    source
        Text without the comment signs, or code.
    first_line
        Number of its first line in the script, from 1.
    """

    is_markdown: bool
    source: str
    first_line: int


def split_cells(script: str) -> list[Cell]:
    """Split a script at its markers, `# %%` and `# %% [markdown]`; drop what is empty.

    Raises
    ------
    ValueError
        If there is code before the first marker, or a line of a text cell is no comment.
    """
    cells: list[Cell] = []
    lines = script.splitlines()
    starts = [number for number, line in enumerate(lines) if _MARKER.match(line)]
    if "".join(lines[: starts[0] if starts else None]).strip():
        raise ValueError("line 1: a script must begin with a cell, `# %%` or `# %% [markdown]`")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        match = _MARKER.match(lines[start])
        is_markdown = match is not None and match["kind"] is not None
        body = lines[start + 1 : end]
        if is_markdown:
            body = [_uncomment(line, start + 2 + k) for k, line in enumerate(body)]
        source = "\n".join(body)
        if source.strip():
            # the line numbers of code must stay those of the script
            n_empty = len(source) - len(source.lstrip("\n"))
            cells.append(Cell(is_markdown, source.strip("\n"), start + 2 + n_empty))
    return cells


def run_cells(path: Path, arguments: list[str]) -> list[dict[str, Any]]:
    """Run a script, and return the text and the new pictures of each of its code cells.

    The script is `__main__`, in a process of its own: it runs once in this one.
    """
    module = ModuleType("__main__")
    module.__file__ = str(path)
    # what it pickles is looked up here
    sys.modules["__main__"] = module
    sys.argv = [str(path), *arguments]
    sys.path[0] = str(path.parent)
    flags, outputs, known = 0, [], set(_pictures())
    for cell in split_cells(path.read_text()):
        if cell.is_markdown:
            continue
        source = "\n" * (cell.first_line - 1) + cell.source
        code = compile(source, str(path), "exec", flags=flags, dont_inherit=True)
        flags |= code.co_flags & _FUTURE_FLAGS  # `from __future__` holds for the cells after it
        with redirect_stdout(io.StringIO()) as printed:
            exec(code, module.__dict__)
        new = [picture for picture in _pictures() if picture not in known]
        known.update(new)
        outputs.append({"text": printed.getvalue(), "pictures": new})
    return outputs


def _pictures() -> list[str]:
    """Return the pictures below `out/`, the oldest first."""
    found = [each for each in Path("out").rglob("*") if each.suffix in (".png", ".gif")]
    return [str(each) for each in sorted(found, key=lambda each: each.stat().st_mtime_ns)]


def _uncomment(line: str, number: int) -> str:
    if line.strip() and not line.startswith("#"):
        raise ValueError(f"line {number}: a line of a text cell must begin with `#`, got {line!r}")
    return line.removeprefix("#").removeprefix(" ")


if __name__ == "__main__":
    record, script, *rest = sys.argv[1:]
    Path(record).write_text(json.dumps(run_cells(Path(script), rest)))
