"""Gate saturation: how much of its memory each layer of a fitted model keeps.

In the equations t is the time step, l the layer, C a cell state and T the output of MIM-S.

Legend: H height, W width.

References
----------
.. [1] Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive
   Neural Network for Learning Higher-Order Non-Stationarity from Spatiotemporal Dynamics",
   CVPR 2019, section 4.3 and figure 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import pandas as pd
import torch
from darts import TimeSeries
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from darts_mim.models.base import GridForecastingModel
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.cells import MIMBlock, STLSTMCell
from darts_mim.nn.patches import fold_patches
from darts_mim.nn.recurrent import RecurrentNetwork

__all__ = ["GateSaturation", "gate_saturation"]


@dataclass(frozen=True, eq=False)
class GateSaturation:
    """How much of its memory each layer keeps, over time.

    Parameters
    ----------
    shares
        Share in [0, 1] of a layer's elements whose gate exceeds the threshold, NaN where there is
        no gate to count. A row for each step, named by the frame that it reads: ..., -1, 0 in the
        context, then the predicted frames 1, 2, ...; a column for each layer, from 1 at the bottom.
    gates
        The gate of each layer: ``"f"``, the forget gate of an ST-LSTM; ``"T / C"``, the output of
        MIM-S divided by the cell state that it replaces; ``""`` for a MIM block without MIM-S,
        which keeps nothing of its cell state: its column is NaN.
    threshold
        Value that a gate must exceed to count.

    Examples
    --------
    The mean of each layer, over the steps that read the context:

    >>> shares = pd.DataFrame({1: [0.9, 0.7, 0.8], 2: [float("nan"), 0.6, 0.5]}, index=[-1, 0, 1])
    >>> saturation = GateSaturation(shares, ("f", "T / C"), threshold=0.9)
    >>> saturation.shares.loc[:0].mean().tolist()
    [0.8, 0.6]
    """

    shares: pd.DataFrame
    gates: tuple[str, ...]
    threshold: float


def gate_saturation(
    model: GridForecastingModel,
    series: TimeSeries | Sequence[TimeSeries],
    threshold: float = 0.9,
    *,
    n: int | None = None,
    past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
    future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
) -> GateSaturation:
    """Measure how many of a model's forget gates are open, layer by layer and step by step.

    A gate above 0.9 is saturated: it keeps its memory almost unchanged. This is the measure of
    figure 7 of the paper [1]_. In an ST-LSTM the gate is the forget gate f. A MIM block has no
    forget gate: it replaces its cell state C[t-1,l] by the output T[t,l] of MIM-S, and its gate is
    the quotient T[t,l] / C[t-1,l] of each element. The quotient may have any sign and size, and
    counts if it exceeds the threshold. Elements whose C[t-1,l] is zero have no quotient and are
    left out; at the first step these are all elements.

    The model forecasts as in ``predict``, without dropout and, with a likelihood, feeding back the
    centre of what it predicts. All series count alike. Where the grid has a mask, elements of which
    no cell is observed are left out.

    Parameters
    ----------
    model
        A fitted model with recurrent layers, such as ``MIMModel``. It is left as it was.
    series
        The series to forecast from, at least ``input_chunk_length`` frames.
    threshold
        Value that a gate must exceed to count, in (0, 1).
    n
        Number of frames to forecast, by default ``output_chunk_length``.
    past_covariates, future_covariates
        As for ``predict``.

    Returns
    -------
    GateSaturation
        The shares, for ``darts_mim.plotting.plot_gates``.

    Raises
    ------
    TypeError
        If `model` is not a model of this package, or has no recurrent layers.
    ValueError
        If `model` is not fitted or `threshold` is out of range, and as in ``predict``.

    Examples
    --------
    >>> from darts_mim import MIMModel, frames_to_series
    >>> series = frames_to_series(np.random.default_rng(0).random((9, 1, 4, 6), dtype=np.float32))
    >>> model = MIMModel(
    ...     input_chunk_length=3,
    ...     output_chunk_length=2,
    ...     hidden_channels=(4, 4),
    ...     kernel_size=3,
    ...     n_epochs=1,
    ...     pl_trainer_kwargs={"accelerator": "cpu", "enable_progress_bar": False},
    ... )
    >>> saturation = gate_saturation(model.fit(series), series)
    >>> saturation.gates
    ('f', 'T / C')
    >>> saturation.shares.shape, saturation.shares.index.tolist()
    ((4, 2), [-2, -1, 0, 1])
    """
    if not 0.0 < threshold < 1.0:
        raise ValueError(
            f"`threshold` must be in (0, 1), got {threshold}; the paper counts gates above 0.9"
        )
    network, mask = _network_of(model)
    with _recording(network, mask, threshold) as batches:
        model.predict(
            model.output_chunk_length if n is None else n,
            series,
            past_covariates=past_covariates,
            future_covariates=future_covariates,
            predict_likelihood_parameters=model.likelihood is not None,
            verbose=False,
        )
    n_open, n_all = np.sum(batches, axis=0).T  # (steps, layers) each
    with np.errstate(invalid="ignore"):
        shares = n_open / n_all
    gates = tuple(_gate_name(cell) for cell in _cells(network))
    steps = pd.RangeIndex(len(shares), name="step") - (model.input_chunk_length - 1)
    layers = pd.RangeIndex(1, len(gates) + 1, name="layer")
    return GateSaturation(pd.DataFrame(shares, steps, layers), gates, threshold)


def _network_of(model: Any) -> tuple[nn.Module, Tensor | None]:
    """Return a model's network, and where its grid is observed, (H, W)."""
    if not isinstance(model, GridForecastingModel):
        raise TypeError(
            f"`model` must be a model of this package, such as MIMModel, got {type(model).__name__}"
        )
    if not model.model_created:
        raise ValueError("`model` must be fitted; call `model.fit(series)` first")
    module = cast(GridForecastingModule, model.model)
    if not _cells(module.network):
        raise TypeError(
            f"`model` must have recurrent layers whose gates can be measured, got a "
            f"{type(model).__name__}"
        )
    return module.network, module.mask


