"""Packets out of captured datagrams, decrypted with the key log of either side (RFC 9850)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cwt._core.crypto.keys import Key, initial_keys, make_key
from cwt._core.wire import frame as frames
from cwt._core.wire import packet as packets
from cwt._core.wire.frame import FrameType
from cwt._core.wire.packet import PacketType
from cwt.errors import TransportError
from tests.interop.runner.link import Address, Datagram

__all__ = ["Packet", "Trace", "read_keylog"]

_LABELS = {
    ("CLIENT_EARLY_TRAFFIC_SECRET", PacketType.ZERO_RTT, True),
    ("CLIENT_HANDSHAKE_TRAFFIC_SECRET", PacketType.HANDSHAKE, True),
    ("SERVER_HANDSHAKE_TRAFFIC_SECRET", PacketType.HANDSHAKE, False),
    ("CLIENT_TRAFFIC_SECRET_0", PacketType.ONE_RTT, True),
    ("SERVER_TRAFFIC_SECRET_0", PacketType.ONE_RTT, False),
}
_CLIENT_HELLO, _SERVER_HELLO, _CERTIFICATE, _COMPRESSED_CERTIFICATE = 1, 2, 11, 25

KeyLog = dict[tuple[str, bytes], bytes]


def read_keylog(*paths: Path) -> KeyLog:
    """``(label, client random) -> secret`` of all *paths* that there are."""
    found: KeyLog = {}
    for path in paths:
        if path.exists():
            for line in path.read_text().splitlines():
                words = line.split()
                if len(words) == 3 and not line.startswith("#"):
                    found[words[0], bytes.fromhex(words[1])] = bytes.fromhex(words[2])
    return found


@dataclass(slots=True)
class Packet:
    """A packet, and what could be read of it."""

    datagram: Datagram
    type: PacketType
    version: int
    dcid: bytes
    scid: bytes
    token: bytes
    size: int
    payload: int = 0
    """Bytes of the decrypted payload."""
    number: int = -1
    key_phase: int = 0
    frames: list[tuple[Any, ...]] | None = None
    """None when there was no key for it, or it was corrupted."""

    def has(self, *kinds: int) -> bool:
        """Whether there is a frame of one of *kinds*."""
        return any(item[0] in kinds for item in self.frames or ())


@dataclass
class _Connection:
    """One attempt of a client, and its keys."""

    client_cid: bytes
    original: bytes
    keys: dict[tuple[PacketType, bool], Key] = field(default_factory=dict)
    largest: dict[tuple[int, bool], int] = field(default_factory=dict)
    phase: dict[bool, int] = field(default_factory=lambda: {True: 0, False: 0})
    crypto: dict[tuple[PacketType, bool], dict[int, bytes]] = field(default_factory=dict)
    random: bytes | None = None
    cipher_suite: int | None = None
    server_cids: set[bytes] = field(default_factory=set)
    client_cids: set[bytes] = field(default_factory=set)
    version: int = 1


class Trace:
    """The packets at one end, in order of time.

    ``packets`` has them all; what is asked for is found by the methods.
    """

    def __init__(self, datagrams: Sequence[Datagram], keylog: KeyLog) -> None:
        self._keylog = keylog
        self._connections: list[_Connection] = []
        self._by_cid: dict[bytes, _Connection] = {}
        self._by_client: dict[Address, _Connection] = {}
        self.packets: list[Packet] = []
        # What is needed to open a packet may come after it, as with 0-RTT: that takes a second look.
        late: list[tuple[Packet, bytes, int, _Connection]] = []
        for datagram in datagrams:
            for packet, data, offset in self._split(datagram):
                self.packets.append(packet)
                connection = self._connection(packet)
                if connection is not None and not self._open(packet, data, offset, connection):
                    late.append((packet, data, offset, connection))
        for packet, data, offset, connection in late:
            self._open(packet, data, offset, connection)

    # What checks ask

    def of(self, kind: PacketType, from_client: bool) -> Iterator[Packet]:
        """The packets of one type from one side."""
        for packet in self.packets:
            if packet.type == kind and packet.datagram.from_client == from_client:
                yield packet

    def handshakes(self) -> int:
        """How many handshakes the server took part in: the Source Connection IDs of its Initials."""
        return len({packet.scid for packet in self.of(PacketType.INITIAL, False)})

    def versions(self, kind: PacketType, from_client: bool) -> set[int]:
        """The versions of the packets of one type from one side."""
        return {packet.version for packet in self.of(kind, from_client)}

    def messages(self, kind: PacketType, from_client: bool) -> list[tuple[int, bytes]]:
        """The TLS messages, ``(type, body)``, that one side sent in packets of one type."""
        found = []
        for connection in self._connections:
            data = _joined(connection.crypto.get((kind, from_client), {}))
            while len(data) >= 4 and len(data) >= 4 + int.from_bytes(data[1:4], "big"):
                end = 4 + int.from_bytes(data[1:4], "big")
                found.append((data[0], data[4:end]))
                data = data[end:]
        return found

    def crypto_bytes(self, kind: PacketType, from_client: bool) -> int:
        """The most CRYPTO bytes of one connection in packets of one type from one side."""
        ends = [
            offset + len(data)
            for connection in self._connections
            for offset, data in connection.crypto.get((kind, from_client), {}).items()
        ]
        return max(ends, default=0)

    def certificates(self) -> list[bool]:
        """For each handshake, whether the server sent a Certificate message."""
        found = []
        for connection in self._connections:
            data = _joined(connection.crypto.get((PacketType.HANDSHAKE, False), {}))
            kinds = []
            while len(data) >= 4:
                kinds.append(data[0])
                data = data[4 + int.from_bytes(data[1:4], "big") :]
            if kinds:
                found.append(_CERTIFICATE in kinds or _COMPRESSED_CERTIFICATE in kinds)
        return found

    # How it is read

    def _split(self, datagram: Datagram) -> Iterator[tuple[Packet, bytes, int]]:
        data = datagram.data
        while data:
            length = self._short_cid_length(datagram, data)
            parsed = packets.parse(data, min(length, len(data) - 1))
            if parsed is None:
                return
            kind, version, dcid, scid, token, offset, end = parsed
            if kind in (PacketType.VERSION_NEGOTIATION, PacketType.RETRY):
                end = len(data)
            yield (
                Packet(datagram, PacketType(kind), version, dcid, scid, token, end),
                data[:end],
                offset,
            )
            data = data[end:]

    def _short_cid_length(self, datagram: Datagram, data: bytes) -> int:
        if data[0] & 0x80:
            return 0
        connection = self._by_client.get(datagram.client)
        for known in reversed(self._connections):
            cids = known.server_cids if datagram.from_client else known.client_cids
            for cid in cids:
                if cid and data[1:].startswith(cid):
                    return len(cid)
        if connection is None:
            return 8
        cids = connection.server_cids if datagram.from_client else connection.client_cids
        return max(map(len, cids), default=0)

    def _connection(self, packet: Packet) -> _Connection | None:
        """The connection *packet* belongs to; a new one with a client's first Initial."""
        datagram = packet.datagram
        if packet.type == PacketType.RETRY:
            connection = self._by_client.get(datagram.client)
            if connection is not None:
                connection.original = packet.scid
                self._set_initial_keys(connection)
            return None
        if packet.type == PacketType.VERSION_NEGOTIATION:
            return None
        if datagram.from_client:
            found = self._by_cid.get(packet.dcid)
        else:
            found = self._by_cid.get(packet.dcid) if packet.dcid else None
        if found is None:
            found = self._by_client.get(datagram.client)
        if packet.type == PacketType.INITIAL and datagram.from_client:
            is_new = found is None or (
                packet.scid != found.client_cid and packet.dcid not in found.server_cids
            )
            # A client with an empty connection ID, or one that a corrupted header does not tell apart.
            if is_new or (found and not packet.scid and packet.dcid not in self._known_of(found)):
                found = _Connection(packet.scid, packet.dcid, version=packet.version)
                self._connections.append(found)
                self._by_cid[packet.dcid] = found
                if packet.scid:
                    self._by_cid[packet.scid] = found
                found.client_cids.add(packet.scid)
                self._by_client[datagram.client] = found
                self._set_initial_keys(found)
        return found

    @staticmethod
    def _known_of(connection: _Connection) -> set[bytes]:
        return {connection.original, *connection.server_cids}

    @staticmethod
    def _set_initial_keys(connection: _Connection) -> None:
        # ``initial_keys`` gives what a side reads with and what it writes with.
        for version in (connection.version,):
            try:
                to_client, to_server = initial_keys(version, connection.original, True)
            except (ValueError, KeyError):
                return
            connection.keys[PacketType.INITIAL, False] = to_client
            connection.keys[PacketType.INITIAL, True] = to_server

    def _open(self, packet: Packet, data: bytes, offset: int, connection: _Connection) -> bool:
        """Decrypt *packet*; False when there is no key for it yet."""
        from_client = packet.datagram.from_client
        if packet.type == PacketType.INITIAL and packet.version != connection.version:
            self._change_version(connection, packet.version)
        key = connection.keys.get((packet.type, from_client))
        if key is None:
            return False
        opened = _unprotect(packet, data, offset, connection, key)
        if opened is None:
            return packet.type != PacketType.ZERO_RTT
        packet.payload = len(opened)
        try:
            packet.frames = frames.parse(opened)
        except TransportError:
            packet.frames = []
            return True
        if not from_client and packet.scid:
            connection.server_cids.add(packet.scid)
            self._by_cid[packet.scid] = connection
        self._learn(packet, connection)
        return True

    def _change_version(self, connection: _Connection, version: int) -> None:
        """Compatible version negotiation (RFC 9368 Section 2.3): the keys are those of the new version."""
        before = connection.version, dict(connection.keys)
        connection.version = version
        self._set_initial_keys(connection)
        if connection.keys == before[1]:
            connection.version = before[0]

    def _learn(self, packet: Packet, connection: _Connection) -> None:
        from_client = packet.datagram.from_client
        for item in packet.frames or ():
            if item[0] == FrameType.CRYPTO:
                pieces = connection.crypto.setdefault((packet.type, from_client), {})
                pieces[item[1]] = max(pieces.get(item[1], b""), item[2], key=len)
                self._learn_keys(connection)
            elif item[0] == FrameType.NEW_CONNECTION_ID:
                cid = next(part for part in item[1:] if isinstance(part, bytes))
                (connection.client_cids if from_client else connection.server_cids).add(cid)
                self._by_cid[cid] = connection

    def _learn_keys(self, connection: _Connection) -> None:
        if connection.random is None:
            hello = _joined(connection.crypto.get((PacketType.INITIAL, True), {}))
            if len(hello) >= 38 and hello[0] == _CLIENT_HELLO:
                connection.random = hello[6:38]
        if connection.cipher_suite is None:
            hello = _joined(connection.crypto.get((PacketType.INITIAL, False), {}))
            if len(hello) >= 39 and hello[0] == _SERVER_HELLO and len(hello) >= 41 + hello[38]:
                start = 39 + hello[38]
                connection.cipher_suite = int.from_bytes(hello[start : start + 2], "big")
        if connection.random is None or connection.cipher_suite is None:
            return
        for label, kind, from_client in _LABELS:
            secret = self._keylog.get((label, connection.random))
            if secret is not None and (kind, from_client) not in connection.keys:
                connection.keys[kind, from_client] = make_key(
                    connection.cipher_suite, secret, connection.version
                )


