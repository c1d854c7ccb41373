"""Whether the cost of a byte stays the same as connections, streams and losses grow.

In memory: both ends in one process, without a kernel between them, at a congestion window that is held.
Each figure is taken in turn with that of one undisturbed connection, and is its ratio to that.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.drive import Contexts, contexts
from benchmarks.memory_pair import CHUNK, MemoryPair
from benchmarks.targets.row import Effort, Result, spread
from cwt.quic import Connection

__all__ = ["connections", "losses", "streams"]

COUNTS = (1, 10, 100, 1000, 10_000)
MEGABYTES = 100
TURN = 16
"""Chunks written before they are driven to the other side."""
Streams = list[tuple[Connection, int]]


class Cost(NamedTuple):
    """CPU time of both ends."""

    per_byte: float
    per_packet: float


def open_streams(connection: Connection, count: int) -> Streams:
    found = []
    for _ in range(count):
        stream_id = connection.open_stream(False)
        assert stream_id is not None
        found.append((connection, stream_id))
    return found


def one(tls: Contexts, **link: float) -> tuple[MemoryPair, Streams]:
    """A pair with one connection and one stream, warmed up."""
    pair = MemoryPair(tls)
    pair.link.disturb(**link)
    streams = open_streams(pair.connect(1)[0], 1)
    pair.spread(streams, 20 * CHUNK, TURN)
    return pair, streams


def cost(pair: MemoryPair, streams: Streams, total: int, at_once: int = TURN) -> Cost:
    packets, began = pair.link.packets, time.process_time()
    sent = pair.spread(streams, total, at_once)
    spent = time.process_time() - began
    return Cost(spent / sent, spent / (pair.link.packets - packets))


def compare(
    base: tuple[MemoryPair, Streams],
    other: tuple[MemoryPair, Streams],
    total: int,
    rounds: int,
    at_once: tuple[int, int] = (TURN, TURN),
) -> tuple[list[Cost], list[Cost]]:
    """The costs of both, in turn."""
    found: tuple[list[Cost], list[Cost]] = ([], [])
    for _ in range(rounds):
        found[0].append(cost(*base, total, at_once[0]))
        # Everyone gets a turn, so that nothing stays in a cache that would not.
        everyone = max(total, len(other[1]) * CHUNK)
        found[1].append(cost(*other, everyone, at_once[1]))
    return found


def growth(name: str, counts: list[int], costs: list[tuple[list[Cost], list[Cost]]]) -> Result:
    """The line of a table about *name* in growing numbers."""
    ratios = {}
    for count, (base, other) in zip(counts, costs, strict=True):
        ours, theirs = (spread(c.per_byte for c in found) for found in (other, base))
        ratios[count] = {kind: ours[kind] / theirs[kind] for kind in ("min", "median")}
    return Result(
        name=f"1 to {counts[-1]:,} {name}",
        target="flat within 10 %",
        measured=", ".join(
            f"{ratio['min']:.2f} at {count:,} (median {ratio['median']:.2f})"
            for count, ratio in ratios.items()
        ),
        ok=max(ratio["min"] for ratio in ratios.values()) <= 1.10,
        figures={
            "ratios": ratios,
            "cpu_per_gb": {
                count: min(c.per_byte for c in other) * 1e9
                for count, (_, other) in zip(counts, costs, strict=True)
            },
        },
    )


def _counts(effort: Effort) -> list[int]:
    return [count for count in COUNTS if count <= effort.amount(COUNTS[-1], 10)]


def connections(effort: Effort) -> Iterator[Result]:
    """Established connections of one endpoint, which send in turn, 64 KiB at a time."""
    tls, total = contexts(), effort.amount(MEGABYTES * 1_000_000)
    base = one(tls)
    pair = MemoryPair(tls)
    streams: Streams = []
    costs = []
    counts = _counts(effort)
    for count in counts:
        for connection in pair.connect(count - len(streams)):
            streams += open_streams(connection, 1)
        pair.spread(streams, len(streams) * CHUNK, 1)
        costs.append(compare(base, (pair, streams), total, effort.rounds, (1, 1)))
    yield growth("connections", counts, costs)


def streams(effort: Effort) -> Iterator[Result]:
    """Streams of one connection that all have data at the same time."""
    tls, total = contexts(), effort.amount(MEGABYTES * 1_000_000)
    base = one(tls)
    pair = MemoryPair(tls)
    connection = pair.connect(1)[0]
    opened: Streams = []
    costs = []
    counts = _counts(effort)
    for count in counts:
        opened += open_streams(connection, count - len(opened))
        at_once = max(TURN, count)
        pair.spread(opened, len(opened) * CHUNK, at_once)
        costs.append(compare(base, (pair, opened), total, effort.rounds, (TURN, at_once)))
    yield growth("streams", counts, costs)


def losses(effort: Effort) -> Iterator[Result]:
    """Loss and reordering against none: reassembly, acknowledgements and retransmission."""
    tls, total = contexts(), effort.amount(MEGABYTES * 1_000_000)
    base = one(tls)
    for name, link in (
        ("5 % lost", {"loss": 0.05}),
        ("5 % reordered", {"reorder": 0.05}),
        ("5 % lost, 5 % reordered", {"loss": 0.05, "reorder": 0.05}),
    ):
        found = compare(base, one(tls, **link), total, effort.rounds)
        packet, byte = (
            [spread(getattr(c, what) for c in costs) for costs in found]
            for what in ("per_packet", "per_byte")
        )
        ratio = {kind: packet[1][kind] / packet[0][kind] for kind in ("min", "median")}
        yield Result(
            name=name,
            target="a packet within 10 %",
            measured=(
                f"{ratio['min']:.2f} of a packet's CPU (median {ratio['median']:.2f}), "
                f"{byte[1]['min'] / byte[0]['min']:.2f} of a delivered byte's"
            ),
            ok=ratio["min"] <= 1.10,
            figures={"ratio": ratio, "per_packet": packet, "per_byte": byte},
        )
