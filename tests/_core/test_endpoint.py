"""One UDP port: routing, accepting, answers without a connection (RFC 9000 Sections 5.2, 6 and 10.3)."""

from __future__ import annotations

import gc
import struct
from random import Random
from typing import Any

import pytest

from cwt import quic
from cwt._core.connection import Connection
from cwt._core.crypto.keys import initial_keys
from cwt._core.wire import packet
from cwt._types import RecvInfo
from cwt.config import TransportConfig
from cwt.errors import ConfigError
from cwt.testing import CLIENT, SERVER
from tests._core.raw_peer import (
    INITIAL,
    ONE_RTT,
    PING,
    V2,
    RawClient,
    client_connection,
    crypto,
    server_endpoint,
)

INFO = RecvInfo(CLIENT, SERVER)


def answers(endpoint: Any, datagram: bytes, now: float = 1.0) -> list[bytes]:
    endpoint.recv(datagram, INFO, now)
    out = []
    while (sent := endpoint.send(now)) is not None:
        assert sent[1].to == CLIENT
        out.append(sent[0])
    return out


def live_connections() -> int:
    gc.collect()
    return sum(isinstance(each, Connection) for each in gc.get_objects())


def initial(
    version: int, dcid: bytes = b"d" * 8, scid: bytes = b"s" * 8, size: int = 1200
) -> bytes:
    head = b"\xc0" + version.to_bytes(4, "big")
    head += bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid
    return head.ljust(size, b"\0")


# Version negotiation.


@pytest.mark.parametrize("version", [2, 0xFF00001D, 0x6B3343D0, 0x1A2A3A4A])
def test_a_version_not_spoken_is_answered_with_ours(version: int) -> None:
    [answer] = answers(server_endpoint(), initial(version))
    kind, _, dcid, scid, versions, _, _ = packet.parse(answer, 8) or (None,) * 7
    assert kind == packet.PacketType.VERSION_NEGOTIATION
    assert (dcid, scid) == (b"s" * 8, b"d" * 8)
    assert versions is not None
    listed = [int.from_bytes(versions[i : i + 4], "big") for i in range(0, len(versions), 4)]
    assert 1 in listed
    assert version not in listed
    assert len(listed) == 2


def test_a_reserved_version_is_among_ours() -> None:
    endpoint = server_endpoint(TransportConfig(grease=True))
    seen = set()
    for _ in range(4):
        [answer] = answers(endpoint, initial(2))
        *ours, reserved = struct.unpack(">LLL", answer[-12:])
        assert ours == [1, 0x6B3343CF]
        assert reserved & 0x0F0F0F0F == 0x0A0A0A0A
        seen.add(reserved)
    assert len(seen) > 1


def test_a_version_not_wanted_is_answered_as_one_not_known() -> None:
    [answer] = answers(server_endpoint(TransportConfig(versions=(1,), grease=False)), initial(V2))
    assert struct.unpack(">L", answer[-4:]) == (1,)


@pytest.mark.parametrize("version", [1, V2])
def test_the_quic_bit_may_be_0_if_we_say_so(version: int) -> None:
    for grease in (False, True):
        config = TransportConfig(grease=grease, mtu_discovery=False)
        client = RawClient(server_endpoint(config), version=version)
        data = client.padded(INITIAL, crypto(0, client.hello()), quic_bit=0)
        client.inject(data)
        client.collect()
        assert bool(client.received) == grease
    # A stateless reset may answer a short header with it, too: the state that is gone allowed it.
    short = b"\x01" + bytes(range(8)) + bytes(50)
    assert not answers(server_endpoint(TransportConfig(grease=False)), short)
    assert len(answers(server_endpoint(TransportConfig()), short)) == 1


@pytest.mark.parametrize("length", [0, 1, 20, 21, 100, 255])
def test_connection_ids_of_other_versions_may_be_long(length: int) -> None:
    scid = b"x" * length
    [answer] = answers(server_endpoint(), initial(2, b"y" * (255 - length), scid))
    assert answer[5] == length
    assert answer[6 : 6 + length] == scid
    assert len(answer) < 1200


