"""How covariates enter a network: fields on the target's grid as planes, all else as scalars.

Legend: B batch, T time, L frames of the input chunk, K components of a covariate, H height and W
width of the target's grid, S steps of a rollout; step t reads frame t and predicts frame t + 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from darts import TimeSeries
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import PLModuleInput, TorchTrainingSample
from torch import Tensor

from darts_mim.grid import METADATA_KEY, Grid
from darts_mim.nn.unrolling import Inputs

logger = get_logger(__name__)


class CovariateLayout(NamedTuple):
    """Which components of a covariate are planes.

    Attributes
    ----------
    n_scalars
        Number of components that hold for the whole grid.
    first
        Position of the first component that lies on the grid; its planes are in one piece.
    channel_names
        Names of the planes.
    """

    n_scalars: int
    first: int = 0
    channel_names: tuple[str, ...] = ()

    @property
    def channels(self) -> int:
        """The number of planes."""
        return len(self.channel_names)

    def split(self, values: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
        """Split values (B, T, K) into planes (B, T, channels, H, W) and scalars (B, T, rest)."""
        n_cells = self.channels * grid.height * grid.width
        before, planes, after = values.split(
            [self.first, n_cells, self.n_scalars - self.first], dim=-1
        )
        shape = (*values.shape[:-1], self.channels, grid.height, grid.width)
        return planes.reshape(shape), torch.cat([before, after], dim=-1)

    def __str__(self) -> str:
        names = ", ".join(self.channel_names)
        planes = (
            f"{names} on the grid from component {self.first} on" if names else "none on the grid"
        )
        return f"{planes}, and {self.n_scalars} scalars"


class InputLayout(NamedTuple):
    """Covariates that a network reads besides the frames.

    Attributes
    ----------
    past, future
        Layouts of the past and of the future covariates, ``None`` without them.
    static
        Shape of the static covariates (rows, columns), ``None`` without them: a row for all
        components, or a row for each.
    """

    past: CovariateLayout | None = None
    future: CovariateLayout | None = None
    static: tuple[int, int] | None = None

    def plane_channels(self, grid: Grid) -> int:
        """Return the number of planes, the grid's mask among them."""
        n_planes = sum(each.channels for each in (self.past, self.future) if each is not None)
        n_planes += 0 if grid.mask is None else 1
        if self.static is not None and self.static[0] > 1:
            n_planes += self.static[1] * grid.channels
        return n_planes

    @property
    def scalar_channels(self) -> int:
        """The number of scalars, among them for each kind whether it is known at a step."""
        n_scalars = sum(each.n_scalars + 1 for each in (self.past, self.future) if each is not None)
        if self.static is not None and self.static[0] == 1:
            n_scalars += self.static[1] + 1
        return n_scalars


def lay_out(kind: str, covariates: Sequence[TimeSeries], grid: Grid | None) -> CovariateLayout:
    """Find out which components of covariates lie on the grid of the target.

    Parameters
    ----------
    kind
        Name of the argument, for errors: ``"past_covariates"`` or ``"future_covariates"``.
    covariates
        The covariates of each series, at least one.
    grid
        Grid of the target, ``None`` if it has none.

    Raises
    ------
    ValueError
        If they differ in it, or lie on another grid.
    """
    layouts = [_lay_out(kind, each, grid) for each in covariates]
    for layout in layouts:
        if layout != layouts[0]:
            raise ValueError(
                f"`{kind}` must be alike for all series, got {layouts[0]}; and {layout}; give all "
                "of them the same channels in the same order"
            )
    return layouts[0]


def _lay_out(kind: str, covariates: TimeSeries, grid: Grid | None) -> CovariateLayout:
    n_components = covariates.n_components
    metadata = (covariates.metadata or {}).get(METADATA_KEY)
    if metadata is None:
        return CovariateLayout(n_components)
    own = Grid.from_metadata(metadata)
    if own.shape[1:] != ((1, 1) if grid is None else grid.shape[1:]):
        expected = "no grid" if grid is None else f"{grid.height} rows x {grid.width} columns"
        raise ValueError(
            f"`{kind}` lie on a grid of {own.height} rows x {own.width} columns, but the target "
            f"has {expected}; bring them to the target's grid, or drop theirs with "
            "`with_metadata({})` to spread each component over the target's grid"
        )
    names = own.component_names
    held = covariates.components.to_list()
    first = held.index(names[0]) if names[0] in held else 0
    # renamed as a whole they may pass, as those of a target may
    is_renamed = len(held) == len(names) and set(held).isdisjoint(names)
    if held[first : first + len(names)] != names and not is_renamed:
        raise ValueError(
            f"`{kind}` do not hold the components of their grid ({own}) in one piece and in their "
            "order; stack the series of the grid first, as in `fields.stack(calendar)`, and do "
            "not rename its components"
        )
    return CovariateLayout(n_components - len(names), first, own.channel_names)


