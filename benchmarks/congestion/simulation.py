"""Flows through one bottleneck, in virtual time.

Every flow is a whole pair of connections: packets are sealed, acknowledged and retransmitted as on a real
path.  The link of the senders has a rate, a queue that drops from its tail, and chance losses; the way back
only takes time.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

from cwt import quic
from cwt.config import TransportConfig
from cwt.quic import Connection, Host
from cwt.testing import DevelopmentCertificate, certificate_authority, issue
from cwt.tls import ClientContext, ServerContext

NEVER = float("inf")
CHUNK = bytes(1 << 20)
READ_EVERY = 16  # datagrams


def _trust(chain: list[bytes], name: str) -> None:
    """There is nobody else on the path."""


@cache
def _certificate() -> DevelopmentCertificate:
    return issue(certificate_authority(), ["receiver.test"], kind="ed25519")


@dataclass(frozen=True, kw_only=True)
class Link:
    """*rate* in bits and *rtt* in seconds; *queue* in round trips at that rate; *loss* a probability."""

    rate: float
    rtt: float
    queue: float = 1.0
    loss: float = 0.0
    datagram: int = 1200

    @property
    def product(self) -> float:
        """Bandwidth-delay product, bytes."""
        return self.rate / 8 * self.rtt

    @property
    def room(self) -> float:
        """Of the queue, bytes; a router has room for a few datagrams at least."""
        return max(self.queue * self.product, 4.0 * self.datagram)

    def __str__(self) -> str:
        text = f"{self.rate / 1e6:g} Mbit/s, {self.rtt * 1e3:g} ms"
        if self.queue != 1:
            text += f", queue of {self.queue:g} BDP"
        return text + (f", {100 * self.loss:g} % loss" if self.loss else "")


@dataclass
class Sample:
    """What one flow and the queue looked like at one time; bytes and seconds."""

    time: float
    window: int
    in_flight: int
    rtt: float
    received: int
    queue: float
    dropped: int


@dataclass
class Flow:
    """One endless transfer from *sender* to *receiver*."""

    sender: Connection
    receiver: Connection
    name: str
    start: float
    received: int = 0
    samples: list[Sample] = field(default_factory=list)
    # Datagrams on their way, with the times at which they arrive.
    data: deque[tuple[float, bytes]] = field(default_factory=deque)
    acks: deque[tuple[float, bytes]] = field(default_factory=deque)
    send_timer: float = NEVER
    receive_timer: float = NEVER
    stream: int | None = None
    unread: int = 0
    readable: int | None = None

    def fill(self) -> None:
        """Give the sender as much as it takes."""
        if self.sender.termination is not None:
            return
        if self.stream is None:
            if not self.sender.can_open_streams:
                return
            self.stream = self.sender.open_stream(bidirectional=False)
            if self.stream is None:
                return
        while self.sender.stream_send(self.stream, CHUNK) == len(CHUNK):
            pass

    def drain(self, buffer: bytearray) -> None:
        """Read what the receiver has."""
        for stream in self.receiver.readable():
            self.readable = stream
        if self.readable is None:
            return
        while (got := self.receiver.stream_recv_into(self.readable, buffer)) and got[0]:
            self.received += got[0]


class Simulation:
    """*controllers* says which flows there are; the i-th one begins *gap* · i seconds after the first."""

    def __init__(
        self,
        link: Link,
        controllers: Sequence[Any],
        *,
        seed: int = 1,
        gap: float = 0.0,
        sample_every: float = 0.0,
        config: dict[str, Any] | None = None,
    ) -> None:
        self.link = link
        self.now = 0.0
        self.rate = link.rate / 8
        self.room = link.room
        self.delay = link.rtt / 2
        self.free_at = 0.0
        self.passed = 0  # bytes that the queue took
        self.dropped = 0  # datagrams that found the queue full
        self.lost = 0  # datagrams by chance
        self.chance = random.Random(seed)
        self.sample_every = sample_every
        self.on_time: Callable[[Simulation], None] | None = None
        self._next_sample = 0.0 if sample_every else NEVER
        self._buffer = bytearray(1 << 20)
        self.flows = [
            self._flow(controller, index, index * gap, config or {})
            for index, controller in enumerate(controllers)
        ]

    def _flow(self, controller: Any, index: int, start: float, extra: dict[str, Any]) -> Flow:
        random_ids = random.Random(f"{self.chance.random()}/{index}").randbytes
        config = TransportConfig(
            **{
                "congestion": controller,
                "max_udp_payload_size": self.link.datagram,
                "mtu_discovery": False,
                "initial_max_data": 1 << 50,
                "initial_max_stream_data": 1 << 50,
                "send_buffer": 4 << 20,
                "max_idle_timeout": 0,
                "handshake_timeout": 600,
                **extra,
            }
        )
        made = _certificate()
        host = Host(random_ids)
        sender_at, receiver_at = ("192.0.2.1", 50000 + index), ("192.0.2.2", 4433)
        client = ClientContext(alpn=[b"flow"], verify=_trust)
        server = ServerContext(
            alpn=[b"flow"], certificate_chain=made.chain, private_key=made.private_key
        )
        ids = [random_ids(8) for _ in range(3)]
        sender = Connection(
            True, partial(client.handshake, "receiver.test"), config, host, random_ids,
            sender_at, receiver_at, ids[0], ids[1],
        )  # fmt: skip
        receiver = Connection(
            False, server.handshake, config, host, random_ids, receiver_at, sender_at, ids[2], ids[0],
            original_destination=ids[1], address_validated=True,
        )  # fmt: skip
        name = controller if isinstance(controller, str) else getattr(controller, "__name__", "?")
        flow = Flow(sender, receiver, name, start)
        flow.send_timer = start
        return flow

    # Datagrams

    def queued(self) -> float:
        """Bytes in the queue now."""
        return max(0.0, self.free_at - self.now) * self.rate

    @property
    def through(self) -> float:
        """Bytes that have left the bottleneck."""
        return self.passed - self.queued()

    def _send(self, flow: Flow) -> None:
        now = self.now
        while (out := flow.sender.send_batch(now)) is not None:
            data, segment, _ = out
            for at in range(0, len(data), segment):
                self._enqueue(flow, data[at : at + segment])
        delay = flow.sender.timeout(now)
        flow.send_timer = NEVER if delay is None else now + max(delay, 1e-9)

    def _enqueue(self, flow: Flow, datagram: bytes) -> None:
        if self.link.loss and self.chance.random() < self.link.loss:
            self.lost += 1
            return
        begin = max(self.now, self.free_at)
        if (begin - self.now) * self.rate + len(datagram) > self.room:
            self.dropped += 1
            return
        self.free_at = begin + len(datagram) / self.rate
        self.passed += len(datagram)
        flow.data.append((self.free_at + self.delay, datagram))

    def _answer(self, flow: Flow) -> None:
        now = self.now
        while (out := flow.receiver.send_batch(now)) is not None:
            data, segment, _ = out
            for at in range(0, len(data), segment):
                flow.acks.append((now + self.delay, data[at : at + segment]))
        delay = flow.receiver.timeout(now)
        flow.receive_timer = NEVER if delay is None else now + max(delay, 1e-9)

    def _receive_data(self, flow: Flow) -> None:
        _, datagram = flow.data.popleft()
        receiver = flow.receiver
        info = quic.RecvInfo(from_=receiver.remote_address, to=receiver.local_address)
        receiver.recv(datagram, info, self.now)
        flow.unread += 1
        if flow.unread >= READ_EVERY:
            flow.unread = 0
            flow.drain(self._buffer)
        self._answer(flow)

    def _receive_ack(self, flow: Flow) -> None:
        _, datagram = flow.acks.popleft()
        sender = flow.sender
        info = quic.RecvInfo(from_=sender.remote_address, to=sender.local_address)
        sender.recv(datagram, info, self.now)
        flow.fill()
        self._send(flow)

    # Time

    def run(self, until: float) -> None:
        """Let time pass until *until* seconds."""
        while True:
            when, act, flow = self._next_sample, self._sample, None
            for each in self.flows:
                if each.data and each.data[0][0] < when:
                    when, act, flow = each.data[0][0], self._receive_data, each
                if each.acks and each.acks[0][0] < when:
                    when, act, flow = each.acks[0][0], self._receive_ack, each
                if each.send_timer < when:
                    when, act, flow = each.send_timer, self._send_timer, each
                if each.receive_timer < when:
                    when, act, flow = each.receive_timer, self._receive_timer, each
            if when > until:
                self.now = until
                return
            self.now = max(self.now, when)
            act(flow)  # type: ignore[arg-type]

    def _send_timer(self, flow: Flow) -> None:
        flow.sender.on_timeout(self.now)
        flow.fill()
        self._send(flow)

    def _receive_timer(self, flow: Flow) -> None:
        flow.receiver.on_timeout(self.now)
        self._answer(flow)

    def _sample(self, _: Flow | None) -> None:
        self._next_sample += self.sample_every
        for flow in self.flows:
            stats = flow.sender.stats()
            flow.drain(self._buffer)
            flow.samples.append(
                Sample(
                    self.now, stats.congestion_window, stats.bytes_in_flight, stats.latest_rtt,
                    flow.received, self.queued(), self.dropped,
                )
            )  # fmt: skip