@pytest.mark.parametrize("size", [7, 100, 1199])
def test_small_datagrams_are_not_worth_an_answer(size: int) -> None:
    assert not answers(server_endpoint(), initial(2, b"", b"", size))


def test_version_negotiation_is_not_answered() -> None:
    assert not answers(server_endpoint(), initial(0))
    endpoint, _ = client_connection()
    while endpoint.send(1.0):
        pass
    assert not answers(endpoint, initial(2))


# Accepting.


def test_a_connection_is_made_of_the_first_initial_packet() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint).connect()
    assert client.connection is not None
    assert client.connection.is_established
    assert endpoint.connections == 1


@pytest.mark.parametrize("dcid", [b"", b"1234567"])
def test_the_first_destination_connection_id_has_eight_bytes(dcid: bytes) -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint, dcid=dcid)
    client.send_tls()
    assert not client.collect()
    assert endpoint.connections == 0


@pytest.mark.parametrize("length", range(8, 21))
def test_longer_ones_are_fine(length: int) -> None:
    client = RawClient(server_endpoint(), dcid=bytes(range(length)), scid=bytes(length)).connect()
    assert client.connection is not None
    assert client.connection.is_established


@pytest.mark.parametrize("length", [21, 100, 255])
def test_connection_ids_of_version_1_are_not_longer_than_20(length: int) -> None:
    endpoint = server_endpoint()
    assert not answers(endpoint, initial(1, bytes(length)))
    assert not answers(endpoint, initial(1, bytes(8), bytes(length)))
    assert endpoint.connections == 0


def test_a_datagram_below_1200_bytes_makes_no_connection() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint)
    whole = client.packet(0, crypto(0, client.hello()[:300]))
    assert len(whole) < 1200
    assert not answers(endpoint, whole)
    assert endpoint.connections == 0


def test_what_is_not_authentic_leaves_nothing_behind() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint)
    good = client.padded(0, crypto(0, client.hello()))
    before = live_connections()
    for i in range(50):
        bad = bytearray(good)
        bad[6:14] = i.to_bytes(8, "big")  # other keys than it is sealed with
        assert not answers(endpoint, bytes(bad))
    assert endpoint.connections == 0
    assert not endpoint.ready()
    assert live_connections() == before
    assert answers(endpoint, good)
    assert endpoint.connections == 1


def test_no_more_connections_than_allowed() -> None:
    endpoint = server_endpoint(max_connections=2)
    clients = [RawClient(endpoint, dcid=b"number %d" % i, scid=b"client %d" % i) for i in range(4)]
    for client in clients:
        client.send_tls()
    assert endpoint.connections == 2
    endpoint.accepting = False
    assert [c.is_established for c in endpoint.ready()] == [False, False]


def test_an_endpoint_that_accepts_no_more() -> None:
    endpoint = server_endpoint()
    endpoint.accepting = False
    client = RawClient(endpoint)
    client.send_tls()
    assert endpoint.connections == 0


def test_an_endpoint_without_certificates_accepts_nothing() -> None:
    endpoint = quic.Endpoint(TransportConfig(), random=Random(1).randbytes)
    client = RawClient(endpoint)
    client.send_tls()
    assert endpoint.connections == 0


def test_closed_connections_are_forgotten() -> None:
    endpoint = server_endpoint()
    before = live_connections()
    client = RawClient(endpoint).connect()
    assert client.connection is not None
    client.send(ONE_RTT, b"\x1d\x00\x00")
    assert client.connection.is_draining
    client.advance(10.0)
    assert client.connection.is_closed
    assert endpoint.connections == 0
    assert endpoint.timeout(client.now) is None
    assert [each.is_closed for each in endpoint.ready()] == [True]
    client.connection = None
    assert live_connections() == before


def test_dropped_endpoints_free_their_connections() -> None:
    before = live_connections()
    endpoint = server_endpoint()
    RawClient(endpoint).connect()
    assert live_connections() == before + 1
    del endpoint
    assert live_connections() == before


