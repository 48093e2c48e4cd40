"""Distributions of frames: Darts' likelihoods, samples, intervals and dropout."""

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
import torchmetrics
from darts import TimeSeries
from darts.models import ConformalNaiveModel, ConformalQRModel
from darts.utils.likelihood_models import torch as likelihoods
from darts.utils.likelihood_models.torch import (
    BernoulliLikelihood,
    BetaLikelihood,
    CauchyLikelihood,
    ContinuousBernoulliLikelihood,
    DirichletLikelihood,
    ExponentialLikelihood,
    GammaLikelihood,
    GaussianLikelihood,
    GeometricLikelihood,
    GumbelLikelihood,
    HalfNormalLikelihood,
    LaplaceLikelihood,
    LogNormalLikelihood,
    NegativeBinomialLikelihood,
    PoissonLikelihood,
    QuantileRegression,
    TorchLikelihood,
    WeibullLikelihood,
)

from darts_mim import Grid, MIMModel, series_to_frames
from darts_mim.datasets import ClipTrainingDataset
from darts_mim.models.likelihoods import point_forecast
from darts_mim.nn import StepInputs, unroll
from darts_mim.nn.sampling import HalfTeacherForced
from tests.models import small_models
from tests.models.small_models import GRID, logged, to_series, values

CHANNELS, HEIGHT, WIDTH = GRID.shape
N = GRID.n_components
SMALL_MASK = np.ones((HEIGHT, WIDTH), dtype=bool)
SMALL_MASK[1, 2] = SMALL_MASK[4, 0] = False


def make_frames(length: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(length, *GRID.shape)).astype(np.float32)


def make_series(length: int = 16, seed: int = 0, **options: Any) -> TimeSeries:
    return to_series(make_frames(length, seed), **options)


def make_model(likelihood: TorchLikelihood | None = None, **options: Any) -> MIMModel:
    lengths = {"input_chunk_length": 4, "output_chunk_length": 3}
    return small_models.make_model(likelihood=likelihood, **{**lengths, **options})


class Median(QuantileRegression):
    """A distribution without a spread of its own: each sample is the median."""

    def sample(self, model_output: torch.Tensor) -> torch.Tensor:
        return model_output[..., self.quantiles.index(0.5)]


# --- every likelihood ---------------------------------------------------------------------------


class Case(NamedTuple):
    """A likelihood, what makes values for it of normal ones, and what values it may sample."""

    likelihood: TorchLikelihood
    parameters: list[str]
    make: Callable[[np.ndarray], np.ndarray]
    may_be: Callable[[np.ndarray], np.ndarray]


def counts(x: np.ndarray) -> np.ndarray:
    return np.floor(np.exp(x))


def shares(x: np.ndarray) -> np.ndarray:
    weights = np.exp(x.astype(np.float64))
    return weights / weights.sum(axis=(1, 2, 3), keepdims=True)


def is_count(x: np.ndarray) -> np.ndarray:
    return (x >= 0) & (x == np.round(x))


def is_share(x: np.ndarray) -> np.ndarray:
    return (x >= 0) & (np.abs(x.sum(axis=1, keepdims=True) - 1) < 1e-5)


