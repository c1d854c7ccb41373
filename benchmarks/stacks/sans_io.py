"""cwt without asyncio and HTTP/3: streams and datagrams of QUIC itself, driven by ``select``.

A program that is spoken to like ``benchmarks.worker``: ``python -m benchmarks.stacks.sans_io ROLE ...``.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.stacks.base import (
    CHUNK,
    COUNT,
    DOWNLOAD,
    ECHO,
    UPLOAD,
    Counter,
    Received,
    download_request,
)
from benchmarks.stacks.cwt_stack import cwt_version
from benchmarks.workloads import DATAGRAM, HANDSHAKES, IN_FLIGHT, PAYLOAD, STREAMS
from cwt import quic
from cwt.config import TransportConfig
from cwt.tls import ClientContext, ServerContext

ALPN = b"bench"
HEAD = 256
"""First bytes of a stream that are kept."""
BUFFER = bytearray(len(CHUNK))
BATCH = [bytes(DATAGRAM)] * 256
CONFIG = TransportConfig(mtu_discovery_limit=1452)


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


@dataclass
class Output:
    """What a stream still has to send: a few bytes, and so many zeros after them."""

    head: bytes
    zeros: int = 0

    def send(self, connection: quic.Connection, stream_id: int) -> bool:
        """Send what there is room for; whether that was all."""
        if self.head:
            taken = connection.stream_send(stream_id, self.head, not self.zeros)
            self.head = self.head[taken:]
            if self.head:
                return False
        while self.zeros:
            piece = CHUNK if self.zeros >= len(CHUNK) else CHUNK[: self.zeros]
            taken = connection.stream_send(stream_id, piece, self.zeros == len(piece))
            self.zeros -= taken
            if taken < len(piece):
                return False
        return True


@dataclass
class Input:
    """What came on a stream: its first bytes, and how many there were."""

    head: bytes = b""
    count: int = 0


@dataclass
class Job:
    """*amount* times the same exchange, with at most so many at once."""

    make: Callable[[], Output]
    value: Callable[[Input], int]
    """What an answer adds to the total."""
    amount: int = 1
    at_once: int = 1
    started: int = 0
    total: int = 0
    last: bytes = b""


class Application(ABC):
    """One end of a connection."""

    def __init__(self, connection: quic.Connection) -> None:
        self.connection = connection
        self.inputs: dict[int, Input] = {}
        self.outputs: dict[int, Output] = {}

    def on_ready(self) -> None:
        """Something may have changed."""
        connection = self.connection
        for stream_id in connection.readable():
            self._read(stream_id)
        for stream_id in connection.writable():
            output = self.outputs.get(stream_id)
            if output is not None and output.send(connection, stream_id):
                del self.outputs[stream_id]

    def _read(self, stream_id: int) -> None:
        found = self.inputs.setdefault(stream_id, Input())
        while (got := self.connection.stream_recv_into(stream_id, BUFFER)) is not None:
            size, fin = got
            if len(found.head) < HEAD:
                found.head += BUFFER[: min(size, HEAD - len(found.head))]
            found.count += size
            if fin:
                del self.inputs[stream_id]
                self.on_end(stream_id, found)
                return

    def write(self, stream_id: int, output: Output) -> None:
        if not output.send(self.connection, stream_id):
            self.outputs[stream_id] = output

    @abstractmethod
    def on_end(self, stream_id: int, found: Input) -> None:
        """All of a stream has come."""


class Server(Application):
    def __init__(self, connection: quic.Connection) -> None:
        super().__init__(connection)
        self.counter = Counter()

    def on_ready(self) -> None:
        count = 0
        while self.connection.dgram_recv() is not None:
            count += 1
        if count:
            self.counter.add(count)
        super().on_ready()

    def on_end(self, stream_id: int, found: Input) -> None:
        kind = found.head[:1]
        if kind == UPLOAD:
            answer = Output((found.count - 1).to_bytes(8, "big"))
        elif kind == DOWNLOAD:
            answer = Output(b"", int.from_bytes(found.head[1:9], "big"))
        elif kind == COUNT:
            answer = Output(self.counter.answer())
        else:
            answer = Output(found.head[1:])
        self.write(stream_id, answer)


class Client(Application):
    job: Job | None = None
    datagrams = 0

    def on_ready(self) -> None:
        super().on_ready()
        if self.connection.is_established:
            self.proceed()

    def proceed(self) -> None:
        """Start what there is room for."""
        connection, job = self.connection, self.job
        while self.datagrams and connection.dgram_writable:
            batch = BATCH[: self.datagrams]
            connection.dgram_send_many(batch)
            self.datagrams -= len(batch)
        while job is not None and job.started < job.amount and len(self.inputs) < job.at_once:
            stream_id = connection.open_stream()
            if stream_id is None:
                return
            job.started += 1
            self.inputs[stream_id] = Input()
            self.write(stream_id, job.make())

    def on_end(self, stream_id: int, found: Input) -> None:
        if self.job is not None:
            self.job.total += self.job.value(found)
            self.job.last = found.head

    @property
    def is_done(self) -> bool:
        job = self.job
        return not self.datagrams and (
            job is None or (job.started == job.amount and not self.inputs)
        )


class Driver:
    """An endpoint on a socket of its own, and the applications on its connections."""

    def __init__(self, tls: ServerContext | None, application: type[Application]) -> None:
        self.endpoint = quic.Endpoint(CONFIG, tls=tls)
        self.socket = quic.UdpSocket.bind("127.0.0.1")
        self.pump = quic.Pump(self.endpoint, self.socket, time.monotonic)
        self.application = application
        self.applications: dict[quic.Connection, Application] = {}
        self.writable = True

    def of(self, connection: quic.Connection) -> Application:
        found = self.applications.get(connection)
        if found is None:
            found = self.applications[connection] = self.application(connection)
        return found

    def turn(self, most: float | None = None, also: int | None = None) -> bool:
        """Wait for something, at most so many seconds, and do it; whether *also* can be read."""
        descriptor, watched = self.socket.fileno(), [self.socket.fileno()]
        if also is not None:
            watched.append(also)
        waits = [self.endpoint.timeout(time.monotonic()), most]
        wait = min((each for each in waits if each is not None), default=None)
        readable, _, _ = select.select(watched, [] if self.writable else [descriptor], [], wait)
        now = time.monotonic()
        if descriptor in readable:
            self.pump.receive(now)
        self.endpoint.on_timeout(now)
        for connection in self.endpoint.ready():
            self.of(connection).on_ready()
            if connection.termination is not None:
                del self.applications[connection]
        self.writable = self.pump.transmit(now)
        return also in readable


class Workloads:
    """A client's."""

    def __init__(self, port: int) -> None:
        self.address = ("127.0.0.1", port)
        self.tls = ClientContext(alpn=[ALPN], verify=False)
        self.driver = Driver(None, Client)
        self.held: list[Client] = []
        self.client = self.dial()
        self.until(lambda: self.client.connection.is_established)

    def dial(self) -> Client:
        connection = self.driver.endpoint.connect(
            "localhost", self.address, self.tls, time.monotonic()
        )
        client = self.driver.of(connection)
        assert isinstance(client, Client)
        self.driver.writable = self.driver.pump.transmit(time.monotonic())
        return client

    def until(self, condition: Callable[[], bool], most: float | None = None) -> None:
        while not condition():
            self.driver.turn(most)

    def work(self, job: Job) -> Job:
        client = self.client
        client.job = job
        client.proceed()
        self.driver.writable = self.driver.pump.transmit(time.monotonic())
        self.until(lambda: client.is_done)
        client.job = None
        return job

    def uploads(self, size: int, streams: int = 1) -> int:
        def value(found: Input) -> int:
            return int.from_bytes(found.head, "big")

        each = size // streams
        job = Job(lambda: Output(UPLOAD, each), value, streams, streams)
        return self.work(job).total

    def download(self, size: int) -> int:
        return self.work(Job(lambda: Output(download_request(size)), lambda got: got.count)).total

    def requests(self, amount: int, at_once: int) -> int:
        job = Job(lambda: Output(ECHO + bytes(PAYLOAD)), lambda got: got.count, amount, at_once)
        return self.work(job).total // PAYLOAD

    def arrived(self) -> Received:
        answer = self.work(Job(lambda: Output(COUNT), lambda got: 0)).last
        return Received(int.from_bytes(answer[:8], "big"), int.from_bytes(answer[8:], "big"))

    def datagrams(self, amount: int) -> tuple[int, float]:
        before = self.arrived().total
        start = time.time_ns()
        self.client.datagrams = amount
        self.client.proceed()
        self.driver.writable = self.driver.pump.transmit(time.monotonic())
        self.until(lambda: self.client.is_done)
        received = self.arrived()
        while True:
            end = time.monotonic() + 0.05
            while (left := end - time.monotonic()) > 0:
                self.driver.turn(left)
            last, received = received, self.arrived()
            if received.total == last.total:
                return received.total - before, max(received.last - start, 1) / 1e9

    def handshakes(self, amount: int) -> int:
        left, pending = amount, [self.dial() for _ in range(min(HANDSHAKES, amount))]
        left -= len(pending)
        while pending:
            self.driver.turn()
            for client in [each for each in pending if each.connection.is_established]:
                client.connection.close()
                pending.remove(client)
                if left:
                    left -= 1
                    pending.append(self.dial())
        return amount

    def memory(self, amount: int) -> int:
        for _ in range(amount):
            client = self.dial()
            self.until(lambda client=client: client.connection.is_established)  # type: ignore[misc]
            self.held.append(client)
        return amount

    def run(self, name: str, amount: int) -> tuple[int, float | None]:
        if name == "datagrams":
            return self.datagrams(amount)
        functions: dict[str, Callable[[], int]] = {
            "upload": lambda: self.uploads(amount),
            "download": lambda: self.download(amount),
            "streams": lambda: self.uploads(amount, STREAMS),
            "requests": lambda: self.requests(amount, IN_FLIGHT),
            "sequential": lambda: self.requests(amount, 1),
            "handshakes": lambda: self.handshakes(amount),
            "memory": lambda: self.memory(amount),
        }
        return functions[name](), None


def serve(certfile: str, keyfile: str) -> None:
    driver = Driver(ServerContext(alpn=[ALPN], certfile=certfile, keyfile=keyfile), Server)
    say(port=driver.socket.local_address[1], version=cwt_version())
    while not driver.turn(also=sys.stdin.fileno()):
        pass


def work(port: int) -> None:
    workloads = Workloads(port)
    say(version=cwt_version())
    while True:
        while not workloads.driver.turn(also=sys.stdin.fileno()):
            pass
        line = os.read(sys.stdin.fileno(), 4096).decode()
        if not line:
            return
        name, amount = line.split()
        start = time.perf_counter()
        done, seconds = workloads.run(name, int(amount))
        say(done=done, seconds=seconds or time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    if options.role == "server":
        serve(*options.arguments)
    else:
        work(int(options.arguments[0]))


if __name__ == "__main__":
    main()
