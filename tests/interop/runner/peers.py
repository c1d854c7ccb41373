"""The implementations: how a process of each is started.

All but cwt speak the same small contract, in the environment: ROLE, TESTCASE, REQUESTS, SSLKEYLOGFILE as
the runner has them, and in place of fixed paths and ports HOST, PORT, WWW, DOWNLOADS and CERTS.  With
PREFERRED_ADDRESS (host:port) a server offers that address to its clients, and listens on PREFERRED_PORT
as well if it can.  A server writes a line that begins with "listening" when it does; the exit status is
the runner's.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from benchmarks.stacks import native

__all__ = ["PEERS", "Peer", "Unavailable"]

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parent.parent
SOURCES = HERE / "peers"


class Unavailable(Exception):
    """The peer cannot be run here; says why."""


@dataclass(frozen=True)
class Peer:
    """An implementation."""

    name: str
    start: Callable[[], list[str]]
    """The command; builds it where that is needed.  Raises Unavailable."""
    version: Callable[[], str]
    arguments: Callable[[Mapping[str, str]], list[str]] = lambda environment: []
    """What to add to the command, from the environment of the contract."""
    lacks: Mapping[tuple[str, str], str] = field(default_factory=dict)
    """(role, case) -> why there is no point in running it, for what the case's own name does not tell."""
    has_second_port: bool = False
    """Whether its server listens on PREFERRED_PORT; else what comes for there goes to PORT."""

    def command(self, environment: Mapping[str, str]) -> list[str]:
        """The command with its arguments.  Raises Unavailable."""
        return [*self.start(), *self.arguments(environment)]


def _cwt_arguments(environment: Mapping[str, str]) -> list[str]:
    role = environment["ROLE"]
    certificates = environment["CERTS"]
    if role == "client":
        return [
            *("interop", "client", "--downloads", environment["DOWNLOADS"]),
            *("--ca", f"{certificates}/ca.pem"),
        ]
    more = []
    if "PREFERRED_ADDRESS" in environment:
        more = [
            *("--preferred-address", environment["PREFERRED_ADDRESS"]),
            *("--preferred-port", environment["PREFERRED_PORT"]),
        ]
    return [
        *("interop", "server", "--www", environment["WWW"]),
        *("--host", environment["HOST"], "--port", environment["PORT"]),
        *("--certfile", f"{certificates}/cert.pem", "--keyfile", f"{certificates}/priv.key"),
        *more,
    ]


def _cwt_version() -> str:
    try:
        return importlib.metadata.version("cwt-quic")
    except importlib.metadata.PackageNotFoundError:
        found = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.M)
        return found[1] if found else "unknown"


def _python(script: str, package: str) -> Callable[[], list[str]]:
    def start() -> list[str]:
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise Unavailable(f"{package} is not installed") from None
        return [sys.executable, str(SOURCES / script)]

    return start


def _native(build: Callable[[], str]) -> Callable[[], list[str]]:
    @cache
    def start() -> list[str]:
        try:
            return [build()]
        except native.NotBuilt as error:
            raise Unavailable(str(error)) from None

    return start


def _says_version(build: Callable[[], str]) -> Callable[[], str]:
    """A native peer tells the version of its library when ROLE is ``version``."""

    def version() -> str:
        environment = {**os.environ, "ROLE": "version"}
        done = subprocess.run([build()], env=environment, capture_output=True, text=True)
        return done.stdout.strip() or "unknown"

    return version


_STAYS = {("client", "connectionmigration"): "its client does not go to preferred addresses"}

_GO = native.go("interop", SOURCES / "go")
_QUINN = native.cargo("quinn-interop", SOURCES / "rust")
_QUICHE = native.cargo("quiche-interop", SOURCES / "rust")

PEERS = {
    peer.name: peer
    for peer in (
        Peer("cwt", lambda: [sys.executable, "-m", "cwt"], _cwt_version, _cwt_arguments, {}, True),
        Peer(
            "aioquic",
            _python("aioquic_interop.py", "aioquic"),
            lambda: importlib.metadata.version("aioquic"),
        ),
        Peer("quic-go", _native(_GO), _says_version(_GO), lacks=_STAYS),
        Peer("quinn", _native(_QUINN), _says_version(_QUINN), lacks=_STAYS),
        Peer("quiche", _native(_QUICHE), _says_version(_QUICHE), lacks=_STAYS),
    )
}
