"""The cases of the QUIC interop runner, and what it checks of each (its ``testcases_quic.py``)."""

from __future__ import annotations

import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from cwt._core.wire.frame import FrameType
from cwt._core.wire.packet import PacketType
from cwt._core.wire.params import TransportParameters
from tests.interop.runner.link import Link, Scenario
from tests.interop.runner.trace import Packet, Trace, acknowledges_ecn, read_keylog

__all__ = ["CASES", "Case", "CheckFailed", "Result"]

KB, MB = 1 << 10, 1 << 20
V1, V2 = 1, 0x6B3343CF
_CHACHA20 = 0x1303
_CLIENT_HELLO = 1
_ENCRYPTED_EXTENSIONS = 8
_TRANSPORT_PARAMETERS = 0x39
_MOMENT = 0.1
"""Seconds in which an answer may not come because the connection is closed before."""


class CheckFailed(Exception):
    """What the runner would have said."""


def expect(condition: object, text: str) -> None:
    if not condition:
        raise CheckFailed(text)


@dataclass
class Result:
    """What is left of a run, for the checks."""

    link: Link
    keylogs: Sequence[Path]
    www: Path
    downloads: Path
    files: Sequence[str]

    @cached_property
    def client_trace(self) -> Trace:
        """The packets at the client's end."""
        return Trace(self.link.at_client, read_keylog(*self.keylogs))

    @cached_property
    def server_trace(self) -> Trace:
        """The packets at the server's end."""
        return Trace(self.link.at_server, read_keylog(*self.keylogs))

    def check_files(self) -> None:
        found = {path.name for path in self.downloads.iterdir()}
        expect(not found - set(self.files), f"unexpected files: {sorted(found - set(self.files))}")
        missing = set(self.files) - found
        expect(not missing, f"{len(missing)} files are missing: {sorted(missing)[:3]}")
        for name in self.files:
            want, got = (self.www / name).read_bytes(), (self.downloads / name).read_bytes()
            expect(len(want) == len(got), f"{name} has {len(got)} bytes, not {len(want)}")
            expect(want == got, f"{name} has other content")

    def check_handshakes(self, wanted: int) -> None:
        count = self.server_trace.handshakes()
        expect(count == wanted, f"expected {wanted} handshakes, saw {count}")

    def check_version(self) -> None:
        versions = self.server_trace.versions(PacketType.INITIAL, False)
        expect(versions == {V1}, f"expected version 1, saw {versions}")


Check = Callable[[Result], None]

_PLAIN = Scenario()


@dataclass(frozen=True, kw_only=True)
class Case:
    """A case: what is fetched over which link, and what must be seen."""

    name: str
    abbreviation: str
    client: str = ""
    """TESTCASE of the client; empty: the name."""
    server: str = ""
    sizes: Sequence[int]
    """Bytes of each file."""
    check: Check
    scenario: Scenario = _PLAIN
    chain: int = 1
    """Certificates the server has."""
    name_length: int = 12
    is_ipv6: bool = False
    is_migrating: bool = False
    """The server has a preferred address."""
    timeout: float = 60.0
    fast: tuple[Sequence[int], Scenario] | None = None
    """Files and link of the variant for continuous integration."""

    def faster(self) -> Case:
        """The same in less time: smaller files, sooner faults."""
        if self.fast is None:
            return self
        return replace(self, sizes=self.fast[0], scenario=self.fast[1])

    def file_names(self, chance: random.Random) -> list[str]:
        """A random name for each file."""
        letters = string.ascii_lowercase
        return ["".join(chance.choices(letters, k=self.name_length)) for _ in self.sizes]


def check_one_handshake(result: Result) -> None:
    result.check_handshakes(1)
    result.check_version()
    result.check_files()


def check_handshake(result: Result) -> None:
    retries = list(result.client_trace.of(PacketType.RETRY, False))
    expect(not retries, "a Retry was not expected")
    check_one_handshake(result)


def check_long_rtt(result: Result) -> None:
    check_one_handshake(result)
    hellos = [
        packet
        for packet in result.client_trace.of(PacketType.INITIAL, True)
        if any(f[0] == FrameType.CRYPTO and f[1] == 0 for f in packet.frames or ())
    ]
    expect(len(hellos) >= 2, f"expected 2 ClientHellos or more, saw {len(hellos)}")


