"""Congestion controllers by name."""

from cwt._core.recovery.congestion cimport CongestionController

from cwt._core.recovery.bbr import Bbr
from cwt._core.recovery.cubic import Cubic
from cwt._core.recovery.newreno import NewReno

_CONTROLLERS = {"bbr": Bbr, "cubic": Cubic, "newreno": NewReno}


cdef CongestionController new_controller(object config, size_t datagram_size):
    return _CONTROLLERS[config.congestion](datagram_size)
