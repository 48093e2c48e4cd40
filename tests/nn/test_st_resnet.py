"""ST-ResNet: its equations, its gradients, what it reads of the past, and what it refuses."""

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from darts_mim.nn import FedFrame, Inputs, STResNetNetwork
from darts_mim.nn.history import fill_in_time
from tests import references
from tests.nn.small import far, gradients_of, random, randomise

B, C, H, W = 2, 2, 5, 4
PLANES, SCALARS = 3, 2
LAGS = {"closeness": 3, "period": 1, "trend": 1, "period_length": 3, "trend_length": 5}
OPTIONS: dict[str, dict[str, Any]] = {
    "the paper's branches": {},
    "several frames of each": {"closeness": 2, "period": 2, "trend": 2},
    "closeness alone": {"period": 0, "trend": 0},
    "no period": {"closeness": 1, "period": 0},
    "a period of one step": {"period_length": 1, "trend": 0},
    "a trend of more steps than are computed at once": {"period": 0, "trend_length": 11},
    "no residual units": {"residual_units": 0},
    "two residual units": {"residual_units": 2},
    "larger kernels": {"kernel_size": 5},
    "tanh": {"tanh": True},
}


def make_network(**options: Any) -> Any:
    """Return a network in float64 whose parameters are all random."""
    torch.manual_seed(0)
    options = {**LAGS, "hidden_channels": 3, "residual_units": 1, **options}
    sizes = [options.pop(name, size) for name, size in (("height", H), ("width", W))]
    return randomise(STResNetNetwork(C, *sizes, **options))


def make_oracle(network: Any, options: dict[str, Any]) -> references.STResNet:
    lags = {**LAGS, **options}
    branches = {
        "closeness": (lags["closeness"], 1),
        "period": (lags["period"], lags["period_length"]),
        "trend": (lags["trend"], lags["trend_length"]),
    }
    return references.STResNet(
        {name: p.detach().numpy() for name, p in network.named_parameters()},
        {name: each for name, each in branches.items() if each[0]},
        options.get("residual_units", 1),
        tanh=options.get("tanh", False),
    )


def make_inputs(steps: int) -> Inputs:
    return Inputs(
        planes=random(B, steps, PLANES - 1, H, W, seed=3),
        constants=random(B, 1, H, W, seed=4),
        scalars=random(B, steps, SCALARS, seed=5),
    )


READS = {"plane_channels": PLANES, "scalar_channels": SCALARS, "external_units": 4}


def error_of(predicted: Tensor, expected: np.ndarray) -> float:
    assert predicted.shape == expected.shape
    return float(np.abs(predicted.detach().numpy() - expected).max() / np.abs(expected).max())


# --- the equations ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIONS)
def test_the_network_equals_its_equations_written_out(name: str) -> None:
    network = make_network(**OPTIONS[name])
    context = random(B, 11, C, H, W)
    frames, state = network(context, horizon=13)  # longer than any period and trend
    assert state is None
    oracle = make_oracle(network, OPTIONS[name])
    for sequence, predicted in zip(context, frames, strict=True):
        assert error_of(predicted, oracle.forecast(sequence.numpy(), horizon=13)) <= 1e-10


@pytest.mark.parametrize("name", ["the paper's branches", "several frames of each", "tanh"])
def test_what_belongs_to_the_predicted_frame_enters_the_equations(name: str) -> None:
    network = make_network(**READS, **OPTIONS[name])
    context, horizon = random(B, 10, C, H, W), 6
    inputs = make_inputs(10 + horizon - 1)
    frames, _ = network(context, horizon, inputs=inputs)
    oracle = make_oracle(network, OPTIONS[name])
    for b in range(B):
        fields = [inputs.at(t).planes[b].numpy() for t in range(10 + horizon - 1)]
        expected = oracle.forecast(
            context[b].numpy(), horizon, scalars=inputs.scalars[b].numpy(), planes=np.array(fields)
        )
        assert error_of(frames[b], expected) <= 1e-10


def test_gaps_are_filled_in_time_and_flags_tell_of_them() -> None:
    network = make_network(reads_observed=True)
    context, horizon = random(B, 7, C, H, W), 6
    observed = random(B, 7, C, H, W, seed=6) < 0.6
    observed[:, :, 1, 2, 3] = False  # a cell of which nothing is known
    frames, _ = network(
        context,
        horizon,
        observed=observed,
        feed_back=lambda frame, _: FedFrame(frame, torch.zeros((), dtype=torch.bool)),
    )
    oracle = make_oracle(network, {})
    for sequence, known, predicted in zip(context, observed, frames, strict=True):
        filled = fill_by_hand(sequence.numpy(), known.numpy())
        expected = oracle.forecast(filled, horizon, flags=known.double().numpy())
        assert error_of(predicted, expected) <= 1e-10


def fill_by_hand(frames: np.ndarray, known: np.ndarray) -> np.ndarray:
    filled = frames.copy()
    for cell in np.ndindex(*frames.shape[1:]):
        times = [t for t in range(len(frames)) if known[(t, *cell)]]
        for t in range(len(frames)):
            before = [each for each in times if each <= t]
            after = [each for each in times if each > t]
            if times:
                filled[(t, *cell)] = frames[(before[-1] if before else after[0], *cell)]
    return filled


@pytest.mark.parametrize("length", [1, 2, 3, 8, 13])
def test_a_value_that_is_not_known_is_the_last_known_one(length: int) -> None:
    frames, known = random(B, length, C, H, W), random(B, length, C, H, W, seed=7) < 0.3
    for sequence, is_known, filled in zip(frames, known, fill_in_time(frames, known), strict=True):
        np.testing.assert_array_equal(filled, fill_by_hand(sequence.numpy(), is_known.numpy()))


