"""The fast path of whole networks against the plain one, for every option.

Both paths round, each in its own order, and the network amplifies it from step to step. So results
are held to those in double precision, relative to their Euclidean norm, with room for other
processors and libraries: a wrong formula is off by far more.
"""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from darts_mim.nn import FedFrame, Inputs, MIMNetwork, PredRNNNetwork, fast_path, recurrent
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.direct import DirectConvolution
from darts_mim.nn.fused.layers import FusedLayer
from darts_mim.nn.fused.unrolling import FusedUnrolling
from darts_mim.nn.fused.winograd import WinogradConvolution
from darts_mim.nn.gates import GateConvolution
from tests.nn.fused.formulas import FormulaKernels
from tests.nn.small import far, joined

OPTIONS = {
    "as it is": {},
    "no normalisation": {"layer_norm": False},
    "no MIM-N": {"nonstationary_unit": False},
    "no MIM-S": {"stationary_unit": False},
    "no MIM-S, no normalisation": {"stationary_unit": False, "layer_norm": False},
    "recomputed": {"recompute": True},
    "pointwise": {"kernel_size": 1, "patch_size": 3},
    "large kernels": {"kernel_size": 5, "patch_size": 1},
    "equal widths": {"hidden_channels": (6, 6)},
    "dropout": {"dropout": nn.Dropout(0.3)},
    "parameters of a distribution": {"out_channels": 4},
}
CONTEXT, HORIZON = 4, 5
# distances from double precision that predictions and gradients keep within
SINGLE, MIXED = (2e-5, 1e-4), (0.1, 0.6)
SAME = 1e-6  # of results that differ at most in the order of a sum


@pytest.fixture(scope="module", autouse=True)
def _native():
    try:
        kernel_library()
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


@pytest.fixture
def _formulas(monkeypatch):
    """Let networks that may take the fast path take it with the formulas, in any type."""

    def fast_path_of(network, context):
        if network.fast_path is False:
            return None
        kernels, kind = FormulaKernels(), context.dtype

        def layer_of(part):
            convolution = DirectConvolution(part.convolution, kind, n_at_once=3)
            return FusedLayer(part, convolution, kernels, kind)

        gates = [part for part in network.modules() if isinstance(part, GateConvolution)]
        layers = {part: layer_of(part) for part in gates}
        return lambda step, n_steps: FusedUnrolling(layers, kernels).running(step)

    monkeypatch.setattr(recurrent, "fast_path_of", fast_path_of)


@pytest.fixture(params=["convolutions of PyTorch", "of fewer products"])
def sizes(request, monkeypatch):
    """Return options of networks that convolve in either way."""
    if request.param == "convolutions of PyTorch":
        return {}
    monkeypatch.setattr(WinogradConvolution, "suits", takes_channels)
    return {"hidden_channels": (32, 64)}


def takes_channels(module, *_):
    """Return whether a convolution could be one of fewer products, on grids of any size."""
    is_wide = module.in_channels % 32 == module.out_channels % 32 == 0
    return is_wide and module.kernel_size[0] in (3, 5)


def network_of(options, kind=MIMNetwork, **more):
    torch.manual_seed(0)
    return kind(
        2,
        **{"hidden_channels": (6, 4, 5), "kernel_size": 3, "patch_size": 2, **options, **more},
    )


def clip_of(dtype=torch.float32):
    generator = torch.Generator().manual_seed(1)
    return torch.rand(3, CONTEXT + HORIZON, 2, 9, 6, generator=generator).to(dtype)


def forecast(network, clip, fast_path, autocast=False, **call):
    """Return predictions, their loss, and the context it depends on."""
    torch.manual_seed(2)  # dropout's masks
    network.fast_path = fast_path
    network.zero_grad()
    context = clip[:, :CONTEXT].clone().requires_grad_()
    if network.out_channels != network.in_channels:
        call["feed_back"] = lambda frame, _: FedFrame(frame[:, :2])
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        predictions, state = network(context, HORIZON, **call)
    target = torch.linspace(0, 1, predictions.numel(), dtype=clip.dtype).view_as(predictions)
    loss = ((predictions - target) ** 2).mean() + state.layers[-1].c.mean() * 0.1
    return predictions, loss, context


def run(network, clip, fast_path, autocast=False, **call):
    """Return predictions, and the gradients of all weights and of the context."""
    predictions, loss, context = forecast(network, clip, fast_path, autocast, **call)
    loss.backward()
    gradients = {name: weight.grad for name, weight in network.named_parameters()}
    return predictions.detach(), {**gradients, "context": context.grad}


