"""The branches of ST-ResNet: residual networks of frames, and layers of what is known besides [1]_.

Legend: B batch, S time steps, C' channels of a prediction, H height, W width, F scalars.

References
----------
.. [1] J. Zhang, Y. Zheng, D. Qi, "Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
   Prediction", AAAI 2017, figures 3 and 4, equations 1 to 4.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import relu


class ResidualUnit(nn.Module):
    """Residual unit: a ReLU and a convolution, two times, added to the input.

    Equation 2 of [1]_ of this module, X[l+1] = X[l] + F(X[l]), with F as in figure 4b, without
    batch normalisation.

    Parameters
    ----------
    channels
        Channels of what it reads and returns.
    kernel_size
        Side of the square kernels, odd.

    Examples
    --------
    >>> ResidualUnit(channels=8)(torch.rand(2, 8, 6, 5)).shape
    torch.Size([2, 8, 6, 5])
    """

    def __init__(self, channels: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)
        self.second = nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return X[l+1] of X[l], both of shape (B, channels, H, W)."""
        residual: Tensor = self.second(relu(self.first(relu(x))))
        return x + residual


class ResidualBranch(nn.Module):
    """One of the branches closeness, period and trend, with its weight for each cell.

    A convolution, residual units, a ReLU and a convolution (figure 3 of [1]_ of this module); the
    result times a weight for each channel and cell is the branch's term of equation 3. Equation 1
    has a ReLU after the first convolution, too, where figure 4 and the authors' code have none:
    here there is none, so that what the shortcuts carry may be negative.

    Parameters
    ----------
    in_channels
        Channels of the frames that it reads, joined.
    out_channels
        Channels C' of a prediction.
    height, width
        Height H and width W of a frame.
    hidden_channels
        Channels between the first and the last convolution.
    residual_units
        Number of residual units.
    kernel_size
        Side of the square kernels, odd.

    Examples
    --------
    >>> branch = ResidualBranch(6, 2, height=5, width=4, hidden_channels=8)
    >>> branch(torch.rand(3, 6, 5, 4)).shape
    torch.Size([3, 2, 5, 4])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        height: int,
        width: int,
        hidden_channels: int = 64,
        residual_units: int = 12,
        kernel_size: int = 3,
    ) -> None:
        super().__init__()
        around = kernel_size // 2
        self.first = nn.Conv2d(in_channels, hidden_channels, kernel_size, padding=around)
        self.units = nn.Sequential(
            *(ResidualUnit(hidden_channels, kernel_size) for _ in range(residual_units))
        )
        self.last = nn.Conv2d(hidden_channels, out_channels, kernel_size, padding=around)
        self.fusion = nn.Parameter(torch.ones(out_channels, height, width))

    def forward(self, frames: Tensor) -> Tensor:
        """Return the branch's term of the prediction.

        Parameters
        ----------
        frames
            Frames of shape (B, in_channels, H, W).

        Returns
        -------
        Tensor
            W o X[L+2] of equation 3, of shape (B, C', H, W).
        """
        x = self.units(self.first(frames.contiguous(memory_format=torch.channels_last)))
        # frames leave in full precision: in bfloat16 they would have 8 bits of intensity
        with torch.autocast(x.device.type, enabled=False):
            out: Tensor = self.fusion * self.last(relu(x.to(self.last.weight.dtype)))
        return out


class ExternalBranch(nn.Module):
    """The branch of the scalars that belong to a frame: two fully connected layers.

    X_Ext of equation 4 of [1]_ of this module, with a ReLU after the first layer. The authors'
    code has one after the second, too, with which X_Ext could never be negative.

    Parameters
    ----------
    scalar_channels
        Number F of scalars.
    out_channels
        Channels C' of a prediction.
    height, width
        Height H and width W of a frame.
    units
        Units of the first layer.

    Examples
    --------
    >>> branch = ExternalBranch(4, 2, height=5, width=4)
    >>> branch(torch.rand(3, 7, 4)).shape
    torch.Size([3, 7, 2, 5, 4])
    """

    def __init__(
        self, scalar_channels: int, out_channels: int, height: int, width: int, units: int = 10
    ) -> None:
        super().__init__()
        self.shape = out_channels, height, width
        self.first = nn.Linear(scalar_channels, units)
        self.second = nn.Linear(units, out_channels * height * width)

    def forward(self, scalars: Tensor) -> Tensor:
        """Return X_Ext of scalars (B, S, F), of shape (B, S, C', H, W)."""
        with torch.autocast(scalars.device.type, enabled=False):
            out: Tensor = self.second(relu(self.first(scalars)))
        return out.reshape(*scalars.shape[:2], *self.shape)
