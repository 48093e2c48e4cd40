"""Damped persistence: what a forecast begins with."""

import numpy as np
import pytest
import torch

from darts_mim.nn import DampedPersistence, MIMNetwork
from darts_mim.nn.persistence import persistence_of
from tests.nn.small import random


def test_slopes_are_those_of_a_regression_over_all_known_pairs() -> None:
    rng = np.random.default_rng(0)
    clips = [torch.from_numpy(rng.normal(3, 2, (t, 2, 3, 4)).cumsum(0)) for t in (5, 9)]
    clips[1][4, 0, 1, 2] = torch.nan
    expected = []
    for c in range(2):
        before = np.concatenate([clip[:-1, c].numpy().ravel() for clip in clips])
        after = np.concatenate([clip[1:, c].numpy().ravel() for clip in clips])
        known = np.isfinite(before + after)
        expected.append(np.polyfit(before[known], after[known], 1)[0])
    assert not np.isclose(expected[0], expected[1], rtol=1e-3)
    np.testing.assert_allclose(persistence_of(clips), np.clip(expected, 0, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("values", "slope"), [([2.0, 2.0, 2.0], 1.0), ([1.0, -1.0, 1.0], 0.0), ([1.0, 3.0, 9.0], 1.0)]
)
def test_slopes_lie_between_0_and_1(values: list[float], slope: float) -> None:
    assert persistence_of([torch.tensor(values)[:, None, None, None]]).item() == slope


@pytest.mark.parametrize("applies", [(True,), (True, False), (True, True, True)])
def test_an_untrained_network_forecasts_damped_persistence(applies: tuple[bool, ...]) -> None:
    network = MIMNetwork(
        2,
        (4, 3),
        kernel_size=3,
        patch_size=2,
        out_channels=2 * len(applies),
        persistence=applies,
    ).double()
    factor = torch.tensor([0.5, 0.9], dtype=torch.float64)
    network.persistence.factor.data.copy_(factor)
    frame = random(1, 2, 5, 6)
    prediction, _ = network.step(frame)
    values = prediction.unflatten(1, (2, len(applies)))
    for p, is_carried in enumerate(applies):
        expected = frame * factor[:, None, None] * is_carried
        torch.testing.assert_close(values[:, :, p], expected)
    prediction.square().sum().backward()
    assert network.persistence.factor.grad.abs().min() > 0
    assert network.head.weight.grad.abs().max() > 0


def test_the_paper_s_network_has_none() -> None:
    assert MIMNetwork(1, (4, 3)).persistence is None
    assert DampedPersistence(3).factor.tolist() == [1.0, 1.0, 1.0]
