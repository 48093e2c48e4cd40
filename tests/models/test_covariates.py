"""Covariates of MIMModel: what enters the network where and when, and what is refused."""

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from darts import TimeSeries
from darts.utils.data import (
    SequentialTorchInferenceDataset,
    SequentialTorchTrainingDataset,
    TorchTrainingDataset,
)
from torch import Tensor

from darts_mim import Grid, MIMModel, series_to_frames
from darts_mim.nn import Inputs, MIMNetwork
from tests.models import small_models
from tests.models.small_models import GRID, TRAINER, to_series, values, weights

LENGTH, AHEAD = 12, 8
CHANNELS, HEIGHT, WIDTH = GRID.shape
CELLS = HEIGHT * WIDTH
CONTEXT, HORIZON = 4, 3
ALL = slice(None)


def make_fields(
    length: int = LENGTH + AHEAD,
    channels: int = 1,
    seed: int = 0,
    size: tuple[int, int] = (HEIGHT, WIDTH),
    **options: Any,
) -> TimeSeries:
    shape = (length, channels, *size)
    frames = np.random.default_rng(seed).random(shape, dtype=np.float32)
    return to_series(frames, **options)


def make_target(length: int = LENGTH, seed: int = 1, **options: Any) -> TimeSeries:
    return make_fields(length, CHANNELS, seed, **options)


def make_numbers(
    length: int = LENGTH + AHEAD, columns: tuple[str, ...] = ("a", "b"), seed: int = 2
) -> TimeSeries:
    numbers = make_fields(length, len(columns), seed, size=(1, 1)).with_metadata(None)
    return numbers.with_columns_renamed(numbers.components.to_list(), list(columns))


def make_covariates(seed: int = 3, length: int = LENGTH + AHEAD) -> dict[str, TimeSeries]:
    """Return past covariates of a field and a number, and future ones of a field and two."""
    past = make_fields(length, seed=seed).stack(make_numbers(length, ("p",), seed))
    future = make_fields(length, seed=seed + 1).stack(make_numbers(length, seed=seed + 1))
    return {"past_covariates": past, "future_covariates": future}


def make_static(rows: int = CHANNELS * CELLS, seed: int = 4) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"height": rng.random(rows), "slope": rng.random(rows)})


def make_model(**options: Any) -> MIMModel:
    lengths = {"input_chunk_length": CONTEXT, "output_chunk_length": HORIZON}
    return small_models.make_model(**{**lengths, **options}, trainer={"limit_train_batches": 2})


def changed(series: TimeSeries, time: int, components: slice, by: float = 5.0) -> TimeSeries:
    """Return a series that differs at one time."""
    other = series.all_values(copy=True)
    other[time, components] += by
    return series.with_values(other)


def expect_equal_forecasts(got: Any, expected: Any) -> None:
    for one, other in zip(got, expected, strict=True):
        assert one.time_index.equals(other.time_index)
        np.testing.assert_allclose(values(one), values(other), rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def fitted() -> MIMModel:
    series = make_target().with_static_covariates(make_static())
    return make_model().fit(series, **make_covariates())


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Tensor, Inputs]]:
    """Return what networks get from now on: frames of the context, and inputs."""
    calls: list[tuple[Tensor, Inputs]] = []
    forward = MIMNetwork.forward

    def spy(self: MIMNetwork, context: Tensor, horizon: int, **options: Any) -> Any:
        calls.append((context, options["inputs"]))
        return forward(self, context, horizon, **options)

    monkeypatch.setattr(MIMNetwork, "forward", spy)
    return calls


# --- alignment ----------------------------------------------------------------------------------


def make_clocks(length: int, offset: int, channels: int = 1) -> TimeSeries:
    """Return fields and a number that tell their time, cells by thousandths of it."""
    times = np.arange(length, dtype=np.float32)[:, None] + offset
    cells = np.tile(np.arange(CELLS) / 1000, channels).reshape(channels, HEIGHT, WIDTH)
    numbers = to_series(times[..., None, None] + 100, channel_names=["time"])
    return to_series(times[..., None, None] + cells).stack(numbers)


