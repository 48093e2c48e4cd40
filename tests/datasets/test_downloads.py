"""A file of a data set is found, checked or fetched whole, and errors say what to do."""

import errno
import sys
from pathlib import Path

import pytest

from darts_mim.datasets import load_mnist_digits, load_moving_mnist
from darts_mim.datasets.downloads import cache_folder, check_file, find_file
from tests.datasets.file_server import FileServer, published

CONTENT = bytes(range(256)) * 2000


@pytest.fixture
def folder() -> Path:
    return Path("data") / "set"


def held(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*")]


def test_a_file_is_fetched_once_and_lies_in_the_folder(server: FileServer, folder: Path) -> None:
    file = published("a.bin", CONTENT, server.url + "/")
    server.files["a.bin"] = CONTENT
    for _ in range(2):
        assert find_file(file, folder, download=True) == folder / "a.bin"
        assert (folder / "a.bin").read_bytes() == CONTENT
    assert server.requests == ["/a.bin"]
    assert find_file(file, folder) == folder / "a.bin"
    assert held(folder) == ["a.bin"]


def test_a_mirror_takes_the_place_of_the_publisher(server: FileServer, folder: Path) -> None:
    server.files["mirror/a.bin"] = CONTENT
    for base_url in ("http://127.0.0.1:9", None):
        file = published("a.bin", CONTENT, base_url)
        path = find_file(file, folder, download=True, base_url=f"{server.url}/mirror")
        assert path.read_bytes() == CONTENT
        path.unlink()


def test_another_file_than_the_published_one_is_not_kept(server: FileServer, folder: Path) -> None:
    file = published("a.bin", CONTENT, server.url)
    server.files["a.bin"] = CONTENT[:-1] + b"?"
    with pytest.raises(ValueError, match=r"/a\.bin is not the file that .* nothing was kept"):
        find_file(file, folder, download=True)
    assert held(folder) == []


def test_a_transfer_that_breaks_off_leaves_nothing_and_may_succeed_later(
    server: FileServer, folder: Path
) -> None:
    file = published("a.bin", CONTENT, server.url)
    server.files["a.bin"], server.cut = CONTENT, 100_000
    with pytest.raises(ConnectionError, match=r"a\.bin could not be fetched .* try again, pass"):
        find_file(file, folder, download=True)
    assert held(folder) == []
    server.cut = None
    assert find_file(file, folder, download=True).read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_said_to_be_so(server: FileServer, folder: Path) -> None:
    file = published("a.bin", CONTENT, server.url)
    with pytest.raises(ConnectionError, match=r"could not be fetched \(404 .*set/a\.bin"):
        find_file(file, folder, download=True)
    assert held(folder) == []


def test_a_server_that_does_not_answer_is_named(folder: Path) -> None:
    file = published("a.bin", CONTENT, "http://127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"http://127\.0\.0\.1:9/a\.bin could not be fetched"):
        find_file(file, folder, download=True)


def test_folders_that_cannot_be_are_not_blamed_on_the_server(
    server: FileServer, folder: Path
) -> None:
    Path("data").write_text("a file where a folder should be")
    file = published("a.bin", CONTENT, server.url)
    with pytest.raises(OSError, match=r"`root`: the folder /.*set cannot be made .* pass another"):
        find_file(file, folder, download=True)
    assert server.requests == []


def test_a_full_disk_is_not_blamed_on_the_server(
    server: FileServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def move(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pooch.core.shutil.move", move)
    server.files["a.bin"] = CONTENT
    with pytest.raises(OSError, match=r"a\.bin cannot be written \(.*No space left.*make room"):
        find_file(published("a.bin", CONTENT, server.url), folder, download=True)
    assert held(folder) == []


def test_without_download_the_error_says_path_flag_and_address(folder: Path) -> None:
    file = published("a.bin", CONTENT, "http://example.org/set")
    with pytest.raises(
        FileNotFoundError,
        match=r"no file /.*data/set/a\.bin; pass download=True to fetch it from "
        r"http://example\.org/set/a\.bin, put it there",
    ):
        find_file(file, folder)
    unoffered = published("a.bin", CONTENT, None)
    with pytest.raises(FileNotFoundError, match=r"a\.bin; ask the makers, or correct `root`$"):
        find_file(unoffered, folder, remedy="ask the makers")
    with pytest.raises(ValueError, match="not offered where a program can fetch it; pass `base_"):
        find_file(unoffered, folder, download=True)


def test_a_file_of_the_user_is_never_replaced(server: FileServer, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "a.bin").write_bytes(b"mine")
    server.files["a.bin"] = CONTENT
    file = published("a.bin", CONTENT, server.url)
    assert find_file(file, folder).read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"a\.bin is not the file .* of 4 bytes; .* remove it"):
        find_file(file, folder, download=True)
    assert (folder / "a.bin").read_bytes() == b"mine"
    assert server.requests == []


def test_checksums_are_compared(folder: Path) -> None:
    folder.mkdir(parents=True)
    path = folder / "a.bin"
    path.write_bytes(CONTENT)
    check_file(published("a.bin", CONTENT, None), path)
    with pytest.raises(ValueError, match=r"a\.bin is not the file that is published: expected sha"):
        check_file(published("a.bin", CONTENT[1:], None), path)


def test_without_pooch_the_error_names_the_extra(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pooch", None)
    for ask in (
        lambda: find_file(published("a", b"", "http://127.0.0.1:9"), folder, download=True),
        load_moving_mnist,
        lambda: load_mnist_digits(folder, download=True),
    ):
        with pytest.raises(ImportError, match=r"pip install 'darts-mim\[datasets\]'"):
            ask()


def test_the_cache_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path.cwd()))
    assert cache_folder("kth").parts[-2:] == ("darts_mim", "kth")


def test_mnist_is_fetched_from_the_address_that_is_told(server: FileServer, folder: Path) -> None:
    server.files["train-images-idx3-ubyte.gz"] = b"other digits"
    with pytest.raises(ValueError, match="expected md5 f68b3c2dcbeaaa9fbdd348bbdeb94873"):
        load_mnist_digits(folder, download=True, base_url=server.url)
    assert server.requests == ["/train-images-idx3-ubyte.gz"]
    assert held(folder) == []


def test_real_digits_are_those_that_are_published(
    shared_data: Path, server: FileServer, folder: Path
) -> None:
    name = "t10k-images-idx3-ubyte.gz"
    real = shared_data / "mnist" / name
    if not real.is_file():
        pytest.skip(f"no real digits at {real}")
    server.files[name] = real.read_bytes()
    digits = load_mnist_digits(folder, "test", download=True, base_url=server.url)
    assert digits.shape == (10_000, 28, 28)
    load_mnist_digits(folder, "test", download=True, base_url="http://127.0.0.1:9")