def _cells(network: nn.Module) -> list[STLSTMCell | MIMBlock]:
    """Return the layers from the bottom to the top, in which order networks make them."""
    return [each for each in network.modules() if isinstance(each, STLSTMCell | MIMBlock)]


def _gate_name(cell: STLSTMCell | MIMBlock) -> str:
    if isinstance(cell, STLSTMCell):
        return "f"
    return "T / C" if cell.stationary is not None else ""


def _observed_patches(mask: Tensor, network: nn.Module) -> Tensor:
    """Return which patches have a cell that is observed, (1, 1, height, width)."""
    patches = fold_patches(mask[None, None].float(), cast(int, network.patch_size))
    return patches.amax(dim=1, keepdim=True) > 0.0


@contextmanager
def _recording(
    network: nn.Module, mask: Tensor | None, threshold: float
) -> Iterator[list[list[list[tuple[int, int]]]]]:
    """Yield how many gates are open and how many count, by batch, layer and step.

    The network runs on the plain path, and is left as it was.
    """
    network = cast(RecurrentNetwork[Any], network)
    fast_path, network.fast_path = network.fast_path, False
    cells = _cells(network)
    observed = None if mask is None else _observed_patches(mask, network)
    batches: list[list[list[tuple[int, int]]]] = []

    def count(layer: int, gate: Tensor, is_counted: Tensor) -> None:
        if observed is not None:
            is_counted = is_counted & observed.to(is_counted.device)  # `predict` moves it
        is_open = (gate > threshold) & is_counted
        batches[-1][layer].append((int(is_open.sum()), int(is_counted.sum())))

    handles = [network.register_forward_pre_hook(lambda *_: batches.append([[] for _ in cells]))]
    handles += [_watch(cell, partial(count, layer)) for layer, cell in enumerate(cells)]
    try:
        yield batches
    finally:
        network.fast_path = fast_path
        for handle in handles:
            handle.remove()


def _watch(cell: STLSTMCell | MIMBlock, count: Callable[[Tensor, Tensor], None]) -> RemovableHandle:
    """Have the gate of a cell counted at every step, and where it counts."""

    def forget_gate(cell: STLSTMCell, args: tuple[Any, ...]) -> None:
        """Compute the gate again, from the inputs of the cell."""
        x, _, state = args
        gates = cell.from_input(x)[0] + cell.from_hidden(state.h)[0]
        forget = gates.chunk(3, dim=1)[2]
        count(torch.sigmoid(forget), torch.ones_like(forget, dtype=torch.bool))

    def quotient(_: nn.Module, args: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Divide the output of MIM-S by the cell state that it reads."""
        kept, c = output[0].float(), args[1].float()
        count(kept / c, c != 0.0)

    if isinstance(cell, STLSTMCell):
        return cell.register_forward_pre_hook(forget_gate)
    if cell.stationary is not None:
        return cell.stationary.register_forward_hook(quotient)
    nothing = torch.zeros(1, 1, 1, 1)
    return cell.register_forward_pre_hook(lambda *_: count(nothing, nothing > 0.0))