def expect_aligned(
    context: Tensor, inputs: Inputs, *, steps: int, past_known: int, length: int, shift: int
) -> None:
    """Check covariates of ``make_clocks(offset=1000)`` and ``(offset=2000)``, past and future."""
    step = torch.arange(steps)
    time = context[:, :1, 0, 0, 0] + step
    is_past_known = (step < past_known).expand_as(time)
    is_future_known = ((step < length - 1) | (step >= length - 1 + shift)).expand_as(time)
    past, future = (time + 1000) * is_past_known, (time + 1 + 2000) * is_future_known
    numbers = [past + 100 * is_past_known, is_past_known]
    numbers += [future + 100 * is_future_known, is_future_known]
    torch.testing.assert_close(inputs.scalars, torch.stack(numbers, dim=2).float())
    cells = torch.arange(CELLS).reshape(HEIGHT, WIDTH) / 1000
    fields = [
        value[..., None, None] + cells * is_known[..., None, None]
        for value, is_known in ((past, is_past_known), (future, is_future_known))
    ]
    torch.testing.assert_close(inputs.planes, torch.stack(fields, dim=2), rtol=0, atol=2e-4)


@pytest.mark.parametrize("length", [1, CONTEXT])
@pytest.mark.parametrize("shift", [0, 2])
def test_a_step_reads_past_covariates_of_its_frame_and_future_ones_of_the_next(
    length: int, shift: int, seen: list[tuple[Tensor, Inputs]]
) -> None:
    target = make_clocks(14, 0, channels=2).drop_columns("time_0_0")
    covariates = {
        "past_covariates": make_clocks(14 + AHEAD, 1000),
        "future_covariates": make_clocks(14 + AHEAD, 2000),
    }
    model = make_model(input_chunk_length=length, output_chunk_shift=shift)
    model.fit(
        target, **covariates, val_series=target, **{f"val_{k}": v for k, v in covariates.items()}
    )
    align = functools.partial(expect_aligned, length=length, shift=shift)
    assert len({float(frame) for context, _ in seen for frame in context[:, 0, 0, 0, 0]}) > 3
    for context, inputs in seen:
        align(context, inputs, steps=length - 1 + shift + HORIZON, past_known=length)
    for n in (2, HORIZON) if shift else (2, HORIZON, HORIZON + 4):
        seen.clear()
        model.predict(n=n, show_warnings=False)
        [(context, inputs)] = seen
        assert context[0, 0, 0, 0, 0] == 14 - length
        steps, past_known = length - 1 + shift + n, length + max(n - HORIZON, 0)
        align(context, inputs, steps=steps, past_known=past_known)


@pytest.mark.parametrize("part", [slice(0, CELLS), slice(CELLS, None)], ids=["planes", "scalars"])
@pytest.mark.parametrize(
    ("n", "first_changed"),
    [
        (
            2,  # times count from the first frame of the horizon
            {
                "past_covariates": {-5: None, -4: 0, -1: 0, 0: None, 1: None},
                "future_covariates": {-4: None, -3: 0, -1: 0, 0: 0, 1: 1, 2: None},
            },
        ),
        (
            HORIZON + 2,
            {
                "past_covariates": {-5: None, -1: 0, 0: 1, 1: 2, 2: None},
                "future_covariates": {-3: 0, 1: 1, 4: 4, 5: None},
            },
        ),
    ],
)
def test_a_covariate_changes_the_forecast_from_its_frame_on_and_not_before(
    fitted: MIMModel, n: int, first_changed: dict[str, dict[int, int | None]], part: slice
) -> None:
    covariates, series = make_covariates(), fitted.training_series
    cases = [(kind, *case) for kind, cases in first_changed.items() for case in cases.items()]
    given = {kind: [covariates[kind]] for kind in covariates}
    for changed_kind, time, _ in cases:
        for kind, unchanged in covariates.items():
            is_other = kind != changed_kind
            given[kind].append(unchanged if is_other else changed(unchanged, LENGTH + time, part))
    forecasts = fitted.predict(
        n=n, series=[series] * (1 + len(cases)), **given, show_warnings=False, batch_size=32
    )
    for case, forecast in zip(cases, forecasts[1:], strict=True):
        difference = np.abs(values(forecast) - values(forecasts[0])).max(axis=(1, 2))
        first = n if case[2] is None else case[2]
        assert (difference[:first] < 1e-6).all(), case
        assert (difference[first:] > 1e-5).all(), case