def check_chacha20(result: Result) -> None:
    result.check_handshakes(1)
    hellos = [
        body
        for kind, body in result.client_trace.messages(PacketType.INITIAL, True)
        if kind == _CLIENT_HELLO
    ]
    expect(hellos, "no ClientHello could be read")
    for hello in hellos:
        start = 35 + hello[34]
        size = int.from_bytes(hello[start : start + 2], "big")
        suites = {
            int.from_bytes(hello[i : i + 2], "big") for i in range(start + 2, start + 2 + size, 2)
        }
        # Values reserved by RFC 8701 are no cipher suites.
        suites = {suite for suite in suites if suite & 0x0F0F != 0x0A0A}
        expect(suites == {_CHACHA20}, f"offered were {sorted(map(hex, suites))}")
    result.check_version()
    result.check_files()


def check_multiplexing(result: Result) -> None:
    check_one_handshake(result)
    found = [
        body
        for kind, body in result.client_trace.messages(PacketType.HANDSHAKE, False)
        if kind == _ENCRYPTED_EXTENSIONS
    ]
    expect(found, "the server's transport parameters could not be read")
    limit = _transport_parameters(found[0]).initial_max_streams_bidi
    expect(limit <= 1000, f"the server allows {limit} streams at once")


def _transport_parameters(extensions: bytes) -> TransportParameters:
    position = 2
    while position < len(extensions):
        kind = int.from_bytes(extensions[position : position + 2], "big")
        size = int.from_bytes(extensions[position + 2 : position + 4], "big")
        if kind == _TRANSPORT_PARAMETERS:
            data = extensions[position + 4 : position + 4 + size]
            return TransportParameters.parse(data, False)
        position += 4 + size
    raise CheckFailed("the server sent no transport parameters")


def check_retry(result: Result) -> None:
    result.check_version()
    result.check_files()
    tokens = [packet.token for packet in result.client_trace.of(PacketType.INITIAL, True)]
    retries = list(result.client_trace.of(PacketType.RETRY, False))
    expect(retries, "the server sent no Retry")
    token = retries[0].datagram.data
    for sent in tokens:
        # The token is what is left of the Retry packet before its integrity tag.
        if sent and token[:-16].endswith(sent):
            return
    raise CheckFailed("no Initial had the token of the Retry")


def check_resumption(result: Result) -> None:
    result.check_handshakes(2)
    sent = result.client_trace.certificates()
    expect(sent == [True, False], f"a Certificate in each of the handshakes: {sent}")
    result.check_version()
    result.check_files()


def check_zero_rtt(result: Result) -> None:
    result.check_handshakes(2)
    result.check_version()
    result.check_files()
    early = sum(packet.payload for packet in result.client_trace.of(PacketType.ZERO_RTT, True))
    # The runner counts packets that carry nothing, too: those that probe the path's MTU.
    late = sum(
        packet.payload
        for packet in result.client_trace.of(PacketType.ONE_RTT, True)
        if packet.has(FrameType.STREAM)
    )
    names = sum(map(len, result.files))
    expect(early, "the client sent nothing in 0-RTT packets")
    expect(late <= names / 2, f"{late} bytes in 1-RTT packets, {early} in 0-RTT packets")


def check_key_update(result: Result) -> None:
    check_handshake(result)
    for trace, from_client in ((result.client_trace, True), (result.server_trace, False)):
        phases = [p.key_phase for p in trace.of(PacketType.ONE_RTT, from_client) if p.frames]
        side = "client" if from_client else "server"
        expect(phases, f"no packet of the {side} could be decrypted")
        expect(1 in phases, f"the {side} sent no packet of key phase 1")


def check_ecn(result: Result) -> None:
    check_handshake(result)
    for trace, from_client in ((result.client_trace, True), (result.server_trace, False)):
        side = "client" if from_client else "server"
        sent = [p for p in trace.packets if p.datagram.from_client == from_client]
        marks = {packet.datagram.ecn for packet in sent}
        expect(marks & {1, 2}, f"the {side} marked no packet ECT(0) or ECT(1)")
        expect(3 not in marks, f"the {side} marked packets CE")
        expect(acknowledges_ecn(sent), f"the {side} sent no ACK with ECN counts")


def check_amplification(result: Result) -> None:
    check_one_handshake(result)
    size = result.server_trace.crypto_bytes(PacketType.HANDSHAKE, False)
    expect(size >= 7500, f"the server's handshake has only {size} bytes")
    allowed = 0
    kinds: dict[int, set[PacketType]] = {}
    for packet in result.server_trace.packets:
        kinds.setdefault(id(packet.datagram), set()).add(packet.type)
    for datagram in result.link.at_server:
        found = kinds.get(id(datagram), set())
        if datagram.from_client:
            if PacketType.HANDSHAKE in found:
                return  # its address is validated
            if PacketType.INITIAL in found:
                allowed += 4 * len(datagram.data)
        else:
            # Three times is the limit (RFC 9000 Section 8.1); the runner forgives up to four.
            allowed -= len(datagram.data)
            expect(allowed > 0, f"{-allowed} bytes beyond four times what came")
    raise CheckFailed("the client sent no Handshake packet")