def _joined(pieces: dict[int, bytes]) -> bytes:
    """The bytes from offset 0 on without a gap."""
    out = bytearray()
    for offset in sorted(pieces):
        if offset > len(out):
            break
        out += pieces[offset][len(out) - offset :]
    return bytes(out)


def _unprotect(
    packet: Packet, data: bytes, offset: int, connection: _Connection, key: Key
) -> bytes | None:
    """The payload of *packet*, whose number and key phase are set; None when it does not decrypt."""
    if len(data) < offset + 20:
        return None
    from_client = packet.datagram.from_client
    is_short = packet.type == PacketType.ONE_RTT
    head = bytearray(data)
    [mask] = key.header_protection.masks(data[offset + 4 : offset + 20])
    head[0] ^= mask[0] & (0x1F if is_short else 0x0F)
    length = (head[0] & 3) + 1
    for i in range(length):
        head[offset + i] ^= mask[1 + i]
    space = min(int(packet.type), 5)
    if packet.type == PacketType.ZERO_RTT:
        space = int(PacketType.ONE_RTT)
    largest = connection.largest.get((space, from_client), -1)
    truncated = int.from_bytes(head[offset : offset + length], "big")
    packet.number = packets.decode_packet_number(truncated, length, largest + 1)
    candidates = [key]
    if is_short:
        packet.key_phase = head[0] >> 2 & 1
        if packet.key_phase != connection.phase[from_client] & 1:
            candidates = [key.updated(), key]
    for candidate in candidates:
        trial = bytearray(head)
        opened = candidate.aead.open_batch(trial, len(trial), offset + length, packet.number)
        if opened == [True]:
            if candidate is not key:
                connection.keys[packet.type, from_client] = candidate
                connection.phase[from_client] += 1
            connection.largest[space, from_client] = max(largest, packet.number)
            return bytes(trial[offset + length : -16])
    return None


def acknowledges_ecn(packet_list: Iterable[Packet]) -> bool:
    """Whether there is an ACK frame with ECN counts (RFC 9000 Section 19.3.2)."""
    return any(
        item[0] == FrameType.ACK and item[3] is not None
        for packet in packet_list
        for item in packet.frames or ()
    )
