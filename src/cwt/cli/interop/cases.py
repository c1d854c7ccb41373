"""The test cases by the names that the runner gives in TESTCASE, and what each asks of a side.

The runner's other cases are these on an impaired link: longrtt is ``handshake``; multiplexing, blackhole,
amplificationlimit, transferloss, transfercorruption, ipv6, rebind-port and rebind-addr are ``transfer``;
handshakeloss and handshakecorruption are ``multiconnect``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cwt.cli.interop import hq, http3
from cwt.config import Http3Config
from cwt.tls.key_schedule import CipherSuite

__all__ = ["CLIENT_CASES", "SERVER_CASES", "Case", "Fetch", "transport_config"]


class Fetch(Enum):
    """How a client spreads its requests over connections."""

    TOGETHER = "all on one connection"
    RESUMED = "the first on one connection, the others on a second one that resumes its session"
    SEPARATE = "each on a connection of its own"


@dataclass(frozen=True, kw_only=True)
class Case:
    """What a test case asks of a side."""

    alpn: tuple[bytes, ...] = (hq.ALPN,)
    cipher_suites: tuple[int, ...] | None = None
    fetch: Fetch = Fetch.TOGETHER
    key_update: bool = False
    """The client updates keys as soon as the handshake is confirmed."""


_EITHER = (hq.ALPN, http3.ALPN)

CLIENT_CASES = {
    "handshake": Case(),
    "transfer": Case(),
    "chacha20": Case(cipher_suites=(CipherSuite.TLS_CHACHA20_POLY1305_SHA256,)),
    "retry": Case(),
    "resumption": Case(fetch=Fetch.RESUMED),
    "http3": Case(alpn=(http3.ALPN,)),
    "keyupdate": Case(key_update=True),
    "multiconnect": Case(fetch=Fetch.SEPARATE),
}
"""What a client does; a name that is not here is a case that cwt does not have."""

SERVER_CASES = {
    "handshake": Case(),
    "transfer": Case(),
    "chacha20": Case(cipher_suites=(CipherSuite.TLS_CHACHA20_POLY1305_SHA256,)),
    "resumption": Case(),
    "http3": Case(alpn=_EITHER),
    "keyupdate": Case(),
    "multiconnect": Case(),
}


def transport_config() -> Http3Config:
    """Windows small enough that files of a megabyte need more, and patience for bad links."""
    return Http3Config(
        initial_max_data=256 * 1024,
        initial_max_stream_data=128 * 1024,
        max_idle_timeout=30.0,
        handshake_timeout=60.0,
    )
