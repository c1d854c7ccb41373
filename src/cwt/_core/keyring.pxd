"""The keys of a connection and the packets under them (RFC 9001 Sections 5 and 6)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.crypto.aead cimport Packet
from cwt._core.crypto.keys cimport Key

cdef enum:
    MAX_BATCH = 64

# A packet that was authentic.
cdef struct Opened:
    uint64_t number
    const uint8_t* header
    const uint8_t* payload
    size_t length


cdef class Keyring:
    cdef Key other_read_initial, other_write_initial   # of another version, while one is negotiated
    cdef Key read_initial, read_handshake, read_application        # each None while there is none
    cdef Key write_initial, write_handshake, write_application
    cdef Key read_early, write_early         # of 0-RTT: a server's, a client's
    cdef int64_t early_until                 # when the server's goes, 0 while 1-RTT was not heard
    cdef Key previous_read, next_read        # of 1-RTT
    cdef int64_t previous_until              # when the previous one goes, 0 while the peer may still use it
    cdef readonly bint key_phase
    cdef uint64_t read_phase_start           # first packet number received in this phase
    cdef uint64_t write_phase_start          # first packet number sent in this phase
    cdef bint update_allowed                 # the peer acknowledged this phase (Section 6.1)
    cdef uint64_t sealed                     # packets under the present 1-RTT key
    cdef uint64_t seal_limit                 # how many there may be
    cdef uint64_t failures                   # packets that were not authentic
    cdef readonly uint64_t key_updates

    cdef int set_initial(self, uint32_t version, bytes dcid, bint is_client) except -1
    cdef int move_initial(self, uint32_t version, bytes dcid) except -1
    cdef bint select_initial(self, uint32_t version, bytes dcid) except -1
    cdef void settle_initial(self) noexcept
    cdef Key reading(self, int space)
    cdef Key writing(self, int space)
    cdef bint can_read(self, int space) noexcept
    cdef bint can_write(self, int space) noexcept
    cdef void discard(self, int space) noexcept
    cdef int mask(self, int space, const uint8_t* samples, uint8_t* masks, size_t count) except -1
    cdef int open(
        self, int space, uint8_t* data, size_t end, size_t number_offset, const uint8_t* mask,
        uint64_t expected, Opened* opened
    ) except -1
    cdef Key _key_for(self, int space, bint phase, uint64_t number)
    cdef int prepare(self) except -1
    cdef int _rotate(self, uint64_t number, uint64_t next_sent) except -1
    cdef bint has_old(self) noexcept
    cdef void retire(self, uint64_t number, int64_t now, int64_t pto) noexcept
    cdef int64_t next_timeout(self) noexcept
    cdef void on_timeout(self, int64_t now) noexcept
    cdef int seal(self, int space, Packet* packets, size_t count) except -1
    cdef bint update(self, uint64_t next_sent) except -1
    cdef bint limit_near(self) noexcept
    cdef int check_limit(self) except -1
    cdef void on_acked(self, uint64_t largest) noexcept
