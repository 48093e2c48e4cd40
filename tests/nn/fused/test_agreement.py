"""The fast path of whole networks against the plain one, for every option."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from darts_mim.nn import Inputs, MIMNetwork, PredRNNNetwork
from darts_mim.nn import recurrent as recurrent_module
from darts_mim.nn.fused import dispatch
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.direct import DirectConvolution
from darts_mim.nn.fused.formulas import FormulaKernels
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.fused.winograd import WinogradConvolution
from darts_mim.nn.gates import GateConvolution

OPTIONS = [
    pytest.param({}, id="as it is"),
    pytest.param({"layer_norm": False}, id="no normalisation"),
    pytest.param({"nonstationary_unit": False}, id="no MIM-N"),
    pytest.param({"stationary_unit": False}, id="no MIM-S"),
    pytest.param({"stationary_unit": False, "layer_norm": False}, id="no MIM-S, no normalisation"),
    pytest.param({"recompute": True}, id="recomputed"),
    pytest.param({"kernel_size": 1, "patch_size": 3}, id="pointwise"),
    pytest.param({"kernel_size": 5, "patch_size": 1}, id="large kernels"),
    pytest.param({"hidden_channels": (6, 6)}, id="equal widths"),
    pytest.param({"dropout": nn.Dropout(0.3)}, id="dropout"),
    pytest.param({"out_channels": 4}, id="parameters of a distribution"),
]
CONTEXT, HORIZON = 4, 5
N_SEEDS = 6


@pytest.fixture
def _native():
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture
def _formulas(monkeypatch):
    """Let networks that may take the fast path take it with the formulas, in any type."""

    def fast_path_of(network, context, n_steps):
        if network.fast_path is False:
            return None
        kernels = FormulaKernels()

        def layer_of(module):
            convolution = DirectConvolution(module.convolution, context.dtype, n_at_once=3)
            return dispatch._layer_of(module, convolution, kernels, context.dtype)

        layers = {
            each: layer_of(each) for each in network.modules() if isinstance(each, GateConvolution)
        }
        return FusedUnrolling(layers, kernels)

    monkeypatch.setattr(recurrent_module, "fast_path_of", fast_path_of)


@pytest.fixture(params=["convolutions of PyTorch", "of fewer products"])
def sizes(request, monkeypatch):
    """Return options of networks that convolve in either way."""
    if request.param == "convolutions of PyTorch":
        return {}
    monkeypatch.setattr(WinogradConvolution, "suits", takes_channels)
    return {"hidden_channels": (32, 64)}


def most_of(sizes):
    """Return how far gradients may be apart: with fewer products they round up to four times."""
    return 4e-5 if sizes else 1e-5


def takes_channels(module, *_):
    """Return whether a convolution could be one of fewer products, on grids of any size."""
    is_wide = module.in_channels % 32 == module.out_channels % 32 == 0
    return is_wide and module.kernel_size[0] in (3, 5)


def network_of(options, kind=MIMNetwork, seed=0, **more):
    torch.manual_seed(seed)
    return kind(
        2,
        **{"hidden_channels": (6, 4, 5), "kernel_size": 3, "patch_size": 2, **options, **more},
    )


def clip_of(dtype=torch.float32, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, CONTEXT + HORIZON, 2, 9, 6, generator=generator).to(dtype)


def run(network, clip, fast_path, autocast=False, **call):
    """Return predictions, and the gradients of all weights and of the context."""
    torch.manual_seed(2)  # dropout's masks
    network.fast_path = fast_path
    network.zero_grad()
    context = clip[:, :CONTEXT].clone().requires_grad_()
    if network.out_channels != network.in_channels:
        call["feed_back"] = lambda frame: recurrent_module.FedFrame(frame[:, :2])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        predictions, state = network(context, HORIZON, **call)
    target = torch.linspace(0, 1, predictions.numel(), dtype=clip.dtype).view_as(predictions)
    loss = ((predictions - target) ** 2).mean() + state.layers[-1].c.mean() * 0.1
    loss.backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    return predictions.detach(), {**gradients, "context": context.grad}


def far(got, expected):
    """Return the distance by the size, in the Euclidean norm."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def joined(gradients):
    return torch.cat([each.flatten() for each in gradients.values()])


