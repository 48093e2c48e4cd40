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
from darts_mim.nn.fused import build, winograd
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.tensors import channels_last
from darts_mim.nn.fused.winograd import WinogradConvolution, WinogradKernels, Workspace
from tests.nn.small import far

SIZES = [
    pytest.param(2, 64, 96, 16, 16, id="whole tiles"),
    pytest.param(3, 32, 64, 13, 11, id="tiles over the edge"),
    pytest.param(1, 32, 32, 1, 3, id="less than a tile"),
    pytest.param(2, 160, 32, 6, 5, id="more inputs than stay in the cache"),
    pytest.param(5, 96, 160, 33, 9, id="several chunks of both"),
    pytest.param(40, 64, 32, 14, 12, id="more tiles than are evaluated at once"),
]
# sums in float32 of evaluated values, which round up to four times what the definition does; and
# values that are rounded once to bfloat16 (2**-9)
ROUNDING = {torch.float32: 64 * 2.0**-24, torch.bfloat16: 2.0**-9}


@pytest.fixture(scope="module")
def kernels():
    try:
        return WinogradKernels(kernel_library())
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


def module_of(inputs, outputs, kernel):
    torch.manual_seed(inputs + outputs)
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)


def fields_of(b, inputs, outputs, height, width, kind):
    generator = torch.Generator().manual_seed(height)
    x = torch.randn(b, inputs, height, width, generator=generator)
    d_y = torch.randn(b, outputs, height, width, generator=generator)
    return channels_last(x.to(kind)), channels_last(d_y.to(kind))


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


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_weights_are_read_in_any_memory_format_and_their_gradients_have_it(kernels, memory_format):
    module = module_of(32, 64, 5).to(memory_format=memory_format)
    x, d_y = fields_of(1, 32, 64, 8, 8, torch.float32)
    *_, d_weight = defined(module, x, d_y)
    convolution = WinogradConvolution(module, kernels, Workspace())
    convolution.backward(d_y, x, False, True)
    gradient = convolution.take()
    assert gradient.stride() == module.weight.stride()
    assert far(gradient, d_weight) < ROUNDING[torch.float32]


def test_gradients_of_steps_add_up_until_they_are_taken(kernels):
    module, workspace = module_of(32, 32, 3), Workspace()
    convolution = WinogradConvolution(module, kernels, workspace)
    expected = 0.0
    for seed in range(3):
        x, d_y = fields_of(2, 32, 32, 8 + seed, 9, torch.float32)
        expected += defined(module, x, d_y)[2]
        assert convolution.backward(d_y, x, False, True) is None
    assert far(convolution.take(), expected) < ROUNDING[torch.float32]
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


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize(
    ("asked", "has_units", "autocast", "expected"),
    [
        (None, False, False, True),
        (False, False, False, False),
        (True, True, False, True),
        (True, True, True, False),
        (True, False, True, True),
    ],
)
def test_networks_take_it_without_units_for_matrices(
    monkeypatch, asked, has_units, autocast, expected
):
    calls = []
    convolve = WinogradConvolution.convolve
    monkeypatch.setattr(
        WinogradConvolution, "convolve", lambda *args: calls.append(args) or convolve(*args)
    )
    given = {"amx_bf16": has_units}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: given, raising=False)
    network = MIMNetwork(1, (32, 32), kernel_size=3, fast_path=asked)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        network(torch.rand(1, 2, 1, 16, 24), 1)
    assert bool(calls) is expected


@pytest.mark.slow
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
    assert far(convolution.convolve(x), y) < ROUNDING[torch.float32]
    assert far(convolution.backward(d_y, x, True, True), d_x) < ROUNDING[torch.float32]
    assert far(convolution.take(), d_weight) < ROUNDING[torch.float32]
