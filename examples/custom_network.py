# %% [markdown]
# # A network of your own
#
# A ConvLSTM becomes a Darts model beside MIM, in sixty lines: it fits, predicts, backtests, takes
# covariates, masks and likelihoods, saves and loads, because all of that is in the base that the
# two share.
#
#     python examples/custom_network.py --preset cpu
#
# The data are handwritten digits that bounce about 32 by 32 pixels: scikit-learn brings them, and
# nothing is downloaded.

# %%
from dataclasses import dataclass

from common import show, start, training


@dataclass(frozen=True)
class Preset:
    """Sizes and lengths of a run."""

    hidden_channels: int
    steps: int
    n_test: int
    learning_rate: float = 1e-2
    batch_size: int = 8


PRESETS = {
    "smoke": Preset(8, steps=20, n_test=4),
    "cpu": Preset(24, steps=600, n_test=100),
}
run = start("custom_network", PRESETS)

# %% [markdown]
# ## The network
#
# It says what happens in one step: a frame and a state in, a prediction of the next frame and the
# new state out. A ConvLSTM is an LSTM whose matrices are convolutions (Shi et al., NeurIPS 2015);
# here one layer of it works on patches of 4 by 4 pixels.
#
# `unroll` makes a forecast of many steps. It reads the context, feeds the network its own
# predictions over the horizon, or in training true frames where scheduled sampling says so, and
# bridges missing values. Five of the arguments tell the network its sizes; the base hands them on:
#
# | argument | what |
# | --- | --- |
# | `in_channels` | channels of a frame |
# | `out_channels` | channels of a prediction: with a likelihood, one for each parameter |
# | `plane_channels` | fields that each step reads: covariates on the grid, and the mask |
# | `scalar_channels` | numbers that each step reads: all other covariates |
# | `reads_observed` | whether it is told which values were observed, as with a likelihood |

# %%
import torch
from darts_mim.nn.patches import fold_patches, unfold_patches
from darts_mim.nn.unrolling import unroll
from torch import nn

PATCH = 4


class ConvLSTM(nn.Module):
    """One layer of ConvLSTM on patches, and a 1x1 convolution to frames."""

    def __init__(
        self,
        hidden_channels,
        in_channels,
        out_channels,
        plane_channels,
        scalar_channels,
        reads_observed,
    ):
        super().__init__()
        fields = in_channels * (2 if reads_observed else 1) + plane_channels
        x_channels = fields * PATCH**2 + scalar_channels
        self.hidden_channels = hidden_channels
        self.reads_observed = reads_observed
        self.gates = nn.Conv2d(
            x_channels + hidden_channels, 4 * hidden_channels, 5, padding=2
        )
        self.head = nn.Conv2d(hidden_channels, out_channels * PATCH**2, 1)

    def forward(self, context, horizon, **options):
        """Predict every next frame of a context (B, T, C, H, W), and `horizon` frames after it."""
        return unroll(self.step, context, horizon, **options)

    def step(self, frame, state, inputs):
        """Read a frame (B, C, H, W), predict the next."""
        x = self.fold(frame, inputs)
        if state is None:
            zeros = x.new_zeros(len(x), self.hidden_channels, *x.shape[-2:])
            state = zeros, zeros
        h, c = state
        i, f, o, g = self.gates(torch.cat([x, h], dim=1)).chunk(4, dim=1)
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return unfold_patches(self.head(h), PATCH, *frame.shape[-2:]), (h, c)

    def fold(self, frame, inputs):
        """Put all that a step reads into channels of patches."""
        fields = [frame]
        if self.reads_observed:
            known = (
                torch.ones_like(frame)
                if inputs.observed is None
                else inputs.observed
            )
            fields.append(known.to(frame).expand_as(frame))
        if inputs.planes is not None:
            fields.append(inputs.planes)
        x = fold_patches(torch.cat(fields, dim=1), PATCH)
        if inputs.scalars is not None:
            scalars = inputs.scalars[..., None, None].expand(
                -1, -1, *x.shape[-2:]
            )
            x = torch.cat([x, scalars], dim=1)
        return x


# %% [markdown]
# ## The model
#
# Two short classes make it a Darts model: the Lightning module that holds the network, and the
# model that stores the network's options and makes the module. Whatever else Darts' torch models
# take passes through `**kwargs`.

# %%
from darts.utils.serialization import add_safe_globals
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.module import GridForecastingModule


