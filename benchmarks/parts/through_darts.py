"""What Darts and Lightning add to the network: in training, in forecasts, in backtests."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch

from benchmarks.options import Case, Options, PartSkippedError
from benchmarks.timing import N_FIRST, Times, clock, in_turn, medians, ratio, rounded, timed
from benchmarks.workload import Workload, describe, describe_frames, workload_of

LEAST_SKIPPED, STEPS_PER_ROUND = 2, 2
PRECISIONS = {"float32": "32-true", "bfloat16": "bf16-mixed"}


def cases(options: Options) -> list[Case]:
    """Return a row for training, and one for the forecasts on each grid."""
    if find_spec("darts") is None:
        raise PartSkippedError("Darts is not installed")
    sizes = options.sizes
    rows = []
    for precision in options.precisions:
        base, rounds = sizes.settings[0], {"rounds": options.rounds}
        workload = workload_of(options, base, sizes.widths[0], precision)
        key = {"measured": "fit", **describe(workload), **rounds}
        rows.append(Case(key, partial(compare_fit, workload, options.rounds)))
        for height, width in sizes.window_grids:
            setting = base._replace(name=f"{height}x{width}", height=height, width=width)
            workload = workload_of(options, setting, sizes.widths[0], precision)
            key = {"measured": "forecasts", **describe(workload), **rounds}
            rows.append(Case(key, partial(compare_forecasts, workload, options)))
    return rows


def make_model(workload: Workload, max_steps: int, **trainer: Any) -> Any:
    """Return a Darts model with the network of a workload."""
    from darts_mim import MIMModel  # here: Darts need not be installed

    setting = workload.setting
    logging.getLogger("pytorch_lightning.utilities.rank_zero").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    return MIMModel(
        setting.context,
        setting.horizon,
        hidden_channels=workload.hidden_channels,
        kernel_size=workload.kernel_size,
        patch_size=setting.patch_size,
        fast_path=True,  # as the bare network
        batch_size=setting.batch,
        n_epochs=-1,
        random_state=0,
        pl_trainer_kwargs={
            "accelerator": "gpu" if workload.device == "cuda" else "cpu",
            "devices": 1,
            "precision": PRECISIONS[workload.precision],
            "max_steps": max_steps,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": False,
            **trainer,
        },
    )


def random_frames(workload: Workload, windows: int) -> np.ndarray:
    """Return frames (T, C, H, W) with so many windows of context and horizon."""
    setting = workload.setting
    length = windows + setting.context + setting.horizon - 1
    shape = (length, setting.channels, setting.height, setting.width)
    return np.random.default_rng(0).random(shape, dtype=np.float32)


def compare_fit(workload: Workload, rounds: int) -> dict[str, Any]:
    """Time steps of ``fit``, and one of the bare network after each of them."""
    from darts_mim import frames_to_series

    # a step lasts until the next one begins
    n_skipped = max(LEAST_SKIPPED, N_FIRST[workload.device])
    n_steps = n_skipped + STEPS_PER_ROUND * rounds + 1
    times: Times = {"darts": [], "network": []}
    callback = watch(timed(workload.training_step("fast"), workload.device), workload, times)
    frames = random_frames(workload, n_steps * workload.setting.batch)
    make_model(workload, n_steps, callbacks=[callback]).fit(frames_to_series(frames))
    times = {name: each[n_skipped : n_steps - 1] for name, each in times.items()}
    return {
        **describe_frames(workload.setting),
        "steps": len(times["darts"]),
        "seconds": medians(times),
        "share_of_darts": rounded(ratio(times, "darts", over="network") - 1),
        "seconds_by_step": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def watch(bare: Callable[[], float], workload: Workload, times: Times) -> Any:
    """Return a callback that times from a batch's start to the next one's, loading included.

    After each batch it times the bare network, which does not count.
    """
    from pytorch_lightning.callbacks import LambdaCallback

    starts: list[float] = []

    def begin(*_: Any) -> None:
        starts.append(clock(workload.device))
        if len(starts) > 1:
            times["darts"].append(starts[-1] - starts[-2] - times["network"][-1])

    def end(*_: Any) -> None:
        clock(workload.device)  # wait for the step: the pause is the bare network's alone
        times["network"].append(bare())

    return LambdaCallback(on_train_batch_start=begin, on_train_batch_end=end)


def compare_forecasts(workload: Workload, options: Options) -> dict[str, Any]:
    """Time forecasts and backtests through Darts, and rollouts over the same windows, in turn."""
    from darts_mim import frame_mse, frames_to_series

    setting, windows = workload.setting, options.sizes.windows
    frames = random_frames(workload, windows)
    series = frames_to_series(frames)
    model = make_model(workload, max_steps=1)
    model.fit(series[: setting.context + setting.horizon])
    common = {"forecast_horizon": setting.horizon, "retrain": False, "last_points_only": False}
    works = {
        "network": partial(roll_out, model.model.network.eval(), frames, workload, windows),
        "historical_forecasts": partial(model.historical_forecasts, series, **common),
        "backtest": partial(model.backtest, series, metric=frame_mse, **common),
    }
    times = in_turn(
        {name: timed(work, workload.device) for name, work in works.items()}, options.rounds
    )
    return {
        **describe_frames(setting),
        "windows": windows,
        "seconds": medians(times),
        "over_network": {name: ratio(times, name, over="network") for name in [*times][1:]},
        "seconds_by_round": {name: [*map(rounded, each)] for name, each in times.items()},
    }


def roll_out(network: Any, frames: np.ndarray, workload: Workload, windows: int) -> None:
    """Forecast all windows with the bare network, in batches as Darts makes them."""
    setting, all_frames = workload.setting, torch.from_numpy(frames)
    network.to(workload.device)  # Lightning takes it back to the CPU
    with torch.inference_mode(), workload.autocast():
        for first in range(0, windows, setting.batch):
            starts = range(first, min(first + setting.batch, windows))
            contexts = torch.stack(
                [all_frames[start : start + setting.context] for start in starts]
            )
            network(contexts.to(workload.device), setting.horizon)[0].float().cpu()
