"""Recorded unrollings: with a recorder that runs anywhere, and on a GPU where there is one."""

import copy
import gc
import io
import logging
import pickle
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood
from torch import nn
from torch.utils.checkpoint import checkpoint

from darts_mim import MIMModel, ScheduledSampling
from darts_mim.nn import FedFrame, Inputs, MIMNetwork, PredRNNNetwork
from darts_mim.nn.cells import STLSTMState
from darts_mim.nn.fused import dispatch
from darts_mim.nn.fused.states import leaves_of
from darts_mim.nn.recorded import graphs, kinds, recording
from darts_mim.nn.recorded.graphs import can_record
from darts_mim.nn.recorded.recording import RECORDERS, Recording
from tests.models.small_models import make_model, make_series

CONTEXT, HORIZON = 3, 3
STEPS = CONTEXT + HORIZON - 1


class Rerun:
    """Record work by doing it again, with its results in the same memory each time.

    As with CUDA graphs there are no values before the first replay, and what is written in a
    replay is what the next one overwrites.
    """

    replays = recorded = 0
    queue = "the only one"

    def __init__(self, device):
        assert device.type == "cpu"
        Rerun.recorded += 1

    def warm_up(self, work):
        work()

    def record(self, work):
        results = [self.emptied(each) for each in work()]

        def replay():
            Rerun.replays += 1
            with torch.no_grad():
                for kept, new in zip(results, work(), strict=True):
                    if kept is not None:
                        kept.copy_(new)

        return Recording(results, replay)

    @staticmethod
    def emptied(tensor):
        if tensor is None:
            return None
        kept = torch.full_like(tensor, torch.nan) if tensor.is_floating_point() else tensor.clone()
        return kept.requires_grad_(tensor.requires_grad)

    @classmethod
    def queue_on(cls, device):
        return cls.queue


class Refusal(Rerun):
    """Record nothing; as with CUDA graphs the error that is raised is not the one that counts."""

    def record(self, work):
        try:
            raise RuntimeError("operation not permitted when stream is capturing")
        finally:
            raise RuntimeError("operation failed due to a previous error")


@pytest.fixture
def _recorded(monkeypatch):
    monkeypatch.setitem(RECORDERS, "cpu", Rerun)
    monkeypatch.setattr(kinds, "N_SEEN", 1)
    monkeypatch.setattr(Rerun, "replays", 0)
    monkeypatch.setattr(Rerun, "recorded", 0)
    monkeypatch.setattr(kinds.Kinds, "has_failed", False)
    monkeypatch.setattr(dispatch, "can_record", lambda *of: of[0] not in TWINS and can_record(*of))
    graphs._log_once.cache_clear()
    kinds._KINDS.clear()


TWINS = weakref.WeakSet()  # networks that are not recorded
recorded = pytest.mark.usefixtures("_recorded")
both = pytest.mark.parametrize("kind", [MIMNetwork, PredRNNNetwork])


def network_of(kind=MIMNetwork, **options):
    torch.manual_seed(0)
    options = {"hidden_channels": (4, 3), "kernel_size": 3, "patch_size": 2, **options}
    return kind(2, fast_path=True, **options)


