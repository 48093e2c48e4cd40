"""Files that are whole: sealed with a checksum when written, verified when read.

A seal is the comment of the zip archive that ``torch.save`` writes: a mark, the checksum of the
file that belongs to this one, and the checksum of this file up to there.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from darts.utils.serialization.torch import _DartsCheckpointIO

_MARK = b"darts_mim seal "
_NOTHING = "0" * 64


class Seal(NamedTuple):
    """Checksums at the end of a file: of the file that belongs to it, and of itself."""

    partner: str = _NOTHING
    digest: str = _NOTHING


def seal(path: Path, partner: str = _NOTHING) -> str:
    """Write a seal into a file that ``torch.save`` has written, and sync it to the disk.

    Returns
    -------
    str
        Checksum of the file.
    """
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = _MARK + partner.encode() + _NOTHING.encode()
    digest = _digest(path)
    with path.open("r+b") as file:
        file.seek(-len(digest), os.SEEK_END)
        file.write(digest.encode())
        file.flush()
        os.fsync(file.fileno())
    return digest


def verify(path: Path) -> None:
    """Refuse a file that has changed since it was sealed, or that is cut off.

    A file that does not exist passes: who reads it says so.

    Raises
    ------
    ValueError
        If the file is damaged.
    """
    if not path.is_file():
        return
    digest = _seal_of(path).digest
    is_whole = zipfile.is_zipfile(path) if digest == _NOTHING else digest == _digest(path)
    if not is_whole:
        raise ValueError(
            f"`{path}` is damaged or incomplete: its contents do not have the checksum they were "
            "saved with; copy the file again, or load another one"
        )


def check_pair(path: Path) -> None:
    """Refuse a model and weights that were not saved together; finish a save that was killed.

    Raises
    ------
    ValueError
        If the files at ``path`` and at ``path + ".ckpt"`` are of two saves.
    """
    weights, draft = weights_of(path), draft_of(path)
    if not weights.is_file():
        return
    digest = _seal_of(weights).digest
    if _seal_of(path).partner == digest:
        return
    if draft.is_file() and _seal_of(draft).partner == digest:
        draft.replace(path)  # the save was killed after the weights, before the model
    elif path.is_file():
        verify(path)
        verify(weights)
        raise ValueError(
            f"`{path}` and `{weights}` were not saved together: the options of the one do not "
            "belong to the weights of the other; copy both files of one save"
        )


def weights_of(path: Path) -> Path:
    """Return where Darts puts the weights of a model that is saved at a path."""
    return path.with_name(f"{path.name}.ckpt")


def draft_of(path: Path) -> Path:
    """Return where a file is written before it gets its name; the next draft replaces it."""
    return path.with_name(f".{path.name}.part")


def _seal_of(path: Path) -> Seal:
    """Return the seal of a file; one of zeros if there is none, or no file."""
    if not path.is_file():
        return Seal()
    size = min(len(_MARK) + 2 * len(_NOTHING), path.stat().st_size)
    with path.open("rb") as file:
        file.seek(-size, os.SEEK_END)
        tail = file.read()
    if not tail.startswith(_MARK):
        return Seal()
    text = tail.removeprefix(_MARK).decode(errors="replace")
    return Seal(text[: len(_NOTHING)], text[len(_NOTHING) :])


def _digest(path: Path) -> str:
    contents: Any = np.memmap(path, dtype=np.uint8, mode="r")
    return hashlib.sha256(contents[: -len(_NOTHING)]).hexdigest()


class AtomicCheckpointIO(_DartsCheckpointIO):
    """Lightning plugin whose checkpoints appear whole under their names, and are verified.

    Lightning writes a checkpoint to the system's temporary folder and moves it from there. Where
    that folder is on another file system, as it often is on a cluster, this is a copy: a run that
    is killed meanwhile leaves a part of a checkpoint as the newest one, which does not load.
    Here it is written beside its place, to a hidden file that the next one of its name replaces.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint; one that is no file of this machine is left to Lightning.

        Parameters
        ----------
        checkpoint
            Contents, from Lightning.
        path
            Path or address of the checkpoint.
        storage_options
            Not supported, as in Lightning's own plugin.

        Raises
        ------
        TypeError
            If there are ``storage_options``.
        """
        if storage_options is not None or "://" in str(path):
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = draft_of(target)
        try:
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
            seal(draft)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> Any:
        """Load a checkpoint that is whole."""
        verify(Path(path))
        return super().load_checkpoint(path, *args, **kwargs)
