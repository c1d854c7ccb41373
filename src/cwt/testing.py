"""What tests need: a server on the loopback interface, development certificates, and for protocols without
sockets or sleeping, virtual time and simulated networks.

::

    async with loopback_server(handler) as loopback, loopback.connect("/chat") as session: ...

    link = {"delay": 0.02, "jitter": 0.005, "loss": 0.2, "duplicate": 0.05, "reorder": 0.1}
    pair = Pair(client, server, uplink=Link.of(**link, seed=7), downlink=Link.of(**link, seed=8))
    pair.drive(lambda: client.is_established)

``client`` and ``server`` are sans-IO ends (:class:`End`).  The same seeds give the same run, to the byte,
as far as the ends themselves are deterministic.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple, Protocol

from cwt._types import Address, RecvInfo, SendInfo
from cwt.aio.loopback import LoopbackServer, loopback_server
from cwt.tls.development import (
    CertificateAuthority,
    DevelopmentCertificate,
    certificate_authority,
    development_certificate,
    issue,
)

__all__ = [
    "Bottleneck",
    "CertificateAuthority",
    "Corrupt",
    "Datagram",
    "Delay",
    "DevelopmentCertificate",
    "Drop",
    "Duplicate",
    "End",
    "Link",
    "LoopbackServer",
    "Node",
    "Pair",
    "Reorder",
    "VirtualClock",
    "certificate_authority",
    "development_certificate",
    "issue",
    "loopback_server",
]

CLIENT: Address = ("192.0.2.1", 50000)
SERVER: Address = ("192.0.2.2", 4433)

_MAX_ROUNDS = 10_000
"""Rounds at one instant after which two ends are said to answer each other for ever."""


class Datagram(NamedTuple):
    """One UDP datagram on its way."""

    data: bytes
    source: Address
    destination: Address
    ecn: int = 0
    """The two ECN bits of its IP header (RFC 3168)."""


class VirtualClock:
    """Seconds that pass only when told to."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        """Let *seconds* pass; ValueError for a negative number."""
        if seconds < 0:
            raise ValueError(f"time does not go back: {seconds}")
        self.now += seconds

    def advance_to(self, when: float) -> None:
        """Let time pass until *when*; nothing when that is over."""
        self.now = max(self.now, when)


class Node:
    """Something on the path that datagrams pass: the base class lets them through at once.

    A subclass overrides :meth:`send` and calls :meth:`hold` for each datagram that goes on, with the time
    it does.  ``rng`` is seeded by the :class:`Link` that the node is part of.
    """

    def __init__(self) -> None:
        self.rng = random.Random(0)
        self._held: list[tuple[float, int, Datagram]] = []
        self._count = 0

    def send(self, datagram: Datagram, now: float) -> None:
        """Take *datagram* in."""
        self.hold(datagram, now)

    def hold(self, datagram: Datagram, until: float) -> None:
        """Pass *datagram* on at time *until*."""
        self._count += 1
        heapq.heappush(self._held, (until, self._count, datagram))

    def receive(self, now: float) -> Iterator[Datagram]:
        """What leaves by *now*, in order of time."""
        while self._held and self._held[0][0] <= now:
            yield heapq.heappop(self._held)[2]

    def next_time(self) -> float | None:
        """When the next datagram leaves; None when there is none."""
        return self._held[0][0] if self._held else None


class Delay(Node):
    """Propagation: *seconds*, and up to *jitter* more; the order is kept."""

    def __init__(self, seconds: float, jitter: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds
        self.jitter = jitter
        self._last = 0.0

    def send(self, datagram: Datagram, now: float) -> None:
        due = now + self.seconds + (self.rng.uniform(0, self.jitter) if self.jitter else 0.0)
        self._last = max(self._last, due)
        self.hold(datagram, self._last)


class Drop(Node):
    """Loss of each datagram with *probability*."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def send(self, datagram: Datagram, now: float) -> None:
        if self.rng.random() >= self.probability:
            self.hold(datagram, now)