def clip_of(b=3, steps=CONTEXT + HORIZON, height=7, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(b, steps, 2, height, 4, generator=generator)


def loss_of(network, clip, context=CONTEXT, **call):
    horizon = clip.shape[1] - context
    predictions, state = network(clip[:, :context], horizon, **call)
    return (predictions[:, :, :2] - clip[:, 1:]).square().mean() + state.layers[-1].c.mean() * 0.1


def gradients_of(network, clip, times=1, **call):
    """Return the gradients of all weights and of the clip."""
    network.zero_grad()
    clip = clip.detach().clone().requires_grad_()
    for _ in range(times):
        loss_of(network, clip, **call).backward()
    return [*(weight.grad for weight in network.parameters()), clip.grad]


def twin_of(network):
    """Return a network with the same weights whose steps are not recorded."""
    twin = copy.deepcopy(network)
    TWINS.add(twin)
    return twin


def seen(network, clip, **call):
    """Let a kind of unrolling be seen, so that the next one is recorded."""
    gradients_of(network, clip, **call)
    loss_of(network, clip, **call)
    return network


def expect_same(got, expected):
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def replays_in(work):
    before = Rerun.replays
    work()
    return Rerun.replays - before


def all_that_is_read():
    generator = torch.Generator().manual_seed(3)

    def rand(*shape):
        return torch.rand(3, *shape, generator=generator)

    inputs = Inputs(rand(STEPS, 2, 7, 4), rand(1, 7, 4), rand(STEPS, 2))
    return {
        "inputs": inputs,
        "future": rand(HORIZON, 2, 7, 4),
        "feed_true": rand(STEPS - 1) < 0.5,
        "observed": rand(CONTEXT + HORIZON, 2, 7, 4) < 0.8,
    }


CALLS = {
    "as it is": ({}, dict),
    "unequal widths": ({"hidden_channels": (4, 3, 5)}, dict),
    "no normalisation": ({"layer_norm": False}, dict),
    "a distribution": (
        {"out_channels": 4},
        lambda: {"feed_back": lambda frame: FedFrame(frame[:, :2] + frame[:, 2:].tanh())},
    ),
    "all that is read": (
        {"plane_channels": 3, "scalar_channels": 2, "reads_observed": True},
        all_that_is_read,
    ),
}

MODELS = {
    "dropout": {"dropout": 0.3},
    "scheduled sampling": {"scheduled_sampling": ScheduledSampling.linear(2)},
    "a likelihood": {"likelihood": GaussianLikelihood()},
}


@recorded
@both
@pytest.mark.parametrize("name", CALLS)
def test_outputs_and_gradients_are_those_of_the_unrecorded_network(kind, name):
    options, call_of = CALLS[name]
    network = network_of(kind, **options)
    twin = twin_of(network)
    for seed in range(4):
        clip = clip_of(seed=seed)
        expect_same(gradients_of(network, clip, **call_of()), gradients_of(twin, clip, **call_of()))
    assert (Rerun.recorded, Rerun.replays) == (1, 3 * 2 * STEPS)


@recorded
@both
def test_training_goes_the_same_way(kind):
    network = network_of(kind)
    twin = twin_of(network)
    for each in (network, twin):
        optimizer = torch.optim.Adam(each.parameters(), lr=0.01)
        for seed in range(6):
            gradients_of(each, clip_of(seed=seed), times=2)
            nn.utils.clip_grad_norm_(each.parameters(), 0.1)
            optimizer.step()
    assert Rerun.recorded == 1
    expect_same(network.parameters(), twin.parameters())


@recorded
def test_gradients_are_the_owner_s():
    network, clip = network_of(), clip_of()
    first = gradients_of(seen(network, clip), clip)
    kept = [each.clone() for each in first]
    gradients_of(network, clip_of(seed=2))
    assert all(torch.equal(one, other) for one, other in zip(first, kept, strict=True))
    for gradient, weight in zip(first, network.parameters(), strict=False):
        assert gradient.stride() == weight.stride()


@recorded
def test_gradients_of_what_a_step_reads_are_the_owner_s():
    network, clip = network_of(), clip_of()
    fed = torch.zeros(3, 2, 7, 4, requires_grad=True)
    _, state = network(clip[:, :CONTEXT], 1)
    read = [fed, *(each.detach().requires_grad_() for each in (state.m, *state.layers[0]))]
    state = state._replace(m=read[1], layers=(STLSTMState(*read[2:]), *state.layers[1:]))

    def gradients(clip):
        frames, _ = network(clip[:, :CONTEXT], 2, state=state, feed_back=lambda _: FedFrame(fed))
        return torch.autograd.grad(frames.square().mean(), read)

    for seed in range(3):
        first = gradients(clip_of(seed=seed))
        kept = [each.clone() for each in first]
        assert replays_in(lambda: gradients(clip)) == 2 * (CONTEXT + 1)
        assert all(torch.equal(one, other) for one, other in zip(first, kept, strict=True))


@recorded
def test_predictions_and_states_are_the_owner_s():
    network, clip = seen(network_of(), clip_of()), clip_of()
    mine = []

    def keep(*tensors):
        mine.extend(each.detach() for each in tensors if each is not None)
        return FedFrame(tensors[0])

    predictions, state = network(clip[:, :CONTEXT], HORIZON, feed_back=keep)
    keep(predictions, *leaves_of(state))
    kept = [each.clone() for each in mine]
    del predictions, state
    assert replays_in(lambda: loss_of(network, clip_of(seed=2))) == STEPS
    assert all(torch.equal(one, other) for one, other in zip(mine, kept, strict=True))


@recorded
def test_a_backward_pass_can_be_run_again():
    network, clip = seen(network_of(), clip_of()), clip_of()
    expected = gradients_of(twin_of(network), clip, times=3)
    network.zero_grad()
    loss = loss_of(network, clip)
    # of some of the predictions alone, and of the context alone: what is left of it is forgotten
    torch.autograd.grad(network(clip[:, :CONTEXT], HORIZON)[0][:, 1].sum(), network.head.weight)
    for _ in range(3):
        loss.backward(retain_graph=True)
    expect_same([weight.grad for weight in network.parameters()], expected[:-1])


@recorded
def test_predictions_can_be_differentiated_one_by_one():
    network, clip = seen(network_of(), clip_of()), clip_of().requires_grad_()
    gradients_of(network, clip)
    twin, got, expected = twin_of(network), [], []
    for each, found in ((network, got), (twin, expected)):
        predictions, state = each(clip[:, :CONTEXT], HORIZON)
        wanted = [clip, *each.parameters()]
        parts = [predictions[:, t].sum() for t in (1, STEPS - 1, 0)]
        parts += [state.m.sum(), state.m.sum() + predictions[:, 2].sum(), predictions.sum()]
        for part in parts:
            found += torch.autograd.grad(part, [clip], retain_graph=True)
            found += torch.autograd.grad(part, wanted, retain_graph=True, materialize_grads=True)
    expect_same(got, expected)
    assert Rerun.recorded == 1


@recorded
def test_of_two_unrollings_before_a_backward_pass_the_second_is_not_recorded():
    network, clips = seen(network_of(), clip_of()), [clip_of(seed=seed) for seed in range(2)]
    twin = twin_of(network)
    for each in (network, twin):
        each.zero_grad()
        losses = [loss_of(each, clip) * weight for clip, weight in zip(clips, (1, 2), strict=True)]
        (losses[0] + losses[1]).backward()
    assert Rerun.replays == 2 * STEPS
    expect_same(*([weight.grad for weight in each.parameters()] for each in (network, twin)))


@recorded
def test_activations_stay_as_long_as_the_graph_is_retained():
    network, clip = seen(network_of(), clip_of()), clip_of()
    expected = gradients_of(twin_of(network), clip, times=2)
    network.zero_grad()
    loss = loss_of(network, clip)
    loss.backward(retain_graph=True)
    assert replays_in(lambda: loss_of(network, clip_of(seed=2))) == 0
    loss.backward()
    expect_same([weight.grad for weight in network.parameters()], expected[:-1])
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()
    assert replays_in(lambda: loss_of(network, clip)) == STEPS


@recorded
def test_overwritten_activations_are_noticed():
    network, clip = network_of(), clip_of()
    leaf = torch.zeros(3, 2, 7, 4, requires_grad=True)
    predictions = []

    def feed_back(frame):
        predictions.append(frame)
        return FedFrame(leaf)

    network(clip[:, :CONTEXT], HORIZON, feed_back=feed_back)
    predictions.clear()
    network(clip[:, :CONTEXT], HORIZON, feed_back=feed_back)
    before, after = predictions
    torch.autograd.grad(before.sum(), network.head.weight)
    assert replays_in(lambda: network(clip[:, :CONTEXT], HORIZON, feed_back=feed_back)) == STEPS
    with pytest.raises(RuntimeError, match=r"has overwritten the activations.*`fast_path=False`"):
        torch.autograd.grad(after.sum(), leaf)


@recorded
def test_a_result_that_nobody_keeps_makes_room():
    network, clip = seen(network_of(), clip_of()), clip_of()
    for _ in range(3):
        assert replays_in(lambda: loss_of(network, clip)) == STEPS
    kept = loss_of(network, clip)
    assert replays_in(lambda: loss_of(network, clip)) == 0
    kept.backward()  # and may be kept from here on
    assert replays_in(lambda: loss_of(network, clip)) == STEPS


@recorded
def test_an_unrolling_that_fails_makes_room():
    network, clip = seen(network_of(), clip_of()), clip_of()

    def fail(frame):
        raise KeyError("no frame")

    with pytest.raises(KeyError, match="no frame"):
        network(clip[:, :CONTEXT], HORIZON, feed_back=fail)
    assert replays_in(lambda: gradients_of(network, clip)) == 2 * STEPS


@recorded
def test_a_network_that_is_called_while_it_unrolls_keeps_its_activations():
    network, clip = seen(network_of(), clip_of()), clip_of()
    gradients_of(network, clip)
    twin = twin_of(network)
    got, expected = (
        gradients_of(
            each,
            clip,
            feed_back=lambda frame, each=each: FedFrame(
                frame + each(clip[:, :CONTEXT], HORIZON)[0][:, -1]
            ),
        )
        for each in (network, twin)
    )
    expect_same(got, expected)


@recorded
def test_a_changed_weight_is_noticed():
    network = seen(network_of(), clip_of())
    loss = loss_of(network, clip_of())
    with torch.no_grad():
        network.head.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@recorded
def test_second_derivatives_are_refused():
    network = seen(network_of(), clip_of())
    loss = loss_of(network, clip_of())
    with pytest.raises(RuntimeError, match="has no second derivatives"):
        torch.autograd.grad(loss, list(network.parameters()), create_graph=True)


@recorded
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_forecasts_without_gradients_are_the_same(mode):
    network, clip = network_of().eval(), clip_of()
    with mode():
        frames, states = zip(*(network(clip[:, :CONTEXT], HORIZON) for _ in range(3)), strict=True)
        expected, state = twin_of(network)(clip[:, :CONTEXT], HORIZON)
    assert Rerun.replays == 2 * STEPS
    expect_same(frames, [expected] * 3)
    expect_same(leaves_of(states[-1])[:-1], leaves_of(state)[:-1])
    assert not frames[-1].requires_grad
    with torch.no_grad():  # what was recorded in the one mode serves in the other
        assert replays_in(lambda: network(clip[:, :CONTEXT], HORIZON)) == STEPS


@recorded
def test_a_state_is_handed_on_with_its_gradient():
    network, clip = network_of(), clip_of(steps=9)
    twin = twin_of(network)

    def carried(each):
        each.zero_grad()
        first, state = each(clip[:, :3], 1)
        second, state = each(clip[:, 3:6], 1, state=state)
        third, _ = each(clip[:, 6:], 1, state=state)
        (first.mean() + second.square().mean() + third.square().mean()).backward()
        return [weight.grad for weight in each.parameters()]

    for _ in range(3):
        expect_same(carried(network), carried(twin))
    # the first, and the second, which is of another kind; the third finds its memory in use
    assert (Rerun.recorded, Rerun.replays) == (2, 3 * 4 * 3 - 6)


@recorded
@both
def test_dropout_draws_as_without_recording(kind):
    network, clip = network_of(kind, dropout=nn.Dropout(0.5)), clip_of()
    twin = twin_of(network)
    for seed in range(4):
        results = []
        for each in (network, twin):
            torch.manual_seed(seed)
            results.append([*gradients_of(each, clip), torch.rand(1)])
        expect_same(*results)
    assert Rerun.replays == 3 * 2 * STEPS


@recorded
def test_mixed_precision_reads_the_weights_anew():
    network, clip = network_of(), clip_of()
    twin = twin_of(network)
    for _ in range(3):
        results = []
        for each in (network, twin):
            with torch.no_grad():
                each.blocks[0].output.merge.weight.mul_(1.5)
                each.bottom.from_hidden.convolution.weight.mul_(1.5)
            with torch.autocast("cpu", torch.bfloat16):
                results.append(gradients_of(each, clip))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=0.05, atol=0.05 * float(other.abs().max()))
    assert Rerun.replays == 2 * 2 * STEPS
    assert replays_in(lambda: gradients_of(network, clip)) == 0  # full precision was not seen


