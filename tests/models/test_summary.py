"""What a model will need is known before it is trained, and training that cannot fit is refused."""

import json
import os
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from darts import TimeSeries
from darts.utils.likelihood_models.torch import GaussianLikelihood
from darts.utils.timeseries_generation import datetime_attribute_timeseries
from torch import Tensor, nn

from darts_mim import Grid, MIMModel, frames_to_series
from darts_mim.models import memory, summary
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.capacity import Capacity
from darts_mim.models.module import GridForecastingModule
from darts_mim.models.summary import ModelSummary
from darts_mim.nn import unroll
from tests.models.small_models import GRID, TRAINER, make_model, make_series, weights


@pytest.fixture(scope="module")
def summarised() -> ModelSummary:
    return make_model().summary(make_series())


# --- what it says -------------------------------------------------------------------------------


def test_sizes_are_those_of_grid_and_network(summarised: ModelSummary) -> None:
    assert summarised.grid == GRID
    assert (summarised.context, summarised.horizon, summarised.batch_size) == (3, 2, 4)
    assert (summarised.patch_size, summarised.folded_shape, summarised.padding) == (
        2,
        (3, 3),
        (1, 0),
    )
    assert summarised.input_channels == 2 * 2**2
    assert (summarised.precision, summarised.device) == ("32-true", "cpu")
    assert summarised.changes == ()


def test_parameters_are_those_of_the_fitted_model(summarised: ModelSummary) -> None:
    model = make_model().fit(make_series())
    assert summarised.parameters == summarised.trainable_parameters == weights(model).numel()
    assert sum(summarised.layers.values()) == summarised.parameters
    network = model.model.network
    assert summarised.layers["blocks[0]"] == sum(p.numel() for p in network.blocks[0].parameters())
    assert {"bottom", "memory_paths[1]", "head"} <= set(summarised.layers)
    assert model.summary() == summarised


def test_a_grid_is_enough_without_covariates(summarised: ModelSummary) -> None:
    assert make_model().summary(GRID) == summarised


def test_it_prints_as_a_table(summarised: ModelSummary) -> None:
    assert repr(summarised).splitlines()[:14] == [
        "MIMModel",
        "",
        "grid               2 channels (channel_0, channel_1) x 5 rows x 6 columns",
        "frames             3 read, 2 predicted",
        "patches            2 x 2 cells: 3 rows x 3 columns, with 1 row of padding",
        "channels read      8 in each patch",
        "",
        "layer              parameters",
        "  bottom           3,464",
        "  blocks[0]        2,979",
        "  memory_paths[0]     16",
        "  memory_paths[1]     15",
        "  head                32",
        "  all              6,506",
    ]
    assert repr(summarised).splitlines()[15].startswith("training step      ")
    assert repr(summarised).endswith("2 frames of one series")


@pytest.mark.parametrize("seed", [0, None])
def test_the_model_stays_as_it_is_and_nothing_is_drawn_or_written(seed: int | None) -> None:
    series = make_series()
    model = make_model(save_checkpoints=True, model_name="a", random_state=seed)
    other = make_model()
    Path("darts_logs/a/checkpoints").mkdir(parents=True)
    Path("darts_logs/a/checkpoints/kept").touch()
    before = dict(model.__dict__)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    files = sorted(Path().rglob("*"))
    model.summary(series)
    assert sorted(Path().rglob("*")) == files
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])
    assert model.__dict__.keys() == before.keys()
    assert all(model.__dict__[name] is value for name, value in before.items())
    assert not model.model_created
    assert model.grid is None
    other.summary(series)
    assert torch.equal(weights(other.fit(series)), weights(make_model().fit(series)))


