"""One connection: joins the parts and routes frames to their owners (RFC 9000)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.assembler cimport Assembler
from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.closing cimport Closing
from cwt._core.handshake cimport Handshake
from cwt._core.idle cimport IdleTimer
from cwt._core.intake cimport Intake, PacketHandler
from cwt._core.keyring cimport Keyring, Opened
from cwt._core.path cimport Paths
from cwt._core.recovery.acks cimport AckTracker
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.stream.datagram cimport Datagrams
from cwt._core.stream.streams cimport Streams
from cwt._core.wire.cursor cimport Reader
from cwt._core.wire.frame cimport CloseFrame
from cwt._core.wire.packet cimport Header

cdef inline int64_t nanoseconds(double seconds) noexcept nogil:
    # Rounded, so that a deadline told in seconds is reached when the caller says it is.
    return <int64_t>(seconds * 1e9 + 0.5)


cdef class Host:
    # What a connection needs of whoever drives it.
    cdef public object random
    cdef int wants_to_send(self, Connection connection) except -1
    cdef int has_news(self, Connection connection) except -1
    cdef int routes_changed(self, Connection connection) except -1
    cdef tuple new_connection_id(self)


cdef class Connection(PacketHandler):
    cdef Host host
    cdef object config
    cdef object random                       # callable: so many random bytes
    cdef readonly bint is_client
    cdef readonly uint32_t version
    cdef Handshake handshake
    cdef Keyring keys
    cdef LossRecovery recovery
    cdef AckTracker acks_initial, acks_handshake, acks_application
    cdef readonly Streams streams
    cdef readonly Datagrams datagrams
    cdef readonly LocalIds local_ids
    cdef readonly RemoteIds remote_ids
    cdef Paths paths
    cdef Intake intake
    cdef Assembler assembler
    cdef Closing closing
    cdef IdleTimer idle
    cdef object peer_params                  # TransportParameters once known
    cdef readonly uint64_t peer_max_datagram_frame_size
    cdef int64_t handshake_deadline
    cdef bint started
    cdef bint processing                     # a datagram is being read
    cdef bint news                           # something for the application
    cdef readonly bint is_established
    cdef uint64_t packets_received
    cdef public object user_data
    cdef bint send_listed, news_listed       # in the lists of the host
    cdef size_t timer_index                  # in the host's heap, plus one
    cdef set routes                          # connection IDs the host routes here
    cdef bytes reset_token                   # of the peer, as the host knows it

    cdef int take_reset(self, int64_t now) except -1
    cdef int _join_intake(self) except -1
    cdef Assembler _make_assembler(self)
    cdef AckTracker acks(self, int space)
    cdef void _tick(self, int64_t now) noexcept
    cdef int _wake(self) except -1
    cdef int _tell(self) except -1
    cdef int receive(
        self, uint8_t* data, size_t length, size_t segment_size, object remote, object local,
        int ecn, int64_t now
    ) except -1
    cdef int _process_payload(self, int space, Opened* opened, int64_t now, bint* eliciting, bint* probing) except -1
    cdef int64_t _ack_delay(self, uint64_t encoded) noexcept
    cdef _process_closed(self, Opened* opened)
    cdef int _on_frame(self, int space, uint64_t type, Reader* r, int64_t now) except -1
    cdef int _on_control(self, uint64_t type, Reader* r) except -1
    cdef int _on_close(self, CloseFrame* frame) except -1
    cdef int _install(self, list secrets) except -1
    cdef int _advance(self, int64_t now) except -1
    cdef int _apply_peer_params(self) except -1
    cdef int _confirm(self) except -1
    cdef int _discard(self, int space) except -1
    cdef int _fail(self, object error) except -1

    cdef size_t write_batch(self, uint8_t* out, size_t capacity, int64_t now, size_t* segment_size) except? 0
    cdef size_t _write(self, uint8_t* out, size_t capacity, int64_t now, size_t* segment_size) except? 0
    cdef int _abandon(self, object error) except -1
    cdef int64_t next_timeout(self, int64_t now) noexcept
    cdef int timeout_at(self, int64_t now) except -1
    cdef int _run_timers(self, int64_t now) except -1
    cdef int64_t _pto(self) noexcept
    cdef int _path_failed(self) except -1
    cdef int _start_recovery_anew(self) except -1
    cdef int _wake_for_credit(self) except -1
