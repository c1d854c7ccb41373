"""The stacks that ``benchmarks.compare`` knows.

To add one that is spoken to from Python, write a subclass of :class:`benchmarks.stacks.base.Stack` and name
it here; adapters are imported only in the processes that run them.  One in another language is a program in
``benchmarks/peers`` that is spoken to like ``benchmarks.worker``; ``benchmarks.stacks.native`` builds it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec

from benchmarks.stacks import native
from benchmarks.stacks.base import Stack


class NotHere(Exception):
    """The stack cannot be run on this machine; says why."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """How a stack is run.

    ``protocol`` is what its streams are; ``package`` what has to be importable; ``adapter`` its class, or
    ``module`` the program to run instead, or ``build`` makes that of its peer and returns the path.
    ``workloads`` are the ones that it is for, when not for all.
    """

    name: str
    language: str
    protocol: str = "WebTransport"
    package: str = ""
    adapter: str = ""
    module: str = ""
    build: Callable[[], str] | None = None
    workloads: tuple[str, ...] = ()

    def command(self, uvloop: bool) -> list[str]:
        """What runs it, to be followed by the arguments of its role.  Builds it if need be, which may take
        minutes; raises :class:`NotHere`."""
        if self.build is not None:
            try:
                return [self.build()]
            except native.NotBuilt as error:
                raise NotHere(str(error)) from None
        if self.package and find_spec(self.package) is None:
            raise NotHere(f"{self.package} is not installed")
        if self.module:
            return [sys.executable, "-m", self.module]
        loop = ["--uvloop"] if uvloop else []
        return [sys.executable, "-m", "benchmarks.worker", *loop, self.name]


_ENTRIES = (
    Entry(name="cwt", language="Cython", adapter="cwt_stack:CwtStack"),
    Entry(
        name="cwt-jumbo",
        language="Cython",
        adapter="cwt_stack:CwtJumbo",
        workloads=("upload", "download", "streams"),
    ),
    Entry(
        name="cwt-quic",
        language="Cython",
        protocol="QUIC",
        module="benchmarks.stacks.sans_io",
    ),
    Entry(name="aioquic", language="Python", package="aioquic", adapter="aioquic_stack:Aioquic"),
    Entry(
        name="aioquic-raw",
        language="Python",
        protocol="QUIC",
        package="aioquic",
        adapter="aioquic_stack:AioquicRaw",
    ),
    Entry(name="qh3", language="Rust, Python", package="qh3", adapter="aioquic_stack:Qh3"),
    Entry(
        name="pywebtransport",
        language="Rust, Python",
        package="pywebtransport",
        adapter="pywebtransport_stack:PyWebTransport",
    ),
    Entry(
        name="aiopquic",
        language="C, Cython",
        package="aiopquic",
        adapter="aiopquic_stack:Aiopquic",
    ),
    Entry(
        name="iroh",
        language="Rust, Python",
        protocol="QUIC",
        package="iroh",
        adapter="iroh_stack:Iroh",
    ),
    Entry(
        name="websockets",
        language="Python",
        protocol="WebSocket over TLS",
        package="websockets",
        adapter="websockets_stack:WebSockets",
    ),
    Entry(
        name="asyncio-tls", language="Python", protocol="TCP and TLS", adapter="tcp_stack:TcpTls"
    ),
    Entry(name="wtransport", language="Rust", build=native.cargo("wtransport-peer")),
    Entry(name="quinn", language="Rust", protocol="QUIC", build=native.cargo("quinn-peer")),
    Entry(name="quiche", language="Rust", protocol="QUIC", build=native.cargo("quiche-peer")),
    Entry(name="webtransport-go", language="Go", build=native.go("webtransport")),
    Entry(name="quic-go", language="Go", protocol="QUIC", build=native.go("quic")),
)

STACKS = {entry.name: entry for entry in _ENTRIES}


def load(name: str) -> Stack:
    """The adapter of a stack that is spoken to from Python."""
    module, _, attribute = STACKS[name].adapter.partition(":")
    stack: Stack = getattr(import_module(f"benchmarks.stacks.{module}"), attribute)()
    return stack
