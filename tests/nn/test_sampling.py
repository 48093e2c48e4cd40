import math
from typing import Any

import pytest
import torch

from darts_mim.nn import Schedule, ScheduledSampling


def test_linear_decay_reaches_its_end_and_stays_there() -> None:
    schedule = Schedule("linear", start=1.0, end=0.0, steps=50_000)
    assert [schedule(step) for step in (0, 10_000, 50_000, 90_000)] == [1.0, 0.8, 0.0, 0.0]


def test_exponential_decay_leaves_an_eth_after_its_steps() -> None:
    schedule = Schedule("exponential", start=0.9, end=0.1, steps=100)
    assert schedule(100) == pytest.approx(0.1 + 0.8 / math.e)


def test_sigmoid_decay_is_the_inverse_sigmoid_of_bengio() -> None:
    schedule = Schedule("sigmoid", steps=40)
    for step in (0, 1, 100, 200, 300):
        assert schedule(step) == pytest.approx(40 / (40 + math.exp(step / 40)))
    assert schedule(10**9) == 0.0


def test_reverse_sampling_is_the_schedule_of_predrnn_v2() -> None:
    sampling = ScheduledSampling.reverse(begin=25_000, until=50_000, steps=5_000)
    assert sampling.context(0) == sampling.context(25_000) == 0.5
    assert sampling.context(30_000) == pytest.approx(1 - 0.5 * math.exp(-1))
    assert sampling.context(50_000) == 1.0
    assert sampling.horizon(24_999) == 0.5
    assert sampling.horizon(37_500) == 0.25
    assert sampling.horizon(50_000) == 0.0


def test_without_a_schedule_of_its_own_the_context_is_always_true() -> None:
    for sampling in (
        ScheduledSampling.linear(10),
        ScheduledSampling.exponential(10),
        ScheduledSampling.sigmoid(10),
    ):
        assert [sampling.context(step) for step in (0, 5, 1000)] == [1.0, 1.0, 1.0]


def draw(sampling: ScheduledSampling, step: int, seed: int = 3) -> torch.Tensor:
    return sampling.draw(step, batch=400, context=5, horizon=6, key=(seed, 7))


def test_draws_are_a_pure_function_of_step_and_seed() -> None:
    sampling = ScheduledSampling.linear(100)
    torch.manual_seed(0)
    first = draw(sampling, 50)
    torch.manual_seed(1)
    assert torch.equal(first, draw(sampling, 50))
    assert not torch.equal(first, draw(sampling, 51))
    assert not torch.equal(first, draw(sampling, 50, seed=4))


def test_drawing_leaves_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    draw(ScheduledSampling.linear(100), 50)
    assert torch.equal(before, torch.get_rng_state())


def test_draws_come_as_often_as_the_schedule_says() -> None:
    true = draw(ScheduledSampling.linear(100), 75)
    assert true.shape == (400, 9)
    assert true[:, :4].all()
    assert true[:, 4:].float().mean().item() == pytest.approx(0.25, abs=0.03)


def test_a_probability_of_one_is_always_and_of_zero_is_never() -> None:
    sampling = ScheduledSampling.linear(100)
    assert draw(sampling, 0).all()
    assert not draw(sampling, 100)[:, 4:].any()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": "cosine"}, r"`shape` must be one of .*'sigmoid'\), got 'cosine'"),
        ({"start": 1.5}, r"`start` must be finite and in \[0, 1\], got 1.5"),
        ({"end": float("nan")}, r"`end` must be finite and in \[0, 1\], got nan"),
        ({"steps": 0}, r"`steps` must be at least 1, got 0"),
        ({"begin": -1}, r"`begin` must be at least 0, got -1"),
        ({"begin": 5, "until": 4}, r"`until` must not lie before `begin` \(5\), got 4"),
    ],
)
def test_a_schedule_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Schedule(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 2.5}, r"`steps` must be an integer of at least 1, got 2.5 of type float"),
        ({"start": "often"}, r"`start` must be a number, got 'often' of type str"),
        ({"begin": True}, r"`begin` must be an integer of at least 0, got True"),
    ],
)
def test_a_schedule_of_a_wrong_type_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Schedule(**options)


def test_a_bare_probability_is_refused_as_a_schedule() -> None:
    with pytest.raises(TypeError, match=r"`horizon` must be a Schedule, got float"):
        ScheduledSampling(horizon=0.5)  # type: ignore[arg-type]
