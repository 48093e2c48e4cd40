from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call

from darts_mim.nn import MIMNetwork
from tests import references

UNITS = {
    "both units": {},
    "without MIM-N": {"nonstationary_unit": False},
    "without MIM-S": {"stationary_unit": False},
}


def make_network(in_channels: int = 2, widths: tuple[int, ...] = (3, 2, 4), **options: Any) -> Any:
    """Return a network in float64 whose parameters are all random, biases and gains too."""
    network = MIMNetwork(in_channels, widths, **{"kernel_size": 3, "patch_size": 2, **options})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return network.double()


def random_frames(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


# --- the equations ------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize("widths", [(3, 2, 4), (3, 3), (4, 2)])
def test_network_equals_the_equations_written_out(
    units: str, layer_norm: bool, widths: tuple[int, ...]
) -> None:
    options = UNITS[units]
    network = make_network(widths=widths, layer_norm=layer_norm, **options)
    context = random_frames(2, 3, 2, 5, 4)
    frames, _ = network(context, horizon=3)

    parameters = {name: p.detach().numpy() for name, p in network.named_parameters()}
    oracle = references.MIM(
        parameters,
        widths,
        patch_size=2,
        nonstationary=options.get("nonstationary_unit", True),
        stationary=options.get("stationary_unit", True),
    )
    for sequence, predicted in zip(context, frames, strict=True):
        expected = oracle.forecast(sequence.numpy(), horizon=3)
        error = np.abs(predicted.detach().numpy() - expected).max() / np.abs(expected).max()
        assert error <= 1e-10


@pytest.mark.parametrize("layer_norm", [True, False])
@pytest.mark.parametrize("units", UNITS)
def test_gradients_equal_finite_differences(units: str, layer_norm: bool) -> None:
    network = make_network(1, (2, 3), patch_size=1, layer_norm=layer_norm, **UNITS[units])
    names = [name for name, _ in network.named_parameters()]

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


@pytest.mark.parametrize("units", UNITS)
def test_every_parameter_gets_a_gradient(units: str) -> None:
    network = make_network(**UNITS[units])
    frames, _ = network(random_frames(1, 3, 2, 5, 4), horizon=2)
    frames.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


@pytest.mark.parametrize("layer_norm", [True, False])
def test_forget_bias_shifts_the_initial_forget_gates_alone(layer_norm: bool) -> None:
    networks = {}
    for bias in (0.0, 1.5):
        torch.manual_seed(0)
        networks[bias] = MIMNetwork(
            1, (2, 3), kernel_size=3, layer_norm=layer_norm, forget_bias=bias
        )
    before = dict(networks[0.0].named_parameters())
    shifts = {name: p - before[name] for name, p in networks[1.5].named_parameters()}
    layer = "norm" if layer_norm else "convolution"
    # gates in order: g i f o, or g i o, then the primed g i f
    gates = {
        f"bottom.from_input.{layer}.bias": [0, 0, 1.5, 0, 0, 0, 1.5],
        f"blocks.0.from_input.{layer}.bias": [0, 0, 0, 0, 0, 1.5],
        f"blocks.0.nonstationary.from_difference.{layer}.bias": [0, 0, 1.5, 0],
        f"blocks.0.stationary.from_difference.{layer}.bias": [0, 0, 1.5, 0],
    }
    assert {name for name, shift in shifts.items() if shift.abs().sum() > 0} == set(gates)
    for name, expected in gates.items():
        means = [gate.mean().item() for gate in shifts[name].chunk(len(expected))]
        assert means == pytest.approx(expected)


def test_equal_widths_need_no_parameters_on_the_memory_path() -> None:
    names = [name for name, _ in make_network(widths=(3, 3, 3)).named_parameters()]
    assert not any(name.startswith("memory_paths") for name in names)
    names = [name for name, _ in make_network(widths=(3, 3, 2)).named_parameters()]
    assert {name.split(".")[1] for name in names if name.startswith("memory_paths")} == {"0", "2"}


# --- any size, any length, no state -------------------------------------------------------------


def test_weights_of_one_resolution_run_on_another() -> None:
    network = MIMNetwork(1, (4, 4), kernel_size=3, patch_size=4)
    small, _ = network(torch.rand(1, 2, 1, 32, 32), horizon=2)
    large, _ = network(torch.rand(1, 2, 1, 64, 48), horizon=2)
    assert small.shape == (1, 3, 1, 32, 32)
    assert large.shape == (1, 3, 1, 64, 48)


def test_unrolling_equals_stepping_by_hand() -> None:
    network = make_network()
    context = random_frames(2, 3, 2, 5, 4)
    frames, last = network(context, horizon=4)
    by_hand, state, prediction = [], None, None
    for t in range(6):
        prediction, state = network.step(context[:, t] if t < 3 else prediction, state)
        by_hand.append(prediction)
    assert torch.equal(frames, torch.stack(by_hand, dim=1))
    assert torch.equal(last.m, state.m)


def test_a_state_that_is_carried_on_continues_the_forecast() -> None:
    network = make_network()
    context = random_frames(2, 3, 2, 5, 4)
    whole, _ = network(context, horizon=5)
    first, state = network(context, horizon=2)
    rest, _ = network(first[:, -1:], horizon=3, state=state)
    assert torch.allclose(whole, torch.cat([first, rest], dim=1), rtol=0, atol=1e-12)


def test_a_forecast_starts_with_any_shorter_one() -> None:
    network = make_network()
    context = random_frames(2, 3, 2, 5, 4)
    assert torch.equal(network(context, 2)[0], network(context, 6)[0][:, :4])


def test_nothing_is_remembered_between_calls() -> None:
    network = make_network()
    context, other = random_frames(3, 3, 2, 5, 4), torch.rand(5, 2, 2, 6, 3, dtype=torch.float64)
    first, _ = network(context, horizon=3)
    network(other, horizon=1)
    again, _ = network(context.flip(0), horizon=3)
    alone, _ = network(context[1:2], horizon=3)
    assert torch.allclose(first, again.flip(0), rtol=0, atol=1e-12)
    assert torch.allclose(first[1:2], alone, rtol=0, atol=1e-12)


# --- which frames are fed -----------------------------------------------------------------------


def test_feeding_every_true_frame_is_teacher_forcing() -> None:
    network = make_network()
    clip = random_frames(2, 7, 2, 5, 4)
    everything = torch.ones(2, 5, dtype=torch.bool)
    forced, _ = network(clip[:, :3], 4, future=clip[:, 3:], feed_true=everything)
    expected, _ = network(clip[:, :6], 1)
    assert torch.equal(forced, expected)


def test_feeding_no_true_frame_of_the_horizon_is_free_running() -> None:
    network = make_network()
    clip = random_frames(2, 7, 2, 5, 4)
    context_only = torch.tensor([[True, True, False, False, False]]).expand(2, -1)
    fed, _ = network(clip[:, :3], 4, future=clip[:, 3:], feed_true=context_only)
    free, _ = network(clip[:, :3], 4)
    assert torch.equal(fed, free)


def test_each_sequence_is_fed_its_own_choice_of_frames() -> None:
    network = make_network()
    clip = random_frames(2, 7, 2, 5, 4)
    choice = torch.tensor([[True, False, True, False, True], [False, True, True, True, False]])
    together, _ = network(clip[:, :3], 4, future=clip[:, 3:], feed_true=choice)
    for i in range(2):
        one = slice(i, i + 1)
        alone, _ = network(clip[one, :3], 4, future=clip[one, 3:], feed_true=choice[one])
        assert torch.allclose(together[one], alone, rtol=0, atol=1e-12)
    assert not torch.allclose(together, network(clip[:, :3], 4)[0])


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
    assert 0 < (mixed - full).abs().max() < 0.05 * full.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("autocast", [False, True], ids=["float32", "bfloat16"])
def test_the_papers_setting_takes_a_full_training_step(autocast: bool) -> None:
    if autocast and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        pytest.skip("needs a CPU with bfloat16 kernels; without, the step takes many minutes")
    network = MIMNetwork(1, (64, 64, 64, 64), kernel_size=5, patch_size=4)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    clip = torch.rand(2, 20, 1, 64, 64)  # 2 sequences of the batch of 8
    before = network.head.weight.detach().clone()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        frames, _ = network(clip[:, :10], horizon=10)
        loss = torch.nn.functional.mse_loss(frames, clip[:, 1:])
    loss.backward()
    optimizer.step()
    assert frames.shape == (2, 19, 1, 64, 64)
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)
    assert not torch.equal(before, network.head.weight)