def check_many_handshakes(result: Result) -> None:
    result.check_handshakes(len(result.files))
    result.check_version()
    result.check_files()


def check_ipv6(result: Result) -> None:
    check_one_handshake(result)
    expect(all(":" in item.source[0] for item in result.link.at_server), "there was IPv4")


def check_version_negotiation(result: Result) -> None:
    sent = next((d.data for d in result.link.at_client if d.from_client), b"")
    expect(len(sent) > 6, "the client sent nothing")
    dcid = sent[6 : 6 + sent[5]]
    answers = result.client_trace.of(PacketType.VERSION_NEGOTIATION, False)
    expect(
        any(packet.scid == dcid for packet in answers),
        "no Version Negotiation packet for what the client sent",
    )


def check_version_2(result: Result) -> None:
    versions = result.client_trace.versions(PacketType.INITIAL, True)
    expect(V1 in versions, f"the client's Initials have {versions}")
    versions = result.server_trace.versions(PacketType.INITIAL, False)
    expect(V2 in versions, f"the server's Initials have {versions}")
    for trace, from_client in ((result.client_trace, True), (result.server_trace, False)):
        versions = trace.versions(PacketType.HANDSHAKE, from_client)
        expect(versions == {V2}, f"Handshake packets have {versions}")
    result.check_files()


def _paths(
    packets: Sequence[Packet],
) -> list[tuple[Packet, Packet]]:
    """The first packet on each new path, with the one before it."""
    found: list[tuple[Packet, Packet]] = []
    seen = set()
    last: Packet | None = None
    for packet in packets:
        path = packet.datagram.source, packet.datagram.destination
        if last is not None and path not in seen:
            found.append((last, packet))
        seen.add(path)
        last = packet
    return found


def check_rebinding(result: Result) -> None:
    check_one_handshake(result)
    sent = [p for p in result.server_trace.packets if not p.datagram.from_client]
    moves = _paths(sent)
    expect(moves, "the server saw a single path")
    challenges = set()
    for _, packet in moves:
        found = [f[1] for f in packet.frames or () if f[0] == FrameType.PATH_CHALLENGE]
        names = ", ".join(item[0].name for item in packet.frames or ())
        expect(
            found, f"the server's first packet on a new path has no PATH_CHALLENGE, only {names}"
        )
        challenges.update(found)
    responses = {
        item[1]
        for packet in result.client_trace.of(PacketType.ONE_RTT, True)
        for item in packet.frames or ()
        if item[0] == FrameType.PATH_RESPONSE
    }
    # The runner wants an answer to each; what the link dropped, or what comes at the end, can have none.
    end = min(
        (
            packet.datagram.time
            for packet in result.client_trace.of(PacketType.ONE_RTT, True)
            if packet.has(FrameType.TRANSPORT_CLOSE, FrameType.APPLICATION_CLOSE)
        ),
        default=float("inf"),
    )
    arrived = {
        item[1]
        for packet in result.client_trace.of(PacketType.ONE_RTT, False)
        for item in packet.frames or ()
        if item[0] == FrameType.PATH_CHALLENGE and packet.datagram.time < end - _MOMENT
    }
    expect(challenges & arrived <= responses, "a PATH_CHALLENGE without a PATH_RESPONSE")


def check_address_rebinding(result: Result) -> None:
    hosts = {d.destination[0] for d in result.link.at_server if not d.from_client}
    expect(len(hosts) > 1, f"the server saw one address, {hosts}")
    check_rebinding(result)


def check_migration(result: Result) -> None:
    check_rebinding(result)
    sent = [p for p in result.client_trace.packets if p.datagram.from_client]
    for before, packet in _paths(sent):
        expect(
            packet.dcid != before.dcid,
            f"the first packet to {packet.datagram.destination} has the connection ID of the old path",
        )


_TRANSFER = (2 * MB, 3 * MB, 5 * MB)
_SHORT = (200 * KB, 300 * KB, 500 * KB)
_LOSS = Scenario(loss=30)
_CORRUPTION = Scenario(corruption=30)
_REBIND = Scenario(rebind=(1.0, 5.0))
_FAST_REBIND = Scenario(rebind=(0.4, 0.5))

