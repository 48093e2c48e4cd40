"""What all grid models share: options, the grid of their series, Darts' plumbing."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Mapping, Sequence
from copy import copy, deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import torch
from darts import TimeSeries
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import TorchTrainingSample

from darts_mim.grid import Grid
from darts_mim.models.checked import CheckedGridModel
from darts_mim.models.checks import check_options, check_sampling
from darts_mim.models.covariates import lay_out_inputs
from darts_mim.models.likelihoods import check_normalisation, check_priors
from darts_mim.models.locking import one_at_a_time
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.signatures import full_signature
from darts_mim.nn.sampling import ScheduledSampling

if TYPE_CHECKING:
    from darts_mim.models.summary import ModelSummary

logger = get_logger(__name__)


class GridForecastingModel(CheckedGridModel, ABC):
    """Darts model of series whose components are the cells of a grid.

    A subclass names its module, writes down the options of its network, hands them to
    ``set_network_options``, and passes all other options on.

    The components of the target are the cells of a grid, which ``darts_mim.frames_to_series``
    leaves in the series' metadata. A series without a grid is a 1x1 grid with a channel for each
    component.

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
    chunk, half the centre of the prediction, and the network reads which is which.

    **Missing values.** Where the grid has a mask, the network reads zeros in the cells that are not
    observed, and the mask; they enter neither loss nor metric and are NaN in forecasts. Other
    missing values (NaN) enter neither; in their place the network reads its own prediction.

    **Threads.** Calls of ``fit``, ``predict``, ``save`` and others that use the weights or random
    numbers wait for each other, also those of two models: use processes to run them at once. A
    thread that draws from torch's random state by other means still shifts seeded samples.

    Parameters
    ----------
    input_chunk_length
        Number of frames that the network reads, at least 1.
    output_chunk_length
        Number of frames that training predicts after them, at least 1.
    output_chunk_shift
        Number of frames between the input and the output chunk, which the network predicts but
        does not return. No forecast may then be longer than the output chunk.
    max_steps
        Number of training steps, however many epochs they take; Lightning's ``max_steps``. By
        default training takes ``n_epochs``.
    scheduled_sampling
        How often training feeds the network a true frame rather than its own prediction. By
        default never over the output chunk, which suits short trainings; the paper's
        experiments on Moving MNIST and KTH use ``ScheduledSampling.linear(steps=50_000)``.
        With a likelihood, by default over the output chunk of half of the sequences.
    use_static_covariates
        Whether to read the static covariates of the target, where it has any.
    grid
        Grid of the target. By default the one of the series that the model is fitted on;
        a grid given here overrides that of the series.
    **kwargs
        Other options of Darts' torch models: ``batch_size``, ``n_epochs``, ``loss_fn``,
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
        If an option is of a wrong type.
    """

    module_type: ClassVar[type[GridForecastingModule]]
    """Lightning module of the network."""

    _draws_dropout = False  # while `predict` runs that was asked for dropout

    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.__signature__ = full_signature(cls)  # for `help` and editors

    @one_at_a_time
    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        output_chunk_shift: int = 0,
        *,
        max_steps: int | None = None,
        scheduled_sampling: ScheduledSampling | None = None,
        use_static_covariates: bool = True,
        grid: Grid | None = None,
        **kwargs: Any,
    ) -> None:
        options: dict[str, Any] = {
            "input_chunk_length": input_chunk_length,
            "output_chunk_length": output_chunk_length,
            "output_chunk_shift": output_chunk_shift,
            "max_steps": max_steps,
            "scheduled_sampling": scheduled_sampling,
            "use_static_covariates": use_static_covariates,
            "grid": grid,
            **kwargs,
        }
        check_options(options)
        check_sampling(scheduled_sampling, predicts_context=self.module_type.predicts_context)
        if max_steps is not None:
            trainer = {"max_steps": max_steps, **(kwargs.get("pl_trainer_kwargs") or {})}
            kwargs = {"n_epochs": -1, **kwargs, "pl_trainer_kwargs": trainer}
        super().__init__(**self._extract_torch_model_params(**kwargs))
        self.pl_module_params = self._extract_pl_module_params(**options)
        self._considers_static_covariates = use_static_covariates
        self.scheduled_sampling = scheduled_sampling
        self.network_options = {}
        self._passed_on: set[str] = set()
        self._complete_params(options)
        self._given_grid = grid
        self._fitted_grid = None
        self._covariate_layouts = {}

    def set_network_options(self, **options: Any) -> None:
        """Keep options that the network is built with, and that its weights depend on.

        Parameters
        ----------
        **options
            Arguments of the network. The caller has checked their values.
        """
        self.network_options.update(options)
        self._complete_params(options)

    def _complete_params(self, options: Mapping[str, Any]) -> None:
        """Complete ``model_params``, which Darts fills from the outermost constructor alone."""
        passed_on = {name: each for name, each in options.items() if name not in self.model_params}
        self.model_params.update(passed_on)
        self._passed_on.update(passed_on)

    def untrained_model(self) -> Self:
        """Return a new model of the same options, untrained."""
        params = {k: v for k, v in self.model_params.items() if k not in self._passed_on}
        return type(self)(**deepcopy(params))

    def twin(self, grid: Grid | None = None) -> Self:
        """Return an untrained copy, also on another grid, which leaves no files."""
        twin = copy(self)
        own = cast(dict[str, Any], self.pl_module_params).items()
        # metrics may not be copied, and are not needed
        twin.pl_module_params = {k: deepcopy(v) for k, v in own if k != "torch_metrics"}
        twin.model, twin.network_options = None, dict(self.network_options)
        twin._given_grid = grid or self._given_grid
        return twin

    @classmethod
    def _get_default_model_params(cls) -> dict[str, Any]:
        return {name: each.default for name, each in cls.__signature__.parameters.items()}

    @property
    def supports_static_covariates(self) -> bool:
        """Whether the model takes static covariates, of each component or shared."""
        return True

    @one_at_a_time
    def summary(
        self,
        series: TimeSeries | Sequence[TimeSeries] | Grid | None = None,
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        *,
        batch_size: int | None = None,
    ) -> ModelSummary:
        """Summarise the model and what training will need, before it is trained.

        Small training steps are run and scaled up. Nothing large is allocated, the random state
        and the model stay as they are.

        Parameters
        ----------
        series
            Series to train on, as for ``fit``, or their grid if there are no covariates. Not needed
            after ``fit``.
        past_covariates, future_covariates
            As for ``fit``.
        batch_size
            Number of sequences in a step, by default the model's, or all if `series` give fewer.

        Returns
        -------
        ModelSummary
            Grid, patches, parameters, operations, memory and time; it prints as a table. If a step
            needs more memory than there is, it names the options that would help most.

        Raises
        ------
        TypeError
            If `series` is no series, or `batch_size` no integer.
        ValueError
            If the model cannot be trained on the series.

        Examples
        --------
        >>> from darts_mim import Grid, MIMModel
        >>> model = MIMModel(2, 2, hidden_channels=(8, 8), kernel_size=3, patch_size=4)
        >>> summary = model.summary(Grid(channels=1, height=64, width=64))
        >>> summary.folded_shape, summary.parameters
        ((16, 16), 32225)
        """
        from darts_mim.models.summary import summarise  # few need it

        return summarise(self, series, past_covariates, future_covariates, batch_size)

    fit = one_at_a_time(CheckedGridModel.fit)
    fit_from_dataset = one_at_a_time(CheckedGridModel.fit_from_dataset)
    lr_find = one_at_a_time(CheckedGridModel.lr_find)
    scale_batch_size = one_at_a_time(CheckedGridModel.scale_batch_size)

    @one_at_a_time
    def predict(  # type: ignore[override]  # the arguments are Darts'
        self, *args: Any, **kwargs: Any
    ) -> TimeSeries | Sequence[TimeSeries]:
        """Forecast as Darts does. With ``mc_dropout=True`` also a model without dropout samples."""
        self._draws_dropout = bool(kwargs.get("mc_dropout"))
        try:
            return super().predict(*args, **kwargs)
        finally:
            self._draws_dropout = False

    @property
    def supports_probabilistic_prediction(self) -> bool:
        """Whether samples of a forecast may differ, or dropout was asked for."""
        may_drop = bool(getattr(self, "dropout", 0.0)) or self._draws_dropout
        return self.likelihood is not None or may_drop

    predict_from_dataset = one_at_a_time(CheckedGridModel.predict_from_dataset)

    def _create_model(self, train_sample: TorchTrainingSample) -> GridForecastingModule:
        return self.module_type(
            network_options=self.network_options,
            scheduled_sampling=self.scheduled_sampling,
            **self._module_params(train_sample),
        )

    def _module_params(self, train_sample: TorchTrainingSample) -> dict[str, Any]:
        """Return the arguments of a ``GridForecastingModule`` for a first sample."""
        n_components = cast(np.ndarray, train_sample.past_target).shape[1]
        grid = self.grid
        if grid is None:
            logger.warning(
                "The series has no grid: its %d components become the channels of a 1x1 grid. "
                "Build it with `frames_to_series` to give it one.",
                n_components,
            )
            grid = self._fitted_grid = Grid(channels=n_components, height=1, width=1)
        if grid.n_components != n_components:
            raise ValueError(
                f"`grid` is a {grid}: {grid.n_components} components, but the target has "
                f"{n_components}; give the grid that the series was made from"
            )
        params = cast(dict[str, Any], self.pl_module_params)
        check_priors(self.likelihood, grid)
        check_normalisation(self.likelihood, params.get("use_reversible_instance_norm", False))
        return {
            "grid": grid,
            "input_layout": lay_out_inputs(train_sample, self._covariate_layouts, grid),
            "seed": int(torch.randint(2**31, (), device="cpu")),
            **params,
        }
