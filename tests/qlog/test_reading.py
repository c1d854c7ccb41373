from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from cwt.qlog import QlogError, read
from cwt.qlog.summary import percentile, summarize
from tests.qlog.worlds import finish, logs, lossy, transfer

HEADER: dict[str, Any] = {
    "file_schema": "urn:ietf:params:qlog:file:sequential",
    "serialization_format": "application/qlog+json-seq",
    "trace": {
        "common_fields": {"group_id": "c0ffee"},
        "vantage_point": {"name": "other", "type": "server"},
        "event_schemas": ["urn:ietf:params:qlog:events:quic-12"],
    },
}
EVENT = {"time": 10.5, "name": "quic:packet_sent", "data": {"header": {"packet_type": "1RTT"}}}


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def sequence(*records: object) -> str:
    return "".join(f"\x1e{json.dumps(record)}\n" for record in records)


def test_a_sequence(tmp_path: Path) -> None:
    later = {**EVENT, "time": 12.0}
    log = read(write(tmp_path / "a.sqlog", sequence(HEADER, EVENT, later)))
    assert (log.group, log.implementation, log.vantage_point) == ("c0ffee", "other", "server")
    assert [event.time for event in log.events] == [0, 1.5]
    assert not log.truncated


def test_a_sequence_that_is_cut_off(tmp_path: Path) -> None:
    text = sequence(HEADER, EVENT, EVENT)[:-20]
    log = read(write(tmp_path / "a.sqlog", text))
    assert len(log.events) == 1
    assert log.truncated


def test_times_since_the_event_before(tmp_path: Path) -> None:
    header = json.loads(json.dumps(HEADER))
    header["trace"]["common_fields"]["time_format"] = "relative_to_previous_event"
    log = read(write(tmp_path / "a.sqlog", sequence(header, EVENT, EVENT, EVENT)))
    assert [event.time for event in log.events] == [0, 10.5, 21]


def test_gzip_and_lines(tmp_path: Path) -> None:
    text = sequence(HEADER, EVENT).replace("\x1e", "")
    path = tmp_path / "a.sqlog.gz"
    path.write_bytes(gzip.compress(text.encode()))
    assert len(read(path).events) == 1


def test_a_contained_file_with_the_names_of_old(tmp_path: Path) -> None:
    trace = {
        "common_fields": {"ODCID": "beef"},
        "vantage_point": {"name": "aioquic", "type": "client"},
        "events": [
            {"time": 1000.0, "name": "transport:packet_sent", "data": {}},
            {"time": 1001.0, "name": "recovery:metrics_updated", "data": {"cwnd": 12000}},
            {"time": 1002.0, "name": "security:key_updated", "data": {}},
        ],
    }
    path = write(tmp_path / "a.qlog", json.dumps({"qlog_version": "0.3", "traces": [trace]}))
    log = read(path)
    assert log.group == "beef"
    assert [event.name for event in log.events] == [
        "quic:packet_sent",
        "quic:recovery_metrics_updated",
        "quic:key_updated",
    ]
    assert summarize(log).congestion_window == [12000]


def test_events_as_lists(tmp_path: Path) -> None:
    trace = {
        "event_fields": ["relative_time", "category", "event", "data"],
        "events": [[3, "TRANSPORT", "PACKET_SENT", {"packet_type": "1RTT"}]],
    }
    log = read(write(tmp_path / "a.qlog", json.dumps({"traces": [trace]})))
    assert [event.name for event in log.events] == ["quic:packet_sent"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "is no JSON|does not describe a trace"),
        ("[]", "is a JSON object"),
        ("{}", "does not describe a trace"),
        ("hello", "line 1 is no JSON"),
        ('{"traces": []}', "there is no trace in it"),
        ('{"traces": [{"error_description": "not found"}]}', "not found"),
        (sequence({"trace": {}}, {"name": "a:b"}), "event 1 has no time"),
        (sequence({"trace": {}}, {"time": 1}), "event 1 has no name"),
        (sequence({"trace": {}}, {"time": 1, "name": "a:b", "data": 3}), "is no object"),
        (sequence({"trace": {}}, 5), "record 2 is no JSON object"),
        ("\x1e{\n\x1e{}\n", "record 1 is no JSON"),
    ],
)
def test_what_is_no_qlog(tmp_path: Path, text: str, fault: str) -> None:
    with pytest.raises(QlogError, match=fault):
        read(write(tmp_path / "a.sqlog", text))


def test_broken_gzip(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlog.gz"
    path.write_bytes(b"\x1f\x8b\x08nothing")
    with pytest.raises(QlogError, match="cannot be decompressed"):
        read(path)


def test_a_summary_tells_what_the_connection_counted(tmp_path: Path) -> None:
    world = lossy(tmp_path)
    transfer(world)
    world.client.initiate_key_update()
    world.run_for(1)
    finish(world, reason="all done")
    client, server = (summarize(read(path)) for path in logs(tmp_path))
    stats = world.client.stats()
    assert len(client.sent) == stats.packets_sent
    assert sum(packet.size for packet in client.sent) == stats.bytes_sent
    assert len(client.received) == stats.packets_received
    assert len(client.lost) == stats.packets_lost > 0
    assert sum(packet.size for _, packet in client.lost if packet) == stats.bytes_lost
    assert sum(packet.stream_bytes for packet in client.sent) == (
        500_000 + stats.stream_bytes_retransmitted
    )
    assert client.rtt[0] == pytest.approx(1000 * stats.min_rtt)
    assert (client.alpn, client.version, client.cipher) == (
        "h3",
        "00000001",
        "AES_128_GCM_SHA256",
    )
    assert stats.handshake_duration is not None
    assert client.states["handshake_complete"] == pytest.approx(
        1000 * stats.handshake_duration, abs=1
    )
    assert [who for _, who in client.key_updates] == ["local"]
    assert [who for _, who in server.key_updates] == ["remote"]
    assert client.parameters["local"]["initial_max_data"] == 1536 * 1024
    assert client.closed is not None
    assert server.closed is not None
    assert client.closed[1] == "this side closed: application error http_no_error, 'all done'"
    assert server.closed[1] == "the peer closed: application error http_no_error, 'all done'"
    assert "recovery" in [state for _, state in client.congestion_states]


def test_percentiles() -> None:
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, at) for at in (0.0, 0.5, 0.9, 0.99, 1.0)] == [1, 50, 90, 99, 100]
    assert percentile([7.0], 0.5) == 7
