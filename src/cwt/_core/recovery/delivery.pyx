"""Delivery rate samples (draft-ietf-ccwg-bbr Section 4.1).

How fast data arrived between the moment a packet went out and the moment it was acknowledged.  Only
controllers that ask for samples, by having a ``RateSampler``, make connections remember what they need.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t


@cython.final
cdef class RateSampler:
    """Counts what arrives on one path; times in nanoseconds.

    While an ACK is dealt with, it holds the sample that this ACK gives.
    """

    def __init__(self):
        self.rtt = -1

    cdef void on_sent(self, SendState* state, uint64_t size, uint64_t in_flight, int64_t now) noexcept:
        # *in_flight* is the sum before the packet.
        if in_flight == 0 or self.delivered_time == 0:
            self.first_sent_time = now
            self.delivered_time = now
        state.delivered = self.delivered
        state.lost = self.lost
        state.in_flight = in_flight + size
        state.delivered_time = self.delivered_time
        state.first_sent_time = self.first_sent_time
        state.app_limited = self.app_limited_until != 0

    cdef void on_acked(
        self, const SendState* state, uint64_t size, int64_t time_sent, int64_t now
    ) noexcept:
        self.delivered += size
        self.newly_acked += size
        self.delivered_time = now
        # Packets of one batch have one time; the last of them had the most in flight.
        if state.delivered_time == 0 or self.has_packets and (
            time_sent < self.newest_time
            or time_sent == self.newest_time and state.in_flight < self.sent_in_flight
        ):
            return
        self.has_packets = True
        self.newest_time = time_sent
        self.first_sent_time = time_sent
        self.prior_delivered = state.delivered
        self.app_limited = state.app_limited
        self.send_elapsed = time_sent - state.first_sent_time
        self.ack_elapsed = now - state.delivered_time
        self.sent_in_flight = state.in_flight
        self.prior_lost = state.lost
        self.rtt = now - time_sent

    cdef void on_lost(self, const SendState* state, uint64_t size) noexcept:
        self.lost += size
        self.newly_lost += size
        if state.delivered_time:
            self.loss_in_flight = state.in_flight
            self.loss_since = self.lost - state.lost
            self.loss_app_limited = state.app_limited

    cdef void finish(self, int64_t min_rtt) noexcept:
        # All packets that an ACK acknowledges, and those lost before them, are known.
        if self.app_limited_until and self.delivered > self.app_limited_until:
            self.app_limited_until = 0
        if not self.has_packets:
            return
        # Neither faster than it was sent nor than it was acknowledged.
        self.lost_since = self.lost - self.prior_lost
        self.interval = max(self.send_elapsed, self.ack_elapsed)
        self.sample = self.delivered - self.prior_delivered
        if self.interval >= min_rtt and self.interval > 0:
            self.rate = self.sample * 1e9 / self.interval

    cdef void clear(self) noexcept:
        # Ready for the next ACK.
        self.newly_acked = 0
        self.newly_lost = 0
        self.rate = 0
        self.sample = 0
        self.has_packets = False
        self.rtt = -1

    cpdef void on_app_limited(self, uint64_t in_flight) noexcept:
        """There is nothing more to send, though it would be allowed: samples of the next round show that."""
        self.app_limited_until = max(self.delivered + in_flight, <uint64_t>1)
