"""Checkpoints that are whole, whenever a run is killed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from darts.utils.serialization.torch import _DartsCheckpointIO

__all__ = ["AtomicCheckpointIO"]


class AtomicCheckpointIO(_DartsCheckpointIO):
    """Lightning plugin that lets a checkpoint appear under its name when all of it is written.

    Lightning writes a checkpoint to the system's temporary folder and moves it from there. Where
    that folder is on another file system, as it often is on a cluster, this is a copy: a run that
    is killed meanwhile leaves a part of a checkpoint as the newest one, which does not load.
    Here it is written beside its place, to a hidden file that the next one of its name replaces.
    """

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None
    ) -> None:
        """Save a checkpoint; what is not a file of this machine is left to Lightning.

        Parameters
        ----------
        checkpoint
            What Lightning saves.
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
        draft = target.with_name(f".{target.name}.part")
        try:
            with draft.open("wb") as file:
                torch.save(checkpoint, file)
            draft.replace(target)
        finally:
            draft.unlink(missing_ok=True)
