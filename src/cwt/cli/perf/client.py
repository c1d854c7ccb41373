"""The client of ``cwt perf``: one function a test, each for a given time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import cwt
from cwt.cli.perf.protocol import CHUNK, MAX_BYTES, Report

__all__ = ["TESTS", "Measurement", "Options", "Runner"]

DATAGRAM_BATCH = 32


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to measure."""

    url: str
    connect: dict[str, Any]
    """Arguments of :func:`cwt.connect` that say whom to trust."""
    duration: float
    streams: int
    """Streams at once in the test of streams."""
    concurrency: int
    """Requests, or handshakes, at once."""
    request_size: int
    response_size: int
    datagram_size: int


@dataclass
class Measurement:
    """What a test found; while it runs, what it has found so far."""

    test: str
    unit: str
    """Of ``count``: bytes, requests, datagrams or handshakes."""
    count: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    latencies: list[float] = field(default_factory=list)
    details: dict[str, float] = field(default_factory=dict)
    done: bool = False

    @property
    def rate(self) -> float:
        """Count in a second."""
        return self.count / self.seconds if self.seconds else 0.0

    def latency(self, part: float) -> float:
        """The quantile ``part`` of the latencies; 0 when there are none."""
        ordered = sorted(self.latencies)
        return ordered[int((len(ordered) - 1) * part)] if ordered else 0.0

    def as_dict(self) -> dict[str, Any]:
        """For JSON: times in seconds, sizes in bytes."""
        result: dict[str, Any] = {
            "test": self.test,
            "unit": self.unit,
            "count": self.count,
            "seconds": self.seconds,
            "per_second": self.rate,
            "client_cpu_seconds": self.client_cpu,
            "server_cpu_seconds": self.server_cpu,
            **self.details,
        }
        if self.unit == "bytes":
            result["bits_per_second"] = self.rate * 8
            gigabytes = self.count / 1e9
            if gigabytes:
                result["client_cpu_seconds_per_gb"] = self.client_cpu / gigabytes
                result["server_cpu_seconds_per_gb"] = self.server_cpu / gigabytes
        if self.latencies:
            names = {"min": 0.0, "median": 0.5, "p90": 0.9, "p99": 0.99, "max": 1.0}
            result["latency_seconds"] = {name: self.latency(part) for name, part in names.items()}
        return result


