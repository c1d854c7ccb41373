"""TLS 1.3 for QUIC (RFC 8446, RFC 9001), without I/O, over ``cryptography``."""

from __future__ import annotations

from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.client import ClientHandshake
from cwt.tls.context import ClientContext, ServerContext
from cwt.tls.groups import Group
from cwt.tls.handshake import Handshake, Level, Secret
from cwt.tls.identity import Identity
from cwt.tls.key_schedule import CipherSuite
from cwt.tls.server import ServerHandshake
from cwt.tls.session_file import FileSessionCache
from cwt.tls.sessions import SessionCache

__all__ = [
    "Alert",
    "AlertDescription",
    "CipherSuite",
    "ClientContext",
    "ClientHandshake",
    "FileSessionCache",
    "Group",
    "Handshake",
    "Identity",
    "Level",
    "Secret",
    "ServerContext",
    "ServerHandshake",
    "SessionCache",
]
