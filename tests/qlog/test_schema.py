from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from cwt import qlog, quic
from cwt._core.qlog.trace import EVENT_SCHEMAS
from cwt.config import Config
from cwt.qlog.definitions import EVENTS, EXTENSIONS, FRAMES
from cwt.qlog.summary import summarize
from cwt.testing import Corrupt, Delay, Drop, Duplicate, Reorder
from tests.qlog.worlds import finish, logs, lossy, traced, transfer
from tests.sim.early import EarlyWorld
from tests.sim.nodes import Rebind
from tests.sim.world import World


def faultless(directory: Path, least: int = 2) -> set[str]:
    """Check every file in *directory*; the names of all events."""
    names: set[str] = set()
    files = sorted(directory.glob("*.sqlog"))
    assert len(files) >= least
    for path in files:
        log = qlog.read(path)
        assert qlog.check(log, strict=True) == []
        names |= {event.name for event in log.events}
    return names


@pytest.mark.parametrize("level", qlog.LEVELS)
def test_a_lossy_transfer(tmp_path: Path, level: str) -> None:
    world = lossy(tmp_path, level)
    transfer(world)
    finish(world)
    names = faultless(tmp_path)
    assert "quic:packet_lost" in names
    assert ("quic:congestion_state_updated" in names) == (level != "core")
    assert ("quic:packets_acked" in names) == (level == "extra")


def test_every_impairment_at_once(tmp_path: Path) -> None:
    up = [Delay(0.02), Drop(0.02), Duplicate(0.05), Reorder(0.05), Corrupt(0.02)]
    down = [Delay(0.02), Drop(0.02), Duplicate(0.05), Reorder(0.05), Corrupt(0.02)]
    world = traced(tmp_path, up=[*up], down=[*down])
    transfer(world, 200_000)
    finish(world)
    assert "quic:packet_dropped" in faultless(tmp_path)
    triggers = {
        event.data["trigger"]
        for path in logs(tmp_path)
        for event in qlog.read(path).named("quic:packet_dropped")
    }
    assert triggers >= {"duplicate", "decryption_failure"}


def test_a_migration_and_a_key_update(tmp_path: Path) -> None:
    nat = Rebind(0.5)
    world = traced(tmp_path, up=[Delay(0.02), nat], down=[Delay(0.02), nat.back])
    world.establish()
    world.run_for(0.4)
    assert world.client.initiate_key_update()
    for _ in range(4):
        world.client.ping()
        world.run_for(0.3)
    finish(world)
    names = faultless(tmp_path)
    assert {"quic:tuple_assigned", "quic:migration_state_updated"} <= names
    _, server = logs(tmp_path)
    log = qlog.read(server)
    states = [event.data["new"] for event in log.named("quic:migration_state_updated")]
    assert states == ["migration_started", "migration_complete"]
    triggers = [event.data["trigger"] for event in log.named("quic:key_updated")]
    assert triggers.count("remote_update") == 2


def test_every_kind_of_frame(tmp_path: Path) -> None:
    world = traced(tmp_path)
    world.establish()
    client = world.client
    for direction in (quic.Shutdown.READ, quic.Shutdown.WRITE):
        stream = client.open_stream()
        assert stream is not None
        client.stream_send(stream, b"x" * 10)
        client.stream_shutdown(stream, direction, 0x10C)
    client.dgram_send(b"datagram")
    while client.open_stream(False) is not None:
        pass
    big = client.open_stream()
    assert big is not None
    for _ in range(40):
        client.stream_send(big, bytes(65536))
        world.run_for(0.1)
    finish(world)
    faultless(tmp_path)
    kinds = {
        frame["frame_type"]
        for path in logs(tmp_path)
        for event in qlog.read(path).named("quic:packet_sent", "quic:packet_received")
        for frame in event.data["frames"]
    }
    assert kinds >= {
        "ack",
        "connection_close",
        "crypto",
        "datagram",
        "handshake_done",
        "new_connection_id",
        "padding",
        "ping",
        "reset_stream",
        "stop_sending",
        "stream",
        "stream_data_blocked",
        "streams_blocked",
    }
    assert kinds <= FRAMES.keys() | EXTENSIONS.keys()
    assert "unknown" not in kinds


