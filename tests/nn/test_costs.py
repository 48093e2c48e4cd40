"""What an operation costs is counted without doing it, and is what torch would allocate."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from darts_mim.nn import MIMNetwork
from darts_mim.nn.costs import drop_values, metered


def test_operations_are_those_of_torch_s_own_counter() -> None:
    def step(network: nn.Module) -> Tensor:
        loss: Tensor = network(torch.rand(3, 2, 2, 5, 6), horizon=2)[0].sum()
        return loss

    network = MIMNetwork(2, (4, 3), kernel_size=3, patch_size=2, fast_path=False)
    with FlopCounterMode(display=False) as counter:
        step(network).backward()
    with metered() as meter:
        step(drop_values(network, torch.device("cpu"))).backward()
    assert meter.flops == counter.get_total_flops() > 0


def test_memory_is_held_until_its_last_tensor_is_gone() -> None:
    with metered() as meter:
        x = torch.zeros(10, 100)  # 4,000 bytes
        part = x[:, :3].T
        assert meter.held == 4_000
        y = x + 1
        assert meter.held == 8_000
        del x
        assert meter.held == 8_000
        part += 1  # in place
        del part, y
        assert (meter.held, meter.peak) == (0, 8_000)


def test_a_product_with_a_whole_number_has_another_type_than_one_with_a_fraction() -> None:
    with metered():
        counts = torch.zeros(3, dtype=torch.int64)
        assert ((counts * 2).dtype, (counts * 2.0).dtype) == (torch.int64, torch.float32)


def test_no_large_memory_is_allocated() -> None:
    with metered() as meter:
        x = torch.zeros(10**9, 1000)
        (x * x).sum()
    assert meter.peak > 8 * 10**12


def test_checks_of_values_pass() -> None:
    with metered():
        x = torch.randn(5)
        assert bool((x > 0).all())
        assert not bool(torch.any(x < 0))
        assert (x > 0).nonzero().shape == (5, 1)
        torch.distributions.Normal(x, x)  # a scale must be positive


def test_what_has_values_keeps_them() -> None:
    state = torch.get_rng_state()
    with metered():
        assert torch.equal(state.clone(), state)
        assert torch.tensor(0.5).item() == 0.5
        torch.rand(1000)
        nn.functional.dropout(torch.rand(7), 0.5)
    assert torch.equal(torch.get_rng_state(), state)


def test_shared_parameters_stay_shared() -> None:
    with torch.device("meta"):
        first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    second.weight = first.weight
    with metered() as meter:
        drop_values(nn.Sequential(first, second), torch.device("cpu"), torch.float64)
        assert second.weight is first.weight
        assert meter.held == 8 * 16


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("fast_path", [True, False])
def test_memory_is_what_torch_allocates(fast_path: bool, recompute: bool, autocast: bool) -> None:
    def step(network: nn.Module) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = network(torch.rand(9, 3, 2, 32, 26), horizon=3)[0].sum()
        loss.backward()

    network = MIMNetwork(
        2, (5, 4), kernel_size=3, patch_size=2, recompute=recompute, fast_path=fast_path
    )
    step(network)  # what the first one does besides
    network.zero_grad()
    with torch.profiler.profile(profile_memory=True) as profiler:
        step(network)
    results = profiler.profiler.kineto_results  # type: ignore[union-attr]
    events = [event for event in results.events() if event.name() == "[memory]"]
    held = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)

    network.zero_grad()
    with metered() as meter:
        drop_values(network, torch.device("cpu"))
        weights = meter.held
        step(network)
    assert meter.peak - weights == pytest.approx(peak, rel=0.05)
