"""What handshakes of one kind have in common: credentials, trust, protocols."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from cwt.errors import ConfigError
from cwt.tls import groups as _groups
from cwt.tls.certificates import Identity, PemSource, load_identity, make_identity
from cwt.tls.client import ClientHandshake
from cwt.tls.handshake import ParametersSource
from cwt.tls.key_schedule import CipherSuite
from cwt.tls.keylog import TextWriter, open_keylog
from cwt.tls.names import normalize
from cwt.tls.server import ServerHandshake
from cwt.tls.sessions import SessionCache
from cwt.tls.tickets import TicketKeys
from cwt.tls.verification import ClientVerifier, ServerVerifier, VerifyCallback

__all__ = ["ClientContext", "ServerContext"]


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _check_alpn(alpn: Sequence[bytes]) -> tuple[bytes, ...]:
    protocols = tuple(bytes(protocol) for protocol in alpn)
    if not protocols:
        raise ConfigError('alpn is empty; QUIC needs a protocol, such as b"h3"')
    if not all(1 <= len(protocol) <= 255 for protocol in protocols):
        raise ConfigError("each protocol of alpn must have from 1 to 255 bytes")
    return protocols


def _check_cipher_suites(cipher_suites: Sequence[int] | None) -> tuple[int, ...]:
    chosen = tuple(CipherSuite) if cipher_suites is None else tuple(cipher_suites)
    if not chosen or not set(chosen) <= set(CipherSuite):
        raise ConfigError(
            "cipher_suites must be some of "
            + ", ".join(f"0x{suite:04x} ({suite.name})" for suite in CipherSuite)
        )
    return tuple(map(int, chosen))


def _check_groups(groups: Sequence[int] | None) -> tuple[int, ...]:
    supported = _groups.supported_groups()
    chosen = supported if groups is None else tuple(groups)
    if not chosen or not set(chosen) <= set(supported):
        raise ConfigError(
            "groups must be some of "
            + ", ".join(f"0x{group:04x} ({group.name})" for group in supported)
        )
    return tuple(map(int, chosen))


class ClientContext:
    """What a client needs for its handshakes; it can be used for any number of them.

    ``verify`` says which servers are trusted: True for the system's certificate authorities, a PEM
    file for those in it, a callable ``verify(chain_der, server_name)`` that raises to refuse, or
    False for no check at all.  ``server_certificate_hashes`` are SHA-256 hashes of certificates to
    accept instead, by the rules of W3C WebTransport.  Files are PEM, given as a path or, in
    ``bytes``, as their content.  ``now`` gives the time by which certificates and tickets are judged.

    With a ``session_cache`` sessions are resumed where the server agrees (RFC 8446 Section 2.2), except by
    clients that have a certificate.
    """

    def __init__(
        self,
        *,
        alpn: Sequence[bytes],
        verify: bool | PemSource | VerifyCallback = True,
        server_certificate_hashes: Sequence[bytes] = (),
        client_cert: PemSource | None = None,
        client_key: PemSource | None = None,
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        session_cache: SessionCache | None = None,
        cipher_suites: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        random: Callable[[int], bytes] = os.urandom,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.alpn = _check_alpn(alpn)
        self.cipher_suites = _check_cipher_suites(cipher_suites)
        self.groups = _check_groups(groups)
        self.random = random
        self.now = now
        self.keylog = open_keylog(keylog_file)
        self.verifier = ServerVerifier(verify, server_certificate_hashes, now)
        self.identity: Identity | None = None
        if client_cert is not None:
            self.identity = load_identity(client_cert, client_key)
        elif client_key is not None:
            raise ConfigError("client_key is of no use without client_cert")
        self.session_cache: SessionCache | None = None
        if session_cache is not None:
            self.remember_sessions(session_cache)

    def remember_sessions(self, cache: SessionCache) -> None:
        """Keep sessions in *cache* and resume them, in handshakes to come."""
        if self.identity is None:  # a session belongs to the client certificate it began with
            self.session_cache = cache

    @property
    def key_share_groups(self) -> tuple[int, ...]:
        """The groups with a share in the first ClientHello: the best, and X25519 beside ML-KEM."""
        best = self.groups[:1]
        if best != (_groups.Group.X25519MLKEM768,):
            return best
        return best + tuple(g for g in self.groups if g == _groups.Group.X25519)

    def handshake(self, server_name: str, transport_parameters: bytes) -> ClientHandshake:
        """A handshake with *server_name*, a host name or IP address."""
        name = normalize(server_name)
        if not name and self.verifier.needs_name:
            raise ConfigError("server_name is empty; the certificate is checked against it")
        return ClientHandshake(self, name, transport_parameters)


class ServerContext:
    """What a server needs for its handshakes; it can be used for any number of them.

    The certificate comes from PEM (``certfile``, ``keyfile``: paths or content) or as DER
    (``certificate_chain``, leaf first) with a ``private_key`` of ``cryptography``.  ``sni`` maps
    host names, or ``*.`` and a domain, to ``(certfile, keyfile)`` for clients that ask for them.
    With ``client_ca``, a PEM file, every client must have a certificate from there.

    Clients get a session ticket with which they can resume for a day (RFC 8446 Section 2.2); there is none
    with ``client_ca``, where each handshake must show the certificate, or with ``session_tickets`` False.
    ``ticket_keys``, secrets of 32 bytes, are for processes that resume each other's sessions: the first one
    seals tickets, all of them open them.  ``now`` gives the time by which certificates and tickets are
    judged.
    """

    def __init__(
        self,
        *,
        alpn: Sequence[bytes],
        certfile: PemSource | None = None,
        keyfile: PemSource | None = None,
        certificate_chain: Sequence[bytes] | None = None,
        private_key: object = None,
        sni: Mapping[str, tuple[PemSource, PemSource | None]] | None = None,
        client_ca: PemSource | None = None,
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        session_tickets: bool = True,
        ticket_keys: Sequence[bytes] = (),
        cipher_suites: Sequence[int] | None = None,
        groups: Sequence[int] | None = None,
        random: Callable[[int], bytes] = os.urandom,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self.alpn = _check_alpn(alpn)
        self.cipher_suites = _check_cipher_suites(cipher_suites)
        self.groups = _check_groups(groups)
        self.random = random
        self.now = now
        self.keylog = open_keylog(keylog_file)
        self.verifier = None if client_ca is None else ClientVerifier(client_ca, now)
        self.ticket_keys: TicketKeys | None = None
        if session_tickets and client_ca is None:
            self.ticket_keys = TicketKeys(ticket_keys, random)
        self._files = (certfile, keyfile)
        self._sni_files = dict(sni or {})
        self._identity: Identity
        self._identities: dict[str, Identity] = {}
        if certificate_chain is not None:
            if certfile is not None:
                raise ConfigError("give certfile or certificate_chain, not both")
            self._identity = make_identity(certificate_chain, private_key)
        elif certfile is None:
            raise ConfigError(
                "a server needs a certificate: give certfile and keyfile, or dev=True to try it out"
            )
        self.reload()

    def reload(self) -> None:
        """Read the certificate files again, for handshakes to come; an error changes nothing."""
        certfile, keyfile = self._files
        identity = self._identity if certfile is None else load_identity(certfile, keyfile)
        self._identities = {
            normalize(name): load_identity(*files) for name, files in self._sni_files.items()
        }
        self._identity = identity

    def identity_for(self, server_name: str | None) -> Identity:
        """The certificate for a client that asks for *server_name*."""
        if server_name is None or not self._identities:
            return self._identity
        exact = self._identities.get(server_name)
        if exact is not None:
            return exact
        return self._identities.get("*." + server_name.partition(".")[2], self._identity)

    def handshake(self, transport_parameters: bytes | ParametersSource) -> ServerHandshake:
        """A handshake with the next client; *transport_parameters* may depend on the client's."""
        return ServerHandshake(self, transport_parameters)
