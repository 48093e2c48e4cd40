"""Operations and memory are counted as torch does and holds them."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from torch.utils.flop_counter import FlopCounterMode

from darts_mim.nn import MIMNetwork
from darts_mim.nn.costs import CostMeter


def loss_of(network: nn.Module) -> Tensor:
    loss: Tensor = network(torch.rand(3, 2, 2, 5, 6), horizon=2)[0].square().sum()
    return loss


def test_operations_are_those_of_torch_s_own_counter() -> None:
    network = MIMNetwork(2, (4, 3), kernel_size=3, patch_size=2, fast_path=False)
    with FlopCounterMode(display=False) as counter:
        loss_of(network).backward()
    with CostMeter() as meter:
        loss_of(network).backward()
    assert meter.flops == counter.get_total_flops() > 0


def test_memory_is_held_until_its_last_tensor_is_gone() -> None:
    with CostMeter() as meter:
        x = torch.zeros(10, 100)  # 4,000 bytes
        part = x[:, :3].T
        y = x + 1
        assert meter.held == 8_000
        del x
        part += 1  # in place
        assert meter.held == 8_000
        del part, y
        assert meter.held == 0


@pytest.mark.parametrize("recompute", [False, True])
def test_what_is_held_after_the_forward_pass_is_what_the_backward_pass_needs(
    recompute: bool,
) -> None:
    layers = nn.Sequential(nn.Tanh(), nn.Sigmoid(), nn.Tanh())
    x = torch.zeros(5, 7, requires_grad=True)  # 140 bytes, as each result
    with CostMeter() as meter:
        y = checkpoint(layers, x, use_reentrant=False) if recompute else layers(x)
        assert meter.held == (1 if recompute else 3) * 140
        y.backward(x)
        del y
        assert meter.held == 140  # the gradient
