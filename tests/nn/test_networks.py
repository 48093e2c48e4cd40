"""What holds for every recurrent network: its equations, its gradients, and no trace of a call."""

from typing import Any

import numpy as np
import pytest
import torch

from darts_mim.nn import MIMNetwork
from tests.nn.small import NETWORKS, far, gradients_of, make_network, random

ROUNDING = 1e-12  # of sums in float64 whose order is left to PyTorch, by the size of the result
ALL = pytest.mark.parametrize("name", NETWORKS)
KINDS = pytest.mark.parametrize("name", ["ConvLSTM", "PredRNN", "PredRNN++", "MIM"])
NORMS = pytest.mark.parametrize("layer_norm", [True, False])


# --- the equations ------------------------------------------------------------------------------


@NORMS
@ALL
@pytest.mark.parametrize("widths", [(3, 2, 4), (3, 3)])
def test_a_network_equals_its_equations_written_out(
    name: str, layer_norm: bool, widths: tuple[int, ...]
) -> None:
    network = make_network(name, widths=widths, layer_norm=layer_norm)
    context = random(2, 3, 2, 5, 4)
    frames, _ = network(context, horizon=3)
    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    _, oracle_type, units = NETWORKS[name]
    units = {unit.removesuffix("_unit"): False for unit in units}
    oracle = oracle_type(parameters, widths, patch_size=2, **units)
    for sequence, predicted in zip(context, frames, strict=True):
        expected = oracle.forecast(sequence.numpy(), horizon=3)
        error = np.abs(predicted.detach().numpy() - expected).max() / np.abs(expected).max()
        assert error <= 1e-10


@KINDS
def test_gradients_do_not_explode_with_the_number_of_frames(name: str) -> None:
    norms = []
    for length in (3, 19):
        torch.manual_seed(0)
        network = NETWORKS[name][0](1, (8, 8, 8, 8), kernel_size=3, patch_size=4)
        clip = (torch.rand(2, length, 1, 32, 32) > 0.9).float()
        frames, _ = network(clip, horizon=1)
        torch.nn.functional.mse_loss(frames[:, :-1], clip[:, 1:]).backward()
        norms.append(gradients_of(network).norm())
    assert norms[1] < 30 * norms[0]


# for the convolutions that have forget gates: how many gates there are, and which forget
FORGET_GATES = {
    "ConvLSTM": {f"cells.{level}.from_input": (4, {2}) for level in (0, 1)},
    "PredRNN": {f"cells.{level}.from_input": (7, {2, 6}) for level in (0, 1)},
    "PredRNN++": {f"cells.{level}.from_input": (7, {2, 5}) for level in (0, 1)},
    "MIM": {
        "bottom.from_input": (7, {2, 6}),
        "blocks.0.from_input": (6, {5}),
        "blocks.0.nonstationary.from_difference": (4, {2}),
        "blocks.0.stationary.from_difference": (4, {2}),
    },
}


@NORMS
@KINDS
def test_forget_bias_shifts_the_initial_forget_gates_alone(name: str, layer_norm: bool) -> None:
    networks = []
    for bias in (0.0, 1.5):
        torch.manual_seed(0)
        options = {"kernel_size": 3, "layer_norm": layer_norm, "forget_bias": bias}
        networks.append(dict(NETWORKS[name][0](1, (2, 3), **options).named_parameters()))
    layer = "norm" if layer_norm else "convolution"
    gates = {f"{part}.{layer}.bias": each for part, each in FORGET_GATES[name].items()}
    for parameter, before in networks[0].items():
        shift = networks[1][parameter] - before
        n_gates, forget = gates.get(parameter, (1, set()))
        means = [gate.mean().item() for gate in shift.chunk(n_gates)]
        assert means == pytest.approx([1.5 * (gate in forget) for gate in range(n_gates)])


def test_equal_widths_need_no_parameters_on_the_memory_path() -> None:
    names = [name for name, _ in make_network(widths=(3, 3, 3)).named_parameters()]
    assert not any(name.startswith("memory_paths") for name in names)
    names = [name for name, _ in make_network(widths=(3, 3, 2)).named_parameters()]
    assert {name.split(".")[1] for name in names if name.startswith("memory_paths")} == {"0", "2"}


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


# --- any size, any length, no state -------------------------------------------------------------


@ALL
def test_unrolling_equals_stepping_by_hand(name: str) -> None:
    network = make_network(name)
    context = random(2, 3, 2, 5, 4)
    frames, last = network(context, horizon=4)
    by_hand, state, prediction = [], None, None
    for t in range(6):
        prediction, state = network.step(context[:, t] if t < 3 else prediction, state)
        by_hand.append(prediction)
    assert far(frames, torch.stack(by_hand, dim=1)) < ROUNDING
    assert far(last.layers[-1].h, state.layers[-1].h) < ROUNDING


@ALL
def test_a_state_that_is_carried_on_continues_the_forecast(name: str) -> None:
    network = make_network(name)
    context = random(2, 3, 2, 5, 4)
    whole, _ = network(context, horizon=5)
    first, state = network(context, horizon=2)
    rest, _ = network(first[:, -1:], horizon=3, state=state)
    assert far(torch.cat([first, rest], dim=1), whole) < ROUNDING
    with pytest.raises(ValueError, match=r"`state.layers\[0\].h` must have .* \(1, 3, 3, 2\)"):
        network(context[:1], horizon=1, state=state)