class Runner:
    """Runs tests against a server, each in a session of its own."""

    def __init__(self, options: Options) -> None:
        self.options = options

    def connect(self) -> cwt.connect:
        """A new session."""
        return cwt.connect(self.options.url, **self.options.connect)

    async def report(self, session: cwt.Session) -> Report:
        """What the server says of itself."""
        return Report.decode(await _ask(session, b"report\n"))

    async def check(self) -> None:
        """See whether such a server is there at all; raises what connecting raises."""
        async with self.connect() as session:
            await self.report(session)

    async def run(self, test: str, measurement: Measurement) -> None:
        """Fill ``measurement`` in; it may be looked at meanwhile."""
        async with self.connect() as session:
            before = await self.report(session)
            client_cpu, began = time.process_time(), time.perf_counter()
            clock = asyncio.create_task(_tick(measurement, began))
            try:
                await TESTS[test][0](self, session, measurement, began + self.options.duration)
                measurement.seconds = time.perf_counter() - began
            finally:
                clock.cancel()
            measurement.client_cpu = time.process_time() - client_cpu
            after = await self.report(session)
            measurement.server_cpu = after.cpu - before.cpu
            measurement.details.update(
                smoothed_rtt=after.smoothed_rtt,
                server_packets_lost=after.packets_lost - before.packets_lost,
            )
            measurement.done = True

    async def down(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """One stream, from the server."""
        await _download(session, found, until)

    async def up(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """One stream, to the server."""
        await _upload(session, found, until)

    async def streams(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """Many streams at once, half of them each way."""
        found.details["streams"] = self.options.streams
        async with asyncio.TaskGroup() as tasks:
            for index in range(self.options.streams):
                transfer = _upload if index % 2 else _download
                tasks.create_task(transfer(session, found, until))

    async def requests(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """Small requests, each on a stream of its own."""
        options = self.options
        request = b"call %d\n" % options.response_size + bytes(options.request_size)
        found.details.update(
            concurrency=options.concurrency,
            request_bytes=options.request_size,
            response_bytes=options.response_size,
        )

        async def one() -> None:
            answer = await _ask(session, request)
            _expect(len(answer) == options.response_size, answer)

        await self._repeat(one, found, until)

    async def datagrams(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """Datagrams to the server, as fast as they leave; counted there."""
        size = min(self.options.datagram_size, session.datagrams.max_size)
        await _ask(session, b"datagrams count\n")
        batch = [bytes(size)] * DATAGRAM_BATCH
        sent = 0
        limit = session.datagrams.max_size
        if not limit:
            raise cwt.DatagramTooLarge(size, 0)
        while time.perf_counter() < until:
            found.details["dropped_here"] = (
                found.details.get("dropped_here", 0)
                + len(batch)
                - session.datagrams.send_many(batch)
            )
            sent += len(batch)
            found.count = sent - int(found.details["dropped_here"])
            await session.datagrams.drain()
        report = await self.report(session)
        found.details.update(datagram_bytes=size, sent=sent, arrived=report.datagrams)
        found.count = report.datagrams

    async def echoes(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """Datagrams there and back, one at a time: the latency."""
        await _ask(session, b"datagrams echo\n")
        lost = 0
        while time.perf_counter() < until:
            data = (found.count + lost).to_bytes(8, "big")
            began = time.perf_counter()
            session.datagrams.send(data)
            try:
                async with asyncio.timeout(1):
                    while await session.datagrams.receive() != data:
                        pass
            except TimeoutError:
                lost += 1
                continue
            found.latencies.append(time.perf_counter() - began)
            found.count += 1
        found.details["lost"] = lost

    async def handshakes(self, session: cwt.Session, found: Measurement, until: float) -> None:
        """Connections with a session each, closed as soon as they are there."""
        found.details["concurrency"] = self.options.concurrency

        async def one() -> None:
            opened = await self.connect()
            closing.append(asyncio.create_task(opened.close()))

        closing: list[asyncio.Task[None]] = []
        await self._repeat(one, found, until)
        await asyncio.gather(*closing)

    async def _repeat(
        self, one: Callable[[], Awaitable[None]], found: Measurement, until: float
    ) -> None:
        async def worker() -> None:
            while (began := time.perf_counter()) < until:
                await one()
                found.latencies.append(time.perf_counter() - began)
                found.count += 1

        async with asyncio.TaskGroup() as tasks:
            for _ in range(self.options.concurrency):
                tasks.create_task(worker())


Test = Callable[[Runner, cwt.Session, Measurement, float], Awaitable[None]]

TESTS: dict[str, tuple[Test, str, str]] = {
    "down": (Runner.down, "bytes", "one stream from the server"),
    "up": (Runner.up, "bytes", "one stream to the server"),
    "streams": (Runner.streams, "bytes", "many streams, both ways"),
    "requests": (Runner.requests, "requests", "small requests, a stream each"),
    "datagrams": (Runner.datagrams, "datagrams", "as fast as they leave"),
    "echoes": (Runner.echoes, "echoes", "datagrams there and back, one at a time"),
    "handshakes": (Runner.handshakes, "handshakes", "connections with a session each"),
}


async def _tick(measurement: Measurement, began: float) -> None:
    while True:
        measurement.seconds = time.perf_counter() - began
        await asyncio.sleep(0.1)


async def _ask(session: cwt.Session, request: bytes) -> bytes:
    stream = await session.open_bi()
    await stream.write(request)
    await stream.finish()
    answer = await stream.read()
    _expect(not answer.startswith(b"error"), answer)
    return answer


async def _download(session: cwt.Session, found: Measurement, until: float) -> None:
    stream = await session.open_bi()
    await stream.write(b"down %d\n" % MAX_BYTES)
    await stream.finish()
    buffer = bytearray(CHUNK)
    while time.perf_counter() < until:
        count = await stream.readinto(buffer)
        _expect(count > 0, b"the stream ended early")
        found.count += count
    stream.stop(0)


async def _upload(session: cwt.Session, found: Measurement, until: float) -> None:
    stream = await session.open_bi()
    await stream.write(b"up\n")
    chunk = bytes(CHUNK)
    total = 0
    while time.perf_counter() < until:
        await stream.write(chunk)
        total += len(chunk)
        found.count += len(chunk)
    await stream.finish()
    # The server's count is the end of it: what is still on the way has arrived then.
    answer = await stream.read()
    _expect(answer == b"%d" % total, answer)


def _expect(condition: bool, answer: bytes) -> None:
    if not condition:
        text = answer[:200].decode("utf-8", "replace").strip()
        raise cwt.CwtError(f"the server does not answer as cwt perf does: {text}")