@recorded
def test_steps_back_are_recorded_as_they_run_outside_of_mixed_precision(monkeypatch):
    network, clip, modes = network_of(), clip_of(), []
    differentiate = torch.autograd.grad

    def noted(*arguments, **options):
        modes.append(torch.is_autocast_enabled("cpu"))
        return differentiate(*arguments, **options)

    monkeypatch.setattr(torch.autograd, "grad", noted)
    for _ in range(2):
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(network, clip)
        loss.backward()
    assert modes == [False] * 3 * STEPS  # to warm up, to record, to replay


@recorded
def test_each_kind_of_unrolling_is_recorded_when_it_comes_again():
    network = network_of()
    twin, clips = twin_of(network), [clip_of(), clip_of(b=2), clip_of(steps=8), clip_of(height=9)]
    for n_seen in range(1, 4):
        for clip in clips:
            expect_same(gradients_of(network, clip), gradients_of(twin, clip))
        assert Rerun.recorded == (0 if n_seen == 1 else len(clips))


@recorded
def test_what_comes_seldom_is_not_recorded(monkeypatch):
    monkeypatch.setattr(kinds, "N_SEEN", 3)
    network, clip = network_of().eval(), clip_of()
    for _ in range(3):  # each time as if it came from another device
        network.load_state_dict(
            {n: w.clone() for n, w in network.state_dict().items()}, assign=True
        )
        for _ in range(3):
            gradients_of(network, clip)
            assert Rerun.recorded == 0
    gradients_of(network, clip)
    assert Rerun.recorded == 1


