"""Transfers of 10 MB under each of many impairments: ``python -m tests.sim.matrix --seeds 200``.

Odd seeds send to the server, even ones to the client.  What an impairment does, it does in both directions.
The test suite runs a few seeds of each (``tests/scenarios/test_matrix.py``), a nightly job hundreds.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import NamedTuple

from cwt._types import RecvInfo, SendInfo
from cwt.config import Config, TransportConfig
from cwt.quic import Connection
from cwt.testing import Corrupt, Delay, Drop, Duplicate, End, Node
from tests.sim.nodes import (
    Blackhole,
    Bottleneck,
    Displace,
    DropWhile,
    Mark,
    Mtu,
    Rebind,
    Rewrite,
)
from tests.sim.world import World

SIZE = 10_000_000
RATE = 2_500_000.0
"""Bytes a second: a transfer takes four seconds and more."""
ROOM = 100_000
"""Bytes that wait in front of it: what the path holds besides."""
ETHERNET = 1472
"""UDP payload of 1500 bytes over IPv4."""
PATIENCE = 600.0
"""Virtual seconds after which a transfer counts as stuck."""


class Clock:
    """An end whose clock jumps ahead by so many seconds at these times."""

    def __init__(self, end: End, *jumps: tuple[float, float]) -> None:
        self.end = end
        self.jumps = jumps

    def __call__(self, now: float) -> float:
        return now + sum(seconds for at, seconds in self.jumps if now >= at)

    def recv(self, datagram: bytes, info: RecvInfo, now: float) -> object:
        return self.end.recv(datagram, info, self(now))

    def send(self, now: float) -> tuple[bytes, SendInfo] | None:
        out = self.end.send(self(now))
        return None if out is None else (out[0], out[1]._replace(at=now))

    def timeout(self, now: float) -> float | None:
        return self.end.timeout(self(now))

    def on_timeout(self, now: float) -> object:
        return self.end.on_timeout(self(now))


@dataclass
class Setup:
    """What a run is made of: the nodes before the bottleneck of each direction, and the rest."""

    rng: Random
    up: list[Node] = field(default_factory=list)
    down: list[Node] = field(default_factory=list)
    at_client: list[Node] = field(default_factory=list)
    """On the way down, behind everything else."""
    delay: float = 0.02
    mtu_drop: tuple[tuple[float, int], ...] = ()
    """When the MTU becomes another, and which."""
    config: TransportConfig = field(default_factory=Config)
    client_jumps: list[tuple[float, float]] = field(default_factory=list)
    server_jumps: list[tuple[float, float]] = field(default_factory=list)

    def path(self) -> list[Node]:
        """What the impairments come on top of."""
        return [Mtu(ETHERNET, *self.mtu_drop), Bottleneck(RATE, ROOM), Delay(self.delay)]

    def both(self, make: Callable[[], Node]) -> None:
        """A node of its own for each direction."""
        self.up.append(make())
        self.down.append(make())


class Transfer(World):
    """A client and a server, and *size* bytes between them in one stream."""

    def __init__(self, setup: Setup, seed: int, size: int = SIZE) -> None:
        super().__init__(
            seed,
            up=[*setup.up, *setup.path()],
            down=[*setup.down, *setup.path(), *setup.at_client],
            client_config=setup.config,
            server_config=setup.config,
        )
        self.pair.client = Clock(self.client_endpoint, *setup.client_jumps)
        self.pair.server = Clock(self.server_endpoint, *setup.server_jumps)
        self.payload = Random(f"payload/{seed}").randbytes(size)
        self.is_upload = seed % 2 == 1
        self.received = bytearray()
        self.is_finished = False
        self._sender: Connection | None = None
        self._sent = 0
        self._stream = -1

    def work(self) -> None:
        super().work()
        if self._stream < 0 and self.client.is_established:
            self._stream = self.client.open_stream() or 0
            if self.is_upload:
                self._sender = self.client
            else:
                self.client.stream_send(self._stream, b"please", True)
        if self._stream < 0:
            return
        for connection in (self.client, *self.servers):
            if connection.readable():
                self._read(connection)
        if self._sender is not None and self._sent < len(self.payload):
            self._send(self._sender)

    def _read(self, connection: Connection) -> None:
        while (got := connection.stream_recv(self._stream)) is not None:
            data, fin = got
            if not self.is_upload and not connection.is_client:
                self._sender = connection
            else:
                self.received += data
                self.is_finished = fin
            if fin:
                return

    def _send(self, connection: Connection) -> None:
        part = memoryview(self.payload)[self._sent : self._sent + 262_144]
        if connection.termination is None:
            last = self._sent + len(part) == len(self.payload)
            self._sent += connection.stream_send(self._stream, part, last)

    @property
    def ends(self) -> Iterable[Connection]:
        """The connections there are."""
        return (self.client, *self.servers)

    def run(self) -> None:
        """AssertionError unless every byte arrives as it was sent, and nobody gives up."""
        is_over = lambda: self.is_finished or any(end.termination for end in self.ends)  # noqa: E731
        try:
            self.drive(is_over, PATIENCE)
        except TimeoutError:
            raise AssertionError(f"stuck: {self.state()}") from None
        assert self.is_finished, self.state()
        assert self.received == self.payload, "what arrived is not what was sent"

    def state(self) -> str:
        """Where it stands, for whoever has to find out why."""
        lines = [f"{len(self.received)} of {len(self.payload)} bytes at {self.now:.3f} s"]
        for name, end in zip(("client", "server"), self.ends, strict=False):
            lines.append(f"{name}: {end.termination!r}, {end.stats()}")
        return "\n".join(lines)


IMPAIRMENTS: dict[str, Callable[[Setup], None]] = {}
"""Each changes a plain setup; the docstring says what it does."""


def impairment(function: Callable[[Setup], None]) -> Callable[[Setup], None]:
    IMPAIRMENTS[function.__name__.replace("_", "-")] = function
    return function


@impairment
def none(setup: Setup) -> None:
    """20 Mbit/s, 40 ms, a queue of as much, 1500 bytes."""


@impairment
def handshake_loss(setup: Setup) -> None:
    """30 % loss until the handshake is confirmed."""
    setup.config = Config(handshake_timeout=60, max_idle_timeout=60)
    setup.both(partial(DropWhile, 0.3))


@impairment
def loss(setup: Setup) -> None:
    """10 % loss."""
    setup.both(partial(Drop, 0.1))


@impairment
def corruption(setup: Setup) -> None:
    """2 % of the datagrams with one to three wrong bytes."""
    setup.both(partial(Corrupt, 0.02))


@impairment
def reordering(setup: Setup) -> None:
    """5 % of the datagrams come 50 datagrams late."""
    # Where fewer are under way, by the time that so many take on the link.
    setup.both(partial(Displace, 0.05, 50, 50 * ETHERNET / RATE))


@impairment
def duplication(setup: Setup) -> None:
    """20 % of the datagrams come twice, the second one up to 50 ms later."""
    setup.both(partial(Duplicate, 0.2, 0.05))


@impairment
def blackholes(setup: Setup) -> None:
    """Two times two seconds without anything."""
    first = setup.rng.uniform(0.0, 2.0)
    second = first + 2.0 + setup.rng.uniform(0.2, 2.0)
    setup.both(partial(Blackhole, (first, first + 2.0), (second, second + 2.0)))


@impairment
def rebinding(setup: Setup) -> None:
    """A NAT that forgets the client's port each second."""
    start = setup.rng.uniform(0.2, 1.2)  # in the handshake no address may change (Section 9)
    nat = Rebind(*(start + second for second in range(60)))
    setup.up.append(nat)
    setup.at_client.append(nat.back)