# --- what enters how ----------------------------------------------------------------------------


@pytest.mark.parametrize("fields_come_first", [True, False])
def test_fields_are_planes_and_all_else_scalars(
    fields_come_first: bool, seen: list[tuple[Tensor, Inputs]]
) -> None:
    mask, static = np.arange(CELLS).reshape(HEIGHT, WIDTH) % 7 > 0, make_static()
    series = make_target(mask=mask).with_static_covariates(static)
    wind = make_fields(channels=2, seed=5, channel_names=["u", "v"])
    both = wind.stack(make_numbers()) if fields_come_first else make_numbers().stack(wind)
    model = make_model().fit(series, future_covariates=both.with_metadata(wind.metadata))
    seen.clear()
    model.predict(n=HORIZON)
    [(_, inputs)] = seen
    steps = slice(LENGTH - CONTEXT + 1, LENGTH + HORIZON)
    np.testing.assert_array_equal(inputs.planes[0], series_to_frames(wind)[steps])
    np.testing.assert_array_equal(inputs.scalars[0, :, :2], values(make_numbers())[steps, :, 0])
    assert inputs.scalars[0, :, 2:].tolist() == [[1.0]] * (CONTEXT - 1 + HORIZON)
    # a plane for each column and channel of the target, in the order of its cells
    by_hand = static.to_numpy(np.float32).T.reshape(-1, HEIGHT, WIDTH)
    np.testing.assert_array_equal(inputs.constants[0, :-1], by_hand)
    np.testing.assert_array_equal(inputs.constants[0, -1], mask)


def test_shared_static_covariates_are_scalars_of_every_step(
    seen: list[tuple[Tensor, Inputs]],
) -> None:
    series = make_target().with_static_covariates(make_static(rows=1))
    make_model().fit(series).predict(n=5)
    inputs = seen[-1][1]
    expected = np.tile(make_static(rows=1).to_numpy(np.float32), (CONTEXT - 1 + 5, 1))
    np.testing.assert_array_equal(inputs.scalars[0, :, :2], expected)
    assert inputs.scalars[0, :, 2:].tolist() == [[1.0]] * (CONTEXT - 1 + 5)
    assert inputs.planes is None
    assert inputs.constants is None


@pytest.mark.parametrize("rows", [1, CHANNELS * CELLS])
def test_static_covariates_can_be_left_out(rows: int, seen: list[tuple[Tensor, Inputs]]) -> None:
    series = make_target().with_static_covariates(make_static(rows) * np.nan)
    model = make_model(use_static_covariates=False).fit(series)
    plain = make_model().fit(make_target())
    assert all(inputs == Inputs() for _, inputs in seen)
    torch.testing.assert_close(weights(model), weights(plain))


