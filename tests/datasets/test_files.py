"""A file of a data set is found, checked or fetched whole, and errors say what to do."""

import hashlib
from pathlib import Path

import pytest

from darts_mim.datasets import load_mnist_digits
from darts_mim.datasets.files import chosen, fetch_file, find_file

CONTENT = bytes(range(256)) * 2000
CHECKSUM = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"
FILE = Path("data/set/a.bin")


def test_a_file_is_fetched_whole_and_checked_or_not_at_all(server: str) -> None:
    served = Path("served/a.bin")
    served.write_bytes(CONTENT[:-1] + b"?")
    with pytest.raises(ValueError, match=r"a\.bin"):
        fetch_file(FILE, CHECKSUM, server)
    assert not list(Path("data").rglob("*.*"))
    served.write_bytes(CONTENT)
    for _ in range(2):  # the second time it is there
        fetch_file(FILE, CHECKSUM, f"{server}/")
        assert FILE.read_bytes() == CONTENT
        served.unlink(missing_ok=True)
    with pytest.raises(OSError, match=r"404 .*b\.bin"):
        fetch_file(FILE.with_name("b.bin"), CHECKSUM, server)
    assert [path.name for path in Path("data/set").iterdir()] == ["a.bin"]


def test_a_file_of_the_user_is_checked_and_never_replaced(server: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file /.*data/set/a\.bin; ask the makers"):
        find_file(FILE, "ask the makers")
    FILE.parent.mkdir(parents=True)
    FILE.write_bytes(b"mine")
    assert find_file(FILE, "ask the makers") == FILE
    Path("served/a.bin").write_bytes(CONTENT)
    with pytest.raises(ValueError, match=r"a\.bin must be the published file .* remove it"):
        fetch_file(FILE, CHECKSUM, server)
    assert FILE.read_bytes() == b"mine"


def test_parts_are_chosen_once_and_in_order() -> None:
    assert chosen("years", None, (2013, 2014)) == [2013, 2014]
    assert chosen("years", 2014, (2013, 2014)) == [2014]
    assert chosen("actions", "b", "abc") == ["b"]
    for wrong in ([], 2017, [2013, 2017], "2013"):
        with pytest.raises(ValueError, match=r"`years` must be some of \[2013, 2014\], got"):
            chosen("years", wrong, (2013, 2014))


def test_real_digits_are_fetched_and_those_that_are_published(
    shared_data: Path, server: str
) -> None:
    name = "t10k-images-idx3-ubyte.gz"
    real = shared_data / "mnist" / name
    if not real.is_file():
        pytest.skip(f"no real digits at {real}")
    Path("served", name).write_bytes(real.read_bytes())
    digits = load_mnist_digits("digits", "test", download=True, base_url=server)
    assert digits.shape == (10_000, 28, 28)