@pytest.mark.gpu
def test_the_gpu_agrees_with_the_cpu() -> None:
    torch.manual_seed(0)
    network = MIMNetwork(2, (8, 6), kernel_size=3, patch_size=2).double()
    context = random_frames(2, 3, 2, 10, 8)
    on_cpu, _ = network(context, horizon=3)
    on_gpu, _ = network.cuda()(context.cuda(), horizon=3)
    assert torch.allclose(on_cpu, on_gpu.cpu(), rtol=0, atol=1e-9)


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"in_channels": 0}, r"`in_channels` must be at least 1, got 0"),
        ({"hidden_channels": (8,)}, r"`hidden_channels` must give at least two layers.*\(8,\)"),
        ({"hidden_channels": (8, 0)}, r"`hidden_channels` must be at least 1, got 0"),
        ({"kernel_size": 4}, r"`kernel_size` must be odd.*got 4; use 3 or 5"),
        ({"kernel_size": -1}, r"`kernel_size` must be at least 1, got -1"),
        ({"patch_size": 0}, r"`patch_size` must be at least 1, got 0"),
        ({"forget_bias": float("inf")}, r"`forget_bias` must be finite"),
        (
            {"nonstationary_unit": False, "stationary_unit": False},
            r"cannot both be False: the paper's ablations",
        ),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MIMNetwork(**{"in_channels": 1, "hidden_channels": (2, 2), **options})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"hidden_channels": 64},
            r"`hidden_channels` must give the channels of each layer, got 64",
        ),
        ({"kernel_size": "3"}, r"`kernel_size` must be an integer of at least 1, got '3'"),
        ({"patch_size": 2.0}, r"`patch_size` must be an integer of at least 1, got 2.0"),
        ({"layer_norm": "no"}, r"`layer_norm` must be True or False, got 'no'"),
        ({"forget_bias": "one"}, r"`forget_bias` must be a number, got 'one'"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        MIMNetwork(**{"in_channels": 1, "hidden_channels": (2, 2), **options})


@pytest.mark.parametrize("shape", [(2, 3, 5, 4), (2, 3, 1, 5, 4), (2, 0, 2, 5, 4)])
def test_a_context_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"`context` must have the shape \(B, T, 2, H, W\)"):
        make_network()(torch.zeros(shape, dtype=torch.float64), horizon=1)