@pytest.mark.parametrize("kind", ["past", "future", "static"])
def test_a_field_acts_where_it_lies(kind: str) -> None:
    size, row, column, reach = (10, 21), 2, 4, 7  # 7 cells: the convolutions of two layers in a row
    cell = slice(row * size[1] + column, row * size[1] + column + 1)
    series, field = make_fields(6, size=size), make_fields(9, seed=1, size=size)
    static = pd.DataFrame({"height": np.zeros(size[0] * size[1])})
    changed_static = static.copy()
    changed_static.iloc[cell] = 5.0
    flat = series.with_static_covariates(static if kind == "static" else None)
    hill = series.with_static_covariates(changed_static if kind == "static" else None)
    given, other = {}, {}
    if kind != "static":
        given = {f"{kind}_covariates": field}
        other = {f"{kind}_covariates": changed(field, 5 + (kind == "future"), cell)}
    model = make_model(
        input_chunk_length=1, output_chunk_length=1, patch_size=1, layer_norm=False
    ).fit(flat, **given)
    frames = [
        series_to_frames(model.predict(n=1, series=flat, **given)),
        series_to_frames(model.predict(n=1, series=hill, **other)),
    ]
    difference = np.abs(frames[1] - frames[0])[0, 0]
    assert difference[row, column] > 1e-5
    is_near = np.zeros(size, dtype=bool)
    is_near[: row + reach + 1, : column + reach + 1] = True
    assert difference[~is_near].max() == 0.0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_covariates_of_another_precision_are_read_in_that_of_the_target(dtype: Any) -> None:
    other = np.float64 if dtype == np.float32 else np.float32
    forecasts = []
    for type_ in (dtype, other):
        given = {kind: each.astype(type_) for kind, each in make_covariates().items()}
        forecasts.append(make_model().fit(make_target().astype(dtype), **given).predict(n=2))
    assert forecasts[0].dtype == dtype
    expect_equal_forecasts(forecasts[:1], forecasts[1:])


def test_fields_that_would_be_spread_over_the_grid_are_pointed_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fields, numbers = make_fields(channel_names=["rain"]), make_numbers()
    make_model().fit(make_target(), future_covariates=fields.stack(numbers))
    assert "spread over the whole grid" not in caplog.text
    make_model().fit(make_target(), future_covariates=numbers.stack(fields))
    assert "`future_covariates` have none on the grid, and 32 scalars, each of" in caplog.text
    caplog.clear()
    make_model().fit(make_target(), past_covariates=fields.stack(fields))
    assert "rain on the grid from component 0 on, and 30 scalars, each of which" in caplog.text


# --- encoders -----------------------------------------------------------------------------------


def hour(index: Any) -> Any:
    return index.hour


@pytest.mark.parametrize("with_fields", [False, True])
def test_encoders_make_past_and_future_covariates(
    with_fields: bool, seen: list[tuple[Tensor, Inputs]]
) -> None:
    series, fields = make_target(30), make_fields(40)
    given = {"past_covariates": fields, "future_covariates": fields} if with_fields else {}
    model = make_model(
        add_encoders={
            "cyclic": {"past": ["day_of_week"]},
            "datetime_attribute": {"future": ["day_of_week"]},
            "position": {"past": ["relative"]},
            "custom": {"future": [hour]},
        }
    )
    model.fit(series, **given)
    seen.clear()
    # those that the model was fitted on, which are long enough; the encoders make theirs longer
    model.predict(n=HORIZON + 2, show_warnings=False)
    inputs = seen[0][1]
    steps = CONTEXT - 1 + HORIZON + 2
    assert inputs.scalars.shape == (1, steps, (3 + 1) + (2 + 1))
    times = fields.time_index[30 - CONTEXT + 1 :][:steps]
    by_hand = np.stack([times.day_of_week, times.hour], axis=1)
    np.testing.assert_allclose(inputs.scalars[0, :, -3:-1], by_hand)
    if with_fields:
        np.testing.assert_array_equal(
            inputs.planes[0, :, 1], series_to_frames(fields)[30 - CONTEXT + 1 :, 0][:steps]
        )
    else:
        assert inputs.planes is None


# --- the workflow -------------------------------------------------------------------------------


