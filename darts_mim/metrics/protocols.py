"""How published tables compute their figures, by name, ready for `backtest`.

Two evaluations of the same forecasts can differ by a factor of thousands: squared errors are summed
over a frame's pixels or averaged, predictions clipped or not, similarity computed from bytes or
from floats with one data range or another. A protocol is one such convention:

    rules = protocol("moving-mnist")
    arguments = {"forecast_horizon": 10, "last_points_only": False, "retrain": False}
    table = rules.table(model.backtest(test, **arguments, **rules))

No metric can fix the data: the test set, the frame size and the scaling must be those of the table
to compare with. `Protocol.unknown` lists details that the sources do not state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from darts_mim.metrics.frames import frame_mae, frame_mse, frame_psnr, frame_ssim
from darts_mim.metrics.pairs import checked_data_range

__all__ = ["PROTOCOLS", "Protocol", "protocol"]


@dataclass(frozen=True, eq=False)
class Protocol(Mapping[str, list[Any]]):
    """The metrics of a published table, with all that their figures depend on.

    A mapping with the keys "metric" and "metric_kwargs", so that `**protocol` passes both to Darts'
    `backtest`. It cannot be changed; the lists that it hands out are new ones each time.

    Attributes
    ----------
    name : str
        Name of the protocol.
    labels : tuple of str
        Names of the metrics, in order: the last axis of the array that `backtest` returns.
    metrics : tuple of callable
        The frame metrics.
    options : tuple of mapping
        Their arguments, for data in the range that the protocol was asked for.
    description : str
        The computation in detail.
    unknown : str
        Details that the sources do not state.
    sources : tuple of str
        Where the convention was read.
    pooled_root : bool
        Whether `table` adds the root of the averaged squared error, RMSE.
    """

    name: str
    labels: tuple[str, ...]
    metrics: tuple[Callable[..., Any], ...] = field(repr=False)
    options: tuple[Mapping[str, Any], ...] = field(repr=False)
    description: str = field(repr=False)
    unknown: str = field(repr=False)
    sources: tuple[str, ...] = field(repr=False)
    pooled_root: bool = False

    def __getitem__(self, key: str) -> list[Any]:
        lists: dict[str, list[Any]] = {"metric": [*self.metrics]}
        lists["metric_kwargs"] = [dict(options) for options in self.options]
        return lists[key]

    def __iter__(self) -> Iterator[str]:
        return iter(("metric", "metric_kwargs"))

    def __len__(self) -> int:
        return 2

    def table(self, errors: ArrayLike | list[Any]) -> pd.DataFrame:
        """Label the result of `backtest`, a row for each frame and one for their mean.

        Parameters
        ----------
        errors : array_like or list of array_like
            From `backtest` with this protocol, `last_points_only=False` and a `reduction` over the
            forecasts: (T, metrics), (T,) where there is one metric; or a list of such arrays, from
            a sequence of series, which are averaged with equal weights. Results of `backtest` with
            other arguments may have the same shape, and are not recognised.

        Returns
        -------
        pandas.DataFrame
            A column for each label, and "RMSE" where the protocol prints one: the root of the
            squared error averaged over everything, which a mean of roots is not. Rows 1 to T are
            the frames of the horizon; the row "mean" is over these.

        Raises
        ------
        ValueError
            If `errors` has another shape.

        Examples
        --------
        >>> one = np.array([[1.0, 0.5], [7.0, 1.5]])
        >>> other = np.array([[1.0, 0.5], [23.0, 3.5]])
        >>> protocol("traffic").table([one, other])
                MSE  MAE      RMSE
        frame
        1       1.0  0.5  1.000000
        2      15.0  2.5  3.872983
        mean    8.0  1.5  2.828427
        """
        size = len(self.labels)
        # A list that `backtest` returns holds one array, or number, for each series.
        is_by_series = isinstance(errors, list) and not isinstance(errors[0], list)
        values = np.asarray(errors, dtype=np.float64)
        # A single frame or metric has no axis of its own.
        frames = values.mean(axis=0) if is_by_series else values
        if frames.ndim > (2 if size > 1 else 1) or (size > 1 and frames.shape[-1:] != (size,)):
            raise ValueError(
                f"`errors` must be (T, {size}), a column for each of {', '.join(self.labels)}, got "
                f"shape {values.shape}; pass what `backtest` returns with this protocol"
            )
        frames = frames.reshape(-1, size)
        table = pd.DataFrame(
            np.vstack([frames, frames.mean(axis=0)]),
            index=pd.Index([*range(1, len(frames) + 1), "mean"], name="frame"),
            columns=list(self.labels),
        )
        if self.pooled_root:
            table["RMSE"] = np.sqrt(table["MSE"])
        return table


_PIXEL_SUM: Final = {"data_range": 1.0, "pixel_reduction": "sum"}
_CLIPPED: Final = {"clip": (0.0, 1.0)}
_BYTES: Final = {"data_range": 1.0, "quantize": True}
# scikit-image assumed this for floats before it refused to guess, although frames lie in [0, 1].
_FLOAT_GUESS: Final = {"data_range": 2.0}

_MIM_CODE: Final = "Yunbo426/MIM at a61eb6a, src/trainer.py and src/utils/metrics.py"
_PREDRNN_CODE: Final = "thuml/predrnn-pytorch at 49d3b0f, core/trainer.py and core/utils/metrics.py"
_PREDRNN_PP_CODE: Final = "Yunbo426/predrnn-pp at 40764c5, train.py"

_MOVING_MNIST: Final = Protocol(
    name="moving-mnist",
    labels=("MSE", "MAE", "SSIM"),
    metrics=(frame_mse, frame_mae, frame_ssim),
    options=({**_PIXEL_SUM, **_CLIPPED}, _PIXEL_SUM, {**_FLOAT_GUESS, **_CLIPPED}),
    description=(
        "Moving MNIST as MIM's released code evaluates it, frames in [0, 1]. MSE: summed over a "
        "frame's pixels, predictions clipped to [0, 1]. MAE: summed, predictions not clipped. "
        "SSIM: clipped floats, uniform 7x7 window, data range 2, as scikit-image then assumed for "
        "floats. Each averaged over frames and sequences."
    ),
    unknown=(
        "The paper states neither the parameters of its SSIM nor any clipping. The released test "
        "loop leaves out the last batch of sequences."
    ),
    sources=(_MIM_CODE,),
)

_PREDRNN: Final = Protocol(
    name="predrnn",
    labels=("MSE", "MAE", "SSIM", "PSNR"),
    metrics=(frame_mse, frame_mae, frame_ssim, frame_psnr),
    options=({**_PIXEL_SUM, **_CLIPPED}, _PIXEL_SUM, _BYTES, _BYTES),
    description=(
        "Moving MNIST as the released code of PredRNN, PredRNN++ and PredRNN-V2 evaluates it, "
        "frames in [0, 1]. MSE and MAE as in 'moving-mnist'. SSIM and PSNR: predictions clipped "
        "to [0, 1], both frames cut down to bytes; uniform 7x7 window, data range 255; PSNR of "
        "each frame, then averaged."
    ),
    unknown="MAE is in the code of PredRNN++ alone. Which code made which table is not stated.",
    sources=(_PREDRNN_CODE, _PREDRNN_PP_CODE),
)

_KTH: Final = Protocol(
    name="kth",
    labels=("PSNR", "SSIM"),
    metrics=(frame_psnr, frame_ssim),
    options=(_BYTES, _BYTES),
    description=(
        "KTH actions, 128x128 grey frames in [0, 1]: PSNR and SSIM from bytes, as in 'predrnn', "
        "whose code is the one with a KTH loader."
    ),
    unknown=(
        "The paper does not say how its KTH table was made. MIM's released code, without a KTH "
        "loader, takes SSIM from floats with data range 2, which tends to give larger values."
    ),
    sources=(_PREDRNN_CODE, _MIM_CODE),
)

_OPENSTL: Final = Protocol(
    name="openstl",
    labels=("MSE", "MAE", "SSIM", "PSNR"),
    metrics=(frame_mse, frame_mae, frame_ssim, frame_psnr),
    options=(
        _PIXEL_SUM,
        _PIXEL_SUM,
        {**_FLOAT_GUESS, **_CLIPPED},
        {"data_range": 1.0, **_CLIPPED},
    ),
    description=(
        "The benchmarks of OpenSTL on Moving MNIST, KTH and TaxiBJ, frames in [0, 1] (TaxiBJ's "
        "scaled flows x as (x + 1) / 2). MSE and MAE: predictions as they are, summed over a "
        "frame's channels and pixels. SSIM: predictions clipped to [0, 1], floats, uniform 7x7 "
        "window, data range 2, which scikit-image until 0.19 took for floats. PSNR: clipped "
        "floats, of each frame, then averaged."
    ),
    unknown=(
        "The version of scikit-image behind the tables, 0.19.3 or any. The weather data are "
        "evaluated in another way."
    ),
    sources=("chengtan9907/OpenSTL at c74deb5, openstl/core/metrics.py",),
)

_TAXIBJ: Final = Protocol(
    name="taxibj",
    labels=("MSE",),
    metrics=(frame_mse,),
    options=({**_PIXEL_SUM, **_CLIPPED},),
    description=(
        "TaxiBJ as MIM's released code evaluates it: flows scaled to [0, 1] by the smallest and "
        "largest of the training data (pass `data_range` for flows in vehicles), predictions "
        "clipped, squared error summed over the 2x32x32 values of a frame."
    ),
    unknown=(
        "The paper does not state the scale of its TaxiBJ table: over [-1, 1] the figures would be "
        "four times larger. Actual flows beyond `data_range` are refused here, not in its code."
    ),
    sources=(_MIM_CODE, "the same, src/data_provider/taxibj.py"),
)

_TRAFFIC: Final = Protocol(
    name="traffic",
    labels=("MSE", "MAE"),
    metrics=(frame_mse, frame_mae),
    options=({}, {}),
    description=(
        "Traffic flows in their own units, vehicles per interval: squared and absolute errors "
        "averaged over all cells and both flows. `table` adds RMSE as ST-ResNet computes it, the "
        "root of the squared error averaged over forecasts and, in the row 'mean', over frames."
    ),
    unknown=("Some papers leave out cells with little traffic: set such actual values to NaN."),
    sources=(
        "Zhang, Zheng, Qi: Deep spatio-temporal residual networks, AAAI 2017",
        "TolicWang/DeepST at 60f0e10, models/STResNet.py (a port)",
    ),
    pooled_root=True,
)

PROTOCOLS: Final[Mapping[str, Protocol]] = MappingProxyType(
    {rules.name: rules for rules in (_MOVING_MNIST, _PREDRNN, _KTH, _OPENSTL, _TAXIBJ, _TRAFFIC)}
)
"""The protocols by name, for frames in [0, 1] ("traffic": in the units of the data)."""


def protocol(name: str, *, data_range: float | None = None) -> Protocol:
    """Get the convention of a published table by its name.

    Parameters
    ----------
    name : {"moving-mnist", "predrnn", "kth", "openstl", "taxibj", "traffic"}
        The computation, the source and the unknown details of each are its `description`,
        `sources` and `unknown`.
    data_range : float, optional
        The data lie in [0, data_range]; 1 if not given. Figures are those of frames in [0, 1]
        whatever it is: 255 for frames of bytes. "traffic" keeps the units of the data and takes
        none.

    Returns
    -------
    Protocol
        To pass to `backtest` as `**protocol(name)`.

    Raises
    ------
    ValueError
        If there is no such protocol, or `data_range` is not positive or not wanted.

    Examples
    --------
    >>> protocol("kth").labels
    ('PSNR', 'SSIM')
    >>> protocol("taxibj", data_range=1000)["metric_kwargs"]
    [{'data_range': 1000.0, 'pixel_reduction': 'sum', 'clip': (0.0, 1000.0)}]
    """
    if name not in PROTOCOLS:
        raise ValueError(
            f"`name={name!r}` is no protocol; choose one of {', '.join(map(repr, PROTOCOLS))}"
        )
    rules = PROTOCOLS[name]
    if data_range is None:
        return rules
    if not any("data_range" in options for options in rules.options):
        raise ValueError(
            f"`data_range={data_range!r}` does not fit the protocol {name!r}, whose figures are in "
            "the units of the data; leave it out"
        )
    scale = checked_data_range(data_range)
    return replace(rules, options=tuple(_scaled(each, scale) for each in rules.options))


def _scaled(options: Mapping[str, Any], data_range: float) -> dict[str, Any]:
    """Turn options for frames in [0, 1] into those for frames in [0, data_range]."""
    scaled = {"data_range": options["data_range"] * data_range}
    if "clip" in options:
        scaled["clip"] = tuple(bound * data_range for bound in options["clip"])
    return {**options, **scaled}
