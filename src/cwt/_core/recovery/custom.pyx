"""Controllers written in Python: what an ACK tells is put together, and their answer fetched."""

cimport cython
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator

from cwt._core.recovery.delivery import RateSampler
from cwt.congestion import Acknowledgement


@cython.final
cdef class CustomController(CongestionController):
    """Asks *policy*, a ``cwt.quic.CongestionController``."""

    cdef object policy
    cdef double rate                         # bytes a second; below 0 for that of the window
    cdef uint64_t acked, lost
    cdef int64_t newest
    cdef bint limited

    def __init__(self, uint64_t max_datagram_size, policy):
        CongestionController.__init__(self, max_datagram_size)
        self.rates = RateSampler()
        self.policy = policy
        self.newest = -1
        self._follow()

    cdef int _follow(self) except -1:
        rate = self.policy.pacing_rate
        self.window = max(<uint64_t>self.policy.window, 2 * self.max_datagram_size)
        self.rate = -1.0 if rate is None else rate
        return 0

    cpdef int set_max_datagram_size(self, uint64_t size) except -1:
        self.max_datagram_size = size
        self.policy.max_datagram_size = size
        return self._follow()

    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        self.acked += size
        self.newest = max(self.newest, time_sent)
        self.limited = self.limited or window_limited
        return 0

    cpdef int on_ack_done(self, uint64_t in_flight, RttEstimator rtt, int64_t now) except -1:
        self.policy.on_ack(Acknowledgement(
            now / 1e9, self.acked, self.newest / 1e9, self.limited, in_flight,
            rtt.latest / 1e9, rtt.smoothed / 1e9, rtt.minimum / 1e9,
            self.rates.rate, self.rates.app_limited,
        ))
        self.acked = 0
        self.newest = -1
        self.limited = False
        return self._follow()

    cpdef int on_packet_lost(self, uint64_t number, uint64_t size, int64_t now) except -1:
        self.lost += size
        return 0

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        self.policy.on_loss(time_sent / 1e9, self.lost, now / 1e9)
        self.lost = 0
        return self._follow()

    cpdef int on_congestion_experienced(self, int64_t time_sent, int64_t now) except -1:
        self.policy.on_congestion_experienced(time_sent / 1e9, now / 1e9)
        return self._follow()

    cpdef int on_spurious_loss(self, int64_t now) except -1:
        self.policy.on_spurious_loss(now / 1e9)
        return self._follow()

    cpdef int on_persistent_congestion(self) except -1:
        self.policy.on_persistent_congestion()
        return self._follow()

    cpdef bint in_slow_start(self) except -1:
        return bool(self.policy.in_slow_start)

    cpdef uint64_t pacing_rate(self, RttEstimator rtt) except? 0:
        if self.rate >= 0:
            return <uint64_t>min(self.rate, 1e15)
        return CongestionController.pacing_rate(self, rtt)

    @property
    def state(self):
        return getattr(self.policy, "state", type(self.policy).__name__)
