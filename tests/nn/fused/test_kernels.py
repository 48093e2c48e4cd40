"""The elementwise kernels in C against the formulas."""

import numpy as np
import pytest
import torch
from torch import Tensor

from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.native import N_GATES, NativeKernels, Part, Source
from darts_mim.nn.fused.tensors import channels_last
from tests.nn.fused.formulas import FormulaKernels

SIZES = [
    pytest.param((3, 20, 7, 11), id="several blocks of rows, a last one that is not full"),
    pytest.param((1, 5, 1, 4), id="one line"),
    pytest.param((2, 3, 6, 1), id="one column"),
    pytest.param((2, 1, 1, 1), id="one value"),
    pytest.param((2, 64, 16, 16), id="the paper's"),
]
MODES = ["remember", "admit", "emit"]
# of the largest value: some roundings of float32, and one of bfloat16 (2**-9)
ROUNDING = {torch.float32: 50 * 2.0**-24, torch.bfloat16: 3 * 2.0**-9}
OF_SUMS = 400 * 2.0**-24
FORMULAS = FormulaKernels()


@pytest.fixture(scope="module")
def native() -> NativeKernels:
    try:
        return NativeKernels(kernel_library())
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


def distance(got: Tensor, expected: Tensor) -> float:
    """Return the largest distance, by the largest value expected."""
    scale = max(float(expected.abs().max()), 1e-3)
    return float((got.double() - expected.double()).abs().max()) / scale


def random_sources(size, n_gates, kind, norm):
    """Return sources that are stretches of wider outputs, and those outputs."""
    b, c, height, width = size
    generator = torch.Generator().manual_seed(n_gates)
    sources, outputs = [], []
    for before, after in ((0, 2), (0, 0), (2, 1)):
        n_all = (before + n_gates + after) * c
        raw = channels_last(torch.randn(b, n_all, height, width, generator=generator).to(kind))
        stretch = slice(before * c, (before + n_gates) * c)
        gain, bias = torch.randn(2, n_all, generator=generator)
        stats = FORMULAS.statistics(raw, 1e-5) if norm else None
        outputs.append((raw, stats, gain if norm else None))
        sources.append(
            Source(raw[:, stretch], stats, gain[stretch] if norm else None, bias[stretch])
        )
    return sources, outputs


def doubled(sources):
    return [Source(*(None if each is None else each.double() for each in s)) for s in sources]


@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("size", SIZES)
def test_statistics_are_the_formulas(native, size, kind):
    raw = torch.randn(size, generator=torch.Generator().manual_seed(0)).to(kind) * 3 + 20
    got, expected = (
        native.statistics(channels_last(raw), 1e-5),
        FORMULAS.statistics(raw.double(), 1e-5),
    )
    torch.testing.assert_close(got.double(), expected, rtol=ROUNDING[torch.float32], atol=0.0)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_gates_and_their_gradients_are_the_formulas(native, size, mode, kind, norm):
    sources, _ = random_sources(size, N_GATES[mode], kind, norm)
    state, grad = (channels_last(each) for each in torch.randn(2, *size))
    exact = (mode, doubled(sources), state.double())
    result = native.gates(mode, sources, state)
    assert distance(result, FORMULAS.gates(*exact)) < ROUNDING[torch.float32]
    got = native.gates_backward(mode, sources, state, grad)
    expected = FORMULAS.gates_backward(*exact, grad.double())
    assert got[0].dtype is kind
    assert distance(got[0], expected[0]) < ROUNDING[kind]
    assert distance(got[1], expected[1]) < ROUNDING[torch.float32]
    summed = expected[2] if norm else expected[2][:, :, :1]  # without norm nobody reads the others
    assert distance(got[2][:, :, : summed.shape[2]], summed) < OF_SUMS


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("size", SIZES)
def test_gradients_of_outputs_are_the_formulas(native, size, kind, norm):
    _, outputs = random_sources(size, 1, kind, norm)
    raw, stats, gain = outputs[0]
    b, c = size[:2]
    parts = [
        Part(channels_last(torch.randn(b, n, *size[2:]).to(kind)), torch.randn(b, 2, n))
        for n in (c, 2 * c)
    ]
    got, expected = torch.empty_like(raw), torch.empty_like(raw, dtype=torch.float64)
    affine = native.raw_gradient(parts, raw, stats, gain, got)
    exact = [Part(part.d_pre.double(), part.sums.double()) for part in parts]
    doubles = [None if each is None else each.double() for each in (stats, gain)]
    exact_affine = FORMULAS.raw_gradient(exact, raw.double(), *doubles, expected)
    assert distance(got, expected) < ROUNDING[kind]
    n_used = 2 if norm else 1
    assert distance(affine[:n_used], exact_affine[:n_used]) < ROUNDING[torch.float32]


