from __future__ import annotations

import json
import logging
from random import Random
from typing import Any

import pytest

from cwt import quic
from cwt._core.qlog.trace import Trace
from cwt.config import Config
from cwt.testing import Delay
from cwt.tls import ClientContext
from tests.sim.world import NAME, World


def records(data: bytes) -> list[dict[str, Any]]:
    """The texts of a JSON text sequence (RFC 7464)."""
    parts = bytes(data).split(b"\x1e")
    assert parts[0] == b"", "it begins with a record separator"
    assert all(part.endswith(b"\n") for part in parts[1:])
    return [json.loads(part) for part in parts[1:]]


class Logs:
    """The qlogs of a world's connections."""

    def __init__(self, level: str = "extra") -> None:
        self.level = level
        self.client = bytearray()
        self.server = bytearray()

    def __call__(self, config: object, odcid: bytes, is_client: bool) -> dict[str, Any]:
        log = self.client if is_client else self.server
        return {"writer": log.extend, "level": self.level}


def traced_world(level: str = "extra", **options: Any) -> tuple[World, Logs]:
    world = World(7, up=[Delay(0.01)], down=[Delay(0.01)], **options)
    logs = Logs(level)
    world.server_endpoint.qlog = logs
    world.client.set_qlog(logs.client.extend, level=level)
    return world, logs


def finish(world: World, code: int = 0, reason: str = "") -> None:
    world.client.close(code, reason)
    world.run_for(5)
    assert world.client.is_closed and world.server.is_closed


def events(data: bytes, name: str) -> list[dict[str, Any]]:
    return [record["data"] for record in records(data)[1:] if record["name"] == name]


def test_a_log_is_a_json_text_sequence_with_a_header() -> None:
    world, logs = traced_world()
    world.establish()
    finish(world)
    for role, log in (("client", logs.client), ("server", logs.server)):
        header, *rest = records(log)
        assert header["file_schema"] == "urn:ietf:params:qlog:file:sequential"
        assert header["serialization_format"] == "application/qlog+json-seq"
        assert header["trace"]["vantage_point"]["type"] == role
        assert header["trace"]["common_fields"]["group_id"] == world.client.qlog.group  # type: ignore[union-attr]
        times = [record["time"] for record in rest]
        assert times == sorted(times)
        assert times[0] == 0


def test_what_one_sends_the_other_receives() -> None:
    world, logs = traced_world("core")
    world.establish()
    stream = world.client.open_stream()
    assert stream is not None
    world.client.stream_send(stream, b"x" * 50_000, True)
    world.run_for(1)
    finish(world)
    sent = events(logs.client, "quic:packet_sent")
    received = events(logs.server, "quic:packet_received")
    assert {key(packet): packet["frames"] for packet in sent} == {
        key(packet): packet["frames"] for packet in received
    }
    carried = [frame for packet in sent for frame in packet["frames"]]
    streams = [frame for frame in carried if frame["frame_type"] == "stream"]
    assert sum(frame["raw"]["payload_length"] for frame in streams) == 50_000
    assert [frame["fin"] for frame in streams if "fin" in frame] == [True]
    assert {frame["frame_type"] for frame in carried} >= {"ack", "crypto", "padding", "stream"}


def key(packet: dict[str, Any]) -> tuple[str, int]:
    return packet["header"]["packet_type"], packet["header"]["packet_number"]


def test_levels_leave_out_what_is_less_important() -> None:
    names = {}
    for level in ("core", "base", "extra"):
        world, logs = traced_world(level)
        world.establish()
        finish(world)
        names[level] = {record["name"] for record in records(logs.client)[1:]}
    assert names["core"] < names["base"] < names["extra"]
    assert "quic:packet_sent" in names["core"]
    assert "quic:connection_closed" in names["base"] - names["core"]
    assert "quic:udp_datagrams_sent" in names["extra"] - names["base"]


def test_a_level_must_be_one_of_three() -> None:
    world = World(1)
    with pytest.raises(ValueError, match="one of core, base, extra"):
        world.client.set_qlog(bytearray().extend, level="verbose")


def test_the_reason_of_the_peer_cannot_forge_events() -> None:
    world, logs = traced_world()
    world.establish()
    reason = 'quote " backslash \\ \x1e{"time":0,"name":"forged","data":{}}\n é \U0001f600'
    finish(world, 7, reason)
    for log in (logs.client, logs.server):
        (closed,) = events(log, "quic:connection_closed")
        assert closed["reason"] == reason
        assert closed["application_error"] == "unknown"
        assert closed["error_code"] == 7
    assert events(logs.client, "quic:connection_closed")[0]["initiator"] == "local"
    assert events(logs.server, "quic:connection_closed")[0]["initiator"] == "remote"


