"""The kernels in C against the formulas, and the formulas against autograd."""

import numpy as np
import pytest
import torch
from torch import Tensor

from darts_mim.nn import MIMNetwork
from darts_mim.nn.fused import compiled as compiled_module
from darts_mim.nn.fused import dispatch
from darts_mim.nn.fused.build import CannotBuildError, kernel_library
from darts_mim.nn.fused.compiled import CompiledKernels
from darts_mim.nn.fused.formulas import N_GATES, FormulaKernels, Part, Source
from darts_mim.nn.fused.native import NativeKernels

SIZES = [
    pytest.param((3, 20, 7, 11), id="several blocks of rows, a last one that is not full"),
    pytest.param((1, 5, 1, 4), id="one line"),
    pytest.param((2, 3, 6, 1), id="one column"),
    pytest.param((2, 1, 1, 1), id="one value"),
    pytest.param((2, 64, 16, 16), id="the paper's"),
]
MODES = ["remember", "admit", "emit"]
KINDS = {torch.float32: 3e-6, torch.bfloat16: 6e-3}
FORMULAS = FormulaKernels()


@pytest.fixture(scope="module")
def native() -> NativeKernels:
    try:
        return NativeKernels(kernel_library())
    except CannotBuildError as error:
        pytest.skip(f"no kernels: {error}")


def laid_out(tensor: Tensor) -> Tensor:
    return tensor.contiguous(memory_format=torch.channels_last)


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
        raw = laid_out(torch.randn(b, n_all, height, width, generator=generator).to(kind))
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


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_statistics_are_the_formulas(native, size, kind):
    raw = laid_out(torch.randn(size, generator=torch.Generator().manual_seed(0)).to(kind) * 3 + 20)
    expected = FORMULAS.statistics(raw.double(), 1e-5)
    if raw[0].numel() == 1:
        np.testing.assert_allclose(native.statistics(raw, 1e-5)[:, 1], 1e-5**-0.5, rtol=1e-6)
    torch.testing.assert_close(native.statistics(raw, 1e-5).double(), expected, rtol=2e-6, atol=0.0)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("size", SIZES)
def test_gates_and_their_gradients_are_the_formulas(native, size, mode, kind, norm):
    sources, _ = random_sources(size, N_GATES[mode], kind, norm)
    state, grad = (laid_out(each) for each in torch.randn(2, *size))
    exact = (mode, doubled(sources), state.double())
    result = native.gates(mode, sources, state)
    assert distance(result, FORMULAS.gates(*exact)) < KINDS[torch.float32]
    got = native.gates_backward(mode, sources, state, grad)
    expected = FORMULAS.gates_backward(*exact, grad.double())
    assert got[0].dtype is kind
    assert distance(got[0], expected[0]) < KINDS[kind]
    assert distance(got[1], expected[1]) < KINDS[torch.float32]
    summed = expected[2] if norm else expected[2][:, :, :1]  # without norm nobody reads the others
    assert distance(got[2][:, :, : summed.shape[2]], summed) < 2e-5


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", SIZES)
def test_gradients_of_outputs_are_the_formulas(native, size, kind, norm):
    _, outputs = random_sources(size, 1, kind, norm)
    raw, stats, gain = outputs[0]
    b, c = size[:2]
    widths = (c, 2 * c)
    parts = [
        Part(
            laid_out(torch.randn(b, width, *size[2:]).to(kind)),
            torch.randn(b, 2, width),
        )
        for width in widths
    ]
    got, expected = torch.empty_like(raw), torch.empty_like(raw, dtype=torch.float64)
    affine = native.raw_gradient(parts, raw, stats, gain, got)
    exact = [Part(part.d_pre.double(), part.sums.double()) for part in parts]
    doubles = [None if each is None else each.double() for each in (stats, gain)]
    exact_affine = FORMULAS.raw_gradient(exact, raw.double(), *doubles, expected)
    assert distance(got, expected) < KINDS[kind]
    n_used = 2 if norm else 1
    assert distance(affine[:n_used], exact_affine[:n_used]) < KINDS[torch.float32]


@pytest.mark.parametrize("x", [-200.0, -90.0, -3.0, -1e-3, 0.0, 1e-6, 0.29, 0.31, 20.0, 200.0])
def test_functions_are_exact_far_out_and_near_zero(native, x):
    raw, state = laid_out(torch.full((1, 3, 2, 2), x)), torch.full((1, 1, 2, 2), x)
    sources = [Source(raw, None, None, None)]
    wide = torch.tensor(x, dtype=torch.float64)
    emitted = native.gates("emit", [Source(raw[:, :1], None, None, None)], state)
    expected = torch.sigmoid(wide) * torch.tanh(wide)
    np.testing.assert_allclose(emitted[0, 0, 0, 0], expected, rtol=1e-6, atol=1e-37)
    remembered = native.gates("remember", sources, state)
    expected = torch.sigmoid(wide) * wide + torch.sigmoid(wide) * torch.tanh(wide)
    np.testing.assert_allclose(remembered[0, 0, 0, 0], expected, rtol=1e-6, atol=1e-35)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", MODES)
