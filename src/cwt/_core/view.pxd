"""What is known of a connection: what can only be looked at (RFC 9000)."""

from cwt._core.router cimport Router


cdef class View(Router):
    pass
