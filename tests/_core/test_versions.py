"""Version negotiation, compatible and not (RFC 9368), and version 2 (RFC 9369)."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cwt import quic
from cwt._core.connection import Connection
from cwt._core.crypto.keys import initial_keys
from cwt._core.wire import packet
from cwt._core.wire.params import TransportParameters
from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import ConfigError, HandshakeError
from cwt.errors import TransportErrorCode as Code
from cwt.testing import CLIENT, SERVER
from tests._core.raw_peer import (
    CID,
    FIRST_DCID,
    HANDSHAKE,
    INITIAL,
    NAME,
    ONE_RTT,
    PING,
    V2,
    RawClient,
    RawServer,
    ack,
    client_connection,
    crypto,
    parameters,
    server_context,
    server_endpoint,
    stream,
)

V1 = 1
RESERVED = 0x1A2A3A4A
OTHER = 0xFF00001D


def config(*versions: int, **more: Any) -> TransportConfig:
    return TransportConfig(versions=versions, grease=False, mtu_discovery=False, **more)


def client_params(*information: int) -> bytes:
    return parameters(version_information=information or None).encode()


# The choice.


@pytest.mark.parametrize(
    ("ours", "first", "offered", "chosen"),
    [
        ((V1, V2), V1, (V1, V1, V2), V1),
        ((V2, V1), V1, (V1, V1, V2), V2),
        ((V2, V1), V1, (V1, V2, V1), V2),
        ((V2, V1), V1, (V1, RESERVED, V1, OTHER, V2), V2),
        ((V2, V1), V1, (V1, V1), V1),
        ((V2, V1), V1, (), V1),
        ((V1, V2), V2, (V2, V2, V1), V1),
        ((V1, V2), V2, (V2, V2), V2),
        ((V1, V2), V2, (), V2),
        ((V2, V1), V2, (V2, V1, V2), V2),
        ((V1,), V1, (V1, V2, V1), V1),
    ],
)
def test_a_server_takes_what_it_likes_best(
    ours: tuple[int, ...], first: int, offered: tuple[int, ...], chosen: int
) -> None:
    client = RawClient(
        server_endpoint(config(*ours)), version=first, params=client_params(*offered)
    ).connect()
    assert client.connection is not None
    assert client.connection.is_established, client.closed
    assert client.connection.version == client.version == chosen
    assert client.tls is not None
    theirs = quic_parameters(client.tls.peer_transport_parameters, False)
    assert theirs.version_information == (chosen, *ours)
    client.send(ONE_RTT, stream(0, b"hello", fin=True))
    assert client.connection.stream_recv(0) == (b"hello", True)
    client.connection.stream_send(0, b"and back", True)
    client.collect()
    assert client.frames(0x08)[-1][3] == b"and back"


def quic_parameters(data: bytes | None, from_client: bool) -> Any:
    assert data is not None
    return TransportParameters.parse(data, from_client)


def test_a_server_that_moves_does_so_before_its_first_crypto_frame() -> None:
    client = RawClient(server_endpoint(config(V2, V1)), params=client_params(V1, V1, V2))
    client.connect()
    versions = set()
    for datagram in client.datagrams:
        while datagram and datagram[0] & 0x80:
            parsed = packet.parse(datagram, 8)
            assert parsed is not None
            versions.add(parsed[1])
            datagram = datagram[parsed[6] :]
    assert versions == {V2}


def test_a_server_acknowledges_in_the_first_version_until_it_knows_more() -> None:
    client = RawClient(server_endpoint(config(V2, V1)), params=client_params(V1, V1, V2))
    hello = client.hello()
    client.send(INITIAL, crypto(0, hello[:100]))
    assert client.version == V1
    assert client.received
    client.send(INITIAL, crypto(100, hello[100:]))
    assert client.version == V2
    assert client.connect().connection is not None


def moved() -> tuple[RawClient, Connection]:
    """A client that knows of the server's version, and did not yet send a Handshake packet."""
    client = RawClient(
        server_endpoint(config(V2, V1)), params=client_params(V1, V1, V2), answer=False
    )
    client.send_tls()
    client.collect()
    [connection] = client.end.ready()
    assert connection.version == client.version == V2
    return client, connection