@impairment
def smaller_mtu(setup: Setup) -> None:
    """From 1500 bytes to 1280 on the way."""
    setup.mtu_drop = ((setup.rng.uniform(0.5, 3.5), 1280 - 28),)


@impairment
def delay(setup: Setup) -> None:
    """750 ms each way."""
    setup.delay = 0.75


@impairment
def ecn_marking(setup: Setup) -> None:
    """5 % of the datagrams with CE."""
    setup.both(partial(Mark, 0.05))


@impairment
def ecn_bleaching(setup: Setup) -> None:
    """ECN bits cleared, from the start or on the way."""
    setup.both(partial(Rewrite, 0, setup.rng.choice([0.0, setup.rng.uniform(0.1, 3.0)])))


@impairment
def clock_jumps(setup: Setup) -> None:
    """Both clocks jump ahead, three times by up to eight seconds."""
    for jumps in (setup.client_jumps, setup.server_jumps):
        for _ in range(3):
            jumps.append((setup.rng.uniform(0.0, 4.0), setup.rng.uniform(0.1, 8.0)))


def build(name: str, seed: int, size: int = SIZE) -> Transfer:
    """The run of impairment *name* and *seed*."""
    setup = Setup(Random(f"{name}/{seed}"))
    IMPAIRMENTS[name](setup)
    transfer = Transfer(setup, seed, size)
    for node in (*setup.up, *setup.down):
        if isinstance(node, DropWhile):
            node.until = lambda: transfer.client.is_confirmed
    return transfer


