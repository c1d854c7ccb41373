"""Sessions of one connection, client and server over the fake pair (draft-ietf-webtrans-http3)."""

from __future__ import annotations

import pytest

from cwt import webtransport as wt
from cwt.errors import StreamReset, StreamStopped
from tests.webtransport.support import Pair, connected


def test_a_session_from_request_to_close() -> None:
    pair = Pair()
    pair.run()
    session = pair.client.connect(
        "localhost:4433", "/chat", origin="https://x", protocols=["a", "b"], headers=[("k", "v")]
    )
    pair.run()
    (request,) = pair.server_saw(wt.SessionRequested)
    assert request.authority == "localhost:4433"
    assert request.path == "/chat"
    assert request.origin == "https://x"
    assert request.protocols == ["a", "b"]
    assert ("k", "v") in request.headers
    pair.server.accept(session, "b", [("x", "y")])
    pair.run()
    (accepted,) = pair.client_saw(wt.SessionAccepted)
    assert (accepted.status, accepted.protocol) == (200, "b")
    assert ("x", "y") in accepted.headers
    pair.client.close(session, 7, "bye")
    pair.run()
    assert pair.server_saw(wt.SessionClosed) == [wt.SessionClosed(session, 7, "bye", True)]
    assert pair.client_saw(wt.SessionClosed) == [wt.SessionClosed(session, 7, "bye", False)]
    assert pair.client.is_finished and pair.server.is_finished


@pytest.mark.parametrize("client_opens", [True, False])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_streams_carry_data_and_their_end(client_opens: bool, bidirectional: bool) -> None:
    pair, session = connected()
    one, two = (pair.client, pair.server) if client_opens else (pair.server, pair.client)
    stream = one.open_stream(session, bidirectional)
    assert stream is not None
    assert one.stream_send(stream, b"hello", True) == 5
    pair.run()
    saw = pair.server_saw if client_opens else pair.client_saw
    assert saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, bidirectional)]
    assert two.stream_recv(stream) == (b"hello", True)
    if bidirectional:
        assert two.stream_send(stream, b"world", True) == 5
        pair.run()
        assert one.stream_recv(stream) == (b"world", True)
    assert not pair.client._streams and not pair.server._streams


def test_codes_of_reset_and_stop_are_the_applications() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, True)
    assert stream is not None
    pair.client.stream_send(stream, b"x")
    pair.run()
    assert pair.server.stream_recv(stream) == (b"x", False)
    pair.client.reset_stream(stream, 42)
    pair.client.stop_stream(stream, 43)
    pair.run()
    with pytest.raises(StreamReset) as reset:
        pair.server.stream_recv(stream)
    assert reset.value.code == 42
    with pytest.raises(StreamStopped) as stopped:
        pair.server.stream_send(stream, b"y")
    assert stopped.value.code == 43
    assert not pair.client._streams and not pair.server._streams
