"""Every door that a peer's bytes come through.

A target takes one input at a time.  What a door is documented to raise for bad input is caught here;
anything else that comes out is a bug.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

from cwt import h3, quic, webtransport
from cwt._core.crypto.keys import initial_keys, make_key
from cwt._core.qlog.frames import describe
from cwt._core.wire import frame, packet, varint
from cwt._core.wire.params import TransportParameters
from cwt._types import RecvInfo
from cwt.config import Config
from cwt.errors import StreamReset, TransportError
from cwt.h3 import frames as h3_frames
from cwt.h3.capsules import CapsuleError, CapsuleReader
from cwt.h3.fault import ConnectionFault, StreamFault
from cwt.h3.qpack import Decoder
from cwt.h3.settings import encode_settings
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER, Pair
from cwt.tls import ClientContext
from tests.fuzz import corpora, inputs
from tests.fuzz.target import Target
from tests.fuzz.tls_targets import TlsCertificates, TlsClient, TlsExchange, TlsServer
from tests.h3.fake import FakeQuic, pair
from tests.sim.world import NAME, server_context

MOST_OUT = 2000
"""Datagrams that one input may set loose before that counts as a flood."""


# -- parsers ---------------------------------------------------------------------------------------


class Varints(Target):
    name = "varint"

    def make(self, rng: Random) -> bytes:
        return inputs.blob(rng, 12)

    def feed(self, data: bytes) -> None:
        got = varint.decode(data)
        if got is not None:
            assert 0 <= got[0] <= varint.MAX
            assert 0 < got[1] <= len(data)
            assert varint.decode(varint.encode(got[0])) is not None


class Headers(Target):
    name = "headers"
    share = 2.0

    def make(self, rng: Random) -> bytes:
        return inputs.mixed(rng, corpora.packets(), inputs.header)

    def feed(self, data: bytes) -> None:
        for length in (0, 8, 20):
            got = packet.parse(data, length)
            assert got is None or got[6] <= len(data)
        try:
            quic.Header.from_slice(data)
        except ValueError:
            pass


class Frames(Target):
    name = "frames"
    share = 3.0

    def make(self, rng: Random) -> bytes:
        return inputs.mixed(rng, corpora.crypto_payloads(), inputs.payload)

    def feed(self, data: bytes) -> None:
        try:
            frame.parse(data)
        except TransportError:
            pass
        assert len(describe(data)) <= 512


class Parameters(Target):
    name = "transport-parameters"
    share = 2.0

    def make(self, rng: Random) -> bytes:
        return inputs.mixed(rng, (), inputs.transport_parameters)

    def feed(self, data: bytes) -> None:
        for from_client in (False, True):
            try:
                parsed = TransportParameters.parse(data, from_client)
            except TransportError:
                continue
            TransportParameters.parse(parsed.encode(), from_client)


class FieldSections(Target):
    name = "field-sections"
    share = 2.0

    def start(self) -> None:
        self.decoders = [
            Decoder(max_table_capacity=size, blocked_streams=4, max_size=16384, max_lines=64)
            for size in (0, 4096)
        ]

    def make(self, rng: Random) -> bytes:
        return inputs.mixed(rng, corpora.field_sections(), inputs.field_section)

    def feed(self, data: bytes) -> None:
        for decoder in self.decoders:
            try:
                got = decoder.decode(0, data)
                if got is None:
                    decoder.cancel(0)
                else:
                    assert sum(len(name) + len(value) for name, value in got[1]) <= 16384
            except (ConnectionFault, StreamFault):
                pass
        try:
            self.decoders[1].feed_encoder_stream(data)
        except ConnectionFault:
            self.start()


class Capsules(Target):
    name = "capsules"
    share = 2.0

    def make(self, rng: Random) -> bytes:
        made = inputs.mixed(rng, corpora.browser_streams(), inputs.capsule)
        return made + inputs.capsule(rng)

    def feed(self, data: bytes) -> None:
        reader = CapsuleReader(dict.fromkeys(inputs.CAPSULES[:-1], 100))
        step = 1 + len(data) % 7
        try:
            for start in range(0, len(data), step):
                for _, value in reader.feed(data[start : start + step]):
                    assert len(value) <= 100
        except CapsuleError:
            pass


# -- QUIC ------------------------------------------------------------------------------------------


def drain(end: Any, now: float) -> list[bytes]:
    """All that *end* wants to send; AssertionError when that is a flood."""
    out = []
    while (sent := end.send(now)) is not None:
        out.append(sent[0])
        assert len(out) < MOST_OUT, "one input set loose a flood"
    return out


def use(connection: Connection, now: float) -> None:
    """Do what an application does: read everything, write a little."""
    for stream_id in connection.readable():
        try:
            while (got := connection.stream_recv(stream_id)) is not None:
                if got[1] or not got[0]:
                    break
        except StreamReset:
            pass
    connection.writable()
    while connection.dgram_recv() is not None:
        pass
    delay = connection.timeout(now)
    if delay is not None and delay <= 0:
        connection.on_timeout(now)
    connection.stats()


class ServerDatagrams(Target):
    """Datagrams from anywhere to a server's port."""

    name = "datagrams-server"
    share = 1.5
    lifetime = 3000

    def start(self) -> None:
        self.endpoint = quic.Endpoint(
            Config(handshake_timeout=1.0),
            tls=server_context(b"h3"),
            random=self.rng.randbytes,
            max_connections=64,
        )
        self.now = 0.0
        self.count = 0
        self.sent = self.received = 0

    def make(self, rng: Random) -> bytes:
        made = inputs.mixed(rng, corpora.packets() + corpora.flights()[0], inputs.header)
        return made + bytes(max(0, 1200 - len(made))) if rng.random() < 0.7 else made

    def feed(self, data: bytes) -> None:
        self.count += 1
        if self.count > self.lifetime:
            self.start()
        self.now += 0.001
        source = ("192.0.2.1", 1024 + self.count % 50)
        self.endpoint.recv(data, RecvInfo(source, SERVER), self.now)
        self.received += len(data)
        for connection in self.endpoint.ready():
            use(connection, self.now)
        self.sent += sum(map(len, drain(self.endpoint, self.now)))
        delay = self.endpoint.timeout(self.now)
        if delay is not None and delay <= 0:
            self.endpoint.on_timeout(self.now)
        assert self.endpoint.connections <= 64
        # Section 8.1: no more than three times what came, over all addresses together.
        assert self.sent <= 3 * self.received


