"""ST-ResNet: residual networks of the frames just before, a day before and a week before [1]_.

Legend: B batch, T time, C channels of a frame, C' channels of a prediction, H height, W width,
F scalars, S steps that a branch computes at once.

References
----------
.. [1] J. Zhang, Y. Zheng, D. Qi, "Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
   Prediction", AAAI 2017, figure 3, equations 3 and 4.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from darts_mim.checks import checked_integer
from darts_mim.nn.calls import check_call
from darts_mim.nn.checks import checked_st_resnet_options
from darts_mim.nn.history import FrameHistory
from darts_mim.nn.lags import Lags
from darts_mim.nn.residual import ExternalBranch, ResidualBranch
from darts_mim.nn.unrolling import FeedBack, Inputs, feed_prediction

# of a branch at once: on small grids up to 1.4 times as fast as one by one, on large ones as fast;
# with no bound a long forecast would take much memory
_MOST_STEPS = 8


class STResNetNetwork(nn.Module):
    """Three residual networks and one of what is known besides, fused cell by cell.

    The prediction of a frame is the sum of its branches, equations 3 and 4 of [1]_ of this module:

        X_Res = W_c o X_c + W_p o X_p + W_q o X_q
        X = tanh(X_Res + X_Ext)

    with X_c of the frames just before it (closeness), X_p of those a period before (a day), X_q of
    those a trend before (a week), and X_Ext of the scalars that belong to it: two fully connected
    layers with a ReLU between them. Without scalars there is no X_Ext, and the tanh is an option.

    Unlike a recurrent network it predicts no frame of the context, it keeps no state, and its
    weights W tie it to the size of a grid. Frames of the horizon that it reads are its own
    forecasts, or true ones where ``feed_true`` says so.

    Parameters
    ----------
    in_channels
        Channels C of a frame.
    height, width
        Height H and width W of a frame, in cells.
    closeness
        Number of frames just before the predicted one that are read, at least 1.
    period, trend
        Number of frames that are read at multiples of ``period_length`` and of ``trend_length``
        before the predicted one; 0 for no such branch.
    period_length, trend_length
        Number of time steps of a period and of a trend: 48 and 336 are a day and a week of half
        hours.
    hidden_channels
        Channels of the residual units.
    residual_units
        Number of residual units in each branch; 12 in the paper's L12-E for
        Beijing; its best, L12-E-BN, has batch normalisation besides, which is not here.
    kernel_size
        Side of the square kernels, odd.
    external_units
        Units of the first of the two layers that read the scalars.
    tanh
        Whether predictions go through a tanh, as in the paper, whose data are scaled to [-1, 1]. By
        default they do not: standardised frames, and parameters of distributions, have no bounds.
    out_channels
        Channels C' of a prediction, by default those of a frame. With more of them, as for the
        parameters of a distribution, ``forward`` needs ``feed_back``.
    plane_channels
        Fields on the grid, the constant ones included, that closeness reads besides the frames.
    scalar_channels
        Number F of scalars that belong to a predicted frame.
    reads_observed
        Whether each branch reads, cell by cell, if a frame's values were observed (1) or not (0).
    recompute
        Whether to compute the activations of a branch again in the backward pass, rather than to
        store them. Outputs and gradients are the same.

    Raises
    ------
    TypeError
        If a parameter is of a wrong type.
    ValueError
        If a parameter is out of its range.

    Examples
    --------
    >>> network = STResNetNetwork(2, 6, 5, period_length=4, trend_length=8, hidden_channels=4)
    >>> frames, state = network(torch.rand(3, 8, 2, 6, 5), horizon=10)
    >>> frames.shape  # of the horizon alone
    torch.Size([3, 10, 2, 6, 5])
    """

    def __init__(
        self,
        in_channels: int,
        height: int,
        width: int,
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
        out_channels: int | None = None,
        plane_channels: int = 0,
        scalar_channels: int = 0,
        reads_observed: bool = False,
        recompute: bool = False,
    ) -> None:
        super().__init__()
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
        self.in_channels = checked_integer("in_channels", in_channels)
        self.height = checked_integer("height", height)
        self.width = checked_integer("width", width)
        self.out_channels = checked_integer(
            "out_channels", in_channels if out_channels is None else out_channels
        )
        self.plane_channels = checked_integer("plane_channels", plane_channels, least=0)
        self.scalar_channels = checked_integer("scalar_channels", scalar_channels, least=0)
        self.reads_observed = reads_observed
        self.lags = Lags.of(options)
        self.tanh = options["tanh"]
        self.recompute = options["recompute"]
        self.branches = nn.ModuleDict(
            {
                name: ResidualBranch(
                    self._channels_read(name),
                    *self._sizes,
                    options["hidden_channels"],
                    options["residual_units"],
                    options["kernel_size"],
                )
                for name in self.lags.distances
            }
        )
        scalars, units = self.scalar_channels, options["external_units"]
        self.external = ExternalBranch(scalars, *self._sizes, units) if scalars else None
        # as in recurrent networks: faster with the channels innermost
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """Sizes (C', H, W) of a prediction."""
        return self.out_channels, self.height, self.width

    def _channels_read(self, branch: str) -> int:
        frames = len(self.lags.distances[branch]) * self.in_channels
        planes = self.plane_channels if branch == "closeness" else 0
        return frames * (2 if self.reads_observed else 1) + planes

    def forward(
        self,
        context: Tensor,
        horizon: int,
        *,
        future: Tensor | None = None,
        feed_true: Tensor | None = None,
        observed: Tensor | None = None,
        inputs: Inputs | None = None,
        feed_back: FeedBack = feed_prediction,
    ) -> tuple[Tensor, None]:
        """Predict a horizon of any length, a frame at a time.

        Where a value of the context is not known, the last known one of its cell is read, or if
        there is none the next.

        Parameters
        ----------
        context
            Known frames of shape (B, T, C, H, W), T at least the farthest frame that is read.
        horizon, future
            As for ``unroll``.
        feed_true, observed, inputs
            As for ``unroll``; what belongs to the prediction of the context's frames is not read.
        feed_back
            As for ``unroll``; called once for each frame of the horizon but the last.

        Returns
        -------
        predictions
            Predictions of the horizon, of shape (B, horizon, C', H, W).
        state
            ``None``: there is none.

        Raises
        ------
        TypeError
            If ``horizon`` is no integer.
        ValueError
            If the context is of another grid or too short, and as for ``check_call``.
        """
        check_call(
            self,
            context,
            horizon,
            future=future,
            feed_true=feed_true,
            observed=observed,
            inputs=inputs,
            feed_back=feed_back,
        )
        self._check_frames(context)
        history = FrameHistory(context, observed, self.reads_observed)
        predictions: list[Tensor] = []
        for terms in zip(*self._all_terms(history, horizon, inputs or Inputs()), strict=True):
            total = torch.stack(terms).sum(dim=0)
            predictions.append(torch.tanh(total) if self.tanh else total)
            h = len(predictions)
            if h == horizon:
                break
            t = history.length + h - 1  # of the frame that was predicted
            fed = feed_back(predictions[-1], t)
            if feed_true is not None and future is not None:
                is_true = _is_true(feed_true, observed, t)
                fed = fed.unless_true(is_true, future[:, h - 1])
            history.fed.append(fed)
        return torch.stack(predictions, dim=1), None

    def _check_frames(self, context: Tensor) -> None:
        """Refuse frames of another grid, and fewer of them than are read."""
        if tuple(context.shape[-2:]) != (self.height, self.width):
            rows, columns = context.shape[-2:]
            raise ValueError(
                f"`context` must have frames of {self.height}x{self.width} cells, as each of them "
                f"has weights of its own, got {rows}x{columns}; build a network of that `height` "
                "and `width`"
            )
        self.lags.check_reach("context", context.shape[1])

    def _all_terms(
        self, history: FrameHistory, horizon: int, inputs: Inputs
    ) -> Iterator[Iterator[Tensor]]:
        """Yield for each branch what yields its terms of the predictions, (B, C', H, W)."""
        for name in self.branches:
            yield self._terms(name, history, horizon, inputs)
        if self.external is not None and inputs.scalars is not None:
            yield iter(self.external(inputs.scalars[:, -horizon:]).transpose(0, 1))

    def _terms(
        self, name: str, history: FrameHistory, horizon: int, inputs: Inputs
    ) -> Iterator[Tensor]:
        """Yield a branch's terms, of as many steps at once as the frames are there for.

        A day ahead, the branch of a day before reads nothing that is still to be predicted.
        """
        branch, distances = self.branches[name], self.lags.distances[name]
        at_once = min(distances[-1], _MOST_STEPS)
        for first in range(0, horizon, at_once):
            steps = range(history.length + first, history.length + min(first + at_once, horizon))
            reads = [[history.fields(t - distance) for distance in distances] for t in steps]
            if name == "closeness" and self.plane_channels:
                for t, fields in zip(steps, reads, strict=True):
                    fields += [cast(Tensor, inputs.at(t - 1).planes)]
            # (S, B, channels, H, W)
            x = torch.stack([torch.cat(fields, dim=1) for fields in reads])
            yield from self._run(branch, x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def _run(self, branch: nn.Module, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(branch, x, use_reentrant=False))
        return cast(Tensor, branch(x))


def _is_true(feed_true: Tensor, observed: Tensor | None, t: int) -> Tensor:
    """Return where the true values of frame t are to be read, of a shape to broadcast to it."""
    is_true = feed_true[:, t - 1, None, None, None]
    return is_true if observed is None else observed[:, t] & is_true
