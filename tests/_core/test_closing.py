"""The end of a connection: closing, draining, closed (RFC 9000 Section 10.2)."""

from __future__ import annotations

import pytest

from cwt.config import TransportConfig
from cwt.errors import ApplicationError, TransportError
from cwt.errors import TransportErrorCode as Code
from tests._core.raw_peer import (
    HANDSHAKE,
    INITIAL,
    ONE_RTT,
    PING,
    RawClient,
    RawServer,
    client_connection,
    crypto,
    frame,
    server_endpoint,
)
from tests._core.support import connected

CONFIG = TransportConfig(grease=False, pacing=False)


def test_the_application_closes() -> None:
    client, server = connected(CONFIG)
    server.close(0x1234, "that's all")
    assert server.is_draining
    assert not server.can_open_streams
    client.collect()
    assert client.frames(0x1C, 0x1D) == [(0x1D, 0x1234, 0, b"that's all")]
    error = server.termination
    assert isinstance(error, ApplicationError)
    assert (error.code, error.reason, error.remote) == (0x1234, "that's all", False)
    assert server.local_error is error
    assert server.peer_error is None
    client.advance(10.0)
    assert server.is_closed
    assert not server.is_draining


def test_closing_twice_says_the_first_reason() -> None:
    client, server = connected(CONFIG)
    server.close(1, "first")
    server.close(2, "second")
    client.collect()
    assert client.frames(0x1D) == [(0x1D, 1, 0, b"first")]


def test_a_transport_code() -> None:
    client, server = connected(CONFIG)
    server.close(Code.NO_ERROR, "done", app=False)
    client.collect()
    assert client.frames(0x1C, 0x1D) == [(0x1C, 0, 0, b"done")]
    assert isinstance(server.termination, TransportError)


@pytest.mark.parametrize("reason", ["x" * 5000, "\u00e9" * 400, "\ud800", ""])
def test_reasons_are_cut_at_a_character(reason: str) -> None:
    client, server = connected(CONFIG)
    server.close(1, reason)
    client.collect()
    [(_, _, _, sent)] = client.frames(0x1D)
    assert isinstance(sent, bytes)
    assert len(sent) <= 256
    assert sent.decode().rstrip("?") == reason[: len(sent.decode())].rstrip("\ud800")


def test_the_peer_closes() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, frame(0x1D, 7, 3, b"\xffby"))
    error = server.termination
    assert isinstance(error, ApplicationError)
    assert (error.code, error.reason, error.remote) == (7, "\ufffdby", True)
    assert server.peer_error is error
    assert server.local_error is None
    assert server.is_draining
    client.advance(10.0)
    assert server.is_closed


def test_a_transport_close_of_the_peer() -> None:
    client, server = connected(CONFIG)
    client.send(ONE_RTT, frame(0x1C, 0x0A, 0x08, 2, b"no"))
    error = server.termination
    assert isinstance(error, TransportError)
    assert (error.code, error.frame_type, error.reason) == (0x0A, 8, "no")


def test_both_close_at_once() -> None:
    client, server = connected(CONFIG)
    server.close(1)
    client.collect()
    client.datagrams.clear()
    client.send(ONE_RTT, frame(0x1D, 2, 0))
    client.send(ONE_RTT, PING)
    assert not client.datagrams  # draining: silent
    assert getattr(server.termination, "code", None) == 1


def test_closing_lasts_three_probe_timeouts() -> None:
    client, server = connected(CONFIG)
    server.close(1)
    client.collect()
    delay = server.timeout(client.now)
    stats = server.stats()
    assert delay is not None
    pto = stats.smoothed_rtt + max(4 * stats.rtt_variation, 0.001) + 0.025
    assert delay == pytest.approx(3 * pto)
    client.advance(delay - 0.001)
    assert not server.is_closed
    client.advance(0.002)
    assert server.is_closed
    assert server.timeout(client.now) is None


def test_the_applications_code_stays_secret_in_the_handshake() -> None:
    # Section 10.2.3: only 1-RTT packets carry it.
    client = RawClient(server_endpoint(), answer=False).connect()
    server = client.connection
    assert server is not None
    server.close(0x77, "secret")
    client.collect()
    assert client.closed is not None
    found = {item.space: item.frame for item in client.received if item.frame[0] in (0x1C, 0x1D)}
    assert set(found) == {INITIAL, HANDSHAKE, ONE_RTT}
    assert found.pop(ONE_RTT) == (0x1D, 0x77, 0, b"secret")
    assert all(entry == (0x1C, Code.APPLICATION_ERROR, 0, b"") for entry in found.values())


def test_an_error_in_the_handshake_goes_where_the_peer_can_read_it() -> None:
    client = RawClient(server_endpoint(), answer=False)
    client.send(INITIAL, crypto(0, b"\x18\0\0\1\1"))
    assert client.close_code == Code.CRYPTO_ERROR + 10


def test_a_client_closes_before_it_started() -> None:
    endpoint, connection = client_connection(CONFIG)
    connection.close(5, "changed my mind")
    server = RawServer(endpoint, answer=False).listen()
    assert server.close_code == Code.APPLICATION_ERROR
    assert len(server.datagrams[0]) == 1200
    server.advance(10.0)
    assert connection.is_closed
    assert endpoint.connections == 0


def test_no_streams_are_sent_once_closing() -> None:
    client, server = connected(CONFIG)
    stream_id = server.open_stream()
    assert stream_id is not None
    server.close(0)
    server.stream_send(stream_id, b"late")
    client.collect()
    assert not client.frames(0x08)
