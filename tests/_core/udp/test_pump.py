"""Endpoints joined by real sockets, through pumps."""

from __future__ import annotations

import os
import random
import select
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cwt import quic
from cwt._core.connection import Connection
from cwt._core.wire import packet
from cwt.config import TransportConfig
from tests._core.raw_peer import NAME, client_context, server_context
from tests._core.udp.test_socket import NETWORK

CONFIG = TransportConfig(initial_rtt=0.05)
PATIENCE = 30.0
"""Seconds of no use after which a test has failed; none depends on how fast anything is."""


class Port:
    """An endpoint at its socket."""

    def __init__(
        self, switches: dict[str, bool] | None = None, *, host: str = "127.0.0.1", **options: Any
    ) -> None:
        self.socket = quic.UdpSocket.bind(host, 0, **(switches or {}))
        self.endpoint = quic.Endpoint(CONFIG, **options)
        self.pump = quic.Pump(self.endpoint, self.socket)
        self.connections: list[Connection] = []

    @property
    def address(self) -> Any:
        return self.socket.local_address

    def turn(self) -> None:
        now = time.monotonic()
        while self.pump.receive(now):
            pass
        self.endpoint.on_timeout(now)
        for connection in self.endpoint.ready():
            if connection not in self.connections:
                self.connections.append(connection)
        self.pump.transmit(now)


