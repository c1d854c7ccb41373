"""Transfers between processes over interfaces that lose, translate and shorten; the kernel's UDP, IP and
ICMP are the real ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwt.tls.development import development_certificate
from tests.netns.topology import CLIENT, SERVER, SERVER_6, Process, Topology, topology, why_not

pytestmark = pytest.mark.netns

LENGTH = 3_000_000
"""Bytes in each direction."""


@pytest.fixture(autouse=True)
def needs() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)


@pytest.fixture
def bridged() -> Iterator[Topology]:
    with topology(routed=False) as made:
        yield made


@pytest.fixture
def routed() -> Iterator[Topology]:
    with topology(routed=True) as made:
        yield made


class Transfer:
    """A server and a client that send each other LENGTH bytes, or first so many and then so many."""

    def __init__(
        self, network: Topology, directory: Path, *lengths: int, host: str = SERVER
    ) -> None:
        development_certificate(["localhost"]).write(directory)
        self._length = lengths[-1] if lengths else LENGTH
        arguments = (str(directory), host, *map(str, lengths or [LENGTH]))
        self.server = network.start("server", "tests.netns.peer", "server", *arguments)
        assert self.server.line() == "ready"
        self.client = network.start("client", "tests.netns.peer", "client", *arguments)

    def results(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """What client and server saw, when it is over; all bytes came and were right."""
        client: dict[str, Any] = json.loads(self.client.rest()[-1])
        server: dict[str, Any] = json.loads(self.server.rest()[-1])
        for side in (client, server):
            assert side["intact"] and side["length"] == self._length
        return client, server


def middlebox(network: Topology, **options: Any) -> Process:
    process = network.start("middle", "tests.netns.middlebox", json.dumps(options))
    assert process.line() == "ready"
    return process


def counted(process: Process) -> dict[str, Any]:
    process.stop()
    counters: dict[str, Any] = json.loads(process.rest()[-1])
    return counters


def test_loss(bridged: Topology, tmp_path: Path) -> None:
    box = middlebox(bridged, loss=0.02, delay=0.005, seed=1)
    client, server = Transfer(bridged, tmp_path).results()
    counters = counted(box)
    assert counters["lost_up"] > 20 and counters["lost_down"] > 20
    assert client["packets_lost"] > 10 and server["packets_lost"] > 10
    assert counters["up"] > LENGTH / 1500 and counters["down"] > LENGTH / 1500


@pytest.mark.parametrize("new_address", [False, True], ids=["port", "address"])
def test_rebinding(bridged: Topology, tmp_path: Path, new_address: bool) -> None:
    box = middlebox(bridged, delay=0.005, rebind_after=[300, 900, 1500], new_address=new_address)
    client, server = Transfer(bridged, tmp_path).results()
    counters = counted(box)
    bindings = counters["bindings"]
    assert len(bindings) == 4 and counters["stale"] > 0
    assert len({host for host, _ in bindings}) == (4 if new_address else 1)
    # The server saw the client move, and followed to the last place; the client noticed nothing.
    assert len(server["addresses"]) > 1
    assert all(address in bindings for address in server["addresses"])
    assert client["addresses"] == [[SERVER, 4433]]


def test_small_mtu(routed: Topology, tmp_path: Path) -> None:
    # The way to the server is narrow: the router says so by ICMP.  On the way back nobody says anything.
    routed.run("middle", "link", "set", "server", "mtu", "1300")
    client, server = Transfer(routed, tmp_path).results()
    assert routed.counter("middle", "Ip", "FragFails") > 0
    assert routed.counter("client", "Ip", "FragCreates") == 0
    assert routed.counter("client", "Icmp", "InDestUnreachs") > 0
    assert routed.counter("server", "Icmp", "InDestUnreachs") == 0
    assert routed.dropped("middle", "server") > 0
    assert 1200 <= client["mtu"] <= 1300 - 28
    assert 1200 <= server["mtu"] <= 1300 - 28


def test_small_mtu_of_ipv6(routed: Topology, tmp_path: Path) -> None:
    routed.run("middle", "link", "set", "server", "mtu", "1300")
    client, server = Transfer(routed, tmp_path, host=SERVER_6).results()
    assert routed.counter_6("middle", "Icmp6OutPktTooBigs") > 0
    assert routed.counter_6("client", "Icmp6InPktTooBigs") > 0
    assert routed.counter_6("client", "Ip6FragCreates") == 0
    assert routed.dropped("middle", "server") > 0
    assert 1200 <= client["mtu"] <= 1300 - 48
    assert 1200 <= server["mtu"] <= 1300 - 48


def test_mtu_drops_within_a_session(routed: Topology, tmp_path: Path) -> None:
    transfer = Transfer(routed, tmp_path, LENGTH // 3, LENGTH)
    before = json.loads(transfer.client.line())
    assert before["mtu"] > 1280 - 28
    routed.run("middle", "link", "set", "server", "mtu", "1280")
    transfer.client.go_on()
    client, server = transfer.results()
    assert routed.counter("middle", "Ip", "FragFails") > 0
    assert routed.dropped("middle", "server") > 0
    assert client["packets_lost"] > 0 and server["packets_lost"] > 0
    assert 1200 <= client["mtu"] <= 1280 - 28
    assert 1200 <= server["mtu"] <= 1280 - 28
    assert server["addresses"][0][0] == CLIENT
