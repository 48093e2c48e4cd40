"""Recomputing the activations of a step changes memory and time, and nothing else."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from darts_mim.nn import FedFrame, Inputs, MIMNetwork, StepInputs, unroll
from darts_mim.nn.costs import CostMeter

B, LENGTH, HORIZON, C, H, W = 2, 3, 4, 2, 5, 7
STEPS = LENGTH + HORIZON - 1
PLANES, CONSTANTS, SCALARS = 3, 1, 2


def random(*shape: int, seed: int = 2) -> Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def is_chosen(*shape: int, seed: int = 6) -> Tensor:
    return random(*shape, seed=seed) < 0.5


def make_network(**options: Any) -> MIMNetwork:
    torch.manual_seed(0)
    options = {"in_channels": C, "hidden_channels": (3, 2, 4), "patch_size": 2, **options}
    network = MIMNetwork(kernel_size=3, **options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape))
    return network.double()


def first_channels(prediction: Tensor) -> FedFrame:
    frame = prediction[:, :C].tanh()
    return FedFrame(frame, torch.zeros_like(frame, dtype=torch.bool))


class Case(NamedTuple):
    """Options of a network, and what it is called with besides context and horizon."""

    network: dict[str, Any]
    call: dict[str, Any]


SAMPLED = {"future": random(B, HORIZON, C, H, W), "feed_true": is_chosen(B, LENGTH + HORIZON - 2)}
CASES = {
    "both units": Case({}, {}),
    "without MIM-N": Case({"nonstationary_unit": False}, {}),
    "without MIM-S": Case({"stationary_unit": False}, {}),
    "without layer normalisation": Case({"layer_norm": False}, {}),
    "equal widths": Case({"hidden_channels": (3, 3)}, {}),
    "no patches": Case({"patch_size": 1}, {}),
    "scheduled sampling": Case({}, SAMPLED),
    "missing values": Case({}, {"observed": is_chosen(B, LENGTH, C, H, W)}),
    "a carried state": Case({}, {"state": "carried"}),
    "dropout": Case({"dropout": nn.Dropout(0.4)}, {}),
    "parameters of a distribution": Case(
        {"out_channels": 2 * C, "reads_observed": True}, {**SAMPLED, "feed_back": first_channels}
    ),
    "covariates": Case(
        {"plane_channels": PLANES + CONSTANTS, "scalar_channels": SCALARS},
        {
            "inputs": Inputs(
                random(B, STEPS, PLANES, H, W, seed=3),
                random(B, CONSTANTS, H, W, seed=4),
                random(B, STEPS, SCALARS, seed=5),
            )
        },
    ),
}


def train(case: Case, recompute: bool, autocast: bool = False) -> dict[str, Tensor]:
    """Return outputs, gradients, and the state of the random generator after a step."""
    network = make_network(**case.network, recompute=recompute)
    context = random(B, LENGTH, C, H, W, seed=8).requires_grad_()
    call = dict(case.call)
    if "state" in call:
        call["state"] = network.step(context[:, 0])[1]
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        if autocast:
            network = network.float()
            context = context.detach().float().requires_grad_()
        frames, state = network(context, HORIZON, **call)
        loss = (frames**2).mean() + state.m.mean() + sum(layer.c.mean() for layer in state.layers)
    loss.backward()
    gradients = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    result = {"frames": frames, "context": context.grad, "random": torch.get_rng_state()}
    return {**gradients, **{name: value for name, value in result.items() if value is not None}}


@pytest.mark.parametrize("name", CASES)
def test_outputs_gradients_and_random_state_are_those_of_the_plain_network(name: str) -> None:
    plain, recomputed = (train(CASES[name], recompute) for recompute in (False, True))
    assert plain.keys() == recomputed.keys()
    assert len(plain) > 20
    for key, value in plain.items():
        assert torch.equal(value, recomputed[key]), key


@pytest.mark.parametrize("name", ["both units", "dropout"])
def test_autocast_is_that_of_the_forward_pass(name: str) -> None:
    case = CASES[name]._replace(network={**CASES[name].network, "fast_path": False})
    plain, recomputed = (train(case, recompute, autocast=True) for recompute in (False, True))
    for key, value in plain.items():
        assert torch.equal(value, recomputed[key]), key
    exact = train(CASES[name], recompute=False)
    assert not torch.equal(exact["frames"].float(), plain["frames"])


def count_steps(network: MIMNetwork, run: Callable[[MIMNetwork], Any]) -> int:
    calls = 0
    step = network.step

    def counted(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        return step(*args)

    network.step = counted  # type: ignore[method-assign]
    run(network)
    return calls


def forecast(network: MIMNetwork) -> Tensor:
    frames: Tensor = network(random(B, LENGTH, C, H, W), HORIZON)[0]
    return frames


@torch.no_grad()
def forecast_alone(network: MIMNetwork) -> Tensor:
    return forecast(network)


def test_each_step_but_the_last_is_computed_twice_in_training_and_once_in_a_forecast() -> None:
    network = make_network(recompute=True)
    assert count_steps(network, lambda network: forecast(network).sum().backward()) == 2 * STEPS - 1
    assert count_steps(make_network(recompute=True), forecast_alone) == STEPS
    plain = make_network()
    assert torch.equal(forecast_alone(network), forecast_alone(plain))


def test_what_a_step_draws_at_random_is_drawn_alike_again() -> None:
    def step(frame: Tensor, state: None, _: StepInputs) -> tuple[Tensor, None]:
        return (weight * nn.functional.dropout(frame, 0.5)).tanh(), state

    gradients = []
    for recompute in (False, True):
        torch.manual_seed(3)
        weight = random(C, H, W, seed=9).requires_grad_()
        frames, _ = unroll(step, random(B, LENGTH, C, H, W), HORIZON, recompute=recompute)
        gradients += torch.autograd.grad(frames.sum(), weight)
    assert torch.equal(*gradients)


@pytest.mark.parametrize(("length", "horizon"), [(1, 1), (1, 3), (2, 1)])
def test_the_shortest_rollouts_are_trained_too(length: int, horizon: int) -> None:
    losses, gradients = [], []
    for recompute in (False, True):
        network = make_network(recompute=recompute)
        losses.append(network(random(B, length, C, H, W), horizon)[0].sum())
        losses[-1].backward()
        gradients.append(network.bottom.from_input.convolution.weight.grad)
    assert torch.equal(*losses)
    assert torch.equal(*gradients)


def test_with_half_the_frames_of_the_paper_a_step_keeps_less_than_a_third() -> None:
    kept = []
    for recompute in (False, True):
        network = MIMNetwork(1, (4, 4, 4, 4), kernel_size=1, recompute=recompute)
        with CostMeter() as meter:
            loss = network(torch.rand(1, 5, 1, 6, 7), horizon=5)[0].sum()
            kept.append(meter.held)
        loss.backward()
    plain, recomputed = kept
    assert recomputed < 0.33 * plain


def test_anything_but_a_flag_is_refused() -> None:
    with pytest.raises(TypeError, match="`recompute` must be True or False, got 'steps'"):
        make_network(recompute="steps")
