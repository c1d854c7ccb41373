"""QUIC without sockets or clocks, in quiche's shape (RFC 9000).

A :class:`Connection` takes received datagrams, the time and the application's verbs, and gives datagrams to
send and the time of its next timeout.  :class:`Endpoint` does so for all connections of a UDP port;
:class:`UdpSocket` and :class:`Pump` connect it to the network.

::

    config = quic.Config(alpn=[b"echo"], verify="ca.pem")
    client = quic.connect("localhost", scid, local, peer, config)
    while (out := client.send(now)) is not None:
        data, info = out
        sock.sendto(data, info.to)

TLS, with ``cryptography`` below it, is imported with the first ``Config`` that is used.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from enum import IntEnum
from functools import partial
from os import PathLike
from typing import TYPE_CHECKING, Any, NamedTuple

from cwt._core.connection import Connection, Host
from cwt._core.crypto.keys import retry_integrity_tag
from cwt._core.endpoint import Endpoint as _Endpoint
from cwt._core.tokens import AddressTokens, TokenKind
from cwt._core.udp.pump import Pump
from cwt._core.udp.socket import UdpSocket
from cwt._core.wire import packet
from cwt._core.wire.packet import PacketType
from cwt._types import (
    Address,
    Buffer,
    DatagramStats,
    PathEvent,
    PathEventKind,
    PathState,
    PathStats,
    RecvInfo,
    SendInfo,
    Stats,
)
from cwt.config import TransportConfig
from cwt.congestion import Acknowledgement, CongestionController
from cwt.errors import ConfigError
from cwt.hkdf import expand_label

if TYPE_CHECKING:
    from cwt.tls import ClientContext, Identity, ServerContext
    from cwt.tls.certificates import PemSource
    from cwt.tls.context import ClientAuth
    from cwt.tls.credentials import ServerNames
    from cwt.tls.public_keys import PublicKeySource, VerifyKeyCallback
    from cwt.tls.replay import FirstUse
    from cwt.tls.sessions import SessionCache
    from cwt.tls.verification import VerifyCallback

__all__ = [
    "MAX_CONN_ID_LEN",
    "PROTOCOL_VERSION",
    "PROTOCOL_VERSION_2",
    "Acknowledgement",
    "AddressTokens",
    "Config",
    "CongestionController",
    "Connection",
    "DatagramStats",
    "Endpoint",
    "Header",
    "PacketType",
    "PathEvent",
    "PathEventKind",
    "PathState",
    "PathStats",
    "Pump",
    "RecvInfo",
    "SendInfo",
    "Shutdown",
    "Stats",
    "TokenKind",
    "UdpSocket",
    "accept",
    "connect",
    "negotiate_version",
    "retry",
    "version_is_supported",
]

PROTOCOL_VERSION = 0x00000001
"""QUIC version 1."""

PROTOCOL_VERSION_2 = 0x6B3343CF
"""QUIC version 2 (RFC 9369)."""

MAX_CONN_ID_LEN = 20
"""The longest connection ID (RFC 9000 Section 17.2)."""

CONN_ID_LEN = 8
"""The length of every connection ID that this side issues."""


class Shutdown(IntEnum):
    """Which direction ``Connection.stream_shutdown`` ends."""

    READ = 0
    WRITE = 1


class Config:
    """What a connection is made with: limits (the fields of ``TransportConfig``) and TLS.

    *alpn* lists the application protocols, the preferred one first.  *verify* (clients): True for the
    system's roots, a file of roots, a callback, or False for no check at all.  Clients resume the sessions
    in *session_cache*.  Servers that share *ticket_keys*, secrets of 32 bytes of which the first one seals
    session tickets, resume each other's sessions.  *early_data* is 0-RTT.  The other settings of TLS are
    those of :class:`cwt.tls.ClientContext` and :class:`cwt.tls.ServerContext`.  Raises ConfigError when a
    value is out of range.
    """

    def __init__(
        self,
        *,
        alpn: Sequence[bytes],
        verify: bool | str | PathLike[str] | Callable[..., Any] = True,
        server_certificate_hashes: Sequence[bytes] = (),
        server_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        raw_public_key: PemSource | object = None,
        sni: ServerNames | None = None,
        client_ca: PemSource | None = None,
        verify_client: VerifyCallback | None = None,
        client_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        client_auth: ClientAuth = "required",
        certificate_compression: Sequence[str] | None = None,
        cipher_suites: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        keylog_file: str | PathLike[str] | None = None,
        session_cache: SessionCache | None = None,
        ticket_keys: Sequence[bytes] | Callable[[], Sequence[bytes]] = (),
        early_data: bool = False,
        early_data_window: float = 10.0,
        early_data_store: FirstUse | None = None,
        early_data_context: bytes = b"",
        random: Callable[[int], bytes] = os.urandom,
        **limits: Any,
    ) -> None:
        names = {field.name for field in dataclasses.fields(TransportConfig)}
        unknown = sorted(set(limits) - names)
        if unknown:
            raise ConfigError(
                f"unknown setting {unknown[0]!r}; known are {', '.join(sorted(names))}"
            )
        if not alpn:
            raise ConfigError("alpn must name at least one protocol, such as b'h3'")
        self.transport = TransportConfig(**limits)
        self.alpn = list(alpn)
        self.verify = verify
        self.server_certificate_hashes = list(server_certificate_hashes)
        self.server_public_keys = server_public_keys
        self.raw_public_key = raw_public_key
        self.sni = sni
        self.client_ca = client_ca
        self.verify_client = verify_client
        self.client_public_keys = client_public_keys
        self.client_auth = client_auth
        self.certificate_compression = certificate_compression
        self.cipher_suites = cipher_suites
        self.groups = groups
        self.keylog_file = keylog_file
        self.session_cache = session_cache
        self.ticket_keys = ticket_keys
        self.early_data = early_data
        self.early_data_window = early_data_window
        self.early_data_store = early_data_store
        self.early_data_context = early_data_context
        self.random = random
        self._identities: list[Identity] = []
        self._client: ClientContext | None = None
        self._server: ServerContext | None = None

    def load_cert_chain(
        self, certfile: PemSource, keyfile: PemSource | None = None, password: bytes | None = None
    ) -> None:
        """Take a certificate chain and its key from PEM: a server's own, or a client's for mutual TLS.

        Without *keyfile* both are in *certfile*; *password* is for an encrypted key.  Called again with a
        key of another kind, it gives a server one more certificate: a client gets the first one whose
        signatures it takes.  Raises ConfigError when there is no such pair.
        """
        from cwt.tls import Identity

        self._identities.append(Identity.load(certfile, keyfile, password))
        self._client = self._server = None

    def reload_certificates(self) -> None:
        """Read all certificates, keys and roots again, for connections to come.

        An error is raised, and changes nothing for servers.
        """
        if self._server is not None:
            self._server.reload()
        self._identities = [identity.reloaded() for identity in self._identities]
        self._client = None

    def client_context(self) -> ClientContext:
        """The TLS settings of clients."""
        if self._client is None:
            from cwt.tls import ClientContext

            self._client = ClientContext(
                alpn=self.alpn,
                verify=self.verify,
                server_certificate_hashes=self.server_certificate_hashes,
                server_public_keys=self.server_public_keys,
                client_cert=self._identities[0] if self._identities else None,
                raw_public_key=self.raw_public_key,
                keylog_file=self.keylog_file,
                session_cache=self.session_cache,
                certificate_compression=self.certificate_compression,
                cipher_suites=self.cipher_suites,
                groups=self.groups,
                early_data=self.early_data,
            )
        return self._client

    def server_context(self) -> ServerContext:
        """The TLS settings of servers; ConfigError without a certificate or raw public key."""
        if self._server is None:
            from cwt.tls import ServerContext

            if not self._identities and self.sni is None and self.raw_public_key is None:
                raise ConfigError("a server needs a certificate: call load_cert_chain first")
            self._server = ServerContext(
                alpn=self.alpn,
                certificates=self._identities,
                sni=self.sni,
                raw_public_key=self.raw_public_key,
                client_ca=self.client_ca,
                verify_client=self.verify_client,
                client_public_keys=self.client_public_keys,
                client_auth=self.client_auth,
                keylog_file=self.keylog_file,
                ticket_keys=self.ticket_keys,
                certificate_compression=self.certificate_compression,
                cipher_suites=self.cipher_suites,
                groups=self.groups,
                early_data=self.early_data,
                early_data_window=self.early_data_window,
                early_data_store=self.early_data_store,
                early_data_context=self.early_data_context,
            )
        return self._server


def connect(
    server_name: str, scid: bytes, local: Address | None, peer: Address, config: Config
) -> Connection:
    """A client connection to *peer*, whose certificate must be for *server_name*.

    *scid* is our connection ID, 8 bytes.
    """
    _check_scid(scid)
    return Connection(
        True,
        partial(config.client_context().handshake, server_name),
        config.transport,
        _host(config),
        config.random,
        local,
        peer,
        scid,
        config.random(8),
    )


def accept(
    scid: bytes,
    odcid: bytes,
    local: Address | None,
    peer: Address,
    config: Config,
    *,
    retry_scid: bytes | None = None,
    version: int = PROTOCOL_VERSION,
) -> Connection:
    """A server connection for a client whose first datagram is then given to ``recv``.

    *odcid* is the Destination Connection ID of the client's first Initial packet; after a Retry it comes
    out of the token, and *retry_scid* is the Source Connection ID the Retry packet carried.  *version* is
    the one of that packet; ConfigError when it is none of the *versions* of *config*.
    """
    _check_scid(scid)
    if version not in config.transport.versions:
        raise ConfigError(f"version 0x{version:08x} is not in versions: send negotiate_version")
    return Connection(
        False,
        config.server_context().handshake,
        config.transport,
        _host(config),
        config.random,
        local,
        peer,
        scid,
        b"",
        original_destination=odcid,
        retry_source=retry_scid,
        address_validated=retry_scid is not None,
        version=version,
    )


def _host(config: Config) -> Host:
    host = Host(config.random)
    host.qlog = _qlog
    return host


def _qlog(
    config: TransportConfig, original_destination: bytes, is_client: bool
) -> dict[str, Any] | None:
    """What a new connection gives ``set_qlog``; None where nobody asked for a log."""
    directory = config.qlog_dir or os.environ.get("QLOGDIR")
    if not directory:
        return None
    from cwt.qlog.files import start

    return start(directory, config.qlog_level, original_destination, is_client)


def _check_scid(scid: bytes) -> None:
    if len(scid) != CONN_ID_LEN:
        raise ConfigError(f"scid must have {CONN_ID_LEN} bytes, not {len(scid)}")


class Header(NamedTuple):
    """The header of a packet, as far as it is not protected (RFC 8999)."""

    type: PacketType
    version: int
    dcid: bytes
    scid: bytes
    token: bytes

    @classmethod
    def from_slice(cls, datagram: Buffer, dcid_len: int = CONN_ID_LEN) -> Header:
        """The header at the start of *datagram*; *dcid_len* counts for short headers only.

        Packets with a QUIC bit of 0 are taken, as peers that were allowed to may send them (RFC 9287).

        Raises ValueError when it is no QUIC packet.
        """
        parsed = packet.parse(bytes(datagram), min(dcid_len, max(len(datagram) - 1, 0)))
        if parsed is None:
            raise ValueError("not a QUIC packet")
        return cls(*parsed[:5])


def version_is_supported(version: int) -> bool:
    """Whether *version* can be spoken; a connection keeps to the ``versions`` of its ``Config``."""
    return version in (PROTOCOL_VERSION, PROTOCOL_VERSION_2)


def negotiate_version(
    scid: bytes, dcid: bytes, versions: Sequence[int] = (PROTOCOL_VERSION, PROTOCOL_VERSION_2)
) -> bytes:
    """A Version Negotiation packet in answer to a packet from *scid* to *dcid* (RFC 9000 Section 6).

    *versions* are those that the server takes; answer only what came in a datagram of 1200 bytes or more.
    """
    return packet.version_negotiation(scid, dcid, versions, os.urandom(1)[0] & 0x7F)


def retry(scid: bytes, dcid: bytes, new_scid: bytes, token: bytes, version: int) -> bytes:
    """A Retry packet in answer to an Initial packet from *scid* to *dcid* (RFC 9000 Section 17.2.5).

    The client will use *new_scid* and give *token* back, which must prove its address: one of an
    :class:`AddressTokens`.
    """
    body = packet.retry_without_tag(version, scid, new_scid, token)
    return body + retry_integrity_tag(version, dcid, body)


def Endpoint(
    config: TransportConfig,
    *,
    tls: ServerContext | None = None,
    random: Callable[[int], bytes] = os.urandom,
    secrets: Sequence[bytes] = (),
    retry: str = "auto",
    max_connections: int = 100_000,
    max_handshakes: int = 4096,
    max_unvalidated: int = 1024,
) -> _Endpoint:
    """All connections of one UDP port; with *tls* it accepts them.

    *secrets*, of 32 bytes each, are for processes that serve one address, and to be kept over a restart:
    the first one makes stateless reset tokens (RFC 9000 Section 10.3) and address validation tokens, which
    all of them open (Section 8.1).  Beyond *max_connections* new clients are refused, beyond
    *max_handshakes* that are not complete they are not answered.

    *retry* says when a client without a good token must first prove its address with a Retry packet:
    "always", "never", or "auto", while *max_unvalidated* handshakes or more are not complete.  Raises
    ConfigError for anything else, and for secrets of another length.
    """
    keys = [expand_label("sha256", bytes(secret), b"cwt token", b"", 32) for secret in secrets]
    if not all(len(secret) == 32 for secret in secrets):
        raise ConfigError("each of secrets must have 32 bytes")
    endpoint = _Endpoint(
        config,
        random=random,
        tls=tls,
        reset_key=expand_label("sha256", bytes(secrets[0]), b"cwt reset", b"", 32)
        if secrets
        else None,
        max_connections=max_connections,
        max_handshakes=max_handshakes,
        max_unvalidated=max_unvalidated,
        retry=retry,
        tokens=AddressTokens(keys, random=random),
        unix_time=None if tls is None else lambda: tls.now().timestamp(),
    )
    endpoint.qlog = _qlog
    return endpoint
