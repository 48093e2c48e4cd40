"""Errors by frame, as Darts metrics, and the conventions of published tables."""

from darts_mim.metrics.frames import frame_mae, frame_mse, frame_psnr, frame_rmse, frame_ssim
from darts_mim.metrics.protocols import PROTOCOLS, Protocol, protocol

__all__ = [
    "PROTOCOLS",
    "Protocol",
    "frame_mae",
    "frame_mse",
    "frame_psnr",
    "frame_rmse",
    "frame_ssim",
    "protocol",
]
