"""The UDP socket on loopback: IPv4, IPv6 and dual-stack, with every offload and without."""

from __future__ import annotations

import errno
import os
import select
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

import pytest

from cwt._core.udp.socket import Datagram, UdpSocket

LINUX = sys.platform == "linux"
SWITCHES = {
    "offload": {},
    "no-gso": {"CWT_GSO": "0"},
    "no-gro": {"CWT_GRO": "0"},
    "mmsg": {"CWT_GSO": "0", "CWT_GRO": "0"},
    "plain": {"CWT_GSO": "0", "CWT_GRO": "0", "CWT_MMSG": "0"},
    "plain-gro": {"CWT_GSO": "0", "CWT_MMSG": "0"},
}


def has_ipv6() -> bool:
    try:
        UdpSocket.bind("::1", 0).close()
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="no IPv6 on this host")
needs_linux = pytest.mark.skipif(not LINUX, reason="loopback has more addresses on Linux only")


@pytest.fixture(params=SWITCHES)
def mode(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    for name in ("CWT_GSO", "CWT_GRO", "CWT_MMSG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in SWITCHES[request.param].items():
        monkeypatch.setenv(name, value)
    return request.param


class Pair(NamedTuple):
    """Two sockets, and the address each one is reached at."""

    a: UdpSocket
    b: UdpSocket
    to_a: tuple[str, int]
    to_b: tuple[str, int]


FAMILIES = {
    "v4": ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    "v6": ("::1", "::1", "::1"),
    "dual-stack-v4": ("::", "::", "127.0.0.1"),
    "dual-stack-v6": ("::", "::", "::1"),
    "v4-to-dual-stack": ("127.0.0.1", "::", "127.0.0.1"),
}


@pytest.fixture(
    params=[
        pytest.param(name, marks=needs_ipv6 if any(":" in h for h in hosts) else ())
        for name, hosts in FAMILIES.items()
    ]
)
def pair(request: pytest.FixtureRequest, mode: str) -> Iterator[Pair]:
    host_a, host_b, target = FAMILIES[request.param]
    with UdpSocket.bind(host_a) as a, UdpSocket.bind(host_b) as b:
        yield Pair(a, b, (target, a.local_address[1]), (target, b.local_address[1]))


def receive(sock: UdpSocket, count: int) -> list[Datagram]:
    """At least *count* datagrams, or those that come within a second."""
    datagrams = sock.recv_all()
    while len(datagrams) < count and select.select([sock], [], [], 1.0)[0]:
        datagrams += sock.recv_all()
    return datagrams


def pattern(length: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(length))


@pytest.mark.parametrize("ecn", [0, 1, 2, 3])
def test_one_datagram_with_its_addresses_and_ecn(pair: Pair, ecn: int) -> None:
    assert pair.a.sendto(b"hello", pair.to_b, ecn=ecn) is True
    assert receive(pair.b, 1) == [Datagram(b"hello", pair.to_a, pair.to_b, ecn)]
    assert pair.b.sendto(b"answer", pair.to_a, from_=pair.to_b, ecn=ecn) is True
    assert receive(pair.a, 1) == [Datagram(b"answer", pair.to_b, pair.to_a, ecn)]


@pytest.mark.parametrize("size", [1, 1200, 1452, 8952, 40000])
@pytest.mark.parametrize("last", [0, 1])
def test_segments_arrive_whole_and_in_order(pair: Pair, size: int, last: int) -> None:
    count = min(100, 400_000 // size)
    data = pattern(size * count - (size // 2 if last else 0))
    assert pair.a.sendto(data, pair.to_b, segment_size=size, ecn=2)
    assert pair.a.sent == len(data)
    expected = [data[i : i + size] for i in range(0, len(data), size)]
    datagrams = receive(pair.b, count)
    assert [d.data for d in datagrams] == expected
    assert {d[1:] for d in datagrams} == {(pair.to_a, pair.to_b, 2)}
    sent, received = pair.a.counters, pair.b.counters
    assert (sent.datagrams_sent, sent.bytes_sent, sent.send_errors) == (count, len(data), 0)
    assert (received.datagrams_received, received.bytes_received) == (count, len(data))


def test_the_largest_datagram(pair: Pair) -> None:
    # What fits the loopback MTU of 65536 on Linux, as nothing may be fragmented.
    data = pattern(65488 if ":" in pair.to_b[0] else 65507)
    assert pair.a.sendto(data, pair.to_b)
    assert [d.data for d in receive(pair.b, 1)] == [data]


def test_a_datagram_that_is_too_large_counts_as_lost(pair: Pair) -> None:
    assert pair.a.sendto(bytes(65536), pair.to_b) is True
    assert pair.a.counters.send_errors == 1
    assert pair.a.counters.last_error == errno.EMSGSIZE
    assert pair.a.sendto(b"next", pair.to_b)
    assert [d.data for d in receive(pair.b, 1)] == [b"next"]


def test_empty_datagrams_do_no_harm(pair: Pair) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        if pair.to_b[0] == "127.0.0.1":
            other.sendto(b"", pair.to_b)
            assert [d.data for d in receive(pair.b, 1)] == [b""]
    assert pair.a.sendto(b"", pair.to_b) is True
    assert pair.a.sendto(b"x", pair.to_b)
    assert [d.data for d in receive(pair.b, 1)] == [b"x"]


def test_nothing_waits(pair: Pair) -> None:
    assert pair.a.recv_all() == []


def test_a_closed_port_raises_nothing(pair: Pair) -> None:
    pair.b.close()
    for _ in range(5):
        assert pair.a.sendto(pattern(5000), pair.to_b, segment_size=1000) is True
        assert pair.a.recv_all() == []


def test_system_calls_are_saved(mode: str) -> None:
    if not LINUX:
        pytest.skip("no offload elsewhere")
    with UdpSocket.bind("127.0.0.1") as a, UdpSocket.bind("127.0.0.1") as b:
        if mode == "offload" and not (a.gso and b.gro):
            pytest.skip("no GSO and GRO on this kernel")
        a.sendto(pattern(60 * 1000), b.local_address, segment_size=1000)
        assert len(receive(b, 60)) == 60
        assert a.counters.send_calls == (60 if "plain" in mode else 1)
        if mode == "offload":
            assert b.counters.receive_calls == 2
        elif mode == "plain":
            assert b.counters.receive_calls > 60
        else:
            assert b.counters.receive_calls <= 60 + 60 // 8


def test_what_the_caller_goes_without() -> None:
    with UdpSocket.bind("127.0.0.1", gso=False, gro=False, mmsg=False) as sock:
        assert not (sock.gso or sock.gro or sock.mmsg)
    with UdpSocket.bind("127.0.0.1", mmsg=False) as sock, UdpSocket.bind("127.0.0.1") as other:
        assert (sock.gso, sock.gro, sock.mmsg) == (other.gso, other.gro, False)


def test_the_plain_socket(mode: str) -> None:
    with UdpSocket.bind("127.0.0.1") as a, UdpSocket.bind("127.0.0.1") as b:
        plain = b.plain()
        assert not b.gro
        assert a.sendto(pattern(5000), b.local_address, segment_size=1000)
        received = []
        while select.select([plain], [], [], 1.0)[0] and len(received) < 5:
            received.append(plain.recv(65536))
        assert received == [pattern(5000)[i : i + 1000] for i in range(0, 5000, 1000)]
    assert plain.fileno() == -1


@needs_linux
def test_source_address_is_chosen_by_the_sender(mode: str) -> None:
    with UdpSocket.bind("0.0.0.0") as a, UdpSocket.bind("0.0.0.0") as b:
        target = ("127.0.0.3", b.local_address[1])
        data = pattern(5000)
        for from_ in (("127.0.0.2", 0), ("127.0.0.9", a.local_address[1])):
            assert a.sendto(data, target, segment_size=1000, from_=from_)
            datagrams = receive(b, 5)
            assert {(d.source[0], d.destination) for d in datagrams} == {(from_[0], target)}
        assert a.sendto(b"any", target, from_=("0.0.0.0", a.local_address[1]))
        assert [d.data for d in receive(b, 1)] == [b"any"]


@needs_linux
@needs_ipv6
def test_source_address_on_a_dual_stack_socket(mode: str) -> None:
    with UdpSocket.bind("::") as a, UdpSocket.bind("::") as b:
        port = b.local_address[1]
        assert a.sendto(b"four", ("127.0.0.3", port), from_=("127.0.0.2", 1), ecn=1)
        assert a.sendto(b"six", ("::1", port), from_=("::1", 1), ecn=2)
        assert a.sendto(b"any", ("::1", port), from_=("::", 1))
        assert receive(b, 3) == [
            Datagram(b"four", ("127.0.0.2", a.local_address[1]), ("127.0.0.3", port), 1),
            Datagram(b"six", ("::1", a.local_address[1]), ("::1", port), 2),
            Datagram(b"any", ("::1", a.local_address[1]), ("::1", port), 0),
        ]


@needs_linux
@pytest.mark.parametrize(
    ("any_host", "host", "foreign"),
    [
        ("0.0.0.0", "127.0.0.1", "192.0.2.77"),
        pytest.param("::", "::1", "2001:db8::77", marks=needs_ipv6),
    ],
)
def test_an_address_that_is_not_ours_loses_the_packet_but_not_gso(
    any_host: str, host: str, foreign: str
) -> None:
    with UdpSocket.bind(any_host) as a, UdpSocket.bind(host) as b:
        before = a.gso
        to = b.local_address
        assert a.sendto(pattern(5000), to, segment_size=1000, from_=(foreign, 0)) is True
        assert a.counters.send_errors >= 1
        assert a.counters.datagrams_sent == 0
        assert a.gso == before
        assert a.sendto(b"x", to)
        assert [d.data for d in receive(b, 1)] == [b"x"]


@needs_linux
def test_gso_is_switched_off_when_it_fails_and_the_batch_is_sent_again() -> None:
    with UdpSocket.bind("127.0.0.1") as a, UdpSocket.bind("127.0.0.1") as b:
        if not a.gso:
            pytest.skip("no GSO on this kernel")
        with socket.socket(fileno=os.dup(a.fileno())) as same:
            same.setsockopt(socket.SOL_SOCKET, 11, 1)  # SO_NO_CHECK, which GSO cannot do
        data = pattern(100 * 1200 - 7)
        assert a.sendto(data, b.local_address, segment_size=1200)
        assert b"".join(d.data for d in receive(b, 100)) == data
        assert a.gso is False
        assert a.counters.send_errors == 0
        assert a.counters.datagrams_sent == 100
        assert a.sent == len(data)


@pytest.mark.parametrize("to", [("::1", 9), ("2001:db8::1", 9)])
def test_a_family_the_socket_cannot_reach_counts_as_lost(to: tuple[str, int]) -> None:
    with UdpSocket.bind("127.0.0.1") as sock:
        assert sock.sendto(pattern(5000), to, segment_size=1000) is True
        assert sock.counters.send_errors >= 1
        assert sock.counters.datagrams_sent == 0


def test_the_same_peer_has_the_same_tuple() -> None:
    with UdpSocket.bind("127.0.0.1") as a, UdpSocket.bind("127.0.0.1") as b:
        for _ in range(3):
            a.sendto(b"x", b.local_address)
        first, *others = receive(b, 3)
        assert all(other.source is first.source for other in others)
        assert all(other.destination is first.destination for other in others)


@needs_linux
def test_many_peers_are_told_apart(mode: str) -> None:
    with UdpSocket.bind("0.0.0.0") as a, UdpSocket.bind("127.0.0.1") as b:
        hosts = [f"127.0.{i % 7}.{1 + i}" for i in range(200)]
        for _ in range(2):
            for host in hosts:
                assert a.sendto(host.encode(), b.local_address, from_=(host, 0))
            for datagram in receive(b, 200):
                assert datagram.source == (datagram.data.decode(), a.local_address[1])
        assert b.counters.datagrams_received == 400


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", ("127.0.0.1",), ("127.0.0.1", 65536), ("127.0.0.1", -1), ("localhost", 1),
        (b"127.0.0.1", 1), ("127.0.0.1", "1"), ["127.0.0.1", 1], None, ("", 1), ("1.2.3", 1),
        ("127.0.0.1\0", 1), ("::1", 1, 0),
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: object) -> None:
    with UdpSocket.bind("127.0.0.1") as sock, pytest.raises((ValueError, TypeError)):
        sock.sendto(b"x", address)  # type: ignore[arg-type]


@needs_ipv6
def test_four_tuples_and_scope_ids() -> None:
    with UdpSocket.bind("::") as a, UdpSocket.bind("::1") as b:
        port = b.local_address[1]
        assert a.sendto(b"x", ("::1", port, 0, 0))
        assert a.sendto(b"y", ("::1%1", port))
        assert [d.data for d in receive(b, 2)] == [b"x", b"y"]
        assert a.sendto(b"z", ("fe80::1%1", port)) is True
        assert a.sendto(b"z", ("fe80::1", port, 0, 1)) is True


def link_local() -> tuple[str, int] | None:
    """A link-local address of this host and the number of its interface."""
    try:
        lines = Path("/proc/net/if_inet6").read_text().splitlines()
    except OSError:
        return None
    for digits, index, _, scope, flags, _ in map(str.split, lines):
        if scope == "20" and int(flags, 16) & 0x40 == 0:  # 0x40: tentative
            return str(IPv6Address(int(digits, 16))), int(index, 16)
    return None


@pytest.mark.skipif(link_local() is None, reason="no link-local address here")
def test_link_local_addresses_keep_their_interface() -> None:
    found = link_local()
    assert found is not None
    host, index = found
    with UdpSocket.bind("::") as a, UdpSocket.bind(f"{host}%{index}") as b:
        assert b.local_address[0] == f"{host}%{index}"
        assert a.sendto(b"x", b.local_address)
        [datagram] = receive(b, 1)
        assert datagram.source == (f"{host}%{index}", a.local_address[1])
        assert datagram.destination == b.local_address
        name = socket.if_indextoname(index)
        assert a.sendto(b"y", (f"{host}%{name}", b.local_address[1]))
        assert a.sendto(b"z", (host, b.local_address[1], 0, index))
        assert [d.data for d in receive(b, 2)] == [b"y", b"z"]


# Packets to a neighbour that never answers stay in the send buffer: the only way to fill it on one host.
BLOCKED = """
import os, socket
from cwt._core.udp.socket import UdpSocket
with UdpSocket.bind("10.9.0.1") as sock:
    with socket.socket(fileno=os.dup(sock.fileno())) as same:
        same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 20000)
    done = sock.sendto(bytes(200_000), ("10.9.0.2", 9), segment_size=1000)
    print(done, sock.sent, sock.counters.send_blocked, sock.counters.datagrams_sent)
"""
NETWORK = (
    "ip link add v0 type veth peer name v1 && ip addr add 10.9.0.1/24 dev v0 "
    "&& ip link set v0 up && ip link set v1 up"
)


def test_a_full_send_buffer_tells_how_far_it_came(mode: str) -> None:
    namespace = ["unshare", "-rn", "sh", "-c"]
    if (
        not shutil.which("unshare")
        or subprocess.run([*namespace, NETWORK], capture_output=True).returncode
    ):
        pytest.skip("no network namespaces here")
    script = f'{NETWORK} && exec "$0" -c "$1"'
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [*namespace, script, sys.executable, BLOCKED],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    done, sent, blocked, datagrams = result.stdout.split()
    assert (done, blocked) == ("False", "1"), result.stderr
    assert 0 < int(sent) < 200_000
    assert int(sent) == 1000 * int(datagrams)


def test_bind_refuses_names_and_taken_ports() -> None:
    with pytest.raises(ValueError, match="'localhost' is not an IP address"):
        UdpSocket.bind("localhost", 0)
    with pytest.raises(TypeError, match="bind"):
        UdpSocket()
    with UdpSocket.bind("127.0.0.1") as sock, pytest.raises(OSError) as caught:
        UdpSocket.bind("127.0.0.1", sock.local_address[1])
    assert caught.value.errno == errno.EADDRINUSE


def test_reuse_port() -> None:
    with (
        UdpSocket.bind("127.0.0.1", 0, reuse_port=True) as first,
        UdpSocket.bind("127.0.0.1", first.local_address[1], reuse_port=True) as second,
    ):
        assert second.local_address == first.local_address


def test_properties() -> None:
    with UdpSocket.bind("127.0.0.1") as sock:
        host, port = sock.local_address
        assert host == "127.0.0.1" and port > 0
        assert sock.fileno() >= 0
        assert os.get_blocking(sock.fileno()) is False
        assert os.get_inheritable(sock.fileno()) is False
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as usual:
            default = usual.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        assert sock.receive_buffer >= default
        assert sock.send_buffer > 0
        assert repr(sock).startswith(f"<UdpSocket 127.0.0.1 port {port}")


@needs_linux
def test_packets_are_sent_with_dont_fragment() -> None:
    with UdpSocket.bind("127.0.0.1") as sock, socket.socket(fileno=os.dup(sock.fileno())) as same:
        assert same.getsockopt(socket.IPPROTO_IP, 10) == 3  # IP_MTU_DISCOVER, IP_PMTUDISC_PROBE


def test_close() -> None:
    sock = UdpSocket.bind("127.0.0.1")
    descriptor = sock.fileno()
    sock.close()
    sock.close()
    assert sock.fileno() == -1
    assert repr(sock) == "<UdpSocket closed>"
    with pytest.raises(OSError):
        os.fstat(descriptor)
    with pytest.raises(OSError, match="closed"):
        sock.sendto(b"x", ("127.0.0.1", 9))
    with pytest.raises(OSError, match="closed"):
        sock.recv_all()


def test_a_broken_descriptor_raises(mode: str) -> None:
    with UdpSocket.bind("127.0.0.1") as sock, open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), sock.fileno())
        with pytest.raises(OSError) as caught:
            sock.sendto(pattern(3000), ("127.0.0.1", 9), segment_size=1000)
        assert caught.value.errno == errno.ENOTSOCK
        with pytest.raises(OSError) as caught:
            sock.recv_all()
        assert caught.value.errno == errno.ENOTSOCK


def test_misuse_of_ecn() -> None:
    with UdpSocket.bind("127.0.0.1") as sock, pytest.raises(ValueError, match="ECN"):
        sock.sendto(b"x", ("127.0.0.1", 9), ecn=4)
