"""Memory In Memory forecasts for grids that change over time, as a Darts model."""

from darts_mim.backtesting import stream_backtest
from darts_mim.grid import Grid
from darts_mim.metrics.frames import frame_mae, frame_mse, frame_psnr, frame_rmse, frame_ssim
from darts_mim.metrics.protocols import protocol
from darts_mim.models import (
    ConvLSTMModel,
    MIMModel,
    PredRNNModel,
    PredRNNPlusPlusModel,
    STResNetModel,
)
from darts_mim.nn.sampling import ScheduledSampling
from darts_mim.seasonal import SeasonalAnomalies, variance_stabiliser
from darts_mim.series import frames_to_series, series_to_frames, series_to_times
from darts_mim.transforms import GridScaler, drop_hidden, restore_hidden

__all__ = [
    "ConvLSTMModel",
    "Grid",
    "GridScaler",
    "MIMModel",
    "PredRNNModel",
    "PredRNNPlusPlusModel",
    "STResNetModel",
    "ScheduledSampling",
    "SeasonalAnomalies",
    "drop_hidden",
    "frame_mae",
    "frame_mse",
    "frame_psnr",
    "frame_rmse",
    "frame_ssim",
    "frames_to_series",
    "protocol",
    "restore_hidden",
    "series_to_frames",
    "series_to_times",
    "stream_backtest",
    "variance_stabiliser",
]
