"""What lies between Darts' batches and a network: grid, covariates, missing values, likelihood.

Legend: B batch, T time, L ``input_chunk_length``, S ``output_chunk_shift``, C channels, H height
and W width of the grid, N = C*H*W components, P likelihood parameters (1 without one).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from functools import partial
from itertools import chain, repeat
from typing import Any, ClassVar, cast

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import PLModuleInput
from torch import Tensor, nn

from darts_mim.grid import Grid
from darts_mim.models.covariates import InputLayout, collect_inputs
from darts_mim.models.likelihoods import denormalise, point_forecast
from darts_mim.models.missing import normalise
from darts_mim.nn.unrolling import FedFrame, FeedBack, feed_prediction

__all__ = ["RolloutModule"]


class RolloutModule(PLForecastingModule, ABC):
    """Lightning module that rolls a network out over Darts' batches.

    A subclass sets ``network``, called like ``darts_mim.nn.MIMNetwork.forward`` and built with
    ``network_sizes``, and says whether it ``predicts_context``.

    Parameters
    ----------
    grid
        Grid of the target.
    input_layout
        What the network reads besides the frames.
    **kwargs
        Passed on to Darts' ``PLForecastingModule``.
    """

    predicts_context: ClassVar[bool] = True
    """Whether the network predicts the context's frames but the first, before the horizon's."""

    network: nn.Module
    mask: Tensor | None
    components: Tensor | None

    def __init__(self, grid: Grid, input_layout: InputLayout, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.grid = grid
        self.input_layout = input_layout
        # no part of the weights, which fit grids of any size
        mask = None if grid.mask is None else torch.from_numpy(grid.mask.copy())
        components = None if mask is None else mask.expand(grid.shape).flatten().nonzero()[:, 0]
        self.register_buffer("mask", mask, persistent=False)
        self.register_buffer("components", components, persistent=False)

    @property
    def n_context(self) -> int:
        """How many frames of the context the network predicts: L - 1, or none."""
        return self.input_chunk_length - 1 if self.predicts_context else 0

    @property
    def network_sizes(self) -> dict[str, Any]:
        """What the network's arguments follow from: grid, covariates and likelihood."""
        n_parameters = self.likelihood.num_parameters if self.likelihood else 1
        return {
            "in_channels": self.grid.channels,
            "out_channels": self.grid.channels * n_parameters,
            "plane_channels": self.input_layout.plane_channels(self.grid),
            "scalar_channels": self.input_layout.scalar_channels,
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
        """Return what the network predicts at every step, (B, n_context + S + horizon, N, P).

        ``draw`` makes a frame (B, 1, N) of the horizon to feed back of its distribution's
        parameters (B, 1, N, P); it then counts as observed. By default, and for what is not known
        before the horizon, their centre is fed, which does not.
        """
        length, gap = self.input_chunk_length, self.output_chunk_shift
        values = x_in.past_target
        if feed_true is not None:
            future = cast(Tensor, x_in.future_target)
            unknown = future.new_zeros(len(future), gap, future.shape[-1])
            values = torch.cat([values, unknown, future], dim=1)
        known = self._known(values)
        values = normalise(values, known, self.rin, context=length, channels=self.grid.channels)
        frames = self.grid.to_frames(values)
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
            feed_back=self._feed_back(draw, gap + (0 if known is None else self.n_context)),
        )
        return self._denormalise(self._to_parameters(output))

    def _feed_back(
        self, draw: Callable[[Tensor], Tensor] | None, n_before: int
    ) -> FeedBack:
        """Return what makes a frame to feed (B, C, H, W) of a prediction (B, C * P, H, W).

        Of those before the horizon, of which there are ``n_before``, none is drawn: training has
        fed the centre there in all sequences.
        """
        mask, likelihood = self.mask, self.likelihood
        if likelihood is None:
            if mask is None:
                return feed_prediction
            return lambda frame, step: FedFrame(frame * mask)
        centre = partial(self._on_observed, partial(point_forecast, likelihood))
        makers = chain(repeat(centre, n_before), repeat(draw or centre))

        def feed_back(prediction: Tensor, step: int) -> FedFrame:
            parameters = self._denormalise(self._to_parameters(prediction[:, None]))
            make = next(makers)
            values = make(parameters)
            if self.rin is not None:
                values = self.rin.transform(values)
            frame = self.grid.to_frames(values)[:, 0]
            observed = torch.full_like(frame, make is draw, dtype=torch.bool)
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
        return output if self.rin is None else denormalise(self.likelihood, output, self.rin)

    # --- what is known -------------------------------------------------------------------------

    def _known(self, values: Tensor) -> Tensor | None:
        """Return which values (B, T, N) are known, ``None`` if there is no need to tell."""
        known = ~torch.isnan(values)
        observed = self._observed
        if observed is not None:
            known &= observed
        elif not torch.compiler.is_compiling() and bool(known.all()):
            return None
        return known

    @property
    def _observed(self) -> Tensor | None:
        """Which components the mask leaves, (N,)."""
        return None if self.mask is None else self.mask.expand(self.grid.shape).reshape(-1)

    def _on_observed(self, function: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
        """Apply a function of parameters (B, T, N, P) to those that the mask leaves; 0 elsewhere.

        A likelihood of all components together must not see the others.
        """
        if self.components is None:
            return function(output)
        seen = function(output.index_select(2, self.components))
        zeros = seen.new_zeros(*output.shape[:3], *seen.shape[3:])
        return zeros.index_copy(2, self.components, seen)

    def _hide(self, output: Tensor) -> Tensor:
        """Put NaN where the mask hides the components of parameters (B, T, N, P)."""
        observed = self._observed
        return output if observed is None else output.masked_fill(~observed[:, None], torch.nan)