def test_a_mask_that_stays_leaves_nothing_to_fill() -> None:
    frames, mask = random(B, 7, C, H, W), random(B, 1, C, H, W) < 0.5
    assert fill_in_time(frames, mask.expand_as(frames)) is frames


def test_recomputation_changes_neither_frames_nor_gradients() -> None:
    results = []
    for recompute in (False, True):
        network = make_network(**READS, recompute=recompute)
        frames, _ = network(random(B, 5, C, H, W), horizon=4, inputs=make_inputs(8))
        frames.square().sum().backward()
        assert all(p.grad.abs().sum() > 0 for p in network.parameters())
        results.append((frames, gradients_of(network)))
    for one, other in zip(*results, strict=True):
        assert far(one, other) < 1e-12


# --- what it reads ------------------------------------------------------------------------------


def test_nothing_is_remembered_between_calls() -> None:
    network = make_network()
    context, other = random(3, 5, C, H, W), random(5, 9, C, H, W, seed=8)
    first, _ = network(context, horizon=7)
    network(other, horizon=1)
    alone, _ = network(context[1:2], horizon=3)
    assert torch.allclose(first[1:2, :3], alone, rtol=0, atol=1e-12)


def test_true_frames_of_the_horizon_are_read_where_it_is_said() -> None:
    network, horizon = make_network(), 5
    frames = random(B, 5 + horizon, C, H, W)
    context, future = frames[:, :5], frames[:, 5:]
    feed_true = torch.zeros(B, 5 + horizon - 2, dtype=torch.bool)
    feed_true[0, 4:] = True  # of the context nothing is asked
    free, _ = network(context, horizon)
    mixed, _ = network(context, horizon, future=future, feed_true=feed_true)
    assert torch.allclose(mixed[1], free[1], rtol=0, atol=1e-12)
    for h in range(horizon):
        [[expected]], _ = network(frames[:1, : 5 + h], horizon=1)
        assert torch.allclose(mixed[0, h], expected, rtol=0, atol=1e-12)


def test_values_of_true_frames_that_are_not_known_are_its_own() -> None:
    network, horizon = make_network(), 3
    frames = random(1, 5 + horizon, C, H, W)
    observed = torch.ones_like(frames, dtype=torch.bool)
    observed[:, 5, :, 2:] = False
    fed, _ = network(
        frames[:, :5],
        horizon,
        future=frames[:, 5:],
        feed_true=torch.ones(1, 5 + horizon - 2, dtype=torch.bool),
        observed=observed,
    )
    by_hand = frames.clone()
    by_hand[:, 5, :, 2:] = fed[:, 0, :, 2:]
    for h in range(horizon):
        expected, _ = network(by_hand[:, : 5 + h], horizon=1)
        assert torch.allclose(fed[:, h], expected[:, 0], rtol=0, atol=1e-12)


def test_what_is_fed_back_is_made_of_each_prediction_but_the_last() -> None:
    network = make_network(out_channels=2 * C)
    made: list[Tensor] = []
    told: list[int] = []

    def feed_back(prediction: Tensor, step: int) -> FedFrame:
        made.append(prediction)
        told.append(step)
        return FedFrame(prediction[:, :C])

    frames, _ = network(random(B, 5, C, H, W), 4, feed_back=feed_back)
    assert frames.shape == (B, 4, 2 * C, H, W)
    assert torch.equal(torch.stack(made, dim=1), frames[:, :-1])
    assert told == [5, 6, 7]


def test_frames_leave_autocast_in_full_precision() -> None:
    network = make_network(**READS).float()
    inputs = Inputs(*(each.float() for each in make_inputs(6)))
    with torch.autocast("cpu", torch.bfloat16):
        frames, _ = network(random(B, 5, C, H, W).float(), 2, inputs=inputs)
    assert frames.dtype == torch.float32


# --- what it refuses ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"closeness": 0}, ValueError, "`closeness` must be at least 1, got 0"),
        ({"trend": 1.5}, TypeError, "`trend` must be an integer of at least 0, got 1.5"),
        ({"hidden_channels": (4, 4)}, TypeError, "`hidden_channels` must be an integer"),
        ({"kernel_size": 4}, ValueError, "`kernel_size` must be odd"),
        ({"tanh": "yes"}, TypeError, "`tanh` must be True or False, got 'yes'"),
        ({"height": 0}, ValueError, "`height` must be at least 1, got 0"),
    ],
)
def test_options_out_of_range_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        make_network(**options)


@pytest.mark.parametrize(
    ("options", "length", "message"),
    [
        ({}, 4, "at least 5, so that .* (trend=1 x trend_length=5), got 4; .* `trend_length`"),
        ({"period": 2}, 5, "at least 6, so that .* (period=2 x period_length=3), got 5"),
        ({"closeness": 7}, 6, "at least 7, so that .* (closeness=7), got 6; .* `closeness`"),
    ],
)
def test_a_context_that_does_not_reach_back_is_refused(
    options: dict[str, Any], length: int, message: str
) -> None:
    pattern = re.escape("`context` must be " + message).replace(r"\.\*", ".*")
    with pytest.raises(ValueError, match=pattern):
        make_network(**options)(random(B, length, C, H, W), 1)


def test_frames_of_another_grid_are_refused() -> None:
    with pytest.raises(ValueError, match=r"frames of 5x4 cells, as each .* got 4x5; build"):
        make_network()(random(B, 5, C, W, H), 1)
