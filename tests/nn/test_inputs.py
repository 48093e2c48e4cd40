"""What networks read besides the frames: planes, constants, scalars, what was observed, dropout."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from darts_mim.nn import FedFrame, Inputs, MIMNetwork, MIMState, StepInputs, unroll
from tests.nn.small import make_network, random

B, LENGTH, HORIZON, C, H, W = 2, 3, 4, 2, 5, 7
STEPS = LENGTH + HORIZON - 1
PLANES, CONSTANTS, SCALARS = 3, 1, 2
READS = {"plane_channels": PLANES + CONSTANTS, "scalar_channels": SCALARS}


def make_inputs(planes: bool = True, constants: bool = True, scalars: bool = True) -> Inputs:
    return Inputs(
        planes=random(B, STEPS, PLANES, H, W, seed=3) if planes else None,
        constants=random(B, CONSTANTS, H, W, seed=4) if constants else None,
        scalars=random(B, STEPS, SCALARS, seed=5) if scalars else None,
    )


def stretched(network: MIMNetwork, patch_size: int, **options: Any) -> MIMNetwork:
    """Return a plain network, with the same weights, of frames that bring all inputs as channels.

    Folded into patches, a scalar's plane is p * p equal channels: the weight stands at the first
    of them, the upper left cell, which is never padding.
    """
    n_scalars = network.scalar_channels
    weights = dict(network.state_dict())
    name = "bottom.from_input.convolution.weight"
    fields, scalars = weights[name].split([weights[name].shape[1] - n_scalars, n_scalars], dim=1)
    spread = torch.zeros_like(scalars).repeat_interleave(patch_size**2, dim=1)
    spread[:, :: patch_size**2] = scalars
    weights[name] = torch.cat([fields, spread], dim=1)
    channels = fields.shape[1] // patch_size**2 + n_scalars
    plain = make_network(in_channels=channels, patch_size=patch_size, out_channels=C, **options)
    plain.load_state_dict(weights)
    return plain


# --- the network --------------------------------------------------------------------------------


@pytest.mark.parametrize("patch_size", [1, 2, 3])
@pytest.mark.parametrize("kinds", ["planes", "constants", "scalars", "planes constants scalars"])
@pytest.mark.parametrize("reads_observed", [False, True])
def test_inputs_equal_further_channels_of_the_frames(
    patch_size: int, kinds: str, reads_observed: bool
) -> None:
    given = {kind: kind in kinds for kind in ("planes", "constants", "scalars")}
    inputs = make_inputs(**given)
    network = make_network(
        patch_size=patch_size,
        plane_channels=PLANES * given["planes"] + CONSTANTS * given["constants"],
        scalar_channels=SCALARS * given["scalars"],
        reads_observed=reads_observed,
    )
    frames = random(B, STEPS, C, H, W)
    observed = random(B, STEPS, C, H, W, seed=6) < 0.7
    plain = stretched(network, patch_size)
    state, by_hand = None, None
    for t in range(STEPS):
        parts = [frames[:, t]]
        parts += [observed[:, t].double()] if reads_observed else []
        parts += [inputs.planes[:, t]] if inputs.planes is not None else []
        parts += [inputs.constants] if inputs.constants is not None else []
        if inputs.scalars is not None:
            parts += [inputs.scalars[:, t, :, None, None].expand(-1, -1, H, W)]
        expected, by_hand = plain.step(torch.cat(parts, dim=1), by_hand)
        prediction, state = network.step(frames[:, t], state, inputs.at(t, observed[:, t]))
        torch.testing.assert_close(prediction, expected, rtol=1e-10, atol=1e-12)


def test_a_network_that_reads_what_was_observed_takes_a_plain_frame_for_observed() -> None:
    network, context = make_network(reads_observed=True), random(B, LENGTH, C, H, W)
    everywhere = torch.ones(context.shape, dtype=torch.bool)
    torch.testing.assert_close(
        network(context, HORIZON)[0], network(context, HORIZON, observed=everywhere)[0]
    )


# --- dropout ------------------------------------------------------------------------------------


def test_dropout_masks_stay_for_a_sequence_and_differ_between_sequences() -> None:
    network = make_network(widths=(16, 12), dropout=nn.Dropout(0.5))
    context = random(B, LENGTH, C, H, W)
    state, seen = None, []
    for t in range(LENGTH):
        _, state = network.step(context[:, t], state)
        seen.append(state.dropout_masks)
    for masks, channels in zip(zip(*seen, strict=True), (16, 12), strict=True):
        assert all(torch.equal(mask, masks[0]) for mask in masks)
        assert masks[0].shape == (B, channels, 1, 1)
        assert set(masks[0].unique().tolist()) == {0.0, 2.0}
        assert not torch.equal(masks[0][0], masks[0][1])
    again = network(context, HORIZON)[1].dropout_masks
    assert not torch.equal(torch.cat(again, dim=1), torch.cat(seen[0], dim=1))


def test_a_rollout_with_dropout_is_that_of_a_thinned_network() -> None:
    network = make_network(dropout=nn.Dropout(0.5))
    context = random(1, LENGTH, C, H, W)
    frames, state = network(context, HORIZON)
    thinned = make_network()
    weights = dict(network.state_dict())
    masks = [mask.flatten()[None, :, None, None] for mask in state.dropout_masks]
    for level, mask in enumerate(masks[:-1]):
        for reader in ("from_input", "nonstationary.from_difference"):
            weights[f"blocks.{level}.{reader}.convolution.weight"] *= mask
    weights["head.weight"] *= masks[-1]
    thinned.load_state_dict(weights)
    assert any((mask == 0).any() for mask in masks)
    torch.testing.assert_close(frames, thinned(context, HORIZON)[0])


# --- unrolling ----------------------------------------------------------------------------------


class Counter:
    """Predicts the frame plus 1 and keeps what it was given."""

    def __init__(self) -> None:
        self.frames: list[Tensor] = []
        self.observed: list[Tensor | None] = []

    def __call__(
        self, frame: Tensor, state: MIMState | None, inputs: StepInputs
    ) -> tuple[Tensor, Any]:
        self.frames.append(frame)
        self.observed.append(inputs.observed)
        return frame + 1.0, state


def make_gap() -> tuple[Tensor, Tensor]:
    """Return frames 10, 20, 30 whose cell (0, 1) is unknown in the second one."""
    context = torch.tensor([10.0, 20.0, 30.0])[None, :, None, None, None].expand(1, 3, 1, 2, 2)
    observed = torch.ones(1, 3, 1, 2, 2, dtype=torch.bool)
    observed[0, 1, 0, 0, 1] = False
    return context, observed


def test_an_unknown_value_is_fed_from_the_prediction() -> None:
    step, (context, observed) = Counter(), make_gap()
    unroll(step, context.where(observed, torch.nan), 2, observed=observed)
    assert [frame[0, 0].flatten().tolist() for frame in step.frames] == [
        [10, 10, 10, 10],
        [20, 11, 20, 20],
        [30, 30, 30, 30],
        [31, 31, 31, 31],
    ]
    assert step.observed[1:] == [None] * 3  # what is fed counts as observed, unless it says not


def test_an_unknown_value_of_the_first_frame_is_fed_as_it_stands() -> None:
    step, (context, observed) = Counter(), make_gap()
    unroll(step, context, 1, observed=observed.roll(-1, dims=1))
    assert step.frames[0].flatten().tolist() == [10, 10, 10, 10]
    assert step.observed[0].flatten().tolist() == [True, False, True, True]


@pytest.mark.parametrize("feed_true", [False, True])
@pytest.mark.parametrize("counts", [False, True])
def test_what_is_fed_in_place_of_an_unknown_value_says_if_it_counts_as_observed(
    counts: bool, feed_true: bool
) -> None:
    step, (context, observed) = Counter(), make_gap()
    unroll(
        step,
        context,
        2,
        future=random(1, 2, 1, 2, 2),
        feed_true=torch.tensor([[True, True, False]]) if feed_true else None,
        observed=torch.cat([observed, observed[:, :2]], dim=1),
        feed_back=lambda frame, _: FedFrame(
            frame, torch.full_like(frame, counts, dtype=torch.bool)
        ),
    )
    got = [None if known is None else known.flatten().tolist() for known in step.observed]
    assert got == [[True] * 4, [True, counts, True, True], [True] * 4, [counts] * 4]


def test_an_unknown_true_frame_is_fed_from_the_prediction() -> None:
    step, (context, observed) = Counter(), make_gap()
    unroll(
        step,
        context[:, :1],
        2,
        future=context[:, 1:],
        feed_true=torch.tensor([[True]]),
        observed=observed,
    )
    assert step.frames[1].flatten().tolist() == [20, 11, 20, 20]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({}, [3, 4, 5]),  # the frames of the horizon but the last
        ({"feed_true": torch.ones(1, 5, dtype=torch.bool)}, [1, 2, 3, 4, 5]),
        ({"observed": torch.ones(1, 3, 1, 2, 2, dtype=torch.bool)}, [1, 2, 3, 4, 5]),
    ],
)
def test_what_makes_a_frame_is_told_which_one(call: dict[str, Any], expected: list[int]) -> None:
    told: list[int] = []

    def feed_back(prediction: Tensor, step: int) -> FedFrame:
        told.append(step)
        return FedFrame(prediction)

    clip = random(1, 7, 1, 2, 2)
    unroll(Counter(), clip[:, :3], 4, future=clip[:, 3:], feed_back=feed_back, **call)
    assert told == expected


# --- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (None, "`inputs` must have 4 planes and 2 scalars, as the network was built for, got 0"),
        ({"planes": None}, "must have 4 planes and 2 scalars, .* got 1 and 2"),
        ({"scalars": None}, "must have 4 planes and 2 scalars, .* got 4 and 0"),
        ({"scalars": random(B, STEPS, 3)}, "must have 4 planes and 2 scalars, .* got 4 and 3"),
        ({"planes": random(B, STEPS, PLANES, W, H)}, r"`inputs.planes` must .* \(2, 6, E, 5, 7\)"),
        ({"planes": random(B, 3, PLANES, H, W)}, r"`inputs.planes` .*, got \(2, 3, 3, 5, 7\)"),
        ({"planes": random(B, PLANES, H, W)}, r"`inputs.planes` must have the shape"),
        ({"constants": random(1, 1, H, W)}, r"`inputs.constants` must .* \(2, E, 5, 7\)"),
        ({"scalars": random(B, 5, SCALARS)}, r"`inputs.scalars` must .* \(2, 6, F\).*\(2, 5, 2\)"),
    ],
)
def test_inputs_that_the_network_was_not_built_for_are_refused(
    wrong: dict[str, Any] | None, message: str
) -> None:
    inputs = None if wrong is None else make_inputs()._replace(**wrong)
    with pytest.raises(ValueError, match=message):
        make_network(**READS)(random(B, LENGTH, C, H, W), HORIZON, inputs=inputs)