def test_a_server_reads_initial_packets_of_both_versions_until_a_handshake_packet() -> None:
    client, connection = moved()
    old = initial_keys(V1, FIRST_DCID, True)[1]
    for version, key in ((V1, old), (V2, None), (V1, old)):
        before = connection.stats().packets_received
        client.send(INITIAL, PING, version=version, key=key)
        assert connection.stats().packets_received == before + 1, version
    client.take_secrets()
    client.send(HANDSHAKE, PING)
    before = connection.stats().packets_received
    client.send(INITIAL, PING, version=V1, key=old)
    client.send(INITIAL, PING)
    assert connection.stats().packets_received == before


def test_a_server_reads_handshake_packets_of_the_version_in_use_only() -> None:
    client, connection = moved()
    client.take_secrets()
    before = connection.stats().packets_received
    client.send(HANDSHAKE, PING, version=V1)
    assert connection.stats().packets_received == before
    client.send(HANDSHAKE, PING)
    assert connection.stats().packets_received == before + 1


def test_a_server_that_moved_and_fails_says_so() -> None:
    client = RawClient(
        server_endpoint(config(V2, V1)),
        params=parameters(
            version_information=(V1, V1, V2), initial_source_connection_id=b"another"
        ).encode(),
    )
    client.connect()
    assert client.close_code == Code.TRANSPORT_PARAMETER_ERROR


# What a server checks.


def test_the_version_a_client_says_it_chose_is_the_one_of_its_packets() -> None:
    client = RawClient(server_endpoint(config(V1, V2)), params=client_params(V2, V2, V1)).connect()
    assert client.close_code == Code.VERSION_NEGOTIATION_ERROR
    assert client.version == V1


def test_malformed_version_information() -> None:
    params = parameters()
    params.unknown = {0x11: b"\0\0\0\1\0"}
    client = RawClient(server_endpoint(config(V2, V1)), params=params.encode()).connect()
    assert client.close_code == Code.TRANSPORT_PARAMETER_ERROR


# A client.


@pytest.mark.parametrize(
    ("versions", "initial", "first"),
    [
        ((V1, V2), None, V1),
        ((V2, V1), None, V1),
        ((V2, V1), V2, V2),
        ((V2,), None, V2),
        ((V1,), None, V1),
    ],
)
def test_the_version_a_client_begins_with(
    versions: tuple[int, ...], initial: int | None, first: int
) -> None:
    endpoint, connection = client_connection(config(*versions, initial_version=initial))
    server = RawServer(endpoint).listen()
    assert server.version == connection.version == first
    assert connection.is_established
    assert server.tls is not None
    offer = quic_parameters(server.tls.peer_transport_parameters, True).version_information
    assert offer == (first, *versions)


class Moving(RawServer):
    """A server that goes on in another version than the client began with."""

    def __init__(self, end: Any, to: int, information: tuple[int, ...] | None, **more: Any) -> None:
        super().__init__(
            end, alter=lambda params: setattr(params, "version_information", information), **more
        )
        self.to = to

    def take_first(self, datagram: bytes) -> None:
        answer, self.answer = self.answer, False
        super().take_first(datagram)
        self.old = (V1, initial_keys(V1, self.original, False)[1])
        self.answer = answer
        self.move()
        self.collect()
        if answer:
            self.take_secrets()
            self.send_tls()

    def move(self) -> None:
        self.version = self.to
        self.read[0], self.write[0] = initial_keys(self.to, self.original, False)

    def take_secrets(self) -> None:
        self.version = self.to
        super().take_secrets()

    def other_version(self, version: int) -> None:
        if self.read[0] is not None:
            self.read[0] = initial_keys(version, self.original, False)[0]


def test_a_client_follows_the_server() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = Moving(endpoint, V2, (V2, V2, V1)).listen()
    assert connection.is_established, connection.termination
    assert connection.version == V2
    stream_id = connection.open_stream()
    connection.stream_send(stream_id, b"hello", True)
    server.collect()
    assert server.frames(0x08)[-1][3] == b"hello"
    # Its last Initial packets were in the new version, too.
    last = [packet.parse(datagram, 8) for datagram in server.datagrams if datagram[0] & 0x80][-1]
    assert last is not None
    assert last[1] == V2


@pytest.mark.parametrize(
    "information", [None, (V1, V1, V2), (OTHER, V1, V2)], ids=["missing", "old", "other"]
)
def test_a_move_that_the_server_does_not_confirm(information: tuple[int, ...] | None) -> None:
    endpoint, connection = client_connection(config(V1, V2))
    Moving(endpoint, V2, information).listen()
    assert connection.local_error is not None
    assert connection.local_error.code == Code.VERSION_NEGOTIATION_ERROR


