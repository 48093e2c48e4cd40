"""Models as ONNX files, of which ``darts.utils.onnx`` makes forecasts without PyTorch.

Darts runs two kinds of graph. The graph of a step reads a frame and a state, and gives the next of
both: Darts carries the state on for as many frames as are asked for, as ``predict`` does. The graph
of a forecast reads the input chunk and gives all frames at once. For more of them, Darts would
encode another window, which ends in forecasts, and lose the state. A ``RecurrentNetwork`` has both
graphs, any other network that of a forecast.

Legend: H frames that a graph predicts, N components, P likelihood parameters.
"""

from __future__ import annotations

import json
import warnings
from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, cast

import torch
from darts.logging import get_logger
from darts.utils.data.torch_datasets.utils import ModuleStage, PLModuleInput, TorchTrainingSample
from darts.utils.onnx.inference import ONNX_SPEC_METADATA_KEY, OnnxModelSpec
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from darts_mim._optional import import_optional
from darts_mim.checks import checked_integer
from darts_mim.models.covariates import collect_inputs, sample_sizes
from darts_mim.models.likelihoods import unchecked_distributions
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.rollout import Feeder
from darts_mim.nn.recurrent import RecurrentNetwork

logger = get_logger(__name__)


def export_onnx(
    module: GridForecastingModule,
    sample: TorchTrainingSample,
    path: Path,
    horizon: int | None,
    **kwargs: Any,
) -> None:
    """Write a module to an ONNX file, which appears whole or not at all.

    Parameters
    ----------
    module
        A fitted module, which stays as it is.
    sample
        A sample of its training data: gives the shapes and the type of what it reads.
    path
        Path of the file.
    horizon
        Number of frames of the graph of a forecast. ``None`` for the graph of a step; where there
        is none, for ``output_chunk_length`` frames, with a warning.
    **kwargs
        Passed on to ``torch.onnx.export``.

    Raises
    ------
    ImportError
        If a package of the extra ``onnx`` is missing.
    ValueError
        If ``horizon`` is out of its range.
    """
    import_optional("onnxscript", extra="onnx")  # torch exports with it
    onnx = import_optional("onnx", extra="onnx")
    graph = _make_graph(module, sample, horizon)
    with TemporaryDirectory(prefix=f".{path.name}-", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        onnx.save(_to_proto(graph, onnx, **kwargs), draft)
        draft.replace(path)


def _to_proto(graph: _Graph, onnx: Any, **kwargs: Any) -> Any:
    """Return a graph as ONNX, with the metadata that Darts reads."""
    spec = graph.spec
    # of a forecast's graph it takes minutes; ONNX Runtime does the same when it loads a file
    options = {"optimize": graph.is_stepwise, "verbose": False, **kwargs}
    with torch.no_grad(), unchecked_distributions(), warnings.catch_warnings():
        # Darts keeps the statistics of instance normalisation on its module; each call sets them
        warnings.filterwarnings("ignore", message="The tensor attributes .* assigned during export")
        program: Any = torch.onnx.export(
            graph,
            graph.examples(),
            dynamo=True,
            input_names=spec.input_names,
            output_names=spec.output_names,
            **options,
        )
    proto = program.model_proto
    for node in proto.graph.node:
        node.ClearField("metadata_props")  # the source lines it comes from: most of the file
    described = json.dumps(asdict(spec), default=int)  # sizes may be NumPy's integers
    onnx.helper.set_model_props(proto, {ONNX_SPEC_METADATA_KEY: described})
    return proto


def _make_graph(
    module: GridForecastingModule, sample: TorchTrainingSample, horizon: int | None
) -> _Graph:
    """Choose a graph, and warn of its limits."""
    chunk, shift = cast(int, module.output_chunk_length), module.output_chunk_shift
    layout = module.input_layout
    needs_all_frames = {
        "a network that carries no state on": not isinstance(module.network, RecurrentNetwork),
        "a likelihood": module.likelihood is not None,
        "reversible instance normalisation": module.rin is not None,
        "past covariates": layout.past is not None,
        "`output_chunk_shift`": shift > 0,
    }
    if shift and layout.future is not None:
        logger.warning(
            "Darts' `run_onnx_prediction` gives too few future covariates to a model with "
            "`output_chunk_shift`, and fails: feed the graph of this file yourself."
        )
    if horizon is None and not any(needs_all_frames.values()):
        return _StepGraph(module, sample, 1)
    if horizon is None:
        logger.warning(
            "The file forecasts up to %d frames; with %s it holds the graph of a forecast, not "
            "of a step. `to_onnx(path, horizon=n)` sets another number.",
            chunk,
            ", ".join(name for name, holds in needs_all_frames.items() if holds),
        )
        return _ForecastGraph(module, sample, chunk)
    horizon = checked_integer("horizon", horizon)
    if horizon > chunk and (shift or layout.past is not None):
        raise ValueError(
            f"`horizon` must be at most `output_chunk_length={chunk}` with past covariates or "
            f"`output_chunk_shift`, got {horizon}; train a model with a longer output chunk"
        )
    return _ForecastGraph(module, sample, horizon)


class _Graph(nn.Module, ABC):
    """An exported graph: Darts' features and a state in, a prediction and the next state out.

    They have the type of the series. In between all is float32: ONNX Runtime has no convolution in
    float64.

    Parameters
    ----------
    module
        A module, of which a copy is made.
    sample
        A sample of its training data.
    horizon
        Number of frames that a call predicts.
    """

    is_stepwise: ClassVar[bool]
    """Whether a call reads a single frame, rather than the input chunk."""

    def __init__(
        self, module: GridForecastingModule, sample: TorchTrainingSample, horizon: int
    ) -> None:
        super().__init__()
        self.module = deepcopy(module).cpu().float()
        self.eval()
        self.horizon = horizon
        length = 1 if self.is_stepwise else module.input_chunk_length
        sizes = sample_sizes(module.input_layout, module.grid, length, horizon)
        target = torch.from_numpy(sample.past_target)
        self.features = {
            name: target.new_zeros(1, *size)
            for name, size in sizes.items()
            if name != "future_target"
        }

    @property
    @abstractmethod
    def state_shapes(self) -> list[list[int]]:
        """Shapes of the state, which is zeros before the first call."""

    @abstractmethod
    def predict(self, x_in: PLModuleInput, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return a prediction (1, H, N, P), and the next state."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Call ``predict`` with Darts' tensors: features, then state."""
        floats, n = [tensor.float() for tensor in tensors], len(self.features)
        features = dict(zip(self.features, floats[:n], strict=True))
        x_in = PLModuleInput(**features, stage=ModuleStage.PREDICT)
        return tuple(each.to(tensors[0]) for each in self.predict(x_in, floats[n:]))

    def examples(self) -> tuple[Tensor, ...]:
        """Return zeros to feed."""
        features = tuple(self.features.values())
        # no tensor twice: torch would take two inputs for one
        return (*features, *(features[0].new_zeros(shape) for shape in self.state_shapes))

    @property
    def spec(self) -> OnnxModelSpec:
        """Return the metadata that Darts reads."""
        module, names = self.module, list(self.features)
        states_in = [f"state_in_{i}" for i in range(len(self.state_shapes))]
        states_out = [f"state_out_{i}" for i in range(len(self.state_shapes))]
        return OnnxModelSpec(
            input_chunk_length=module.input_chunk_length,
            output_chunk_length=self.horizon,
            output_chunk_shift=module.output_chunk_shift,
            uses_past_covariates="past_covariates" in names,
            uses_future_covariates="future_covariates" in names,
            uses_static_covariates="static_covariates" in names,
            likelihood_parameter_names=getattr(module.likelihood, "parameter_names", None),
            feature_input_names=names,
            input_names=[*names, *states_in],
            output_names=["prediction", *states_out],
            state_input_names=states_in,
            state_output_names=states_out,
            state_input_shapes=self.state_shapes,
            stepwise_state=self.is_stepwise,
        )


class _ForecastGraph(_Graph):
    """A whole forecast, or the parameters of its distributions as ``predict`` gives them.

    The state is 1 after the first call. Later calls, for frames beyond the horizon, give NaN.
    """

    is_stepwise = False

    @property
    def state_shapes(self) -> list[list[int]]:
        """Shape of a number: 0 before the first call, 1 after it."""
        return [[1]]

    def predict(self, x_in: PLModuleInput, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return a forecast, and 1."""
        module, likelihood, (was_called,) = self.module, self.module.likelihood, state
        output = module.roll_out(x_in, self.horizon)[:, -self.horizon :]
        if likelihood is not None:
            output = likelihood.predict_likelihood_parameters(output).reshape(output.shape)
        output = module.hide(output).masked_fill(was_called > 0, torch.nan)
        return output, torch.ones_like(was_called)


class _StepGraph(_Graph):
    """A step of the network.

    The state is the network's, and before it the last prediction, which stands in for the values of
    a frame that are not known.
    """

    is_stepwise = True

    @property
    def network(self) -> RecurrentNetwork[Any]:
        """The network of the module."""
        return cast(RecurrentNetwork[Any], self.module.network)

    @property
    def state_shapes(self) -> list[list[int]]:
        """Shapes of the last prediction and of the network's state."""
        channels, height, width = self.module.grid.shape
        rows, columns = (-(-side // self.network.patch_size) for side in (height, width))
        state, _ = tree_flatten(self._initial_state(rows, columns))
        return [[1, channels, height, width], *(list(each.shape) for each in state)]

    def _initial_state(self, rows: int, columns: int) -> Any:
        """Return a state without masks, because a forecast drops nothing."""
        state = self.network.initial_state(torch.zeros(1, 1, rows, columns))
        return state._replace(dropout_masks=())

    def predict(self, x_in: PLModuleInput, state: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the next frame, and the state after the one read."""
        module, grid, (last, *before) = self.module, self.module.grid, state
        known = cast(Tensor, module.known_values(x_in.past_target))
        known, values = (grid.to_frames(each)[:, 0] for each in (known, x_in.past_target))
        inputs = collect_inputs(
            module.input_layout,
            grid,
            x_in,
            horizon=1,
            shift=0,
            future_past=None,
            mask=None if module.mask is None else module.mask.to(values),
        )
        _, spec = tree_flatten(self._initial_state(1, 1))
        prediction, after = self.network.step(
            torch.where(known, values, last), tree_unflatten(before, spec), inputs.at(0)
        )
        output = module.hide(module.to_parameters(prediction[:, None]))
        if hasattr(after, "has_begun"):
            after = after._replace(has_begun=(before[-1] + 1).clamp(max=1))
        return output, Feeder(module)(prediction, 0).values, *tree_flatten(after)[0]
