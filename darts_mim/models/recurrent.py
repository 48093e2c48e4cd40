"""What the models with a recurrent network share: their options, and how their modules are made."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.torch import MonteCarloDropout

from darts_mim.checks import checked_number
from darts_mim.grid import Grid
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.checks import checked_sampling
from darts_mim.models.covariates import InputLayout
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.checks import check_patch_fits, checked_options
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
    input_chunk_length, output_chunk_length, output_chunk_shift
        As for ``MIMModel``.
    hidden_channels, kernel_size, patch_size, layer_norm, forget_bias, recompute, fast_path
        Options that all recurrent networks have, as for ``MIMModel``.
    dropout, scheduled_sampling, use_static_covariates, grid
        As for ``MIMModel``.
    **kwargs
        Everything else that Darts' torch models take.
    """

    module_type: ClassVar[type[RecurrentModule]]

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
        dropout: float = 0.0,
        scheduled_sampling: ScheduledSampling | None = None,
        recompute: bool = False,
        fast_path: bool | None = None,
        use_static_covariates: bool = True,
        grid: Grid | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(grid, use_static_covariates)
        self.network_options: dict[str, Any] = {}
        self._set_network_options(
            checked_options(
                hidden_channels=hidden_channels,
                kernel_size=kernel_size,
                patch_size=patch_size,
                layer_norm=layer_norm,
                forget_bias=forget_bias,
                recompute=recompute,
                fast_path=fast_path,
                least_layers=self.module_type.network_type.least_layers,
            )
        )
        self.scheduled_sampling = checked_sampling(scheduled_sampling)
        self.dropout = checked_number("dropout", dropout, 0.0, 0.99)

    def _set_network_options(self, options: Mapping[str, Any]) -> None:
        """Keep checked options of the network."""
        self.network_options.update(options)
        # Darts compares them as they were given when weights are loaded: (4, 4) is not [4, 4]
        self.model_params.update(options)

    def _create_model(self, train_sample: TorchTrainingSample) -> RecurrentModule:
        params = self._module_params(train_sample)
        check_patch_fits(self.network_options["patch_size"], *params["grid"].shape[1:])
        return self.module_type(
            network_options=self.network_options,
            dropout=self.dropout,
            scheduled_sampling=self.scheduled_sampling,
            **params,
        )
