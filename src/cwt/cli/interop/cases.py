"""The test cases by the names that the runner gives in TESTCASE, and what each asks of a side.

The runner's other cases are these on an impaired link: longrtt is ``handshake``; multiplexing, blackhole,
amplificationlimit, transferloss, transfercorruption, ipv6, rebind-port and rebind-addr are ``transfer``;
handshakeloss and handshakecorruption are ``multiconnect``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Literal

from cwt import quic
from cwt.cli.interop import hq, http3
from cwt.config import Http3Config
from cwt.tls.key_schedule import CipherSuite

__all__ = ["CLIENT_CASES", "SERVER_CASES", "Case", "Fetch", "transport_config"]


class Fetch(Enum):
    """How a client spreads its requests over connections."""

    TOGETHER = "all on one connection"
    RESUMED = "the first on one connection, the others on a second one that resumes its session"
    SEPARATE = "each on a connection of its own"
    NOTHING = "none: the server is to name its versions"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a test case asks of a side."""

    alpn: tuple[bytes, ...] = (hq.ALPN,)
    cipher_suites: tuple[int, ...] | None = None
    versions: tuple[int, ...] = (quic.PROTOCOL_VERSION,)
    fetch: Fetch = Fetch.TOGETHER
    migration: bool = False
    """The server prefers another of its addresses, where clients are to go after the handshake."""
    retry: Literal["auto", "always"] = "auto"
    """Whether the server has every client prove its address."""
    early_data: bool = False
    """The second connection begins with requests in 0-RTT packets."""
    key_update: bool = False
    """The client updates keys as soon as the handshake is confirmed."""


_EITHER = (hq.ALPN, http3.ALPN)
_CHACHA20 = (CipherSuite.TLS_CHACHA20_POLY1305_SHA256,)
_VERSION_2_FIRST = (quic.PROTOCOL_VERSION_2, quic.PROTOCOL_VERSION)

CLIENT_CASES = {
    "handshake": Case(),
    "transfer": Case(),
    "chacha20": Case(cipher_suites=_CHACHA20),
    "retry": Case(),
    "resumption": Case(fetch=Fetch.RESUMED),
    "zerortt": Case(fetch=Fetch.RESUMED, early_data=True),
    "http3": Case(alpn=(http3.ALPN,)),
    "keyupdate": Case(key_update=True),
    "ecn": Case(),
    "multiconnect": Case(fetch=Fetch.SEPARATE),
    "v2": Case(versions=_VERSION_2_FIRST),
    "versionnegotiation": Case(fetch=Fetch.NOTHING),
}
"""What a client does; a name that is not here is a case that cwt does not have."""

SERVER_CASES = {
    "handshake": Case(),
    "transfer": Case(),
    "chacha20": Case(cipher_suites=_CHACHA20),
    "retry": Case(retry="always"),
    "resumption": Case(),
    "zerortt": Case(early_data=True),
    "http3": Case(alpn=_EITHER),
    "keyupdate": Case(),
    "ecn": Case(),
    "multiconnect": Case(),
    "connectionmigration": Case(migration=True),
    "v2": Case(versions=_VERSION_2_FIRST),
    "versionnegotiation": Case(),
}


def transport_config(case: Case) -> Http3Config:
    """Windows small enough that files of a megabyte need more, and patience for bad links."""
    return Http3Config(
        initial_max_data=256 * 1024,
        initial_max_stream_data=128 * 1024,
        max_idle_timeout=30.0,
        handshake_timeout=60.0,
        versions=case.versions,
    )