def test_a_server_that_names_another_version_than_it_speaks() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    RawServer(
        endpoint, alter=lambda params: setattr(params, "version_information", (V2, V1, V2))
    ).listen()
    assert connection.local_error is not None
    assert connection.local_error.code == Code.VERSION_NEGOTIATION_ERROR


def test_a_client_does_not_follow_to_what_it_did_not_offer() -> None:
    endpoint, connection = client_connection(config(V1))
    Moving(endpoint, V2, (V2, V2, V1)).listen()
    assert not connection.is_established
    assert connection.version == V1
    assert connection.termination is None


def test_packets_in_the_first_version_do_not_decide_before_crypto() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = Moving(endpoint, V2, (V2, V2, V1), answer=False).listen()
    version, key = server.old
    server.send(INITIAL, ack(0), version=version, key=key)
    assert connection.stats().packets_received == 1
    assert connection.version == V1
    server.take_secrets()
    server.send_tls()
    server.collect()
    assert connection.version == V2
    # Now it is decided: what is in the old version is ignored.
    before = connection.stats().packets_received
    server.send(INITIAL, PING, version=version, key=key)
    assert connection.stats().packets_received == before


def test_a_crypto_frame_in_the_first_version_decides() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = Moving(endpoint, V2, (V2, V2, V1), answer=False).listen()
    version, key = server.old
    assert server.tls is not None
    [(_, hello), *_] = server.tls.output()
    server.send(INITIAL, crypto(0, hello), version=version, key=key)
    before = connection.stats().packets_received
    server.send(INITIAL, PING)
    assert connection.stats().packets_received == before
    assert connection.version == V1


def test_packets_of_the_new_version_that_nobody_sealed_change_nothing() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = RawServer(endpoint, answer=False).listen()
    wrong = initial_keys(V2, b"somebody", False)[1]
    for _ in range(3):
        server.send(INITIAL, PING, version=V2, key=wrong)
    assert connection.version == V1
    server.answer = True
    server.send_tls()
    server.collect()
    assert connection.is_established
    assert connection.version == V1


def test_handshake_packets_of_the_new_version_may_come_first() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = Moving(endpoint, V2, (V2, V2, V1), answer=False).listen()
    assert server.tls is not None
    server.take_secrets()
    parts = dict[int, bytes]()
    for level, data in server.tls.output():
        parts[0 if level == 0 else 1] = data
    server.answer = True
    server.send_crypto(HANDSHAKE, parts[1])
    server.send_crypto(INITIAL, parts[0])
    server.collect()
    assert connection.is_established
    assert connection.version == V2


# Version Negotiation packets, as a client.


def negotiated(connection_config: TransportConfig, *versions: int) -> tuple[Any, Connection]:
    """A client that was told of the server's versions."""
    endpoint, connection = client_connection(connection_config)
    first = endpoint.send(1.0)
    assert first is not None
    while endpoint.send(1.0):
        pass
    tell(endpoint, first[0], *versions)
    return endpoint, connection


def tell(endpoint: Any, first: bytes, *versions: int) -> None:
    parsed = packet.parse(first, 8)
    assert parsed is not None
    answer = packet.version_negotiation(parsed[3], parsed[2], versions, 0x55)
    endpoint.recv(answer, RecvInfo(SERVER, CLIENT), 1.0)


def test_another_attempt_in_a_version_of_the_servers() -> None:
    endpoint, connection = negotiated(config(V1, V2), RESERVED, V2)
    assert connection.termination is None
    assert connection.version == V2
    server = RawServer(
        endpoint, alter=lambda params: setattr(params, "version_information", (V2, V2))
    ).listen()
    assert server.version == V2
    assert connection.is_established, connection.termination
    assert server.tls is not None
    offer = quic_parameters(server.tls.peer_transport_parameters, True).version_information
    assert offer == (V2, V1, V2)


def test_only_one_more_attempt() -> None:
    endpoint, connection = negotiated(config(V1, V2), V2)
    first = endpoint.send(1.0)
    assert first is not None
    for versions in ((V1,), (OTHER,), (RESERVED,), ()):
        tell(endpoint, first[0], *versions)
        assert connection.termination is None
        assert connection.version == V2


def test_no_version_in_common() -> None:
    _, connection = negotiated(config(V1), V2, RESERVED)
    assert isinstance(connection.termination, HandshakeError)
    assert connection.is_closed