def drive(ports: list[Port], until: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, "it does not happen"
        for port in ports:
            port.turn()
        delays = [port.endpoint.timeout(time.monotonic()) for port in ports]
        wait = min([delay for delay in delays if delay is not None], default=0.05)
        select.select([port.socket.fileno() for port in ports], [], [], min(wait, 0.05))


MODES: dict[str, dict[str, bool]] = {
    "offload": {},
    "no-gso": {"gso": False},
    "no-gro": {"gro": False},
    "mmsg": {"gso": False, "gro": False},
    "plain": {"gso": False, "gro": False, "mmsg": False},
}


@pytest.fixture(params=MODES)
def ports(request: pytest.FixtureRequest) -> Iterator[tuple[Port, Port]]:
    switches = MODES[request.param]
    server, client = Port(switches, tls=server_context()), Port(switches)
    yield server, client
    server.socket.close()
    client.socket.close()


def test_bulk_both_ways(ports: tuple[Port, Port]) -> None:
    server, client = ports
    connection = client.endpoint.connect(NAME, server.address, client_context(), time.monotonic())
    drive([server, client], lambda: connection.is_established and server.connections)
    accepted = server.connections[0]
    assert accepted.remote_address == client.address
    content = random.Random(1).randbytes(2_000_000)
    stream_id = connection.open_stream()
    assert stream_id is not None
    there, back = bytearray(), bytearray()
    written, echoed, done = 0, 0, False

    def work() -> bool:
        nonlocal written, echoed, done
        if written < len(content):
            part = content[written : written + 300_000]
            last = written + len(part) == len(content)
            written += connection.stream_send(stream_id, part, last)
        if stream_id in accepted.readable() or there:
            while (got := accepted.stream_recv(stream_id)) is not None:
                there.extend(got[0])
        if echoed < len(there):
            echoed += accepted.stream_send(
                stream_id, bytes(there[echoed:]), len(there) == len(content)
            )
        while (got := connection.stream_recv(stream_id)) is not None:
            back.extend(got[0])
            done = got[1]
        return done

    drive([server, client], work)
    assert there == content
    assert back == content
    for stats in (connection.stats(), accepted.stats()):
        assert stats.ecn == "capable"
        assert stats.received_ect0 > 20
        assert (stats.received_ect1, stats.received_ce, stats.packets_congested) == (0, 0, 0)


@pytest.mark.parametrize(
    ("server_host", "client_host", "to"),
    [("::1", "::1", "::1"), ("::", "127.0.0.1", "127.0.0.1"), ("127.0.0.1", "::", "127.0.0.1")],
    ids=["ipv6", "ipv4-to-dual", "dual-to-ipv4"],
)
def test_marks_of_both_families(server_host: str, client_host: str, to: str) -> None:
    server, client = Port(host=server_host, tls=server_context()), Port(host=client_host)
    try:
        address = (to, server.address[1])
        connection = client.endpoint.connect(NAME, address, client_context(), time.monotonic())
        drive([server, client], lambda: connection.is_confirmed and server.connections)
        for end in (connection, server.connections[0]):
            assert end.stats().received_ect0 > 0
            assert end.stats().ecn in ("testing", "unknown", "capable")
    finally:
        server.socket.close()
        client.socket.close()


def test_connections_of_one_socket(ports: tuple[Port, Port]) -> None:
    # Their datagrams come to one port from one address, perhaps merged.
    server, client = ports
    now = time.monotonic()
    connections = [
        client.endpoint.connect(NAME, server.address, client_context(), now) for _ in range(5)
    ]
    drive([server, client], lambda: all(each.is_established for each in connections))
    for index, connection in enumerate(connections):
        stream_id = connection.open_stream(False)
        assert stream_id is not None
        connection.stream_send(stream_id, bytes([index]) * 50_000, True)
    received: dict[int, bytes] = {}

    def all_there() -> bool:
        for accepted in server.connections:
            for stream_id in accepted.readable():
                while (got := accepted.stream_recv(stream_id)) is not None:
                    key = id(accepted)
                    received[key] = received.get(key, b"") + got[0]
        return sum(map(len, received.values())) == 5 * 50_000

    drive([server, client], all_there)
    assert sorted(received.values()) == [bytes([index]) * 50_000 for index in range(5)]


def ready_to_send(sender: Port, remotes: list[Any]) -> list[Connection]:
    """Connections of *sender* whose first datagrams are due; its *remotes* need not be there."""
    now = time.monotonic()
    return [sender.endpoint.connect(NAME, each, client_context(), now) for each in remotes]


def test_peers_share_a_system_call(ports: tuple[Port, Port]) -> None:
    server, client = ports
    connections = ready_to_send(client, [server.address] * 5)
    assert client.pump.transmit(time.monotonic())
    counters = client.socket.counters
    assert counters.datagrams_sent == 5
    assert counters.send_calls == (1 if client.socket.mmsg else 5)
    drive([server, client], lambda: all(each.is_established for each in connections))


def test_more_peers_than_a_system_call_takes(ports: tuple[Port, Port]) -> None:
    server, client = ports
    connections = ready_to_send(client, [server.address] * 150)
    drive([server, client], lambda: all(each.is_established for each in connections))


def test_one_peer_out_of_reach(ports: tuple[Port, Port]) -> None:
    # A socket of IPv4 cannot send to IPv6; whoever else is in the batch gets theirs.
    server, client = ports
    there, nowhere = server.address, ("2001:db8::1", 9)
    connections = ready_to_send(client, [nowhere, there, nowhere, nowhere, there, there, nowhere])
    assert client.pump.transmit(time.monotonic())
    counters = client.socket.counters
    assert (counters.datagrams_sent, counters.send_errors) == (3, 4)
    drive([server, client], lambda: sum(each.is_established for each in connections) == 3)


@pytest.mark.skipif(sys.platform != "linux", reason="GSO is Linux'")
def test_offload_that_fails_in_the_middle_of_a_batch(ports: tuple[Port, Port]) -> None:
    server, client = ports
    now = time.monotonic()
    connections = [
        client.endpoint.connect(NAME, server.address, client_context(), now) for _ in range(5)
    ]
    drive([server, client], lambda: all(each.is_established for each in connections))
    lost = sum(each.stats().packets_lost for each in connections)
    with socket.socket(fileno=os.dup(client.socket.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK, which GSO cannot do
    for index, connection in enumerate(connections):
        stream_id = connection.open_stream(False)
        assert stream_id is not None
        connection.stream_send(stream_id, bytes(10 if index < 2 else 9_000), True)
    assert client.pump.transmit(time.monotonic())
    assert client.socket.gso is False
    received = 0

    def all_there() -> bool:
        nonlocal received
        for accepted in server.connections:
            for stream_id in accepted.readable():
                while (got := accepted.stream_recv(stream_id)) is not None:
                    received += len(got[0])
        return received == 2 * 10 + 3 * 9_000

    drive([server, client], all_there)
    assert sum(each.stats().packets_lost for each in connections) == lost
    assert client.socket.counters.send_errors == 0


# Packets to a neighbour that never answers stay in the send buffer until the system gives them up.
BLOCKED = """
import os, select, socket, sys, time
from cwt import quic
from tests._core.udp.test_pump import Port, ready_to_send
port = Port(host="10.9.0.1")
with socket.socket(fileno=os.dup(port.socket.fileno())) as same:
    same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
connections = ready_to_send(port, [("10.9.0.2", 9)] * 40)
done = []
while not done or not done[-1]:
    if done:
        assert select.select([], [port.socket.fileno()], [], 60)[1]
    done.append(port.pump.transmit(time.monotonic()))
counters = port.socket.counters
print(len(done) > 1, counters.send_blocked > 0, counters.datagrams_sent, counters.send_errors)
print(sum(each.stats().packets_sent for each in connections))
"""


@pytest.mark.parametrize("mmsg", ["0", "1"])
def test_a_full_socket_gets_the_rest_later(mmsg: str) -> None:
    namespace = ["unshare", "-rn", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*namespace, NETWORK], capture_output=True).returncode
    ):
        pytest.skip("no network namespaces here")
    result = subprocess.run(
        [*namespace, f'{NETWORK} && exec "$0" -c "$1"', sys.executable, BLOCKED],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "CWT_MMSG": mmsg},
        capture_output=True, text=True,
    )  # fmt: skip
    assert result.stdout.split() == ["True", "True", "40", "0", "40"], result.stderr