def test_no_secrets_are_told() -> None:
    world, logs = traced_world()
    world.establish()
    finish(world)
    for log in (logs.client, logs.server):
        text = bytes(log).decode()
        assert "stateless_reset_token" not in text
        assert '"token":{"type":"resumption","data"' not in text
        assert "new_connection_id" in text
    token = world.client.peer_transport_parameters.stateless_reset_token  # type: ignore[union-attr]
    assert token is not None
    assert token.hex() not in bytes(logs.client + logs.server).decode()


class Broken:
    """A writer that works a few times, then not any more."""

    def __init__(self, works: int) -> None:
        self.works = works
        self.calls = 0

    def write(self, data: bytes) -> None:
        self.calls += 1
        if self.calls > self.works:
            raise OSError(28, "No space left on device")


def test_a_writer_that_fails_ends_the_log_and_not_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World(3, up=[Delay(0.01)], down=[Delay(0.01)])
    writer = Broken(2)
    world.client.set_qlog(writer)
    world.establish()
    stream = world.client.open_stream()
    assert stream is not None
    world.client.stream_send(stream, b"x" * 200_000, True)
    with caplog.at_level(logging.WARNING, "cwt"):
        world.run_for(3)
        finish(world)
    assert writer.calls == 3
    warnings = [record.getMessage() for record in caplog.records if "qlog" in record.getMessage()]
    assert len(warnings) == 1
    assert "No space left on device" in warnings[0]
    assert world.client.termination is not None
    assert "closed the connection" in str(world.client.termination)


def test_a_log_can_be_ended() -> None:
    world, logs = traced_world()
    world.establish()
    world.client.set_qlog(None)
    size = len(logs.client)
    assert size and world.client.qlog is None
    finish(world)
    assert len(logs.client) == size


def test_what_is_no_connection_writes_nothing() -> None:
    # Datagrams that look like Initial packets are free; files for them would not be.
    logs = Logs()
    tls = World(1).server_endpoint.tls
    endpoint = quic.Endpoint(Config(), tls=tls, random=Random(1).randbytes)
    endpoint.qlog = logs
    forged = (
        b"\xc0\x00\x00\x00\x01\x08" + bytes(8) + b"\x08" + bytes(8) + b"\x00\x44\x96" + bytes(1174)
    )
    endpoint.recv(forged, quic.RecvInfo(("192.0.2.1", 1), ("192.0.2.2", 2)), 0.0)
    assert endpoint.connections == 0
    assert not logs.server


def test_a_lone_connection_is_logged_too() -> None:
    # quic.Connection without an endpoint: Host.qlog or set_qlog.
    endpoint = quic.Endpoint(Config(), random=Random(2).randbytes)
    logs = Logs()
    endpoint.qlog = logs
    client = endpoint.connect(
        NAME, ("192.0.2.2", 2), ClientContext(alpn=[b"h3"], verify=False), 0.0
    )
    assert client.send(0.5) is not None
    client.set_qlog(None)
    assert next(record["name"] for record in records(logs.client)[1:]) == "quic:connection_started"


def test_events_of_the_layers_above() -> None:
    log = bytearray()
    trace = Trace(log.extend, "base", True, b"\x01\x02", "title", "description")
    trace.event("http3:frame_created", {"stream_id": 4, "frame": {"frame_type": "data"}})
    trace.event("http3:frame_created", {"stream_id": 8}, "extra")
    trace.event("http3:parameters_set", {})
    del trace
    header, first, second = records(log)
    assert (header["title"], header["description"]) == ("title", "description")
    assert first["data"] == {"stream_id": 4, "frame": {"frame_type": "data"}}
    assert second["data"] == {}


def test_an_event_that_is_no_json_ends_the_log(caplog: pytest.LogCaptureFixture) -> None:
    log = bytearray()
    trace = Trace(log.extend, "base", True, b"\x01\x02")
    with caplog.at_level(logging.WARNING, "cwt"):
        trace.event("cwt:wrong", {"value": object()})
        trace.event("cwt:right", {})
    del trace
    assert len(caplog.records) == 1
    assert not log