@recorded
def test_what_was_not_used_for_long_makes_room(monkeypatch):
    monkeypatch.setattr(kinds, "MOST_PLANS", 1)
    monkeypatch.setattr(kinds, "PATIENCE", 4)
    network, clip, other = network_of(), clip_of(), clip_of(b=2)
    for each, n_recorded in [(clip, 0), (clip, 1), (other, 1), (other, 1), (clip, 1)]:
        gradients_of(network, each)
        assert Rerun.recorded == n_recorded
    for _ in range(3):
        gradients_of(network, other)
    assert Rerun.recorded == 1
    gradients_of(network, other)
    assert Rerun.recorded == 2
    assert sum(kind.plan is not None for kind in kinds._KINDS[network]._kinds.values()) == 1


@recorded
def test_the_number_of_kinds_is_bounded(monkeypatch):
    monkeypatch.setattr(kinds, "MOST_KINDS", 2)
    network = network_of()
    for b in (1, 2, 3, 4, 1):
        gradients_of(network, clip_of(b=b))
    assert len(kinds._KINDS[network]._kinds) == 2
    assert Rerun.recorded == 0


@recorded
def test_an_unrolling_that_turns_out_otherwise_goes_on_as_it_is():
    network, clip = network_of(), clip_of()
    twin, truth = twin_of(network), all_that_is_read()
    teaching = {name: truth[name] for name in ("future", "feed_true")}
    for _ in range(2):
        gradients_of(network, clip)
    # frames are true or predicted, so that all of them have gradients
    for _ in range(3):
        expect_same(
            gradients_of(network, clip, **teaching),
            gradients_of(twin, clip, **teaching),
        )
    n_recorded = Rerun.recorded
    for _ in range(2 * kinds.MOST_CHANGES):  # back and forth
        for call in ({}, teaching):
            expect_same(gradients_of(network, clip, **call), gradients_of(twin, clip, **call))
    assert Rerun.recorded <= n_recorded + kinds.MOST_CHANGES


