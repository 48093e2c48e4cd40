"""Measure how well `nonstationarity` tells actions that stay from those that move on.

    python benchmarks/nonstationarity.py ../shared/data

The folder holds `kth/*.avi` and `weizmann/<action>/*.avi`. Beside it the criterion that was tried
first, the drift of the mean image between the halves of a window.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from origin import describe_origin
from sklearn.metrics import roc_auc_score

from darts_mim import series_to_frames
from darts_mim.adapters import read_video
from darts_mim.datasets import NONSTATIONARY_FROM, load_kth, nonstationarity

MOVE_ON = {"jogging", "running", "walking", "jump", "run", "side", "skip", "walk"}
STEP = 5  # frames from a window to the next


def clips_of(folder: Path, data: str) -> Iterator[tuple[str, str, NDArray[np.floating]]]:
    """Yield the clip, the action and the frames of each range."""
    if data == "kth":
        for series in load_kth(folder / "kth", "all", missing="skip"):
            about = series.metadata["kth"]
            yield about["clip"], about["action"], series_to_frames(series)
        return
    for path in sorted((folder / "weizmann").glob("*/*.avi")):
        frames = series_to_frames(read_video(path, grey=True, size=(96, 120)))
        yield path.stem, path.parent.name, frames


def mean_drift(frames: NDArray[np.floating]) -> float:
    """Return the squared change of the mean image in units of the fluctuation about it."""
    halves = frames[: len(frames) // 2], frames[len(frames) // 2 :]
    means = [half.mean(axis=0) for half in halves]
    drift = ((means[1] - means[0]) ** 2).sum()
    return float(drift / np.mean([half.var(axis=0).sum() for half in halves]))


def measure(clips: list[tuple[str, str, NDArray[np.floating]]], length: int) -> dict[str, object]:
    """Return shares and areas under the curve for windows of a length."""
    rows = [
        (clip, action in MOVE_ON, nonstationarity(window), mean_drift(window))
        for clip, action, frames in clips
        for start in range(0, len(frames) - length + 1, STEP)
        for window in [frames[start : start + length]]
    ]
    names, truth, values, drifts = (np.array(column) for column in zip(*rows, strict=True))
    found = values >= NONSTATIONARY_FROM
    majority = [
        (found[names == name].mean() > 0.5) == truth[names == name][0] for name in np.unique(names)
    ]
    return {
        "length": length,
        "stationary": [int((~found & ~truth).sum()), int((~truth).sum())],
        "nonstationary": [int((found & truth).sum()), int(truth.sum())],
        "auc": round(float(roc_auc_score(truth, values)), 3),
        "auc_mean_drift": round(float(roc_auc_score(truth, drifts)), 3),
        "clips_by_majority": [int(np.sum(majority)), len(majority)],
    }


def main() -> None:
    """Measure both data sets and print the record as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    record = {**describe_origin(), "threshold": NONSTATIONARY_FROM}
    for data in ("kth", "weizmann"):
        clips = list(clips_of(folder, data))
        record[data] = [measure(clips, length) for length in (20, 30)]
    print(json.dumps(record, indent=2))


if __name__ == "__main__":
    main()
