"""The cryptographic handshake: CRYPTO streams, TLS and HANDSHAKE_DONE (RFC 9001 Section 4)."""

from libc.stdint cimport uint64_t

from cwt._core.stream.recv cimport ReassemblyBuffer
from cwt._core.stream.send cimport SendBuffer
from cwt._core.wire.frame cimport DataFrame, FrameRecord, PacketBuilder

cdef enum:
    MAX_CRYPTO_BUFFER = 65536


cdef class CryptoStream:
    cdef ReassemblyBuffer incoming
    cdef SendBuffer outgoing

    cdef bint wants_to_send(self) noexcept
    cdef bint write(self, PacketBuilder* p) noexcept


cdef class Handshake:
    cdef readonly object tls
    cdef bint is_client
    cdef CryptoStream initial, handshake, application    # None: not needed yet, or any more
    cdef uint64_t application_read, application_sent     # offsets at which ``application`` goes on
    cdef readonly bint complete
    cdef readonly bint confirmed
    cdef bint done_pending                   # the server's HANDSHAKE_DONE
    cdef uint64_t consumed                   # post-handshake bytes
    cdef uint64_t news                       # CRYPTO frames that brought something new

    cdef CryptoStream existing(self, int space)
    cdef CryptoStream stream(self, int space)
    cdef void discard(self, int space) noexcept
    cdef void _rest(self) noexcept
    cdef list on_crypto(self, int space, DataFrame* frame)
    cdef list start(self)
    cdef list start_over(self, object tls)
    cdef list _drain(self)
    cdef bint wants_to_send(self, int space) noexcept
    cdef bint write(self, int space, PacketBuilder* p) noexcept
    cdef int on_acked(self, int space, const FrameRecord* r) except -1
    cdef int on_lost(self, int space, const FrameRecord* r) except -1
    cdef int confirm(self) except -1