@pytest.mark.usefixtures("_formulas")
@pytest.mark.parametrize("kind", [MIMNetwork, PredRNNNetwork])
@pytest.mark.parametrize("options", OPTIONS)
def test_formulas_agree_in_double_precision(options, kind):
    if kind is PredRNNNetwork and any(name.endswith("unit") for name in options):
        pytest.skip("PredRNN has no such units")
    network, clip = network_of(options, kind).double(), clip_of(torch.float64)
    frames, gradients = run(network, clip, fast_path=True)
    plain_frames, plain_gradients = run(network, clip, fast_path=False)
    torch.testing.assert_close(frames, plain_frames, rtol=1e-10, atol=1e-10)
    for name, gradient in gradients.items():
        scale = float(plain_gradients[name].abs().max())
        torch.testing.assert_close(
            gradient, plain_gradients[name], rtol=1e-10, atol=1e-10 * scale, msg=name
        )


@pytest.mark.usefixtures("_formulas")
def test_finite_differences_agree():
    network = network_of({"hidden_channels": (2, 3)}, fast_path=True).double()
    weights = dict(network.named_parameters())

    def loss(context, *values):
        given = dict(zip(weights, values, strict=True))
        predictions, _ = torch.func.functional_call(network, given, (context, 2))
        return predictions.square().mean()

    clip = clip_of(torch.float64)[:2, :2, :, :4, :5].clone().requires_grad_()
    assert torch.autograd.gradcheck(
        loss, (clip, *weights.values()), eps=1e-6, atol=1e-7, fast_mode=True
    )


def errors_of(options, kind=MIMNetwork, autocast=False):
    """Return the geometric means of the distances from double precision, for both paths.

    They are those of predictions and gradients. Both paths round, and the network amplifies it,
    in some cases ten times as much as in others.
    """
    errors = {True: torch.zeros(2), False: torch.zeros(2)}
    for seed in range(N_SEEDS):
        network, clip = network_of(options, kind, seed), clip_of(seed=seed)
        exact = run(copy.deepcopy(network).double(), clip.double(), fast_path=False)
        for fast_path, sums in errors.items():
            frames, gradients = run(network, clip, fast_path, autocast)
            distances = far(frames, exact[0]), far(joined(gradients), joined(exact[1]))
            sums += torch.tensor(distances).log()
    return (errors[True] / N_SEEDS).exp(), (errors[False] / N_SEEDS).exp()


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("kind", [MIMNetwork, PredRNNNetwork])
@pytest.mark.parametrize("options", OPTIONS)
def test_kernels_agree_in_single_precision(options, kind, sizes):
    if kind is PredRNNNetwork and any(name.endswith("unit") for name in options):
        pytest.skip("PredRNN has no such units")
    fast, plain = errors_of({**options, **sizes}, kind)
    assert fast[0] < 1e-5
    assert (fast < (4 if sizes else 2) * plain).all()


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("options", OPTIONS)
def test_kernels_err_no_more_than_the_plain_path_in_mixed_precision(options, sizes):
    fast, plain = errors_of({**options, **sizes}, autocast=True)
    assert plain[0] > 1e-4  # else it was no bfloat16
    assert (fast < 1.25 * plain).all()


