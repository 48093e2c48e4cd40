"""Memory In Memory as a Darts model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from darts_mim.grid import Grid
from darts_mim.models.recurrent import RecurrentGridModel, RecurrentModule
from darts_mim.nn.checks import checked_units
from darts_mim.nn.mim import MIMNetwork
from darts_mim.nn.sampling import ScheduledSampling

__all__ = ["MIMModel"]


class _MIMModule(RecurrentModule):
    """Lightning module of ``MIMModel``, which documents the network's options."""

    network_type = MIMNetwork


class MIMModel(RecurrentGridModel):
    """Memory In Memory network for grids that change over time.

    A stack of an ST-LSTM layer and MIM blocks reads the frames of the input chunk one by one,
    then predicts the frames of the output chunk, each from the one it predicted before. For
    ``n > output_chunk_length`` it carries its state on: ``predict(n)`` is one rollout of n
    frames, and its first frames are those of any shorter forecast.

    The components of the target are the cells of a grid, which ``darts_mim.frames_to_series``
    leaves in the series' metadata. A series without a grid is a 1x1 grid with a channel per
    component, so that MIM serves ordinary multivariate series too.

    The training loss covers the prediction of every next frame, of the input chunk's as well as
    of the output chunk's; the validation loss and ``torch_metrics`` cover the output chunk alone.

    **Covariates.** Components of a covariate that lie on the target's grid, as its metadata say,
    are planes beside the frame; all others are spread over the grid. Static covariates with a row
    for each component are planes, too. The step from a frame to the next reads the past
    covariates of the one and the future covariates of the other. Past covariates of the horizon
    are unknown: the network reads zeros, and beside them 0 where they are unknown and 1 where they
    are known, as they are in ``predict`` for the ``n - output_chunk_length`` frames that Darts asks
    for.

    **Uncertainty.** With one of Darts' likelihoods, ``predict(n, num_samples=...)`` draws
    trajectories: each frame from the distribution given those drawn before it.
    ``predict_likelihood_parameters=True`` gives the distribution of each frame given the input
    chunk alone. Training covers both: half of its sequences are fed the true frames of the output
    chunk, half the centre of what was predicted, and the network reads which is which.

    **Missing values.** Where the grid has a mask, the network reads zeros in the cells that are not
    observed, and the mask; they enter neither loss nor metric and are NaN in forecasts. Other
    missing values (NaN) enter neither; in their place the network reads its own prediction.

    Parameters
    ----------
    input_chunk_length
        Number of frames that the network reads, at least 1.
    output_chunk_length
        Number of frames that training predicts after them, at least 1.
    output_chunk_shift
        Number of frames between the input and the output chunk, which the network predicts but
        does not return. No forecast may then be longer than the output chunk.
    hidden_channels
        Channels of each layer from the bottom to the top, at least two layers.
    kernel_size
        Side of the square kernels, odd.
    patch_size
        Side of the square patches that frames are folded into, in cells; at most the height and
        the width of the grid. Frames that it does not divide are padded and cropped again.
    layer_norm
        Whether each convolution's output is layer-normalised.
    forget_bias
        Constant added to the initial bias of the forget gates.
    nonstationary_unit, stationary_unit
        Whether the MIM blocks have their MIM-N and their MIM-S; at least one of them.
    dropout
        Probability in [0, 1) of dropping a channel of a layer's hidden state on its way up, for a
        whole sequence at once. With ``predict(..., num_samples=..., mc_dropout=True)`` each sample
        is the rollout of one thinned network.
    scheduled_sampling
        How often training feeds the network a true frame rather than its own prediction. By
        default never over the output chunk, which suits short trainings; the paper's
        experiments on Moving MNIST and KTH use ``ScheduledSampling.linear(steps=50_000)``.
        With a likelihood, by default over the output chunk of half of the sequences.
    recompute
        Whether training computes the activations of a time step again in the backward pass, rather
        than to store those of all steps. The loss and the weights are the same; a step takes a
        fraction of the memory and about a third more operations (``summary`` says how many).
    fast_path
        Whether to take the fast path: the same network with fewer passes over the tensors and, on
        a CPU, fewer products in its convolutions, in kernels that are compiled once on the machine
        they run on. ``None`` takes it wherever it is
        known to be right and faster, ``True`` wherever it can run, ``False`` never; why it is not
        taken is logged. Results are the same but for rounding. On a GPU ``True`` also records time
        steps as CUDA graphs, which keep the memory of their activations as long as the model is
        there.
    use_static_covariates
        Whether to read the static covariates of the target, where it has any.
    grid
        Grid of the target. By default the one of the series that the model is fitted on;
        a grid given here overrides what the series say.
    **kwargs
        Everything else that Darts' torch models take: ``batch_size``, ``n_epochs``, ``loss_fn``,
        ``likelihood``, ``add_encoders``, ``torch_metrics``, ``optimizer_cls``,
        ``optimizer_kwargs``, ``lr_scheduler_cls``, ``lr_scheduler_kwargs``,
        ``use_reversible_instance_norm``, ``model_name``, ``work_dir``, ``log_tensorboard``,
        ``nr_epochs_val_period``, ``force_reset``, ``save_checkpoints``, ``random_state``,
        ``pl_trainer_kwargs``, ``show_warnings`` and ``enable_finetuning``; see
        ``darts.models.forecasting.torch_forecasting_model.TorchForecastingModel``.

    Raises
    ------
    ValueError
        If an option is out of its range, or is one that this model does not support.
    TypeError
        If ``grid`` or ``scheduled_sampling`` is of a wrong type.

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
        hidden_channels: Sequence[int] = (64, 64, 64, 64),
        kernel_size: int = 5,
        patch_size: int = 1,
        layer_norm: bool = True,
        forget_bias: float = 1.0,
        nonstationary_unit: bool = True,
        stationary_unit: bool = True,
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
        self._set_network_options(checked_units(nonstationary_unit, stationary_unit))