logistic = scipy.special.expit
REAL = (np.asarray, np.isfinite)
POSITIVE = (np.exp, lambda x: x > 0)
NOT_NEGATIVE = (np.exp, lambda x: x >= 0)
COUNT = (counts, is_count)
SHARE = (logistic, lambda x: (x >= 0) & (x <= 1))
CASES = {
    type(each): Case(each, parameters, *support)
    for each, parameters, support in [
        (BernoulliLikelihood(), ["p"], (lambda x: (x > 0) * 1.0, lambda x: (x == 0) | (x == 1))),
        (BetaLikelihood(), ["alpha", "beta"], SHARE),
        (CauchyLikelihood(), ["xzero", "gamma"], REAL),
        (ContinuousBernoulliLikelihood(), ["lambda"], SHARE),
        (DirichletLikelihood(), ["alpha"], (shares, is_share)),
        (ExponentialLikelihood(), ["lambda"], NOT_NEGATIVE),
        (GammaLikelihood(), ["alpha", "beta"], NOT_NEGATIVE),
        (GaussianLikelihood(), ["mu", "sigma"], REAL),
        (GeometricLikelihood(), ["p"], COUNT),
        (GumbelLikelihood(), ["mu", "beta"], REAL),
        (HalfNormalLikelihood(), ["sigma"], NOT_NEGATIVE),
        (LaplaceLikelihood(), ["mu", "b"], REAL),
        (LogNormalLikelihood(), ["mu", "sigma"], POSITIVE),
        (NegativeBinomialLikelihood(), ["r", "p"], COUNT),
        (PoissonLikelihood(), ["lambda"], COUNT),
        (QuantileRegression([0.1, 0.5, 0.9]), ["q0.100", "q0.500", "q0.900"], REAL),
        (WeibullLikelihood(), ["lambda", "k"], NOT_NEGATIVE),
    ]
}


def fit_case(case: Case, **options: Any) -> MIMModel:
    dtype = np.float64 if case.make is shares else np.float32
    train, val = (case.make(make_frames(seed=seed)).astype(dtype) for seed in (0, 1))
    model = make_model(case.likelihood, **options)
    return model.fit(to_series(train), val_series=to_series(val))


def test_every_likelihood_of_darts_is_tested() -> None:
    found = {
        each
        for _, each in inspect.getmembers(likelihoods, inspect.isclass)
        if issubclass(each, TorchLikelihood) and each is not TorchLikelihood
    }
    assert set(CASES) == found


