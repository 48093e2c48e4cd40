"""Open gates, counted by the package and by the paper's equations in slow NumPy."""

from copy import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from darts.models import NaiveSeasonal
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import MIMModel, frames_to_series, series_to_frames
from darts_mim.diagnostics import gate_saturation
from darts_mim.nn.cells import StationaryUnit
from darts_mim.plotting import plot_gates
from tests.references import MIM, gates, logistic

CONTEXT, HORIZON = 3, 2


QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False}
MODEL = {"hidden_channels": (3, 2), "kernel_size": 3, "patch_size": 2, "n_epochs": 1}


def make_model(**options):
    options = {**MODEL, "random_state": 0, "pl_trainer_kwargs": QUIET, **options}
    return MIMModel(CONTEXT, HORIZON, **options)


def make_series(length=12, shape=(2, 5, 7), seed=0, dtype=np.float64, **options):
    frames = np.random.default_rng(seed).normal(size=(length, *shape))
    return frames_to_series(frames, dtype=dtype, **options)


class WatchedMIM(MIM):
    """The slow network, which notes its gates: by layer, then by step."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.noted = [[] for _ in self.widths]

    def _st_lstm(self, x, h, c, m):
        forget = gates(self.parameters, "bottom.from_input", x, 7)[2]
        forget = forget + gates(self.parameters, "bottom.from_hidden", h, 4)[2]
        self.noted[0].append(logistic(forget))
        return super()._st_lstm(x, h, c, m)

    def _mim_s(self, name, d, c, s):
        kept, s = super()._mim_s(name, d, c, s)
        layer = int(name.split(".")[1]) + 1
        self.noted[layer].append(np.divide(kept, c, where=c != 0.0, out=np.full_like(c, np.nan)))
        return kept, s

    def shares(self, threshold):
        """Return the shares of gates above a threshold, (steps, layers)."""

        def share(gate):
            return np.nan if np.isnan(gate).all() else np.mean(gate[~np.isnan(gate)] > threshold)

        return np.array([[share(gate) for gate in layer] for layer in self.noted]).T


def watched(model, history, n):
    """Forecast with the slow network of a model's parameters; return it."""
    network = model.model.network
    oracle = WatchedMIM(
        {name: p.detach().double().numpy() for name, p in network.named_parameters()},
        network.hidden_channels,
        network.patch_size,
    )
    oracle.forecast(series_to_frames(history)[-CONTEXT:], n)
    return oracle


@pytest.fixture(scope="module")
def fitted():
    return make_model(hidden_channels=(3, 2, 4), damped_persistence=False).fit(make_series())