class ClientDatagrams(Target):
    """A server's datagrams, mutated, to a client in its handshake."""

    name = "datagrams-client"
    share = 0.6
    lifetime = 50

    def start(self) -> None:
        self.endpoint = quic.Endpoint(Config(), random=self.rng.randbytes)
        context = ClientContext(alpn=[b"h3"], verify=lambda chain, name: None)
        self.connection = self.endpoint.connect(NAME, SERVER, context, 0.0, local=CLIENT)
        self.now = 0.0
        self.count = 0
        drain(self.endpoint, 0.0)

    def make(self, rng: Random) -> bytes:
        data = bytearray(inputs.mixed(rng, corpora.packets() + corpora.flights()[1], inputs.header))
        scid = self.connection.source_id
        if len(data) > 6 + len(scid) and rng.random() < 0.8:  # addressed to this client
            data[5 : 6 + len(scid)] = bytes([len(scid)]) + scid
        return bytes(data)

    def feed(self, data: bytes) -> None:
        self.count += 1
        if self.count > self.lifetime or self.connection.is_closed:
            self.start()
        self.now += 0.001
        self.endpoint.recv(data, RecvInfo(SERVER, CLIENT), self.now)
        use(self.connection, self.now)
        drain(self.endpoint, self.now)


def seal(key: Any, header: bytes, number: int, payload: bytes) -> bytes:
    """A protected packet: *header* ends before the packet number, which takes four bytes."""
    header += number.to_bytes(4, "big")
    buffer = bytearray(header + payload + bytes(16))
    key.aead.seal_batch(buffer, len(buffer), len(header), number)
    at = len(header) - 4
    mask = key.header_protection.masks(bytes(buffer[at + 4 : at + 20]))[0]
    buffer[0] ^= mask[0] & (0x0F if buffer[0] & 0x80 else 0x1F)
    for index in range(4):
        buffer[at + index] ^= mask[1 + index]
    return bytes(buffer)


