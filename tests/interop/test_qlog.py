"""The qlog of aioquic can be read, and tells of the same connection as ours does."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aioquic.quic.logger import QuicFileLogger
from click.testing import CliRunner

import cwt
from cwt.cli.app import cli
from cwt.qlog import check, read
from cwt.qlog.summary import summarize
from tests.interop import aioquic_peer
from tests.interop.conftest import Certificate
from tests.interop.test_aioquic_client import echo_streams

pytestmark = pytest.mark.interop

SIZE = 200_000


async def test_both_logs_tell_the_same(certificate: Certificate, tmp_path: Path) -> None:
    theirs, ours = tmp_path / "theirs", tmp_path / "ours"
    theirs.mkdir()
    logger = QuicFileLogger(str(theirs))
    async with (
        cwt.serve(
            echo_streams,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
            qlog_dir=ours,
        ) as local,
        aioquic_peer.connect("127.0.0.1", local.port, quic_logger=logger) as peer,
        asyncio.timeout(60),
    ):
        session = await peer.connect_session("127.0.0.1", "/")
        stream = session.open_stream(bidirectional=True)
        stream.write(bytes(SIZE), fin=True)
        assert len(await stream.read()) == SIZE
    (client,) = theirs.iterdir()
    (server,) = ours.iterdir()
    their_log, our_log = read(client), read(server)
    assert their_log.implementation == "aioquic"
    assert (their_log.vantage_point, our_log.vantage_point) == ("client", "server")
    assert their_log.group == our_log.group
    assert check(our_log, strict=True) == []
    assert any("is called quic:" in fault for fault in check(their_log))
    client_story, server_story = summarize(their_log), summarize(our_log)
    sent = {packet.key: packet for packet in client_story.sent}
    assert len(server_story.received) > 100
    for packet in server_story.received:
        assert sent[packet.key].size == packet.size
        assert sent[packet.key].stream_bytes == packet.stream_bytes
    assert client_story.rtt and client_story.congestion_window
    assert "handshake_complete" in client_story.states
    for path in (client, server):
        result = CliRunner().invoke(cli, ["qlog", "summary", str(path)])
        assert result.exit_code == 0, result.output
        assert "round trip" in result.output
