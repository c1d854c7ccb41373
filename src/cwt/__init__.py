"""QUIC, HTTP/3 and WebTransport for Python.

::

    async with cwt.connect("https://localhost:4433/chat") as session: ...
    async with cwt.serve({"/chat": chat}, "::", 4433, certfile="cert.pem", keyfile="key.pem") as server: ...

``cwt.quic`` is QUIC without I/O, ``cwt.h3`` HTTP/3, ``cwt.testing`` what tests need.  Everything is
imported when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cwt.aio.client import connect
    from cwt.aio.datagrams import Datagrams
    from cwt.aio.headers import Headers
    from cwt.aio.order import SendGroup
    from cwt.aio.request import SessionRequest
    from cwt.aio.server import Limits, Server, ServerStats, serve
    from cwt.aio.session import CloseInfo, Session, SessionStats
    from cwt.aio.stream import BiStream, RecvStream, SendStream
    from cwt.config import Config
    from cwt.errors import (
        ApplicationError,
        BufferFull,
        CertificateError,
        ConfigError,
        ConnectError,
        ConnectionClosed,
        ConnectTimeout,
        CwtError,
        DatagramTooLarge,
        H3ErrorCode,
        HandshakeError,
        IdleTimeout,
        MigrationError,
        SessionClosed,
        SessionRejected,
        StatelessReset,
        StreamLimitError,
        StreamReset,
        StreamStopped,
        TransportError,
        TransportErrorCode,
    )
    from cwt.tls.session_file import FileSessionCache
    from cwt.tls.sessions import SessionCache

_MODULES = {
    "cwt.aio.client": "connect",
    "cwt.aio.datagrams": "Datagrams",
    "cwt.aio.headers": "Headers",
    "cwt.aio.order": "SendGroup",
    "cwt.aio.request": "SessionRequest",
    "cwt.aio.server": "Limits Server ServerStats serve",
    "cwt.aio.session": "CloseInfo Session SessionStats",
    "cwt.aio.stream": "BiStream RecvStream SendStream",
    "cwt.config": "Config",
    "cwt.errors": (
        "ApplicationError BufferFull CertificateError ConfigError ConnectError ConnectTimeout "
        "ConnectionClosed CwtError DatagramTooLarge H3ErrorCode HandshakeError IdleTimeout "
        "MigrationError SessionClosed SessionRejected StatelessReset StreamLimitError StreamReset "
        "StreamStopped TransportError TransportErrorCode"
    ),
    "cwt.tls.session_file": "FileSessionCache",
    "cwt.tls.sessions": "SessionCache",
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}
_SUBMODULES = frozenset({"h3", "quic", "testing", "tls", "webtransport"})

__all__ = [
    "ApplicationError",
    "BiStream",
    "BufferFull",
    "CertificateError",
    "CloseInfo",
    "Config",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "CwtError",
    "DatagramTooLarge",
    "Datagrams",
    "FileSessionCache",
    "H3ErrorCode",
    "HandshakeError",
    "Headers",
    "IdleTimeout",
    "Limits",
    "MigrationError",
    "RecvStream",
    "SendGroup",
    "SendStream",
    "Server",
    "ServerStats",
    "Session",
    "SessionCache",
    "SessionClosed",
    "SessionRejected",
    "SessionRequest",
    "SessionStats",
    "StatelessReset",
    "StreamLimitError",
    "StreamReset",
    "StreamStopped",
    "TransportError",
    "TransportErrorCode",
    "connect",
    "serve",
]


def __getattr__(name: str) -> object:
    if name in _HOMES:
        value = getattr(import_module(_HOMES[name]), name)
    elif name in _SUBMODULES:
        value = import_module(f"cwt.{name}")
    else:
        raise AttributeError(f"module 'cwt' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
