"""A heap of connections by their next timeout."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from cwt._core.connection cimport Connection

cdef struct Timer:
    int64_t at               # no later than the timeout of the connection
    PyObject* connection     # borrowed: the endpoint holds it, where the garbage collector sees it


cdef class TimerHeap:
    cdef Timer* items
    cdef size_t count, allocated

    cdef int set(self, Connection connection, int64_t at) except -1
    cdef void remove(self, Connection connection) noexcept
    cdef int64_t first(self) noexcept
    cdef Connection due(self, int64_t now)
    cdef void _settle(self) noexcept
    cdef void _place(self, size_t index, Timer timer) noexcept
    cdef void _sift(self, size_t index) noexcept
