"""What the models with a recurrent network share: their options, and how their modules are made."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from darts.utils.data import TorchTrainingDataset
from darts.utils.data.torch_datasets.utils import TorchTrainingSample
from darts.utils.torch import MonteCarloDropout
from torch import Tensor

from darts_mim.checks import checked_flag, checked_number
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.likelihoods import locations
from darts_mim.models.missing import normalise
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.checks import check_patch_fits, checked_options
from darts_mim.nn.persistence import persistence_of
from darts_mim.nn.recurrent import RecurrentNetwork

__all__ = ["RecurrentGridModel", "RecurrentModule"]

_N_SAMPLES = 64  # windows, spread over the training data, that persistence is estimated from


class RecurrentModule(GridForecastingModule, ABC):
    """Lightning module of a ``RecurrentNetwork``; a subclass names its type.

    Parameters
    ----------
    network_options
        Options of the network.
    dropout
        Probability of dropping a channel of a layer's hidden state.
    damped_persistence
        Whether a forecast begins with the last frame, times a learned factor for each channel.
    **kwargs
        Passed on to ``GridForecastingModule``.
    """

    network_type: ClassVar[type[RecurrentNetwork[Any]]]

    def __init__(
        self,
        network_options: dict[str, Any],
        dropout: float,
        damped_persistence: bool,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        # also without dropout, so that a sweep over it may begin there
        self.dropout = MonteCarloDropout(dropout)
        self.network = self.network_type(
            **network_options,
            **self.network_sizes,
            dropout=self.dropout if dropout else None,
            persistence=locations(self.likelihood) if damped_persistence else (),
        )

    def begin_as_persistence(self, samples: Iterable[TorchTrainingSample]) -> None:
        """Set the factors of damped persistence to those of the training data.

        Parameters
        ----------
        samples
            Samples of the training data.
        """
        clips = (clip for sample in samples for clip in self._clips_of(sample))
        persistence: Any = self.network.persistence
        persistence.factor.data.copy_(persistence_of(clips))

    def _clips_of(self, sample: TorchTrainingSample) -> Iterator[Tensor]:
        """Yield the frames of the two chunks, as the network reads them, NaN where unknown."""
        past, future = (
            torch.tensor(np.asarray(each), dtype=torch.float32)[None]
            for each in (sample.past_target, sample.future_target)
        )
        values = torch.cat([past, future], dim=1)
        length, known = past.shape[1], self.known_values(values)
        values = normalise(values, known, self.rin, context=length, channels=self.grid.channels)
        if known is not None:
            values = values.masked_fill(~known, torch.nan)
        frames = self.grid.to_frames(values)[0]
        if self.output_chunk_shift:  # the frames between the chunks are not in the sample
            yield frames[:length]
            yield frames[length:]
        else:
            yield frames


class RecurrentGridModel(GridForecastingModel, ABC):
    """Darts model with a ``RecurrentNetwork``; a subclass names its module.

    The network reads the frames of the input chunk one by one, then predicts the frames of the
    output chunk, each from the one it predicted before. For ``n > output_chunk_length`` it
    carries its state on: ``predict(n)`` is one rollout of n frames, and its first frames are those
    of any shorter forecast.

    The training loss covers the prediction of every next frame, of the input chunk's as well as
    of the output chunk's; the validation loss and ``torch_metrics`` cover the output chunk alone.

    ``GridForecastingModel`` documents covariates, likelihoods, missing values and the options that
    are not listed here.

    Parameters
    ----------
    input_chunk_length, output_chunk_length, output_chunk_shift
        As for ``GridForecastingModel``.
    hidden_channels
        Channels of each layer from the bottom to the top.
    kernel_size
        Side of the square kernels, odd.
    patch_size
        Side of the square patches that frames are folded into, in cells; at most the height and
        the width of the grid. Frames that it does not divide are padded and cropped again.
    layer_norm
        Whether each convolution's output is layer-normalised.
    forget_bias
        Constant added to the initial bias of the forget gates.
    dropout
        Probability in [0, 1) of dropping a channel of a layer's hidden state on its way up, for a
        whole sequence at once. With ``predict(..., num_samples=..., mc_dropout=True)`` each sample
        is the rollout of one thinned network; without dropout the samples are equal.
    damped_persistence
        Whether a forecast begins with the last frame, times a learned factor for each channel, and
        the network adds the rest. The factors begin as the regression of frames on the frames
        before them, and the rest at zero: an untrained model forecasts damped persistence. A cell's
        level, which layer normalisation and shared kernels hide, then need not be learnt. Quantiles
        begin so, and the location or the mean of a likelihood; parameters of other kinds do not.
    recompute
        Whether training computes the activations of a time step again in the backward pass, rather
        than to store those of all steps. The loss and the weights are the same; a step takes a
        fraction of the memory and about a third more operations (``summary`` counts them).
    fast_path
        Whether to take the fast path: the same network with fewer passes over the tensors and, on
        a CPU, fewer products in its convolutions, in kernels that are compiled once on the machine
        they run on. ``None`` takes it wherever it is known to be right and faster, ``True``
        wherever it can run, ``False`` never; the reason against it is logged. Results are the same
        but for rounding.
    **kwargs
        Options of ``GridForecastingModel``, and those of Darts' torch models.
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
        damped_persistence: bool = True,
        recompute: bool = False,
        fast_path: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(input_chunk_length, output_chunk_length, output_chunk_shift, **kwargs)
        self.set_network_options(
            **checked_options(
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
        self.dropout = checked_number("dropout", dropout, 0.0, 0.99)
        self.damped_persistence = checked_flag("damped_persistence", damped_persistence)
        self._complete_params({"dropout": dropout, "damped_persistence": damped_persistence})

    def _module_params(self, train_sample: TorchTrainingSample) -> dict[str, Any]:
        params = super()._module_params(train_sample)
        check_patch_fits(self.network_options["patch_size"], *params["grid"].shape[1:])
        return {
            **params,
            "dropout": self.dropout,
            "damped_persistence": self.damped_persistence,
        }

    def _setup_for_train(
        self, train_dataset: TorchTrainingDataset, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        is_new = not self.model_created
        params = super()._setup_for_train(train_dataset, *args, **kwargs)
        module = params["model"]
        if is_new and module.network.persistence is not None:
            chosen = np.linspace(0, len(train_dataset) - 1, _N_SAMPLES).astype(int)
            module.begin_as_persistence(train_dataset[int(k)] for k in np.unique(chosen))
        return params
