from __future__ import annotations

from pathlib import Path
from typing import Any

from cwt.config import Config
from cwt.h3.qlog import Http3Log, log_of
from cwt.qlog import check, read
from tests.sim.world import WebTransportWorld


class Recorder:
    """A trace that keeps its events."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []

    def event(self, name: str, data: Any, level: str = "base") -> None:
        self.events.append((name, data))


def test_a_session_is_told_by_both_ends(tmp_path: Path) -> None:
    world = WebTransportWorld(config=Config(qlog_dir=tmp_path))
    world.open_session()
    world.client.close(0x100, "")
    world.run_for(3)
    told: dict[str, list[tuple[str, Any]]] = {}
    for path in tmp_path.iterdir():
        log = read(path)
        assert check(log, strict=True) == []
        told[log.vantage_point] = [
            (event.name, event.data) for event in log.events if event.name.startswith("http3:")
        ]
    created = [data for name, data in told["client"] if name == "http3:frame_created"]
    parsed = [data for name, data in told["server"] if name == "http3:frame_parsed"]
    assert created == parsed
    (request,) = created
    fields = {field["name"]: field.get("value") for field in request["frame"]["headers"]}
    assert fields[":method"] == "CONNECT"
    assert fields[":authority"] is None
    for role in told:
        settings = {
            data["initiator"]: data for name, data in told[role] if name == "http3:parameters_set"
        }
        assert settings["local"]["h3_datagram"] == settings["remote"]["h3_datagram"] == 1
        types = [
            (data["initiator"], data["stream_type"])
            for name, data in told[role]
            if name == "http3:stream_type_set"
        ]
        assert {("local", "control"), ("remote", "control")} <= set(types)


def test_values_that_may_be_secrets_stay_out() -> None:
    recorder = Recorder()
    lines = [
        (b":method", b"GET"),
        (b":path", b"/a?token=secret"),
        (b":authority", b"user.example"),
        (b"cookie", b"secret"),
        (b"x-\xff", b"secret"),
    ]
    Http3Log(recorder).headers(True, 0, lines)
    ((name, data),) = recorder.events
    assert name == "http3:frame_created"
    assert data["frame"]["headers"] == [
        {"name": ":method", "value": "GET"},
        {"name": ":path", "value": "/a"},
        {"name": ":authority"},
        {"name": "cookie"},
        {"name": "x-\xff"},
    ]


def test_a_message_of_the_peer_is_not_told_without_end() -> None:
    recorder = Recorder()
    Http3Log(recorder).headers(False, 4, [(b"n" * 5000, b"v")] * 5000)
    ((_, data),) = recorder.events
    assert len(data["frame"]["headers"]) <= 128
    assert all(len(field["name"]) <= 256 for field in data["frame"]["headers"])


def test_streams_by_their_types() -> None:
    recorder = Recorder()
    log = Http3Log(recorder)
    for stream_type in (0x00, 0x02, 0x54, 0x21, 0x21 + 0x1F * 7):
        log.stream("remote", 3, stream_type)
    log.goaway(False, 3, 12)
    types = [data.get("stream_type") for _, data in recorder.events]
    assert types == ["control", "qpack_encode", "unknown", "reserved", "reserved", None]
    assert recorder.events[2][1]["stream_type_bytes"] == 0x54
    assert recorder.events[-1] == (
        "http3:frame_parsed",
        {"stream_id": 3, "frame": {"frame_type": "goaway", "id": 12}},
    )


def test_a_connection_without_a_log_has_none() -> None:
    world = WebTransportWorld()
    assert log_of(world.client) is None
    assert log_of(object()) is None
