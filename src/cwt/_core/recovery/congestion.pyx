"""The interface of a congestion controller (RFC 9002 Section 7).

A controller is told what was sent, acknowledged and lost, and answers with ``window`` and ``pacing_rate``.
"""

from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.rtt cimport RttEstimator

cdef double MAX_RATE = 1e15                  # bytes a second: no pacing, to all intents and purposes


cdef class CongestionController:
    """Base of all controllers: the initial window, and the calls a controller answers.

    A subclass has ``on_acked`` and ``on_lost`` at least, and changes ``window``.  Sizes are bytes, times
    nanoseconds.  One that sets ``rates`` is also told of every packet lost, and finds in it, when an ACK is
    done, how fast data arrives.
    """

    def __init__(self, uint64_t max_datagram_size=1200):
        self.max_datagram_size = max_datagram_size
        self.window = initial_window(max_datagram_size)
        self.slow_start_threshold = <uint64_t>-1
        self.recovery_start = -1

    cpdef int set_max_datagram_size(self, uint64_t size) except -1:
        """The path takes datagrams of *size* bytes now: the window stays, and room for two of them."""
        self.max_datagram_size = size
        self.window = max(self.window, 2 * size)
        return 0

    cpdef int on_sent(self, uint64_t size, uint64_t in_flight, int64_t now) except -1:
        """A packet of *size* bytes went out; *in_flight* was the sum before it."""
        return 0

    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        """*size* bytes sent at *time_sent* arrived; *window_limited*: the window was in use."""
        raise NotImplementedError

    cpdef int on_rtt_sample(
        self, uint64_t largest_acked, uint64_t next_number, RttEstimator rtt
    ) except -1:
        """The ACK of packet *largest_acked* gave a sample; *next_number* will be sent next."""
        return 0

    cpdef int on_ack_done(self, uint64_t in_flight, RttEstimator rtt, int64_t now) except -1:
        """An ACK is dealt with, and so are the losses it showed; *in_flight* bytes are left.

        With ``rates``, these are the sample of this ACK.
        """
        return 0

    cpdef int on_packet_lost(self, uint64_t number, uint64_t size, int64_t now) except -1:
        """Packet *number* of *size* bytes was lost; called only with ``rates``, which knows more of it."""
        return 0

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        """The newest of the packets found lost together was sent at *time_sent*."""
        raise NotImplementedError

    cpdef int on_congestion_experienced(self, int64_t time_sent, int64_t now) except -1:
        """A router marked a packet sent at *time_sent* instead of dropping it (RFC 9002 Section 7.1).

        The answer is that to a loss, but it cannot turn out to have been wrong.
        """
        if time_sent > self.recovery_start:
            self.on_lost(time_sent, now)
            self.can_undo = False
        return 0

    cpdef int on_spurious_loss(self, int64_t now) except -1:
        """All packets whose loss made for the last reduction have arrived after all: take it back.

        Once for each reduction; the window does not shrink by this (RFC 9438 Section 4.9).
        """
        if not self.can_undo:
            return 0
        self.can_undo = False
        self.window = max(self.window, self.undo_window)
        self.slow_start_threshold = max(self.slow_start_threshold, self.undo_threshold)
        self.recovery_start = self.undo_recovery_start
        return 0

    cdef void _save(self) noexcept:
        # A reduction is about to happen.
        self.can_undo = True
        self.undo_window = self.window
        self.undo_threshold = self.slow_start_threshold
        self.undo_recovery_start = self.recovery_start

    cpdef int on_persistent_congestion(self) except -1:
        """All packets of a long period were lost (RFC 9002 Section 7.6)."""
        self.window = 2 * self.max_datagram_size
        self.recovery_start = -1
        return 0

    cpdef bint in_slow_start(self) except -1:
        """Whether the window still grows exponentially."""
        return self.window < self.slow_start_threshold

    cpdef uint64_t pacing_rate(self, RttEstimator rtt) except? 0:
        """Bytes a second: more than a window each round trip, so that pacing does not starve (Section 7.7)."""
        cdef double factor = 2.5 if self.in_slow_start() else 1.25
        cdef double seconds = max(rtt.smoothed, <int64_t>1000) / 1e9
        # A controller without a limit has a window that makes more of it than an integer holds.
        return <uint64_t>min(self.window * factor / seconds, MAX_RATE)

    @property
    def state(self):
        """What it is doing, in the words of qlog."""
        if self.in_slow_start():
            return "slow_start"
        return "congestion_avoidance"
