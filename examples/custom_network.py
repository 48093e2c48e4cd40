# %% [markdown]
# # A network of your own
#
# A ConvLSTM becomes a Darts model in sixty lines. It fits, predicts, backtests, takes covariates,
# masks and likelihoods, saves and loads, because the base class that it shares with MIM does so.
# The data are handwritten digits that bounce about 32 by 32 pixels; scikit-learn brings them.

# %%
import sys
from pathlib import Path

import numpy as np
import torch
from darts.models import GlobalNaiveSeasonal
from darts.utils.serialization import add_safe_globals
from darts_mim import MIMModel, frame_mse
from darts_mim.datasets import (
    ClipTrainingDataset,
    MovingDigits,
    load_bundled_digits,
)
from darts_mim.models.base import GridForecastingModel
from darts_mim.models.module import GridForecastingModule
from darts_mim.nn.patches import fold_patches, unfold_patches
from darts_mim.nn.unrolling import flags_of, unroll
from darts_mim.plotting import plot_frames, plot_horizon_error, save_figure
from torch import nn

IS_QUICK = "--quick" in sys.argv
STEPS, N_TEST, WIDTH = (20, 4, 8) if IS_QUICK else (600, 100, 24)
OUTPUT = Path("out") / "custom_network"
CONTEXT, HORIZON, BATCH, PATCH = 6, 6, 8, 4

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
            fields.append(flags_of(frame, inputs.observed))
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
class ConvLSTMModule(GridForecastingModule):
    """Lightning module with a ConvLSTM."""

    def __init__(self, network_options, **kwargs):
        super().__init__(**kwargs)
        self.network = ConvLSTM(**network_options, **self.network_sizes)


class ConvLSTMModel(GridForecastingModel):
    """ConvLSTM for grids that change over time."""

    module_type = ConvLSTMModule

    def __init__(
        self,
        input_chunk_length,
        output_chunk_length,
        *,
        hidden_channels=32,
        **kwargs,
    ):
        super().__init__(input_chunk_length, output_chunk_length, **kwargs)
        self.set_network_options(hidden_channels=hidden_channels)


add_safe_globals(
    [ConvLSTMModel]
)  # so that a saved model loads, without `trusted=True`

# %% [markdown]
# ## Beside MIM
#
# Both models take the same lines, and are compared on digits that neither was trained on.


# %%
def make_clips(split, n_sequences, seed):
    """Return sequences of bouncing digits, drawn when they are read."""
    digits = load_bundled_digits(split, size=14)
    size = {"height": 32, "width": 32, "length": CONTEXT + HORIZON}
    return MovingDigits(digits, n_sequences=n_sequences, seed=seed, **size)


clips = make_clips("train", STEPS * BATCH, seed=0)
train = ClipTrainingDataset(clips, CONTEXT, HORIZON)
test = make_clips("test", N_TEST, seed=1).to_series()
options = {
    "input_chunk_length": CONTEXT,
    "output_chunk_length": HORIZON,
    "batch_size": BATCH,
    "optimizer_kwargs": {"lr": 3e-3},
    "n_epochs": 1,
    "random_state": 0,
    "pl_trainer_kwargs": {"enable_progress_bar": False},
}
network = {"hidden_channels": (WIDTH, WIDTH), "kernel_size": 3}
models = {
    "ConvLSTM": ConvLSTMModel(hidden_channels=2 * WIDTH, **options),
    "MIM": MIMModel(patch_size=PATCH, **network, **options),
}
for model in models.values():
    model.fit_from_dataset(train)
models["persistence"] = GlobalNaiveSeasonal(1, HORIZON).fit(test[0])

curves = {}
for name, model in models.items():
    errors = model.backtest(
        test,
        start=CONTEXT,
        start_format="position",
        forecast_horizon=HORIZON,
        retrain=False,
        last_points_only=False,
        metric=frame_mse,
    )
    curves[name] = np.mean(errors, axis=0)
    print(f"{name}: mean squared error {curves[name].mean():.4f}")
save_figure(OUTPUT / "error_by_frame.png", plot_horizon_error(curves))

# %% [markdown]
# ## Save, load, predict
#
# The saved model forecasts as before, and past the horizon that it was trained for.

# %%
path = OUTPUT / "convlstm.pt"
models["ConvLSTM"].save(path, clean=True)  # without the training's own options
loaded = ConvLSTMModel.load(str(path))

history, actual = test[0][:CONTEXT], test[0][CONTEXT:]
forecast = models["ConvLSTM"].predict(HORIZON, history, verbose=False)
longer = loaded.predict(2 * HORIZON, history, verbose=False)
first = longer[:HORIZON].values()
print("the same:", np.allclose(first, forecast.values(), atol=1e-6))

look = {"cmap": "gray", "value_label": "intensity"}
figure = plot_frames(history, actual, forecast, **look)
save_figure(OUTPUT / "forecast.png", figure)
