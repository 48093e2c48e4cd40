"""What holds for every test, those in docstrings included."""

import os
import random

import numpy as np
import pytest
import torch

os.environ.setdefault("MPLBACKEND", "Agg")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the processes that tests start; see below


def pytest_configure() -> None:
    """Compute on one thread in each worker, or on ``DARTS_MIM_TEST_THREADS`` of them.

    Tiny tensors gain nothing from more threads. On a busy machine they lose: the threads wait for
    each other at every operation.
    """
    torch.set_num_threads(int(os.environ.get("DARTS_MIM_TEST_THREADS", "1")))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device; none is available")


@pytest.fixture(autouse=True)
def _seed_everything() -> None:
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - Darts and scikit-learn fall back on the global generator
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _work_in_a_temporary_directory(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keep what Darts and Lightning write (`darts_logs`, checkpoints) out of the repository."""
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