def distances(got, expected):
    return far(got[0], expected[0]), far(joined(got[1]), joined(expected[1]))


def check(options, most, kind=MIMNetwork, autocast=False, **call):
    """Hold the fast path to double precision, and both paths to each other."""
    network, clip = network_of(options, kind), clip_of()
    exact = run(copy.deepcopy(network).double(), clip.double(), fast_path=False, **call)
    fast = distances(run(network, clip, True, autocast, **call), exact)
    plain = distances(run(network, clip, False, autocast, **call), exact)
    assert fast != plain  # else it was one path twice
    assert all(distance < bound for distance, bound in zip(fast, most, strict=True)), fast
    return fast, plain


@pytest.mark.usefixtures("_formulas")
@pytest.mark.parametrize(
    ("kind", "name"), [*((MIMNetwork, name) for name in OPTIONS), (PredRNNNetwork, "as it is")]
)
def test_formulas_agree_in_double_precision(kind, name):
    network, clip = network_of(OPTIONS[name], kind).double(), clip_of(torch.float64)
    frames, gradients = run(network, clip, fast_path=True)
    plain_frames, plain_gradients = run(network, clip, fast_path=False)
    assert far(frames, plain_frames) < 1e-10
    for name, gradient in gradients.items():
        assert far(gradient, plain_gradients[name]) < 1e-10, name


@pytest.mark.parametrize("name", OPTIONS)
def test_kernels_agree_in_single_precision(name, sizes):
    check({**OPTIONS[name], **sizes}, SINGLE)


def test_kernels_agree_in_predrnn(sizes):
    check(sizes, SINGLE, PredRNNNetwork)


@pytest.mark.parametrize("name", ["as it is", "no normalisation", "recomputed"])
def test_kernels_agree_in_mixed_precision(name, sizes):
    fast, plain = check({**OPTIONS[name], **sizes}, MIXED, autocast=True)
    assert min(fast[0], plain[0]) > 1e-4  # else it was no bfloat16


def test_everything_that_is_read_beside_the_frames_agrees(sizes):
    steps, generator = CONTEXT + HORIZON - 1, torch.Generator().manual_seed(3)
    clip = clip_of(torch.float64)
    inputs = Inputs(
        planes=torch.rand(3, steps, 2, 9, 6, generator=generator),
        constants=torch.rand(3, 1, 9, 6, generator=generator),
        scalars=torch.rand(3, steps, 2, generator=generator),
    )
    feed_true = torch.rand(3, steps - 1, generator=generator) < 0.5
    observed = torch.rand(3, CONTEXT + HORIZON, 2, 9, 6, generator=generator) < 0.8
    network = network_of(sizes, plane_channels=3, scalar_channels=2, reads_observed=True)
    results = []
    for each, fast in ((copy.deepcopy(network).double(), False), (network, True)):
        dtype = each.head.weight.dtype
        call = {
            "inputs": Inputs(*(field.to(dtype) for field in inputs)),
            "future": clip[:, CONTEXT:].to(dtype),
            "feed_true": feed_true,
            "observed": observed,
        }
        results.append(run(each, clip.to(dtype), fast, **call))
    frames, gradients = distances(results[1], results[0])
    assert frames < SINGLE[0]
    assert gradients < SINGLE[1]


@pytest.mark.parametrize("n_steps", [1, 3, 100])
def test_weight_gradients_do_not_depend_on_how_many_steps_they_are_taken_over(monkeypatch, n_steps):
    network, clip = network_of({}), clip_of()
    expected = run(network, clip, fast_path=True, autocast=True)
    monkeypatch.setattr(fast_path, "_has_matrix_units", lambda: True)
    monkeypatch.setattr(fast_path, "STEPS_AT_ONCE", n_steps)
    frames, gradients = run(network_of({}), clip, fast_path=True, autocast=True)
    assert far(frames, expected[0]) < SAME
    # products in bfloat16 are summed in float32, steps of a few of them at a time
    assert far(joined(gradients), joined(expected[1])) < 1e-2


def test_steps_repeat_bit_for_bit(sizes):
    clip = clip_of()
    torch.use_deterministic_algorithms(True)
    try:
        first, second = (run(network_of(sizes), clip, fast_path=True) for _ in range(2))
    finally:
        torch.use_deterministic_algorithms(False)
    assert torch.equal(first[0], second[0])
    assert torch.equal(joined(first[1]), joined(second[1]))


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
            assert far(gradient, expected[name]) < 10 * SAME, name


