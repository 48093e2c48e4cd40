"""Convolutions by fewer products against the definition, and when they are taken."""

import ctypes
import platform
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from torch import nn

from darts_mim.nn import MIMNetwork
from darts_mim.nn.costs import metered
from darts_mim.nn.fused import build, dispatch, winograd
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.winograd import WinogradConvolution, WinogradKernels, Workspace

SIZES = [
    pytest.param(2, 64, 96, 16, 16, id="whole tiles"),
    pytest.param(3, 32, 64, 13, 11, id="tiles over the edge"),
    pytest.param(1, 32, 32, 1, 3, id="less than a tile"),
    pytest.param(2, 160, 32, 6, 5, id="more inputs than stay in the cache"),
    pytest.param(5, 96, 160, 33, 9, id="several chunks of both"),
    pytest.param(40, 64, 32, 14, 12, id="more tiles than are evaluated at once"),
]
# of a value rounded once, and of sums that are rounded as they grow
ROUNDING = {torch.float32: 2e-6, torch.bfloat16: 2e-3}


@pytest.fixture(scope="module")
def kernels():
    try:
        return WinogradKernels(kernel_library())
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


def laid_out(tensor):
    return tensor.contiguous(memory_format=torch.channels_last)


def module_of(inputs, outputs, kernel):
    torch.manual_seed(inputs + outputs)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def far(got, expected):
    """Return the distance by the size, in the Euclidean norm."""
    return float((got.double() - expected.double()).norm() / expected.double().norm())


def fields_of(b, inputs, outputs, height, width, kind):
    generator = torch.Generator().manual_seed(height)
    x = torch.randn(b, inputs, height, width, generator=generator)
    d_y = torch.randn(b, outputs, height, width, generator=generator)
    return laid_out(x.to(kind)), laid_out(d_y.to(kind))


def defined(module, x, d_y):
    """Return the output and the gradients of input and weight, by definition, in float64."""
    x, weight = x.double().requires_grad_(), module.weight.detach().double().requires_grad_()
    y = torch.conv2d(x, weight, padding=module.padding)
    y.backward(d_y.double())
    return y.detach(), x.grad, weight.grad


@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("b", "inputs", "outputs", "height", "width"), SIZES)
def test_it_is_the_convolution_and_its_gradients(
    kernels, b, inputs, outputs, height, width, kernel, kind
):
    module = module_of(inputs, outputs, kernel)
    x, d_y = fields_of(b, inputs, outputs, height, width, kind)
    y, d_x, d_weight = defined(module, x, d_y)
    convolution = WinogradConvolution(module, kernels, Workspace())
    assert far(convolution.convolve(x), y) < ROUNDING[kind]
    assert far(convolution.backward(d_y, x, True, True), d_x) < ROUNDING[kind]
    assert far(convolution.take(), d_weight) < ROUNDING[torch.float32]


def test_it_rounds_at_most_four_times_what_the_definition_does(kernels):
    module = module_of(64, 448, 5)
    x, d_y = fields_of(8, 64, 448, 16, 16, torch.float32)
    expected, *_ = defined(module, x, d_y)
    got = WinogradConvolution(module, kernels, Workspace()).convolve(x)
    plain = torch.conv2d(x, module.weight.detach(), padding=2)
    assert far(got, expected) < 4 * far(plain, expected)


@pytest.mark.parametrize("layout", ["as it is made", "channels innermost"])
def test_weights_are_read_in_any_layout_and_their_gradients_have_it(kernels, layout):
    module = module_of(32, 64, 5)
    if layout == "channels innermost":
        module.to(memory_format=torch.channels_last)
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    *_, d_weight = defined(module, x, d_y)
    convolution = WinogradConvolution(module, kernels, Workspace())
    convolution.backward(d_y, x, False, True)
    gradient = convolution.take()
    assert gradient.stride() == module.weight.stride()
    assert far(gradient, d_weight) < 2e-6


def test_gradients_of_steps_add_up_until_they_are_taken(kernels):
    module, workspace = module_of(32, 32, 3), Workspace()
    convolution = WinogradConvolution(module, kernels, workspace)
    expected = 0.0
    for seed in range(3):
        x, d_y = fields_of(2, 32, 32, 8 + seed, 9, torch.float32)
        expected += defined(module, x, d_y)[2]
        assert convolution.backward(d_y, x, False, True) is None
    assert far(convolution.take(), expected) < 2e-6
    assert convolution.take() is None
    convolution.backward(d_y, x, True, False)
    assert convolution.take() is None


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("outputs", [32, 192])
def test_results_do_not_depend_on_the_number_of_threads(kernels, kernel, outputs):
    module = module_of(64, outputs, kernel)
    x, d_y = fields_of(2, 64, outputs, 14, 15, torch.float32)
    results = []
    threads = torch.get_num_threads()
    try:
        for n in (1, 2, 7, 40):
            torch.set_num_threads(n)
            convolution = WinogradConvolution(module, kernels, Workspace())
            y, d_x = convolution.convolve(x), convolution.backward(d_y, x, True, True)
            results.append((y, d_x, convolution.take()))
    finally:
        torch.set_num_threads(threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_a_sample_is_the_same_alone_and_among_others(kernels):
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, Workspace())
    x, _ = fields_of(7, 32, 64, 10, 10, torch.float32)
    assert torch.equal(convolution.convolve(x)[3:4], convolution.convolve(x[3:4]))


