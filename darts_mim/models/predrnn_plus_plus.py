"""PredRNN++ as a Darts model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darts_mim.grid import Grid
from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.predrnn_plus_plus import PredRNNPlusPlusNetwork
from darts_mim.nn.sampling import ScheduledSampling

__all__ = ["PredRNNPlusPlusModel"]


class _PredRNNPlusPlusModule(RecurrentModule):
    """Lightning module of ``PredRNNPlusPlusModel``, which documents the network's options."""

    network_type = PredRNNPlusPlusNetwork


class PredRNNPlusPlusModel(RecurrentGridModel):
    """PredRNN++ for grids that change over time.

    A stack of causal LSTM layers, in which the memory that travels through the layers is updated
    after that of the layer, and a gradient highway between the first two of them.

    Covariates, likelihoods, masks, missing values, losses and forecasts past the output chunk are
    those of ``MIMModel``, and so is every other option.

    Parameters
    ----------
    input_chunk_length, output_chunk_length, output_chunk_shift
        As for ``MIMModel``.
    hidden_channels
        Channels of each layer from the bottom to the top, at least two layers.
    kernel_size, patch_size, forget_bias
        As for ``MIMModel``.
    layer_norm
        Whether each convolution's output is layer-normalised; other than in ``MIMModel`` not by
        default. The paper has no normalisation, and with it the gradients of this network explode
        over twenty frames.
    dropout, scheduled_sampling, recompute, fast_path, use_static_covariates, grid
        As for ``MIMModel``.
    **kwargs
        Everything else that Darts' torch models take, as for ``MIMModel``.

    Raises
    ------
    ValueError
        If an option is out of its range, or is one that this model does not support.
    TypeError
        If ``grid`` or ``scheduled_sampling`` is of a wrong type.

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
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        kernel_size: int = 5,
        patch_size: int = 1,
        layer_norm: bool = False,
        forget_bias: float = 1.0,
        dropout: float = 0.0,
        scheduled_sampling: ScheduledSampling | None = None,
        recompute: bool = False,
        fast_path: bool | None = None,
        use_static_covariates: bool = True,
        grid: Grid | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_chunk_length,
            output_chunk_length,
            output_chunk_shift,
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            patch_size=patch_size,
            layer_norm=layer_norm,
            forget_bias=forget_bias,
            dropout=dropout,
            scheduled_sampling=scheduled_sampling,
            recompute=recompute,
            fast_path=fast_path,
            use_static_covariates=use_static_covariates,
            grid=grid,
        )
