"""Streams of sessions: what no other side can be asked to do."""

from __future__ import annotations

import pytest

from cwt import webtransport as wt
from tests.webtransport.support import connected


@pytest.mark.parametrize("bidirectional", [False, True])
def test_the_end_never_comes_together_with_the_preamble(bidirectional: bool) -> None:
    """Firefox 153 closes the connection when it does."""
    pair, session = connected()
    stream = pair.client.open_stream(session, bidirectional)
    assert stream is not None
    pair.client.stream_send(stream, b"", True)
    half = pair.server_quic.incoming[stream]
    assert half.data and not half.fin
    pair.run()
    assert pair.client_quic.stream_acked(stream)
    pair.client_quic._writable[stream] = None  # what QUIC says then
    pair.run()
    assert half.fin
    assert pair.server_saw(wt.StreamOpened) == [wt.StreamOpened(session, stream, bidirectional)]
    assert pair.server.stream_recv(stream) == (b"", True)
    if bidirectional:
        pair.server.stream_send(stream, b"", True)
        pair.run()
        assert pair.client.stream_recv(stream) == (b"", True)
    assert not len(pair.client._streams)
    assert not len(pair.server._streams)


def test_the_end_comes_at_once_after_data() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.client.stream_send(stream, b"data")
    pair.client.stream_send(stream, b"", True)
    assert pair.server_quic.incoming[stream].fin


def test_a_reset_overtakes_the_end_that_waits() -> None:
    pair, session = connected()
    stream = pair.client.open_stream(session, False)
    assert stream is not None
    pair.client.stream_send(stream, b"", True)
    pair.client.close(session, 3)
    pair.run()
    assert not pair.server_quic.incoming[stream].fin
    assert not len(pair.client._streams)
