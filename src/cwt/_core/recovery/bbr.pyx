"""BBR, version 3 (draft-ietf-ccwg-bbr): a model of the path in place of a window that losses shrink.

The names are those of the draft, but that what it calls BBR.bw_shortterm is ``bw_short`` here.  The draft's
Section 5 explains each function; comments tell what it leaves open.

In one thing it differs from the draft: which losses count.  The draft follows the delivery rate down with
every round that has a loss while it does not probe, so that random losses of 1 % halve the rate between two
probes; and in a small window it takes one loss for more than 2 %.  Here losses count when they exceed the
threshold of 2 % by more than chance would explain; and, while not probing, when packets wait on the path: then
others may be there, who would not get their share.
"""

cimport cython
from libc.math cimport INFINITY, sqrt
from libc.stdint cimport int64_t, uint64_t

from cwt._core.recovery.congestion cimport CongestionController
from cwt._core.recovery.delivery cimport RateSampler
from cwt._core.recovery.rtt cimport RttEstimator

from cwt._core.recovery.delivery import RateSampler as _RateSampler

# The phases.
cdef enum:
    STARTUP
    DRAIN
    PROBE_DOWN
    PROBE_CRUISE
    PROBE_REFILL
    PROBE_UP
    PROBE_RTT
    NO_PHASE

# What an ACK says about the probing for bandwidth.
cdef enum:
    ACKS_INIT                # nothing
    ACKS_REFILLING
    ACKS_PROBE_STARTING
    ACKS_PROBE_FEEDBACK
    ACKS_PROBE_STOPPING

# By phase (Section 5.6.1).
cdef double[7] PACING_GAIN = [2.77, 0.5, 0.9, 1.0, 1.0, 1.25, 1.0]
cdef double[7] WINDOW_GAIN = [2.0, 2.0, 2.0, 2.0, 2.0, 2.25, 0.5]
_STATES = (
    "startup", "drain", "probe_bw_down", "probe_bw_cruise", "probe_bw_refill", "probe_bw_up", "probe_rtt",
)

cdef double LOSS_THRESHOLD = 0.02
cdef double LOSS_DEVIATIONS = 2
cdef double BETA = 0.7
cdef double HEADROOM = 0.15
cdef double PACING_MARGIN = 0.99
cdef double FULL_GROWTH = 1.25               # of the delivery rate, in a round in which the pipe was not full
cdef int FULL_ROUNDS = 3
cdef int STARTUP_LOSS_RANGES = 6
cdef int DRAIN_ROUNDS = 3
cdef int EXTRA_ACKED_ROUNDS = 5              # for each of two slots
cdef uint64_t MAX_QUANTUM = 65536
cdef uint64_t COEXISTENCE_ROUNDS = 63
cdef int MAX_UP_ROUNDS = 30
cdef uint64_t NO_LIMIT = <uint64_t>1 << 62

# Nanoseconds.
cdef int64_t NO_RTT = <int64_t>1 << 62
cdef int64_t MIN_RTT_FILTER = 10_000_000_000
cdef int64_t PROBE_RTT_INTERVAL = 5_000_000_000
cdef int64_t PROBE_RTT_DURATION = 200_000_000
cdef int64_t PROBE_WAIT = 2_000_000_000
cdef int64_t PROBE_WAIT_SPREAD = 1_000_000_000


