"""Congestion controllers by name, or as the application makes them."""

from cwt._core.recovery.congestion cimport CongestionController

from cwt._core.recovery.bbr import Bbr
from cwt._core.recovery.cubic import Cubic
from cwt._core.recovery.custom import CustomController
from cwt._core.recovery.newreno import NewReno
from cwt.congestion import CongestionController as PythonController
from cwt.errors import ConfigError

_CONTROLLERS = {"bbr": Bbr, "cubic": Cubic, "newreno": NewReno}


cdef CongestionController new_controller(object config, size_t datagram_size):
    make = config.congestion
    made = (_CONTROLLERS[make] if isinstance(make, str) else make)(datagram_size)
    if isinstance(made, CongestionController):
        return made
    if not isinstance(made, PythonController):
        raise ConfigError(
            f"congestion={make!r} must make a cwt.quic.CongestionController, not {type(made).__name__}"
        )
    return CustomController(datagram_size, made)