@recorded
def test_a_step_that_reads_something_else_than_before_is_not_replayed():
    network = network_of(reads_observed=True)
    twin, clip = twin_of(network), clip_of()
    is_known = torch.ones(1, 2, 1, 1, dtype=torch.bool)

    def feed_back(observed):
        return lambda frame: FedFrame(frame, observed)

    for _ in range(2):
        gradients_of(network, clip, feed_back=feed_back(None))
    got, expected = (gradients_of(n, clip, feed_back=feed_back(~is_known)) for n in (network, twin))
    expect_same(got, expected)
    assert Rerun.replays == 2 * STEPS + 2 * CONTEXT  # of the second one the context alone
    for _ in range(2):
        got = gradients_of(network, clip, feed_back=feed_back(~is_known))
        expect_same(got, expected)
    assert Rerun.recorded == 2


@recorded
def test_weights_that_lie_elsewhere_are_read_there():
    network, clip = network_of(), clip_of()
    twin = twin_of(network)
    for _ in range(2):
        gradients_of(network, clip)
    other = network_of(hidden_channels=(4, 3))
    for change in (
        lambda each: each.load_state_dict(
            {n: w + 0.1 for n, w in other.state_dict().items()}, assign=True
        ),
        lambda each: setattr(each.head.weight, "data", each.head.weight.data * 2),
        lambda each: setattr(each.head, "weight", nn.Parameter(each.head.weight.detach() * 3)),
        lambda each: each.load_state_dict({n: w * 2 for n, w in each.state_dict().items()}),
    ):
        for each in (network, twin):
            change(each)
        replays = [
            replays_in(lambda: expect_same(gradients_of(network, clip), gradients_of(twin, clip)))
            for _ in range(2)
        ]
        assert replays[1] == 2 * STEPS
    assert replays[0] == 2 * STEPS  # changed in place, there is nothing to record again
    assert Rerun.recorded == 4


@recorded
def test_frozen_weights_get_no_gradient():
    network, clip = network_of(), clip_of()
    twin = twin_of(network)
    for name in ("bottom", "blocks", ""):
        for each in (network, twin):
            for path, weight in each.named_parameters():
                weight.requires_grad_(not path.startswith(name))
        for _ in range(2):
            got, expected = gradients_of(network, clip), gradients_of(twin, clip)
        assert [each is None for each in got] == [each is None for each in expected]
        expect_same(*([x for x in each if x is not None] for each in (got, expected)))
    assert Rerun.recorded == 3


