"""Fixtures of the tests of models: fitted once, and left as they are."""

import pytest

from darts_mim import MIMModel
from tests.models.small_models import make_model, make_series


@pytest.fixture(scope="session")
def small_fitted() -> MIMModel:
    """Return a small model without a likelihood."""
    return make_model().fit(make_series())