class TestShares:
    @pytest.mark.parametrize(("threshold", "n"), [(0.9, 2), (0.7, 4), (0.2, 4)])
    def test_they_are_those_of_the_equations(self, fitted, threshold, n):
        history = make_series(seed=1)
        saturation = gate_saturation(fitted, history, threshold, n=n)
        expected = watched(fitted, history, n).shares(threshold)
        np.testing.assert_allclose(saturation.shares, expected, rtol=1e-12)
        # at the first step there is nothing for MIM to keep
        assert np.isnan(expected[0]).tolist() == [False, True, True]
        assert np.isfinite(expected[1:]).all()
        assert saturation.shares.index.tolist() == list(range(1 - CONTEXT, n))
        assert saturation.shares.columns.tolist() == [1, 2, 3]
        assert (saturation.gates, saturation.threshold) == (("f", "T / C", "T / C"), threshold)

    def test_series_count_alike_whatever_the_batch_size(self, fitted):
        group = [make_series(seed=seed) for seed in range(5)]
        each = [gate_saturation(fitted, one).shares for one in group]
        together = gate_saturation(fitted, group).shares
        np.testing.assert_allclose(together, np.mean(each, axis=0), rtol=1e-12)
        fitted.batch_size, kept = 2, fitted.batch_size
        np.testing.assert_array_equal(gate_saturation(fitted, group).shares, together)
        fitted.batch_size = kept

    @pytest.mark.parametrize(("factor", "share"), [(2.0, 1), (0.95, 1), (0.85, 0), (-2.0, 0)])
    def test_a_quotient_counts_with_its_sign_and_beyond_one(
        self, fitted, monkeypatch, factor, share
    ):
        monkeypatch.setattr(StationaryUnit, "forward", lambda self, d, c, s: (factor * c, s))
        shares = gate_saturation(fitted, make_series()).shares
        assert (shares.loc[2 - CONTEXT :, [2, 3]] == share).all(axis=None)

    def test_without_mim_s_there_is_no_gate(self):
        model = make_model(stationary_unit=False).fit(make_series())
        saturation = gate_saturation(model, make_series())
        assert saturation.gates == ("f", "")
        assert saturation.shares[1].notna().all()
        assert saturation.shares[2].isna().all()
        labels = [line.get_label() for line in plot_gates(saturation).axes[0].lines]
        assert labels[1] == "layer 2 (no MIM-S, no gate)"

    def test_cells_that_are_not_observed_are_left_out(self):
        mask = np.zeros((5, 7), bool)
        mask[4, 6] = True  # in the last of 3x4 patches, most of which is padding
        series = make_series(mask=mask)
        model = make_model(hidden_channels=(1, 1)).fit(series)
        shares = gate_saturation(model, series, 0.5).shares.iloc[1:]
        assert set(np.unique(shares)) <= {0.0, 1.0}  # of one element

    @pytest.mark.gpu
    def test_they_are_left_out_on_a_gpu_as_well(self):
        mask = np.arange(35).reshape(5, 7) % 3 > 0
        series = make_series(mask=mask, dtype=np.float32)
        model = make_model().fit(series)
        expected = gate_saturation(model, series, 0.5).shares
        model.trainer_params["accelerator"] = "gpu"
        found = gate_saturation(model, series, 0.5).shares
        np.testing.assert_allclose(found, expected, atol=0.01)


class TestModels:
    def test_covariates_are_read(self):
        series = make_series(dtype=np.float32)
        calendar = make_series(20, (1, 5, 7), seed=1, dtype=np.float32)
        covariates = {"past_covariates": calendar, "future_covariates": calendar}
        model = make_model().fit(series, **covariates)
        shares = gate_saturation(model, series, 0.7, n=4, **covariates).shares
        other = {name: each * 5.0 for name, each in covariates.items()}
        assert not shares.equals(gate_saturation(model, series, 0.7, n=4, **other).shares)

    def test_a_likelihood_feeds_back_its_centre_and_steps_of_a_gap_are_counted(self):
        series = make_series(dtype=np.float32)
        options = {"likelihood": GaussianLikelihood(), "dropout": 0.2, "output_chunk_shift": 2}
        model = make_model(**options).fit(series)
        first, second = (gate_saturation(model, series, 0.7).shares for _ in range(2))
        assert first.equals(second)
        assert first.index.tolist() == [-2, -1, 0, 1, 2, 3]

    def test_they_are_left_as_they_were(self, fitted):
        history = make_series(seed=2)
        module = fitted.model
        before = fitted.predict(4, series=history)
        modes = [each.training for each in module.modules()]
        random = torch.get_rng_state()
        gate_saturation(fitted, history)
        assert torch.equal(torch.get_rng_state(), random)
        assert [each.training for each in module.modules()] == modes
        assert module.network.fast_path is None
        assert fitted.predict(4, series=history) == before
        with pytest.raises(ValueError, match="too short to extract"):
            gate_saturation(fitted, make_series(CONTEXT - 1))
        assert not any(each._forward_hooks or each._forward_pre_hooks for each in module.modules())


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("naive", {}, TypeError, r"`model` must be a model of this package.*Naive"),
        ("unfitted", {}, ValueError, "`model` must be fitted"),
        ("no gates", {}, TypeError, r"`model` must have recurrent layers .* got a MIMModel"),
        ("fitted", {"n": 0}, ValueError, "`n`"),
        ("fitted", {"threshold": 90}, ValueError, r"`threshold` must be in \(0, 1\), got 90"),
    ],
)
def test_refusals_name_the_argument(fitted, name, options, error, message):
    without = copy(fitted)
    without.model = SimpleNamespace(network=torch.nn.Conv2d(1, 1, 1))
    others = {"naive": NaiveSeasonal(), "unfitted": make_model(), "no gates": without}
    model = others.get(name, fitted)
    with pytest.raises(error, match=message):
        gate_saturation(model, make_series(), **options)
