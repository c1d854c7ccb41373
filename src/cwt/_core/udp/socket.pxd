"""The batched, non-blocking UDP socket."""

from libc.stdint cimport uint8_t, uint64_t

cdef struct Received:
    uint8_t* data
    size_t length
    size_t segment_size      # datagrams lie back to back, each this long but maybe the last
    int ecn                  # of all of them (RFC 3168): 0 Not-ECT, 1 ECT(1), 2 ECT(0), 3 CE

cdef struct State            # buffers and address caches; known to socket.pyx only


cdef class UdpSocket:
    cdef State* state
    cdef object _socket
    cdef int fd
    cdef int family
    cdef int count
    cdef readonly bint mmsg
    cdef readonly bint gso
    cdef readonly bint gro
    cdef readonly tuple local_address
    cdef list sources
    cdef list targets
    cdef tuple last_destination

    # Bytes of the last send() that were handed over: where to go on when it would have blocked.
    cdef readonly size_t sent

    cdef uint64_t datagrams_received
    cdef uint64_t bytes_received
    cdef uint64_t receive_calls
    cdef uint64_t receive_errors
    cdef uint64_t datagrams_sent
    cdef uint64_t bytes_sent
    cdef uint64_t send_calls
    cdef uint64_t send_errors
    cdef uint64_t send_blocked
    cdef int last_error

    # How many messages are held now, 0: it would block. They are valid until the next receive().
    cdef int receive(self) except -1
    cdef Received* message(self, int i) noexcept
    cdef tuple source(self, int i)
    cdef tuple destination(self, int i)

    # Requests that wait for flush(), which starts at `first`; their bytes must stay where they are.
    cdef int staged, first
    cdef bint drained        # the last receive() took all there was

    # As send(), but later and together with others; the caller keeps to `can_stage`.
    cdef bint can_stage(self) noexcept
    cdef int stage(
        self, const uint8_t* data, size_t length, size_t segment_size, object to, object source,
        int ecn
    ) except -1
    # 1: all are done with, as after send(); 0: it would block.
    cdef int flush(self) except -2

    # 1: the segments were sent, or dropped by a network error that is counted; 0: it would block, and
    # `sent` tells how far it came. A `source` (host, port) of None leaves the choice to routing.
    cdef int send(
        self, const uint8_t* data, size_t length, size_t segment_size, object to, object source,
        int ecn
    ) except -2

    cdef int prepare(self, bint gso, bint gro, bint mmsg) except -1
    cdef void keep(self, int count) noexcept
    cdef int hand_over(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) except -2
    cdef int sendable(self) noexcept
    cdef int send_offload(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) noexcept
    cdef int send_plain(
        self, const uint8_t* data, size_t length, size_t segment_size, int ecn
    ) noexcept
    cdef int not_sent(self, int error, size_t length) noexcept
    cdef int fail(self, int error) except -1