class Duplicate(Node):
    """With *probability* a second copy, up to *spread* seconds later."""

    def __init__(self, probability: float, spread: float = 0.01) -> None:
        super().__init__()
        self.probability = probability
        self.spread = spread

    def send(self, datagram: Datagram, now: float) -> None:
        self.hold(datagram, now)
        if self.rng.random() < self.probability:
            self.hold(datagram, now + self.rng.uniform(0, self.spread))


class Reorder(Node):
    """With *probability* a datagram waits up to *spread* seconds, and later ones overtake it."""

    def __init__(self, probability: float, spread: float = 0.02) -> None:
        super().__init__()
        self.probability = probability
        self.spread = spread

    def send(self, datagram: Datagram, now: float) -> None:
        late = self.rng.random() < self.probability
        self.hold(datagram, now + self.rng.uniform(0, self.spread) if late else now)


class Bottleneck(Node):
    """A router: *rate* bytes a second out of a queue of *room* bytes that drops from its tail."""

    def __init__(self, rate: float, room: float) -> None:
        super().__init__()
        self.rate = rate
        self.room = room
        self.free_at = 0.0
        self.dropped = 0

    def send(self, datagram: Datagram, now: float) -> None:
        start = max(now, self.free_at)
        if (start - now) * self.rate + len(datagram.data) > self.room:
            self.dropped += 1
            return
        self.free_at = start + len(datagram.data) / self.rate
        self.hold(datagram, self.free_at)

    def queued(self, now: float) -> float:
        """Bytes that wait or are leaving."""
        return max(0.0, self.free_at - now) * self.rate


