"""What the application may do with a connection: streams, datagrams, paths, the end (RFC 9000)."""

from libc.stdint cimport int64_t

from cwt._core.path cimport Path
from cwt._core.stream.datagram cimport DatagramFlow
from cwt._core.view cimport View


cdef class Verbs(View):
    cdef int64_t now                         # as it was told last

    cdef int _wake(self) except -1
    cdef int _tell(self) except -1
    cdef Path _try_path(self, object local, object remote)
    cdef int _wake_for_credit(self) except -1
    cdef int64_t _dgram_limit(self, DatagramFlow flow) except? -1
