"""Settings to begin with: plain dictionaries of ``MIMModel``'s arguments.

Read them, change them, pass them on: ``MIMModel(**{**TAXIBJ, "batch_size": 16})``. A model keeps a
copy; ``copy.deepcopy`` a preset before you change what lies inside it.

References
----------
Y. Wang, J. Zhang, H. Zhu, M. Long, J. Wang, P. S. Yu, "Memory In Memory: A Predictive Neural
Network for Learning Higher-Order Non-Stationarity from Spatiotemporal Dynamics", CVPR 2019, section
4: the lengths, four layers of 64 channels, Adam at 0.001, batches of 8, 100,000 steps, scheduled
sampling on Moving MNIST and KTH and none on TaxiBJ, and patches that make 16x16x16 of 64x64x1,
32x32x16 of 128x128x1 and 16x16x8 of 32x32x2. Kernels of 5x5, and the 50,000 steps of the sampling,
are those of the authors' released code.
"""

from __future__ import annotations

from typing import Any, Final

from darts_mim.nn.sampling import ScheduledSampling

__all__ = ["KTH", "LAPTOP", "MOVING_MNIST", "TAXIBJ", "TINY"]

MOVING_MNIST: Final[dict[str, Any]] = {
    "input_chunk_length": 10,
    "output_chunk_length": 10,
    "hidden_channels": (64, 64, 64, 64),
    "kernel_size": 5,
    "patch_size": 4,
    "scheduled_sampling": ScheduledSampling.linear(steps=50_000),
    "batch_size": 8,
    "optimizer_kwargs": {"lr": 1e-3},
    "n_epochs": -1,
    "pl_trainer_kwargs": {"max_steps": 100_000},
}
"""The paper's Moving MNIST (section 4.1): 64x64 pixels, ten frames from ten."""

KTH: Final[dict[str, Any]] = dict(MOVING_MNIST)
"""The paper's KTH (section 4.3): 128x128 pixels, trained on ten frames from ten, asked for 20."""

TAXIBJ: Final[dict[str, Any]] = {
    **MOVING_MNIST,
    "input_chunk_length": 4,
    "output_chunk_length": 4,
    "patch_size": 2,
    "scheduled_sampling": None,
}
"""The paper's TaxiBJ (section 4.2): in- and outflow on 32x32 cells, four frames from four."""

LAPTOP: Final[dict[str, Any]] = {
    "input_chunk_length": 10,
    "output_chunk_length": 10,
    "hidden_channels": (32, 32, 32),
    "kernel_size": 3,
    "patch_size": 4,
    "batch_size": 8,
    "optimizer_kwargs": {"lr": 3e-3},
    "n_epochs": 10,
}
"""A smaller network for a machine without a GPU: ten frames from ten, of 64x64 cells or fewer."""

TINY: Final[dict[str, Any]] = {
    "input_chunk_length": 4,
    "output_chunk_length": 4,
    "hidden_channels": (8, 8),
    "kernel_size": 3,
    "patch_size": 4,
    "batch_size": 8,
    "optimizer_kwargs": {"lr": 1e-2},
    "n_epochs": 2,
}
"""Trained in seconds, to see that data and workflow fit together; its forecasts are poor."""
