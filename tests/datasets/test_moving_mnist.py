"""The fixed test set of Moving MNIST is mapped, and other files are refused by name."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from darts_mim import Grid, series_to_frames
from darts_mim.datasets import ClipTrainingDataset, MovingMNIST, load_moving_mnist, mnist

SHAPE = (20, 7, 5, 6)  # the published one is (20, 10000, 64, 64)
PATH = Path("mnist_test_seq.npy")


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    assert mnist._MOVING_SHAPE == (20, 10_000, 64, 64)
    monkeypatch.setattr(mnist, "_MOVING_SHAPE", SHAPE)
    made = np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)
    np.save(PATH, made)
    return made


def test_sequences_are_read_from_the_file_one_by_one(frames: np.ndarray) -> None:
    clips = load_moving_mnist(".")
    assert isinstance(clips.frames, np.memmap)
    assert len(clips) == sum(1 for _ in clips) == 7
    for i in (0, 3, -1):
        clip = clips[i]
        assert (clip.shape, clip.dtype) == ((20, 1, 5, 6), np.float32)
        np.testing.assert_array_equal(clip[:, 0], frames[:, i] / np.float32(255))
    with pytest.raises(IndexError, match="out of range"):
        clips[7]


def test_sequences_become_series_and_samples(frames: np.ndarray) -> None:
    clips = MovingMNIST(frames)
    series = clips.to_series([4, 2])
    assert [Grid.from_series(one) for one in series] == [clips.grid] * 2 == [Grid(1, 5, 6)] * 2
    np.testing.assert_array_equal(series_to_frames(series[1]), clips[2])
    dataset = ClipTrainingDataset(clips, 10, 10, grid=clips.grid)
    np.testing.assert_array_equal(dataset[2].future_target, series[1].values()[10:])


def test_it_is_fetched_to_the_cache_of_the_user(
    frames: np.ndarray, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    with pytest.raises(FileNotFoundError, match="pass download=True to fetch it from http"):
        load_moving_mnist()
    digest = hashlib.sha256(PATH.read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "_MOVING_CHECKSUM", f"sha256:{digest}")
    PATH.rename(Path("served", PATH.name))
    clips = load_moving_mnist(download=True, base_url=server)
    np.testing.assert_array_equal(clips[1], MovingMNIST(frames)[1])
    assert len(load_moving_mnist()) == 7
    assert Path("darts_mim", "moving_mnist", PATH.name).is_file()


def test_files_that_are_not_the_data_set_are_refused_by_name(frames: np.ndarray) -> None:
    whole = PATH.read_bytes()
    for damaged in (b"", b"<html>", whole[:50], whole[:-1]):
        PATH.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"mnist_test_seq\.npy must be a whole \.npy file"):
            load_moving_mnist(".")
    np.save(PATH, frames.swapaxes(0, 1))
    with pytest.raises(ValueError, match=r"seq\.npy must hold frames of shape \(20, 7, 5, 6\)"):
        load_moving_mnist(".")
    for wrong in (frames.astype(float), frames[0], frames[:, :0]):
        with pytest.raises(ValueError, match=r"`frames` must be bytes \(uint8\) of shape"):
            MovingMNIST(wrong)