@pytest.mark.parametrize("case", CASES.values(), ids=[each.__name__ for each in CASES])
def test_a_likelihood_trains_and_forecasts(case: Case) -> None:
    model = fit_case(case)
    assert all(torch.isfinite(p).all() for p in model.model.parameters())
    assert np.isfinite([logged(model)["train_loss"], logged(model)["val_loss"]]).all()
    for n in (2, 3, 5):
        samples = model.predict(n=n, num_samples=3)
        assert values(samples).shape == (n, N, 3)
        assert case.may_be(values(samples)).all()
        assert Grid.from_series(samples) == model.grid
    predicted = {
        n: model.predict(n=n, predict_likelihood_parameters=True, show_warnings=False)
        for n in (2, 3)
    }
    names = model.training_series.components
    assert predicted[3].components.to_list() == [f"{c}_{p}" for c in names for p in case.parameters]
    assert np.isfinite(values(predicted[3])).all()
    np.testing.assert_allclose(values(predicted[2]), values(predicted[3])[:2], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", CASES.values(), ids=[each.__name__ for each in CASES])
def test_what_is_fed_back_is_the_median_or_the_mean(case: Case) -> None:
    generator = torch.Generator().manual_seed(1)
    output = torch.randn(1, 1, 5, len(case.parameters), generator=generator)
    if case.parameters[0].startswith("q"):
        output = output.sort(dim=-1).values
    centre = point_forecast(case.likelihood, output)[0, 0].numpy()
    samples = case.likelihood.sample(output.expand(40_000, -1, -1, -1))[:, 0].numpy()
    means, medians = samples.mean(axis=0), np.median(samples, axis=0)
    spread = samples.std(axis=0)
    is_median = np.isclose(centre, medians, rtol=0.03, atol=0.02)
    is_mean = np.abs(centre - means) < 5 * spread / np.sqrt(len(samples))
    assert is_median.all() or is_mean.all()


# --- parameters, loss, normalisation ------------------------------------------------------------


def step_by_hand(
    model: MIMModel, clip: np.ndarray, is_true: Sequence[bool]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and deviation (T, N) of a Gaussian after each input frame of a clip.

    Frames that are not true are replaced by the mean that was predicted for them.
    """
    mean = deviation = state = None
    means, deviations = [], []
    network = model.model.network.eval()
    with torch.no_grad():
        for t, each in enumerate(is_true):
            frame = torch.from_numpy(clip[None, t].copy()) if each else mean
            inputs = StepInputs(observed=torch.full_like(frame, float(each)))
            prediction, state = network.step(frame, state, inputs)
            mean, deviation = prediction[:, 0::2], torch.log1p(prediction[:, 1::2].exp())
            means.append(mean.flatten())
            deviations.append(deviation.flatten())
    return torch.stack(means), torch.stack(deviations)


@pytest.mark.parametrize("shift", [0, 2])
def test_predicted_parameters_are_those_of_free_running(shift: int) -> None:
    model = make_model(GaussianLikelihood(), output_chunk_shift=shift).fit(make_series())
    history = make_frames(4, seed=1)
    predicted = model.predict(3, to_series(history), predict_likelihood_parameters=True)
    mean, deviation = step_by_hand(model, history, [True] * 4 + [False] * (2 + shift))
    expected = torch.stack([mean, deviation], dim=-1)[-3:].numpy()
    np.testing.assert_allclose(values(predicted).reshape(3, N, 2), expected, rtol=0, atol=1e-5)


def negative_log_likelihood(
    model: MIMModel, clip: np.ndarray, is_true: Sequence[bool]
) -> np.ndarray:
    """Return the loss (T, N) of every next frame of a clip."""
    mean, deviation = step_by_hand(model, clip, is_true)
    target = clip[1:].reshape(len(clip) - 1, -1)
    return -scipy.stats.norm.logpdf(target, mean.numpy(), deviation.numpy())


def test_half_of_the_sequences_train_on_true_frames_and_validation_on_none() -> None:
    clips = np.stack([make_frames(7, seed) for seed in range(5)])
    data = ClipTrainingDataset(clips, 4, 3)
    model = make_model(GaussianLikelihood(), batch_size=5, optimizer_kwargs={"lr": 0.0})
    model.fit_from_dataset(data, val_dataset=data, dataloader_kwargs={"shuffle": False})
    drawn = HalfTeacherForced().draw(
        0, batch=5, context=4, horizon=3, key=(*model.model.random_key, 0)
    )
    order = list(model.trainer.train_dataloader.sampler)
    losses = {
        is_forced: np.stack(
            [negative_log_likelihood(model, clip, [True] * 4 + [is_forced] * 2) for clip in clips]
        )
        for is_forced in (True, False)
    }
    forced = [bool(row[-1]) for row in drawn]
    assert 0 < sum(forced) < 5
    train = [losses[is_forced][i] for i, is_forced in zip(order, forced, strict=True)]
    assert logged(model)["train_loss"] == pytest.approx(np.mean(train), rel=1e-5)
    assert logged(model)["val_loss"] == pytest.approx(losses[False][:, -3:].mean(), rel=1e-5)
    for is_forced in (True, False):
        assert losses[is_forced].mean() != pytest.approx(np.mean(train), rel=2e-5)


def test_true_frames_are_fed_all_the_way_in_about_half_of_the_sequences() -> None:
    draw = partial(HalfTeacherForced().draw, batch=400, context=3, horizon=4)
    drawn = draw(7, key=(1, 2))
    assert drawn.shape == (400, 5)
    assert drawn[:, :2].all()
    assert (drawn[:, 2:] == drawn[:, 2:3]).all()
    assert 160 < drawn[:, 2].sum() < 240
    assert torch.equal(drawn, draw(7, key=(1, 2)))
    for other in (draw(8, key=(1, 2)), draw(7, key=(1, 3))):
        assert not torch.equal(drawn, other)


def test_sample_weights_weigh_the_loss_of_a_likelihood() -> None:
    weight = small_models.make_series(7)
    model = make_model(GaussianLikelihood(), optimizer_kwargs={"lr": 0.0})
    model.fit(make_series(7), sample_weight=weight)
    [row] = HalfTeacherForced().draw(
        0, batch=1, context=4, horizon=3, key=(*model.model.random_key, 0)
    )
    loss = negative_log_likelihood(model, make_frames(7), [True, *row.tolist()])
    ahead = weight.values()[4:]
    weights = np.concatenate([np.tile(ahead.mean(axis=0), (3, 1)), ahead])
    assert logged(model)["train_loss"] == pytest.approx(np.mean(loss * weights), rel=1e-4)


@pytest.mark.parametrize(
    "likelihood",
    [
        GaussianLikelihood(),
        LaplaceLikelihood(),
        CauchyLikelihood(),
        GumbelLikelihood(),
        QuantileRegression([0.1, 0.5, 0.9]),
    ],
    ids=lambda each: type(each).__name__,
)
@pytest.mark.parametrize("affine", [True, False])
def test_normalised_locations_follow_the_level_and_scales_the_scale(
    likelihood: TorchLikelihood, affine: bool
) -> None:
    model = make_model(likelihood, use_reversible_instance_norm={"affine": affine})
    model.fit(make_series())
    with torch.no_grad():
        for p in model.model.rin.parameters():
            p.add_(0.3)
    series = make_series(seed=1)
    plain, moved = (
        values(model.predict(n=3, series=each, predict_likelihood_parameters=True))
        for each in (series, (series * 4.0 + 200.0).astype(np.float32))
    )
    parameters = model.likelihood.num_parameters
    plain, moved = (each.reshape(3, N, parameters) for each in (plain, moved))
    scales = slice(1, 2) if parameters == 2 else slice(0, 0)
    expected = plain * 4.0 + 200.0
    expected[..., scales] = plain[..., scales] * 4.0
    np.testing.assert_allclose(moved, expected, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("likelihood", [PoissonLikelihood(), NegativeBinomialLikelihood()])
def test_normalised_counts_follow_the_level(likelihood: TorchLikelihood) -> None:
    frames = np.random.default_rng(0).poisson(50, size=(16, *GRID.shape))
    series = to_series(frames.astype(np.float32))
    model = make_model(likelihood, use_reversible_instance_norm=True).fit(series)
    low, high = (
        values(model.predict(n=3, series=each.astype(np.float32), num_samples=50)).mean()
        for each in (series, series + 300.0)
    )
    assert 20 < low < 100
    assert high - low == pytest.approx(300, abs=30)


def test_normalisation_is_refused_for_parameters_it_cannot_bring_back() -> None:
    with pytest.raises(ValueError, match=r"`use_reversible_instance_norm` works with .*Gaussian"):
        fit_case(CASES[BetaLikelihood], use_reversible_instance_norm=True)


def test_a_network_that_is_sure_beyond_rounding_still_feeds_its_mean_back() -> None:
    output = torch.tensor([[[[1.5, -200.0]]]])
    assert point_forecast(GaussianLikelihood(), output).item() == 1.5


# --- samples ------------------------------------------------------------------------------------


class RandomWalk(torch.nn.Module):
    """Stands in for the network: each frame is Gaussian around the one before it.

    Attributes
    ----------
    fed, observed
        The frames that it was fed, and which of their values it was told are observed.
    """

    deviation = 0.5

    def __init__(self) -> None:
        super().__init__()
        self.fed: list[torch.Tensor] = []
        self.observed: list[torch.Tensor | None] = []

    def step(
        self, frame: torch.Tensor, state: None, inputs: StepInputs
    ) -> tuple[torch.Tensor, None]:
        self.fed.append(frame)
        self.observed.append(inputs.observed)
        raw = torch.full_like(frame, float(np.log(np.expm1(self.deviation))))
        return torch.stack([frame, raw], dim=2).flatten(1, 2), None

    def forward(self, context: torch.Tensor, horizon: int, **options: Any) -> Any:
        return unroll(self.step, context, horizon, **options)


def walking_model(**options: Any) -> tuple[MIMModel, RandomWalk]:
    model = make_model(GaussianLikelihood(), **options).fit(make_series())
    walk = RandomWalk()
    model.model.network = walk
    return model, walk


def test_samples_are_trajectories() -> None:
    model, walk = walking_model()
    history = make_series(seed=1)
    samples = values(model.predict(n=5, series=history, num_samples=400, batch_size=400))
    moves = samples - values(history)[-1:]
    for t in range(5):
        deviation = np.sqrt(t + 1) * walk.deviation
        assert moves[t].std() == pytest.approx(deviation, rel=0.03)
        for later in range(t + 1, 5):
            correlation = np.corrcoef(moves[t].ravel(), moves[later].ravel())[0, 1]
            assert correlation == pytest.approx(np.sqrt((t + 1) / (later + 1)), abs=0.03)
    # the cells of a frame are independent, given the frames before it
    steps = np.diff(samples, axis=0)[0]
    assert np.abs(np.corrcoef(steps)[~np.eye(N, dtype=bool)]).mean() < 0.06


def test_a_drawn_frame_is_the_next_input_and_counts_as_observed() -> None:
    model, walk = walking_model()
    samples = values(model.predict(n=5, num_samples=3, batch_size=3))
    assert len(walk.fed) == 4 + 5 - 1
    for t in range(4):
        drawn = samples[t].T.reshape(3, *GRID.shape)
        np.testing.assert_array_equal(walk.fed[4 + t], drawn)
        assert walk.observed[4 + t].all()


def test_a_predicted_centre_is_the_next_input_and_counts_as_predicted() -> None:
    model, walk = walking_model()
    model.predict(n=3, predict_likelihood_parameters=True)
    last = torch.from_numpy(make_frames()[-1:].copy())
    for fed, observed in zip(walk.fed[4:], walk.observed[4:], strict=True):
        torch.testing.assert_close(fed, last)
        assert not observed.any()


def test_the_frames_of_a_gap_are_not_drawn() -> None:
    # training feeds their centre in all sequences: they are unknown to it
    model, walk = walking_model(output_chunk_shift=2)
    samples = values(model.predict(n=3, num_samples=3, batch_size=3))
    is_observed = [True if each is None else bool(each.all()) for each in walk.observed]
    assert is_observed == [True] * 4 + [False] * 2 + [True] * 2
    assert not any(each.any() for each in walk.observed[4:6])
    np.testing.assert_array_equal(walk.fed[6], samples[0].T.reshape(3, *GRID.shape))


def test_missing_values_of_the_context_are_not_drawn() -> None:
    # training feeds their centre in all sequences, and the frames after them may be known
    frames = make_frames()
    frames[-2, 1, 0, 2] = np.nan
    model, walk = walking_model()
    samples = values(model.predict(n=3, series=to_series(frames), num_samples=2))
    filled = walk.fed[2][:, 1, 0, 2]
    np.testing.assert_allclose(filled, frames[-3, 1, 0, 2])
    assert not walk.observed[2][:, 1, 0, 2].any()
    assert walk.observed[2].sum() == 2 * (N - 1)
    assert samples.shape == (3, N, 2)


# --- Darts' workflow ----------------------------------------------------------------------------


def test_torch_metrics_measure_samples_of_the_horizon() -> None:
    model = make_model(
        Median([0.1, 0.5, 0.9]),
        torch_metrics=torchmetrics.MeanAbsoluteError(),
        optimizer_kwargs={"lr": 0.0},
    )
    series = make_series(7)
    model.fit(series, val_series=series)
    got = logged(model)["val_MeanAbsoluteError"]
    median = values(model.predict(n=3, series=series[:4], predict_likelihood_parameters=True))
    median = median.reshape(3, N, 3)[..., 1:2]
    assert got == pytest.approx(np.abs(median - values(series)[4:]).mean(), rel=1e-4)


@pytest.mark.parametrize("likelihood", [None, QuantileRegression([0.1, 0.5, 0.9])])
def test_conformal_models_put_intervals_around_forecasts(
    likelihood: QuantileRegression | None,
) -> None:
    model = make_model(likelihood, batch_size=200).fit(make_series())
    kind = ConformalNaiveModel if likelihood is None else ConformalQRModel
    conformal = kind(model, quantiles=[0.1, 0.5, 0.9], cal_num_samples=20)
    series = make_series(24, seed=2)
    intervals = conformal.predict(n=3, series=series, predict_likelihood_parameters=True)
    low, middle, high = np.moveaxis(values(intervals).reshape(3, N, 3), -1, 0)
    assert (low <= middle).all()
    assert (middle <= high).all()
    # calibrated on earlier forecasts: wide enough for noise that no model forecasts
    assert 1.5 < (high - low).mean() < 5
    samples = conformal.predict(n=3, series=series, num_samples=5)
    assert Grid.from_series(samples) == Grid.from_series(series)
    assert series_to_frames(samples.quantile(0.5)).shape == (3, CHANNELS, HEIGHT, WIDTH)


# --- dropout ------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [None, Median([0.1, 0.5, 0.9])])
def test_dropout_spreads_forecasts_where_it_is_asked_to(
    likelihood: TorchLikelihood | None,
) -> None:
    model = make_model(likelihood, dropout=0.3).fit(make_series())
    dropped, sure = (
        values(model.predict(n=5, num_samples=4, mc_dropout=each)) for each in (True, False)
    )
    assert (dropped.std(axis=-1) > 0).mean() > 0.9
    np.testing.assert_allclose(sure, np.tile(sure[..., :1], 4), rtol=0, atol=1e-6)


class GivenMasks(torch.nn.Module):
    """Stands in for dropout: hands out masks in their order."""

    def __init__(self, masks: Sequence[torch.Tensor]) -> None:
        super().__init__()
        self.masks = iter(masks)

    def forward(self, ones: torch.Tensor) -> torch.Tensor:
        mask = next(self.masks)
        assert mask.shape == ones.shape
        return mask


@pytest.mark.parametrize("likelihood", [None, Median([0.1, 0.5, 0.9])])
def test_each_sample_is_the_rollout_of_one_thinned_network(
    likelihood: TorchLikelihood | None,
) -> None:
    model = make_model(likelihood, dropout=0.4).fit(make_series())
    network, history = model.model.network, make_series(4, seed=1)
    drawn: list[torch.Tensor] = []
    hook = network.dropout.register_forward_hook(lambda _, __, mask: drawn.append(mask))
    samples = values(
        model.predict(n=6, series=history, num_samples=3, mc_dropout=True, batch_size=3)
    )
    hook.remove()
    # a mask for each layer, drawn once for all steps, and other ones in each sample
    assert [tuple(mask.shape) for mask in drawn] == [(3, 4, 1, 1), (3, 3, 1, 1)]
    assert any(not torch.equal(mask[0], mask[1]) for mask in drawn)
    assert {round(float(each), 3) for mask in drawn for each in mask.unique()} == {0.0, 1.667}
    for sample in range(3):
        network.dropout = GivenMasks([mask[sample, None] for mask in drawn])
        thinned = values(model.predict(n=6, series=history))
        np.testing.assert_allclose(samples[..., sample], thinned[..., 0], rtol=0, atol=1e-5)


def test_training_drops_channels_and_validation_does_not() -> None:
    series = make_series(7)
    still = {"damped_persistence": False, "optimizer_kwargs": {"lr": 0.0}}
    plain, dropped = (
        logged(make_model(dropout=rate, **still).fit(series, val_series=series))
        for rate in (0.0, 0.5)
    )
    assert dropped["val_loss"] == pytest.approx(plain["val_loss"], rel=1e-5)
    assert dropped["train_loss"] != pytest.approx(plain["train_loss"], rel=1e-3)


# --- what cannot be -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "bad", "support"),
    [
        (BernoulliLikelihood, 0.5, "Boolean"),  # what torch says of most
        (BetaLikelihood, 0.0, "0 < x < 1"),
        (BetaLikelihood, 1.0, "0 < x < 1"),
        (DirichletLikelihood, 0.75, "Simplex"),
        (GammaLikelihood, 0.0, "lower_bound=0"),
        (NegativeBinomialLikelihood, -1.0, "Integer"),
        (PoissonLikelihood, -1.0, "lower_bound=0"),
    ],
)
@pytest.mark.parametrize("where", ["train", "val"])
def test_values_without_probability_are_refused(
    kind: type[TorchLikelihood], bad: float, support: str, where: str
) -> None:
    case = CASES[kind]
    frames = {name: case.make(make_frames(seed=seed)) for seed, name in enumerate(("train", "val"))}
    frames[where][9, 1, 3, 2] = bad
    train, val = (to_series(each, freq="D") for each in frames.values())
    with pytest.raises(ValueError, match=f"support of {kind.__name__}, .*{support}") as error:
        make_model(case.likelihood).fit(train, val_series=val)
    assert "2026-01-10" in str(error.value)
    is_joint = kind is DirichletLikelihood
    got = "with the sum 1." if is_joint else f"got {bad} in component 'channel_1_3_2'"
    assert got in str(error.value)


def test_scaled_counts_pass_for_the_poisson_distribution() -> None:
    make_model(PoissonLikelihood()).fit(to_series(counts(make_frames()) / 7))


def test_a_cell_that_the_mask_hides_may_hold_anything() -> None:
    frames = np.where(SMALL_MASK, counts(make_frames()), -5.0)
    model = make_model(PoissonLikelihood()).fit(to_series(frames, mask=SMALL_MASK))
    samples = series_to_frames(model.predict(n=2, num_samples=1))
    assert np.isnan(samples[:, :, ~SMALL_MASK]).all()
    assert is_count(samples[:, :, SMALL_MASK]).all()


def test_the_observed_cells_alone_share_a_dirichlet_distribution() -> None:
    frames = shares(np.where(SMALL_MASK, make_frames(), -np.inf))
    model = make_model(DirichletLikelihood(), torch_metrics=torchmetrics.MeanAbsoluteError())
    series = to_series(np.where(SMALL_MASK, frames, np.nan), mask=SMALL_MASK)
    model.fit(series, val_series=series)
    for options in ({"num_samples": 3}, {"predict_likelihood_parameters": True}):
        forecast = values(model.predict(n=3, **options))
        assert (np.isnan(forecast).sum(axis=1) == 2 * CHANNELS).all()
        np.testing.assert_allclose(np.nansum(forecast, axis=1), 1, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "likelihood",
    [DirichletLikelihood(), GaussianLikelihood(prior_mu=[0.0] * N)],
    ids=["joint", "priors of components"],
)
def test_missing_values_are_refused_where_components_need_each_other(
    likelihood: TorchLikelihood,
) -> None:
    frames = shares(make_frames())
    frames[5, 1, 0, 3] = np.nan
    with pytest.raises(ValueError, match=r"no missing values .*channel_1_0_3' at 2026-01-06"):
        make_model(likelihood).fit(to_series(frames, freq="D"))


def test_priors_of_components_are_refused_beside_a_mask() -> None:
    series = make_series(mask=SMALL_MASK)
    with pytest.raises(ValueError, match="has priors for single components"):
        make_model(GaussianLikelihood(prior_mu=[0.0] * N)).fit(series)
    make_model(GaussianLikelihood(prior_mu=0.0)).fit(series)
