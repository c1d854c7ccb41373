"""Impairments that few outside this project need; the common ones are in ``cwt.testing``."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence

from cwt._types import Address
from cwt.testing import Bottleneck as Bottleneck
from cwt.testing import Datagram, Node


class Tap(Node):
    """Lets everything through and keeps a copy."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Datagram] = []

    def send(self, datagram: Datagram, now: float) -> None:
        self.seen.append(datagram)
        super().send(datagram, now)


class BurstDrop(Node):
    """Loss in bursts of up to *longest* datagrams and *seconds*, each beginning with *probability*."""

    def __init__(self, probability: float, longest: int = 5, seconds: float = 0.2) -> None:
        super().__init__()
        self.probability = probability
        self.longest = longest
        self.seconds = seconds
        self.left = 0
        self.ends = 0.0

    def send(self, datagram: Datagram, now: float) -> None:
        if now > self.ends:
            self.left = 0
        if not self.left and self.rng.random() < self.probability:
            self.left = self.rng.randint(1, self.longest)
            self.ends = now + self.seconds
        if self.left:
            self.left -= 1
        else:
            self.hold(datagram, now)


class DropList(Node):
    """Loss of the datagrams at these *indexes*, counted from 0."""

    def __init__(self, *indexes: int) -> None:
        super().__init__()
        self.indexes = set(indexes)
        self.seen = 0

    def send(self, datagram: Datagram, now: float) -> None:
        if self.seen not in self.indexes:
            self.hold(datagram, now)
        self.seen += 1


class Mtu(Node):
    """Silent loss of everything above *limit* bytes of UDP payload, and *later* (second, limit)."""

    def __init__(self, limit: int, *later: tuple[float, int]) -> None:
        super().__init__()
        self.limit = limit
        self.later = sorted(later)
        self.dropped = 0

    def send(self, datagram: Datagram, now: float) -> None:
        while self.later and now >= self.later[0][0]:
            self.limit = self.later.pop(0)[1]
        if len(datagram.data) <= self.limit:
            self.hold(datagram, now)
        else:
            self.dropped += 1


class Blackhole(Node):
    """Loses everything within the *periods* of (start, end) seconds."""

    def __init__(self, *periods: tuple[float, float]) -> None:
        super().__init__()
        self.periods: Sequence[tuple[float, float]] = periods

    def send(self, datagram: Datagram, now: float) -> None:
        if not any(start <= now < end for start, end in self.periods):
            self.hold(datagram, now)


class DropWhile(Node):
    """Loss of each datagram with *probability*, until :attr:`until` is true."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.until: Callable[[], object] = bool

    def send(self, datagram: Datagram, now: float) -> None:
        if self.rng.random() >= self.probability or self.until():
            self.hold(datagram, now)


class Displace(Node):
    """With *probability* a datagram waits until *places* others overtook it, or for *longest* seconds."""

    def __init__(self, probability: float, places: int, longest: float) -> None:
        super().__init__()
        self.probability = probability
        self.places = places
        self.longest = longest
        self._passed = 0
        self._late: deque[tuple[int, float, Datagram]] = deque()

    def send(self, datagram: Datagram, now: float) -> None:
        if self.rng.random() < self.probability:
            self._late.append((self._passed + self.places, now + self.longest, datagram))
        else:
            self._passed += 1
            self.hold(datagram, now)
        self._release(now)

    def _release(self, now: float) -> None:
        while self._late and (self._late[0][0] <= self._passed or self._late[0][1] <= now):
            self.hold(self._late.popleft()[2], now)

    def receive(self, now: float) -> Iterator[Datagram]:
        self._release(now)
        return super().receive(now)

    def next_time(self) -> float | None:
        own = self._late[0][1] if self._late else None
        times = [time for time in (own, super().next_time()) if time is not None]
        return min(times, default=None)


class Mark(Node):
    """A congested router that supports ECN: with *probability* CE instead of ECT (RFC 3168)."""

    def __init__(self, probability: float) -> None:
        super().__init__()
        self.probability = probability
        self.marked = 0

    def send(self, datagram: Datagram, now: float) -> None:
        if datagram.ecn and self.rng.random() < self.probability:
            self.marked += 1
            datagram = datagram._replace(ecn=3)
        self.hold(datagram, now)


class Rewrite(Node):
    """A router that gives every datagram the ECN bits *ecn*, from second *start* on; 0 bleaches."""

    def __init__(self, ecn: int = 0, start: float = 0.0) -> None:
        super().__init__()
        self.ecn = ecn
        self.start = start

    def send(self, datagram: Datagram, now: float) -> None:
        self.hold(datagram._replace(ecn=self.ecn) if now >= self.start else datagram, now)


class DropMarked(Node):
    """Loses what has ECN bits, from second *start* on."""

    def __init__(self, start: float = 0.0) -> None:
        super().__init__()
        self.start = start

    def send(self, datagram: Datagram, now: float) -> None:
        if not datagram.ecn or now < self.start:
            self.hold(datagram, now)


class Rebind(Node):
    """A NAT that gives the sender a new port at these *times*; its return path is :attr:`back`."""

    def __init__(self, *times: float, host: str | None = None) -> None:
        super().__init__()
        self.times = sorted(times)
        self.host = host
        self.back = _RebindBack(self)
        self.inside: Address | None = None
        self.rebindings = 0

    def outside(self, inside: Address, now: float) -> Address:
        self.rebindings = sum(time <= now for time in self.times)
        if not self.rebindings:
            return inside
        return (self.host or inside[0], inside[1] + self.rebindings)

    def send(self, datagram: Datagram, now: float) -> None:
        self.inside = datagram.source
        self.hold(datagram._replace(source=self.outside(datagram.source, now)), now)


class _RebindBack(Node):
    """The way back through a :class:`Rebind`: only the newest address is still mapped."""

    def __init__(self, nat: Rebind) -> None:
        super().__init__()
        self.nat = nat

    def send(self, datagram: Datagram, now: float) -> None:
        inside = self.nat.inside
        if inside is not None and datagram.destination == self.nat.outside(inside, now):
            self.hold(datagram._replace(destination=inside), now)