class InitialFrames(Target):
    """Valid Initial packets, each from a new client, with any frames in them."""

    name = "initial-frames"
    share = 0.5

    def start(self) -> None:
        self.now = 0.0
        self.count = 0
        self.endpoint = quic.Endpoint(
            Config(handshake_timeout=1.0),
            tls=server_context(b"h3"),
            random=self.rng.randbytes,
            max_connections=256,
        )

    def make(self, rng: Random) -> bytes:
        if rng.random() < 0.4:
            hello = rng.choice(corpora.client_hellos())
            hello = inputs.mutated(rng, hello) if rng.random() < 0.7 else hello
            at = rng.randrange(len(hello) + 1)
            pieces = [(0, hello[:at]), (at, hello[at:])]
            rng.shuffle(pieces)
            return b"".join(
                b"\x06" + inputs.integer(rng, offset) + inputs.with_length(rng, piece)
                for offset, piece in pieces
            )
        return inputs.payload(rng)

    def feed(self, data: bytes) -> None:
        self.count += 1
        if self.count > 3000:
            self.start()
        self.now += 0.001
        dcid = self.count.to_bytes(8, "big")
        for number in range(0, max(1, len(data)), 1100):
            piece = data[number : number + 1100]
            datagram = initial_packet(dcid, number // 1100, piece)
            source = ("192.0.2.1", 1024 + self.count)
            self.endpoint.recv(datagram, RecvInfo(source, SERVER), self.now)
        for connection in self.endpoint.ready():
            use(connection, self.now)
        drain(self.endpoint, self.now)
        delay = self.endpoint.timeout(self.now)
        if delay is not None and delay <= 0:
            self.endpoint.on_timeout(self.now)


def initial_packet(dcid: bytes, number: int, payload: bytes) -> bytes:
    payload = payload.ljust(1140, b"\0")
    key = initial_keys(1, dcid, True)[0]
    head = b"\xc3\0\0\0\1" + bytes([len(dcid)]) + dcid + b"\4fuzz" + b"\0"
    return seal(key, head + (0x4000 | len(payload) + 20).to_bytes(2, "big"), number, payload)


class KeyLog(io.StringIO):
    """Collects traffic secrets by label."""

    def secrets(self) -> dict[str, bytes]:
        lines = (line.split() for line in self.getvalue().splitlines() if line[:1] != "#")
        return {parts[0]: bytes.fromhex(parts[2]) for parts in lines}


class Established(Target):
    """Any frames in valid 1-RTT packets, to an established connection."""

    share = 1.2
    is_client = False
    name = "frames-to-server"

    def start(self) -> None:
        keylog = KeyLog()
        config = Config()
        self.server_endpoint = quic.Endpoint(
            config, tls=server_context(b"h3"), random=self.rng.randbytes
        )
        self.client_endpoint = quic.Endpoint(config, random=self.rng.randbytes)
        tls = ClientContext(
            alpn=[b"h3"],
            verify=lambda chain, name: None,
            keylog_file=keylog,
            cipher_suites=[0x1301],
            groups=[0x001D],
        )
        simulated = Pair(self.client_endpoint, self.server_endpoint)
        client = self.client_endpoint.connect(NAME, SERVER, tls, 0.0, local=CLIENT)
        servers: list[Connection] = []
        simulated.drive(
            lambda: client.is_established and servers and servers[0].is_established,
            work=lambda: servers.extend(self.server_endpoint.ready()),
        )
        label = "SERVER" if self.is_client else "CLIENT"
        self.key = make_key(0x1301, keylog.secrets()[f"{label}_TRAFFIC_SECRET_0"], 1)
        self.victim = client if self.is_client else servers[0]
        self.endpoint = self.client_endpoint if self.is_client else self.server_endpoint
        self.dcid = self.victim.source_id
        self.number = 1000
        self.now = simulated.clock.now
        for bidirectional in (True, False):  # something to acknowledge, reset and stop
            for _ in range(2):
                stream_id = self.victim.open_stream(bidirectional)
                if stream_id is not None:
                    self.victim.stream_send(stream_id, bytes(3000))
        drain(self.endpoint, self.now)

    def make(self, rng: Random) -> bytes:
        if rng.random() < 0.9:  # what is not allowed ends the connection: mostly go on with it
            return inputs.allowed_payload(rng, not self.is_client)
        made = inputs.payload(rng)
        return inputs.mutated(rng, made)[:1100] or b"\0" if rng.random() < 0.2 else made

    def feed(self, data: bytes) -> None:
        if self.victim.is_closed or self.victim.is_draining or self.victim.termination is not None:
            self.start()
        self.number += 1
        self.now += 0.001
        source, to = (SERVER, CLIENT) if self.is_client else (CLIENT, SERVER)
        datagram = seal(self.key, b"\x43" + self.dcid, self.number, data)
        self.endpoint.recv(datagram, RecvInfo(source, to), self.now)
        self.endpoint.ready()
        use(self.victim, self.now)
        drain(self.endpoint, self.now)


class EstablishedClient(Established):
    name = "frames-to-client"
    share = 0.8
    is_client = True


# -- HTTP/3 and WebTransport -------------------------------------------------------------------------


SETTINGS = b"\0" + h3_frames.encode_frame(
    h3_frames.FrameType.SETTINGS,
    encode_settings([(0x08, 1), (0x33, 1), (0x2B603742, 1), (0x2C7CF000, 1)]),
)


class Http3(Target):
    """Streams of any content to an HTTP/3 connection with WebTransport, over a QUIC without a network."""

    name = "http3-server"
    share = 1.2
    is_client = False
    lifetime = 40

    def start(self) -> None:
        client, server = pair(limit=200)
        self.peer: FakeQuic = server if self.is_client else client
        self.mine: FakeQuic = client if self.is_client else server
        self.connection = webtransport.Connection(h3.Connection(self.mine, Config()))
        self.count = 0
        self.streams: list[int] = []
        self.connection.poll()
        if self.rng.random() < 0.8:  # a peer that begins well gets further
            self.peer.raw_open(SETTINGS)
            self.connection.poll()
            if self.is_client:
                self.connection.connect("localhost", "/")

    def make(self, rng: Random) -> bytes:
        return inputs.mixed(rng, corpora.browser_streams(), inputs.http_stream)

    def feed(self, data: bytes) -> None:
        self.count += 1
        if self.count > self.lifetime or self.mine.is_closed:
            self.start()
        kind = data[0] % 8 if data else 0
        peer = self.peer
        if kind == 0 and data:
            peer.dgram_send(data[:1000])
        elif kind == 1 and self.streams:
            peer.stream_shutdown(self.streams.pop(), data[-1] & 1, data[0] << 8)
        elif kind in (2, 3) and self.streams:
            self._continue(data)
        else:
            stream_id = peer.open_stream(data[-1:] > b"\x60")
            if stream_id is not None:
                peer.stream_send(stream_id, data, fin=data[-1:] < b"\x40")
                self.streams.append(stream_id)
        for event in self.connection.poll():
            self._answer(event)
        self.connection.poll()

    def _continue(self, data: bytes) -> None:
        try:
            self.peer.stream_send(self.streams[-1], data)
        except (OSError, ValueError):
            pass  # stopped by the connection, or finished before

    def _answer(self, event: Any) -> None:
        match event:
            case webtransport.SessionRequested(session_id=session_id):
                self.connection.accept(session_id)
            case (
                webtransport.StreamReadable(stream_id=stream_id)
                | webtransport.StreamOpened(stream_id=stream_id)
            ):
                try:
                    while (got := self.connection.stream_recv(stream_id)) is not None:
                        if got[1]:
                            break
                except StreamReset:
                    pass


class Http3Client(Http3):
    name = "http3-client"
    share = 0.8
    is_client = True


TARGETS: dict[str, type[Target]] = {
    target.name: target
    for target in (
        Varints,
        Headers,
        Frames,
        Parameters,
        FieldSections,
        Capsules,
        TlsServer,
        TlsClient,
        TlsCertificates,
        TlsExchange,
        ServerDatagrams,
        ClientDatagrams,
        InitialFrames,
        Established,
        EstablishedClient,
        Http3,
        Http3Client,
    )
}


@cache
def shares(names: Sequence[str]) -> dict[str, float]:
    """What part of a run each of the targets *names* gets."""
    total = sum(TARGETS[name].share for name in names)
    return {name: TARGETS[name].share / total for name in names}
