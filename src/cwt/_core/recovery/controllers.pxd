"""Congestion controllers by name."""

from cwt._core.recovery.congestion cimport CongestionController


cdef CongestionController new_controller(object config, size_t datagram_size)
