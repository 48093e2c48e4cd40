"""What lies between Darts' batches and a network: grid, covariates, missing values, likelihood.

Legend: B batch, T time, L ``input_chunk_length``, S ``output_chunk_shift``, C channels, H height
and W width of the grid, N = C*H*W components, P likelihood parameters (1 without one).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from typing import Any, cast

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import PLModuleInput
from torch import Tensor, nn

from darts_mim.grid import Grid
from darts_mim.models.covariates import InputLayout, collect_inputs
from darts_mim.models.likelihoods import point_forecast
from darts_mim.models.missing import normalise
from darts_mim.nn.unrolling import FedFrame

__all__ = ["RolloutModule"]


class RolloutModule(PLForecastingModule, ABC):
    """Lightning module that rolls a network out over Darts' batches.

    A subclass sets ``network``, called like ``darts_mim.nn.MIMNetwork.forward`` and built with
    ``network_sizes``.

    Parameters
    ----------
    grid
        Grid of the target.
    input_layout
        What the network reads besides the frames.
    **kwargs
        Passed on to Darts' ``PLForecastingModule``.
    """

    network: nn.Module
    mask: Tensor | None

    def __init__(self, grid: Grid, input_layout: InputLayout, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid
        self.input_layout = input_layout
        # no part of the weights, which fit grids of any size
        mask = None if grid.mask is None else torch.from_numpy(grid.mask.copy())
        self.register_buffer("mask", mask, persistent=False)

    @property
    def network_sizes(self) -> dict[str, Any]:
        """What the network's arguments follow from: grid, covariates and likelihood."""
        n_parameters = self.likelihood.num_parameters if self.likelihood else 1
        return {
            "in_channels": self.grid.channels,
            "out_channels": self.grid.channels * n_parameters,
            "plane_channels": self.input_layout.plane_channels(self.grid),
            "scalar_channels": self.input_layout.scalar_channels(
                self.grid, self.output_chunk_shift
            ),
            "reads_observed": self.likelihood is not None,
        }

    def _roll_out(
        self,
        x_in: PLModuleInput,
        horizon: int,
        *,
        future_past_covariates: Tensor | None = None,
        feed_true: Tensor | None = None,
        draw: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return what the network predicts at every step, (B, L - 1 + S + horizon, N, P).

        ``draw`` makes a frame (B, 1, N) to feed back of its distribution's parameters
        (B, 1, N, P); it then counts as observed. By default their centre is fed, which does not.
        """
        length, gap = self.input_chunk_length, self.output_chunk_shift
        values = x_in.past_target
        if feed_true is not None:
            future = cast(Tensor, x_in.future_target)
            unknown = future.new_zeros(len(future), gap, future.shape[-1])
            values = torch.cat([values, unknown, future], dim=1)
        known = self._known(values)
        frames = self.grid.to_frames(normalise(values, known, self.rin, length))
        output, _ = self.network(
            frames[:, :length],
            gap + horizon,
            future=None if feed_true is None else frames[:, length:],
            feed_true=feed_true,
            observed=None if known is None else self.grid.to_frames(known),
            inputs=collect_inputs(
                self.input_layout,
                self.grid,
                x_in,
                horizon=horizon,
                shift=gap,
                future_past=future_past_covariates,
                mask=None if self.mask is None else self.mask.to(frames),
            ),
            feed_back=self._feed_back(draw),
        )
        return self._denormalise(self._to_parameters(output))

    def _feed_back(self, draw: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], FedFrame]:
        """Return what makes a frame to feed (B, C, H, W) of a prediction (B, C * P, H, W)."""
        mask, likelihood = self.mask, self.likelihood
        if likelihood is None:
            return FedFrame if mask is None else lambda frame: FedFrame(frame * mask)

        def feed_back(prediction: Tensor) -> FedFrame:
            parameters = self._denormalise(self._to_parameters(prediction[:, None]))
            values = draw(parameters) if draw else point_forecast(likelihood, parameters)
            if self.rin is not None:
                values = self.rin.transform(values)
            frame = self.grid.to_frames(values)[:, 0]
            observed = torch.full_like(frame, draw is not None, dtype=torch.bool)
            if mask is not None:
                frame, observed = frame * mask, observed & mask
            return FedFrame(frame, observed)

        return feed_back

    def _to_parameters(self, output: Tensor) -> Tensor:
        """Reshape what the network says, (B, T, C * P, H, W), to (B, T, N, P)."""
        b, t, _, height, width = output.shape
        channels = self.grid.channels
        return (
            output.reshape(b, t, channels, -1, height, width)
            .movedim(3, -1)
            .reshape(b, t, self.grid.n_components, -1)
        )

    def _denormalise(self, output: Tensor) -> Tensor:
        return output if self.rin is None else self.rin.inverse(output)

    # --- what is known -------------------------------------------------------------------------

    def _known(self, values: Tensor) -> Tensor | None:
        """Return which values (B, T, N) are known, ``None`` if there is no need to tell."""
        known = ~torch.isnan(values)
        observed = self._observed
        if observed is not None:
            known &= observed
        elif not torch.compiler.is_exporting() and bool(known.all()):
            return None
        return known

    @property
    def _observed(self) -> Tensor | None:
        """Which components the mask leaves, (N,)."""
        return None if self.mask is None else self.mask.expand(self.grid.shape).reshape(-1)

    def _hide(self, output: Tensor) -> Tensor:
        """Put NaN where the mask hides the components of parameters (B, T, N, P)."""
        observed = self._observed
        return output if observed is None else output.masked_fill(~observed[:, None], torch.nan)
