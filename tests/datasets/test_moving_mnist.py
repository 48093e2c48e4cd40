"""The fixed test set of Moving MNIST is mapped, and other files are refused by name."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from darts_mim import Grid, series_to_frames
from darts_mim.datasets import ClipTrainingDataset, MovingMNIST, load_moving_mnist, moving_mnist
from tests.datasets.file_server import FileServer, published

SHAPE = (20, 7, 5, 6)  # the published one is (20, 10000, 64, 64)


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    monkeypatch.setattr(moving_mnist, "_SHAPE", SHAPE)
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def test_the_published_file_is_expected_by_default() -> None:
    assert moving_mnist._SHAPE == (20, 10_000, 64, 64)
    assert moving_mnist.FILE.url() == (
        "http://www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy"
    )


def test_sequences_are_read_from_the_file_one_by_one(frames: np.ndarray) -> None:
    np.save("mnist_test_seq.npy", frames)
    clips = load_moving_mnist(".")
    assert isinstance(clips.frames, np.memmap)
    assert len(clips) == 7
    for i in (0, 3, -1):
        clip = clips[i]
        assert (clip.shape, clip.dtype) == ((20, 1, 5, 6), np.float32)
        np.testing.assert_array_equal(clip[:, 0], frames[:, i] / np.float32(255))
    with pytest.raises(IndexError, match=r"`index` must be in -7\.\.6, got 7"):
        clips[7]
    assert sum(1 for _ in clips) == 7


def test_sequences_become_series_and_samples(frames: np.ndarray) -> None:
    clips = MovingMNIST(frames)
    assert clips.grid == Grid(1, 5, 6)
    series = clips.to_series([4, 2])
    assert [Grid.from_series(one) for one in series] == [clips.grid] * 2
    np.testing.assert_array_equal(series_to_frames(series[1]), clips[2])
    assert len(clips.to_series()) == 7
    dataset = ClipTrainingDataset(clips, 10, 10, grid=clips.grid)
    assert len(dataset) == 7
    np.testing.assert_array_equal(dataset[2].future_target, series[1].values()[10:])


def test_it_is_fetched_and_checked(
    frames: np.ndarray, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save("made.npy", frames)
    content = Path("made.npy").read_bytes()
    file = published("mnist_test_seq.npy", content, "http://127.0.0.1:9")
    monkeypatch.setattr(moving_mnist, "FILE", file)
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    server.files["mnist_test_seq.npy"] = content
    with pytest.raises(FileNotFoundError, match="pass download=True to fetch it"):
        load_moving_mnist()
    clips = load_moving_mnist(download=True, base_url=server.url)
    np.testing.assert_array_equal(clips[1], MovingMNIST(frames)[1])
    assert len(load_moving_mnist()) == 7
    [cached] = Path("darts_mim").rglob("*.npy")
    assert hashlib.sha256(cached.read_bytes()).hexdigest() in file.checksum


def test_files_that_are_not_the_data_set_are_refused_by_name(frames: np.ndarray) -> None:
    path = Path("mnist_test_seq.npy")
    np.save(path, frames)
    whole = path.read_bytes()
    for damaged in (b"", b"<html>", whole[:50], whole[:-1]):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"mnist_test_seq\.npy is no whole \.npy file"):
            load_moving_mnist(".")
    np.save(path, frames.astype(np.float32))
    with pytest.raises(TypeError, match=r"seq\.npy must hold bytes \(uint8\), got float32"):
        load_moving_mnist(".")
    np.save(path, frames.swapaxes(0, 1))
    with pytest.raises(
        ValueError, match=r"seq\.npy must hold frames of shape \(20, 7, 5, 6\), got"
    ):
        load_moving_mnist(".")
    np.save(path, np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"seq\.npy is no whole"):
        load_moving_mnist(".")


def test_arrays_that_are_no_sequences_are_refused() -> None:
    with pytest.raises(TypeError, match=r"`frames` must be bytes \(uint8\), got float64"):
        MovingMNIST(np.zeros((2, 3, 4, 5)))  # type: ignore[arg-type]
    for shape in ((2, 3, 4), (2, 0, 4, 5)):
        with pytest.raises(ValueError, match=r"`frames` must have shape \(T, n, H, W\)"):
            MovingMNIST(np.zeros(shape, np.uint8))
