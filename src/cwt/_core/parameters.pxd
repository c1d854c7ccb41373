"""Our transport parameters, as the configuration wants them (RFC 9000 Section 18)."""

from libc.stdint cimport uint64_t


cdef uint64_t min_ack_delay(object config) except? 0
cdef object parameters_of(object config, object random)