def test_without_gradients_the_forecast_is_the_same(sizes):
    network, clip = network_of(sizes), clip_of()
    expected, _ = run(network, clip, fast_path=True)
    with torch.inference_mode():
        frames, _ = network(clip[:, :CONTEXT], HORIZON)
    assert far(frames, expected) < 10 * SAME


def test_second_derivatives_are_refused(sizes):
    network, clip = network_of(sizes, fast_path=True), clip_of()
    predictions, _ = network(clip[:, :CONTEXT], 2)
    with pytest.raises(RuntimeError, match=r"has no second derivatives.*`fast_path=False`"):
        torch.autograd.grad(predictions.sum(), list(network.parameters()), create_graph=True)


@pytest.mark.parametrize("has_units", [False, True])
def test_a_backward_pass_leaves_nothing_to_the_next_one(monkeypatch, has_units, sizes):
    monkeypatch.setattr(fast_path, "_has_matrix_units", lambda: has_units)
    monkeypatch.setattr(fast_path, "STEPS_AT_ONCE", 3)
    network, clip = network_of(sizes), clip_of()
    _, expected = run(network, clip, fast_path=True, autocast=has_units)
    _, loss, context = forecast(network, clip, fast_path=True, autocast=has_units)
    # of the context alone: the weights' share is computed, and nobody asks for it
    torch.autograd.grad(loss, context, retain_graph=True)
    for _ in range(2):
        network.zero_grad()
        loss.backward(retain_graph=True)
        for name, weight in network.named_parameters():
            assert far(weight.grad, expected[name]) < 10 * SAME, name


def test_a_single_step_gives_weights_that_read_zeros_a_gradient_of_zero(sizes):
    gradients = []
    for fast in (True, False):
        network = network_of(sizes, fast_path=fast)
        network(clip_of()[:, :1], 1)[0].mean().backward()
        gradients.append({name: weight.grad for name, weight in network.named_parameters()})
    assert all(each is not None for each in gradients[0].values())
    assert not gradients[0]["bottom.from_hidden.convolution.weight"].any()
    assert far(joined(gradients[0]), joined(gradients[1])) < 2 * SINGLE[1]


def test_tensors_that_are_kept_elsewhere_are_read_right():
    network, clip = network_of({}), clip_of()
    _, expected = run(network, clip, fast_path=True)

    def copied(tensor):
        return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor)  # laid out anew

    with torch.autograd.graph.saved_tensors_hooks(copied, lambda tensor: tensor):
        _, gradients = run(network, clip, fast_path=True)
    # another memory format may mean another kernel of PyTorch, which sums in another order
    assert far(joined(gradients), joined(expected)) < SINGLE[1]


def test_a_weight_that_changes_before_the_backward_pass_is_noticed():
    network = network_of({"layer_norm": False}, fast_path=True)
    loss = network(clip_of()[:, :CONTEXT], 2)[0].mean()
    with torch.no_grad():
        network.bottom.from_hidden.convolution.weight.mul_(2.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("call", [{"batch": 1}, {"height": 13}])
def test_frames_of_another_size_that_are_fed_back_are_refused(call):
    network = network_of({}, fast_path=True)

    def feed_back(frame, _):
        b, c, height, width = frame.shape
        return FedFrame(torch.zeros(call.get("batch", b), c, call.get("height", height), width))

    with pytest.raises(ValueError, match="give frames and states of one batch and grid"):
        network(clip_of()[:, :CONTEXT], 3, feed_back=feed_back)


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
    assert far(frames, network_of({}, fast_path=True)(clip_of()[:, :CONTEXT], 2)[0]) < SAME


@pytest.mark.parametrize("recompute", [False, True])
def test_nothing_is_left_when_a_step_is_done(monkeypatch, recompute, sizes):
    layers = []

    def noted(*args):
        layers.append(FusedLayer(*args))
        return layers[-1]

    monkeypatch.setattr(fast_path, "FusedLayer", noted)
    network, clip = network_of(sizes, recompute=recompute), clip_of()
    gc.collect()
    gc.disable()  # without it, what is part of a cycle stays
    try:
        run(network, clip, fast_path=True)
        references = [weakref.ref(layer) for layer in layers]
        layers.clear()
        assert references
        assert [reference() for reference in references] == [None] * len(references)
    finally:
        gc.enable()
