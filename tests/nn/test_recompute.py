"""Recomputing the activations of a step changes memory and time, and nothing else."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts_mim.nn import FedFrame, Inputs, MIMNetwork, StepInputs, unroll
from tests.nn.small import NETWORKS, far, gradients_of, joined, make_network, random

B, LENGTH, HORIZON, C, H, W = 2, 3, 4, 2, 5, 7
STEPS = LENGTH + HORIZON - 1
SAMPLED = {
    "future": random(B, HORIZON, C, H, W),
    "feed_true": random(B, LENGTH + HORIZON - 2, seed=6) < 0.5,
    "observed": random(B, LENGTH + HORIZON, C, H, W, seed=7) < 0.5,
}


def first_channels(prediction: Tensor, _: int) -> FedFrame:
    frame = prediction[:, :C].tanh()
    return FedFrame(frame, torch.zeros_like(frame, dtype=torch.bool))


# options of a network, and of its call
CASES: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    **{name: (name, {}, {}) for name in NETWORKS},
    "without layer normalisation": ("MIM", {"layer_norm": False}, {}),
    "sampling and missing values": ("MIM", {}, SAMPLED),
    "dropout": ("MIM", {"dropout": nn.Dropout(0.4)}, {}),
    "parameters of a distribution": (
        "MIM",
        {"out_channels": 2 * C, "reads_observed": True},
        {**SAMPLED, "feed_back": first_channels},
    ),
    "covariates": (
        "MIM",
        {"plane_channels": 3, "scalar_channels": 2},
        {
            "inputs": Inputs(
                random(B, STEPS, 2, H, W, seed=3),
                random(B, 1, H, W, seed=4),
                random(B, STEPS, 2, seed=5),
            )
        },
    ),
}


def train(case: str, recompute: bool) -> dict[str, Tensor]:
    """Return frames, gradients, and the state of the random generator after a step."""
    name, options, call = CASES[case]
    network = make_network(name, **options, recompute=recompute)
    context = random(B, LENGTH, C, H, W, seed=8).requires_grad_()
    _, before = network(context[:, :1], 1, **_first_inputs(call))
    frames, state = network(context, HORIZON, **call, state=before)
    (frames.square().mean() + sum(layer.c.mean() for layer in state.layers)).backward()
    return {
        "frames": frames.detach(),
        "weights": gradients_of(network),
        "context": context.grad,
        "random": torch.get_rng_state(),
    }


def _first_inputs(call: dict[str, Any]) -> dict[str, Any]:
    kept = {name: call[name] for name in ("feed_back",) if name in call}
    if "inputs" in call:
        planes, constants, scalars = call["inputs"]
        kept["inputs"] = Inputs(planes[:, :1], constants, scalars[:, :1])
    return kept


@pytest.mark.parametrize("case", CASES)
def test_frames_gradients_and_random_state_are_those_of_the_plain_network(case: str) -> None:
    plain, recomputed = (train(case, recompute) for recompute in (False, True))
    assert torch.equal(plain.pop("random"), recomputed.pop("random"))
    for key, value in plain.items():
        assert far(recomputed[key], value) < 1e-12, key  # gradients add up in another order


@pytest.mark.parametrize("dropout", [None, nn.Dropout(0.4)])
def test_autocast_is_that_of_the_forward_pass(dropout: nn.Module | None) -> None:
    results = []
    for recompute in (False, True):
        network = make_network(recompute=recompute, fast_path=False, dropout=dropout).float()
        with torch.autocast("cpu", torch.bfloat16):
            frames, _ = network(random(B, LENGTH, C, H, W).float(), HORIZON)
        frames.square().mean().backward()
        results.append({"frames": frames.detach(), "weights": gradients_of(network)})
    assert far(joined(results[1]), joined(results[0])) < 1e-5  # without autocast it is 1e-2


def test_each_step_but_the_last_is_computed_twice_in_training_and_once_in_a_forecast() -> None:
    network, calls = make_network(recompute=True), []
    step = network.step
    network.step = lambda *args: calls.append(args) or step(*args)
    frames, _ = network(random(B, LENGTH, C, H, W), HORIZON)
    frames.sum().backward()
    assert len(calls) == 2 * STEPS - 1
    with torch.no_grad():
        network(random(B, LENGTH, C, H, W), HORIZON)
    assert len(calls) == 3 * STEPS - 1


def test_what_a_step_draws_at_random_is_drawn_alike_again() -> None:
    def step(frame: Tensor, state: None, _: StepInputs) -> tuple[Tensor, None]:
        return (weight * nn.functional.dropout(frame, 0.5)).tanh(), state

    gradients = []
    for recompute in (False, True):
        torch.manual_seed(3)
        weight = random(C, H, W, seed=9).requires_grad_()
        frames, _ = unroll(step, random(B, LENGTH, C, H, W), HORIZON, recompute=recompute)
        gradients += torch.autograd.grad(frames.sum(), weight)
    assert far(*gradients) < 1e-12


def test_of_ten_steps_the_activations_of_one_are_kept() -> None:
    kept = []
    for recompute in (False, True):
        network = MIMNetwork(1, (4, 4), kernel_size=3, recompute=recompute)
        sizes: dict[int, int] = {}

        def note(tensor: Tensor, sizes: dict[int, int] = sizes) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            network(torch.rand(2, 5, 1, 16, 12), horizon=6)
        kept.append(sum(sizes.values()))
    assert kept[1] < 0.2 * kept[0]