@ALL
def test_nothing_is_remembered_between_calls(name: str) -> None:
    network = make_network(name)
    context, other = random(3, 3, 2, 5, 4), random(5, 2, 2, 6, 3)
    first, _ = network(context, horizon=3)
    network(other, horizon=1)
    again, _ = network(context.flip(0), horizon=3)
    alone, _ = network(context[1:2], horizon=2)
    assert far(again.flip(0), first) < ROUNDING
    assert far(alone, first[1:2, :-1]) < ROUNDING


# --- which frames are fed -----------------------------------------------------------------------


def test_each_sequence_is_fed_its_own_choice_of_frames() -> None:
    network, clip = make_network(), random(2, 7, 2, 5, 4)
    choice = torch.tensor([[True, False, True, False, True], [False, True, False, True, False]])
    together, _ = network(clip[:, :3], 4, future=clip[:, 3:], feed_true=choice)
    for b in range(2):
        one = slice(b, b + 1)
        alone, _ = network(clip[one, :3], 4, future=clip[one, 3:], feed_true=choice[one])
        assert far(together[one], alone) < ROUNDING
    assert far(together, network(clip[:, :3], 4)[0]) > 1e-3


# --- precision ----------------------------------------------------------------------------------


def test_autocast_leaves_frames_in_full_precision_and_near_it() -> None:
    torch.manual_seed(0)
    network = MIMNetwork(1, (8, 8), kernel_size=3, patch_size=4)
    context = torch.rand(2, 4, 1, 16, 12)
    full, _ = network(context, horizon=3)
    with torch.autocast("cpu", torch.bfloat16):
        mixed, state = network(context, horizon=3)
    assert mixed.dtype == torch.float32
    assert state.layers[1].c.dtype == torch.float32
    assert 0 < far(mixed, full) < 0.05


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu() -> None:
    network, context = make_network(), random(2, 3, 2, 10, 8)
    on_cpu, _ = network(context, horizon=3)
    on_gpu, _ = network.cuda()(context.cuda(), horizon=3)
    assert far(on_gpu.cpu(), on_cpu) < 1e-9


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"in_channels": 0}, ValueError, "`in_channels` must be at least 1, got 0"),
        ({"hidden_channels": (8,)}, ValueError, r"`hidden_channels` .* at least two .*\(8,\)"),
        ({"hidden_channels": (8, 0)}, ValueError, "`hidden_channels` must be at least 1, got 0"),
        ({"hidden_channels": 64}, TypeError, "`hidden_channels` must give the channels"),
        ({"kernel_size": 4}, ValueError, "`kernel_size` must be odd.*got 4; use 3 or 5"),
        ({"kernel_size": "3"}, TypeError, "`kernel_size` must be an integer .*, got '3'"),
        ({"patch_size": 0}, ValueError, "`patch_size` must be at least 1, got 0"),
        ({"layer_norm": "no"}, TypeError, "`layer_norm` must be True or False, got 'no'"),
        ({"fast_path": 2}, TypeError, "`fast_path` must be True or False, got 2"),
        ({"forget_bias": float("inf")}, ValueError, "`forget_bias` must be finite"),
        ({"plane_channels": -1}, ValueError, "`plane_channels` must be at least 0, got -1"),
        (
            {"nonstationary_unit": False, "stationary_unit": False},
            ValueError,
            "cannot both be False: the paper's ablations",
        ),
    ],
)
def test_options_out_of_their_range_are_refused(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        MIMNetwork(**{"in_channels": 1, "hidden_channels": (2, 2), **options})


CLIP = random(2, 7, 2, 5, 4)
EVERYTHING = torch.ones(2, 5, dtype=torch.bool)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ({"context": CLIP[:, 0]}, r"`context` must have the shape \(B, T, 2, H, W\)"),
        ({"context": CLIP[:, :3, :1]}, r"`context` must have the shape \(B, T, 2, H, W\)"),
        ({"context": CLIP[:, :0]}, r"`context` must have the shape \(B, T, 2, H, W\)"),
        ({"context": CLIP[..., :1]}, r"`patch_size=2` is larger than the 5x1 grid"),
        ({"horizon": 0}, "`horizon` must be at least 1, got 0"),
        ({"future": CLIP[:, 4:]}, r"`future` must have the shape \(2, 4, 2, 5, 4\)"),
        (
            {"future": CLIP[:, 3:], "feed_true": EVERYTHING[:1]},
            r"`feed_true` must have the shape \(2, 5\)",
        ),
        ({"feed_true": EVERYTHING}, "`feed_true` needs the true frames of the horizon"),
        ({"observed": CLIP[:, :3, :1] > 0}, r"`observed` must have the shape \(2, 3, 2, 5, 4\)"),
    ],
)
def test_calls_that_do_not_fit_are_refused(call: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_network()(**{"context": CLIP[:, :3], "horizon": 4, **call})


def test_a_prediction_of_other_channels_needs_to_be_made_a_frame() -> None:
    with pytest.raises(ValueError, match="`feed_back` is needed to make a frame of 2 channels"):
        make_network(out_channels=4)(CLIP, 1)