CASES = {
    case.name: case
    for case in (
        Case(name="handshake", abbreviation="H", sizes=(KB,), check=check_handshake),
        Case(
            name="transfer",
            abbreviation="DC",
            sizes=_TRANSFER,
            check=check_one_handshake,
            fast=(_SHORT, _PLAIN),
        ),
        Case(
            name="longrtt",
            abbreviation="LR",
            client="handshake",
            server="handshake",
            sizes=(KB,),
            scenario=Scenario(delay=0.75),
            check=check_long_rtt,
        ),
        Case(
            name="chacha20",
            abbreviation="C20",
            sizes=(3 * MB,),
            check=check_chacha20,
            fast=((300 * KB,), _PLAIN),
        ),
        Case(
            name="multiplexing",
            abbreviation="M",
            client="transfer",
            server="transfer",
            sizes=(32,) * 1999,
            check=check_multiplexing,
        ),
        Case(name="retry", abbreviation="S", sizes=(10 * KB,), check=check_retry),
        Case(name="resumption", abbreviation="R", sizes=(5 * KB, 10 * KB), check=check_resumption),
        Case(
            name="zerortt",
            abbreviation="Z",
            sizes=(32,) * 40,
            name_length=250,
            check=check_zero_rtt,
        ),
        Case(
            name="http3",
            abbreviation="3",
            sizes=(5 * KB, 10 * KB, 500 * KB),
            check=check_one_handshake,
        ),
        Case(
            name="blackhole",
            abbreviation="B",
            client="transfer",
            server="transfer",
            sizes=(10 * MB,),
            scenario=Scenario(blackhole=(5.0, 2.0)),
            check=check_one_handshake,
            fast=((2 * MB,), Scenario(blackhole=(0.7, 0.4))),
        ),
        Case(
            name="keyupdate",
            abbreviation="U",
            server="transfer",
            sizes=(3 * MB,),
            check=check_key_update,
            fast=((300 * KB,), _PLAIN),
        ),
        Case(name="ecn", abbreviation="E", sizes=(100 * KB,), check=check_ecn),
        Case(
            name="amplificationlimit",
            abbreviation="A",
            client="transfer",
            server="transfer",
            sizes=(5 * KB,),
            chain=9,
            scenario=Scenario(drops_to_server=range(2, 8)),
            check=check_amplification,
        ),
        Case(
            name="handshakeloss",
            abbreviation="L1",
            client="multiconnect",
            server="multiconnect",
            sizes=(KB,) * 50,
            scenario=_LOSS,
            check=check_many_handshakes,
            timeout=300.0,
            fast=((KB,) * 8, _LOSS),
        ),
        Case(
            name="transferloss",
            abbreviation="L2",
            client="transfer",
            server="transfer",
            sizes=(2 * MB,),
            scenario=Scenario(loss=2),
            check=check_one_handshake,
            fast=((500 * KB,), Scenario(loss=2)),
        ),
        Case(
            name="handshakecorruption",
            abbreviation="C1",
            client="multiconnect",
            server="multiconnect",
            sizes=(KB,) * 50,
            scenario=_CORRUPTION,
            check=check_many_handshakes,
            timeout=300.0,
            fast=((KB,) * 8, _CORRUPTION),
        ),
        Case(
            name="transfercorruption",
            abbreviation="C2",
            client="transfer",
            server="transfer",
            sizes=(2 * MB,),
            scenario=Scenario(corruption=2),
            check=check_one_handshake,
            fast=((500 * KB,), Scenario(corruption=2)),
        ),
        Case(
            name="ipv6",
            abbreviation="6",
            client="transfer",
            server="transfer",
            sizes=(5 * KB, 10 * KB),
            is_ipv6=True,
            check=check_ipv6,
        ),
        Case(
            name="versionnegotiation",
            abbreviation="V",
            sizes=(),
            check=check_version_negotiation,
        ),
        Case(name="v2", abbreviation="V2", sizes=(KB,), check=check_version_2),
        Case(
            name="rebind-port",
            abbreviation="BP",
            client="transfer",
            server="transfer",
            sizes=(10 * MB,),
            scenario=_REBIND,
            check=check_rebinding,
            fast=((1500 * KB,), _FAST_REBIND),
        ),
        Case(
            name="rebind-addr",
            abbreviation="BA",
            client="transfer",
            server="transfer",
            sizes=(10 * MB,),
            scenario=replace(_REBIND, rebind_address=True),
            check=check_address_rebinding,
            fast=((1500 * KB,), replace(_FAST_REBIND, rebind_address=True)),
        ),
        Case(
            name="connectionmigration",
            abbreviation="CM",
            client="transfer",
            sizes=(2 * MB,),
            is_migrating=True,
            check=check_migration,
            fast=((500 * KB,), _PLAIN),
        ),
    )
}
