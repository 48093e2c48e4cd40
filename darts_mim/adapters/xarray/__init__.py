"""Fields of xarray to series and back: weather, sea, satellites, in NetCDF, Zarr or memory."""

from darts_mim.adapters.xarray.reading import from_xarray
from darts_mim.adapters.xarray.writing import to_xarray

__all__ = ["from_xarray", "to_xarray"]