class ConvLSTMModule(GridForecastingModule):
    """Lightning module with a ConvLSTM."""

    def __init__(self, hidden_channels, **kwargs):
        super().__init__(**kwargs)
        self.network = ConvLSTM(hidden_channels, **self.network_sizes)


class ConvLSTMModel(GridForecastingModel):
    """ConvLSTM for grids that change over time."""

    def __init__(
        self,
        input_chunk_length,
        output_chunk_length,
        output_chunk_shift=0,
        *,
        hidden_channels=32,
        use_static_covariates=True,
        grid=None,
        **kwargs,
    ):
        super().__init__(grid, use_static_covariates)
        self.hidden_channels = hidden_channels

    def _create_model(self, train_sample):
        params = self._module_params(train_sample)
        return ConvLSTMModule(
            self.hidden_channels, scheduled_sampling=None, **params
        )


add_safe_globals(
    [ConvLSTMModel]
)  # so that a saved model loads, without `trusted=True`

# %% [markdown]
# ## Beside MIM
#
# Both are used in the same lines, and compared on digits that neither was trained on.

# %%
from darts_mim import MIMModel
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    load_bundled_digits,
)

CONTEXT, HORIZON = 6, 6


def make_clips(split, n_sequences, seed):
    """Return sequences of bouncing digits, made when they are asked for."""
    digits = load_bundled_digits(split, size=14)
    return MovingDigits(
        digits,
        n_sequences=n_sequences,
        seed=seed,
        height=32,
        width=32,
        length=CONTEXT + HORIZON,
    )


preset = run.preset
n_train = preset.steps * preset.batch_size
train = ClipTrainingDataset(
    make_clips("train", n_train, seed=2 * run.seed), CONTEXT, HORIZON
)
test = make_clips("test", preset.n_test, seed=1).to_series()
sizes = {
    "input_chunk_length": CONTEXT,
    "output_chunk_length": HORIZON,
    "batch_size": preset.batch_size,
}
models = {
    "ConvLSTM": ConvLSTMModel(
        hidden_channels=2 * preset.hidden_channels,
        **sizes,
        **training(
            run, preset.steps, preset.learning_rate, log="convlstm_loss.csv"
        ),
    ),
    "MIM": MIMModel(
        hidden_channels=[preset.hidden_channels] * 2,
        kernel_size=3,
        patch_size=PATCH,
        **sizes,
        **training(run, preset.steps, preset.learning_rate),
    ),
}
for name, model in models.items():
    model.fit_from_dataset(train)
    size = sum(p.numel() for p in model.model.network.parameters())
    print(f"{name}: {size:,} parameters")

# %%
from darts_mim.metrics.protocols import protocol

from baselines import persistence, score
from records import report

models["persistence"] = persistence(HORIZON).fit(test[0])
tables = {
    name: score(each, test, CONTEXT, protocol("moving-mnist"))
    for name, each in models.items()
}
report(run.output, run.record, tables)

# %%
from darts_mim.plotting import plot_frames, plot_horizon_error, save_figure

curves = {name: table["MSE"].drop("mean") for name, table in tables.items()}
figure = plot_horizon_error(
    curves, ylabel="squared error, summed over a frame's pixels"
)
save_figure(run.output / "error_curve.png", figure)
show(
    run.output / "error_curve.png",
    "Squared error of each frame of the forecast, by model",
)

# %% [markdown]
# ## Save, load, predict
#
# The model that was saved forecasts as before. Its forecast may be longer than what it was trained
# for, as MIM's may.

# %%
import numpy as np

path = run.output / "convlstm.pt"
models["ConvLSTM"].save(path, clean=True)  # without the training's own options
loaded = ConvLSTMModel.load(str(path))

history, actual = test[0][:CONTEXT], test[0][CONTEXT:]
forecast = models["ConvLSTM"].predict(HORIZON, history, verbose=False)
longer = loaded.predict(2 * HORIZON, history, verbose=False)
print(
    "the same:",
    np.allclose(longer[:HORIZON].values(), forecast.values(), atol=1e-6),
)

save_figure(
    run.output / "strip.png",
    plot_frames(
        history, actual, forecast, cmap="gray", value_label="intensity"
    ),
)
show(
    run.output / "strip.png",
    "The ConvLSTM's forecast of a test sequence, frame by frame",
)
