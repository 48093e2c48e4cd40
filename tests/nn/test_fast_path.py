"""Who takes the fast path, who does not, and what is said about it."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts_mim.nn import ConvLSTMNetwork, MIMNetwork, fast_path
from darts_mim.nn.fast_path import fast_path_of
from darts_mim.nn.fused.build import CannotBuildError, kernel_library

CLIP = torch.rand(2, 3, 1, 64, 128)


CACHES: tuple[Any, ...] = (kernel_library, fast_path._built_kernels, fast_path._log_once)


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    """Let each test find out anew."""
    for cached in CACHES:
        cached.cache_clear()
    yield
    for cached in CACHES:
        cached.cache_clear()


@pytest.fixture
def _buildable() -> None:
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


def network_of(**options: Any) -> MIMNetwork:
    torch.manual_seed(0)
    return MIMNetwork(1, (3, 4), kernel_size=1, patch_size=2, **options)


def takes_fast_path(network: Any, clip: Tensor = CLIP) -> bool:
    return fast_path_of(network, clip) is not None


def reasons(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == fast_path.__name__]


@pytest.mark.usefixtures("_buildable")
def test_it_is_the_default_and_decided_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    network = network_of()
    assert takes_fast_path(network)
    assert takes_fast_path(network_of(fast_path=True))
    assert not takes_fast_path(network_of(fast_path=False))
    assert reasons(caplog) == []
    monkeypatch.setattr(fast_path, "_decide", lambda *_: pytest.fail("decided again"))
    assert takes_fast_path(network, CLIP[:1])


@pytest.mark.usefixtures("_buildable")
def test_small_states_take_it_only_when_asked() -> None:
    assert takes_fast_path(network_of(), CLIP[..., 1:])  # 127 columns are 64 patches
    assert not takes_fast_path(network_of(), CLIP[..., 2:])
    assert takes_fast_path(network_of(fast_path=True), CLIP[..., :8, :8])
    assert takes_fast_path(network_of(), CLIP[:1])


def test_without_a_compiler_the_plain_cells_are_used_and_it_is_said_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler -x")
    monkeypatch.setenv("DARTS_MIM_CACHE", str(tmp_path))
    caplog.set_level(logging.INFO)
    network = network_of()
    frames, _ = network(CLIP, 3)
    network_of()(CLIP, 3)
    network.fast_path = False
    assert torch.equal(frames, network(CLIP, 3)[0])
    (reason,) = reasons(caplog)
    assert "there is no C compiler 'no-such-compiler'; install one, or name it" in reason
    assert caplog.records[-1].levelno == logging.WARNING  # the user can act on it


@pytest.mark.parametrize("asked", [None, True])
def test_double_precision_takes_the_plain_path(
    asked: bool | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    assert not takes_fast_path(network_of(fast_path=asked).double(), CLIP.double())
    (record,) = [each for each in caplog.records if each.name == fast_path.__name__]
    assert "weights and frames of type float32" in record.getMessage()
    assert record.levelname == ("WARNING" if asked else "INFO")


def test_half_precision_on_a_cpu_takes_the_plain_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with torch.autocast("cpu", torch.float16):
        assert not takes_fast_path(network_of())
    assert "no fast path in torch.float16 on a CPU" in reasons(caplog)[0]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "another padding": lambda part: setattr(part.convolution, "padding_mode", "circular"),
    "another stride": lambda part: setattr(part.convolution, "stride", (2, 2)),
    "another norm": lambda part: setattr(part, "norm", nn.BatchNorm2d(12)),
    "several groups": lambda part: setattr(part, "norm", nn.GroupNorm(3, 12)),
    "a norm without gain": lambda part: setattr(part, "norm", nn.GroupNorm(1, 12, affine=False)),
    "a hook": lambda part: part.convolution.register_forward_hook(lambda *_: None),
    "weights that a hook makes": lambda part: nn.utils.spectral_norm(part.convolution),
    "weights that are computed": lambda part: nn.utils.parametrizations.weight_norm(
        part.convolution
    ),
}
LATER = ("another norm", "a hook", "weights that a hook makes", "weights that are computed")


@pytest.mark.parametrize(
    ("name", "was_called"),
    [*((name, False) for name in CHANGES), *((name, True) for name in LATER)],
)
def test_a_layer_that_was_changed_takes_the_plain_path(
    name: str, was_called: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    network = network_of()
    if was_called:
        takes_fast_path(network)
    CHANGES[name](network.blocks[0].from_hidden)
    assert not takes_fast_path(network)
    assert "was changed, or has hooks" in reasons(caplog)[-1]


def test_weights_of_another_type_take_the_plain_path() -> None:
    network = network_of()
    takes_fast_path(network)
    network.blocks[0].from_hidden.norm.bfloat16()
    assert not takes_fast_path(network)


def test_very_wide_layers_take_the_plain_path(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(fast_path, "MOST_CHANNELS", 11)  # 3 gates of 4 channels are side by side
    assert not takes_fast_path(network_of())
    assert "too wide" in reasons(caplog)[0]


def test_transformed_networks_take_the_plain_path(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    network = network_of()
    weights = dict(network.named_parameters())

    def loss(weights: dict[str, Tensor]) -> Tensor:
        call = torch.func.functional_call(network, weights, (CLIP, 1))
        mean: Tensor = call[0].mean()
        return mean

    gradients = torch.func.grad(loss)(weights)
    network.fast_path = False
    loss(weights).backward()
    torch.testing.assert_close(gradients, {n: w.grad for n, w in weights.items()})
    assert "transformed by torch.func" in reasons(caplog)[0]


def test_networks_whose_operations_are_counted_take_the_plain_path() -> None:
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        network_of(fast_path=True)(CLIP, 1)
    assert counter.get_total_flops() > 0


def test_other_networks_use_the_plain_cells() -> None:
    frames, _ = ConvLSTMNetwork(1, (3,), kernel_size=3, fast_path=True)(CLIP, 2)
    assert frames.shape == (2, 4, 1, 64, 128)


def test_a_network_is_not_kept_alive_by_what_is_remembered_of_it() -> None:
    n_before = len(fast_path._DECISIONS)
    network = network_of(fast_path=True)
    network(CLIP[..., :8, :8], 1)
    assert len(fast_path._DECISIONS) == n_before + 1
    del network
    assert len(fast_path._DECISIONS) == n_before
