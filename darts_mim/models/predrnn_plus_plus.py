"""PredRNN++ as a Darts model."""

from __future__ import annotations

from typing import Any

from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.predrnn_plus_plus import PredRNNPlusPlusNetwork


class _PredRNNPlusPlusModule(RecurrentModule):
    """Lightning module of ``PredRNNPlusPlusModel``, which documents the network's options."""

    network_type = PredRNNPlusPlusNetwork


class PredRNNPlusPlusModel(RecurrentGridModel):
    """PredRNN++ for grids that change over time.

    A stack of causal LSTM layers, in which the memory that travels through the layers is updated
    after that of the layer, and a gradient highway between the first two of them.

    Covariates, likelihoods, masks, missing values, losses and forecasts past the output chunk are
    those of ``RecurrentGridModel``; there must be at least two layers.

    Parameters
    ----------
    input_chunk_length, output_chunk_length, output_chunk_shift
        As for ``GridForecastingModel``.
    layer_norm
        Whether each convolution's output is layer-normalised; unlike in the other models not by
        default. The paper has no normalisation, and with it the gradients of this network explode
        over twenty frames.
    **kwargs
        Options of ``RecurrentGridModel``, such as ``kernel_size``, ``patch_size``, ``dropout`` and
        ``fast_path``; of ``GridForecastingModel``, such as ``scheduled_sampling`` and ``grid``; and
        of Darts' torch models.

    References
    ----------
    .. [1] Y. Wang, Z. Gao, M. Long, J. Wang, P. S. Yu, "PredRNN++: Towards A Resolution of the
       Deep-in-Time Dilemma in Spatiotemporal Predictive Learning", ICML 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import PredRNNPlusPlusModel, frames_to_series, series_to_frames
    >>> frames = np.random.default_rng(0).random((20, 1, 8, 6), dtype=np.float32)
    >>> series = frames_to_series(frames, start="2024-01-01", freq="30min")
    >>> model = PredRNNPlusPlusModel(
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

    module_type = _PredRNNPlusPlusModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        *,
        layer_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_chunk_length,
            output_chunk_length,
            output_chunk_shift,
            layer_norm=layer_norm,
            **kwargs,
        )
