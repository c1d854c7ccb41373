"""Flow control: credit used and credit given, for streams and connections alike (RFC 9000 Section 4)."""

from libc.stdint cimport int64_t, uint64_t

# What we may send: a limit set by the peer.
cdef struct SendCredit:
    uint64_t limit
    uint64_t used
    uint64_t blocked_at      # the limit that was last reported as blocking, plus one

# What the peer may send: a limit we raise as the application reads.
cdef struct ReceiveWindow:
    uint64_t limit           # advertised
    uint64_t received        # highest offset or sum of them
    uint64_t consumed        # taken by the application
    uint64_t size
    uint64_t max_size
    int64_t raised_at        # when the limit was last raised


cdef inline uint64_t credit_left(const SendCredit* c) noexcept nogil:
    return c.limit - c.used


cdef inline bint credit_raise(SendCredit* c, uint64_t limit) noexcept nogil:
    # Whether it is news; a limit never goes down (Section 4.1).
    if limit <= c.limit:
        return False
    c.limit = limit
    return True


cdef inline bint credit_blocked(const SendCredit* c) noexcept nogil:
    # Blocked at a limit that the peer was not yet told about.
    return c.used == c.limit and c.blocked_at != c.limit + 1


cdef inline void window_open(ReceiveWindow* w, uint64_t size, uint64_t max_size) noexcept nogil:
    w.limit = size
    w.received = 0
    w.consumed = 0
    w.size = size
    w.max_size = max(size, max_size)
    w.raised_at = 0


cdef inline bint window_is_low(const ReceiveWindow* w) noexcept nogil:
    # Less than half is left: time to raise the limit.
    return w.consumed + w.size > w.limit + w.size // 2


cdef inline uint64_t window_raise(ReceiveWindow* w, int64_t now, int64_t rtt) noexcept nogil:
    # The new limit.  Used up within two round trips means the window holds the peer back: double it.
    if w.raised_at and now - w.raised_at < 2 * rtt:
        w.size = min(2 * w.size, w.max_size)
    w.raised_at = now
    w.limit = max(w.limit, w.consumed + w.size)
    return w.limit