@pytest.mark.parametrize("x", [-200.0, -90.0, -3.0, -1e-3, 0.0, 1e-6, 0.29, 0.31, 20.0, 200.0])
def test_functions_are_exact_far_out_and_near_zero(native, x):
    raw, state = channels_last(torch.full((1, 3, 2, 2), x)), torch.full((1, 1, 2, 2), x)
    wide = torch.tensor(x, dtype=torch.float64)
    emitted = native.gates("emit", [Source(raw[:, :1], None, None, None)], state)
    expected = torch.sigmoid(wide) * torch.tanh(wide)
    np.testing.assert_allclose(emitted[0, 0, 0, 0], expected, rtol=1e-6, atol=1e-37)
    remembered = native.gates("remember", [Source(raw, None, None, None)], state)
    expected = torch.sigmoid(wide) * wide + torch.sigmoid(wide) * torch.tanh(wide)
    np.testing.assert_allclose(remembered[0, 0, 0, 0], expected, rtol=1e-6, atol=1e-35)


@pytest.mark.parametrize("kind", ROUNDING)
@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_no_numbers_stay_none(native, mode, kind):
    raw = channels_last(torch.zeros(2, N_GATES[mode] * 4, 3, 3, dtype=kind))
    raw[0, 1, 2, 2] = torch.nan
    sources, state = [Source(raw, None, None, None)], torch.zeros(2, 4, 3, 3)
    result = native.gates(mode, sources, state)
    assert result.isnan().nonzero().tolist() == [[0, 1, 2, 2]]
    assert native.statistics(raw, 1e-5).isnan().tolist() == [[True, True], [False, False]]
    gradient, _, _ = native.gates_backward(mode, sources, state, torch.ones(2, 4, 3, 3))
    assert gradient[0, :, 2, 2].isnan().any()


def test_sources_that_are_laid_out_otherwise_are_read_right(native):
    sources, _ = random_sources((2, 8, 5, 6), 1, torch.float32, norm=True)
    state = torch.randn(2, 8, 5, 6)
    expected = native.gates("emit", sources, channels_last(state))
    moved = [source._replace(raw=source.raw.contiguous()) for source in sources]
    assert torch.equal(native.gates("emit", moved, state), expected)


@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_the_number_of_threads(native, mode):
    size = 3, 16, 33, 19  # so much that the threads share it
    sources, outputs = random_sources(size, N_GATES[mode], torch.float32, norm=True)
    raw, stats, gain = outputs[1]
    state, grad = (channels_last(each) for each in torch.randn(2, *size))
    n_threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            d_pre, d_state, sums = native.gates_backward(mode, sources, state, grad)
            d_raw = torch.empty_like(raw)
            affine = native.raw_gradient([Part(d_pre, sums[0])], raw, stats, gain, d_raw)
            more = native.gates(mode, sources, state), native.statistics(raw, 1e-5)
            results.append((d_pre, d_state, sums, d_raw, affine, *more))
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))