def test_the_ends_of_connections(tmp_path: Path) -> None:
    idle = tmp_path / "idle"
    world = World("qlog", client_config=Config(qlog_dir=idle, max_idle_timeout=2.0))
    world.establish()
    world.run_for(60)
    assert world.client.is_closed
    silent = tmp_path / "silent"
    world = World("qlog", up=[Drop(1.0)], client_config=Config(qlog_dir=silent))
    world.run_for(15)
    reasons = {}
    for directory in (idle, silent):
        assert faultless(directory, 1)
        (path,) = directory.glob("*_client.sqlog")
        (closed,) = qlog.read(path).named("quic:connection_closed")
        reasons[directory.name] = closed.data
    assert reasons["idle"]["trigger"] == "idle_timeout"
    assert reasons["silent"]["trigger"] == "error"
    assert "did not complete" in reasons["silent"]["reason"]


def test_a_retry(tmp_path: Path) -> None:
    config = Config(qlog_dir=tmp_path, qlog_level="extra")
    world = World("qlog", client_config=config, server_config=config, retry="always")
    world.establish()
    world.run_for(1)
    finish(world)
    faultless(tmp_path)
    client, server = logs(tmp_path)
    received = [event.data for event in qlog.read(client).named("quic:packet_received")]
    assert received[0]["header"]["packet_type"] == "retry"
    sent = [event.data["header"] for event in qlog.read(client).named("quic:packet_sent")]
    assert "token" not in sent[0]
    assert any(header.get("token", {}).get("raw", {}).get("length", 0) > 16 for header in sent)
    # Named after the first Destination Connection ID, on both sides.
    assert client.name.partition("_")[0] == server.name.partition("_")[0]


def test_the_schema_is_the_one_that_the_files_name() -> None:
    assert [schema.rpartition(":")[2] for schema in EVENT_SCHEMAS[:2]] == ["quic-13", "http3-13"]
    assert all(name.partition(":")[0] in ("quic", "http3", "http") for name in EVENTS)


# The check itself: whatever is wrong is found.


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> qlog.Log:
    directory = tmp_path_factory.mktemp("qlog")
    world = lossy(directory)
    transfer(world, 100_000)
    finish(world)
    log = qlog.read(logs(directory)[0])
    assert qlog.check(log, strict=True) == []
    return log


def first(log: qlog.Log, name: str) -> dict[str, Any]:
    return next(log.named(name)).data


@pytest.mark.parametrize(
    ("name", "change", "fault"),
    [
        ("quic:packet_sent", lambda data: data.pop("header"), "header is missing"),
        (
            "quic:packet_sent",
            lambda data: data["header"].pop("packet_type"),
            "packet_type is missing",
        ),
        (
            "quic:packet_sent",
            lambda data: data["header"].update(packet_type="1rtt"),
            "header.packet_type is '1rtt', which is none of initial",
        ),
        (
            "quic:packet_sent",
            lambda data: data["header"].update(packet_number="7"),
            "header.packet_number is '7', not uint64",
        ),
        (
            "quic:packet_sent",
            lambda data: data["frames"][0].update(frame_type="cryptic"),
            "frames[0].frame_type is 'cryptic', which is no frame",
        ),
        (
            "quic:packet_sent",
            lambda data: data["frames"][0].pop("offset"),
            "frames[0].offset is missing",
        ),
        ("quic:packet_sent", lambda data: data["header"].update(scid="ABC"), "not hexstring"),
        ("quic:packet_sent", lambda data: data.update(frames={}), "frames is no list"),
        ("quic:packet_sent", lambda data: data.update(raw=5), "raw is no object"),
        ("quic:packet_sent", lambda data: data.update(lengths=5), "lengths is not defined"),
        (
            "quic:timer_updated",
            lambda data: data.update(delta="soon"),
            "delta is 'soon', not number",
        ),
        ("quic:timer_updated", lambda data: data.pop("event_type"), "event_type is missing"),
        (
            "quic:recovery_metrics_updated",
            lambda data: data.update(congestion_window=-1),
            "congestion_window is -1, not uint64",
        ),
        (
            "quic:connection_closed",
            lambda data: data.update(connection_error="crypto_error_0x2ff"),
            "connection_error is 'crypto_error_0x2ff', which is none of what it may be",
        ),
    ],
)
def test_faults_in_events(good: qlog.Log, name: str, change: Any, fault: str) -> None:
    log = copy.deepcopy(good)
    change(first(log, name))
    (found,) = qlog.check(log, strict=True)
    assert found.startswith("event ")
    assert f", {name}: " in found
    assert fault in found


