"""Files that appear whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole_file(target: Path) -> Iterator[Path]:
    """Give a draft beside a file, which takes its place when all went well and vanishes if not.

    Parameters
    ----------
    target
        The file to write; its folder is made as needed. It keeps its old content until the end.

    Yields
    ------
    pathlib.Path
        The draft to write to, with the ending of `target`.

    Examples
    --------
    >>> with whole_file(Path("new/errors.csv")) as draft:
    ...     size = draft.write_text("frame,error")
    >>> [path.name for path in Path("new").iterdir()]
    ['errors.csv']
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f".{uuid.uuid4().hex}{target.suffix}")
    try:
        yield draft
        draft.replace(target)
    finally:
        draft.unlink(missing_ok=True)
