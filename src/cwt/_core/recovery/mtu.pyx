"""The largest datagram a path takes (RFC 9000 Section 14.3, RFC 8899).

Datagram Packetization Layer Path MTU Discovery: packets of PING and PADDING try larger sizes, one at a
time.  Ethernet's sizes are tried on every connection that outlives its first moment; larger ones, which
few paths take, only while the application fills datagrams, so that they are worth it.
"""

cimport cython
from libc.stdint cimport int64_t, uint64_t

cdef enum:
    MAX_PROBES = 3           # of one size (RFC 8899 Section 5.1.2)
    MAX_LOSSES = 3           # in a row that make a black hole
    ETHERNET = 1472          # UDP payload of 1500 bytes over IPv4
    STEP = 20                # a search ends when it could gain no more than this
    SIZES = 8

# UDP payloads of usual links: Ethernet over IPv6 and IPv4, FDDI and tunnels over jumbo frames, large clouds,
# jumbo frames, loopback interfaces (BSD; Linux over IPv6 and IPv4).
cdef size_t[SIZES] COMMON = [1452, ETHERNET, 4304, 8848, 8952, 16336, 65488, MAX_DATAGRAM]

# Nanoseconds.
cdef int64_t START_DELAY = 250_000_000
cdef int64_t RAISE_TIMER = 600_000_000_000       # RFC 8899 Section 5.1.1
cdef int64_t RECENT = 1_000_000_000


@cython.final
cdef class PathMtu:
    """What one path takes: ``size`` is always safe to send, ``due`` says what to try next.

    *size* is what the handshake uses, *limit* what may be tried; both bytes of UDP payload.  Without
    *enabled* the size stays.  Times are nanoseconds.
    """

    def __init__(self, size_t size=MIN_DATAGRAM, size_t limit=MAX_DATAGRAM, bint enabled=True):
        self.size = size
        self.limit = max(limit, size)
        self.enabled = enabled
        self.base = MIN_DATAGRAM if enabled else MAX_DATAGRAM
        self.failed = MAX_DATAGRAM + 1
        self.probe_number = -1
        self.last_full = -RECENT

    cpdef int set_limit(self, size_t limit) except -1:
        """The peer takes no larger datagrams than *limit* (RFC 9000 Section 18.2)."""
        self.size = min(self.size, limit)
        self.limit = min(self.limit, limit)
        return 0

    cpdef int start(self, int64_t now) except -1:
        """The handshake is confirmed and the path is validated: the search may begin."""
        if self.enabled and self.start_at == 0:
            self.start_at = now + START_DELAY
            self._search(MAX_DATAGRAM + 1)
        return 0

    cpdef int attach(self, uint64_t number) except -1:
        """Packets from *number* on take this path: what becomes of earlier ones says nothing about it."""
        self.first = number
        self.losses = 0
        self.acked_size = 0
        self.lost_size = 0
        return 0

    cpdef size_t due(self, int64_t now) noexcept:
        """The size of the probe to send now, 0 for none."""
        cdef bint busy = now < self.last_full + RECENT
        if self.probe_number >= 0 or self.start_at == 0:
            return 0
        if self.next == 0:
            if self.raise_at == 0:
                self.raise_at = now + RAISE_TIMER
            if now < self.raise_at or not busy:
                return 0
            self.raising = True
            self._search(MAX_DATAGRAM + 1)
        if not busy and (now < self.start_at or self.next > ETHERNET or self.raising):
            return 0
        return self.next

    cpdef int64_t next_timeout(self, int64_t now) noexcept:
        """When ``due`` changes its answer without anything else happening, 0 for never."""
        if now < self.start_at and 0 < self.next <= ETHERNET:
            return self.start_at
        return 0

    cpdef int on_full(self, int64_t now) except -1:
        """The application filled a datagram: it could use larger ones."""
        self.last_full = now
        return 0

    cpdef int on_probe_sent(self, uint64_t number, size_t size) except -1:
        """The probe of *size* bytes went out as packet *number*."""
        self.probe_number = number
        self.probe_size = size
        return 0

    cpdef int on_probe_acked(self, uint64_t number) except -1:
        """The probe arrived."""
        if <int64_t>number != self.probe_number:
            return 0                         # of another path
        self.probe_number = -1
        if self.probe_size > self.size and self.probe_size < self.failed:
            self.size = self.probe_size
        self.attempts = 0
        self.next = self._candidate()
        return 0

    cpdef int on_probe_lost(self, uint64_t number) except -1:
        """The probe did not arrive, this time."""
        if <int64_t>number != self.probe_number:
            return 0
        self.probe_number = -1
        if self.probe_size != self.next:
            return 0
        self.attempts += 1
        if self.attempts >= MAX_PROBES:
            self.failed = self.next
            self.attempts = 0
            self.next = self._candidate()
        return 0

    cpdef int on_packet_acked(self, uint64_t number, size_t size) except -1:
        """A packet above ``base`` arrived."""
        if number >= self.first and size > self.acked_size:
            self.acked_size = size
        return 0

    cpdef int on_packet_lost(self, uint64_t number, size_t size) except -1:
        """A packet above ``base``, and no probe, was lost."""
        if number >= self.first and (self.lost_size == 0 or size < self.lost_size):
            self.lost_size = size
        return 0

    cpdef int on_losses_known(self) except -1:
        """All that was found lost at once has been told (RFC 8899 Section 4.3).

        Congestion takes some large packets; a black hole takes all, again and again.
        """
        if self.lost_size == 0 or not self.enabled:
            return 0
        self.losses = self.losses + 1 if self.lost_size > self.acked_size else 0
        self.lost_size = 0
        self.acked_size = 0
        if self.losses >= MAX_LOSSES:
            self.losses = 0
            self._search(self.size)
            self.size = self.base
            self.next = self._candidate()
        return 0

    cdef int _search(self, size_t failed) except -1:
        # Sizes from *failed* on need not be tried.
        self.failed = failed
        self.attempts = 0
        self.raise_at = 0
        self.next = self._candidate()
        return 0

    cdef size_t _candidate(self) noexcept:
        # The next size to try, 0 when the search is complete: what links usually take; between those up
        # to Ethernet's, where tunnels take some bytes away, halves of what is not known.
        cdef size_t size
        for size in COMMON:
            size = min(size, self.limit)
            if size > self.size and size < self.failed:
                return size
        if self.failed <= ETHERNET and self.failed > self.size + STEP:
            return (self.size + self.failed) // 2
        return 0
