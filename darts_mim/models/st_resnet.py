"""ST-ResNet as a Darts model."""

from __future__ import annotations

from typing import Any

from darts_mim.models.base import GridForecastingModel
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.checks import checked_st_resnet_options
from darts_mim.nn.lags import Lags
from darts_mim.nn.st_resnet import STResNetNetwork


class _STResNetModule(GridForecastingModule):
    """Lightning module of ``STResNetModel``, which documents the network's options."""

    predicts_context = False

    def __init__(self, network_options: dict[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = STResNetNetwork(
            height=self.grid.height,
            width=self.grid.width,
            **network_options,
            **self.network_sizes,
        )


class STResNetModel(GridForecastingModel):
    """ST-ResNet for grids that change over time with the hours of the day and the days of the week.

    A frame is predicted from those just before it (closeness), those a day before it (period), and
    those a week before it (trend), each by a residual network of its own; weights for each cell add
    the three up. Frames of the horizon that it reads are its own forecasts: ``predict(n)`` is one
    rollout of n frames, for any n. All that it reads lies in ``input_chunk_length`` frames of one
    series.

    Likelihoods, masks, losses, ``output_chunk_shift`` and files are those of
    ``GridForecastingModel``, with these differences:

    - The training loss covers the output chunk alone: the network predicts no frame of the context.
      Scheduled sampling is of the output chunk, too.
    - Covariates without a grid enter through two layers of their own; those on the grid, the mask
      and static ones for each component beside the frames of closeness. Future covariates are those
      of the predicted frame, past ones those of the frame before it.
    - In the place of a missing value (NaN) of the input chunk the network reads the last known one
      of its cell, or where there is none the next.
    - The weights of the cells fit one grid: ``load_weights`` takes none of a grid of another size.

    Parameters
    ----------
    input_chunk_length
        Number of frames that the network may read, at least the largest of ``closeness``,
        ``period * period_length`` and ``trend * trend_length``: 336 with the defaults.
    output_chunk_length, output_chunk_shift
        As for ``GridForecastingModel``.
    closeness
        Number of frames just before the predicted one that are read, at least 1.
    period, trend
        Number of frames that are read at multiples of ``period_length`` and of ``trend_length``
        before the predicted one; 0 for no such branch.
    period_length, trend_length
        Number of time steps of a period and of a trend. By default a day and a week of half hours.
    hidden_channels
        Channels of the residual units.
    residual_units
        Number of residual units in each branch; 12 in the paper's L12-E for Beijing. The paper's
        best network, L12-E-BN, also has batch normalisation, which is not implemented.
    kernel_size
        Side of the square kernels, odd.
    external_units
        Units between the covariates without a grid and the frame that is made of them.
    tanh
        Whether forecasts go through a tanh, as in the paper, whose data are scaled to [-1, 1]. By
        default they do not. Not beside a ``likelihood`` or ``use_reversible_instance_norm``, whose
        parameters and scale have no such bounds.
    recompute
        Whether training computes the activations of a branch again in the backward pass, rather
        than to store them. The loss and the weights are the same.
    **kwargs
        Options of ``GridForecastingModel``, such as ``grid`` and ``scheduled_sampling`` (of the
        output chunk alone), and of Darts' torch models.

    Raises
    ------
    ValueError
        If an option is out of its range, the input chunk is too short, or an option is one that
        this model does not support.
    TypeError
        If an option is of a wrong type.

    References
    ----------
    .. [1] J. Zhang, Y. Zheng, D. Qi, "Deep Spatio-Temporal Residual Networks for Citywide Crowd
       Flows Prediction", AAAI 2017. The paper's network for Beijing: 12 residual units of 64
       channels, 3x3 kernels, Adam at 0.0002, batches of 32.

    Examples
    --------
    >>> import numpy as np
    >>> from darts_mim import STResNetModel, frames_to_series, series_to_frames
    >>> frames = np.random.default_rng(0).random((40, 2, 8, 6), dtype=np.float32)
    >>> series = frames_to_series(frames, start="2024-01-01", freq="6h")
    >>> model = STResNetModel(
    ...     input_chunk_length=28,
    ...     output_chunk_length=2,
    ...     period_length=4,
    ...     trend_length=28,
    ...     hidden_channels=4,
    ...     residual_units=1,
    ...     n_epochs=1,
    ...     random_state=0,
    ...     pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False},
    ... )
    >>> forecast = model.fit(series).predict(n=5)
    >>> series_to_frames(forecast).shape
    (5, 2, 8, 6)
    """

    fits_any_grid = False
    module_type = _STResNetModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        *,
        closeness: int = 3,
        period: int = 1,
        trend: int = 1,
        period_length: int = 48,
        trend_length: int = 336,
        hidden_channels: int = 64,
        residual_units: int = 12,
        kernel_size: int = 3,
        external_units: int = 10,
        tanh: bool = False,
        recompute: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_chunk_length, output_chunk_length, output_chunk_shift, **kwargs)
        options = checked_st_resnet_options(
            closeness=closeness,
            period=period,
            trend=trend,
            period_length=period_length,
            trend_length=trend_length,
            hidden_channels=hidden_channels,
            residual_units=residual_units,
            kernel_size=kernel_size,
            external_units=external_units,
            tanh=tanh,
            recompute=recompute,
        )
        self.set_network_options(**options)
        Lags.of(options).check_reach("input_chunk_length", input_chunk_length)
        for name in ("likelihood", "use_reversible_instance_norm"):
            if tanh and kwargs.get(name):
                raise ValueError(
                    f"`tanh=True` bounds the network's output to (-1, 1), got `{name}` beside it, "
                    "which needs an output without bounds; leave one of them out"
                )
