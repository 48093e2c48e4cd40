"""Grid models that tell what they will need."""

from __future__ import annotations

from abc import ABC
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from darts import TimeSeries

from darts_mim.grid import Grid
from darts_mim.models.saving import SavedGridModel

if TYPE_CHECKING:
    from darts_mim.models.base import GridForecastingModel
    from darts_mim.models.summary import ModelSummary


class SummarisedGridModel(SavedGridModel, ABC):
    """Darts model that says before training what a step of it takes."""

    def summary(
        self,
        series: TimeSeries | Sequence[TimeSeries] | Grid | None = None,
        past_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        future_covariates: TimeSeries | Sequence[TimeSeries] | None = None,
        *,
        batch_size: int | None = None,
        n: int | None = None,
    ) -> ModelSummary:
        """Tell what the model is and what training will need, before it is trained.

        A training step runs on tensors that have no values: nothing large is allocated, no random
        number is drawn, and the model stays as it is.

        Parameters
        ----------
        series
            What the model would be trained on, as for ``fit``; or the grid of it, where there are
            no covariates. Not needed after ``fit``.
        past_covariates, future_covariates
            As for ``fit``.
        batch_size
            Number of sequences in a step, by default the model's.
        n
            Number of frames of a forecast, by default ``output_chunk_length``.

        Returns
        -------
        ModelSummary
            Grid, patches, parameters, operations and memory; it prints as a table. Where a step
            needs more memory than there is, it says what could be changed, and what each would
            give.

        Raises
        ------
        ValueError
            If the model cannot be trained on the series.

        Examples
        --------
        >>> from darts_mim import Grid, MIMModel
        >>> model = MIMModel(2, 2, hidden_channels=(8, 8), kernel_size=3, patch_size=4)
        >>> summary = model.summary(Grid(channels=1, height=64, width=64))
        >>> summary.folded_shape, summary.parameters
        ((16, 16), 32224)
        """
        # here: few need what it imports
        from darts_mim.models.plans import fitted_plan, plan_for
        from darts_mim.models.summary import summarise

        covariates = past_covariates, future_covariates
        model = cast("GridForecastingModel", self)
        plan = fitted_plan(model) if series is None else plan_for(model, series, *covariates)
        return summarise(plan, batch_size, n)