def test_a_write_that_takes_nothing_leaves_the_endpoint_at_rest() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint).connect()
    assert client.connection is not None
    stream_id = client.connection.open_stream()
    while client.connection.stream_send(stream_id, bytes(65536)):
        pass
    client.collect()
    assert client.connection.stream_send(stream_id, bytes(65536)) > 0
    while client.connection.stream_send(stream_id, bytes(65536)):
        pass
    client.collect()
    assert endpoint.timeout(client.now) != 0
    assert client.connection.stream_send(stream_id, b"more") == 0
    assert endpoint.timeout(client.now) != 0  # or a loop that polls would spin


# Stateless resets.


def unknown(size: int) -> bytes:
    return (b"\x41" + b"whatever").ljust(size, b"\x5a")


@pytest.mark.parametrize(("size", "answer"), [(22, 21), (30, 29), (43, 42), (100, 42), (1200, 42)])
def test_a_reset_is_smaller_than_what_it_answers(size: int, answer: int) -> None:
    endpoint = server_endpoint()
    [reset] = answers(endpoint, unknown(size))
    assert len(reset) == answer
    assert reset[0] & 0xC0 == 0x40
    assert reset[-16:] == endpoint.reset_token(b"whatever")


@pytest.mark.parametrize("size", [1, 8, 9, 20, 21])
def test_too_small_for_a_reset(size: int) -> None:
    assert not answers(server_endpoint(), unknown(size)[:size])


def test_resets_have_a_rate() -> None:
    endpoint = server_endpoint()
    assert sum(len(answers(endpoint, unknown(100), 5.0)) for _ in range(500)) == 100
    assert answers(endpoint, unknown(100), 6.0)


def test_tokens_depend_on_the_key_and_the_connection_id() -> None:
    config = TransportConfig()
    one, again, other = (
        quic.Endpoint(config, random=Random(i).randbytes, secrets=[key * 32])
        for i, key in enumerate([b"k", b"k", b"o"])
    )
    assert one.reset_token(b"id") == again.reset_token(b"id")
    assert len({one.reset_token(b"id"), one.reset_token(b"di"), other.reset_token(b"id")}) == 3


def test_a_restarted_server_resets_its_old_connections() -> None:
    endpoint = server_endpoint()
    client = RawClient(endpoint).connect()
    client.end = server_endpoint()
    client.send(ONE_RTT, PING * 50)
    assert client.tls is not None
    tokens = [entry[4] for entry in client.frames(0x18)]
    assert len(client.opaque) == 1
    # It answers for the first connection ID, whose token is in the transport parameters.
    assert client.opaque[0][-16:] not in tokens
    assert client.tls.peer_transport_parameters is not None
    assert client.opaque[0][-16:] in client.tls.peer_transport_parameters


def test_everything_closes() -> None:
    endpoint = server_endpoint()
    clients = [RawClient(endpoint, dcid=b"number %d" % i, scid=b"client %d" % i) for i in range(3)]
    for client in clients:
        client.connect()
    endpoint.close_all(7, "bye")
    while endpoint.send(1.0):
        pass
    assert all(client.connection and client.connection.is_draining for client in clients)
    endpoint.on_timeout(20.0)
    while endpoint.send(20.0):
        pass
    assert endpoint.connections == 0


def test_output_is_announced_once() -> None:
    endpoint = server_endpoint()
    calls: list[int] = []
    endpoint.on_output = lambda: calls.append(1)
    client = RawClient(endpoint)
    client.connect()
    assert client.connection is not None
    while endpoint.send(1.0):
        pass
    calls.clear()
    stream_id = client.connection.open_stream(False)
    assert stream_id is not None
    assert calls == []
    client.connection.stream_send(stream_id, b"one")
    client.connection.stream_send(stream_id, b"two")
    assert calls == [1]
    while endpoint.send(1.0):
        pass
    client.connection.stream_send(stream_id, b"three")
    assert calls == [1, 1]


# Address validation.