class Result(NamedTuple):
    """What became of a run: seconds of virtual and of CPU time, and what went wrong."""

    name: str
    seed: int
    virtual: float
    cpu: float
    failure: str


def run(job: tuple[str, int]) -> Result:
    """Run one impairment with one seed."""
    name, seed = job
    start = time.process_time()
    virtual, failure = 0.0, ""
    try:
        transfer = build(name, seed)
        transfer.run()
        virtual = transfer.now
    except Exception:
        failure = traceback.format_exc(limit=-3)
    return Result(name, seed, virtual, time.process_time() - start, failure)


def report(results: list[Result]) -> str:
    """A table, a line for each impairment."""
    lines = [
        "| impairment | runs | failed | virtual seconds: median | most | CPU seconds |",
        "|---|---|---|---|---|---|",
    ]
    for name, function in IMPAIRMENTS.items():
        mine = [result for result in results if result.name == name]
        if not mine:
            continue
        took = sorted(result.virtual for result in mine if not result.failure) or [float("nan")]
        failed = sum(bool(result.failure) for result in mine)
        cpu = sum(result.cpu for result in mine)
        what = (function.__doc__ or "").partition("\n")[0].rstrip(".")
        lines.append(
            f"| {name}: {what} | {len(mine)} | {failed} | {took[len(took) // 2]:.1f} "
            f"| {took[-1]:.1f} | {cpu:.0f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """The nightly command; 1 when anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.sim.matrix", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="IMPAIRMENT", help=", ".join(IMPAIRMENTS))
    parser.add_argument("--seeds", type=int, default=200, help="how many of each (200)")
    parser.add_argument("--seed", type=int, help="only this one")
    parser.add_argument("--jobs", type=int, default=0, help="processes; all processors by default")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.names) - set(IMPAIRMENTS):
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    seeds = [chosen.seed] if chosen.seed is not None else range(1, chosen.seeds + 1)
    jobs = [(name, seed) for name in chosen.names or IMPAIRMENTS for seed in seeds]
    results = []
    with multiprocessing.Pool(chosen.jobs or None) as pool:
        for result in pool.imap_unordered(run, jobs):
            results.append(result)
            if result.failure:
                print(
                    f"FAILED: python -m tests.sim.matrix {result.name} --seed {result.seed}\n"
                    f"{result.failure}",
                    flush=True,
                )
    print(report(results))
    return int(any(result.failure for result in results))


if __name__ == "__main__":
    sys.exit(main())