def lay_out_inputs(
    sample: TorchTrainingSample, layouts: dict[str, CovariateLayout], grid: Grid
) -> InputLayout:
    """Return the covariates that a network reads, given a sample of the training data.

    Parameters
    ----------
    sample
        A training sample.
    layouts
        What is known of ``past_covariates`` and ``future_covariates``; those of a data set that
        does not say are scalars.
    grid
        Grid of the target.
    """

    def layout(name: str) -> CovariateLayout | None:
        values = getattr(sample, name)
        if values is None:
            return None
        return layouts.get(name, CovariateLayout(values.shape[1]))

    static = sample.static_covariates
    if static is not None and static.shape[0] not in (1, grid.n_components):
        raise ValueError(
            f"`static_covariates` must have one row or a row for each of the {grid.n_components} "
            f"components, got {static.shape[0]}"
        )
    return InputLayout(
        past=layout("past_covariates"),
        future=layout("future_covariates"),
        static=None if static is None else (static.shape[0], static.shape[1]),
    )


def sample_sizes(
    layout: InputLayout, grid: Grid, length: int, horizon: int
) -> dict[str, tuple[int, int]]:
    """Return frames and components of the arrays of a sample, of chunks of these lengths."""
    n_cells = grid.height * grid.width
    past, future = (
        None if each is None else each.channels * n_cells + each.n_scalars
        for each in (layout.past, layout.future)
    )
    rows, columns = layout.static or (1, None)
    sizes = {
        "past_target": (length, grid.n_components),
        "future_target": (horizon, grid.n_components),
        "past_covariates": (length, past),
        "historic_future_covariates": (length, future),
        "future_covariates": (horizon, future),
        "static_covariates": (1 if rows == 1 else grid.n_components, columns),
    }
    return {name: (n, each) for name, (n, each) in sizes.items() if each is not None}


def warn_of_spread(layout: InputLayout, grid: Grid) -> None:
    """Warn of covariates that look as if they were fields, and are read as numbers."""
    for name, found in (("past_covariates", layout.past), ("future_covariates", layout.future)):
        if found is not None and found.n_scalars >= grid.height * grid.width > 1:
            logger.warning(
                "`%s` have %s, each of which is spread over the whole grid. If these are fields, "
                "too, make one series of all fields with `frames_to_series`, a channel for each, "
                "and stack the rest after it, as in `fields.stack(calendar)`.",
                name,
                found,
            )


def collect_inputs(
    layout: InputLayout,
    grid: Grid,
    x_in: PLModuleInput,
    *,
    horizon: int,
    shift: int,
    future_past: Tensor | None,
    mask: Tensor | None,
) -> Inputs:
    """Line up covariates with the steps of a rollout.

    A step from frame t to frame t + 1 reads the past covariates of t and the future covariates of
    t + 1. Past covariates of the horizon are unknown, unless they are given, and so are future
    covariates of the gap that ``output_chunk_shift`` leaves: they are zeros. A scalar for each kind
    says where it is known (1) and where not (0). It is there where all is known, too, and for
    shared static covariates: layer normalisation undoes a factor common to all that a step reads,
    and beside a 1 the size of the numbers stays visible.

    Parameters
    ----------
    layout
        Covariates that the network reads.
    grid
        Grid of the target.
    x_in
        Darts' input.
    horizon
        Number of frames to predict after the gap.
    shift
        Number of frames of the gap.
    future_past
        Past covariates (B, T, K) of the first frames of the horizon, as far as they are known.
    mask
        The grid's mask as 0 and 1, of shape (H, W).

    Returns
    -------
    Inputs
        Planes and scalars of the L - 1 + shift + horizon steps.
    """
    b, length, _ = x_in.past_target.shape
    steps = length - 1 + shift + horizon
    planes: list[Tensor] = []
    scalars: list[Tensor] = []
    if layout.past is not None:
        known = [cast(Tensor, x_in.past_covariates)]
        known += [] if future_past is None else [future_past]
        values = torch.cat(known, dim=1)[:, :steps]
        n_unknown = steps - values.shape[1]
        fields, numbers = layout.past.split(F.pad(values, (0, 0, 0, n_unknown)), grid)
        planes.append(fields)
        scalars += [numbers, F.pad(torch.ones_like(values[..., :1]), (0, 0, 0, n_unknown))]
    if layout.future is not None:
        context = cast(Tensor, x_in.historic_future_covariates)[:, 1:]
        ahead = cast(Tensor, x_in.future_covariates)[:, :horizon]
        gap = ahead.new_zeros(b, shift, ahead.shape[-1])
        fields, numbers = layout.future.split(torch.cat([context, gap, ahead], dim=1), grid)
        planes.append(fields)
        ones = [torch.ones_like(part[..., :1]) for part in (context, ahead)]
        scalars += [numbers, torch.cat([ones[0], gap[..., :1], ones[1]], dim=1)]
    constants: list[Tensor] = []
    if layout.static is not None:
        static = cast(Tensor, x_in.static_covariates)
        if layout.static[0] == 1:
            scalars.append(F.pad(static, (0, 1), value=1.0).expand(-1, steps, -1))
        else:
            # a row for each component: (B, N, columns) -> (B, columns * C, H, W)
            constants.append(static.transpose(1, 2).reshape(b, -1, grid.height, grid.width))
    if mask is not None:
        constants.append(mask.expand(b, 1, -1, -1))
    dtype = x_in.past_target.dtype
    return Inputs(_join(planes, 2, dtype), _join(constants, 1, dtype), _join(scalars, 2, dtype))


def _join(tensors: list[Tensor], dim: int, dtype: torch.dtype) -> Tensor | None:
    """Join tensors in the target's type: calendars tend to be in float64, frames in float32."""
    joined = torch.cat(tensors, dim=dim).to(dtype) if tensors else None
    return None if joined is None or joined.shape[dim] == 0 else joined
