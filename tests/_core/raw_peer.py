"""A QUIC peer that says whatever a test wants: real keys and TLS, no rules of its own.

It joins one end under test, an Endpoint or a Connection, without a network or time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from random import Random
from typing import Any, NamedTuple

from cwt import quic
from cwt._core.connection import Connection
from cwt._core.crypto.keys import Key, initial_keys, make_key, retry_integrity_tag
from cwt._core.wire import frame as frames
from cwt._core.wire import packet as packets
from cwt._core.wire import varint
from cwt._core.wire.params import TransportParameters
from cwt._types import RecvInfo, SendInfo
from cwt.config import TransportConfig
from cwt.testing import CLIENT, SERVER
from cwt.tls import ClientContext, Group, Handshake, Level, ServerContext, SessionCache
from cwt.tls.development import DevelopmentCertificate, certificate_authority, issue

INITIAL, HANDSHAKE, ONE_RTT, ZERO_RTT = range(4)
LEVELS = (Level.INITIAL, Level.HANDSHAKE, Level.APPLICATION, Level.EARLY)
NAME = "server.test"
CID = b"raw peer"
FIRST_DCID = b"original"
V2 = 0x6B3343CF


# Frames as bytes.


def frame(*parts: int | bytes) -> bytes:
    """Integers as varints, bytes as they are."""
    return b"".join(varint.encode(part) if isinstance(part, int) else part for part in parts)


def crypto(offset: int, data: bytes) -> bytes:
    return frame(0x06, offset, len(data), data)


def stream(stream_id: int, data: bytes = b"", offset: int = 0, fin: bool = False) -> bytes:
    return frame(0x0E | fin, stream_id, offset, len(data), data)


def ack(
    largest: int, first: int = 0, *pairs: int, delay: int = 0, ecn: tuple[int, ...] = ()
) -> bytes:
    """*pairs* are gap and length of each further range, *ecn* the counts of ECT(0), ECT(1) and CE."""
    kind = 0x03 if ecn else 0x02
    return frame(kind, largest, delay, len(pairs) // 2, first, *pairs, *ecn)


def new_connection_id(
    sequence: int, cid: bytes, *, retire_prior_to: int = 0, token: bytes | None = None
) -> bytes:
    token = sequence.to_bytes(16, "big") if token is None else token
    return frame(0x18, sequence, retire_prior_to, bytes([len(cid)]), cid, token)


PING = b"\x01"
PADDING = b"\x00"


# Contexts, made once.


@cache
def certificate() -> DevelopmentCertificate:
    return issue(certificate_authority(), [NAME], kind="ed25519")


@cache
def server_context(alpn: bytes = b"h3") -> ServerContext:
    made = certificate()
    return ServerContext(alpn=[alpn], certificate_chain=made.chain, private_key=made.private_key)


@cache
def client_context(alpn: bytes = b"h3") -> ClientContext:
    return ClientContext(alpn=[alpn], verify=False, groups=[Group.X25519])


def server_endpoint(
    config: TransportConfig | None = None, context: ServerContext | None = None, **options: Any
) -> Any:
    return quic.Endpoint(
        config or TransportConfig(grease=False, mtu_discovery=False),
        tls=context or server_context(),
        random=Random("server").randbytes,
        secrets=[bytes(range(32))],
        **options,
    )


class Received(NamedTuple):
    """A frame that the end under test sent, as ``frame.parse`` gives it."""

    space: int
    number: int
    frame: tuple[Any, ...]
    to: Any = None
    """The address its datagram was sent to."""
    from_: Any = None
    dcid: bytes = b""


class RawPeer:
    """The other end of *end*: see :class:`RawClient` and :class:`RawServer`."""

    is_client: bool

    def __init__(
        self, end: Any, *, now: float = 1.0, answer: bool = True, version: int = 1
    ) -> None:
        self.end = end
        self.version = version
        """Of the packets sent; a client follows its server."""
        self.now = now
        self.answer = answer
        """Whether TLS answers by itself."""
        self.address, self.end_address = (CLIENT, SERVER) if self.is_client else (SERVER, CLIENT)
        self.scid = CID
        self.dcid = b""
        self.read: list[Key | None] = [None] * 4
        self.write: list[Key | None] = [None] * 4
        self.numbers = [0, 0, 0]
        self.largest = [-1, -1, -1]
        """By packet number space, which 0-RTT and 1-RTT share."""
        self.key_phase = 0
        self.received: list[Received] = []
        self.datagrams: list[bytes] = []
        """Everything the end sent, as it came."""
        self.destinations: list[Any] = []
        """Where it sent each of them."""
        self._info = SendInfo(None, None, 0.0)  # type: ignore[arg-type]
        self.codepoints: list[int] = []
        """With which ECN bits."""
        self.marked: list[set[int]] = [set(), set(), set()]
        """Numbers of the packets with ECN bits, by space."""
        self.opaque: list[bytes] = []
        """Packets of it that could not be opened."""
        self.tls: Handshake | None = None
        self.crypto_sent = [0, 0, 0]
        self._crypto: list[dict[int, bytes]] = [{}, {}, {}]
        self._crypto_read = [0, 0, 0]

    # -- out

    def packet(
        self,
        space: int,
        payload: bytes,
        *,
        number: int | None = None,
        reserved: int = 0,
        dcid: bytes | None = None,
        scid: bytes | None = None,
        token: bytes = b"",
        key: Key | None = None,
        key_phase: int | None = None,
        first_byte: int = 0,
        number_length: int = 2,
        version: int | None = None,
        quic_bit: int = 0x40,
    ) -> bytes:
        """A protected packet; *reserved* are its two reserved bits, *first_byte* is xored in late."""
        if number is None:
            number = self.numbers[min(space, ONE_RTT)]
            self.numbers[min(space, ONE_RTT)] += 1
        dcid = self.dcid if dcid is None else dcid
        scid = self.scid if scid is None else scid
        key = key or self.write[space]
        assert key is not None, f"no keys to write in space {space}"
        truncated = (number & ((1 << 8 * number_length) - 1)).to_bytes(number_length, "big")
        payload = payload + bytes(max(4 - number_length - len(payload), 0)) if payload else payload
        if space == ONE_RTT:
            phase = self.key_phase if key_phase is None else key_phase
            head = bytes([quic_bit | reserved << 3 | phase << 2 | number_length - 1]) + dcid
        else:
            version = self.version if version is None else version
            kind = (0, 2, 0, 1)[space] + (version == V2)
            head = bytes([0x80 | quic_bit | kind << 4 | reserved << 2 | number_length - 1])
            head += version.to_bytes(4, "big")
            head += bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
            if space == INITIAL:
                head += frame(len(token), token)
            length = number_length + len(payload) + 16
            head += (0x4000 | length).to_bytes(2, "big")
        return self._seal(head + truncated, payload, key, number, number_length, first_byte)

    @staticmethod
    def _seal(
        head: bytes, payload: bytes, key: Key, number: int, number_length: int, first_byte: int
    ) -> bytes:
        sealed = bytearray(head + payload + bytes(16))
        key.aead.seal_batch(sealed, len(sealed), len(head), number)
        start = len(head) - number_length
        [mask] = key.header_protection.masks(bytes(sealed[start + 4 : start + 20]).ljust(16, b"\0"))
        sealed[0] ^= mask[0] & (0x0F if sealed[0] & 0x80 else 0x1F)
        for i in range(number_length):
            sealed[start + i] ^= mask[1 + i]
        sealed[0] ^= first_byte
        return bytes(sealed)

    def inject(self, datagram: bytes, *, address: Any = None, to: Any = None, ecn: int = 0) -> None:
        """Hand *datagram* to the end, whose answer waits for :meth:`collect`."""
        info = RecvInfo(address or self.address, to or self.end_address, ecn)
        self.end.recv(datagram, info, self.now)

    def send(self, space: int, payload: bytes, **options: Any) -> None:
        """One packet in a datagram, padded as its kind must be, and what comes back."""
        self.inject(self.padded(space, payload, **options))
        self.collect()

    def padded(self, space: int, payload: bytes, **options: Any) -> bytes:
        """A datagram of one packet; with an Initial packet in it, of 1200 bytes."""
        if space == INITIAL:
            empty = len(self.packet(space, b"", number=0, **{**options, "number_length": 2}))
            payload = payload.ljust(1200 - empty, b"\0")
        return self.packet(space, payload, **options)

    def send_crypto(self, space: int, data: bytes) -> None:
        """CRYPTO bytes that continue the stream of *space*."""
        for start in range(0, len(data), 1000):
            part = data[start : start + 1000]
            self.inject(self.padded(space, crypto(self.crypto_sent[space], part)))
            self.crypto_sent[space] += len(part)

    # -- in

    def collect(self) -> list[Received]:
        """Take what the end sends until it falls silent; TLS answers when it may."""
        before = len(self.received)
        while (out := self.end.send(self.now)) is not None:
            self.datagrams.append(out[0])
            self.destinations.append(out[1].to)
            self._info = out[1]
            self.codepoints.append(out[1].ecn)
            self._datagram(out[0], out[1].ecn)
        return self.received[before:]

    def advance(self, seconds: float) -> list[Received]:
        """Let time pass, with every timer of the end run when it is due."""
        stop = self.now + seconds
        before = len(self.received)
        for _ in range(10_000):
            self.collect()
            delay = self.end.timeout(self.now)
            if delay is None or self.now + delay > stop:
                self.now = stop
                return self.received[before:]
            self.now += max(delay, 1e-6)
            self.end.on_timeout(self.now)
        raise AssertionError("the timers of the end never stop")

    def _datagram(self, data: bytes, ecn: int = 0) -> None:
        while data:
            parsed = packets.parse(data, len(self.scid))
            if parsed is None:
                self.opaque.append(data)
                return
            kind, version, dcid, scid, _, offset, end = parsed
            if version not in (0, self.version):
                self.other_version(version)
            space = {0: INITIAL, 1: ZERO_RTT, 2: HANDSHAKE, 5: ONE_RTT}.get(kind)
            if space is None or self.read[space] is None:
                self.opaque.append(data[:end])
            else:
                self._open(space, data[:end], offset, scid, dcid, ecn)
            data = data[end:]

    def other_version(self, version: int) -> None:
        """The end sent a long header of another *version* than ours."""

    def _open(
        self, space: int, data: bytes, offset: int, scid: bytes, dcid: bytes, ecn: int
    ) -> None:
        key = self.read[space]
        assert key is not None
        packet = bytearray(data)
        if len(packet) < offset + 20:
            self.opaque.append(data)
            return
        [mask] = key.header_protection.masks(bytes(packet[offset + 4 : offset + 20]))
        packet[0] ^= mask[0] & (0x0F if packet[0] & 0x80 else 0x1F)
        length = (packet[0] & 3) + 1
        for i in range(length):
            packet[offset + i] ^= mask[1 + i]
        truncated = int.from_bytes(packet[offset : offset + length], "big")
        counted = min(space, ONE_RTT)
        number = packets.decode_packet_number(truncated, length, self.largest[counted] + 1)
        head = offset + length
        sealed = bytes(packet)
        for candidate in (key, key.updated()) if space == ONE_RTT else (key,):
            packet = bytearray(sealed)
            if candidate.aead.open_batch(packet, len(packet), head, number) == [True]:
                break
        else:
            self.opaque.append(data)
            return
        self.read[space] = candidate
        self.largest[counted] = max(self.largest[counted], number)
        if ecn:
            self.marked[counted].add(number)
        if space != ONE_RTT and self.is_client:
            self.dcid = scid
        for parsed in frames.parse(bytes(packet[head:-16])):
            to, from_ = self._info[:2]
            self.received.append(Received(space, number, parsed, to, from_, dcid))
            if parsed[0] == frames.FrameType.CRYPTO:
                self._crypto[space][int(parsed[1])] = bytes(parsed[2])  # type: ignore[call-overload]
        self._feed()

    def _feed(self) -> None:
        if self.tls is None:
            return
        for space in range(3):
            while (data := self._crypto[space].pop(self._crypto_read[space], None)) is not None:
                self._crypto_read[space] += len(data)
                self.tls.receive(LEVELS[space], data)
                self.take_secrets()
                if self.answer:
                    self.send_tls()

    def take_secrets(self) -> None:
        assert self.tls is not None
        for level, is_write, suite, secret in self.tls.secrets():
            keys = self.write if is_write else self.read
            keys[LEVELS.index(Level(level))] = make_key(suite, secret, self.version)

    def send_tls(self) -> None:
        """Send the CRYPTO bytes TLS has."""
        assert self.tls is not None
        for level, data in self.tls.output():
            self.send_crypto(LEVELS.index(Level(level)), data)

    # -- what came

    def frames(self, *kinds: int) -> list[tuple[Any, ...]]:
        """The frames received so far of one of *kinds*, in order."""
        return [item.frame for item in self.received if item.frame[0] in kinds]

    @property
    def closed(self) -> tuple[int, int, bytes] | None:
        """Code, frame type and reason of the first CONNECTION_CLOSE, or None."""
        found = self.frames(0x1C, 0x1D)
        return found[0][1:] if found else None

    @property
    def close_code(self) -> int | None:
        return self.closed[0] if self.closed else None


def parameters(**values: Any) -> TransportParameters:
    """Transport parameters that allow the end under test plenty."""
    values.setdefault("initial_max_data", 1 << 20)
    for name in ("bidi_local", "bidi_remote", "uni"):
        values.setdefault(f"initial_max_stream_data_{name}", 1 << 18)
    values.setdefault("initial_max_streams_bidi", 100)
    values.setdefault("initial_max_streams_uni", 100)
    values.setdefault("initial_source_connection_id", CID)
    return TransportParameters(**values)


class RawClient(RawPeer):
    """A client against an Endpoint that accepts."""

    is_client = True

    def __init__(
        self,
        end: Any,
        *,
        params: bytes | None = None,
        context: ClientContext | None = None,
        alter: Callable[[Any], None] | None = None,
        dcid: bytes = FIRST_DCID,
        scid: bytes = CID,
        **options: Any,
    ) -> None:
        super().__init__(end, **options)
        self.first_dcid = self.dcid = dcid
        self.scid = scid
        if params is None:
            params = parameters(initial_source_connection_id=scid).encode()
        self.read[0], self.write[0] = initial_keys(self.version, dcid, True)
        self.tls = (context or client_context()).handshake(NAME, params)
        if alter is not None:
            alter(self.tls)
        self.tls.start()
        self.take_secrets()
        self.connection: Connection | None = None

    def other_version(self, version: int) -> None:
        """Follow the server (RFC 9369 Section 4.1)."""
        self.version = version
        self.read[0], self.write[0] = initial_keys(version, self.first_dcid, True)

    def hello(self) -> bytes:
        """The ClientHello."""
        assert self.tls is not None
        [(_, data)] = self.tls.output()
        return data

    def connect(self) -> RawClient:
        """The whole handshake, or as much of it as the server takes part in."""
        self.send_tls()
        self.collect()
        self.connection = next(iter(self.end.ready()), self.connection)
        return self


class EarlyServer:
    """A server that takes 0-RTT, and clients that have a session of it."""

    def __init__(self, config: TransportConfig | None = None) -> None:
        made = certificate()
        self.context = ServerContext(
            alpn=[b"h3"],
            certificate_chain=made.chain,
            private_key=made.private_key,
            early_data=True,
        )
        self.cache = SessionCache()
        self.endpoint = server_endpoint(config, self.context)
        self.clients = ClientContext(
            alpn=[b"h3"],
            verify=False,
            groups=[Group.X25519],
            session_cache=self.cache,
            early_data=True,
        )
        first = self.client().connect()
        assert len(self.cache) == 1 and first.write[ZERO_RTT] is None
        first.send(ONE_RTT, frame(0x1D, 0, 0))
        first.advance(10)
        self.endpoint.ready()

    def client(self, **options: Any) -> RawClient:
        """A client that has not sent anything, with keys for 0-RTT from the second one on."""

        def alter(tls: Any) -> None:
            tls.remembered_parameters = b"limits"

        return RawClient(self.endpoint, context=self.clients, alter=alter, **options)

    def greeted(self, **options: Any) -> RawClient:
        """A client that the server has answered, and that does not go on yet."""
        client = self.client(answer=False, **options)
        client.connect()
        assert client.connection is not None
        return client


class RawServer(RawPeer):
    """A server against a client connection."""

    is_client = False

    def __init__(
        self,
        end: Any,
        *,
        context: ServerContext | None = None,
        alter: Callable[[TransportParameters], None] | None = None,
        scid: bytes = CID,
        **options: Any,
    ) -> None:
        super().__init__(end, **options)
        self.scid = scid
        self._context = context or server_context()
        self._alter = alter
        self.original = b""

    def listen(self) -> RawServer:
        """Take the client's first flight and answer it."""
        out = self.end.send(self.now)
        assert out is not None, "the client sends nothing"
        self.take_first(out[0])
        self.collect()
        return self

    def take_first(self, datagram: bytes) -> None:
        """Learn the connection IDs from the client's first *datagram*."""
        parsed = packets.parse(datagram, 8)
        assert parsed is not None
        self.original, self.dcid = parsed[2], parsed[3]
        self.version = parsed[1]
        self.read[0], self.write[0] = initial_keys(self.version, self.original, False)
        params = parameters(original_destination_connection_id=self.original)
        if self._alter is not None:
            self._alter(params)
        self.tls = self._context.handshake(params.encode())
        self.tls.start()
        self.datagrams.append(datagram)
        self._datagram(datagram)

    def take_after_retry(self, datagram: bytes, original: bytes, named: bytes | None) -> None:
        """The client's first *datagram* after a Retry to *original*; *named* is in our parameters."""
        before = self._alter

        def alter(params: TransportParameters) -> None:
            params.original_destination_connection_id = original
            params.retry_source_connection_id = named
            params.initial_source_connection_id = self.scid
            if before is not None:
                before(params)

        self._alter = alter
        self.take_first(datagram)

    def send_back(self, token: bytes, scid: bytes) -> bytes:
        """Answer the client's first flight with a Retry packet; the first datagram that it sends then."""
        first = self.end.send(self.now)
        assert first is not None, "the client sends nothing"
        self.take_first(first[0])
        while self.end.send(self.now):
            pass
        self.inject(self.retry(token, scid))
        again = self.end.send(self.now)
        assert again is not None, "the client does not take the Retry"
        datagram: bytes = again[0]
        return datagram

    def retry(self, token: bytes = b"token", scid: bytes = b"retry id") -> bytes:
        """A Retry packet for the first datagram."""
        body = packets.retry_without_tag(self.version, self.dcid, scid, token)
        return body + retry_integrity_tag(self.version, self.original, body)


def client_connection(
    config: TransportConfig | None = None, context: ClientContext | None = None
) -> tuple[Any, Connection]:
    """A client Endpoint and its connection to a raw server."""
    endpoint = quic.Endpoint(
        config or TransportConfig(grease=False, mtu_discovery=False),
        random=Random("client").randbytes,
    )
    connection = endpoint.connect(NAME, SERVER, context or client_context(), 1.0, local=CLIENT)
    return endpoint, connection