@pytest.mark.usefixtures("_native")
def test_everything_that_is_read_beside_the_frames_agrees(sizes):
    network = network_of(sizes, plane_channels=3, scalar_channels=2, reads_observed=True)
    clip, steps = clip_of(), CONTEXT + HORIZON - 1
    generator = torch.Generator().manual_seed(3)
    inputs = Inputs(
        planes=torch.rand(3, steps, 2, 9, 6, generator=generator),
        constants=torch.rand(3, 1, 9, 6, generator=generator),
        scalars=torch.rand(3, steps, 2, generator=generator),
    )
    call = {
        "inputs": inputs,
        "future": clip[:, CONTEXT:],
        "feed_true": torch.rand(3, steps - 1, generator=generator) < 0.5,
        "observed": torch.rand(3, CONTEXT + HORIZON, 2, 9, 6, generator=generator) < 0.8,
    }
    frames, gradients = run(network, clip, fast_path=True, **call)
    plain_frames, plain_gradients = run(network, clip, fast_path=False, **call)
    assert far(frames, plain_frames) < 1e-5
    assert far(joined(gradients), joined(plain_gradients)) < most_of(sizes)


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("n_steps", [1, 3, 100])
def test_weight_gradients_do_not_depend_on_how_many_steps_they_are_taken_over(monkeypatch, n_steps):
    network, clip = network_of({}), clip_of()
    expected = run(network, clip, fast_path=True)
    monkeypatch.setattr(dispatch, "_has_units_for", lambda *_: True)
    monkeypatch.setattr(dispatch, "STEPS_AT_ONCE", n_steps)
    frames, gradients = run(network, clip, fast_path=True)
    assert torch.equal(frames, expected[0])
    assert far(joined(gradients), joined(expected[1])) < 1e-6


@pytest.mark.usefixtures("_native")
def test_steps_repeat_bit_for_bit(sizes):
    clip = clip_of()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (run(network_of(sizes), clip, fast_path=True) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0], second[0])
    assert torch.equal(joined(first[1]), joined(second[1]))


@pytest.mark.usefixtures("_native")
def test_an_all_black_first_frame_is_no_special_case(sizes):
    network, clip = network_of(sizes), clip_of()
    clip[:, :2] = 0.0
    frames, gradients = run(network, clip, fast_path=True)
    plain_frames, plain_gradients = run(network, clip, fast_path=False)
    assert far(frames, plain_frames) < 1e-5
    assert far(joined(gradients), joined(plain_gradients)) < most_of(sizes)


@pytest.mark.usefixtures("_native")
def test_frozen_weights_get_no_gradient(sizes):
    network, clip = network_of(sizes), clip_of()
    _, expected = run(network, clip, fast_path=True)
    for name, weight in network.named_parameters():
        weight.requires_grad_(not name.startswith("bottom"))
    _, gradients = run(network, clip, fast_path=True)
    for name, gradient in gradients.items():
        if name.startswith("bottom"):
            assert gradient is None
        else:
            assert torch.equal(gradient, expected[name])


@pytest.mark.usefixtures("_native")
def test_without_gradients_the_forecast_is_the_same(sizes):
    network, clip = network_of(sizes), clip_of()
    expected, _ = run(network, clip, fast_path=True)
    with torch.inference_mode():
        frames, _ = network(clip[:, :CONTEXT], HORIZON)
    assert torch.equal(frames, expected)


@pytest.mark.usefixtures("_native")
def test_a_convolution_may_want_no_gradients(sizes):
    network, clip = network_of(sizes), clip_of()
    frozen = network.bottom.from_hidden
    frozen.forward = torch.no_grad()(frozen.forward)
    _, gradients = run(network, clip, fast_path=True)
    _, plain_gradients = run(network, clip, fast_path=False)
    weights = {id(weight) for weight in frozen.parameters()}
    for name, weight in network.named_parameters():
        if id(weight) in weights:
            assert gradients.pop(name) is plain_gradients.pop(name) is None
    assert far(joined(gradients), joined(plain_gradients)) < most_of(sizes)


@pytest.mark.usefixtures("_native")
def test_second_derivatives_are_refused(sizes):
    network, clip = network_of(sizes, fast_path=True), clip_of()
    predictions, _ = network(clip[:, :CONTEXT], 2)
    with pytest.raises(RuntimeError, match=r"has no second derivatives.*`fast_path=False`"):
        torch.autograd.grad(predictions.sum(), list(network.parameters()), create_graph=True)


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("n_at_once", [None, 1, 3])
def test_a_backward_pass_leaves_nothing_to_the_next_one(monkeypatch, n_at_once, sizes):
    if n_at_once is not None:
        monkeypatch.setattr(dispatch, "_has_units_for", lambda *_: True)
        monkeypatch.setattr(dispatch, "STEPS_AT_ONCE", n_at_once)
    network, clip = network_of(sizes), clip_of()
    _, expected = run(network, clip, fast_path=True)
    context = clip[:, :CONTEXT].clone().requires_grad_()
    predictions, state = network(context, HORIZON)
    target = torch.linspace(0, 1, predictions.numel()).view_as(predictions)
    loss = ((predictions - target) ** 2).mean() + state.layers[-1].c.mean() * 0.1
    # of the context alone: the weights' share is computed, and nobody asks for it
    torch.autograd.grad(loss, context, retain_graph=True)
    for _ in range(2):
        network.zero_grad()
        loss.backward(retain_graph=True)
        for name, weight in network.named_parameters():
            assert torch.equal(weight.grad, expected[name]), name


