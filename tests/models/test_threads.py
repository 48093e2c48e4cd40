"""Threads that use models at once get what each would get alone."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
from darts.utils.likelihood_models.torch import GaussianLikelihood

from darts_mim import MIMModel
from tests.models.small_models import make_model, make_series, weights


def test_forecasts_from_threads_are_as_long_as_each_thread_asks(small_fitted: MIMModel) -> None:
    asked = [1, 2, 4, 7] * 2
    expected = small_fitted.predict(7).values()
    with ThreadPoolExecutor(4) as pool:
        forecasts = list(pool.map(small_fitted.predict, asked))
    for n, forecast in zip(asked, forecasts, strict=True):
        np.testing.assert_allclose(forecast.values(), expected[:n], rtol=0, atol=1e-6)


def fit_dropped() -> torch.Tensor:
    return weights(make_model(dropout=0.3).fit(make_series()))


def make_another() -> None:
    make_model().summary(make_series())


@pytest.mark.parametrize("other", [fit_dropped, make_another])
def test_seeded_samples_do_not_depend_on_another_thread(other: Any) -> None:
    model = make_model(likelihood=GaussianLikelihood()).fit(make_series())

    def sample() -> np.ndarray:
        return model.predict(3, num_samples=20, random_state=1).all_values()

    expected, ends = sample(), threading.Event()

    def disturb() -> None:
        while not ends.is_set():
            other()

    thread = threading.Thread(target=disturb)
    thread.start()
    try:
        for _ in range(3):
            np.testing.assert_array_equal(sample(), expected)
    finally:
        ends.set()
        thread.join()


def test_fits_in_threads_come_to_the_weights_of_fits_one_by_one() -> None:
    expected = fit_dropped()
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda _: fit_dropped(), range(2)))
    assert all(torch.equal(each, expected) for each in found)
