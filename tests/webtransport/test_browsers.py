"""Whole sessions as Chromium 156 and Firefox 153 sent them, stream by stream."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cwt import webtransport as wt
from cwt.config import Config
from cwt.errors import StreamReset
from cwt.webtransport.codes import to_http3
from tests.webtransport.support import Rig, taken

VECTORS = json.loads(
    (Path(__file__).parent.parent / "vectors" / "browser_sessions.json").read_text()
)["sessions"]


CLOSE = bytes.fromhex("001168430e000010e16279652d636c69656e74")
"""The last DATA frame on the CONNECT stream, in all of them: code 4321, "bye-client"."""


class Replay:
    """A recorded session, fed in pieces to a server."""

    def __init__(self, name: str, step: int) -> None:
        record: dict[str, Any] = VECTORS[name]
        capacity = 4096 if name.endswith("dyn") else 0
        self.rig = Rig(
            None, Config(qpack_max_table_capacity=capacity, qpack_blocked_streams=capacity // 256)
        )
        self.step = step
        self.headers: list[list[str]] = record["headers"]
        self.datagram = bytes.fromhex(record["datagrams"][0])
        self.streams = {int(n): bytes.fromhex(r["hex"]) for n, r in record["streams"].items()}
        self.ends = {int(n) for n, r in record["streams"].items() if r["fin"]} - {0}
        assert self.streams[0].endswith(CLOSE)
        self.streams[0] = self.streams[0].removesuffix(CLOSE)
        self.table = 10 if name == "chromium-dyn" else 6
        """The QPACK encoder stream, where there is one."""

    def play(self, *numbers: int) -> None:
        """Write all that the browser wrote on these streams, but not CLOSE."""
        peer = self.rig.peer
        for number in numbers:
            data = self.streams.get(number, b"")
            while peer.opened[not number & 2] <= number >> 2:
                peer.open_stream(not number & 2)
            for i in range(0, len(data), self.step):
                peer.stream_send(number, data[i : i + self.step])
                self.rig.poll()
            if number in self.ends:
                self.rig.write(number, b"", True)


@pytest.mark.parametrize("step", [1, 7, 10_000])
@pytest.mark.parametrize("table_first", [True, False])
@pytest.mark.parametrize("name", VECTORS)
def test_a_recorded_session(name: str, step: int, table_first: bool) -> None:
    replay = Replay(name, step)
    rig = replay.rig
    replay.play(2)
    assert rig.saw(wt.Ready) == [wt.Ready("draft-02")]
    if table_first:
        replay.play(6, 10, 0)
    else:
        replay.play(0)
        assert bool(rig.saw(wt.SessionRequested)) == name.endswith("static")
        replay = Replay(name, step)
        rig = replay.rig
        replay.play(2, 0, replay.table)
    (request,) = rig.saw(wt.SessionRequested)
    check_request(request, replay.headers)
    rig.wt.accept(0)
    rig.poll()
    assert rig.response(0)[b"sec-webtransport-http3-draft"] == b"draft02"
    rig.peer.dgram_send(replay.datagram)
    replay.play(4, 14, 18)
    check_streams(rig)
    rig.write(0, CLOSE, True)
    assert rig.saw(wt.SessionClosed) == [wt.SessionClosed(0, 4321, "bye-client", True)]
    assert rig.wt.is_finished
    assert rig.error is None


def check_streams(rig: Rig) -> None:
    assert taken(rig.saw(wt.DatagramsReadable)) == [(0, b"dgram-hello")]
    opened = rig.saw(wt.StreamOpened)
    assert [(e.session_id, e.stream_id, e.bidirectional) for e in opened] == [
        (0, 4, True),
        (0, 14, False),
        (0, 18, False),
    ]
    assert rig.wt.stream_recv(4) == (b"bidi-hello", True)
    assert rig.wt.stream_recv(14) == (b"uni-hello", True)
    assert rig.wt.stream_recv(18) == (b"to-be-reset", False)
    rig.peer.stream_shutdown(18, 1, to_http3(42))
    rig.poll()
    with pytest.raises(StreamReset) as reset:
        rig.wt.stream_recv(18)
    assert reset.value.code == 42


def check_request(request: wt.SessionRequested, recorded: list[list[str]]) -> None:
    fields = dict(recorded)
    assert request.authority == fields[":authority"]
    assert request.path == "/wt?sid=cap&x=1"
    assert request.origin == "http://127.0.0.1:8000"
    assert request.headers == [(n, v) for n, v in recorded if not n.startswith(":")]
    assert request.protocols == (["a", "b"] if "wt-available-protocols" in fields else [])
