"""The way from Darts' batches to a network: grid, covariates, missing values, likelihood.

Legend: B batch, T time, L ``input_chunk_length``, S ``output_chunk_shift``, C channels, H height
and W width of the grid, N = C*H*W components, P likelihood parameters (1 without one).
"""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, cast

import torch
from darts.models.forecasting.pl_forecasting_module import PLForecastingModule
from darts.utils.data.torch_datasets.utils import PLModuleInput
from torch import Tensor, nn

from darts_mim.grid import Grid
from darts_mim.models.covariates import InputLayout, collect_inputs
from darts_mim.models.likelihoods import denormalise, point_forecast
from darts_mim.models.missing import normalise
from darts_mim.nn.unrolling import FedFrame


class RolloutModule(PLForecastingModule, ABC):
    """Lightning module that rolls a network out over Darts' batches.

    A subclass sets ``network``, called like ``darts_mim.nn.MIMNetwork.forward`` and built with
    ``network_sizes``, and sets ``predicts_context``.

    Parameters
    ----------
    grid
        Grid of the target.
    input_layout
        Covariates that the network reads besides the frames.
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
        """Arguments of the network that follow from grid, covariates and likelihood."""
        n_parameters = self.likelihood.num_parameters if self.likelihood else 1
        return {
            "in_channels": self.grid.channels,
            "out_channels": self.grid.channels * n_parameters,
            "plane_channels": self.input_layout.plane_channels(self.grid),
            "scalar_channels": self.input_layout.scalar_channels,
            "reads_observed": self.likelihood is not None,
        }

    def roll_out(
        self,
        x_in: PLModuleInput,
        horizon: int,
        *,
        future_past_covariates: Tensor | None = None,
        feed_true: Tensor | None = None,
        draw: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Return the network's output at every step, (B, n_context + S + horizon, N, P).

        Parameters
        ----------
        x_in, future_past_covariates, feed_true
            As for ``GridForecastingModule.forward``.
        horizon
            Number of frames to predict after the gap.
        draw
            Makes a frame (B, 1, N) of the horizon to feed back from the parameters (B, 1, N, P) of
            its distribution. The frame counts as observed. By default, and before the horizon, the
            centre of the distribution is fed back, which counts as predicted.

        Raises
        ------
        ValueError
            If frames are drawn and the network does not ask for each of them.
        """
        length, gap = self.input_chunk_length, self.output_chunk_shift
        values = x_in.past_target
        if feed_true is not None:
            future = cast(Tensor, x_in.future_target)
            unknown = future.new_zeros(len(future), gap, future.shape[-1])
            values = torch.cat([values, unknown, future], dim=1)
        known = self.known_values(values)
        values = normalise(values, known, self.rin, context=length, channels=self.grid.channels)
        frames = self.grid.to_frames(values)
        feeder = Feeder(self, draw)
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
            feed_back=feeder,
        )
        if draw is not None and feeder.n_drawn != horizon - 1:
            raise ValueError(
                "`network` must call `feed_back(prediction, step)` once for each frame of the "
                f"horizon but the last, got {feeder.n_drawn} calls for {horizon} frames; feed "
                "it the frames that `feed_back` returns, as `darts_mim.nn.unroll` does"
            )
        return self.to_parameters(output)

    def to_parameters(self, output: Tensor) -> Tensor:
        """Bring a network's output (B, T, C * P, H, W) to (B, T, N, P) and to the series' units."""
        b, t, _, height, width = output.shape
        parameters = (
            output.reshape(b, t, self.grid.channels, -1, height, width)
            .movedim(3, -1)
            .reshape(b, t, self.grid.n_components, -1)
        )
        if self.rin is None:
            return parameters
        return denormalise(self.likelihood, parameters, self.rin)

    # --- known values -------------------------------------------------------------------------

    def known_values(self, values: Tensor) -> Tensor | None:
        """Return which values (B, T, N) are known, ``None`` for all of them."""
        known = ~torch.isnan(values)
        if self.observed is not None:
            known &= self.observed
        elif not torch.compiler.is_compiling() and bool(known.all()):
            return None
        return known

    @property
    def observed(self) -> Tensor | None:
        """Which components the mask leaves, (N,)."""
        return None if self.mask is None else self.mask.expand(self.grid.shape).reshape(-1)

    def on_observed(self, function: Callable[[Tensor], Tensor], output: Tensor) -> Tensor:
        """Apply a function of parameters (B, T, N, P) to those that the mask leaves; 0 elsewhere.

        A likelihood of all components together must not see the others.
        """
        if self.components is None:
            return function(output)
        seen = function(output.index_select(2, self.components))
        zeros = seen.new_zeros(*output.shape[:3], *seen.shape[3:])
        return zeros.index_copy(2, self.components, seen)

    def hide(self, output: Tensor) -> Tensor:
        """Put NaN where the mask hides the components of parameters (B, T, N, P)."""
        observed = self.observed
        return output if observed is None else output.masked_fill(~observed[:, None], torch.nan)


class Feeder:
    """Make the frames that a network is fed from its own predictions.

    Parameters
    ----------
    module
        The module of the network.
    draw
        As for ``RolloutModule.roll_out``.

    Attributes
    ----------
    n_drawn
        How many frames were drawn.
    """

    def __init__(
        self, module: RolloutModule, draw: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        self.module, self.draw, self.n_drawn = module, draw, 0

    def __call__(self, prediction: Tensor, step: int) -> FedFrame:
        """Return the frame to feed for a prediction (B, C * P, H, W).

        ``step`` counts the frames of context, gap and horizon from 0. Frames before the horizon are
        never drawn, as training feeds their centre in all sequences.
        """
        module, mask = self.module, self.module.mask
        if module.likelihood is None:
            return FedFrame(prediction if mask is None else prediction * mask)
        is_drawn = (
            self.draw is not None and step >= module.input_chunk_length + module.output_chunk_shift
        )
        self.n_drawn += is_drawn
        centre = partial(module.on_observed, partial(point_forecast, module.likelihood))
        make = cast(Any, self.draw) if is_drawn else centre
        values = make(module.to_parameters(prediction[:, None]))
        if module.rin is not None:
            values = module.rin.transform(values)
        frame = module.grid.to_frames(values)[:, 0]
        observed = torch.full_like(frame, is_drawn, dtype=torch.bool)
        if mask is not None:
            frame, observed = frame * mask, observed & mask
        return FedFrame(frame, observed)