def test_a_pass_takes_so_much(ports: tuple[Port, Port]) -> None:
    server, _ = ports
    if server.socket.receive_buffer < 4 << 20:
        pytest.skip("the socket does not hold what is to be taken")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _ in range(2000):
            sock.sendto(b"x", server.address)
    passes = 1
    while server.pump.receive(time.monotonic()):
        passes += 1
    assert server.socket.counters.datagrams_received == 2000
    assert 2 <= passes <= 10


def test_answers_without_a_connection(ports: tuple[Port, Port]) -> None:
    server, _ = ports
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    sock.settimeout(PATIENCE)
    unknown = b"\xc0\x1a\x2a\x3a\x4a\x08whatever\x08" + bytes(8)
    with sock:
        sock.sendto(unknown.ljust(1200, b"\0"), server.address)
        sock.sendto(b"", server.address)
        sock.sendto(b"\x41whatever".ljust(100, b"\0"), server.address)
        answers: list[bytes] = []

        def answered() -> bool:
            while select.select([sock], [], [], 0)[0]:
                answers.append(sock.recv(2000))
            return len(answers) == 2

        drive([server], answered)
    assert {len(answer) for answer in answers} == {35, 42}
    parsed = packet.parse(next(a for a in answers if len(a) == 35), 8)
    assert parsed is not None
    assert parsed[0] == packet.PacketType.VERSION_NEGOTIATION
    assert server.endpoint.connections == 0


def test_both_forget_a_closed_connection(ports: tuple[Port, Port]) -> None:
    server, client = ports
    connection = client.endpoint.connect(NAME, server.address, client_context(), time.monotonic())
    drive([server, client], lambda: connection.is_established and server.connections)
    connection.close(7, "bye")
    client.pump.transmit(time.monotonic())
    drive(
        [server, client],
        lambda: not server.endpoint.connections and not client.endpoint.connections,
    )
    assert getattr(server.connections[0].termination, "code", None) == 7


def test_packets_grow_to_what_the_loopback_interface_takes(ports: tuple[Port, Port]) -> None:
    server, client = ports
    connection = client.endpoint.connect(NAME, server.address, client_context(), time.monotonic())
    drive([server, client], lambda: connection.is_established and server.connections)
    accepted = server.connections[0]
    stream_id = connection.open_stream()
    assert stream_id is not None
    received = written = 0

    def work() -> bool:
        nonlocal received, written
        written += connection.stream_send(stream_id, bytes(200_000))
        if received or accepted.readable():
            while (got := accepted.stream_recv(stream_id)) is not None:
                assert not any(got[0])
                received += len(got[0])
        return connection.stats().mtu > 60_000 and received > 1_000_000

    drive([server, client], work)
    before = connection.stats().packets_sent, received
    drive([server, client], lambda: work() and received > before[1] + 5_000_000)
    assert (received - before[1]) / (connection.stats().packets_sent - before[0]) > 30_000
