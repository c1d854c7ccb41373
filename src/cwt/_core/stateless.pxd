"""Answers to datagrams that belong to no connection (RFC 9000 Sections 6, 8.1.2 and 10.3)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t

from cwt._core.wire.packet cimport Header


cdef class Stateless:
    cdef object random
    cdef bytes reset_key
    cdef tuple versions                      # that are taken
    cdef bint grease
    cdef list queue                          # (datagram, to, from_) to be sent as they are
    cdef int64_t second                      # of the clock, to which the counts belong
    cdef int resets, refusals

    cdef bint _is_full(self) noexcept
    cdef int _count(self, int64_t now) noexcept
    cdef bytes reset_token(self, bytes cid)
    cdef int offer_versions(self, Header* header, object remote, object local) except -1
    cdef int retry(self, Header* header, bytes cid, bytes token, object remote, object local) except -1
    cdef int refuse(self, Header* header, uint64_t code, object remote, object local, int64_t now) except -1
    cdef int reset(
        self, const uint8_t* data, size_t length, size_t cid_length, object remote, object local, int64_t now
    ) except -1
