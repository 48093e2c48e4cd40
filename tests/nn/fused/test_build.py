"""The kernels in C are built once, kept where nobody else may write, and loaded if whole."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from darts_mim.nn.fused import build, library_cache
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.library_cache import cache_folder, find_library, keep_library

# writes a library in no time; it is no library, so that loading it is an error
FAST_COMPILER = """#!/bin/sh
[ "$1" = --version ] && exit 0
echo built >> "{log}"; sleep {seconds}
while [ "$1" != -o ]; do shift; done
echo "no library" > "$2"
exit {status}
"""


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Return an empty cache of the test's own, whose folder does not exist yet."""
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "cache"))
    kernel_library.cache_clear()
    yield tmp_path / "cache"
    kernel_library.cache_clear()


@pytest.fixture
def library(cache: Path) -> Path:
    """Return the path of a library that is in the cache."""
    cache.mkdir(mode=0o700)
    made = cache / "made"
    made.write_bytes(bytes(range(256)) * 100)
    return keep_library(made, cache, "kernels-a")


def use_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: int = 0, seconds: float = 0
) -> Path:
    """Let a script compile, and return where it notes its runs."""
    compiler, log = tmp_path / "compiler", tmp_path / "log"
    compiler.write_text(FAST_COMPILER.format(log=log, status=status, seconds=seconds))
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    log.touch()
    return log


def n_builds(log: Path) -> int:
    return len(log.read_text().splitlines())


# --- what may be loaded -------------------------------------------------------------------------


def test_a_library_that_was_kept_is_found(cache: Path, library: Path) -> None:
    assert find_library(cache, "kernels-a") == library
    assert find_library(cache, "kernels-b") is None
    assert list(cache.iterdir()) == [library]


@pytest.mark.parametrize("size", [0, 100, 25_599])
def test_a_truncated_library_is_not_loaded(cache: Path, library: Path, size: int) -> None:
    os.truncate(library, size)
    assert find_library(cache, "kernels-a") is None


def test_a_library_with_a_flipped_bit_is_not_loaded(cache: Path, library: Path) -> None:
    content = bytearray(library.read_bytes())
    content[1234] ^= 1
    library.write_bytes(content)
    assert find_library(cache, "kernels-a") is None


def test_a_library_that_others_may_write_to_is_not_loaded(cache: Path, library: Path) -> None:
    library.chmod(0o722)
    assert find_library(cache, "kernels-a") is None


def test_a_symbolic_link_is_not_loaded(cache: Path, library: Path, tmp_path: Path) -> None:
    library.rename(tmp_path / "elsewhere")
    library.symlink_to(tmp_path / "elsewhere")
    assert find_library(cache, "kernels-a") is None


def test_a_library_of_another_user_is_not_loaded(
    cache: Path, library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.getuid() == 0:
        os.chown(library, 12345, -1)
    else:
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    assert find_library(cache, "kernels-a") is None


@pytest.mark.parametrize("part", ["far/between/cache", "far/between", "far"])
def test_a_folder_that_others_may_write_to_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "far/between/cache"))
    (tmp_path / "far/between/cache").mkdir(mode=0o700, parents=True)
    (tmp_path / part).chmod(0o777)
    with pytest.raises(CannotBuildError, match=r"others may write to .*DARTS_MIM_CACHE names"):
        kernel_library()


def test_a_sticky_parent_is_as_good_as_any(cache: Path) -> None:
    cache.parent.chmod(0o1777)
    assert library_cache.trusted_folder() == cache.resolve()
    cache.chmod(0o1777)
    with pytest.raises(PermissionError, match="others may write to"):
        library_cache.trusted_folder()


@pytest.mark.skipif(os.getuid() != 0, reason="gives folders to another user")
def test_a_folder_of_another_user_is_refused(cache: Path) -> None:
    cache.mkdir(mode=0o700)
    os.chown(cache, 12345, -1)
    with pytest.raises(CannotBuildError, match="belongs to another user"):
        kernel_library()


# --- how it is built ----------------------------------------------------------------------------


@pytest.mark.slow
def test_a_damaged_library_is_built_anew_and_its_end_kills_nobody(cache: Path) -> None:
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")
    (made,) = cache.glob("*.so")
    content = made.read_bytes()
    os.truncate(made, 8192)
    code = "from darts_mim.nn.fused.build import kernel_library as k; print(k().winograd_panel())"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(run.stdout) in (8, 16, 32)
    (again,) = cache.glob("*.so")
    assert len(again.read_bytes()) == len(content)


def test_of_several_that_build_at_once_one_does(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = use_compiler(monkeypatch, tmp_path, seconds=0.5), library_cache.trusted_folder()
    command = [str(tmp_path / "compiler")]
    with ThreadPoolExecutor(8) as pool:  # the lock is of an open file: threads are like processes
        jobs = [pool.submit(build._library, command, folder) for _ in range(8)]
        assert {job.result() for job in jobs} == set(cache.glob("*.so"))
    assert n_builds(log) == 1
    assert list(cache.glob("*.unfinished")) == []


def test_a_build_that_failed_is_not_tried_again_for_an_hour(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use_compiler(monkeypatch, tmp_path, status=3)
    for _ in range(3):
        with pytest.raises(CannotBuildError, match=r"compiler'? failed: exit status 3"):
            kernel_library()
    assert n_builds(log) == 1
    (note,) = cache.glob("*.failed")
    an_hour_ago = time.time() - 3601
    os.utime(note, (an_hour_ago, an_hour_ago))
    with pytest.raises(CannotBuildError, match="failed"):
        kernel_library()
    assert n_builds(log) == 2


def test_a_build_that_takes_too_long_counts_as_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use_compiler(monkeypatch, tmp_path, seconds=1)
    monkeypatch.setattr(build, "MOST_SECONDS_OF_A_BUILD", 0.3)
    for _ in range(2):
        with pytest.raises(CannotBuildError, match=r"more than 0\.3 seconds"):
            kernel_library()
    assert n_builds(log) == 1


def test_who_waits_too_long_goes_on_without(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = use_compiler(monkeypatch, tmp_path)
    monkeypatch.setattr(build, "MOST_SECONDS_OF_WAITING", 0.1)
    with (
        library_cache.locked(library_cache.trusted_folder(), 1),
        pytest.raises(CannotBuildError, match=r"another process has been building .* 0\.1 seconds"),
    ):
        kernel_library()
    assert n_builds(log) == 0


def test_a_compiler_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'cannot do that' >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(CannotBuildError, match=r"compiler'? failed: cannot do that"):
        kernel_library()


def test_a_library_that_cannot_be_loaded_is_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_compiler(monkeypatch, tmp_path)
    with pytest.raises(CannotBuildError, match="cannot be built, kept or loaded"):
        kernel_library()


def test_a_cache_that_cannot_be_written_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CannotBuildError, match=r"cannot be built, kept or loaded .*file"):
        kernel_library()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("DARTS_MIM_CACHE", "/a", "/a"), ("XDG_CACHE_HOME", "/b", "/b/darts_mim")],
)
def test_the_cache_lies_where_users_expect_it(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.delenv("DARTS_MIM_CACHE", raising=False)
    monkeypatch.setenv(name, value)
    assert cache_folder().as_posix() == expected
