"""What MIMModel does with odd shapes, types and values.

Hypothesis draws small cases, many of them impossible. Where a case is possible, the model must
train for a step and forecast; where it is not, Darts or this package must refuse it, in its own
words: no error may come out of torch or NumPy.
"""

import traceback
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import darts
import numpy as np
import pandas as pd
import pytest
from darts import TimeSeries
from darts.utils.likelihood_models import (
    BetaLikelihood,
    GaussianLikelihood,
    PoissonLikelihood,
    QuantileRegression,
)
from hypothesis import example, given, settings
from hypothesis import strategies as st

import darts_mim
from darts_mim import MIMModel, frames_to_series

HOMES = tuple(str(Path(package.__file__).parent) for package in (darts, darts_mim))
TRAINER = {
    "accelerator": "cpu",
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "logger": False,
    "limit_train_batches": 1,
    "max_epochs": 1,
}
LIKELIHOODS: dict[str, Any] = {
    "none": lambda: None,
    "gaussian": GaussianLikelihood,
    "quantiles": lambda: QuantileRegression([0.2, 0.5, 0.8]),
    "poisson": PoissonLikelihood,
    "beta": BetaLikelihood,
}


@dataclass(frozen=True)
class Case:
    """A grid, a series on it, and what the model is asked."""

    channels: int = 2
    height: int = 3
    width: int = 4
    length: int = 9
    dtype: str = "float32"
    has_grid: bool = True
    hidden: str = "none"  # which cells the mask hides
    bad: str = "none"  # which values are not finite
    seed: int = 0
    context: int = 2
    horizon: int = 2
    shift: int = 0
    patch_size: int = 2
    kernel_size: int = 3
    likelihood: str = "none"
    norm: Any = False
    past: str = "none"
    future: str = "none"
    static: str = "none"
    weight: str = "none"
    beside: str = "none"  # another series to train on
    n: int = 2
    num_samples: int = 1

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.channels, self.height, self.width

    def make_mask(self) -> np.ndarray | None:
        """Return the mask of the grid: where it is observed."""
        rng = np.random.default_rng(self.seed)
        masks = {
            "none": None,
            "nothing": np.ones(self.shape[1:], dtype=bool),
            "some": rng.random(self.shape[1:]) < 0.7,
            "all but one": np.arange(self.height * self.width).reshape(self.shape[1:]) == 0,
            "everything": np.zeros(self.shape[1:], dtype=bool),
            "numbers": np.ones(self.shape[1:]),
            "another grid": np.ones((self.height + 1, self.width), dtype=bool),
        }
        return masks[self.hidden] if self.has_grid else None

    def make_frames(self) -> np.ndarray:
        """Return frames (T, C, H, W), in (0, 1) if they are floating."""
        rng = np.random.default_rng(self.seed)
        frames = rng.uniform(0.01, 0.99, (self.length, *self.shape))
        if np.dtype(self.dtype).kind != "f":
            return np.round(frames * 9).astype(self.dtype)
        first, last = (rng.random(self.shape) < 0.5 for _ in range(2))
        if self.bad == "holes":
            frames[rng.random(frames.shape) < 0.4] = np.nan
            frames[0] = rng.uniform(0.01, 0.99, self.shape)  # each cell is observed at some time
        elif self.bad == "frames":
            frames[1:] = np.nan
        elif self.bad == "history":
            frames[-self.context :] = np.nan
        elif self.bad == "a cell":
            frames[:, 0, 0, 0] = np.nan
        elif self.bad == "everything":
            frames[:] = np.nan
        elif self.bad == "infinity":
            frames[0, first] = np.inf
            frames[-1, last] = -np.inf
        elif self.bad == "large":
            frames[-1, last] = 6e4
        return frames.astype(self.dtype)

    def make_series(self) -> TimeSeries:
        frames = self.make_frames()
        if not self.has_grid:
            return TimeSeries.from_values(frames.reshape(self.length, -1))
        series = frames_to_series(frames, mask=self.make_mask(), dtype=None)
        assert isinstance(series, TimeSeries)
        return series

    def make_covariates(self, kind: str, series: TimeSeries, *, again: bool) -> TimeSeries | None:
        """Return covariates for ``fit``, or ``again`` for ``predict``."""
        if kind == "none":
            return None
        rng = np.random.default_rng(self.seed + 1)
        length = 30 if kind != "short" else self.length - 1
        n_columns = 3 if again and kind == "other numbers" else 2
        numbers = rng.random((max(length, 1), n_columns)).astype(series.dtype)
        if kind == "gaps":
            numbers[self.length // 2] = np.nan
        table = TimeSeries.from_values(numbers)
        if "fields" not in kind:
            return table
        frames = rng.random((length, 1, self.height, self.width))
        fields = frames_to_series(frames, channel_names=["field"], dtype=series.dtype)
        assert isinstance(fields, TimeSeries)
        if again and kind == "other fields":
            return fields.with_metadata({})
        return fields.stack(table) if "numbers" in kind else fields

    def make_weight(self, series: TimeSeries) -> TimeSeries | None:
        """Return weights of the series' frames or values."""
        if self.weight == "none":
            return None
        length = 30 if self.weight != "short" else self.length - 1
        columns = {"frames": 1, "columns": 3}.get(self.weight, series.n_components)
        weight = np.random.default_rng(self.seed).random((max(length, 1), columns))
        if self.weight == "gaps":
            weight[self.length - 1] = np.nan
        return TimeSeries.from_values(weight.astype(series.dtype))

    def make_beside(self, series: TimeSeries) -> list[TimeSeries]:
        """Return the training series: one, or another beside it."""
        shape = (self.channels, self.height + (self.beside == "another grid"), self.width)
        frames = np.random.default_rng(self.seed).uniform(0.01, 0.99, (self.length, *shape))
        if self.likelihood == "poisson" or np.dtype(self.dtype).kind != "f":
            frames = np.round(frames)
        beside = {
            "none": [],
            "no grid": [TimeSeries.from_values(frames.reshape(len(frames), -1))],
            "short": [series[: max(self.length - 1, 1)]],
            "the same": [series],
        }
        more = beside.get(self.beside)
        if more is None:
            other = frames_to_series(frames)
            assert isinstance(other, TimeSeries)
            more = [other]
        more = [each.astype(series.dtype) for each in more]
        return [series, *(each.with_static_covariates(series.static_covariates) for each in more)]

    def run(self) -> tuple[TimeSeries, TimeSeries]:
        """Train for a step and forecast; return the series and the forecast."""
        model = MIMModel(
            input_chunk_length=self.context,
            output_chunk_length=self.horizon,
            output_chunk_shift=self.shift,
            hidden_channels=(2, 3),
            kernel_size=self.kernel_size,
            patch_size=self.patch_size,
            likelihood=LIKELIHOODS[self.likelihood](),
            use_reversible_instance_norm=self.norm,
            batch_size=3,
            random_state=0,
            pl_trainer_kwargs=TRAINER,
        )
        series = self.make_series()
        if self.static != "none":
            rows = 1 if self.static == "shared" else series.n_components
            table = np.random.default_rng(self.seed).random((rows, 2)).astype(series.dtype)
            series = series.with_static_covariates(pd.DataFrame(table, columns=["a", "b"]))
        seen, ahead = (
            {
                "past_covariates": self.make_covariates(self.past, series, again=again),
                "future_covariates": self.make_covariates(self.future, series, again=again),
            }
            for again in (False, True)
        )
        batch = self.make_beside(series)
        repeated = {k: None if c is None else [c] * len(batch) for k, c in seen.items()}
        weight = self.make_weight(series)
        weights = None if weight is None else [weight] * len(batch)
        model.fit(batch, sample_weight=weights, **repeated)
        forecast = model.predict(self.n, series, num_samples=self.num_samples, **ahead)
        return series, forecast

    @property
    def is_possible(self) -> bool:
        """Whether there is a right answer."""
        sizes = [self.context, self.horizon, self.patch_size, self.kernel_size, self.n]
        if not all(isinstance(size, int) and size > 0 for size in [*sizes, self.num_samples]):
            return False
        if not (isinstance(self.shift, int) and self.shift >= 0 and self.kernel_size % 2):
            return False
        return self.fits_in_time and self.fits_the_grid and self.has_possible_values

    @property
    def fits_in_time(self) -> bool:
        shortest = self.length - (self.beside == "short")
        has_time = shortest >= self.context + self.shift + self.horizon
        return has_time and (self.n <= self.horizon or not self.shift) and self.weight != "short"

    @property
    def fits_the_grid(self) -> bool:
        if self.has_grid and self.hidden in ("everything", "numbers", "another grid"):
            return False
        kinds = {self.past, self.future}
        # fields on a target without a grid are none, unless they are of one cell
        is_one_cell = self.height * self.width == 1
        n_columns = self.channels * self.height * self.width
        return (
            self.patch_size <= (min(self.height, self.width) if self.has_grid else 1)
            and (self.has_grid or is_one_cell or not any("fields" in kind for kind in kinds))
            and not kinds & {"short", "gaps", "other numbers", "other fields"}
            and (self.weight != "columns" or n_columns == 3)
            and self.beside != "another grid"
        )

    @property
    def has_possible_values(self) -> bool:
        mask = self.make_mask()
        if mask is not None and not mask.any():
            return False
        frames = self.make_frames().astype(np.float64)
        seen = frames[:, np.broadcast_to(True if mask is None else mask, self.shape)]
        supports = {"poisson": seen >= 0, "beta": (seen > 0) & (seen < 1)}
        is_allowed = supports.get(self.likelihood, True) & np.isfinite(seen) | np.isnan(seen)
        is_ever_known = np.isfinite(seen).any(axis=0) | (self.beside == "no grid")
        can_sample = self.num_samples == 1 or self.likelihood != "none"
        is_right = is_allowed.all() and is_ever_known.all() and can_sample
        return bool(is_right and self.weight != "gaps")


@st.composite
def possible_cases(draw: st.DrawFn) -> Case:
    """Draw a case that there is a right answer to, as far as it may be drawn without looking."""
    has_grid = draw(st.sampled_from([True, True, True, False]))
    height, width = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    context, horizon = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    shift = draw(st.sampled_from([0, 0, 1, 2]))
    likelihood = draw(st.sampled_from(list(LIKELIHOODS)))
    norms: list[Any] = [False, True, {"affine": False}]
    covariates = ["none", "none", "numbers", *(["fields", "fields and numbers"] * has_grid)]
    return Case(
        channels=draw(st.integers(1, 3)),
        height=height,
        width=width,
        length=context + shift + horizon + draw(st.integers(0, 4)),
        dtype=draw(st.sampled_from(["float32", "float32", "float64"])),
        has_grid=has_grid,
        hidden=draw(st.sampled_from(["none", "nothing", "some", "all but one"])),
        bad=draw(st.sampled_from(["none", "holes", "frames", "history"])),
        seed=draw(st.integers(0, 99)),
        context=context,
        horizon=horizon,
        shift=shift,
        patch_size=draw(st.integers(1, min(height, width) if has_grid else 1)),
        kernel_size=draw(st.sampled_from([1, 3, 5])),
        likelihood=likelihood,
        norm=draw(st.sampled_from(norms)) if likelihood != "beta" else False,
        past=draw(st.sampled_from(covariates)),
        future=draw(st.sampled_from(covariates)),
        static=draw(st.sampled_from(["none", "none", "shared", "of each component"])),
        weight=draw(st.sampled_from(["none", "none", "frames", "values"])),
        beside=draw(st.sampled_from(["none", "the same"])),
        n=draw(st.integers(1, horizon if shift else 5)),
        num_samples=draw(st.integers(1, 1 if likelihood == "none" else 3)),
    )


ODDITIES: dict[str, list[Any]] = {
    "height": [1, 9],
    "width": [1],
    "length": [1, 2, 3, 4],
    "dtype": ["float16", "int16", "uint8", "bool"],
    "has_grid": [False],
    "hidden": ["everything", "numbers", "another grid"],
    "bad": ["a cell", "everything", "infinity", "large"],
    "context": [0, -1, 1.5, "2"],
    "horizon": [0, -1, 1.5, "2"],
    "shift": [-1, 1, 0.5],
    "patch_size": [0, 3, 8, 1.5],
    "kernel_size": [0, 2, -3, 2.5],
    "likelihood": ["poisson"],
    "past": ["fields", "short", "gaps", "other fields", "other numbers"],
    "future": ["fields", "short", "gaps", "other fields", "other numbers"],
    "weight": ["columns", "short", "gaps"],
    "beside": ["no grid", "another grid", "short"],
    "n": [0, -1, 9, 1.5],
    "num_samples": [0, 2],
}
oddities = st.sampled_from(sorted(ODDITIES)).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(ODDITIES[name]))
)
cases = st.builds(
    lambda case, changes: replace(case, **dict(changes)),
    possible_cases(),
    st.lists(oddities, max_size=2),
)


