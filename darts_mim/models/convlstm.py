"""ConvLSTM as a Darts model."""

from __future__ import annotations

from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.convlstm import ConvLSTMNetwork


class _ConvLSTMModule(RecurrentModule):
    """Lightning module of ``ConvLSTMModel``, which documents the network's options."""

    network_type = ConvLSTMNetwork


class ConvLSTMModel(RecurrentGridModel):
    """ConvLSTM for grids that change over time.

    A stack of LSTM layers whose matrices are convolutions. One stack reads the input chunk and
    predicts what follows.

    Covariates, likelihoods, masks, missing values, losses, forecasts past the output chunk and the
    options are those of ``RecurrentGridModel``; there must be at least one layer.

    References
    ----------
    .. [1] X. Shi, Z. Chen, H. Wang, D.-Y. Yeung, W.-K. Wong, W.-C. Woo, "Convolutional LSTM
       Network: A Machine Learning Approach for Precipitation Nowcasting", NeurIPS 2015.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import ConvLSTMModel, frames_to_series, series_to_frames
    >>> frames = np.random.default_rng(0).random((20, 1, 8, 6), dtype=np.float32)
    >>> series = frames_to_series(frames, start="2024-01-01", freq="30min")
    >>> model = ConvLSTMModel(
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

    module_type = _ConvLSTMModule
