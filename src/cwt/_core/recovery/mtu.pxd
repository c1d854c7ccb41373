"""The largest datagram a path takes (RFC 9000 Section 14.3, RFC 8899)."""

from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MIN_DATAGRAM = 1200      # every path takes it (RFC 9000 Section 14)
    MAX_DATAGRAM = 65507     # UDP payload of the largest IPv4 packet


cdef class PathMtu:
    cdef readonly size_t size                # of the largest datagram known to arrive
    cdef readonly size_t base                # packets above it tell of black holes
    cdef readonly size_t limit               # that may be tried
    cdef readonly size_t failed              # smallest that is known not to arrive
    cdef readonly size_t next                # to be tried, 0 while there is nothing to find out
    cdef readonly int attempts               # of it that were lost
    cdef readonly int64_t probe_number       # packet number of the probe in flight, -1 for none
    cdef size_t probe_size
    cdef bint enabled
    cdef bint raising                        # looking for more than an earlier search found
    cdef int64_t start_at                    # when to search without much to send, 0: not before started
    cdef int64_t raise_at                    # when to search again, 0 for not known yet
    cdef int64_t last_full                   # when the application last filled a datagram
    cdef uint64_t first                      # packet number on this path; earlier ones say nothing
    cdef size_t acked_size                   # largest above base acknowledged since packets were last lost
    cdef size_t lost_size                    # smallest above base lost, 0 for none
    cdef readonly int losses                 # times in a row that nothing as large arrived

    cpdef int set_limit(self, size_t limit) except -1
    cpdef int start(self, int64_t now) except -1
    cpdef int attach(self, uint64_t number) except -1
    cpdef size_t due(self, int64_t now) noexcept
    cpdef int64_t next_timeout(self, int64_t now) noexcept
    cpdef int on_full(self, int64_t now) except -1
    cpdef int on_probe_sent(self, uint64_t number, size_t size) except -1
    cpdef int on_probe_acked(self, uint64_t number) except -1
    cpdef int on_probe_lost(self, uint64_t number) except -1
    cpdef int on_packet_acked(self, uint64_t number, size_t size) except -1
    cpdef int on_packet_lost(self, uint64_t number, size_t size) except -1
    cpdef int on_losses_known(self) except -1
    cdef int _search(self, size_t failed) except -1
    cdef size_t _candidate(self) noexcept
