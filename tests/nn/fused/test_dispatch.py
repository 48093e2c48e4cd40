"""Who takes the fast path, who does not, and what is said about it."""

import logging
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from darts_mim.nn import ConvLSTMNetwork, MIMNetwork
from darts_mim.nn.fused import build, dispatch
from darts_mim.nn.fused.build import CannotBuildError, cache_folder, kernel_library

CLIP = torch.rand(2, 3, 1, 64, 128)


@pytest.fixture(autouse=True)
def _forget():
    """Let each test find out anew."""

    def forget():
        for cached in (kernel_library, dispatch._built_kernels, dispatch._log_once):
            cached.cache_clear()

    forget()
    yield
    forget()


def network_of(**options):
    torch.manual_seed(0)
    return MIMNetwork(1, (3, 4), kernel_size=1, patch_size=2, **options)


def takes_fast_path(network, clip=CLIP):
    return dispatch.fast_path_of(network, clip, n_steps=4) is not None


def reasons(caplog):
    return [record.getMessage() for record in caplog.records if record.name == dispatch.__name__]


@pytest.fixture
def _buildable():
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.mark.usefixtures("_buildable")
def test_it_is_the_default(caplog):
    caplog.set_level(logging.INFO)
    assert takes_fast_path(network_of())
    assert takes_fast_path(network_of(fast_path=True))
    assert not takes_fast_path(network_of(fast_path=False))
    assert reasons(caplog) == []


@pytest.mark.usefixtures("_buildable")
def test_small_states_take_it_only_when_asked(caplog):
    caplog.set_level(logging.INFO)
    assert takes_fast_path(network_of(), CLIP[..., 1:])  # 127 columns are 64 patches
    assert not takes_fast_path(network_of(), CLIP[..., 2:])
    assert takes_fast_path(network_of(fast_path=True), CLIP[..., :8, :8])
    assert takes_fast_path(network_of(), CLIP[:1])


def test_without_a_compiler_the_plain_path_is_taken_and_said_once(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("CC", "no-such-compiler -x")
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO)
    network = network_of()
    frames, _ = network(CLIP, 3)
    network(CLIP, 3)
    network.fast_path = False
    assert torch.equal(frames, network(CLIP, 3)[0])
    (reason,) = reasons(caplog)
    assert "there is no C compiler 'no-such-compiler'; install one, or name it" in reason
    assert caplog.records[-1].levelno == logging.WARNING  # there is something to be done


def test_a_compiler_that_fails_is_quoted(monkeypatch, tmp_path):
    compiler = tmp_path / "compiler"
    compiler.write_text("#!/bin/sh\necho 'cannot do that' >&2\nexit 3\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "cache"))
    with pytest.raises(CannotBuildError, match=r"compiler'? failed: cannot do that"):
        kernel_library()
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_cache_that_cannot_be_written_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CannotBuildError, match=r"cannot be built, kept or loaded .*file"):
        kernel_library()


@pytest.mark.usefixtures("_buildable")
def test_a_library_that_is_damaged_is_made_anew(monkeypatch, tmp_path):
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path))
    kernel_library.cache_clear()
    tmp_path.chmod(0o700)
    kernel_library()
    (made,) = tmp_path.iterdir()
    made.unlink()
    made.write_bytes(b"half a library")
    kernel_library.cache_clear()
    kernel_library()


def test_a_folder_that_others_may_write_to_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path))
    tmp_path.chmod(0o777)
    with pytest.raises(CannotBuildError, match=r"others may write to .*DARTS_MIM_CACHE names"):
        kernel_library()


@pytest.mark.parametrize("compiler", ['"', "cc '"])
def test_a_compiler_s_name_that_cannot_be_read_is_an_answer(monkeypatch, compiler):
    monkeypatch.setenv("CC", compiler)
    with pytest.raises(CannotBuildError, match="No closing quotation"):
        kernel_library()


def test_a_library_that_is_broken_is_no_error_of_the_network(monkeypatch, tmp_path, caplog):
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path))
    monkeypatch.setattr(build, "_compile", lambda _, path: path.write_text("no library"))
    caplog.set_level(logging.INFO)
    network_of()(CLIP, 2)
    (reason,) = reasons(caplog)
    assert "cannot be built, kept or loaded" in reason