@pytest.mark.usefixtures("_native")
def test_gradients_accumulate(sizes):
    network, clip = network_of(sizes, fast_path=True), clip_of()
    gradients = []
    for times in (1, 2):
        network.zero_grad()
        for _ in range(times):
            network(clip[:, :CONTEXT], 2)[0].mean().backward()
        gradients.append(joined(dict(enumerate(each.grad for each in network.parameters()))))
    torch.testing.assert_close(gradients[1], 2 * gradients[0])


@pytest.mark.usefixtures("_native")
def test_a_single_step_gives_weights_that_read_zeros_a_gradient_of_zero(sizes):
    gradients = []
    for fast_path in (True, False):
        network = network_of(sizes, fast_path=fast_path)
        network(clip_of()[:, :1], 1)[0].mean().backward()
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
    assert all(each is not None for each in gradients[0].values())
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-7)


@pytest.mark.usefixtures("_native")
def test_tensors_that_are_kept_elsewhere_are_read_right():
    network, clip = network_of({}), clip_of()
    _, expected = run(network, clip, fast_path=True)

    def copied(tensor):
        return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)  # laid out anew

    with torch.autograd.graph.saved_tensors_hooks(copied, lambda tensor: tensor):
        _, gradients = run(network, clip, fast_path=True)
    torch.testing.assert_close(joined(gradients), joined(expected), rtol=1e-5, atol=1e-8)


@pytest.mark.usefixtures("_native")
def test_a_weight_that_changes_before_the_backward_pass_is_noticed():
    network = network_of({"layer_norm": False}, fast_path=True)
    loss = network(clip_of()[:, :CONTEXT], 2)[0].mean()
    with torch.no_grad():
        network.bottom.from_hidden.convolution.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("call", [{"batch": 1}, {"height": 13}])
def test_frames_of_another_size_that_are_fed_back_are_refused(call):
    network = network_of({}, fast_path=True)

    def feed_back(frame):
        b, c, height, width = frame.shape
        shape = call.get("batch", b), c, call.get("height", height), width
        return recurrent_module.FedFrame(torch.zeros(shape))

    with pytest.raises(ValueError, match="give frames and states of one batch and grid"):
        network(clip_of()[:, :CONTEXT], 3, feed_back=feed_back)


@pytest.mark.usefixtures("_native")
def test_a_network_within_a_fused_one_takes_its_own_path():
    class Teacher(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network_of({}, fast_path=False)

        def forward(self, mask):
            self.inner(clip_of()[:, :2], 1)
            return mask

    network = network_of({"dropout": Teacher()}, fast_path=True)
    frames, _ = network(clip_of()[:, :CONTEXT], 2)
    assert torch.equal(frames, network_of({}, fast_path=True)(clip_of()[:, :CONTEXT], 2)[0])


@pytest.mark.usefixtures("_native")
@pytest.mark.parametrize("recompute", [False, True])
def test_nothing_is_left_when_a_step_is_done(monkeypatch, recompute, sizes):
    layers = []

    def noted(*args):
        layers.append(layer_of(*args))
        return layers[-1]

    layer_of = dispatch._layer_of
    monkeypatch.setattr(dispatch, "_layer_of", noted)
    network, clip = network_of(sizes, recompute=recompute), clip_of()
    gc.collect()
    gc.disable()  # without it, what is part of a cycle stays
    try:
        run(network, clip, fast_path=True)
        references = [weakref.ref(layer) for layer in layers]
        layers.clear()
        assert [reference() for reference in references] == [None] * len(references)
    finally:
        gc.enable()