def test_covariates_are_channels_that_the_bottom_layer_reads(summarised: ModelSummary) -> None:
    series = make_series(mask=np.arange(30).reshape(5, 6) % 7 > 0)
    calendar = datetime_attribute_timeseries(series, "hour", cyclic=True, add_length=5)
    field = frames_to_series(
        series.all_values()[:, :30, 0].reshape(-1, 1, 5, 6), start="2026-01-01", freq="h"
    )
    model = make_model(add_encoders={"position": {"past": ["relative"]}})
    told = model.summary(series, past_covariates=field, future_covariates=calendar)
    # the frame, the field and the mask, in patches; the encoder and the calendar with a flag each
    assert told.input_channels == (2 + 1 + 1) * 2**2 + (1 + 1) + (2 + 1)
    model.fit(series, past_covariates=field, future_covariates=calendar)
    assert told.parameters == weights(model).numel()
    assert model.summary() == told


def test_options_of_training_count() -> None:
    series = make_series()
    likely = make_model(likelihood=GaussianLikelihood(), use_reversible_instance_norm=True)
    assert likely.summary(series).layers["rin"] == 2 * GRID.n_components
    frozen = make_model(enable_finetuning={"freeze": ["network.bottom.*"]}).summary(series)
    assert frozen.parameters - frozen.trainable_parameters == frozen.layers["bottom"]
    assert frozen.gradients_bytes == 4 * frozen.trainable_parameters
    plain = make_model(optimizer_cls=torch.optim.SGD).summary(series)
    assert plain.optimizer_bytes == 0
    early = make_model(optimizer_cls=torch.optim.Adagrad).summary(series)  # makes it at once
    assert early.gradients_bytes == early.weights_bytes
    assert early.optimizer_bytes == pytest.approx(early.weights_bytes, rel=0.01)
    assert plain.weights_bytes == plain.gradients_bytes == 4 * plain.parameters


def test_batches_and_precision_scale_the_memory(summarised: ModelSummary) -> None:
    larger = make_model().summary(GRID, batch_size=8)
    assert larger.batch_size == 8
    assert larger.step_flops == 2 * summarised.step_flops
    assert larger.forecast_flops == summarised.forecast_flops
    assert larger.activations_bytes == pytest.approx(2 * summarised.activations_bytes, rel=0.05)
    double = make_model().summary(make_series().astype(np.float64))
    assert double.precision == "64-true"
    plain = make_model(fast_path=False).summary(GRID)  # the fast path is for single precision
    assert double.step_bytes == pytest.approx(2 * plain.step_bytes, rel=0.01)
    mixed = make_model(trainer={"precision": "bf16-mixed"}).summary(make_series(), batch_size=64)
    single = make_model().summary(make_series(), batch_size=64)
    assert mixed.weights_bytes == single.weights_bytes
    assert mixed.activations_bytes < 0.8 * single.activations_bytes


def test_the_paper_s_step_is_the_operations_counted_by_hand() -> None:
    told = MIMModel(10, 10, patch_size=4, batch_size=8).summary(Grid(1, 64, 64), n=20)
    c, taps = 64, 25
    convolutions = taps * ((31 * 3 + 9) * c**2 + 7 * 16 * c) + 4 * 2 * c**2 + 16 * c
    frame = 2 * 16 * 16 * convolutions  # a product and a sum
    assert told.forecast_flops == (10 + 20 - 1) * frame
    # three times the forward pass, but for gradients of frames that nobody needs
    assert told.step_flops == pytest.approx(3 * 8 * 19 * frame, rel=0.01)
    assert told.step_flops == pytest.approx(2.4e12, rel=0.05)


def test_recomputation_is_counted_in_operations_and_in_memory() -> None:
    grid = Grid(1, 24, 20)
    options = {"input_chunk_length": 6, "output_chunk_length": 6}
    plain, recomputed = (
        make_model(**options, recompute=recompute).summary(grid) for recompute in (False, True)
    )
    share = (recomputed.step_flops - plain.step_flops) / plain.step_flops
    assert share == pytest.approx(1 / 3, abs=0.05)
    assert recomputed.activations_bytes < 0.35 * plain.activations_bytes
    assert recomputed.weights_bytes == plain.weights_bytes