@pytest.mark.parametrize("horizon", [2, HORIZON + 2])
def test_historical_forecasts_read_covariates_as_single_ones_do(
    fitted: MIMModel, horizon: int
) -> None:
    fast, slow = (
        fitted.historical_forecasts(
            fitted.training_series,
            **make_covariates(),
            forecast_horizon=horizon,
            stride=3,
            retrain=False,
            last_points_only=False,
            show_warnings=False,
            enable_optimization=is_optimised,
        )
        for is_optimised in (True, False)
    )
    assert len(fast) > 1
    expect_equal_forecasts(fast, slow)


def test_a_data_set_of_ones_own_brings_its_covariates(seen: list[tuple[Tensor, Inputs]]) -> None:
    series, covariates = make_target().with_static_covariates(make_static()), make_covariates()
    chunks = {"input_chunk_length": CONTEXT, "output_chunk_length": HORIZON}
    data = SequentialTorchTrainingDataset(series=series, **covariates, **chunks)
    model = make_model().fit_from_dataset(data)
    assert seen[0][1].planes.shape[2] == 2
    assert seen[0][1].constants.shape[1] == 2 * CHANNELS
    n = HORIZON + 1
    inference = SequentialTorchInferenceDataset(series=series, **covariates, **chunks, n=n)
    expect_equal_forecasts(
        model.predict_from_dataset(n=n, dataset=inference),
        [model.predict(n=n, series=series, **covariates, show_warnings=False)],
    )


def test_covariates_of_a_data_set_that_does_not_say_are_scalars(
    seen: list[tuple[Tensor, Inputs]],
) -> None:
    samples = SequentialTorchTrainingDataset(
        series=make_target(),
        past_covariates=make_fields(),
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
    )

    class Samples(TorchTrainingDataset):
        def __len__(self) -> int:
            return len(samples)

        def __getitem__(self, index: int) -> Any:
            return samples[index]

    make_model(grid=GRID).fit_from_dataset(Samples())
    assert seen[0][1].scalars.shape[2] == CELLS + 1


# --- saving and loading -------------------------------------------------------------------------


def test_a_saved_model_reads_covariates_as_before(fitted: MIMModel, tmp_path: Path) -> None:
    fitted.save(tmp_path / "model.pt")
    loaded = MIMModel.load(str(tmp_path / "model.pt"), pl_trainer_kwargs=TRAINER)
    one, other = (each.predict(n=5, show_warnings=False) for each in (loaded, fitted))
    expect_equal_forecasts([one], [other])


@pytest.mark.parametrize("rows", [1, None])
def test_weights_move_to_another_grid_with_their_covariates(
    rows: int | None, tmp_path: Path, seen: list[tuple[Tensor, Inputs]]
) -> None:
    series = make_target().with_static_covariates(make_static(rows or CHANNELS * CELLS))
    make_model().fit(series, **make_covariates()).save(tmp_path / "model.pt")
    size = (7, 4)
    model = make_model(grid=Grid(CHANNELS, *size))
    model.load_weights(str(tmp_path / "model.pt"))
    other = make_target(size=size).with_static_covariates(make_static(rows or CHANNELS * 28))
    past = make_fields(size=size).stack(make_numbers(columns=("p",)))
    future = make_fields(size=size).stack(make_numbers())
    given = {"past_covariates": past, "future_covariates": future}
    seen.clear()
    forecast = model.predict(n=5, series=other, **given, show_warnings=False)
    assert series_to_frames(forecast).shape == (5, CHANNELS, *size)
    assert seen[0][1].planes.shape == (1, CONTEXT - 1 + 5, 2, *size)
    model.fit(other, **given)


# --- bad input ----------------------------------------------------------------------------------