class Corrupt(Node):
    """With *probability* one to three bytes of the datagram change."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability

    def send(self, datagram: Datagram, now: float) -> None:
        if datagram.data and self.rng.random() < self.probability:
            data = bytearray(datagram.data)
            for _ in range(self.rng.randint(1, 3)):
                data[self.rng.randrange(len(data))] ^= self.rng.randint(1, 255)
            datagram = datagram._replace(data=bytes(data))
        self.hold(datagram, now)


class Link(Node):
    """One direction of a path: *nodes* that each datagram passes in turn.

    *seed* (an int or a string) fixes all chance.  ``sent`` and ``delivered`` count datagrams.
    """

    def __init__(self, *nodes: Node, seed: int | str = 0) -> None:
        super().__init__()
        self.nodes = nodes or (Node(),)
        self.sent = 0
        self.delivered = 0
        for index, node in enumerate(self.nodes):
            node.rng = random.Random(f"{seed}/{index}")

    @classmethod
    def of(
        cls,
        *,
        delay: float = 0.0,
        jitter: float = 0.0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        corrupt: float = 0.0,
        seed: int | str = 0,
    ) -> Link:
        """A link of the usual impairments: seconds of *delay* and *jitter*, the rest probabilities."""
        return cls(
            Drop(loss),
            Duplicate(duplicate),
            Corrupt(corrupt),
            Delay(delay, jitter),
            Reorder(reorder),
            seed=seed,
        )

    def send(self, datagram: Datagram, now: float) -> None:
        self.sent += 1
        self.nodes[0].send(datagram, now)

    def receive(self, now: float) -> Iterator[Datagram]:
        for node, following in pairwise(self.nodes):
            for datagram in node.receive(now):
                following.send(datagram, now)
        for datagram in self.nodes[-1].receive(now):
            self.delivered += 1
            yield datagram

    def next_time(self) -> float | None:
        times = [time for node in self.nodes if (time := node.next_time()) is not None]
        return min(times, default=None)


class End(Protocol):
    """A sans-IO end: a :class:`cwt.quic.Connection`, a :class:`cwt.quic.Endpoint`, or your own."""

    def recv(self, datagram: bytes, info: RecvInfo, now: float, /) -> object:
        """Take *datagram*."""

    def send(self, now: float, /) -> tuple[bytes, SendInfo] | None:
        """The next datagram and where it goes, or None."""

    def timeout(self, now: float, /) -> float | None:
        """Seconds until :meth:`on_timeout` is due, or None."""

    def on_timeout(self, now: float, /) -> object:
        """Do what is due."""


class Pair:
    """Two ends joined by two links, in virtual time.

    ``uplink`` goes from *client* to *server*, ``downlink`` back.  :meth:`step` moves what is due and then
    time; :meth:`drive` steps until something is so.
    """

    def __init__(
        self,
        client: End,
        server: End,
        *,
        clock: VirtualClock | None = None,
        uplink: Link | None = None,
        downlink: Link | None = None,
    ) -> None:
        self.client = client
        self.server = server
        self.clock = clock or VirtualClock()
        self.uplink = uplink or Link()
        self.downlink = downlink or Link()
        self._rounds = 0

    def flush(self) -> bool:
        """Put on the links what both ends want to send now; whether there was anything."""
        now = self.clock.now
        busy = False
        for end, link in ((self.client, self.uplink), (self.server, self.downlink)):
            while (out := end.send(now)) is not None:
                data, info = out
                link.send(Datagram(bytes(data), info.from_, info.to, info.ecn), max(now, info.at))
                busy = True
        return busy

    def deliver(self) -> bool:
        """Hand over what arrives now; whether there was anything."""
        now = self.clock.now
        busy = False
        for link, end in ((self.uplink, self.server), (self.downlink, self.client)):
            for datagram in link.receive(now):
                info = RecvInfo(datagram.source, datagram.destination, datagram.ecn)
                end.recv(datagram.data, info, now)
                busy = True
        return busy

    def run_timers(self) -> bool:
        """Run the timers that are due; whether there were any."""
        now = self.clock.now
        due = [
            end
            for end in (self.client, self.server)
            if (delay := end.timeout(now)) is not None and delay <= 0
        ]
        for end in due:
            end.on_timeout(now)
        return bool(due)

    def next_time(self) -> float | None:
        """When something happens next; None when never."""
        now = self.clock.now
        times = [self.uplink.next_time(), self.downlink.next_time()]
        for end in (self.client, self.server):
            delay = end.timeout(now)
            times.append(None if delay is None else now + max(0.0, delay))
        return min((time for time in times if time is not None), default=None)

    def step(self) -> bool:
        """Do all that is due now; when that is nothing, let time pass.  False when nothing is to come.

        RuntimeError when the two ends keep each other busy without end at one instant.
        """
        busy = self.flush()
        busy = self.deliver() or busy
        busy = self.run_timers() or busy
        if busy:
            self._rounds += 1
            if self._rounds > _MAX_ROUNDS:
                raise RuntimeError(f"no end of events at {self.clock.now:.6f} s of virtual time")
            return True
        self._rounds = 0
        when = self.next_time()
        if when is None:
            return False
        # A timer may round to the present; time goes on all the same.
        self.clock.advance_to(max(when, self.clock.now + 1e-9))
        return True

    def drive(
        self,
        until: Callable[[], object],
        *,
        seconds: float = 60.0,
        work: Callable[[], object] | None = None,
    ) -> float:
        """Step until *until* is true; the virtual seconds that took.

        *work* is called after each step: it is the application.  TimeoutError when *seconds* of virtual
        time were not enough, or nothing more would ever happen.
        """
        start = self.clock.now
        while True:
            if work is not None:
                work()
            if until():
                return self.clock.now - start
            alive = self.step()
            elapsed = self.clock.now - start
            if elapsed > seconds or not alive:
                why = f"after {elapsed:.3f} s" if alive else f"and never will ({elapsed:.3f} s)"
                raise TimeoutError(f"it has not happened {why} of virtual time")

    def run_for(self, seconds: float, *, work: Callable[[], object] | None = None) -> None:
        """Let *seconds* of virtual time pass."""
        end = self.clock.now + seconds
        while True:
            if work is not None:
                work()
            if self.flush() | self.deliver() | self.run_timers():
                continue
            when = self.next_time()
            if when is None or when > end:
                self.clock.advance_to(end)
                return
            self.clock.advance_to(max(when, self.clock.now + 1e-9))
