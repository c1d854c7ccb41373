"""What cwt should reach on any machine, measured here: ``python -m benchmarks.targets [NAME ...]``."""

from __future__ import annotations

from benchmarks.targets import bulk, datagrams, footprint, scaling, sessions
from benchmarks.targets.row import Effort, Result, Row

__all__ = ["ROWS", "Effort", "Result", "Row"]

ROWS = {
    row.name: row
    for row in (
        Row("bulk", "one stream, sans-IO, next to the limit pair", bulk.one_stream),
        Row("streams", "100 streams at once, sans-IO", bulk.streams),
        Row("sessions", "one stream of a session against sans-IO", sessions.session_bulk),
        Row("discovery", "one stream with path MTU discovery", sessions.discovery),
        Row("datagrams", "datagrams one way", datagrams.datagrams),
        Row("requests", "small requests on streams of their own", sessions.requests),
        Row("handshakes", "full handshakes with a session", sessions.handshakes),
        Row("memory", "idle sessions on a server", footprint.memory),
        Row("imports", "importing, in a fresh interpreter", footprint.imports),
        Row("connections", "cost of a byte from 1 to 10,000 connections", scaling.connections),
        Row("many", "cost of a byte from 1 to 10,000 streams of a connection", scaling.streams),
        Row("losses", "cost of a packet under loss and reordering", scaling.losses),
    )
}
