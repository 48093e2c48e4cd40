"""Settings of ``MIMModel`` by name: the paper's three experiments, and small ones to begin with.

Each is a dictionary of arguments. Add others, or change some with ``|``:

    model = MIMModel(**LAPTOP, random_state=0, pl_trainer_kwargs={"accelerator": "cpu"})
    model = MIMModel(**KTH | {"batch_size": 4, "recompute": True})

All of them train for a number of steps, ``max_steps``, however many epochs that takes.
``model.summary(series)`` counts what a step needs on your grid.

References
----------
.. [1] Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive
   Neural Network for Learning Higher-Order Non-Stationarity from Spatiotemporal Dynamics",
   CVPR 2019. Where the paper is silent, the settings are those of its authors' released code.

Examples
--------
>>> from darts_mim import Grid, MIMModel
>>> summary = MIMModel(**TINY).summary(Grid(channels=1, height=16, width=16))
>>> summary.folded_shape, summary.batch_size
((8, 8), 8)
"""

from __future__ import annotations

from typing import Any

from darts_mim.nn.sampling import ScheduledSampling

__all__ = ["KTH", "LAPTOP", "MOVING_MNIST", "TAXIBJ", "TINY"]

_PAPER: dict[str, Any] = {
    "hidden_channels": (64, 64, 64, 64),  # section 4: an ST-LSTM and three MIM blocks
    "kernel_size": 5,  # the released code
    "forget_bias": 1.0,  # the released code
    "layer_norm": True,  # the released code
    "damped_persistence": False,  # not in the paper
    "batch_size": 8,  # section 4
    "optimizer_kwargs": {"lr": 1e-3},  # section 4: Adam, which is Darts' default
    "max_steps": 100_000,  # section 4: iterations
}

MOVING_MNIST: dict[str, Any] = {
    **_PAPER,
    "input_chunk_length": 10,  # section 4, Moving MNIST: ten frames
    "output_chunk_length": 10,  # and the ten after them
    "patch_size": 4,  # 64 x 64 x 1 becomes 16 x 16 x 16
    # section 4: scheduled sampling; its length is that of the released code
    "scheduled_sampling": ScheduledSampling.linear(steps=50_000),
}
"""Two digits that bounce on 64 x 64 cells: 10 frames to 10."""

# section 4: 128 x 128 x 1 becomes 32 x 32 x 16, all else as for Moving MNIST; tested with `n=20`
KTH: dict[str, Any] = dict(MOVING_MNIST)
"""Human actions on 128 x 128 cells: 10 frames to 10, tested on 20."""

TAXIBJ: dict[str, Any] = {
    **_PAPER,
    "input_chunk_length": 4,  # section 4, TaxiBJ: four frames, two hours
    "output_chunk_length": 4,  # and the four after them
    "patch_size": 2,  # 32 x 32 x 2 becomes 16 x 16 x 8
    "scheduled_sampling": None,  # section 4: none here
}
"""Taxis into and out of 32 x 32 cells, every 30 minutes: 4 frames to 4."""

LAPTOP: dict[str, Any] = {
    "input_chunk_length": 10,
    "output_chunk_length": 10,
    "hidden_channels": (32, 32),
    "kernel_size": 3,
    "patch_size": 4,
    "batch_size": 8,
    "optimizer_kwargs": {"lr": 3e-3},
    "max_steps": 1_000,
}
"""Ours: frames of about 64 x 64 cells, in minutes on a laptop without a GPU."""

TINY: dict[str, Any] = {
    "input_chunk_length": 4,
    "output_chunk_length": 4,
    "hidden_channels": (8, 8),
    "kernel_size": 3,
    "patch_size": 2,
    "batch_size": 8,
    "optimizer_kwargs": {"lr": 1e-2},
    "max_steps": 50,
}
"""Ours: frames of about 16 x 16 cells, in seconds; to see whether a script runs."""
