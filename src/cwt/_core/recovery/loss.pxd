"""Loss detection and probe timeouts (RFC 9002 Section 6)."""

from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t

from cwt._core.qlog.trace cimport Trace
from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.ecn cimport Ecn, EcnCounts
from cwt._core.recovery.mtu cimport PathMtu
from cwt._core.recovery.pacer cimport Pacer
from cwt._core.recovery.path cimport PathRecovery
from cwt._core.recovery.rtt cimport RttEstimator
from cwt._core.recovery.sent cimport RecordHandler, SentPacket, SentPackets
from cwt._core.wire.frame cimport AckFrame, PacketBuilder

cdef enum:
    SPACES = 3

# What an ACK frame acknowledged for the first time, on the path in use.
cdef struct NewlyAcked:
    int64_t newest           # when the last of the packets was sent, -1 for none
    uint64_t marked          # packets with ECT(0)
    bint eliciting
    bint unmarked


cdef class LossRecovery:
    cdef readonly PathRecovery path          # in use, and its parts
    cdef readonly RttEstimator rtt
    cdef readonly CongestionController congestion
    cdef readonly Pacer pacer
    cdef readonly Ecn ecn
    cdef Trace trace                         # the qlog, or None
    cdef PathMtu mtu
    cdef readonly uint8_t slot
    cdef list others                         # PathRecovery objects of the other paths; or None
    cdef EcnCounts ecn_counts[SPACES]
    cdef int codepoint                       # ECN bits of the datagrams being written
    cdef SentPackets initial, handshake      # None once the keys of their spaces are gone
    cdef SentPackets application
    cdef SentPackets lost                    # 1-RTT packets that may arrive after all; None for none ever
    cdef int64_t largest_acked[SPACES]       # -1 for none
    cdef int64_t loss_time[SPACES]           # 0 for none
    cdef int64_t last_eliciting[SPACES]      # when the last ack-eliciting packet went out
    cdef int64_t skipped[SPACES]             # the newest number left out on purpose, -1 for none
    cdef int64_t first_sample_time
    cdef int probes[SPACES]                  # probe packets to send regardless of the window
    cdef readonly uint64_t bytes_in_flight   # on the path in use
    cdef readonly int pto_count
    cdef int repeats                         # of the handshake, because the peer asked again
    cdef public bint is_client
    cdef public bint handshake_confirmed
    cdef public bint peer_validated          # the peer has validated our address
    cdef public bint has_handshake_keys
    cdef uint64_t limited_end                # packets below it left while the window was full
    cdef readonly uint64_t packets_lost
    cdef readonly uint64_t spurious_lost     # packets of these that arrived after all
    cdef readonly uint64_t bytes_lost
    cdef readonly uint64_t bytes_acked
    cdef int64_t flight_start                # since when something is in flight, -1 for not
    cdef readonly int64_t flight_time        # how long there was something, until that

    cdef int follow(self, PathRecovery path, PathMtu mtu) except -1
    cdef PathRecovery of(self, uint8_t slot)
    cdef int join(self, PathRecovery path) except -1
    cdef int leave(self, PathRecovery path) except -1
    cdef SentPackets sent(self, int space)
    cdef bint _awaits(self, int space) noexcept
    cdef uint64_t outstanding(self) noexcept
    cdef void on_app_limited(self) noexcept
    cdef int on_sent(self, int space, const PacketBuilder* p, uint32_t size, int64_t now) except -1
    cdef int on_ack(
        self, int space, AckFrame* ack, int64_t delay, int64_t now, RecordHandler handler
    ) except -1
    cdef int _acked(
        self, int space, uint64_t start, uint64_t end, int64_t now, bint limited, NewlyAcked* new,
        RecordHandler handler
    ) except -1
    cdef int _detect_lost(self, int space, int64_t now, RecordHandler handler) except -1
    cdef int _arrived_late(
        self, uint64_t start, uint64_t end, uint64_t largest, int64_t now, RecordHandler handler
    ) except -1
    cdef int _keep(self, SentPackets s, const SentPacket* p) except -1
    cdef void _forget_lost(self, int64_t now) noexcept
    cdef int _settle_elsewhere(self, const SentPacket* p, bint lost) except -1
    cdef int _lose(self, SentPackets s, SentPacket* p, int space, RecordHandler handler) except -1
    cdef int64_t _pto_deadline(self, int* space, int64_t now) noexcept
    cdef int64_t next_timeout(self, int64_t now) noexcept
    cdef int on_timeout(self, int64_t now, RecordHandler handler) except -1
    cdef int repeat_handshake(self, RecordHandler handler) except -1
    cdef int _probe(self, int space, RecordHandler handler) except -1
    cdef int discard(self, int space) except -1
    cdef int start_over(self, int space) except -1
    cdef void start_batch(self) noexcept
    cdef int abandon(self, int space, RecordHandler handler) except -1
    cdef void on_blocked(self) noexcept
    cdef bint may_send(self, uint64_t size) noexcept
