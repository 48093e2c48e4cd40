"""Tables of trips to in- and outflow on a grid."""

from darts_mim.adapters.trips.counting import count_trips

__all__ = ["count_trips"]
