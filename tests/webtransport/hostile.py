"""Hostile HTTP/3 and WebTransport peers: recorded sessions, broken at random.

``session`` plays one against a connection under test, which does with every event what an application
does.  It returns the error code that the connection was closed with; an exception is a bug.
"""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

from cwt import webtransport as wt
from cwt.config import Config
from cwt.errors import StreamLimitError, StreamReset, StreamStopped
from cwt.h3.capsules import encode_capsule
from tests.h3.support import data_frame, headers_frame
from tests.webtransport.support import SETTINGS, Rig

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "browser_sessions.json").read_text()
)["sessions"]
CONFIGS = (
    Config(),
    Config(qpack_max_table_capacity=4096, qpack_blocked_streams=16),
    Config(max_early_streams=1, max_early_datagrams=1, max_sessions=3),
)
TROUBLE = (b"\xff" * 8, b"\0", b"\x40\x41", b"\xc0" + bytes(7), b"\x40\x54\0", b"\x01\xff")


def mutate(data: bytes, random: Random) -> bytes:
    """*data* with a few bytes changed, removed or inserted; often none."""
    out = bytearray(data)
    for _ in range(random.choice((0, 0, 0, 0, 0, 0, 1, 1, 2, 5))):
        at = random.randrange(len(out) + 1)
        match random.randrange(4):
            case 0:
                out[at : at + 1] = random.randbytes(1)
            case 1:
                del out[at : at + random.randrange(1, 9)]
            case 2:
                out[at:at] = random.randbytes(random.randrange(1, 9))
            case _:
                out[at:at] = random.choice(TROUBLE)
    return bytes(out)


def session(random: Random) -> int | None:
    """One broken session; the error code that the connection was closed with."""
    rig = Rig(
        None,
        random.choice(CONFIGS),
        is_client=random.random() < 0.3,
        window=random.choice((50, 1000, 1 << 20)),
        limit=random.choice((3, 1000)),
    )
    record = VECTORS[random.choice(list(VECTORS))]
    streams = {int(n): bytes.fromhex(r["hex"]) for n, r in record["streams"].items()}
    ids: dict[int, int] = {}
    if rig.quic.is_client:
        streams[0] = headers_frame([(b":status", b"200")]) + data_frame(
            encode_capsule(0x2843, b"\0\0\0\1bye")
        )
        streams[2] = b"\x21"  # not a second control stream
        rig.settings((*SETTINGS[random.choice(list(SETTINGS))], (0x08, 1)))
        try:
            ids[0] = rig.wt.connect("localhost", "/")
        except StreamLimitError:
            pass
    numbers = list(streams)
    if random.random() < 0.5:
        random.shuffle(numbers)
    for number in numbers:
        stream = ids.get(number, rig.peer.open_stream(not number & 2))
        if stream is not None:
            play(rig, stream, mutate(streams[number], random), random)
    for session_id in list(rig.wt._sessions):
        if random.random() < 0.5:
            rig.wt.close(session_id, 1, "enough")
    drive(rig)
    check_bounds(rig)
    return rig.error


def play(rig: Rig, stream: int, data: bytes, random: Random) -> None:
    """Write *data* on a stream in pieces, and end it somehow."""
    peer = rig.peer
    step = random.choice((1 if len(data) < 200 else 17, 19, 100_000))
    offset = tries = 0
    try:
        while offset < len(data) and tries < 400:
            offset += peer.stream_send(stream, data[offset : offset + step])
            tries += 1
            drive(rig)
        end = random.random()
        critical = stream & 2 and data[:1] in (b"\0", b"\2", b"\3")
        if end < 0.4 and not critical:
            peer.stream_send(stream, b"", True)
        elif end < 0.5 and not critical:
            peer.stream_shutdown(stream, 1, random.choice((0, 0x10C, 0x52E4A40FA8DB)))
        if random.random() < 0.1:
            peer.stream_shutdown(stream, 0, 0x10C)
    except (StreamStopped, ValueError):
        pass  # the connection under test refused the stream
    if random.random() < 0.2:
        peer.dgram_send(mutate(b"\0hello", random))
    drive(rig)


def drive(rig: Rig) -> None:
    """Poll, and do with every event what an application does."""
    for event in rig.poll():
        match event:
            case wt.SessionRequested(session_id):
                rig.wt.accept(session_id)
            case wt.StreamReadable(stream_id):
                try:
                    while rig.wt.stream_recv(stream_id) is not None:
                        pass
                except StreamReset:
                    pass
            case wt.StreamWritable(stream_id):
                try:
                    rig.wt.stream_send(stream_id, b"x")
                except StreamStopped:
                    pass


def check_bounds(rig: Rig) -> None:
    """Whatever came, little of it is kept."""
    for request in rig.wt.h3._requests.values():
        if request.reader is not None:
            assert len(request.reader._frames.buffer) < 66_000 + 4096
    assert len(rig.wt.h3._requests) + len(rig.wt._streams) <= 10
