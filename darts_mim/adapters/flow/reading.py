"""Traffic flow from files: HDF5 in TaxiBJ's layout, and NumPy's.

Letters for shapes: T time, C channels, H height (rows), W width (columns).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from darts import TimeSeries
from numpy.typing import ArrayLike, DTypeLike

from darts_mim.adapters.flow.files import FirstSlot, read_files
from darts_mim.adapters.flow.runs import Gaps
from darts_mim.adapters.flow.series import FLOW_CHANNELS, from_flow
from darts_mim.adapters.flow.timeline import Duplicates
from darts_mim.series import check_layout
from darts_mim.times import Frequency, Start

__all__ = ["read_flow"]


def read_flow(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    freq: Frequency | None = None,
    first_slot: FirstSlot | None = None,
    start: Start | None = None,
    key: str | None = None,
    layout: str = "TCHW",
    channel_names: Sequence[str] = FLOW_CHANNELS,
    drop_zero_frames: bool = False,
    sort: bool = False,
    duplicates: Duplicates = "raise",
    gaps: Gaps = "split",
    max_gap: int | None = None,
    min_length: int = 1,
    coordinates: Mapping[str, ArrayLike] | None = None,
    mask: ArrayLike | None = None,
    static_fields: Mapping[str, ArrayLike] | None = None,
    attributes: Mapping[str, Mapping[str, Any]] | None = None,
    metadata: Mapping[str, Any] | None = None,
    dtype: DTypeLike | None = np.float32,
) -> list[TimeSeries]:
    """Read flows from files, HDF5 in TaxiBJ's layout or NumPy's, into series without gaps.

    Several files, such as one a year, are one timeline before it is cut at gaps. HDF5 files hold
    frames in ``data`` and in ``date`` the day and the slot in it, ``b"2016010148"``; they are
    joined in the order of their first times. Files ``.npy`` and ``.npz`` hold no times: each goes
    on where the one before it ends.

    Parameters
    ----------
    path : path or sequence of paths
        Files ending in ``.h5``, ``.hdf5`` (with the extra ``flow``), ``.npz`` or ``.npy``.
    freq : str, timedelta or pandas offset, optional
        Time from a frame to the next. HDF5 files can do without it if their name says it, as those
        of TaxiBJ do: ``_T30_`` is 30 minutes.
    first_slot : {0, 1}, optional
        How an HDF5 file numbers the first slot of a day: from 1 in TaxiBJ, whose half hours are 01
        to 48, from 0 where the slot is the hour, 00 to 23. Default: 1, but with a `freq` of one
        hour, which both number differently, it is read from each file: 0 if there is a slot 00, 1
        if there is a slot 24, and an error if there are both or neither.
    start : int, str or datetime, optional
        Time of the first frame of NumPy's files, which need it.
    key : str, optional
        The array of the frames. Default: ``"data"`` in HDF5 files, the only array in others.
    layout, channel_names, drop_zero_frames, sort, duplicates, gaps, max_gap, min_length
        As in `from_flow`.
    coordinates, mask, static_fields, attributes, metadata, dtype
        As `frames_to_series` takes them, for every series.

    Returns
    -------
    list of TimeSeries
        As from `from_flow`. The times are those of the file, usually local ones.

    Raises
    ------
    ImportError
        If `path` is an HDF5 file, and the extra ``flow`` is not installed.
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path` or `layout` are of the wrong type, a file holds no numbers, or its dates are no
        text.
    ValueError
        If a file is damaged, lacks an array, or has dates that do not exist; if the arguments leave
        open what its dates mean; or as `from_flow` does.

    References
    ----------
    J. Zhang, Y. Zheng, D. Qi. Deep Spatio-Temporal Residual Networks for Citywide Crowd Flows
    Prediction. AAAI 2017. (The layout is that of their data set TaxiBJ.)

    Examples
    --------
    >>> np.savez("flow.npz", flow=np.ones((96, 16, 12, 2)))
    >>> [series] = read_flow("flow.npz", layout="THWC", start="2016-01-01", freq="30min")
    >>> series.n_components, str(series.end_time())
    (384, '2016-01-02 23:30:00')
    """
    check_layout(layout)
    frames, times, step = read_files(
        _listed_paths(path),
        freq=freq,
        first_slot=first_slot,
        start=start,
        key=key,
        layout=layout,
        channels=len(channel_names),
    )
    return from_flow(
        frames,
        times,
        freq=step,
        layout=layout,
        channel_names=channel_names,
        drop_zero_frames=drop_zero_frames,
        sort=sort,
        duplicates=duplicates,
        gaps=gaps,
        max_gap=max_gap,
        min_length=min_length,
        coordinates=coordinates,
        mask=mask,
        static_fields=static_fields,
        attributes=attributes,
        metadata=metadata,
        dtype=dtype,
    )


def _listed_paths(path: Any) -> list[str | os.PathLike[str]]:
    paths = [path] if isinstance(path, str | os.PathLike) else path
    if not isinstance(paths, Iterable) or isinstance(paths, bytes):
        raise TypeError(f"`path` must be a path or a sequence of them, got {path!r}")
    listed = list(paths)
    for each in listed:
        if not isinstance(each, str | os.PathLike):
            raise TypeError(f"`path` must hold paths, got {each!r}; pass for example 'flow.h5'")
    return listed
