"""PredRNN as a Darts model."""

from __future__ import annotations

from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.predrnn import PredRNNNetwork


class _PredRNNModule(RecurrentModule):
    """Lightning module of ``PredRNNModel``, which documents the network's options."""

    network_type = PredRNNNetwork


class PredRNNModel(RecurrentGridModel):
    """PredRNN for grids that change over time.

    A stack of ST-LSTM layers, through which a memory travels: up through the layers of a step, and
    from the top of it to the bottom of the next. It is the network that MIM starts from.

    Covariates, likelihoods, masks, missing values, losses, forecasts past the output chunk and the
    options are those of ``RecurrentGridModel``; there must be at least one layer.

    References
    ----------
    .. [1] Y. Wang, M. Long, J. Wang, Z. Gao, P. S. Yu, "PredRNN: Recurrent Neural Networks for
       Predictive Learning using Spatiotemporal LSTMs", NeurIPS 2017.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import PredRNNModel, frames_to_series, series_to_frames
    >>> frames = np.random.default_rng(0).random((20, 1, 8, 6), dtype=np.float32)
    >>> series = frames_to_series(frames, start="2024-01-01", freq="30min")
    >>> model = PredRNNModel(
    ...     input_chunk_length=4,
    ...     output_chunk_length=3,
    ...     hidden_channels=(4, 4),
    ...     kernel_size=3,
    ...     patch_size=2,
    ...     n_epochs=1,
    ...     random_state=0,
    ...     pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False},
    ... )
    >>> forecast = model.fit(series).predict(n=5)
    >>> series_to_frames(forecast).shape
    (5, 1, 8, 6)
    """

    module_type = _PredRNNModule
