"""Address validation tokens: made, judged, and carried by NEW_TOKEN (RFC 9000 Section 8.1)."""

from libc.stdint cimport uint8_t, uint32_t, uint64_t

from cwt._core.wire.frame cimport PacketBuilder

cpdef enum TokenKind:
    """What a token in an Initial packet says (RFC 9000 Section 8.1)."""
    UNKNOWN = 0              # none of ours, or of no use any more: as if there were no token
    RETRY = 1
    NEW_TOKEN = 2
    INVALID = 3              # of a Retry, but not for this: its client takes no other (Section 8.1.3)


cdef class Filter:
    cdef bytearray bits
    cdef size_t count

    cdef bint add(self, const uint8_t* salt) noexcept
    cdef bint has(self, const uint8_t* salt) noexcept


cdef class AddressTokens:
    cdef object random
    cdef dict secrets                        # by the name that tokens begin with
    cdef bytes name                          # of the one that seals
    cdef Filter used, used_before
    cdef double used_since                   # when `used` was begun
    cdef double not_before                   # tokens made earlier may have been used and forgotten

    cdef bytes _seal(self, bytes plain)
    cdef bytes _open(self, bytes token)
    cdef bint is_spent(self, bytes token) except -1
    cpdef bytes retry_token(
        self, object address, bytes original_dcid, bytes retry_scid, uint32_t version, double now
    )
    cpdef bytes new_token(self, object address, uint32_t version, double now)
    cpdef tuple open(self, bytes token, object address, bytes dcid, uint32_t version, double now)
    cpdef int spend(self, bytes token, double now) except -1


cdef class GivenToken:
    cdef bytes token                         # None once it has arrived
    cdef bint pending

    cdef int give(self, bytes token) except -1
    cdef bint write(self, PacketBuilder* p) noexcept
    cdef void on_acked(self) noexcept
    cdef void on_lost(self) noexcept