@pytest.mark.parametrize("versions", [(V1,), (V2, V1), (V1, V2, RESERVED)])
def test_a_packet_that_lists_the_version_in_use_is_ignored(versions: tuple[int, ...]) -> None:
    _, connection = negotiated(config(V1, V2), *versions)
    assert connection.version == V1
    assert connection.termination is None


@pytest.mark.parametrize(
    ("information", "fine"),
    [
        ((V2, V2), True),
        ((V2,), True),
        ((V2, RESERVED, V2), True),
        ((V2, V1, V2), False),
        ((V2, V1), False),
        (None, False),
        ((V1, V2), False),
    ],
)
def test_a_forged_packet_is_found_out(information: tuple[int, ...] | None, fine: bool) -> None:
    # RFC 9368 Section 4: whether this version would have been chosen knowing what the server speaks.
    endpoint, connection = negotiated(config(V1, V2), V2)
    RawServer(
        endpoint, alter=lambda params: setattr(params, "version_information", information)
    ).listen()
    assert connection.is_established == fine
    if not fine:
        assert connection.local_error is not None
        assert connection.local_error.code == Code.VERSION_NEGOTIATION_ERROR


@pytest.mark.parametrize(
    ("information", "fine"), [(None, True), ((V1, V1), True), ((V1, V1, V2), False)]
)
def test_back_to_version_1(information: tuple[int, ...] | None, fine: bool) -> None:
    # Section 8: servers of version 1 need not know of version negotiation.
    endpoint, connection = negotiated(config(V2, V1, initial_version=V2), V1)
    RawServer(
        endpoint, alter=lambda params: setattr(params, "version_information", information)
    ).listen()
    assert connection.is_established == fine


def test_retry_after_version_negotiation() -> None:
    endpoint, connection = negotiated(config(V1, V2), V2)
    server = RawServer(endpoint, answer=False)
    again = server.send_back(b"the token", b"retry id")
    parsed = packet.parse(again, 8)
    assert parsed is not None
    assert parsed[1:5] == (V2, b"retry id", connection.source_id, b"the token")
    after = RawServer(
        endpoint,
        scid=b"retry id",
        alter=lambda params: setattr(params, "version_information", (V2, V2)),
    )
    after.take_after_retry(again, server.original, b"retry id")
    after.collect()
    assert connection.is_established


def test_retry_is_taken_in_the_version_of_the_client_only() -> None:
    endpoint, connection = client_connection(config(V1, V2))
    server = RawServer(endpoint, answer=False)
    first = endpoint.send(1.0)
    assert first is not None
    server.take_first(first[0])
    server.version = V2
    server.inject(server.retry())
    assert connection.destination_id == server.original
    server.version = V1
    server.inject(server.retry(scid=b"retry id"))
    assert connection.destination_id == b"retry id"


# GREASE.


def test_versions_that_nobody_has() -> None:
    greasy = TransportConfig(mtu_discovery=False)
    endpoint, connection = client_connection(greasy)
    server = RawServer(endpoint).listen()
    assert server.tls is not None
    client = RawClient(server_endpoint(greasy)).connect()
    assert client.tls is not None
    for data, from_client in (
        (server.tls.peer_transport_parameters, True),
        (client.tls.peer_transport_parameters, False),
    ):
        theirs = quic_parameters(data, from_client)
        assert theirs.version_information[:3] == (V1, V1, V2)
        assert [version & 0x0F0F0F0F for version in theirs.version_information[3:]] == [0x0A0A0A0A]
        assert theirs.grease_quic_bit
    assert connection.is_established


def test_nothing_of_it_without_grease() -> None:
    endpoint, _ = client_connection(config(V1, V2))
    server = RawServer(endpoint).listen()
    assert server.tls is not None
    theirs = quic_parameters(server.tls.peer_transport_parameters, True)
    assert not theirs.grease_quic_bit
    assert theirs.version_information == (V1, V1, V2)


def bits(datagrams: list[bytes]) -> set[int]:
    return {datagram[0] & 0x40 for datagram in datagrams}


