"""A model that recomputes its activations is the model that stores them."""

import numpy as np

from darts_mim import MIMModel
from tests.models.small_models import make_model, make_series


def test_files_keep_the_option_and_weights_do_not_care() -> None:
    series = make_series()
    model = make_model(recompute=True).fit(series)
    model.save("model.pt")
    loaded, other = MIMModel.load("model.pt"), make_model()
    assert loaded.model.network.recompute
    other.load_weights("model.pt")
    assert not other.model.network.recompute
    forecasts = [each.predict(3, series=series).all_values() for each in (model, loaded, other)]
    np.testing.assert_array_equal(forecasts[0], forecasts[1])
    np.testing.assert_array_equal(forecasts[0], forecasts[2])
