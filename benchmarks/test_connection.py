"""Whole connections in memory: handshakes, and bulk data without a network."""

from __future__ import annotations

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.measure import per_operation
from cwt import quic
from cwt.config import TransportConfig
from cwt.quic import Connection
from cwt.testing import CLIENT, SERVER, Pair
from cwt.tls import ClientContext, Group, ServerContext
from cwt.tls.development import development_certificate

CERTIFICATE = development_certificate()
GROUPS = {"x25519": Group.X25519, "x25519mlkem768": Group.X25519MLKEM768}


def contexts(group: int | None = None) -> tuple[ClientContext, ServerContext]:
    groups = None if group is None else [group]
    return (
        ClientContext(
            alpn=[b"bench"], server_certificate_hashes=[CERTIFICATE.sha256], groups=groups
        ),
        ServerContext(
            alpn=[b"bench"],
            certificate_chain=CERTIFICATE.chain,
            private_key=CERTIFICATE.private_key,
            groups=groups,
        ),
    )


def connected(
    client_tls: ClientContext, server_tls: ServerContext
) -> tuple[Connection, Connection]:
    """Both ends of an established connection."""
    config = TransportConfig(pacing=False)
    server_endpoint = quic.Endpoint(config, tls=server_tls)
    client_endpoint = quic.Endpoint(config)
    pair = Pair(client_endpoint, server_endpoint)
    client = client_endpoint.connect("localhost", SERVER, client_tls, 0.0, local=CLIENT)
    servers: list[Connection] = []
    pair.drive(
        lambda: client.is_established and servers and servers[0].is_established,
        work=lambda: servers.extend(server_endpoint.ready()),
    )
    return client, servers[0]


@pytest.mark.parametrize("group", GROUPS)
def test_handshake(benchmark: BenchmarkFixture, group: str) -> None:
    """Both ends together, certificate verification by hash included."""
    tls = contexts(int(GROUPS[group]))
    client, server = benchmark(lambda: connected(*tls))
    assert client.is_established
    assert server.is_established


def move(sender: Connection, receiver: Connection, now: float) -> int:
    """Hand over all that *sender* may send; datagrams moved."""
    count = 0
    info = (
        quic.RecvInfo(from_=SERVER, to=CLIENT)
        if receiver.is_client
        else quic.RecvInfo(from_=CLIENT, to=SERVER)
    )
    while (batch := sender.send_batch(now)) is not None:
        data, size, _ = batch
        for start in range(0, len(data), size):
            receiver.recv(data[start : start + size], info, now)
            count += 1
    return count


@pytest.mark.parametrize("size", [16 << 20], ids=["16 MiB"])
def test_transfer(benchmark: BenchmarkFixture, size: int) -> None:
    """One stream from client to server; every packet is sealed, opened and acknowledged."""
    client, server = connected(*contexts())
    now = 1.0
    chunk = bytes(1 << 17)
    buffer = bytearray(1 << 18)

    def transfer() -> int:
        nonlocal now
        stream_id = client.open_stream(False)
        assert stream_id is not None
        sent = received = 0
        while received < size:
            while sent < size and (taken := client.stream_send(stream_id, chunk)):
                sent += taken
            now += 0.0001
            move(client, server, now)
            while (got := server.stream_recv_into(stream_id, buffer)) is not None:
                received += got[0]
            move(server, client, now)
        client.stream_send(stream_id, b"", True)
        move(client, server, now)
        server.stream_recv(stream_id)
        move(server, client, now)
        return received

    assert per_operation(benchmark, size // 1000, transfer) >= size
    if benchmark.stats is not None:
        seconds = benchmark.stats.stats.median
        benchmark.extra_info["mbit_per_second"] = round(size * 8 / seconds / 1e6)
