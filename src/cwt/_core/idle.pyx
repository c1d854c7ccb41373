"""The idle timeout and keep-alive (RFC 9000 Section 10.1).

A NAT that forgets a client's port cuts off what the server sends, and only a packet of the client's tells the
server where to send from then on; one that only receives would wait for ever.  So when a flow of packets
stops dead, a client asks, a few times.
"""

cimport cython
from libc.stdint cimport int64_t


cdef enum:
    FLOW = 16                # packets that make one
    QUESTIONS = 4            # each after twice the time of the one before

cdef int64_t PAUSE = 100_000_000             # nanoseconds between packets of different flows


@cython.final
cdef class IdleTimer:
    """Ends a silent connection, or keeps it from falling silent; times in nanoseconds, 0 for never."""

    def __init__(self, int64_t timeout, int64_t keep_alive, bint watches_flow=False):
        self.watches_flow = watches_flow
        self.timeout = timeout
        self.keep_alive = keep_alive

    cdef void negotiate(self, int64_t peer_timeout) noexcept:
        # The smaller of both sides' timeouts counts.
        if peer_timeout and (self.timeout == 0 or peer_timeout < self.timeout):
            self.timeout = peer_timeout

    cdef void on_received(self, int64_t now) noexcept:
        self.flow = self.flow + 1 if now - self.last <= PAUSE else 0
        if self.flow == FLOW:
            self.flow = 0
            self.questions = QUESTIONS
        self.last = now
        self.sent_since = False

    cdef void on_sent_eliciting(self, int64_t now) noexcept:
        # Only the first one after a received packet restarts the timer.
        if not self.sent_since:
            self.sent_since = True
            self.last = now
        self.ping_pending = False

    cdef int64_t flow_deadline(self, int64_t pto) noexcept:
        # When to ask what became of the flow of packets, 0 for never.
        if not self.watches_flow or self.questions == 0 or self.sent_since or self.ping_pending:
            return 0
        return self.last + (3 * pto << QUESTIONS - self.questions)

    cdef int64_t deadline(self, int64_t pto) noexcept:
        # Never below three probe timeouts (Section 10.1).
        return self.last + max(self.timeout, 3 * pto) if self.timeout else 0

    cdef int64_t next_timeout(self, int64_t pto) noexcept:
        cdef int64_t deadline = self.flow_deadline(pto)
        if deadline:
            return deadline
        deadline = self.deadline(pto)
        if self.keep_alive and not self.ping_pending and not self.sent_since:
            if deadline == 0 or self.last + self.keep_alive < deadline:
                return self.last + self.keep_alive
        return deadline

    cdef bint on_timeout(self, int64_t now, int64_t pto) noexcept:
        # Whether the connection has been idle for too long.
        cdef int64_t deadline = self.deadline(pto)
        if deadline and now >= deadline:
            return True
        if 0 < self.flow_deadline(pto) <= now:
            self.questions -= 1
            self.ping_pending = True
        if self.keep_alive and not self.sent_since and now >= self.last + self.keep_alive:
            self.ping_pending = True
        return False
