"""A link between a client and a server: a UDP proxy with delay, rate, a queue, and the faults of the
runner's network simulator (github.com/quic-interop/quic-network-simulator).

It keeps every datagram it saw, as seen at either end, for the checks.
"""

from __future__ import annotations

import contextlib
import heapq
import os
import random
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Address", "Datagram", "Link", "Scenario"]

Address = tuple[str, int]

TO_SERVER, TO_CLIENT = 0, 1
_HEADERS = 28
"""Bytes of the IPv4 and UDP headers."""
_MTU = 1500
_BUFFER = 8 << 20
_BATCH = 64
_CORRUPTED = 50
"""A corrupted byte is among so many first ones of a datagram, to hit the header often."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """What the link does; times in seconds."""

    delay: float = 0.015
    """One way."""
    rate: float = 10e6
    """Bits a second."""
    queue: int = 25
    """Packets that wait to be sent; then more are dropped."""
    loss: int = 0
    """Datagrams of a hundred that are dropped, in both directions."""
    corruption: int = 0
    """Datagrams of a hundred in which a byte is changed."""
    burst: int = 3
    """Most of them in a row."""
    drops_to_server: Sequence[int] = ()
    """Datagrams from the client that are dropped, counted from 1."""
    blackhole: tuple[float, float] | None = None
    """Seconds with and seconds without a network, by turns."""
    rebind: tuple[float, float] | None = None
    """When a NAT gives clients a new port for the first time, and how often from then on."""
    rebind_address: bool = False
    """The NAT gives clients a new address, too."""


class Datagram(NamedTuple):
    """A datagram at one of the ends."""

    time: float
    from_client: bool
    source: Address
    destination: Address
    """Addresses as that end sees them."""
    client: Address
    """The client's own address, whatever the NAT made of it."""
    data: bytes
    ecn: int
    arrived: bool
    """False at the end that sent it."""


@dataclass
class _Direction:
    scenario: Scenario
    random: random.Random
    busy_until: float = 0.0
    waiting: deque[float] = field(default_factory=deque)
    """When each packet in the queue leaves it."""
    count: int = 0
    in_a_row: int = 0

    def arrival(self, size: int, now: float) -> float | None:
        """When a packet of *size* bytes comes out at the other end; None: the queue is full."""
        while self.waiting and self.waiting[0] <= now:
            self.waiting.popleft()
        if len(self.waiting) > self.scenario.queue or size + _HEADERS > _MTU:
            return None
        start = max(now, self.busy_until)
        self.busy_until = start + (size + _HEADERS) * 8 / self.scenario.rate
        self.waiting.append(self.busy_until)
        return self.busy_until + self.scenario.delay

    def is_hit(self, percent: int) -> bool:
        """Whether a fault of so many percent hits the next datagram, not too many in a row."""
        if self.in_a_row >= self.scenario.burst or self.random.randrange(100) >= percent:
            self.in_a_row = 0
            return False
        self.in_a_row += 1
        return True


class _Binding:
    """What the NAT knows of a client that talks to one address of the server."""

    def __init__(self, client: Address, front: socket.socket, server: Address) -> None:
        self.client = client
        self.front = front
        self.server = server
        self.upstream = self._socket()

    def _socket(self, host: str = "") -> socket.socket:
        made = _udp_socket(self.front.family, host or self.server[0])
        made.connect(self.server)
        return made

    def rebind(self, host: str) -> socket.socket:
        """Take another port, on *host* if it is not empty; returns the socket that was used before."""
        before, self.upstream = self.upstream, self._socket(host)
        return before


def _udp_socket(family: int, host: str, port: int = 0) -> socket.socket:
    made = socket.socket(family, socket.SOCK_DGRAM)
    made.setblocking(False)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, _BUFFER)
    if family == socket.AF_INET6:
        made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
    else:
        made.setsockopt(socket.IPPROTO_IP, socket.IP_RECVTOS, 1)
    made.bind((host, port))
    return made


def _receive(sock: socket.socket) -> tuple[bytes, int, Address] | None:
    """A datagram, its ECN bits and its source."""
    try:
        data, ancillary, _, source = sock.recvmsg(65536, 64)
    except (BlockingIOError, ConnectionRefusedError):
        return None
    ecn = ancillary[0][2][0] & 3 if ancillary else 0
    return data, ecn, source[:2]


def _send(sock: socket.socket, data: bytes, ecn: int, to: Address | None) -> None:
    kind = (
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
        if sock.family == socket.AF_INET6
        else (socket.IPPROTO_IP, socket.IP_TOS)
    )
    message = [(*kind, ecn.to_bytes(4, "little"))]
    with contextlib.suppress(BlockingIOError, ConnectionRefusedError, OSError):
        if to is None:
            sock.sendmsg([data], message)
        else:
            sock.sendmsg([data], message, 0, to)