def retried(**options: Any) -> tuple[Any, RawClient, bytes]:
    """An endpoint, a client that it told to come back, and the token for that."""
    endpoint = server_endpoint(retry="always", **options)
    client = RawClient(endpoint)
    [answer] = answers(endpoint, client.padded(0, crypto(0, client.hello()[:1000])))
    kind, _, dcid, scid, token, _, _ = packet.parse(answer, 8) or (None,) * 7
    assert kind == packet.PacketType.RETRY
    assert dcid == client.scid
    assert endpoint.connections == 0
    client.dcid = scid or b""
    client.read[0], client.write[0] = initial_keys(1, client.dcid, True)
    return endpoint, client, token or b""


def test_a_retry_costs_no_memory_and_less_than_what_it_answers() -> None:
    endpoint = server_endpoint(retry="always")
    before = live_connections()
    for i in range(1000):
        client = RawClient(endpoint, dcid=i.to_bytes(8, "big"))
        [answer] = answers(endpoint, client.padded(0, PING))
        assert len(answer) < 200
    assert live_connections() == before
    assert endpoint.connections == 0


def test_retries_that_cannot_be_sent_are_bounded() -> None:
    endpoint = server_endpoint(retry="always")
    for i in range(1000):
        client = RawClient(endpoint, dcid=i.to_bytes(8, "big"))
        endpoint.recv(client.padded(0, PING), INFO, 1.0)
    assert len(answers(endpoint, b"")) == 64


@pytest.mark.parametrize("address", [("203.0.113.9", 1), (CLIENT[0], CLIENT[1] + 1)])
def test_a_retry_token_from_elsewhere_is_refused(address: Any) -> None:
    endpoint, client, token = retried()
    endpoint.recv(client.padded(0, PING, token=token), RecvInfo(address, SERVER), 1.0)
    client.collect()
    assert client.close_code == 0x0B
    assert client.destinations == [address]
    assert endpoint.connections == 0


def test_refusals_have_a_rate() -> None:
    endpoint, client, token = retried()
    datagram = client.padded(0, PING, token=token)
    count = 0
    for _ in range(1100):
        endpoint.recv(datagram, RecvInfo(("203.0.113.9", 1), SERVER), 5.0)
        count += endpoint.send(5.0) is not None
    assert count == 1000


def test_a_forged_token_is_no_token() -> None:
    endpoint, client, token = retried()
    forged = token[:-1] + bytes([token[-1] ^ 1])
    [answer] = answers(endpoint, client.padded(0, PING, token=forged))
    kind, *_ = packet.parse(answer, 8) or (None,)
    assert kind == packet.PacketType.RETRY


def test_a_token_is_not_used_up_by_a_datagram_that_is_not_authentic() -> None:
    endpoint, client, token = retried()
    good = client.padded(0, PING, token=token)
    assert not answers(endpoint, good[:-1] + bytes([good[-1] ^ 1]))
    assert endpoint.connections == 0
    assert answers(endpoint, good)
    assert endpoint.connections == 1


def test_a_connection_that_cannot_be_made_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    made = 0

    def fickle(size: int) -> Any:
        nonlocal made
        made += 1
        if made > 1:
            raise RuntimeError("secret detail")
        return quic.CongestionController(size)

    endpoint = server_endpoint(TransportConfig(congestion=fickle))
    client = RawClient(endpoint).connect()
    assert client.close_code == 0x01
    assert client.closed is not None and client.closed[2] == b""
    assert endpoint.connections == 0
    assert "secret detail" in caplog.text


def test_too_many_connections_are_refused() -> None:
    endpoint = server_endpoint(max_connections=1)
    RawClient(endpoint).connect()
    client = RawClient(endpoint, dcid=b"another one")
    client.send_tls()
    client.collect()
    assert client.close_code == 0x02


@pytest.mark.parametrize("retry", ["", "sometimes", "AUTO"])
def test_retry_is_one_of_three(retry: str) -> None:
    with pytest.raises(ConfigError, match="always"):
        server_endpoint(retry=retry)
