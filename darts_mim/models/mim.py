"""Memory In Memory as a Darts model."""

from __future__ import annotations

from typing import Any

from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.checks import checked_units
from darts_mim.nn.mim import MIMNetwork


class _MIMModule(RecurrentModule):
    """Lightning module of ``MIMModel``, which documents the network's options."""

    network_type = MIMNetwork


class MIMModel(RecurrentGridModel):
    """Memory In Memory network for grids that change over time.

    A stack of an ST-LSTM layer and MIM blocks, through which a memory travels: up through the
    layers of a step, and from the top of it to the bottom of the next.

    Covariates, likelihoods, masks, missing values, losses and forecasts past the output chunk are
    those of ``RecurrentGridModel``; there must be at least two layers.

    Parameters
    ----------
    input_chunk_length, output_chunk_length, output_chunk_shift
        As for ``GridForecastingModel``.
    nonstationary_unit, stationary_unit
        Whether the MIM blocks have their MIM-N and their MIM-S; at least one of them.
    **kwargs
        Options of ``RecurrentGridModel``, such as ``kernel_size``, ``patch_size``, ``dropout`` and
        ``fast_path``; of ``GridForecastingModel``, such as ``scheduled_sampling`` and ``grid``; and
        of Darts' torch models.

    Raises
    ------
    ValueError
        If an option is out of its range, or is one that this model does not support.
    TypeError
        If an option is of a wrong type.

    References
    ----------
    .. [1] Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive
       Neural Network for Learning Higher-Order Non-Stationarity from Spatiotemporal Dynamics",
       CVPR 2019. The paper's network: four layers of 64 channels, Adam at 0.001, batches of 8.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import MIMModel, frames_to_series, series_to_frames
    >>> frames = np.random.default_rng(0).random((20, 1, 8, 6), dtype=np.float32)
    >>> series = frames_to_series(frames, start="2024-01-01", freq="30min")
    >>> model = MIMModel(
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

    module_type = _MIMModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        *,
        nonstationary_unit: bool = True,
        stationary_unit: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_chunk_length, output_chunk_length, output_chunk_shift, **kwargs)
        self.set_network_options(
            **checked_units(nonstationary_unit=nonstationary_unit, stationary_unit=stationary_unit)
        )