@pytest.mark.usefixtures("_buildable")
def test_it_is_built_once_also_by_several_at_a_time(monkeypatch, tmp_path):
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path / "kernels"))
    code = "from darts_mim.nn.fused.build import kernel_library as k; k()"
    with ThreadPoolExecutor(2) as pool:
        for run in [pool.submit(subprocess.run, [sys.executable, "-c", code]) for _ in range(2)]:
            assert run.result().returncode == 0
    (made,) = cache_folder().iterdir()
    changed = made.stat().st_mtime_ns
    kernel_library.cache_clear()
    kernel_library()
    assert (made.stat().st_mtime_ns, list(cache_folder().iterdir())) == (changed, [made])


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [("DARTS_MIM_CACHE", "/a", "/a"), ("XDG_CACHE_HOME", "/b", "/b/darts_mim")],
)
def test_the_cache_lies_where_users_expect_it(monkeypatch, name, value, expected):
    monkeypatch.delenv("DARTS_MIM_CACHE", raising=False)
    monkeypatch.setenv(name, value)
    assert cache_folder().as_posix() == expected


def test_double_precision_takes_the_plain_path(caplog):
    caplog.set_level(logging.INFO)
    assert not takes_fast_path(network_of().double(), CLIP.double())
    (reason,) = reasons(caplog)
    assert "weights and frames of type float32" in reason


def test_half_precision_on_a_cpu_takes_the_plain_path(caplog):
    caplog.set_level(logging.INFO)
    with torch.autocast("cpu", torch.float16):
        assert not takes_fast_path(network_of())
    assert "no fast path in torch.float16 on a CPU" in reasons(caplog)[0]


def test_asked_for_in_vain_it_warns(caplog):
    assert not takes_fast_path(network_of(fast_path=True).double(), CLIP.double())
    (record,) = [each for each in caplog.records if each.name == dispatch.__name__]
    assert record.levelname == "WARNING"


def changed(change):
    network = network_of()
    change(network.blocks[0].from_hidden)
    return network


CHANGES = {
    "another padding": lambda part: setattr(part.convolution, "padding_mode", "circular"),
    "another stride": lambda part: setattr(part.convolution, "stride", (2, 2)),
    "another norm": lambda part: setattr(part, "norm", torch.nn.BatchNorm2d(12)),
    "several groups": lambda part: setattr(part, "norm", torch.nn.GroupNorm(3, 12)),
    "a norm without gain": lambda part: setattr(
        part, "norm", torch.nn.GroupNorm(1, 12, affine=False)
    ),
    "a hook": lambda part: part.convolution.register_forward_hook(lambda *_: None),
    "weights that a hook makes": lambda part: torch.nn.utils.spectral_norm(part.convolution),
    "weights that are computed": lambda part: torch.nn.utils.parametrizations.weight_norm(
        part.convolution
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_layer_that_was_changed_takes_the_plain_path(name, caplog):
    caplog.set_level(logging.INFO)
    assert not takes_fast_path(changed(CHANGES[name]))
    assert "was changed, or has hooks" in reasons(caplog)[0]


def test_half_of_the_weights_in_another_type_takes_the_plain_path():
    assert not takes_fast_path(changed(lambda part: part.norm.bfloat16()))


def test_very_wide_layers_take_the_plain_path(caplog):
    caplog.set_level(logging.INFO)
    assert not takes_fast_path(MIMNetwork(1, (2, 2**12), kernel_size=1))
    assert "too wide" in reasons(caplog)[0]


def test_transformed_networks_take_the_plain_path(caplog):
    caplog.set_level(logging.INFO)
    network = network_of()
    weights = dict(network.named_parameters())

    def loss(weights):
        return torch.func.functional_call(network, weights, (CLIP, 1))[0].mean()

    gradients = torch.func.grad(loss)(weights)
    network.fast_path = False
    loss(weights).backward()
    torch.testing.assert_close(gradients, {n: w.grad for n, w in weights.items()})
    assert "transformed by torch.func" in reasons(caplog)[0]


def test_other_networks_go_their_plain_way():
    frames, _ = ConvLSTMNetwork(1, (3,), kernel_size=3, fast_path=True)(CLIP, 2)
    assert frames.shape == (2, 4, 1, 64, 128)


@pytest.mark.parametrize("fast_path", ["yes", 2])
def test_the_option_is_checked(fast_path):
    with pytest.raises(TypeError, match="`fast_path` must be"):
        network_of(fast_path=fast_path)