def test_sizes_of_slabs_are_those_of_the_library(kernels):
    library = kernel_library()
    expected = library.winograd_slab(), library.winograd_half_slab()
    assert expected == (winograd._SLAB, winograd._HALF_SLAB)


def test_nothing_comes_of_an_empty_batch(kernels):
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, Workspace())
    x = torch.empty(0, 32, 8, 8)
    y = convolution.convolve(x)
    assert y.shape == (0, 64, 8, 8)
    assert convolution.backward(y, x, True, True).shape == x.shape
    assert not convolution.take().any()


def test_other_default_devices_and_types_are_no_matter(kernels):
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, Workspace())
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    expected = convolution.convolve(x)
    with torch.device("meta"):
        assert torch.equal(convolution.convolve(x), expected)
        assert convolution.backward(d_y, x, True, True).device.type == "cpu"
        assert convolution.take().device.type == "cpu"


def test_weights_of_other_types_are_refused(kernels):
    module = module_of(32, 64, 5).bfloat16()
    with pytest.raises(ValueError, match=r"must be float32 .* got torch\.bfloat16"):
        WinogradConvolution(module, kernels, Workspace()).convolve(torch.rand(1, 32, 8, 8))


def test_evaluated_weights_need_not_be_kept(kernels):
    module = module_of(32, 64, 5)
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    results = []
    for keeps in (True, False):
        convolution = WinogradConvolution(module, kernels, Workspace(), keeps)
        y, d_x = convolution.convolve(x), convolution.backward(d_y, x, True, True)
        results.append((y, d_x, convolution.take()))
        assert bool(convolution._kept) is keeps
    assert all(torch.equal(*each) for each in zip(*results, strict=True))


def test_a_weight_that_was_changed_in_between_is_noticed(kernels):
    module = module_of(32, 64, 5)
    convolution = WinogradConvolution(module, kernels, Workspace())
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    with torch.no_grad():
        module.weight.mul_(2)
    with pytest.raises(RuntimeError, match="a weight has been modified by an inplace operation"):
        convolution.backward(d_y, x, True, False)


def test_several_threads_may_share_a_workspace(kernels):
    workspace = Workspace()
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, workspace)
    x, d_y = fields_of(4, 32, 64, 16, 16, torch.float32)
    expected = convolution.backward(d_y, x, True, False)
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(convolution.backward, d_y, x, True, False) for _ in range(40)]
    assert all(torch.equal(job.result(), expected) for job in jobs)


def test_what_is_infinite_stays_in_its_tiles(kernels):
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, Workspace())
    x, _ = fields_of(1, 32, 64, 16, 16, torch.float32)
    expected = convolution.convolve(x)
    x[0, 3, 8, 8] = torch.inf
    is_finite = convolution.convolve(x)[0].isfinite().all(dim=0)
    reached = torch.zeros(16, 16, dtype=torch.bool)
    reached[6:12, 6:12] = True  # the tiles of two by two that read it
    assert is_finite[~reached].all()
    assert not is_finite[6:11, 6:11].any()
    y = convolution.convolve(x)[0]
    assert torch.equal(y[:, is_finite], expected[0][:, is_finite])


def test_sizes_that_do_not_go_together_are_refused(kernels):
    convolution = WinogradConvolution(module_of(32, 64, 5), kernels, Workspace())
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    with pytest.raises(ValueError, match="32 channels is convolved with this weight, got 64"):
        convolution.convolve(d_y)
    with pytest.raises(ValueError, match=r"gradient must be torch\.float32 of the shape"):
        convolution.backward(d_y[..., 1:], x, False, True)
    with pytest.raises(ValueError, match=r"gradient must be torch\.float32 of the shape"):
        convolution.backward(d_y.bfloat16(), x, False, True)


@pytest.mark.parametrize(
    ("inputs", "outputs", "kernel", "grid", "expected"),
    [
        (64, 448, 5, (16, 16), True),
        (64, 448, 3, (16, 16), True),
        (32, 96, 5, (7, 8), True),
        (32, 96, 5, (5, 3), False),  # fewer tiles than are multiplied at once
        (32, 96, 3, (1, 65), False),  # most of the tiles lies outside
        (512, 1536, 3, (64, 64), False),  # the evaluated weight is large
        (16, 64, 5, (16, 16), False),
        (64, 48, 5, (16, 16), False),
        (64, 64, 1, (16, 16), False),
        (64, 64, 7, (16, 16), False),
    ],
)
def test_where_it_is_taken(inputs, outputs, kernel, grid, expected):
    assert WinogradConvolution.suits(module_of(inputs, outputs, kernel), *grid) is expected