class Link:
    """Runs in a thread of its own from ``start`` to ``stop``.

    ``at_client`` and ``at_server`` are the datagrams at either end, in order of time.
    """

    def __init__(self, scenario: Scenario, servers: Sequence[Address], seed: int = 1) -> None:
        """*servers*: the addresses of the server; each gets one here, in ``addresses``."""
        self.scenario = scenario
        self.at_client: list[Datagram] = []
        self.at_server: list[Datagram] = []
        self.dropped = 0
        self.corrupted = 0
        self.rebindings = 0
        chance = random.Random(seed)
        self._random = chance
        self._directions = [_Direction(scenario, chance), _Direction(scenario, chance)]
        self._selector = selectors.DefaultSelector()
        self._bindings: dict[tuple[Address, int], _Binding] = {}
        self._of_upstream: dict[int, _Binding] = {}
        self._due: list[tuple[float, int, bool, _Binding, bytes, int]] = []
        self._sequence = 0
        self._start = time.monotonic()
        self._next_rebind = scenario.rebind[0] if scenario.rebind else None
        self._hosts = 1
        self._stop_read, self._stop_write = os.pipe()
        self._selector.register(self._stop_read, selectors.EVENT_READ)
        self._fronts: dict[int, tuple[socket.socket, Address]] = {}
        for server in servers:
            family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
            front = _udp_socket(family, server[0])
            self._fronts[front.fileno()] = front, server
            self._selector.register(front, selectors.EVENT_READ)
        self.addresses: list[Address] = [
            front.getsockname()[:2] for front, _ in self._fronts.values()
        ]
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin; the times of the scenario count from the first datagram."""
        self._thread.start()

    def stop(self) -> None:
        """End, and close all sockets."""
        os.write(self._stop_write, b"x")
        self._thread.join()
        for front, _ in self._fronts.values():
            front.close()
        for binding in self._bindings.values():
            binding.upstream.close()
        self._selector.close()
        os.close(self._stop_read)
        os.close(self._stop_write)

    def _run(self) -> None:
        while True:
            now = time.monotonic()
            timeout = None
            if self._due:
                timeout = max(self._due[0][0] - now, 0.0)
            for key, _ in self._selector.select(timeout):
                if key.fd == self._stop_read:
                    return
                self._take(key.fd)
            self._deliver()

    def _take(self, fd: int) -> None:
        if fd in self._fronts:
            front, server = self._fronts[fd]
            for _ in range(_BATCH):
                if (item := _receive(front)) is None:
                    return
                data, ecn, client = item
                self._enter(True, self._binding(client, front, server), data, ecn)
        elif fd in self._of_upstream:
            binding = self._of_upstream[fd]
            for _ in range(_BATCH):
                if (item := _receive(binding.upstream)) is None:
                    return
                self._enter(False, binding, item[0], item[1])

    def _binding(self, client: Address, front: socket.socket, server: Address) -> _Binding:
        found = self._bindings.get((client, front.fileno()))
        if found is None:
            if not self._bindings:
                self._start = time.monotonic()
            found = self._bindings[client, front.fileno()] = _Binding(client, front, server)
            self._listen(found)
        return found

    def _listen(self, binding: _Binding) -> None:
        self._of_upstream[binding.upstream.fileno()] = binding
        self._selector.register(binding.upstream, selectors.EVENT_READ)

    def _elapsed(self, now: float) -> float:
        return now - self._start

    def _enter(self, from_client: bool, binding: _Binding, data: bytes, ecn: int) -> None:
        """A datagram enters the link."""
        now = time.monotonic()
        self._record(now, from_client, binding, data, ecn, False)
        direction = self._directions[TO_SERVER if from_client else TO_CLIENT]
        direction.count += 1
        due = direction.arrival(len(data), now)
        changed = None if due is None else self._faults(direction, from_client, data, now)
        if due is None or changed is None:
            self.dropped += 1
            return
        self._sequence += 1
        heapq.heappush(self._due, (due, self._sequence, from_client, binding, changed, ecn))

    def _faults(
        self, direction: _Direction, from_client: bool, data: bytes, now: float
    ) -> bytes | None:
        """What becomes of *data* on the way; None when it is lost."""
        scenario = self.scenario
        if from_client and direction.count in scenario.drops_to_server:
            return None
        if scenario.blackhole is not None:
            up, down = scenario.blackhole
            if self._elapsed(now) % (up + down) >= up:
                return None
        if scenario.loss and direction.is_hit(scenario.loss):
            return None
        if scenario.corruption and direction.is_hit(scenario.corruption):
            if len(data) > 5 and data[0] & 0x80 and data[1:5] == bytes(4):
                return data  # Version Negotiation cannot be told from a forged one
            self.corrupted += 1
            changed = bytearray(data)
            changed[self._random.randrange(min(_CORRUPTED, len(data)))] ^= self._random.randint(
                1, 255
            )
            return bytes(changed)
        return data

    def _deliver(self) -> None:
        """Hand over what is due."""
        while self._due and self._due[0][0] <= (now := time.monotonic()):
            _, _, from_client, binding, data, ecn = heapq.heappop(self._due)
            self._rebind_when_due(now)
            if from_client:
                _send(binding.upstream, data, ecn, None)
            else:
                _send(binding.front, data, ecn, binding.client)
            self._record(now, from_client, binding, data, ecn, True)

    def _rebind_when_due(self, now: float) -> None:
        if self._next_rebind is None or self._elapsed(now) < self._next_rebind:
            return
        assert self.scenario.rebind is not None
        self._next_rebind += self.scenario.rebind[1]
        host = ""
        if self.scenario.rebind_address:
            self._hosts += 1
            host = f"127.0.0.{self._hosts % 250 + 1}"
        for binding in self._bindings.values():
            # What still comes to the old port is lost, as behind a NAT that forgot it.
            before = binding.rebind(host)
            del self._of_upstream[before.fileno()]
            self._selector.unregister(before)
            before.close()
            self._listen(binding)
        self.rebindings += 1

    def _record(
        self,
        now: float,
        from_client: bool,
        binding: _Binding,
        data: bytes,
        ecn: int,
        arrived: bool,
    ) -> None:
        if from_client != arrived:
            near, far = binding.client, binding.front.getsockname()[:2]
            log = self.at_client
        else:
            near, far = binding.upstream.getsockname()[:2], binding.server
            log = self.at_server
        source, destination = (near, far) if from_client else (far, near)
        log.append(
            Datagram(now, from_client, source, destination, binding.client, data, ecn, arrived)
        )
