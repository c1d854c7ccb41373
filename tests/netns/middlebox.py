"""A box between client and server that loses packets, delays them, and gives the client new addresses.

It takes Ethernet frames from two interfaces by AF_PACKET and hands each over to the other one.  Only UDP
over IPv4 passes.  Options come as JSON in the only argument, the fields of :class:`Options`; on SIGTERM it
prints :class:`Counters` as JSON.
"""

from __future__ import annotations

import heapq
import json
import random
import selectors
import signal
import socket
import struct
import sys
import time
from dataclasses import asdict, dataclass, field
from types import FrameType

_ETHERNET, _IPV4, _UDP = 14, 0x0800, 17
_SO_RCVBUFFORCE = 33
_BUFFER = 16 << 20
_BATCH = 128
_FIRST_PORT = 40000


@dataclass(kw_only=True)
class Options:
    """What happens to packets."""

    loss: float = 0.0
    """The part of packets that is dropped, in both directions."""
    delay: float = 0.0
    """Seconds, one way."""
    rebind_after: list[int] = field(default_factory=list)
    """With so many packets from the client, it gets a new port."""
    new_address: bool = False
    """And a new address."""
    seed: int = 0


@dataclass
class Counters:
    """What did happen."""

    up: int = 0
    """Packets handed over to the server."""
    down: int = 0
    lost_up: int = 0
    lost_down: int = 0
    stale: int = 0
    """Packets of the server's to an address that the client does not have any more; they are dropped."""
    bindings: list[list[object]] = field(default_factory=list)
    """Addresses and ports that the client had outside, in order."""


class Nat:
    """Translates the source of what the client sends, and back."""

    def __init__(self, options: Options, counters: Counters) -> None:
        self._rebind_after = sorted(options.rebind_after, reverse=True)
        self._new_address = options.new_address
        self._counters = counters
        self._inside: tuple[bytes, bytes] | None = None
        self._outside: tuple[bytes, bytes] | None = None
        self._packets = 0

    def outbound(self, packet: bytearray) -> None:
        """*packet* is one of the client's, an IPv4 packet; its source is changed."""
        start = _udp_start(packet)
        source = bytes(packet[12:16]), bytes(packet[start : start + 2])
        self._packets += 1
        if self._inside != source:
            self._inside = source
            self._bind(source[0])
        elif self._rebind_after and self._packets >= self._rebind_after[-1]:
            self._rebind_after.pop()
            self._bind(source[0])
        assert self._outside is not None
        packet[12:16], packet[start : start + 2] = self._outside
        _fix_checksums(packet, start)

    def inbound(self, packet: bytearray) -> bool:
        """The same for the server's packets and their destination; False for one to nobody."""
        start = _udp_start(packet)
        if self._inside is None or self._outside != (
            bytes(packet[16:20]),
            bytes(packet[start + 2 : start + 4]),
        ):
            self._counters.stale += 1
            return False
        packet[16:20], packet[start + 2 : start + 4] = self._inside
        _fix_checksums(packet, start)
        return True

    def _bind(self, address: bytes) -> None:
        count = len(self._counters.bindings)
        if self._new_address:
            address = address[:3] + bytes([address[3] + count])
        port = _FIRST_PORT + count
        self._outside = address, port.to_bytes(2, "big")
        self._counters.bindings.append([socket.inet_ntoa(address), port])


def _udp_start(packet: bytearray) -> int:
    return (packet[0] & 0x0F) * 4


def _fix_checksums(packet: bytearray, start: int) -> None:
    packet[10:12] = b"\0\0"
    words = struct.unpack(f"!{start // 2}H", packet[:start])
    total = sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    packet[10:12] = (total ^ 0xFFFF).to_bytes(2, "big")
    packet[start + 6 : start + 8] = b"\0\0"  # none, which UDP over IPv4 allows


class Middlebox:
    """Two interfaces, and what is on its way between them."""

    def __init__(self, client: str, server: str, options: Options) -> None:
        self._options = options
        self._random = random.Random(options.seed)
        self.counters = Counters()
        self._nat = Nat(options, self.counters)
        self._client, self._server = _open(client), _open(server)
        self._waiting: list[tuple[float, int, socket.socket, bytes]] = []
        self._sequence = 0
        self.stopped = False

    def run(self) -> None:
        """Until it is stopped."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._client, selectors.EVENT_READ)
            selector.register(self._server, selectors.EVENT_READ)
            while not self.stopped:
                wait = max(self._waiting[0][0] - time.monotonic(), 0) if self._waiting else 0.1
                for key, _ in selector.select(wait):
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)
                self._deliver()

    def _read(self, sock: socket.socket) -> None:
        for _ in range(_BATCH):
            try:
                frame, (_, _, kind, *_) = sock.recvfrom(65535)
            except BlockingIOError:
                return
            if kind != socket.PACKET_OUTGOING and _is_udp(frame):
                self._take(bytearray(frame), is_up=sock is self._client)

    def _take(self, frame: bytearray, *, is_up: bool) -> None:
        packet = frame[_ETHERNET:]
        if is_up:
            self._nat.outbound(packet)
        elif not self._nat.inbound(packet):
            return
        if self._random.random() < self._options.loss:
            if is_up:
                self.counters.lost_up += 1
            else:
                self.counters.lost_down += 1
            return
        self._sequence += 1
        target = self._server if is_up else self._client
        due = time.monotonic() + self._options.delay
        entry = due, self._sequence, target, bytes(frame[:_ETHERNET] + packet)
        heapq.heappush(self._waiting, entry)

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._waiting and self._waiting[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._waiting)
            try:
                target.send(frame)
            except BlockingIOError:
                continue  # a full queue of the kernel's is one more place to lose packets in
            if target is self._server:
                self.counters.up += 1
            else:
                self.counters.down += 1


def _open(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4))
    sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    sock.bind((interface, _IPV4))
    sock.setblocking(False)
    return sock


def _is_udp(frame: bytes) -> bool:
    return len(frame) > _ETHERNET + 28 and frame[12:14] == b"\x08\0" and frame[23] == _UDP


def main() -> None:
    box = Middlebox("client", "server", Options(**json.loads(sys.argv[1])))

    def stop(number: int, frame: FrameType | None) -> None:
        box.stopped = True

    signal.signal(signal.SIGTERM, stop)
    print("ready")
    box.run()
    print(json.dumps(asdict(box.counters)))


if __name__ == "__main__":
    main()