@recorded
def test_copies_and_files_of_a_network_have_nothing_of_its_recordings():
    network, clip = network_of(), clip_of()
    for _ in range(2):
        expected = gradients_of(network, clip)
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    others = copy.deepcopy(network), pickle.loads(pickle.dumps(network))
    for other in others:
        assert other not in kinds._KINDS
        for _ in range(2):
            expect_same(gradients_of(other, clip), expected)
    assert Rerun.recorded == 3


@recorded
def test_recordings_go_with_the_network(monkeypatch):
    class Once(Rerun):
        """Record work without keeping it, as a graph does."""

        def record(self, work):
            return Recording([self.emptied(each) for each in work()], lambda: None)

    monkeypatch.setitem(RECORDERS, "cpu", Once)
    network, clip = network_of(), clip_of()
    gc.collect()
    gc.disable()  # without it, what is part of a cycle stays
    try:
        for _ in range(2):
            loss_of(network, clip).backward()
        (recorded_plan,) = [kind.plan for kind in kinds._KINDS[network]._kinds.values()]
        references = [weakref.ref(recorded_plan), weakref.ref(network)]
        del network, recorded_plan
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


@recorded
def test_what_cannot_be_recorded_runs_as_it_is_and_is_said_once(monkeypatch, caplog):
    monkeypatch.setitem(RECORDERS, "cpu", Refusal)
    network, clip = network_of(), clip_of()
    twin = twin_of(network)
    for _ in range(4):
        expect_same(gradients_of(network, clip), gradients_of(twin, clip))
    (record,) = [each for each in caplog.records if each.name == graphs.__name__]
    assert record.levelname == "WARNING"
    assert "not recorded: RuntimeError: operation not permitted" in record.getMessage()
    gradients_of(network_of(), clip)
    assert Rerun.recorded == 1


@recorded
@pytest.mark.parametrize("name", ["a hook", "another layer", "a hook of all modules"])
def test_code_of_others_within_a_step_is_run(name, caplog):
    network, clip, calls = network_of(), clip_of(), []

    def note(*_):
        calls.append(name)

    if name == "a hook":
        handle = network.head.register_forward_hook(note)
    elif name == "another layer":
        handle = None
        network.head = nn.Sequential(network.head)
        network.head.weight = network.head[0].weight
    else:
        handle = nn.modules.module.register_module_forward_hook(note)
    try:
        for _ in range(3):
            gradients_of(network, clip)
    finally:
        if handle is not None:
            handle.remove()
    assert (Rerun.recorded, Rerun.replays) == (0, 0)
    assert not calls or len(calls) >= 3 * STEPS
    assert "was changed, or has hooks" in caplog.text


@recorded
def test_hooks_of_the_network_and_of_its_weights_are_run():
    network, clip, calls = network_of(), clip_of(), []
    network.register_forward_hook(lambda *_: calls.append("network"))
    network.head.weight.register_hook(lambda gradient: calls.append("gradient"))
    network.head.weight.register_post_accumulate_grad_hook(lambda _: calls.append("sum"))
    for _ in range(3):
        gradients_of(network, clip)
    assert calls == ["network", "gradient", "sum"] * 3
    assert Rerun.replays == 2 * 2 * STEPS


@recorded
@pytest.mark.parametrize("fast_path", [None, False])
def test_it_has_to_be_asked_for(fast_path):
    network, clip = network_of(), clip_of()
    network.fast_path = fast_path
    for _ in range(3):
        gradients_of(network, clip)
    assert Rerun.recorded == 0


@recorded
def test_recomputation_is_not_recorded():
    network, clip = network_of(recompute=True), clip_of()
    for _ in range(3):
        gradients_of(network, clip)
    assert Rerun.recorded == 0


@recorded
def test_double_precision_is_not_recorded():
    network, clip = network_of().double(), clip_of().double()
    for _ in range(3):
        gradients_of(network, clip)
    assert Rerun.recorded == 0


@recorded
def test_a_network_that_is_searched_for_anomalies_is_not_recorded():
    network, clip = network_of(), clip_of()
    with torch.autograd.set_detect_anomaly(True):
        for _ in range(3):
            gradients_of(network, clip)
    assert Rerun.recorded == 0


@recorded
def test_replicas_without_weights_of_their_own_are_not_recorded():
    network = network_of()
    for module in network.modules():
        module._parameters = {}
    assert not can_record(network, clip_of()[:, :CONTEXT])


