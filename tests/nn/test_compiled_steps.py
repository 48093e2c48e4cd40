"""Compiled steps, the fast path on a GPU, as far as a CPU can tell."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from darts_mim.nn import ConvLSTMNetwork, MIMNetwork, compiled_steps, fast_path
from darts_mim.nn.compiled_steps import compiled_step
from tests.nn.small import far, gradients_of

# PyTorch's compiler uses what PyTorch itself calls deprecated, and looks at gradients of states
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Let steps be compiled without machine code; return how often each of them was."""
    counts: list[int] = []
    compile_as_it_is: Callable[..., Any] = torch.compile

    def compile_function(function: Any, **_: Any) -> Any:
        number = len(counts)
        counts.append(0)

        def backend(graph: Any, _: Any) -> Any:
            counts[number] += 1
            return graph

        return compile_as_it_is(function, dynamic=False, backend=backend)

    monkeypatch.setattr(torch, "compile", compile_function)
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: None)
    # as on a GPU
    monkeypatch.setattr(fast_path, "_on_cpu", lambda network, *_: fast_path._on_gpu(network))
    monkeypatch.setattr(fast_path, "cannot_compile", lambda: None)
    yield counts
    compiled_steps._compiled.cache_clear()


def train(network: Any, clip: torch.Tensor, asked: bool | None) -> tuple[Any, Any]:
    network.fast_path = asked
    network.zero_grad()
    torch.manual_seed(0)
    frames, state = network(clip[:, :3], 2)
    (frames.square().mean() + state.layers[-1].c.mean()).backward()
    return frames, gradients_of(network)


@pytest.mark.slow
@pytest.mark.parametrize("network_type", [MIMNetwork, ConvLSTMNetwork])
def test_they_are_compiled_once_for_a_kind_of_call_and_agree(
    compiled: list[int], network_type: Any
) -> None:
    torch.manual_seed(0)
    network = network_type(1, (4, 3), kernel_size=3, patch_size=2)
    clip = torch.rand(3, 3, 1, 10, 14)
    for frames in (clip, clip[:2], clip):
        results = [train(network, frames, asked) for asked in (True, False)]
        assert far(results[0][0], results[1][0]) < 1e-5
        assert far(results[0][1], results[1][1]) < 1e-5
    network.fast_path = True
    with torch.no_grad():
        network(clip, 2)
    # for two sizes and for forecasts; the first step has no state, and the last reads predictions
    assert set(compiled) == {1}
    assert len(compiled) <= 12


def test_on_a_gpu_they_have_to_be_asked_for(compiled: list[int]) -> None:
    network, clip = MIMNetwork(1, (3, 4), kernel_size=1), torch.rand(1, 2, 1, 64, 64)
    assert fast_path.fast_path_of(network, clip) is None
    network.fast_path = True
    assert fast_path.fast_path_of(network, clip) is compiled_step
    network.recompute = True
    assert fast_path.fast_path_of(network, clip) is None
    assert compiled == []


@pytest.mark.gpu
def test_on_a_gpu_they_agree_with_the_plain_path() -> None:
    torch.manual_seed(0)
    network, clip = MIMNetwork(1, (8, 6), patch_size=2).cuda(), torch.rand(2, 3, 1, 16, 24).cuda()
    for _ in range(4):
        results = [train(network, clip, asked) for asked in (True, False)]
        assert far(results[0][0], results[1][0]) < 1e-3
        assert far(results[0][1], results[1][1]) < 1e-2