def used_by(network, clip, monkeypatch, autocast=False):
    """Return how often a network convolves so in one call."""
    calls = []
    plain = WinogradConvolution.convolve
    with monkeypatch.context() as patch:
        patch.setattr(WinogradConvolution, "convolve", lambda *a: calls.append(a) or plain(*a))
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            network(clip, 1)
    return len(calls)


@pytest.mark.usefixtures("kernels")
def test_networks_take_it_without_units_for_matrices(monkeypatch):
    torch.manual_seed(0)
    network, clip = MIMNetwork(1, (32, 32), kernel_size=3), torch.rand(1, 2, 1, 16, 24)
    assert used_by(network, clip, monkeypatch) > 0
    network.fast_path = False
    assert used_by(network, clip, monkeypatch) == 0
    network.fast_path = True
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    assert used_by(network, clip, monkeypatch) > 0
    assert used_by(network, clip, monkeypatch, autocast=True) == 0
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": False})
    assert used_by(network, clip, monkeypatch, autocast=True) > 0


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("recompute", [False, True])
@pytest.mark.parametrize("kernel", [3, 5])
def test_networks_agree_with_the_plain_path(kernel, recompute):
    torch.manual_seed(0)
    network = MIMNetwork(1, (32, 64), kernel_size=kernel, patch_size=2, recompute=recompute)
    clip = torch.rand(2, 4, 1, 21, 26)
    results = []
    for fast_path in (True, False):
        network.fast_path = fast_path
        network.zero_grad()
        frames, _ = network(clip, 3)
        ((frames - 0.5) ** 2).mean().backward()
        gradients = torch.cat([each.grad.flatten() for each in network.parameters()])
        results.append((frames.detach(), gradients))
    (frames, gradients), (plain_frames, plain_gradients) = results
    assert far(frames, plain_frames) < 1e-5
    assert far(gradients, plain_gradients) < 1e-5


@pytest.mark.usefixtures("kernels")
def test_mixed_precision_errs_less_than_the_plain_path():
    torch.manual_seed(0)
    network, clip = (
        MIMNetwork(1, (32, 32), kernel_size=5, patch_size=2),
        torch.rand(2, 4, 1, 20, 20),
    )
    errors = {}
    with torch.no_grad():
        exact, _ = network.double()(clip.double(), 3)
        network.float()
        for fast_path in (True, False):
            network.fast_path = fast_path
            with torch.autocast("cpu", torch.bfloat16):
                errors[fast_path] = far(network(clip, 3)[0], exact)
    assert errors[True] < errors[False]


def test_costs_are_counted_by_definition_and_with_its_own_memory(kernels):
    def cost(make):
        with metered() as meter:
            module = nn.Conv2d(32, 64, 5, padding=2, bias=False)
            x = torch.empty(2, 32, 16, 16)
            convolution = make(module)
            meter.flops = 0
            y = convolution.convolve(x)
            convolution.backward(torch.empty_like(y), x, True, True)
            assert convolution.take().shape == module.weight.shape
            return meter.flops, meter.peak

    flops, peak = cost(lambda each: WinogradConvolution(each, WinogradKernels(None), Workspace()))
    direct_flops, direct_peak = cost(
        lambda each: dispatch.DirectConvolution(each, torch.float32, 1)
    )
    assert flops == direct_flops == 3 * 2 * 2 * 16 * 16 * 32 * 64 * 25
    assert peak > direct_peak


@pytest.mark.skipif(
    platform.machine() != "x86_64" or "avx2" not in Path("/proc/cpuinfo").read_text(),
    reason="builds for x86-64 processors with AVX2",
)
@pytest.mark.parametrize("processor", ["x86-64", "haswell"])
def test_it_is_right_on_processors_with_shorter_vectors(tmp_path, kernels, processor):
    library = tmp_path / "kernels.so"
    options = [option for option in build._OPTIONS if option != "-march=native"]
    command = ["cc", *options, f"-march={processor}", *map(str, build.SOURCES), "-lm"]
    subprocess.run([*command, "-o", str(library)], check=True)
    others = WinogradKernels(ctypes.CDLL(str(library)))
    assert others._panel < 32
    module = module_of(64, 96, 5)
    x, d_y = fields_of(2, 64, 96, 9, 10, torch.float32)
    y, d_x, d_weight = defined(module, x, d_y)
    convolution = WinogradConvolution(module, others, Workspace())
    assert far(convolution.convolve(x), y) < 2e-6
    assert far(convolution.backward(d_y, x, True, True), d_x) < 2e-6
    assert far(convolution.take(), d_weight) < 2e-6