@recorded
def test_a_network_that_is_moved_keeps_no_recordings():
    network, clip = network_of(), clip_of()
    holder = nn.ModuleList([network])
    for _ in range(2):
        gradients_of(network, clip)
    (kind,) = kinds._KINDS[network]._kinds.values()
    assert kind.plan is not None
    holder.to("cpu")
    assert kind.plan is None


@recorded
def test_a_checkpointed_network_is_not_recorded():
    network, clip = network_of(), clip_of()
    twin = twin_of(network)

    def checkpointed(each):
        each.zero_grad()
        frames, _ = checkpoint(each, clip[:, :CONTEXT], HORIZON, use_reentrant=False)
        frames.square().mean().backward()
        return [weight.grad for weight in each.parameters()]

    for _ in range(3):
        expect_same(checkpointed(network), checkpointed(twin))
    assert Rerun.recorded == 0


@recorded
def test_queues_have_recordings_of_their_own(monkeypatch):
    network, clip = network_of(), clip_of()
    for _ in range(2):
        gradients_of(network, clip)
    monkeypatch.setattr(Rerun, "queue", "another one")
    assert replays_in(lambda: gradients_of(network, clip)) == 0
    monkeypatch.setattr(Rerun, "queue", None)  # one that is being recorded by somebody else
    assert replays_in(lambda: gradients_of(network, clip)) == 0


@recorded
@pytest.mark.filterwarnings("ignore:No device id is provided:UserWarning")
def test_several_processes_train(tmp_path):
    network, clip = network_of(), clip_of()
    twin = twin_of(network)
    expected = gradients_of(twin, clip, times=2)
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1
    )
    try:
        parallel = nn.parallel.DistributedDataParallel(network)
        for _ in range(3):
            expect_same(gradients_of(parallel, clip, times=2), expected)
    finally:
        torch.distributed.destroy_process_group()
    assert Rerun.replays == (2 * 3 - 1) * 2 * STEPS


@recorded
@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_fitted_saved_and_forecasts_as_without_recording(name, monkeypatch, tmp_path):
    forecasts, replays = [], []
    for can in (can_record, lambda *_: False):
        monkeypatch.setattr(dispatch, "can_record", can)
        before = Rerun.replays
        model = make_model(fast_path=True, n_epochs=2, **MODELS[name])
        model.fit(make_series(), val_series=make_series())
        model.save(str(tmp_path / "model.pt"))
        loaded = MIMModel.load(str(tmp_path / "model.pt"))
        forecasts += [each.predict(4).values() for each in (model, loaded)]
        replays.append(Rerun.replays - before)
    for forecast in forecasts[1:]:
        np.testing.assert_allclose(forecast, forecasts[0], atol=1e-5)
    assert replays[0] > 0
    assert replays[1] == 0


