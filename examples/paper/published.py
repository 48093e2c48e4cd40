"""Published figures, to print beside our own. None of them was measured here.

Each table names its models as we do, so that rows meet; models that this package does not have stay
as they are published.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

MIM_PAPER = 'Wang et al., "Memory In Memory", CVPR 2019'


@dataclass(frozen=True, eq=False)
class Published:
    """A published table.

    Attributes
    ----------
    name
        What records of runs call it.
    source
        Paper and table.
    setting
        What it was trained and tested on, and what it leaves open.
    figures
        A row for each model, a column for each figure.
    """

    name: str
    source: str
    setting: str
    figures: pd.DataFrame


MOVING_MNIST = Published(
    name="moving-mnist",
    source=f"{MIM_PAPER}, tables 1 and 2",
    setting=(
        "10 frames to 10; four layers of 64 channels, 100,000 steps of batch 8; the benchmark's "
        "own test set of 10,000 sequences. Parameters of the SSIM are not stated."
    ),
    figures=pd.DataFrame(
        {
            "FC-LSTM": [118.3, 209.4, 0.690],
            "ConvLSTM": [103.3, 182.9, 0.707],
            "TrajGRU": [106.9, 190.1, 0.713],
            "CDNA": [97.4, 175.3, 0.721],
            "DFN": [89.0, 172.8, 0.726],
            "FRNN": [69.7, 150.3, 0.813],
            "VPN": [64.1, 131.0, 0.870],
            "PredRNN": [56.8, 126.1, 0.867],
            "MIM without MIM-N": [54.4, 124.8, 0.858],
            "MIM without MIM-S": [55.7, 125.5, 0.853],
            "MIM": [52.0, 116.5, 0.874],
        },
        index=["MSE", "MAE", "SSIM"],
    ).T,
)

KTH = Published(
    name="kth",
    source=f"{MIM_PAPER}, table 4",
    setting=(
        "trained on 10 frames to 10, tested on 10 to 20, 128 by 128 pixels; people 1 to 16 for "
        "training, 17 to 25 for the test. How PSNR and SSIM were computed is not stated."
    ),
    figures=pd.DataFrame(
        {
            "ConvLSTM": [23.58, 0.712],
            "TrajGRU": [26.97, 0.790],
            "DFN": [27.26, 0.794],
            "MCnet": [25.95, 0.804],
            "FRNN": [26.12, 0.771],
            "PredRNN": [27.55, 0.801],
            "MIM": [28.16, 0.806],
        },
        index=["PSNR", "SSIM"],
    ).T,
)

TAXIBJ = Published(
    name="taxibj",
    source=f"{MIM_PAPER}, the table of TaxiBJ",
    setting="4 frames to 4; the scale of the squared error is not stated.",
    figures=pd.DataFrame(
        {
            "ST-ResNet": [0.688, 0.939, 1.130, 1.288],
            "VPN": [0.744, 1.031, 1.251, 1.444],
            "FRNN": [0.682, 0.823, 0.989, 1.183],
            "PredRNN": [0.634, 0.934, 1.047, 1.263],
            "MIM": [0.554, 0.737, 0.887, 0.999],
        },
        index=["MSE, frame 1", "MSE, frame 2", "MSE, frame 3", "MSE, frame 4"],
    ).T,
)

PUBLISHED = {table.name: table for table in (MOVING_MNIST, KTH, TAXIBJ)}
