"""What received packets mean: frames to their owners, and the course of the handshake (RFC 9000)."""

from libc.stdint cimport int64_t, uint32_t, uint64_t

from cwt._core.assembler cimport Assembler
from cwt._core.cid cimport LocalIds, RemoteIds
from cwt._core.closing cimport Closing
from cwt._core.handshake cimport Handshake
from cwt._core.idle cimport IdleTimer
from cwt._core.intake cimport Intake, PacketHandler
from cwt._core.keyring cimport Keyring, Opened
from cwt._core.paths cimport Paths
from cwt._core.qlog.trace cimport Trace
from cwt._core.recovery.ack_frequency cimport AckFrequency
from cwt._core.recovery.acks cimport AckTrackers
from cwt._core.recovery.loss cimport LossRecovery
from cwt._core.stream.datagram cimport Datagrams
from cwt._core.stream.streams cimport Streams
from cwt._core.tokens cimport GivenToken
from cwt._core.versions cimport Versions
from cwt._core.wire.cursor cimport Reader
from cwt._core.wire.frame cimport CloseFrame, DataFrame


cdef enum:
    COUNTERS = 8


cdef class Router(PacketHandler):
    cdef object config
    cdef object random                       # callable: so many random bytes
    cdef readonly bint is_client
    cdef Versions versions
    cdef object make_tls                     # a client's, for another attempt; None once there can be none
    cdef Handshake handshake
    cdef Keyring keys
    cdef LossRecovery recovery
    cdef readonly AckFrequency ack_frequency
    cdef readonly AckTrackers acks
    cdef readonly Streams streams
    cdef readonly Datagrams datagrams
    cdef readonly LocalIds local_ids
    cdef readonly RemoteIds remote_ids
    cdef Paths paths
    cdef Intake intake
    cdef Assembler assembler
    cdef Closing closing
    cdef IdleTimer idle
    cdef GivenToken given_token              # None until there is one
    cdef Trace trace                         # the qlog, or None
    cdef object own_params                   # our transport parameters, until the handshake is confirmed
    cdef object peer_params                  # TransportParameters once known
    cdef object early_params                 # those remembered, while the answer to 0-RTT is not known
    cdef readonly uint64_t peer_max_datagram_frame_size
    cdef bint news                           # something for the application
    cdef readonly bint is_established
    cdef uint64_t packets_received
    cdef uint32_t controls[COUNTERS]         # received frames by COUNTER, of all other types the first
    cdef int64_t started_at, established_at  # nanoseconds

    cdef int _process_payload(self, int space, Opened* opened, int64_t now, bint* eliciting, bint* probing) except -1
    cdef int64_t _ack_delay(self, uint64_t encoded) noexcept
    cdef _process_closed(self, Opened* opened)
    cdef int _on_frame(self, int space, uint64_t type, Reader* r, int64_t now) except -1
    cdef int _on_ack_request(self, uint64_t type, Reader* r) except -1
    cdef int _on_control(self, uint64_t type, Reader* r, int64_t now) except -1
    cdef int _on_close(self, CloseFrame* frame) except -1
    cdef int _on_crypto(self, int space, DataFrame* data) except -1
    cdef int _install(self, list secrets) except -1
    cdef int _advance(self, int64_t now) except -1
    cdef int _apply_peer_params(self) except -1
    cdef int _apply_datagram_limits(self, object params) except -1
    cdef int _begin_early(self) except -1
    cdef int _refuse_early(self) except -1
    cdef int _check_early(self, object params) except -1
    cdef int _enable_ack_frequency(self) except -1
    cdef int _confirm(self) except -1
    cdef int _discard(self, int space) except -1
    cdef int _follow_mtu(self, int64_t now) except -1
    cdef int64_t _pto(self) noexcept
    cdef uint32_t _heard(self, int type) noexcept
    cdef int _issue_ids(self) except -1
    cdef tuple new_connection_id(self)
    cdef int start_over(self) except -1
    cdef bytes new_token(self)
    cdef int _give_token(self) except -1
