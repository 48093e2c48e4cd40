"""What the models with a recurrent network share: their options, and how their modules are made."""

from __future__ import annotations

from abc import ABC
from typing import Any, ClassVar

from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.torch import MonteCarloDropout

from darts_mim.grid import Grid
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.covariates import InputLayout
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.checks import check_patch_fits, checked_number, checked_options
from darts_mim.nn.recurrent import RecurrentNetwork
from darts_mim.nn.sampling import ScheduledSampling

__all__ = ["RecurrentGridModel", "RecurrentModule"]


class RecurrentModule(GridForecastingModule, ABC):
    """Lightning module of a ``RecurrentNetwork``; a subclass names its type.

    Parameters
    ----------
    grid, input_layout, scheduled_sampling, seed
        As for ``GridForecastingModule``.
    network_options
        Options of the network.
    dropout
        Probability of dropping a channel of a layer's hidden state.
    **kwargs
        Passed on to ``GridForecastingModule``.
    """

    network_type: ClassVar[type[RecurrentNetwork[Any]]]

    def __init__(
        self,
        grid: Grid,
        input_layout: InputLayout,
        network_options: dict[str, Any],
        dropout: float,
        scheduled_sampling: ScheduledSampling | None,
        seed: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            grid=grid,
            input_layout=input_layout,
            scheduled_sampling=scheduled_sampling,
            seed=seed,
            **kwargs,
        )
        self.network = self.network_type(
            **network_options,
            **self.network_sizes,
            dropout=MonteCarloDropout(dropout) if dropout else None,
        )


class RecurrentGridModel(GridForecastingModel, ABC):
    """Darts model with a ``RecurrentNetwork``; a subclass names its module.

    Parameters
    ----------
    grid, use_static_covariates
        As for ``GridForecastingModel``.
    dropout, scheduled_sampling
        As for ``MIMModel``.
    hidden_channels, kernel_size, patch_size, layer_norm, forget_bias, recompute
        Options that all recurrent networks have.
    **network_options
        Options of the network beside them, checked.
    """

    module_type: ClassVar[type[RecurrentModule]]

    def __init__(
        self,
        *,
        grid: Grid | None,
        use_static_covariates: bool,
        dropout: Any,
        scheduled_sampling: Any,
        hidden_channels: Any,
        kernel_size: Any,
        patch_size: Any,
        layer_norm: Any,
        forget_bias: Any,
        recompute: Any,
        **network_options: Any,
    ) -> None:
        super().__init__(grid, use_static_covariates)
        shared = checked_options(
            hidden_channels=hidden_channels,
            kernel_size=kernel_size,
            patch_size=patch_size,
            layer_norm=layer_norm,
            forget_bias=forget_bias,
            recompute=recompute,
            least_layers=self.module_type.network_type.least_layers,
        )
        self.network_options: dict[str, Any] = {**shared, **network_options}
        # Darts compares them as they were given when weights are loaded: (4, 4) is not [4, 4]
        self.model_params.update(self.network_options)
        if not isinstance(scheduled_sampling, ScheduledSampling | None):
            raise TypeError(
                "`scheduled_sampling` must be a darts_mim.ScheduledSampling or None, got "
                f"{type(scheduled_sampling).__name__}; use ScheduledSampling.linear(steps=...)"
            )
        self.scheduled_sampling = scheduled_sampling
        self.dropout = checked_number("dropout", dropout, 0.0, 0.99)

    def _create_model(self, train_sample: TorchTrainingSample) -> RecurrentModule:
        params = self._module_params(train_sample)
        check_patch_fits(self.network_options["patch_size"], *params["grid"].shape[1:])
        return self.module_type(
            network_options=self.network_options,
            dropout=self.dropout,
            scheduled_sampling=self.scheduled_sampling,
            **params,
        )