WRONG_FIELDS = {
    "another grid": (make_fields(size=(6, 5)), r"lie on a grid of 6 rows x 5 columns, but the"),
    "another order": (
        make_fields()[make_fields().components.to_list()[::-1]],
        "do not hold the components of their grid .* in one piece and in their order",
    ),
    "lost cells": (
        make_fields()[make_fields().components.to_list()[2:]].stack(make_numbers()),
        "do not hold the components of their grid",
    ),
    "renamed and stacked": (
        make_fields()
        .with_columns_renamed(make_fields().components.to_list(), [f"x{i}" for i in range(CELLS)])
        .stack(make_numbers()),
        "do not hold .* and do not rename its components",
    ),
    "a missing value": (
        changed(make_fields(), 9, slice(3, 4), by=np.nan),
        "must be finite, got nan in component 'channel_0_0_3' at 2026-01-01 09",
    ),
}


@pytest.mark.parametrize("kind", ["past_covariates", "future_covariates"])
@pytest.mark.parametrize("wrong", WRONG_FIELDS)
def test_wrong_fields_are_refused_in_training(kind: str, wrong: str) -> None:
    fields, message = WRONG_FIELDS[wrong]
    with pytest.raises(ValueError, match=f"`{kind}` {message}"):
        make_model().fit(make_target(), **{kind: fields})


def test_fields_renamed_as_a_whole_may_pass(seen: list[tuple[Tensor, Inputs]]) -> None:
    names = [f"x{i}" for i in range(CELLS)]
    fields = make_fields().with_columns_renamed(make_fields().components.to_list(), names)
    make_model().fit(make_target(), past_covariates=fields)
    assert seen[0][1].planes.shape[2] == 1


def test_fields_beside_a_target_without_a_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="lie on a grid of 5 rows x 6 columns, but the target has"):
        make_model(patch_size=1).fit(make_target().with_metadata({}), past_covariates=make_fields())


def test_series_with_unlike_covariates_are_refused() -> None:
    wind = [make_fields(channels=2, channel_names=names) for names in (["u", "v"], ["v", "u"])]
    with pytest.raises(ValueError, match=r"must be alike for all series, got .*u, v.* and .*v, u"):
        make_model().fit([make_target()] * 2, past_covariates=wind)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"future_covariates": make_fields(channels=2).stack(make_numbers())},
            "have channel_0, channel_1 on .* but the model was fitted on channel_0 on the grid",
        ),
        (
            {"past_covariates": make_covariates()["past_covariates"].with_metadata({})},
            "`past_covariates` have none on the grid, and 31 scalars, but the model was fitted on",
        ),
        (
            {"past_covariates": changed(make_covariates()["past_covariates"], 13, ALL, np.inf)},
            "`past_covariates` must be finite, got inf",
        ),
        (
            {"series": make_target().with_static_covariates(make_static() * np.nan)},
            "`static_covariates` must be finite, got nan in column 'height' of 'channel_0_0_0'",
        ),
        (
            {"series": make_target().with_static_covariates(make_static(rows=1))},
            r"`static_covariates` must have the same .* \(60, 2\), got \(1, 2\) in series 0",
        ),
    ],
)
def test_wrong_covariates_are_refused_in_prediction(
    fitted: MIMModel, wrong: dict[str, Any], message: str
) -> None:
    given = {"series": fitted.training_series, **make_covariates(), **wrong}
    with pytest.raises(ValueError, match=message):
        fitted.predict(n=HORIZON + 2, **given, show_warnings=False)


@pytest.mark.parametrize(
    ("static", "message"),
    [
        ([make_static(), make_static(rows=1)], r"\(60, 2\), got \(1, 2\) in series 1"),
        ([make_static(), None], r"\(60, 2\), got None in series 1"),
        ([make_static(1), make_static(1)[["slope"]]], r"\(1, 2\), got \(1, 1\) in series 1"),
        ([make_static(1), make_static(1) * np.nan], "got nan in column 'height' of 'global_comp"),
    ],
)
def test_wrong_static_covariates_are_refused(static: list[Any], message: str) -> None:
    series = [make_target().with_static_covariates(each) for each in static]
    with pytest.raises(ValueError, match=message):
        make_model().fit(series)
