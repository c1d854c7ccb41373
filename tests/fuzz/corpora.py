"""Samples to mutate: RFC vectors, what browsers sent, and what cwt itself sends."""

from __future__ import annotations

import json
from base64 import b64decode
from functools import cache
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).resolve().parent.parent / "vectors"


def load(name: str) -> Any:
    return json.loads((VECTORS / f"{name}.json").read_text())


@cache
def packets() -> list[bytes]:
    """Initial and Retry packets of RFC 9001 and RFC 9369."""
    return [
        bytes.fromhex(group[name])
        for group in load("initial_packets").values()
        for name in ("client_initial", "server_initial", "retry")
    ]


@cache
def crypto_payloads() -> list[bytes]:
    return [
        bytes.fromhex(group[name])
        for group in load("initial_packets").values()
        for name in ("client_crypto_frame", "server_payload")
    ]


@cache
def client_hellos() -> list[bytes]:
    return [b64decode(value) for value in load("client_hellos").values()]


@cache
def server_messages() -> list[bytes]:
    """Handshake messages that servers sent in RFC 8448."""
    names = ("server_hello", "hello_retry_request", "encrypted_extensions", "certificate")
    names += ("certificate_verify", "server_finished", "server_flight")
    return [
        bytes.fromhex(trace[name])
        for trace in load("rfc8448").values()
        for name in names
        if name in trace
    ]


@cache
def browser_streams() -> list[bytes]:
    """Everything that browsers wrote on the streams of a session."""
    return [
        bytes.fromhex(stream["hex"])
        for session in load("browser_sessions")["sessions"].values()
        for stream in session["streams"].values()
    ]


@cache
def field_sections() -> list[bytes]:
    from tests.h3.support import GET, section

    connect = [
        (b":method", b"CONNECT"),
        (b":protocol", b"webtransport"),
        (b":scheme", b"https"),
        (b":authority", b"localhost"),
        (b":path", b"/"),
        (b"origin", b"https://example.org"),
    ]
    return [section(GET), section(connect), section([(b":status", b"200")])]


@cache
def flights() -> tuple[list[bytes], list[bytes]]:
    """(client's, server's) datagrams of a handshake and some streams, cwt to cwt."""
    from tests.sim.nodes import Tap
    from tests.sim.world import WebTransportWorld

    up, down = Tap(), Tap()
    world = WebTransportWorld("fuzz", up=[up], down=[down])
    world.open_session()
    client = world.client_peer
    stream_id = client.open()
    client.send(stream_id, bytes(3000))
    world.drive(lambda: stream_id in client.finished)
    return [each.data for each in up.seen], [each.data for each in down.seen]