def refusal(case: Case) -> TypeError | ValueError | None:
    """Check the answer to a case; return the error, if it was refused."""
    try:
        series, forecast = case.run()
    except (TypeError, ValueError) as error:
        return error
    assert forecast.start_time() == series.end_time() + (1 + case.shift) * series.freq
    # of series in half precision Darts says that forecasts are in single precision
    assert forecast.dtype == np.result_type(series.dtype, np.float32)
    values = forecast.all_values(copy=False)
    assert values.shape == (case.n, series.n_components, case.num_samples)
    mask = case.make_mask()
    seen = np.broadcast_to(True if mask is None else mask, case.shape).reshape(-1)
    assert np.isfinite(values[:, seen]).all()
    assert np.isnan(values[:, ~seen]).all()
    return None


@pytest.mark.slow
# Darts says of float16 that it is one of its own making, and trains in bfloat16
@pytest.mark.filterwarnings("ignore:TimeSeries is using a numeric type different from")
@settings(max_examples=100, derandomize=True, database=None, deadline=None)
@given(cases)
@example(Case(context=1, horizon=1, n=3, likelihood="gaussian"))
@example(Case(bad="infinity", hidden="some"))
@example(Case(bad="holes", hidden="some", norm=True, likelihood="quantiles", weight="values"))
@example(Case(beside="no grid", hidden="some", past="fields", future="numbers"))
def test_a_case_has_a_right_answer_or_an_error_that_says_why(case: Case) -> None:
    error = refusal(case)
    if error is not None:
        last = traceback.extract_tb(error.__traceback__)[-1]
        assert last.filename.startswith(HOMES), f"{error!r} out of {last}"
    assert (error is None) == case.is_possible, error