def test_a_loaded_model_tells_what_it_told() -> None:
    model = make_model(recompute=True).fit(make_series())
    model.save("model.pt")
    loaded = MIMModel.load("model.pt")
    assert loaded.model.network.recompute
    assert repr(loaded) == repr(model)
    assert loaded.summary() == model.summary()


def test_a_series_without_a_grid_is_a_grid_of_one_cell() -> None:
    series = TimeSeries.from_values(np.random.default_rng(0).random((12, 3), dtype=np.float32))
    told = make_model(patch_size=1).summary(series)
    assert told.grid.shape == (3, 1, 1)
    assert "patches" not in repr(told)


def test_the_model_prints_its_options_as_darts_models_do() -> None:
    model = make_model(recompute=True)
    for printed in (repr(model), str(model)):
        assert "recompute=True" in printed
    assert "recompute=False" in repr(make_model())
    assert "recompute" not in str(make_model())


# --- another network ----------------------------------------------------------------------------


class Convolution(nn.Module):
    """A network of a single convolution."""

    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__()
        self.layer = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, context: Tensor, horizon: int, **options: Any) -> tuple[Tensor, None]:
        return unroll(lambda frame, *_: (self.layer(frame), None), context, horizon, **options)


class ConvolutionModule(GridForecastingModule):
    def __init__(self, network_options: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = Convolution(**self.network_sizes)


class ConvolutionModel(GridForecastingModel):
    module_type = ConvolutionModule


def test_any_network_on_the_base_is_summarised(monkeypatch: pytest.MonkeyPatch) -> None:
    model = ConvolutionModel(3, 2, batch_size=4, pl_trainer_kwargs=TRAINER)
    told = model.summary(make_series())
    assert told.layers == {"layer": 2 * 2 * 9 + 2}
    steps, values, products_and_sums = 4, 2 * 30, 2 * 2 * 9
    assert told.forecast_flops == steps * values * products_and_sums
    half = model.summary(make_series(), batch_size=2)
    room = 10_000
    assert half.step_bytes < room < told.step_bytes
    for module in (memory, summary):
        monkeypatch.setattr(module, "capacity_of", lambda _: Capacity(room, room))
    [change] = model.summary(make_series()).changes
    assert change == ("batch_size", 2, half.step_bytes, True)
    with pytest.raises(MemoryError, match="with each alone a step would need\n    batch_size=2: "):
        model.fit(make_series())


class Wide(Convolution):
    """A network that means other things by its options, and looks at values while it is built."""

    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__(in_channels, out_channels)
        self.scale = nn.Parameter(torch.ones(5))
        self.rates = [rate.item() for rate in torch.linspace(0.0, 0.1, 3)]


class WideModule(GridForecastingModule):
    def __init__(self, network_options: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.network = Wide(**self.network_sizes)


class WideModel(ConvolutionModel):
    module_type = WideModule

    def __init__(
        self,
        input_chunk_length: int,
        output_chunk_length: int,
        hidden_channels: int = 16,
        patch_size: tuple[int, int] = (2, 2),
        **kwargs: Any,
    ) -> None:
        super().__init__(input_chunk_length, output_chunk_length, **kwargs)


def test_options_of_other_networks_may_mean_what_they_like(monkeypatch: pytest.MonkeyPatch) -> None:
    model = WideModel(3, 2, batch_size=4, pl_trainer_kwargs=TRAINER)
    told = model.summary(make_series())
    assert told.layers == {"network": 5, "layer": 2 * 2 * 9 + 2}
    for module in (memory, summary):
        monkeypatch.setattr(module, "capacity_of", lambda _: Capacity(10_000, 10_000))
    assert [change.option for change in model.summary(GRID).changes] == ["batch_size"]
    assert model.fit(
        make_series()
    ).model_created  # of what cannot be told on the way none is refused


class Lazy(Convolution):
    def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
        super().__init__(in_channels, out_channels)
        self.layer = nn.LazyConv2d(out_channels, 3, padding=1)


class LazyModel(ConvolutionModel):
    def _create_model(self, train_sample: Any) -> ConvolutionModule:
        module = ConvolutionModule(scheduled_sampling=None, **self._module_params(train_sample))
        module.network = Lazy(**module.network_sizes)
        return module


def test_a_network_that_has_no_sizes_yet_is_trained() -> None:
    model = LazyModel(3, 2, batch_size=4, pl_trainer_kwargs=TRAINER)
    assert model.fit(make_series()).model_created


def test_networks_of_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    def model_of(width: int) -> ConvolutionModel:
        class Mine(Convolution):
            def __init__(self, in_channels: int, out_channels: int, **_: Any) -> None:
                super().__init__(in_channels, out_channels)
                self.layer = nn.Sequential(
                    nn.Conv2d(in_channels, width, 3, padding=1),
                    nn.Conv2d(width, out_channels, 3, padding=1),
                )

        class MyModule(GridForecastingModule):
            def __init__(self, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.network = Mine(**self.network_sizes)

        class MyModel(ConvolutionModel):
            def _create_model(self, train_sample: Any) -> MyModule:
                return MyModule(scheduled_sampling=None, **self._module_params(train_sample))

        return MyModel(3, 2, batch_size=4, pl_trainer_kwargs=TRAINER)

    room = 2 * model_of(2).summary(GRID).step_bytes
    monkeypatch.setattr(memory, "capacity_of", lambda _: Capacity(room, room))
    for width in (2, 256, 2):
        if width == 2:
            assert model_of(width).fit(make_series()).model_created
        else:
            with pytest.raises(MemoryError):
                model_of(width).fit(make_series())


# --- wrong arguments ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda m: m.summary(), ValueError, "`series` must be given before `fit`"),
        (lambda m: m.summary(GRID, make_series()), ValueError, "need the series they belong to"),
        (lambda m: m.summary(Grid(1, 1, 9)), ValueError, "larger than the 1x9 grid"),
        (lambda m: m.summary(make_series(4)), ValueError, "too short"),
        (lambda m: m.summary(GRID, batch_size=-1), ValueError, "`batch_size` must be at least 1"),
        (lambda m: m.summary(GRID, batch_size=0), ValueError, "`batch_size` must be at least 1"),
        (lambda m: m.summary(GRID, n=2.5), TypeError, "`n` must be an integer"),
        (lambda m: m.summary(GRID, n=0), ValueError, "`n` must be at least 1"),
        (lambda m: m.summary((2, 5, 6)), TypeError, "`series` must be a TimeSeries, several, or a"),
    ],
)
def test_what_cannot_be_summarised_is_refused(
    call: Callable[[MIMModel], Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        call(make_model())


def test_what_predict_and_fit_would_refuse_is_refused() -> None:
    with pytest.raises(ValueError, match="`n` must be at most `output_chunk_length=2`"):
        make_model(output_chunk_shift=2).summary(GRID, n=9)
    with pytest.raises(ValueError, match="`series` must be the grid that the model has"):
        make_model(grid=Grid(1, 4, 4)).summary(GRID)


def test_a_precision_that_lightning_has_elsewhere_is_refused() -> None:
    model = make_model(trainer={"precision": "transformer-engine"})
    with pytest.raises(ValueError, match="`precision` must be one of 64-true, 32-true"):
        model.summary(GRID)


# --- what was measured --------------------------------------------------------------------------

MEASURED = {
    "float32": {},
    "float32, recomputed": {"recompute": True},
    "bfloat16": {"precision": "bf16-mixed"},
}

SCRIPT = """
import ctypes, gc, json, re, sys, threading
from pathlib import Path
import numpy as np
import pytorch_lightning as pl
import torch
from darts_mim import MIMModel, frames_to_series

torch.set_num_threads(1)
limit, options = int(sys.argv[1]), json.loads(sys.argv[2])
trainer = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False}
trainer |= {"enable_model_summary": False, "enable_checkpointing": False, "limit_train_batches": 3}
if precision := options.pop("precision", None):
    trainer["precision"] = precision

def status(name):
    return int(re.search(name + r":\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

class Peak(pl.Callback):
    peak = 0
    def on_train_batch_start(self, trainer, module, batch, index):
        if index == 1:  # the optimizer has its state, and gradients are there
            gc.collect()
            ctypes.CDLL(None).malloc_trim(0)
            self.before, self.end = status("RssAnon"), threading.Event()
            self.watcher = threading.Thread(target=self.watch)
            self.watcher.start()
    def watch(self):
        while not self.end.wait(0.001):
            self.peak = max(self.peak, status("RssAnon"))
    def on_train_end(self, *_):
        self.end.set()
        self.watcher.join()

def make(**changes):
    return MIMModel(
        5, 5, hidden_channels=(16, 12), kernel_size=3, patch_size=2, n_epochs=1, random_state=0,
        **{"batch_size": 12, **options, **changes}, pl_trainer_kwargs=trainer,
    )

series = frames_to_series(np.zeros((320, 2, 40, 36), np.float32))
told = make().summary(series)
trainer["callbacks"] = [peak := Peak()]
make().fit(series)
fixed = told.weights_bytes + told.gradients_bytes + told.optimizer_bytes
record = {"told": told.step_bytes, "measured": peak.peak - peak.before + fixed}
if limit:
    import resource
    del trainer["callbacks"]
    resource.setrlimit(resource.RLIMIT_DATA, (status("VmData") + 2**30,) * 2)
    try:
        make(batch_size=300).fit(series)
    except MemoryError as error:
        record["refused"] = str(error)
print(json.dumps(record))
"""


def measure(options: dict[str, Any], limit: bool) -> dict[str, Any]:
    # each tensor in pages of its own, which are given back with it
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"}
    command = [sys.executable, "-c", SCRIPT, str(int(limit)), json.dumps(options)]
    answer = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=300
    )
    assert answer.returncode == 0, answer.stderr
    record: dict[str, Any] = json.loads(answer.stdout)
    return record


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux says of a process")
@pytest.mark.parametrize("name", MEASURED)
def test_memory_is_what_a_process_is_seen_to_take(name: str) -> None:
    record = measure(MEASURED[name], limit=name == "float32")
    assert record["told"] > 30 * 2**20
    assert record["measured"] == pytest.approx(record["told"], rel=0.15)
    if name == "float32":
        assert "recompute=True: " in record["refused"]
        assert "GiB" in record["refused"]


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed", "16-mixed"])
@pytest.mark.parametrize("recompute", [False, True])
def test_memory_is_what_a_gpu_is_seen_to_take(recompute: bool, precision: str) -> None:
    class Peak(pl.Callback):
        def on_train_batch_start(self, *_: Any) -> None:
            torch.cuda.reset_peak_memory_stats()

        def on_train_batch_end(self, *_: Any) -> None:
            self.peak = torch.cuda.max_memory_allocated()

    frames = np.random.default_rng(0).random((60, 1, 64, 64), dtype=np.float32)
    series = frames_to_series(frames)
    trainer = {"accelerator": "gpu", "devices": 1, "limit_train_batches": 3, "precision": precision}
    peak = Peak()
    model = make_model(
        input_chunk_length=10,
        output_chunk_length=10,
        hidden_channels=(64, 64),
        recompute=recompute,
        trainer={**trainer, "callbacks": [peak]},
    )
    told = model.summary(series)
    model.fit(series)
    assert told.device == "cuda"
    assert peak.peak == pytest.approx(told.step_bytes, rel=0.15)
