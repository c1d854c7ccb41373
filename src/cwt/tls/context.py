"""What handshakes of one kind have in common: credentials, trust, protocols."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Literal

from cwt.errors import ConfigError
from cwt.tls import compression
from cwt.tls import groups as _groups
from cwt.tls.certificates import PemSource
from cwt.tls.client import ClientHandshake
from cwt.tls.credentials import Credentials, ServerNames
from cwt.tls.handshake import ParametersSource
from cwt.tls.identity import Identity, IdentitySource, load_identities
from cwt.tls.key_schedule import CipherSuite
from cwt.tls.keylog import TextWriter, open_keylog
from cwt.tls.names import normalize
from cwt.tls.public_keys import CertificateType, PublicKeySource, VerifyKeyCallback
from cwt.tls.replay import FirstUse, ReplayGuard
from cwt.tls.server import ServerHandshake
from cwt.tls.sessions import SessionCache
from cwt.tls.tickets import Secrets, TicketKeys
from cwt.tls.verification import ClientVerifier, ServerVerifier, VerifyCallback

__all__ = ["ClientContext", "ServerContext"]

ClientAuth = Literal["required", "optional"]

_RAW_ONLY = bytes([CertificateType.RAW_PUBLIC_KEY])
_RAW_FIRST = bytes([CertificateType.RAW_PUBLIC_KEY, CertificateType.X509])


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


def _client_identity(
    certfile: Identity | PemSource | None, keyfile: PemSource | None
) -> Identity | None:
    if certfile is None:
        if keyfile is not None:
            raise ConfigError("client_key is of no use without client_cert")
        return None
    if isinstance(certfile, Identity):
        if keyfile is not None:
            raise ConfigError("client_cert has a key of its own; leave client_key out")
        return certfile
    return Identity.load(certfile, keyfile)


def _raw_identity(key: Identity | PemSource | object) -> Identity | None:
    if key is None or (isinstance(key, Identity) and key.is_raw):
        return key
    return Identity.raw(key)


class ClientContext:
    """What a client needs for its handshakes; it can be used for any number of them.

    ``verify`` says which servers are trusted: True for the system's certificate authorities, a PEM
    file or a directory of them for those in it, a callable ``verify(chain_der, server_name)`` that
    raises to refuse, or False for no check at all.  ``server_certificate_hashes`` are SHA-256 hashes of
    certificates to accept instead, by the rules of W3C WebTransport.  ``server_public_keys`` are public
    keys to accept instead, or a callable ``verify(public_key_der, server_name)``: the server is asked for a
    raw public key (RFC 7250), and a certificate is taken for the key in it.

    Servers that ask for it get ``client_cert`` with ``client_key``, or the public key of
    ``raw_public_key``, a private key: whichever kind they choose.  Files are PEM, given as a path or, in
    ``bytes``, as their content.  ``certificate_compression`` names the algorithms of RFC 8879 to use, of
    "zlib", "brotli" and "zstd": None for those that are there, none with an empty list.  ``now`` gives
    the time by which certificates and tickets are judged.

    TLS secrets go to ``keylog_file`` in the format of RFC 9850, or to the file that the environment
    variable SSLKEYLOGFILE names, as in the module ``ssl``; ``os.devnull`` stops that.

    With a ``session_cache`` sessions are resumed where the server agrees (RFC 8446 Section 2.2), those that
    began with the same certificate or key of ours.  With ``early_data``, too, the application may send
    before the server answers (0-RTT, RFC 9001 Section 4.6): somebody who records that can have the server
    take it again, so nothing may be sent early that does harm when it is done twice.
    """

    def __init__(
        self,
        *,
        alpn: Sequence[bytes],
        verify: bool | PemSource | VerifyCallback = True,
        server_certificate_hashes: Sequence[bytes] = (),
        server_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        client_cert: Identity | PemSource | None = None,
        client_key: PemSource | None = None,
        raw_public_key: Identity | PemSource | object = None,
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        session_cache: SessionCache | None = None,
        certificate_compression: Sequence[str] | None = None,
        early_data: bool = False,
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
        self.verifier = ServerVerifier(verify, server_certificate_hashes, now, server_public_keys)
        self.certificate_compression = compression.configured(certificate_compression)
        self.identity = _client_identity(client_cert, client_key)
        self.raw_identity = _raw_identity(raw_public_key)
        # A session belongs to what we prove ourselves with, so that none is taken for another's.
        own = [identity.message for identity in (self.identity, self.raw_identity) if identity]
        self.client_identity = sha256(b"".join(own)).digest() if own else b""
        self.early_data = early_data
        self.session_cache: SessionCache | None = None
        if session_cache is not None:
            self.remember_sessions(session_cache)

    def remember_sessions(self, cache: SessionCache) -> None:
        """Keep sessions in *cache* and resume them, in handshakes to come."""
        self.session_cache = cache

    @property
    def client_certificate_types(self) -> bytes | None:
        """What the ClientHello says of our own kinds of certificates; None without raw public keys."""
        if self.raw_identity is None:
            return None
        return _RAW_ONLY if self.identity is None else _RAW_FIRST

    @property
    def server_certificate_types(self) -> bytes | None:
        """What the ClientHello says of the kinds of certificates that the server may have."""
        return _RAW_FIRST if self.verifier.keys else None

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
    (``certificate_chain``, leaf first) with a ``private_key`` of ``cryptography``.  ``certificates`` are
    more of them, as ``(certfile, keyfile)`` or :class:`Identity`, with keys of other kinds: a client gets
    the first one whose signatures it takes.  ``sni`` maps host names, or ``*.`` and a domain, to the
    certificate, or list of certificates, for clients that ask for them; or it is a callable
    ``sni(server_name)`` that returns one, or None for the others', and may raise LookupError to refuse the
    name.  Without a certificate for the rest, clients that ask for other names are refused.
    ``raw_public_key`` is a private key, in PEM or of ``cryptography``, whose public key clients get that
    want no certificate (RFC 7250).

    Clients are asked for a certificate with any of these: ``client_ca``, a PEM file of authorities;
    ``verify_client``, a callable ``verify(chain_der, server_name)`` that raises to refuse, after
    ``client_ca`` if both are given; ``client_public_keys``, public keys or a callable
    ``verify(public_key_der, server_name)`` for raw public keys, and for the keys in certificates when
    nothing else says which are good.  They must have one unless ``client_auth`` is "optional".

    Clients get a session ticket with which they can resume for a day (RFC 8446 Section 2.2), unless
    ``session_tickets`` is False.  What a client proved itself with is in its ticket and is judged again
    when it resumes, by ``client_ca``, callbacks and all; a day after its proof it has to give it again.
    ``ticket_keys``, secrets of 32 bytes, are for processes that resume each other's sessions: the first one
    seals tickets, all of them open them; a callable that gives them is asked again every minute.  ``now``
    gives the time by which certificates and tickets are judged.  ``certificate_compression`` and
    ``keylog_file`` are as with :class:`ClientContext`.

    With ``early_data`` clients may send before the handshake is complete (0-RTT, RFC 9001 Section 4.6).
    The data of a ticket is taken once, and only when it is sent within ``early_data_window`` seconds (RFC
    8446 Section 8); processes that share ``ticket_keys`` take it once each, unless they share an
    ``early_data_store``: a callable :data:`cwt.tls.replay.FirstUse`.  It is refused when the limits of the
    transport are not those the ticket was given with, or ``early_data_context`` is another one: bytes for
    the settings of the application that a client may rely on.
    """

    def __init__(
        self,
        *,
        alpn: Sequence[bytes],
        certfile: PemSource | None = None,
        keyfile: PemSource | None = None,
        certificate_chain: Sequence[bytes] | None = None,
        private_key: object = None,
        certificates: Sequence[IdentitySource] = (),
        sni: ServerNames | None = None,
        raw_public_key: Identity | PemSource | object = None,
        client_ca: PemSource | None = None,
        verify_client: VerifyCallback | None = None,
        client_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        client_auth: ClientAuth = "required",
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        session_tickets: bool = True,
        certificate_compression: Sequence[str] | None = None,
        ticket_keys: Secrets = (),
        early_data: bool = False,
        early_data_window: float = 10.0,
        early_data_store: FirstUse | None = None,
        early_data_context: bytes = b"",
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
        self.certificate_compression = compression.configured(certificate_compression)
        if client_auth not in ("required", "optional"):
            raise ConfigError(f'client_auth is "required" or "optional", not {client_auth!r}')
        self.verifier: ClientVerifier | None = None
        if client_ca is not None or verify_client is not None or client_public_keys:
            self.verifier = ClientVerifier(
                client_ca, verify_client, client_public_keys, client_auth == "required", now
            )
        elif client_auth == "optional":
            raise ConfigError(
                "client_auth is of no use without client_ca, verify_client or client_public_keys"
            )
        self.ticket_keys: TicketKeys | None = None
        if session_tickets:
            self.ticket_keys = TicketKeys(ticket_keys, random)
        identities = [identity for source in certificates for identity in load_identities(source)]
        self.replay_guard: ReplayGuard | None = None
        if early_data and self.ticket_keys is not None:
            started = now().timestamp()
            self.replay_guard = ReplayGuard(started, early_data_window, early_data_store)
        self.early_data_context = bytes(early_data_context)
        if certificate_chain is not None:
            if certfile is not None:
                raise ConfigError("give certfile or certificate_chain, not both")
            identities.insert(0, Identity.from_der(certificate_chain, private_key))
        elif certfile is not None:
            identities.insert(0, Identity.load(certfile, keyfile))
        elif keyfile is not None:
            raise ConfigError("keyfile is of no use without certfile")
        self.credentials = Credentials(identities, _raw_identity(raw_public_key), sni)

    def reload(self) -> None:
        """Read the files of certificates and of ``client_ca`` again, for handshakes to come.

        An error is raised and changes nothing.  Session tickets stay good.
        """
        verifier = None if self.verifier is None else self.verifier.reloaded()
        self.credentials.reload()
        self.verifier = verifier

    def handshake(self, transport_parameters: bytes | ParametersSource) -> ServerHandshake:
        """A handshake with the next client; *transport_parameters* may depend on the client's."""
        return ServerHandshake(self, transport_parameters)