def test_values_that_are_no_numbers_stay_none(native, mode, kind):
    raw = laid_out(torch.zeros(2, N_GATES[mode] * 4, 3, 3, dtype=kind))
    raw[0, 1, 2, 2] = torch.nan
    result = native.gates(mode, [Source(raw, None, None, None)], torch.zeros(2, 4, 3, 3))
    assert result.isnan().nonzero().tolist() == [[0, 1, 2, 2]]
    stats = native.statistics(raw, 1e-5)
    assert stats.isnan().tolist() == [[True, True], [False, False]]
    gradient, _, _ = native.gates_backward(
        mode, [Source(raw, None, None, None)], torch.zeros(2, 4, 3, 3), torch.ones(2, 4, 3, 3)
    )
    assert gradient[0, :, 2, 2].isnan().any()


def test_sources_that_are_laid_out_otherwise_are_read_right(native):
    sources, _ = random_sources((2, 8, 5, 6), 1, torch.float32, norm=True)
    state = torch.randn(2, 8, 5, 6)
    expected = native.gates("emit", sources, laid_out(state))
    moved = [source._replace(raw=source.raw.contiguous()) for source in sources]
    assert torch.equal(native.gates("emit", moved, state), expected)


@pytest.mark.parametrize("mode", MODES)
def test_results_do_not_depend_on_the_number_of_threads(native, mode):
    size = 3, 16, 33, 19  # so much that the threads share it
    sources, outputs = random_sources(size, N_GATES[mode], torch.float32, norm=True)
    raw, stats, gain = outputs[1]
    state, grad = (laid_out(each) for each in torch.randn(2, *size))
    n_threads, results = torch.get_num_threads(), []
    try:
        for n in (1, 2, 3):
            torch.set_num_threads(n)
            d_pre, d_state, sums = native.gates_backward(mode, sources, state, grad)
            d_raw = torch.empty_like(raw)
            part = Part(d_pre, sums[0])
            affine = native.raw_gradient([part], raw, stats, gain, d_raw)
            more = native.gates(mode, sources, state), native.statistics(raw, 1e-5)
            results.append((d_pre, d_state, sums, d_raw, affine, *more))
    finally:
        torch.set_num_threads(n_threads)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.slow
# torch's compiler imports what torch itself calls deprecated
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
def test_compiled_formulas_are_the_formulas():
    compiled, kind, mode = CompiledKernels(), torch.float32, "remember"
    for size in ((2, 8, 6, 10), (3, 8, 5, 7)):
        sources, outputs = random_sources(size, N_GATES[mode], kind, norm=True)
        state, grad = torch.randn(2, *size)
        result = compiled.gates(mode, sources, state)
        assert distance(result, FORMULAS.gates(mode, sources, state)) < 1e-5
        got = compiled.gates_backward(mode, sources, state, grad)
        expected = FORMULAS.gates_backward(mode, sources, state, grad)
        for each, wanted in zip(got, expected, strict=True):
            assert distance(each, wanted) < 2 * KINDS[kind]
        raw, stats, gain = outputs[1]
        assert distance(compiled.statistics(raw, 1e-5), stats) < 1e-5
        part, out, wanted = Part(got[0], got[2][1]), torch.empty_like(raw), raw.clone()
        affine = compiled.raw_gradient([part], raw, stats, gain, out)
        exact = FORMULAS.raw_gradient([part], raw, stats, gain, wanted)
        assert distance(out, wanted) < 2 * KINDS[kind]
        assert distance(affine, exact) < 1e-5


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method.* is deprecated:DeprecationWarning")
def test_nothing_is_compiled_more_often_than_the_compiler_keeps(monkeypatch):
    counts = []

    def compile_formula(formula, dynamic):
        number = len(counts)
        counts.append(0)

        def backend(graph, _):
            counts[number] += 1
            return graph  # how often is the same as with kernels

        return compile_as_it_is(formula, dynamic=dynamic, backend=backend)

    compile_as_it_is = torch.compile
    monkeypatch.setattr(torch, "compile", compile_formula)
    monkeypatch.setattr(dispatch, "_kernels_for", lambda *_: CompiledKernels())
    compiled_module._compiled.cache_clear()
    network = MIMNetwork(1, (4, 4, 3), kernel_size=3, patch_size=2, fast_path=True)
    clip = torch.rand(3, 3, 1, 10, 14)
    try:
        for frames in (clip, clip[:2], clip[..., :8]):
            network(frames[:, :2], 2)[0].square().mean().backward()
            with torch.inference_mode():
                network(frames[:, :2], 2)
        n_compiled = sum(counts)
        network(clip[:, :2], 2)[0].square().mean().backward()
    finally:
        compiled_module._compiled.cache_clear()
    assert sum(counts) == n_compiled
    assert 1 <= max(counts) < 8  # of more of them it would not say how many