@cython.final
cdef class Bbr(CongestionController):
    """Finds the rate and the round-trip time of the bottleneck, sends at one and keeps to their product."""

    cdef int phase
    cdef int undo_phase                      # to go back to
    cdef int ack_phase
    cdef uint64_t initial                    # window
    cdef uint64_t chance
    cdef readonly double rate                # of pacing, bytes a second; 0 for not yet known
    cdef uint64_t in_flight                  # after the ACK being dealt with
    cdef bint in_recovery
    cdef bint marked, marked_in_round        # by a router, in a packet of this ACK, of this round
    cdef uint64_t prior_window
    # Rounds: a packet and the acknowledgement of one sent after it
    cdef readonly uint64_t round_count
    cdef bint round_start
    cdef uint64_t next_round_delivered
    cdef bint limited_now, limited_before    # the window was used up in this round, in the one before
    # Model: rates in bytes a second, volumes in bytes
    cdef readonly double max_bw, bw, bw_short
    cdef double bw_before, bw_cycle          # greatest of the cycle before, of this cycle
    cdef readonly int64_t min_rtt
    cdef int64_t min_rtt_stamp
    cdef readonly uint64_t inflight_long, inflight_short
    cdef readonly uint64_t max_inflight
    cdef double undo_bw_short
    cdef uint64_t undo_inflight_short, undo_inflight_long
    # What one round delivered
    cdef double bw_latest
    cdef uint64_t inflight_latest
    cdef bint loss_in_round, loss_round_start
    cdef uint64_t loss_round_delivered
    cdef int loss_ranges                     # of packet numbers, in this round
    cdef uint64_t last_lost
    # Aggregation
    cdef int64_t extra_start
    cdef uint64_t extra_delivered
    cdef uint64_t extra_before, extra_now    # greatest of the two slots
    cdef uint64_t extra_round                # in which the newer slot began
    # Whether the pipe is full
    cdef readonly bint full_bw_reached
    cdef bint full_bw_now
    cdef double full_bw
    cdef int full_bw_count
    cdef uint64_t drain_start_round
    # Probing for bandwidth
    cdef bint is_probe_sample
    cdef bint prev_too_high, prev_precautionary
    cdef uint64_t up_acked, up_acked_per_inc
    cdef int up_rounds
    cdef uint64_t rounds_since_up
    cdef int64_t cycle_stamp, probe_wait
    # Probing for the round-trip time
    cdef int64_t probe_rtt_min_delay, probe_rtt_min_stamp, probe_rtt_done_stamp
    cdef bint probe_rtt_expired, probe_rtt_round_done
    cdef bint idle_restart

    def __init__(self, uint64_t max_datagram_size=1200):
        CongestionController.__init__(self, max_datagram_size)
        self.rates = _RateSampler()
        self.initial = self.window
        self.min_rtt = NO_RTT
        self.min_rtt_stamp = -1
        self.probe_rtt_min_delay = NO_RTT
        self.inflight_long = NO_LIMIT
        self.up_acked_per_inc = NO_LIMIT
        self.undo_phase = NO_PHASE
        self._reset_short_term()

    # What the connection tells

    cpdef int on_sent(self, uint64_t size, uint64_t in_flight, int64_t now) except -1:
        if self.min_rtt_stamp < 0:
            self.min_rtt_stamp = self.probe_rtt_min_stamp = self.extra_start = now
        if in_flight == 0 and self.rates.app_limited_until:
            self._restart_from_idle(now)
        if in_flight + size + self.max_datagram_size > self.window:
            self.limited_now = True
        return 0

    cpdef int on_acked(
        self, uint64_t size, int64_t time_sent, bint window_limited, RttEstimator rtt, int64_t now
    ) except -1:
        if self.in_recovery and time_sent > self.recovery_start:
            self.in_recovery = False
            self.window = max(self.window, self.prior_window)
        return 0

    cpdef int on_packet_lost(self, uint64_t number, uint64_t size, int64_t now) except -1:
        self._note_loss()
        if number != self.last_lost + 1:
            self.loss_ranges += 1
        self.last_lost = number
        if self.is_probe_sample and self._too_many(self.rates.loss_since, self.rates.loss_in_flight):
            self._on_too_high(self._inflight_at_loss(size), self.rates.loss_app_limited, now)
        return 0

    cpdef int on_lost(self, int64_t time_sent, int64_t now) except -1:
        if time_sent > self.recovery_start:
            self._save_window()
            self.recovery_start = now
            self.in_recovery = True
        return 0

    cpdef int on_congestion_experienced(self, int64_t time_sent, int64_t now) except -1:
        # The draft leaves the answer open, but asks for one: a mark ends what probes, as too many losses do.
        if time_sent > self.recovery_start:
            self.recovery_start = now
            self._note_loss()
            self.marked = self.marked_in_round = True
        return 0

    cpdef int on_persistent_congestion(self) except -1:
        self._save_window()
        self._save_model()
        self.in_recovery = True
        self.window = 2 * self.max_datagram_size
        return 0

    cpdef int on_spurious_loss(self, int64_t now) except -1:
        if not self.can_undo:
            return 0
        self.can_undo = False
        self.window = max(self.window, self.prior_window)
        self.loss_in_round = False
        self._reset_full_bw()
        self.bw_short = max(self.bw_short, self.undo_bw_short)
        self.inflight_short = max(self.inflight_short, self.undo_inflight_short)
        self.inflight_long = max(self.inflight_long, self.undo_inflight_long)
        if self.undo_phase == STARTUP and self.phase != STARTUP:
            self.full_bw_reached = False
            if self.phase != PROBE_RTT:
                self.phase = STARTUP
        elif self.undo_phase == PROBE_UP and self.phase != PROBE_UP and self.phase != PROBE_RTT:
            self._start_refill()
        self.undo_phase = NO_PHASE
        return 0

    cpdef int on_ack_done(self, uint64_t in_flight, RttEstimator rtt, int64_t now) except -1:
        self.in_flight = in_flight
        if self.rate == 0 and rtt.has_sample:
            self.rate = self._initial_rate(rtt)
        self._update_latest()
        self._update_congestion()
        self._update_aggregation(now)
        self._check_full_bw()
        self._check_startup(now)
        self._check_drain(now)
        self._update_cycle(now)
        self._update_min_rtt(now)
        self._check_probe_rtt(now)
        if self.loss_round_start:
            self.bw_latest = self.rates.rate
            self.inflight_latest = self.rates.sample
        self.bw = min(self.max_bw, self.bw_short)
        self._set_rate(PACING_GAIN[self.phase])
        self._set_window()
        self.marked = False
        return 0

    cpdef bint in_slow_start(self) except -1:
        return self.phase == STARTUP

    cpdef uint64_t pacing_rate(self, RttEstimator rtt) except? 0:
        return <uint64_t>(self.rate if self.rate else self._initial_rate(rtt))

    @property
    def state(self):
        return _STATES[self.phase]

    # Model: what one round delivered (Sections 5.5.1 to 5.5.5, 5.5.10)

    cdef void _start_round(self) noexcept:
        self.next_round_delivered = self.rates.delivered

    cdef void _update_latest(self) noexcept:
        cdef RateSampler rates = self.rates
        self.loss_round_start = False
        self.bw_latest = max(self.bw_latest, rates.rate)
        self.inflight_latest = max(self.inflight_latest, rates.sample)
        if rates.has_packets and rates.prior_delivered >= self.loss_round_delivered:
            self.loss_round_delivered = rates.delivered
            self.loss_round_start = True

    cdef void _update_congestion(self) noexcept:
        cdef RateSampler rates = self.rates
        self.round_start = rates.has_packets and rates.prior_delivered >= self.next_round_delivered
        if self.round_start:
            self._start_round()
            self.round_count += 1
            self.rounds_since_up += 1
            self.limited_before = self.limited_now
            self.limited_now = False
        if rates.rate > 0 and (rates.rate >= self.max_bw or not rates.app_limited):
            self.bw_cycle = max(self.bw_cycle, rates.rate)
            self.max_bw = max(self.bw_before, self.bw_cycle)
        if not self.loss_round_start:
            return
        if self.loss_in_round and not self._is_probing() and (
            self.marked_in_round or self._has_queue()
            or self._too_many(rates.lost_since, rates.sent_in_flight)
        ):
            if self.bw_short == INFINITY:
                self.bw_short = self.max_bw
            if self.inflight_short == NO_LIMIT:
                self.inflight_short = self.window
            self.bw_short = max(self.bw_latest, BETA * self.bw_short)
            self.inflight_short = max(self.inflight_latest, <uint64_t>(BETA * self.inflight_short))
        self.loss_in_round = False
        self.marked_in_round = False

    cdef void _advance_max_bw(self) noexcept:
        # A cycle without samples does not make the one before it be forgotten.
        if self.bw_cycle:
            self.bw_before = self.bw_cycle
            self.bw_cycle = 0

    cdef void _reset_congestion(self) noexcept:
        self.loss_in_round = False
        self.bw_latest = 0
        self.inflight_latest = 0

    cdef void _reset_short_term(self) noexcept:
        self.bw_short = INFINITY
        self.inflight_short = NO_LIMIT

    cdef void _update_aggregation(self, int64_t now) noexcept:
        # How much more was acknowledged than the estimated rate gives (Section 5.5.9).
        cdef uint64_t expected = <uint64_t>(self.bw * (now - self.extra_start) / 1e9), extra
        if self.extra_delivered <= expected:
            self.extra_delivered = 0
            self.extra_start = now
            expected = 0
        self.extra_delivered += self.rates.newly_acked
        extra = min(self.extra_delivered - expected, self.window)
        if self.round_count >= self.extra_round + (EXTRA_ACKED_ROUNDS if self.full_bw_reached else 1):
            self.extra_round = self.round_count
            self.extra_before = self.extra_now
            self.extra_now = 0
        self.extra_now = max(self.extra_now, extra)

    # Model: losses (Sections 5.5.10 and 5.5.11)

    cdef void _note_loss(self) noexcept:
        if not self.loss_in_round:
            self.loss_round_delivered = self.rates.delivered
            self._save_window()
            self._save_model()
        self.loss_in_round = True

    cdef void _save_model(self) noexcept:
        self.can_undo = True
        self.undo_phase = NO_PHASE
        self.undo_bw_short = self.bw_short
        self.undo_inflight_short = self.inflight_short
        self.undo_inflight_long = self.inflight_long

    cdef void _save_window(self) noexcept:
        if self.in_recovery or self.phase == PROBE_RTT:
            self.prior_window = max(self.prior_window, self.window)
        else:
            self.prior_window = self.window

    cdef bint _too_many(self, uint64_t lost, uint64_t in_flight) noexcept:
        # Whether *lost* bytes of *in_flight* are more than the threshold, and more than chance makes of it.
        cdef double expected = LOSS_THRESHOLD * in_flight
        return lost > expected + LOSS_DEVIATIONS * sqrt(expected * self.max_datagram_size)

    cdef bint _has_queue(self) noexcept:
        # Whether packets wait on the path, for longer than their own batch makes them wait.
        cdef double own = 4 * self.max_datagram_size * 1e9 / self.max_bw if self.max_bw else INFINITY
        return self.rates.rtt > 1.25 * self.min_rtt + own

    cdef uint64_t _inflight_at_loss(self, uint64_t size) noexcept:
        # At what volume in flight the losses passed the threshold, within the packet lost.
        cdef double before = <double>self.rates.loss_in_flight - size
        cdef double lost_before = <double>self.rates.loss_since - size
        cdef double prefix = (LOSS_THRESHOLD * before - lost_before) / (1 - LOSS_THRESHOLD)
        return <uint64_t>max(before + max(prefix, 0.0), 0.0)

    cdef void _on_too_high(self, uint64_t in_flight, bint app_limited, int64_t now) noexcept:
        self.prev_too_high = True
        self.is_probe_sample = False         # one answer to each probe
        if not app_limited:
            self.inflight_long = max(in_flight, <uint64_t>(self._target() * BETA))
        if self.phase == PROBE_UP:
            self.undo_phase = PROBE_UP
            self._start_down(now)

    # Startup and Drain (Sections 5.3.1 and 5.3.2)

    cdef void _reset_full_bw(self) noexcept:
        self.full_bw = 0
        self.full_bw_count = 0
        self.full_bw_now = False

    cdef void _check_full_bw(self) noexcept:
        cdef RateSampler rates = self.rates
        if self.full_bw_now or not self.round_start or rates.app_limited or rates.rate == 0:
            return
        if rates.rate >= self.full_bw * FULL_GROWTH:
            self._reset_full_bw()
            self.full_bw = rates.rate
            return
        self.full_bw_count += 1
        if self.full_bw_count >= FULL_ROUNDS:
            self.full_bw_now = True
            self.full_bw_reached = True

    cdef void _check_startup(self, int64_t now) noexcept:
        cdef RateSampler rates = self.rates
        if self.phase == STARTUP and not self.full_bw_reached and (
            self.marked or self.loss_round_start and self.loss_ranges >= STARTUP_LOSS_RANGES
            and self._too_many(rates.lost_since, rates.sent_in_flight)
        ):
            self.undo_phase = STARTUP
            self.full_bw_now = True
            self.full_bw_reached = True
            self.inflight_long = max(<uint64_t>self._bdp(self.max_bw), self.inflight_latest)
        if self.loss_round_start:
            self.loss_ranges = 0
        if self.phase == STARTUP and self.full_bw_reached:
            self.phase = DRAIN
            self.drain_start_round = self.round_count

    cdef void _check_drain(self, int64_t now) noexcept:
        if self.phase == DRAIN and (
            self.in_flight <= self._inflight(self.bw) or self.round_count > self.drain_start_round + DRAIN_ROUNDS
        ):
            self._start_down(now)

    # ProbeBW (Section 5.3.3)

    cdef bint _is_probing(self) noexcept:
        return self.phase == STARTUP or self.phase == PROBE_REFILL or self.phase == PROBE_UP

    cdef bint _in_cycle(self) noexcept:
        return PROBE_DOWN <= self.phase <= PROBE_UP

    cdef void _start_down(self, int64_t now) noexcept:
        self._reset_congestion()
        self.up_acked_per_inc = NO_LIMIT
        # Flows that share a bottleneck must not probe in step; when and how much was delivered differs
        # enough among them.
        self.chance = (self.chance ^ <uint64_t>now ^ self.rates.delivered) * <uint64_t>0x9E3779B97F4A7C15
        self.chance ^= self.chance >> 29
        self.rounds_since_up = self.chance & 1
        self.probe_wait = PROBE_WAIT + <int64_t>((self.chance >> 1) % <uint64_t>PROBE_WAIT_SPREAD)
        self.cycle_stamp = now
        self.ack_phase = ACKS_PROBE_STOPPING
        self._start_round()
        self.phase = PROBE_DOWN

    cdef void _start_refill(self) noexcept:
        self._reset_short_term()
        self.up_rounds = 0
        self.up_acked = 0
        self.prev_precautionary = False
        self.ack_phase = ACKS_REFILLING
        self._start_round()
        self.phase = PROBE_REFILL

    cdef void _start_up(self) noexcept:
        self.ack_phase = ACKS_PROBE_STARTING
        self._start_round()
        self._reset_full_bw()
        self.full_bw = self.rates.rate
        self.phase = PROBE_UP
        self._raise_slope()

    cdef void _update_cycle(self, int64_t now) noexcept:
        if not self.full_bw_reached or self._adapt_long_term(now) or not self._in_cycle():
            return
        if self.phase == PROBE_DOWN or self.phase == PROBE_CRUISE:
            if now > self.cycle_stamp + self.probe_wait or self._is_coexistence_time():
                self._start_refill()
            elif self.phase == PROBE_DOWN and self.in_flight <= min(
                self._with_headroom(), self._inflight(self.max_bw)
            ):
                self.phase = PROBE_CRUISE
        elif self.phase == PROBE_REFILL:
            if self.round_start:
                self.is_probe_sample = True
                self._start_up()
        elif self._should_go_down():
            self.prev_too_high = False
            self._start_down(now)

    cdef bint _should_go_down(self) noexcept:
        if self.prev_too_high and self.in_flight >= self.inflight_long:
            self.prev_precautionary = True
            return True
        if self._is_limited() and self.window >= self.inflight_long:
            self._reset_full_bw()            # the volume limits the rate, not the path
            self.full_bw = self.rates.rate
            return False
        return self.full_bw_now

    cdef bint _is_limited(self) noexcept:
        return self.limited_now or self.limited_before

    cdef bint _is_coexistence_time(self) noexcept:
        # As often as Reno would, on paths on which it could use the bandwidth (Section 5.3.3.8).
        return self.rounds_since_up >= min(self._target() // self.max_datagram_size, COEXISTENCE_ROUNDS)

    cdef void _raise_slope(self) noexcept:
        cdef uint64_t growth = <uint64_t>1 << self.up_rounds
        self.up_rounds = min(self.up_rounds + 1, MAX_UP_ROUNDS)
        self.up_acked_per_inc = max(self.window // growth, self.max_datagram_size)

    cdef void _probe_upward(self) noexcept:
        cdef uint64_t steps
        if not self._is_limited() or self.window < self.inflight_long:
            return
        self.up_acked += self.rates.newly_acked
        if self.up_acked >= self.up_acked_per_inc:
            steps = self.up_acked // self.up_acked_per_inc
            self.up_acked -= steps * self.up_acked_per_inc
            self.inflight_long += steps * self.max_datagram_size
        if self.round_start:
            self._raise_slope()

    cdef bint _adapt_long_term(self, int64_t now) noexcept:
        # Whether it decided on the next phase.
        cdef RateSampler rates = self.rates
        if self.ack_phase == ACKS_PROBE_STARTING and self.round_start:
            self.ack_phase = ACKS_PROBE_FEEDBACK
        if self.ack_phase == ACKS_PROBE_STOPPING and self.round_start:
            self.is_probe_sample = False
            self.ack_phase = ACKS_INIT
            if self._in_cycle() and not rates.app_limited:
                self._advance_max_bw()
            if self._in_cycle() and self.prev_precautionary and not self.prev_too_high:
                self._start_refill()
                return True
        if self.marked and self.is_probe_sample:
            self._on_too_high(rates.sent_in_flight, rates.app_limited, now)
            return self.phase == PROBE_DOWN
        if self.inflight_long == NO_LIMIT or self._too_many(rates.lost_since, rates.sent_in_flight):
            return False
        if rates.has_packets:
            self.inflight_long = max(self.inflight_long, rates.sent_in_flight)
        if self.phase == PROBE_UP:
            self._probe_upward()
        return False

    # ProbeRTT and idle (Sections 5.3.4 and 5.4)

    cdef void _update_min_rtt(self, int64_t now) noexcept:
        cdef int64_t rtt = self.rates.rtt
        self.probe_rtt_expired = now > self.probe_rtt_min_stamp + PROBE_RTT_INTERVAL
        if rtt >= 0 and (rtt < self.probe_rtt_min_delay or self.probe_rtt_expired):
            self.probe_rtt_min_delay = rtt
            self.probe_rtt_min_stamp = now
        if self.probe_rtt_min_delay < self.min_rtt or now > self.min_rtt_stamp + MIN_RTT_FILTER:
            self.min_rtt = self.probe_rtt_min_delay
            self.min_rtt_stamp = self.probe_rtt_min_stamp

    cdef void _check_probe_rtt(self, int64_t now) noexcept:
        if self.phase != PROBE_RTT and self.probe_rtt_expired and not self.idle_restart:
            self._save_window()
            self.phase = PROBE_RTT
            self.probe_rtt_done_stamp = 0
            self.ack_phase = ACKS_PROBE_STOPPING
            self._start_round()
        if self.phase == PROBE_RTT:
            self._handle_probe_rtt(now)
        if self.rates.sample > 0:
            self.idle_restart = False

    cdef void _handle_probe_rtt(self, int64_t now) noexcept:
        # Its samples say nothing about the path's rate.
        self.rates.on_app_limited(self.in_flight)
        if self.probe_rtt_done_stamp == 0:
            if self.in_flight <= self._probe_rtt_window():
                self.probe_rtt_done_stamp = now + PROBE_RTT_DURATION
                self.probe_rtt_round_done = False
                self._start_round()
            return
        if self.round_start:
            self.probe_rtt_round_done = True
        if self.probe_rtt_round_done:
            self._check_probe_rtt_done(now)

    cdef void _check_probe_rtt_done(self, int64_t now) noexcept:
        if self.probe_rtt_done_stamp == 0 or now <= self.probe_rtt_done_stamp:
            return
        self.probe_rtt_min_stamp = now
        self.window = max(self.window, self.prior_window)
        self._reset_short_term()
        if self.full_bw_reached:
            self._start_down(now)
            self.phase = PROBE_CRUISE
        else:
            self.phase = STARTUP

    cdef void _restart_from_idle(self, int64_t now) noexcept:
        self.idle_restart = True
        self.extra_start = now
        if self._in_cycle():
            self._set_rate(1)
        elif self.phase == PROBE_RTT:
            self._check_probe_rtt_done(now)

    # Control: rate and window (Section 5.6)

    cdef double _initial_rate(self, RttEstimator rtt) noexcept:
        return PACING_GAIN[STARTUP] * self.initial * 1e9 / max(rtt.smoothed, <int64_t>1_000_000)

    cdef void _set_rate(self, double gain) noexcept:
        cdef double rate = gain * self.bw * PACING_MARGIN
        if rate > 0 and (self.full_bw_reached or rate > self.rate):
            self.rate = rate

    cdef double _bdp(self, double bw) noexcept:
        if self.min_rtt == NO_RTT:
            return self.initial
        return bw * self.min_rtt / 1e9

    cdef uint64_t _at_least(self, double volume) noexcept:
        # What keeps sender and receiver busy between what they do in one go.
        cdef uint64_t quantum = min(<uint64_t>(self.rate * 0.001), MAX_QUANTUM)
        cdef uint64_t whole = max(max(<uint64_t>volume, quantum), 4 * self.max_datagram_size)
        return whole + 2 * self.max_datagram_size if self.phase == PROBE_UP else whole

    cdef uint64_t _inflight(self, double bw) noexcept:
        return self._at_least(self._bdp(bw))

    cdef uint64_t _target(self) noexcept:
        return min(<uint64_t>self._bdp(self.bw), self.window)

    cdef uint64_t _with_headroom(self) noexcept:
        # Leaves room at the bottleneck for others.
        cdef uint64_t headroom
        if self.inflight_long == NO_LIMIT:
            return NO_LIMIT
        headroom = max(self.max_datagram_size, <uint64_t>(HEADROOM * self.inflight_long))
        return max(self.inflight_long - min(headroom, self.inflight_long), 4 * self.max_datagram_size)

    cdef uint64_t _probe_rtt_window(self) noexcept:
        return max(
            <uint64_t>(WINDOW_GAIN[PROBE_RTT] * self._bdp(self.bw)), 4 * self.max_datagram_size
        )

    cdef void _set_window(self) noexcept:
        cdef uint64_t acked = self.rates.newly_acked, cap = NO_LIMIT, window = self.window
        self.max_inflight = self._at_least(
            WINDOW_GAIN[self.phase] * self._bdp(self.bw) + max(self.extra_before, self.extra_now)
        )
        if self.full_bw_reached:
            window = min(window + acked, self.max_inflight)
        elif window < self.max_inflight or self.rates.delivered < self.initial:
            window += acked
        window = max(window, 4 * self.max_datagram_size)
        if self.phase == PROBE_RTT:
            window = min(window, self._probe_rtt_window())
        if self.phase == PROBE_RTT or self.phase == PROBE_CRUISE:
            cap = self._with_headroom()
        elif self._in_cycle():
            cap = self.inflight_long
        cap = max(min(cap, self.inflight_short), 4 * self.max_datagram_size)
        self.window = min(window, cap)
