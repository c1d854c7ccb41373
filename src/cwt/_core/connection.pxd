"""One connection: joins the parts, keeps their time, and is their public face (RFC 9000)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t

from cwt._core.assembler cimport Assembler
from cwt._core.observer cimport Observer
from cwt._core.verbs cimport Verbs

cdef inline int64_t nanoseconds(double seconds) noexcept nogil:
    # Rounded, so that a deadline told in seconds is reached when the caller says it is.
    return <int64_t>(seconds * 1e9 + 0.5)


cdef class Host:
    # What a connection needs of whoever drives it.
    cdef public object random
    cdef public object qlog
    cdef int wants_to_send(self, Connection connection) except -1
    cdef int has_news(self, Connection connection) except -1
    cdef int routes_changed(self, Connection connection) except -1
    cdef tuple new_connection_id(self)
    cdef bytes new_token(self, object remote, uint32_t version)


cdef class Connection(Verbs):
    cdef Host host
    cdef int64_t handshake_deadline
    cdef bint started
    cdef bint processing                     # a datagram is being read
    cdef public object user_data
    cdef bint send_listed, news_listed       # in the lists of the host
    cdef size_t timer_index                  # in the host's heap, plus one; 0 when it is not there
    cdef int64_t timer_at                    # when that timer is due, 0 for never
    cdef Observer observer                   # turns what happens into the qlog; None without one
    cdef bytes reset_token                   # of the peer, as the host knows it

    cdef int take_reset(self, int64_t now) except -1
    cdef object _new_tls(self, bytes source_cid, bytes reset_token)
    cdef int _join_intake(self) except -1
    cdef Assembler _make_assembler(self)
    cdef void _tick(self, int64_t now) noexcept
    cdef int _trace_to(self, object writer, str level, str title, str description, str wall_clock) except -1
    cdef int receive(
        self, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef int _fail(self, object error) except -1

    cdef size_t write_batch(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0
    cdef size_t _write(
        self, uint8_t* out, size_t capacity, size_t most, int64_t now, size_t* segment_size
    ) except? 0
    cdef int _abandon(self, object error) except -1
    cdef int64_t next_timeout(self, int64_t now) noexcept
    cdef int timeout_at(self, int64_t now) except -1
    cdef int _run_timers(self, int64_t now) except -1