def test_faults_in_the_header(good: qlog.Log) -> None:
    log = copy.deepcopy(good)
    log.header["file_schema"] = "urn:example"
    log.trace["vantage_point"]["type"] = "elsewhere"
    log.trace["event_schemas"] = ["urn:ietf:params:qlog:events:http3-13"]
    log.events[0].name = "quic:no_such_event"
    faults = "\n".join(qlog.check(log))
    assert "the file: file_schema is 'urn:example'" in faults
    assert "the trace: vantage_point.type is 'elsewhere'" in faults
    assert "its event_schemas have none for quic:" in faults
    assert "there is no such event" in faults


def test_old_names_are_faults_but_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "old.qlog"
    events = [
        {"time": 5, "name": "transport:packet_sent", "data": {"header": {"packet_type": "1RTT"}}}
    ]
    trace = {"vantage_point": {"type": "client"}, "events": events}
    path.write_text(json.dumps({"qlog_version": "0.3", "traces": [trace]}))
    log = qlog.read(path)
    assert [event.name for event in log.events] == ["quic:packet_sent"]
    assert any(
        "transport:packet_sent is called quic:packet_sent today" in f for f in qlog.check(log)
    )


def test_early_data(tmp_path: Path) -> None:
    world = EarlyWorld(config=Config(qlog_dir=tmp_path, qlog_level="extra"))
    world.prime()
    first = set(tmp_path.iterdir())
    client = world.connect([Delay(0.02)], [Delay(0.02)])
    stream = world.send(b"early")
    world.drive(lambda: stream in world.ended)
    assert client.early_data_accepted
    client.close(0, "done")
    world.drive(lambda: client.is_closed and world.server is not None and world.server.is_closed)
    faultless(tmp_path, 4)
    for path in sorted(set(tmp_path.iterdir()) - first):
        log = qlog.read(path)
        name = f"quic:packet_{'sent' if log.vantage_point == 'client' else 'received'}"
        types = [event.data["header"]["packet_type"] for event in log.named(name)]
        assert "0RTT" in types
        keys = [event.data["key_type"] for event in log.named("quic:key_updated")]
        assert keys.count("client_0rtt_secret") == 1
        if log.vantage_point == "client":
            (restored,) = log.named("quic:parameters_restored")
            assert restored.data["initial_max_data"] == 1536 * 1024


def test_version_negotiation(tmp_path: Path) -> None:
    options = {"qlog_dir": tmp_path, "qlog_level": "extra"}
    versions = (quic.PROTOCOL_VERSION_2, quic.PROTOCOL_VERSION)
    client = Config(versions=versions, initial_version=quic.PROTOCOL_VERSION_2, **options)
    server = Config(versions=(quic.PROTOCOL_VERSION,), **options)
    world = World("qlog", client_config=client, server_config=server)
    world.establish()
    world.run_for(1)
    finish(world)
    faultless(tmp_path)
    (path,) = tmp_path.glob("*_client.sqlog")
    log = qlog.read(path)
    first = next(log.named("quic:packet_received")).data
    assert first["header"]["packet_type"] == "version_negotiation"
    assert "00000001" in first["supported_versions"]
    chosen = [event.data["chosen_version"] for event in log.named("quic:version_information")]
    assert chosen == ["6b3343cf", "00000001"]


def test_losses_that_were_none(tmp_path: Path) -> None:
    world = traced(tmp_path, up=[Delay(0.02), Reorder(0.3, 0.05)], level="base")
    transfer(world, 300_000)
    world.run_for(1)
    late = world.client.stats().packets_lost_spuriously
    finish(world)
    assert late > 0
    faultless(tmp_path)
    client, _ = logs(tmp_path)
    assert len(list(qlog.read(client).named("cwt:spurious_loss"))) == late
    assert summarize(qlog.read(client)).spurious == late
