"""CUBIC (RFC 9438) with HyStart++ (RFC 9406)."""

cimport cython
from libc.math cimport cbrt
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.rtt cimport RttEstimator

cdef double C = 0.4                          # RFC 9438 Section 5.1
cdef double BETA = 0.7                       # Section 4.6
cdef double ALPHA = 3 * (1 - 0.7) / (1 + 0.7)    # Section 4.3

# RFC 9406 Section 4.3, nanoseconds and counts.
cdef int64_t MIN_RTT_THRESHOLD = 4_000_000
cdef int64_t MAX_RTT_THRESHOLD = 16_000_000
cdef int RTT_SAMPLES = 8
cdef int CSS_GROWTH_DIVISOR = 4
cdef int CSS_ROUNDS = 5
cdef int64_t NO_RTT = 1 << 62


@cython.final
cdef class Cubic(CongestionController):
    """CUBIC window growth after slow start; HyStart++ ends slow start before the queue overflows."""

    cdef double w_max                        # all windows in datagrams
    cdef double w_prior                      # at the last reduction
    cdef double w_estimate                   # what Reno would have
    cdef double k                            # seconds
    cdef int64_t epoch_start
    cdef int64_t paused_at                   # since then the window was not in use; -1 for it is
    cdef double remainder                    # of a byte, in the growth of the window
    cdef double undo_w_max, undo_w_prior, undo_w_estimate, undo_k
    cdef int64_t undo_epoch_start
    # HyStart++
    cdef uint64_t window_end
    cdef int64_t last_round_minimum
    cdef int64_t round_minimum
    cdef int64_t css_baseline
    cdef int samples
    cdef int css_round
    cdef readonly bint in_css                # conservative slow start

    def __init__(self, uint64_t max_datagram_size=1200):
        CongestionController.__init__(self, max_datagram_size)
        self.epoch_start = -1
        self.paused_at = -1
        self.last_round_minimum = NO_RTT
        self.round_minimum = NO_RTT

    cpdef int set_max_datagram_size(self, uint64_t size) except -1:
        # What is counted in datagrams: the growth of an epoch starts over from the window as it is.
        cdef double factor = <double>self.max_datagram_size / size
        self.w_max *= factor
        self.w_prior *= factor
        self.undo_w_max *= factor
        self.undo_w_prior *= factor
        self.undo_epoch_start = -1
        self.epoch_start = -1
        return CongestionController.set_max_datagram_size(self, size)

    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        if time_sent <= self.recovery_start:
            return 0
        if not window_limited:
            if self.paused_at < 0:
                self.paused_at = now
            return 0
        if self.window < self.slow_start_threshold:
            self.window += size // CSS_GROWTH_DIVISOR if self.in_css else size
            return 0
        self._avoid_congestion(size, rtt, now)
        return 0

    cdef void _avoid_congestion(self, uint64_t size, RttEstimator rtt, int64_t now) noexcept:
        cdef double mds = self.max_datagram_size
        cdef double cwnd = self.window / mds, t, target, growth
        cdef uint64_t whole
        if self.epoch_start < 0:
            self._start_epoch(cwnd, now)
        elif self.paused_at >= 0:
            # Time in which the window was not in use does not make it grow (RFC 9438 Section 5.8).
            self.epoch_start += now - self.paused_at
        self.paused_at = -1
        t = (now - self.epoch_start) / 1e9 - self.k
        self.w_estimate += (ALPHA if self.w_estimate < self.w_prior else 1.0) * (size / mds) / cwnd
        if C * t * t * t + self.w_max < self.w_estimate:
            growth = max(self.w_estimate - cwnd, 0.0)    # as Reno (Section 4.3)
        else:
            t += rtt.smoothed / 1e9
            target = min(max(C * t * t * t + self.w_max, cwnd), 1.5 * cwnd)
            growth = (target - cwnd) / cwnd * (size / mds)
        growth = growth * mds + self.remainder
        whole = <uint64_t>growth
        self.window += whole
        self.remainder = growth - whole

    cdef void _start_epoch(self, double cwnd, int64_t now) noexcept:
        self.epoch_start = now
        self.w_estimate = cwnd
        if cwnd < self.w_max:
            self.k = cbrt((self.w_max - cwnd) / C)
        else:
            self.k = 0
            self.w_max = cwnd

    cpdef int on_rtt_sample(
        self, uint64_t largest_acked, uint64_t next_number, RttEstimator rtt
    ) except -1:
        cdef int64_t threshold
        # Later slow starts know where to end (RFC 9406 Section 4.3).
        if self.slow_start_threshold != <uint64_t>-1:
            return 0
        if largest_acked >= self.window_end:
            self._new_round(next_number)
        self.round_minimum = min(self.round_minimum, rtt.latest)
        self.samples += 1
        if self.samples < RTT_SAMPLES:
            return 0
        if self.in_css:
            if self.round_minimum < self.css_baseline:
                self.in_css = False
            return 0
        if self.round_minimum == NO_RTT or self.last_round_minimum == NO_RTT:
            return 0
        threshold = max(MIN_RTT_THRESHOLD, min(self.last_round_minimum // 8, MAX_RTT_THRESHOLD))
        if self.round_minimum >= self.last_round_minimum + threshold:
            self.css_baseline = self.round_minimum
            self.in_css = True
            self.css_round = 0
        return 0

    cdef void _new_round(self, uint64_t next_number) noexcept:
        self.window_end = next_number
        self.last_round_minimum = self.round_minimum
        self.round_minimum = NO_RTT
        self.samples = 0
        if self.in_css:
            self.css_round += 1
            if self.css_round >= CSS_ROUNDS:
                self.slow_start_threshold = self.window
                self.in_css = False

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        cdef double cwnd
        if time_sent <= self.recovery_start:
            return 0
        self._save()
        self.undo_w_max, self.undo_w_prior = self.w_max, self.w_prior
        self.undo_w_estimate, self.undo_k = self.w_estimate, self.k
        self.undo_epoch_start = self.epoch_start
        self.recovery_start = now
        self.epoch_start = -1
        self.in_css = False
        cwnd = self.window / <double>self.max_datagram_size
        # Fast convergence (RFC 9438 Section 4.7).
        self.w_max = cwnd * (1 + BETA) / 2 if cwnd < self.w_max else cwnd
        self.w_prior = cwnd
        self.window = max(<uint64_t>(self.window * BETA), 2 * self.max_datagram_size)
        self.slow_start_threshold = self.window
        return 0

    cpdef int on_spurious_loss(self, int64_t now) except -1:
        if self.can_undo:
            self.w_max, self.w_prior = self.undo_w_max, self.undo_w_prior
            self.w_estimate, self.k = self.undo_w_estimate, self.undo_k
            self.epoch_start = self.undo_epoch_start
        return CongestionController.on_spurious_loss(self, now)

    cpdef int on_persistent_congestion(self) except -1:
        CongestionController.on_persistent_congestion(self)
        self.epoch_start = -1
        self.w_max = 0
        return 0