@pytest.mark.parametrize("grease", [False, True])
@pytest.mark.parametrize("allowed", [False, True])
def test_the_quic_bit_varies_when_both_want_it(grease: bool, allowed: bool) -> None:
    made = TransportConfig(grease=grease, mtu_discovery=False)
    params = parameters(grease_quic_bit=allowed).encode()
    client = RawClient(server_endpoint(made), params=params).connect()
    for _ in range(50):
        client.send(ONE_RTT, PING)
    assert bits(client.datagrams) == ({0, 0x40} if grease and allowed else {0x40})
    assert not client.opaque
    endpoint, connection = client_connection(made)
    server = RawServer(
        endpoint, alter=lambda params: setattr(params, "grease_quic_bit", allowed)
    ).listen()
    assert bits(server.datagrams[:1]) == {0x40}
    for _ in range(50):
        server.send(ONE_RTT, PING)
    assert bits(server.datagrams) == ({0, 0x40} if grease and allowed else {0x40})
    assert connection.is_established


@pytest.mark.parametrize("grease", [False, True])
def test_a_quic_bit_of_0_is_taken_if_we_said_so(grease: bool) -> None:
    client = RawClient(server_endpoint(TransportConfig(grease=grease, mtu_discovery=False)))
    connection = client.connect().connection
    assert connection is not None
    for count in (1, 5):
        before = connection.stats().packets_received
        for _ in range(count):
            client.inject(client.packet(ONE_RTT, PING + bytes(30), quic_bit=0))
        assert connection.stats().packets_received == before + (count if grease else 0)


# The public face.


@pytest.mark.parametrize("version", [V1, V2])
def test_lone_connections(version: int) -> None:
    settings: dict[str, Any] = {"alpn": [b"h3"], "verify": False, "versions": (version,)}
    client = quic.connect(NAME, CID, CLIENT, SERVER, quic.Config(**settings))
    out = client.send(1.0)
    assert out is not None
    header = quic.Header.from_slice(out[0])
    assert header.version == client.version == version
    server_config = quic.Config(**settings)
    server_config._server = server_context()
    server = quic.accept(b"server's", header.dcid, SERVER, CLIENT, server_config, version=version)
    server.recv(out[0], RecvInfo(CLIENT, SERVER), 1.0)
    for _ in range(4):
        for sender, receiver, info in (
            (client, server, RecvInfo(CLIENT, SERVER)),
            (server, client, RecvInfo(SERVER, CLIENT)),
        ):
            while (out := sender.send(1.0)) is not None:
                receiver.recv(out[0], info, 1.0)
    assert client.is_established
    assert server.is_established
    assert server.version == version


def test_accept_wants_a_version_of_the_config() -> None:
    config = quic.Config(alpn=[b"h3"], versions=(V1,))
    with pytest.raises(ConfigError, match="negotiate_version"):
        quic.accept(b"server's", b"original", SERVER, CLIENT, config, version=V2)


def test_the_versions_there_are() -> None:
    assert quic.version_is_supported(quic.PROTOCOL_VERSION)
    assert quic.version_is_supported(quic.PROTOCOL_VERSION_2)
    assert not quic.version_is_supported(OTHER)
    answer = quic.negotiate_version(b"scid", b"dcid", [V2])
    assert quic.Header.from_slice(answer).token == V2.to_bytes(4, "big")
    assert len(quic.Header.from_slice(quic.negotiate_version(b"scid", b"dcid")).token) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"versions": ()},
        {"versions": (OTHER,)},
        {"versions": (V1, OTHER)},
        {"versions": [V1]},
        {"versions": (V1,), "initial_version": V2},
    ],
)
def test_versions_that_cannot_be_configured(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="version"):
        TransportConfig(**wrong)


def test_every_pair_of_configurations_agrees_or_says_why() -> None:
    choices = [(V1,), (V2,), (V1, V2), (V2, V1)]
    for ours, theirs in itertools.product(choices, choices):
        for initial in ours:
            endpoint, client = client_connection(config(*ours, initial_version=initial))
            server = server_endpoint(config(*theirs))
            for _ in range(6):
                while (out := endpoint.send(1.0)) is not None:
                    server.recv(out[0], RecvInfo(CLIENT, SERVER), 1.0)
                while (out := server.send(1.0)) is not None:
                    endpoint.recv(out[0], RecvInfo(SERVER, CLIENT), 1.0)
            common = [version for version in theirs if version in ours]
            case = (ours, initial, theirs)
            if common:
                assert client.is_established, (case, client.termination)
                # A server that has the version of the first flight moves to its own best one.
                expected = common[0] if initial in theirs else next(v for v in ours if v in theirs)
                assert client.version == expected, case
                [accepted] = [each for each in server.ready() if each.version == expected]
                assert accepted.is_established
            else:
                assert isinstance(client.termination, HandshakeError), case