def test_a_horizon_without_frames_is_refused() -> None:
    with pytest.raises(ValueError, match="`horizon` must be at least 1, got 0"):
        make_network()(random_frames(1, 2, 2, 5, 4), horizon=0)


def test_frames_smaller_than_a_patch_are_refused() -> None:
    with pytest.raises(ValueError, match=r"`patch_size=4` is larger than the 8x3 grid"):
        MIMNetwork(1, (2, 2), patch_size=4)(torch.zeros(1, 2, 1, 8, 3), horizon=1)


def test_what_comes_with_a_context_must_fit_it() -> None:
    network, clip = make_network(), random_frames(2, 7, 2, 5, 4)
    context, everything = clip[:, :3], torch.ones(2, 5, dtype=torch.bool)
    with pytest.raises(ValueError, match=r"`future` must have the shape \(2, 4, 2, 5, 4\)"):
        network(context, 4, future=clip[:, 4:])
    with pytest.raises(ValueError, match=r"`feed_true` must have the shape \(2, 5\)"):
        network(context, 4, future=clip[:, 3:], feed_true=everything[:1])
    with pytest.raises(ValueError, match="`feed_true` needs the true frames of the horizon"):
        network(context, 4, feed_true=everything)
    _, state = network(context[:1], 1)
    with pytest.raises(
        ValueError, match=r"`state.layers\[0\].h` must have the shape \(2, 3, 3, 2\)"
    ):
        network(context, 1, state=state)