def test_cuda_graphs_are_asked_for_as_pytorch_demands(monkeypatch):
    """What can be seen of it without a GPU: that all is done in order, on one stream."""
    calls = []

    class Stream:
        def __init__(self, device):
            self.name = f"a side stream of {device}"

        def wait_stream(self, other):
            calls.append(f"{self.name} waits")

    class Graph:
        replay = staticmethod(lambda: calls.append("replay"))

    @contextmanager
    def within(*names):
        calls.append(("enter", *names))
        yield
        calls.append(("leave", *names))

    def capture(graph, pool, stream, capture_error_mode):
        assert isinstance(graph, Graph)
        return within(pool, stream.name, capture_error_mode)

    for name, stand_in in {
        "Stream": Stream,
        "CUDAGraph": Graph,
        "graph": capture,
        "graph_pool_handle": lambda: "pool",
        "current_stream": lambda device: Stream("the current stream"),
        "stream": lambda stream: within(stream.name),
        "set_stream": lambda stream: calls.append(f"back to {stream.name}"),
        "device": within,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    recording._side_stream.cache_clear()
    recorder = recording.CudaRecorder("cuda:0")
    recorder.warm_up(lambda: calls.append("work"))
    side, current = "a side stream of cuda:0", "a side stream of the current stream"
    works = ["work"] * recording.N_WARM_UPS
    assert calls == [
        f"{side} waits",
        ("enter", side),
        *works,
        ("leave", side),
        f"{current} waits",
    ]
    calls.clear()
    result = recorder.record(lambda: calls.append("work") or ["result"])
    assert result.results == ["result"]
    result.replay()
    captured = ("pool", side, "thread_local")
    assert calls == [
        ("enter", "cuda:0"),
        ("enter", *captured),
        "work",
        ("leave", *captured),
        ("leave", "cuda:0"),
        "replay",
    ]
    calls.clear()
    with pytest.raises(ZeroDivisionError):
        recorder.record(lambda: 1 / 0)
    assert calls[-1] == f"back to {current}"
    recording._side_stream.cache_clear()


@pytest.mark.gpu
class TestOnAGPU:
    """The same with CUDA graphs. TF32 is off by default for products, and here for convolutions."""

    @pytest.fixture(autouse=True)
    def _full_precision(self, monkeypatch):
        graphs._log_once.cache_clear()
        monkeypatch.setattr(kinds, "N_SEEN", 1)
        monkeypatch.setattr(kinds.Kinds, "has_failed", False)
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)

    @staticmethod
    def recorded_steps(network):
        found = [kind.plan for kind in kinds._KINDS[network]._kinds.values()]
        return [len(each.steps) for each in found if each is not None]

    @both
    @pytest.mark.parametrize("name", CALLS)
    def test_gradients_agree(self, kind, name):
        options, call_of = CALLS[name]
        network = network_of(kind, **options).cuda()
        twin = copy.deepcopy(network)
        twin.fast_path = False
        for seed in range(4):
            clip = clip_of(seed=seed).cuda()
            call = {name: on_gpu(value) for name, value in call_of().items()}
            got, expected = (gradients_of(each, clip, **call) for each in (network, twin))
            for one, other in zip(got, expected, strict=True):
                scale = float(other.abs().max())
                torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-3 * scale)
        assert self.recorded_steps(network) == [STEPS]

    def test_mixed_precision_trains(self):
        network = network_of(dropout=nn.Dropout(0.2)).cuda()
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
        scaler, losses = torch.amp.GradScaler("cuda"), []
        for _ in range(20):
            with torch.autocast("cuda", torch.float16):
                loss = loss_of(network, clip_of().cuda())
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
        assert losses[-1] < losses[0]
        assert self.recorded_steps(network) == [STEPS]

    def test_forecasts_agree(self):
        network, clip = network_of().cuda().eval(), clip_of().cuda()
        with torch.inference_mode():
            first, *others = (network(clip[:, :CONTEXT], HORIZON)[0] for _ in range(3))
        for other in others:
            torch.testing.assert_close(other, first, rtol=1e-4, atol=1e-5)
        assert self.recorded_steps(network) == [STEPS]

    def test_what_cannot_be_captured_leaves_the_device_in_order(self):
        device = torch.device("cuda", torch.cuda.current_device())
        before = torch.cuda.current_stream()
        with pytest.raises(RuntimeError):
            recording.CudaRecorder(device).record(
                lambda: [torch.full((), torch.ones((), device=device).item())]
            )
        assert torch.cuda.current_stream() == before
        assert torch.ones(3, device=device).sum().item() == 3
        network, clip = network_of(dropout=nn.Dropout(0.2)).cuda(), clip_of().cuda()
        assert all(each.isfinite().all() for each in gradients_of(network, clip))

    def test_mixed_precision_agrees(self):
        network = network_of().cuda()
        twin = copy.deepcopy(network)
        twin.fast_path = False
        for seed in range(4):
            clip = clip_of(seed=seed).cuda()
            with torch.autocast("cuda", torch.bfloat16):
                got, expected = (gradients_of(each, clip) for each in (network, twin))
            for one, other in zip(got, expected, strict=True):
                assert float((one - other).norm()) < 0.1 * float(other.norm())
            with torch.no_grad():  # weights that are cast anew in each replay
                for pair in zip(network.parameters(), twin.parameters(), strict=True):
                    for weight in pair:
                        weight.mul_(0.9)
        assert self.recorded_steps(network) == [STEPS]

    def test_memory_is_given_back(self):
        network, clip = network_of().cuda(), clip_of().cuda()
        loss_of(network, clip).backward()  # what libraries set up once stays
        network.zero_grad()
        before = torch.cuda.memory_allocated()
        for _ in range(3):
            loss_of(network, clip).backward()
        del network
        gc.collect()
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() <= before


def on_gpu(value):
    if isinstance(value, torch.Tensor):
        return value.cuda()
    if isinstance(value, Inputs):
        return Inputs(*(each.cuda() for each in value))
    return value


def test_where_no_graph_can_be_made_none_is_tried(caplog):
    caplog.set_level(logging.INFO)
    assert set(recording.RECORDERS) == {"cuda"}
    network = network_of()
    for _ in range(3):
        gradients_of(network, clip_of())
    assert network not in kinds._KINDS
