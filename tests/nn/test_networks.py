"""What holds for every recurrent network: its equations, its gradients, and no trace of a call."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from darts_mim.nn import ConvLSTMNetwork, MIMNetwork, PredRNNNetwork, PredRNNPlusPlusNetwork
from tests import references

NETWORKS: dict[str, tuple[Any, Any]] = {
    "ConvLSTM": (ConvLSTMNetwork, references.ConvLSTM),
    "PredRNN": (PredRNNNetwork, references.PredRNN),
    "PredRNN++": (PredRNNPlusPlusNetwork, references.PredRNNPlusPlus),
    "MIM": (MIMNetwork, references.MIM),
}


def make_network(
    name: str, in_channels: int = 2, widths: tuple[int, ...] = (3, 2, 4), **options: Any
) -> Any:
    """Return a network in float64 whose parameters are all random, biases and gains too."""
    torch.manual_seed(0)
    options = {"kernel_size": 3, "patch_size": 2, **options}
    network = NETWORKS[name][0](in_channels, widths, **options)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def random_frames(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("widths", [(3, 2, 4), (3, 3), (4, 2)])
def test_a_network_equals_its_equations_written_out(
    name: str, layer_norm: bool, widths: tuple[int, ...]
) -> None:
    network = make_network(name, widths=widths, layer_norm=layer_norm)
    context = random_frames(2, 3, 2, 5, 4)
    frames, _ = network(context, horizon=3)
    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    oracle = NETWORKS[name][1](parameters, widths, patch_size=2)
    for sequence, predicted in zip(context, frames, strict=True):
        expected = oracle.forecast(sequence.numpy(), horizon=3)
        error = np.abs(predicted.detach().numpy() - expected).max() / np.abs(expected).max()
        assert error <= 1e-10


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_do_not_explode_with_the_number_of_frames(name: str) -> None:
    norms = []
    for length in (3, 19):
        torch.manual_seed(0)
        network = NETWORKS[name][0](1, (8, 8, 8, 8), kernel_size=3, patch_size=4)
        clip = (torch.rand(2, length, 1, 32, 32) > 0.9).float()
        frames, _ = network(clip, horizon=1)
        torch.nn.functional.mse_loss(frames[:, :-1], clip[:, 1:]).backward()
        norms.append(sum(p.grad.square().sum() for p in network.parameters()).sqrt())
    assert norms[1] < 30 * norms[0]


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_equal_finite_differences(name: str, layer_norm: bool) -> None:
    network = make_network(name, 1, (2, 3), patch_size=1, layer_norm=layer_norm)
    names = [each for each, _ in network.named_parameters()]

    def forecast(context: torch.Tensor, *parameters: torch.Tensor) -> torch.Tensor:
        frames: torch.Tensor = functional_call(
            network, dict(zip(names, parameters, strict=True)), (context, 2)
        )[0]
        return frames

    inputs = (
        random_frames(1, 2, 1, 3, 2).requires_grad_(),
        *(p.detach().clone().requires_grad_() for p in network.parameters()),
    )
    assert torch.autograd.gradcheck(forecast, inputs, fast_mode=True)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_parameter_gets_a_gradient(name: str) -> None:
    network = make_network(name)
    frames, _ = network(random_frames(1, 3, 2, 5, 4), horizon=2)
    frames.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("name", NETWORKS)
def test_recomputation_changes_neither_frames_nor_gradients(name: str) -> None:
    results = []
    for recompute in (False, True):
        network = make_network(name, recompute=recompute)
        frames, _ = network(random_frames(1, 3, 2, 5, 4), horizon=3)
        frames.square().sum().backward()
        results.append([frames, *(p.grad for p in network.parameters())])
    for one, other in zip(*results, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)  # gradients add up in other order


@pytest.mark.parametrize("name", NETWORKS)
def test_a_state_that_is_carried_on_continues_the_forecast(name: str) -> None:
    network = make_network(name)
    context = random_frames(2, 3, 2, 5, 4)
    whole, _ = network(context, horizon=5)
    first, state = network(context, horizon=2)
    rest, _ = network(first[:, -1:], horizon=3, state=state)
    assert torch.allclose(whole, torch.cat([first, rest], dim=1), rtol=0, atol=1e-12)
    with pytest.raises(ValueError, match=r"`state.layers\[0\].h` must have .* \(1, 3, 3, 2\)"):
        network(context[:1], horizon=1, state=state)


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_remembered_between_calls(name: str) -> None:
    network = make_network(name)
    context, other = random_frames(3, 3, 2, 5, 4), torch.rand(5, 2, 2, 6, 3, dtype=torch.float64)
    first, _ = network(context, horizon=3)
    network(other, horizon=1)
    alone, _ = network(context[1:2], horizon=3)
    assert torch.allclose(first[1:2], alone, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NETWORKS)
def test_forget_bias_shifts_the_initial_forget_gates(name: str) -> None:
    networks = {}
    for bias in (0.0, 1.5):
        torch.manual_seed(0)
        networks[bias] = NETWORKS[name][0](1, (2, 3), kernel_size=3, forget_bias=bias)
    shifts = [
        (other - one).sum().item()
        for one, other in zip(networks[0.0].parameters(), networks[1.5].parameters(), strict=True)
    ]
    # a shift in each of 2 and 3 channels: of f, and of f' where there is a second memory; MIM's
    # second layer has f' and the gates of its two units
    expected = {"ConvLSTM": 2 + 3, "PredRNN": 2 * 5, "PredRNN++": 2 * 5, "MIM": 2 * 2 + 3 * 3}
    assert sum(shifts) == pytest.approx(1.5 * expected[name], rel=1e-5)


@pytest.mark.parametrize("name", NETWORKS)
def test_dropout_thins_a_network_for_a_whole_sequence(name: str) -> None:
    network = make_network(name, widths=(8, 8), dropout=torch.nn.Dropout(0.5))
    context = random_frames(1, 3, 2, 5, 4)
    torch.manual_seed(0)
    thinned, state = network(context, horizon=4)
    assert [mask.shape for mask in state.dropout_masks] == [(1, 8, 1, 1)] * 2
    assert not torch.allclose(thinned, network.eval()(context, horizon=4)[0])
    by_hand, prediction = [], None
    torch.manual_seed(0)
    network.train()
    state = None
    for t in range(6):
        prediction, state = network.step(context[:, t] if t < 3 else prediction, state)
        by_hand.append(prediction)
    assert torch.equal(thinned, torch.stack(by_hand, dim=1))


# OpenSTL's model zoo, Moving MNIST, 4 x 128 channels, 5x5 kernels, patches of 4, in millions; and
# what of it no equation has: convolutions of 2 C to C channels, 5x5 and 1x1, that its cells make
# and do not use
PUBLISHED = {
    "ConvLSTM": (15.0, 4 * 2 * 128**2 * (25 + 1)),
    "PredRNN": (23.8, 0),
    "PredRNN++": (38.6, 4 * 2 * 128**2 * 25),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_number_of_parameters_is_the_published_one(name: str) -> None:
    with torch.device("meta"):
        network = NETWORKS[name][0](1, (128,) * 4, patch_size=4, layer_norm=False)
    millions, unused = PUBLISHED[name]
    number = sum(parameter.numel() for parameter in network.parameters())
    assert number + unused == pytest.approx(millions * 1e6, rel=0.02)
