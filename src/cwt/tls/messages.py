"""TLS 1.3 handshake messages (RFC 8446 Section 4), to bytes and from bytes.

Parsing is strict: every vector is held to the bounds of the RFC, nothing may trail, an extension
may appear once.  What does not parse raises :class:`Alert`, nothing else.  Unknown extensions,
suites, groups and versions are kept as they are, GREASE (RFC 8701) among them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from typing import Any

from cwt.tls import codec
from cwt.tls.alerts import Alert, AlertDescription, decode_error
from cwt.tls.codec import (
    Codec,
    Codecs,
    KeyShare,
    OfferedPsks,
    Reader,
    read_extensions,
    vector,
    write_extensions,
)

__all__ = [
    "Certificate",
    "CertificateRequest",
    "CertificateVerify",
    "ClientHello",
    "EncryptedExtensions",
    "ExtensionType",
    "HandshakeType",
    "HelloRetryRequest",
    "NewSessionTicket",
    "ServerHello",
    "pack",
]

TLS_1_2 = 0x0303
TLS_1_3 = 0x0304
MAX_MESSAGE_LENGTH = 65536
"""Bytes of the largest handshake message that is accepted."""

Raw = tuple[tuple[int, bytes], ...]
"""Extensions that are not understood: type and data, in order."""


class HandshakeType(IntEnum):
    """RFC 8446 Section 4, and CompressedCertificate (RFC 8879 Section 4)."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    NEW_SESSION_TICKET = 4
    END_OF_EARLY_DATA = 5
    ENCRYPTED_EXTENSIONS = 8
    CERTIFICATE = 11
    CERTIFICATE_REQUEST = 13
    CERTIFICATE_VERIFY = 15
    FINISHED = 20
    KEY_UPDATE = 24
    COMPRESSED_CERTIFICATE = 25
    MESSAGE_HASH = 254


class ExtensionType(IntEnum):
    """RFC 8446 Section 4.2, with those of RFC 7250, RFC 8879 and RFC 9001 Section 8.2."""

    SERVER_NAME = 0
    SUPPORTED_GROUPS = 10
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
    CLIENT_CERTIFICATE_TYPE = 19
    SERVER_CERTIFICATE_TYPE = 20
    COMPRESS_CERTIFICATE = 27
    PRE_SHARED_KEY = 41
    EARLY_DATA = 42
    SUPPORTED_VERSIONS = 43
    COOKIE = 44
    PSK_KEY_EXCHANGE_MODES = 45
    CERTIFICATE_AUTHORITIES = 47
    OID_FILTERS = 48
    POST_HANDSHAKE_AUTH = 49
    SIGNATURE_ALGORITHMS_CERT = 50
    KEY_SHARE = 51
    QUIC_TRANSPORT_PARAMETERS = 57


def pack(message_type: int, body: bytes) -> bytes:
    """A handshake message: type, 24-bit length, *body*."""
    return bytes([message_type]) + vector(3, body)


# Which extension of which message goes to which attribute.

_SIGNATURES = Codec("signature_algorithms", codec.read_uint16s, codec.write_uint16s)
_SIGNATURES_CERT = Codec("signature_algorithms_cert", codec.read_uint16s, codec.write_uint16s)
_GROUPS = Codec("supported_groups", codec.read_uint16s, codec.write_uint16s)
_ALPN = Codec("alpn", codec.read_alpn, codec.write_alpn)
_TRANSPORT_PARAMETERS = Codec("transport_parameters", codec.read_all, codec.write_all)
_COOKIE = Codec("cookie", codec.read_opaque, codec.write_opaque)
_COMPRESSION = Codec("certificate_compression", codec.read_uint16s_short, codec.write_uint16s_short)
_VERSION = Codec("supported_version", codec.read_uint16, codec.write_uint16)
_EARLY_DATA = Codec("early_data", codec.read_flag, codec.write_flag)

_CLIENT_HELLO: Codecs = {
    ExtensionType.SERVER_NAME: Codec(
        "server_name", codec.read_server_name, codec.write_server_name
    ),
    ExtensionType.SUPPORTED_VERSIONS: Codec(
        "supported_versions", codec.read_uint16s_short, codec.write_uint16s_short
    ),
    ExtensionType.SUPPORTED_GROUPS: _GROUPS,
    ExtensionType.SIGNATURE_ALGORITHMS: _SIGNATURES,
    ExtensionType.SIGNATURE_ALGORITHMS_CERT: _SIGNATURES_CERT,
    ExtensionType.ALPN: _ALPN,
    ExtensionType.CLIENT_CERTIFICATE_TYPE: Codec(
        "client_certificate_types", codec.read_opaque_short, codec.write_opaque_short
    ),
    ExtensionType.SERVER_CERTIFICATE_TYPE: Codec(
        "server_certificate_types", codec.read_opaque_short, codec.write_opaque_short
    ),
    ExtensionType.COMPRESS_CERTIFICATE: _COMPRESSION,
    ExtensionType.QUIC_TRANSPORT_PARAMETERS: _TRANSPORT_PARAMETERS,
    ExtensionType.COOKIE: _COOKIE,
    ExtensionType.KEY_SHARE: Codec("key_shares", codec.read_key_shares, codec.write_key_shares),
    ExtensionType.PSK_KEY_EXCHANGE_MODES: Codec(
        "psk_modes", codec.read_opaque_short, codec.write_opaque_short
    ),
    ExtensionType.EARLY_DATA: _EARLY_DATA,
    ExtensionType.PRE_SHARED_KEY: Codec("psks", codec.read_offered_psks, codec.write_offered_psks),
}
_SERVER_HELLO: Codecs = {
    ExtensionType.SUPPORTED_VERSIONS: _VERSION,
    ExtensionType.KEY_SHARE: Codec("key_share", codec.read_key_share, codec.write_key_share),
    ExtensionType.PRE_SHARED_KEY: Codec("selected_psk", codec.read_uint16, codec.write_uint16),
}
_HELLO_RETRY_REQUEST: Codecs = {
    ExtensionType.SUPPORTED_VERSIONS: _VERSION,
    ExtensionType.KEY_SHARE: Codec("selected_group", codec.read_uint16, codec.write_uint16),
    ExtensionType.COOKIE: _COOKIE,
}
_ENCRYPTED_EXTENSIONS: Codecs = {
    ExtensionType.SERVER_NAME: Codec("server_name_used", codec.read_flag, codec.write_flag),
    ExtensionType.SUPPORTED_GROUPS: _GROUPS,
    ExtensionType.ALPN: _ALPN,
    ExtensionType.CLIENT_CERTIFICATE_TYPE: Codec(
        "client_certificate_type", codec.read_uint8, codec.write_uint8
    ),
    ExtensionType.SERVER_CERTIFICATE_TYPE: Codec(
        "server_certificate_type", codec.read_uint8, codec.write_uint8
    ),
    ExtensionType.QUIC_TRANSPORT_PARAMETERS: _TRANSPORT_PARAMETERS,
    ExtensionType.EARLY_DATA: _EARLY_DATA,
}
_CERTIFICATE_REQUEST: Codecs = {
    ExtensionType.COMPRESS_CERTIFICATE: _COMPRESSION,
    ExtensionType.SIGNATURE_ALGORITHMS: _SIGNATURES,
    ExtensionType.SIGNATURE_ALGORITHMS_CERT: _SIGNATURES_CERT,
    ExtensionType.CERTIFICATE_AUTHORITIES: Codec(
        "certificate_authorities", codec.read_names, codec.write_names
    ),
}
_NEW_SESSION_TICKET: Codecs = {
    ExtensionType.EARLY_DATA: Codec("max_early_data_size", codec.read_uint32, codec.write_uint32),
}


# Messages.  ``parse`` takes the body, without type and length; ``pack`` gives the whole message.


@dataclass(slots=True, kw_only=True)
class ClientHello:
    """RFC 8446 Section 4.1.2.  An attribute is None when its extension is not there."""

    random: bytes
    session_id: bytes = b""
    cipher_suites: tuple[int, ...]
    compression_methods: bytes = b"\0"
    server_name: str | None = None
    supported_versions: tuple[int, ...] | None = None
    supported_groups: tuple[int, ...] | None = None
    signature_algorithms: tuple[int, ...] | None = None
    signature_algorithms_cert: tuple[int, ...] | None = None
    alpn: tuple[bytes, ...] | None = None
    client_certificate_types: bytes | None = None
    server_certificate_types: bytes | None = None
    certificate_compression: tuple[int, ...] | None = None
    transport_parameters: bytes | None = None
    cookie: bytes | None = None
    key_shares: tuple[KeyShare, ...] | None = None
    psk_modes: bytes | None = None
    early_data: bool = False
    psks: OfferedPsks | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> ClientHello:
        reader = Reader(body)
        reader.uint(2)  # legacy_version: supported_versions says it
        random = reader.take(32)
        session_id = reader.vector(1)
        if len(session_id) > 32:
            decode_error("legacy_session_id is longer than 32 bytes")
        cipher_suites = codec.read_uint16s(reader)
        compression_methods = reader.vector(1, 1)
        # Without extensions it is an older TLS, which the version check refuses.
        values = read_extensions(reader, _CLIENT_HELLO, True) if reader.left() else {}
        reader.finish()
        return cls(
            random=random,
            session_id=session_id,
            cipher_suites=cipher_suites,
            compression_methods=compression_methods,
            **values,
        )

    def pack(self) -> bytes:
        body = TLS_1_2.to_bytes(2, "big") + self.random + vector(1, self.session_id)
        body += codec.write_uint16s(self.cipher_suites) + vector(1, self.compression_methods)
        return pack(HandshakeType.CLIENT_HELLO, body + write_extensions(self, _CLIENT_HELLO))

    @property
    def extension_types(self) -> set[int]:
        """Every extension that is there."""
        types = {
            int(t)
            for t, codec in _CLIENT_HELLO.items()
            if getattr(self, codec.name) not in (None, False)
        }
        return types.union(extension_type for extension_type, _ in self.other)


HELLO_RETRY_REQUEST_RANDOM = sha256(b"HelloRetryRequest").digest()


@dataclass(slots=True, kw_only=True)
class ServerHello:
    """RFC 8446 Section 4.1.3."""

    random: bytes
    session_id: bytes = b""
    cipher_suite: int
    compression_method: int = 0
    supported_version: int | None = TLS_1_3
    key_share: KeyShare | None = None
    selected_psk: int | None = None
    other: Raw = ()

    @staticmethod
    def parse(body: bytes) -> ServerHello | HelloRetryRequest:
        """A ServerHello, or the HelloRetryRequest that its random value makes of it."""
        reader = Reader(body)
        if reader.uint(2) != TLS_1_2:
            raise Alert(AlertDescription.PROTOCOL_VERSION, "ServerHello has a wrong legacy_version")
        random = reader.take(32)
        session_id = reader.vector(1)
        cipher_suite, compression_method = reader.uint(2), reader.uint(1)
        values: dict[str, Any] = {
            "session_id": session_id,
            "cipher_suite": cipher_suite,
            "compression_method": compression_method,
            "supported_version": None,
        }
        retry = random == HELLO_RETRY_REQUEST_RANDOM
        if reader.left():
            values |= read_extensions(reader, _HELLO_RETRY_REQUEST if retry else _SERVER_HELLO)
        reader.finish()
        return HelloRetryRequest(**values) if retry else ServerHello(random=random, **values)

    def pack(self) -> bytes:
        return _pack_server_hello(self, self.random, _SERVER_HELLO)


@dataclass(slots=True, kw_only=True)
class HelloRetryRequest:
    """RFC 8446 Section 4.1.4."""

    session_id: bytes = b""
    cipher_suite: int
    compression_method: int = 0
    supported_version: int | None = TLS_1_3
    selected_group: int | None = None
    cookie: bytes | None = None
    other: Raw = ()

    def pack(self) -> bytes:
        return _pack_server_hello(self, HELLO_RETRY_REQUEST_RANDOM, _HELLO_RETRY_REQUEST)


def _pack_server_hello(
    hello: ServerHello | HelloRetryRequest, random: bytes, codecs: Codecs
) -> bytes:
    body = TLS_1_2.to_bytes(2, "big") + random + vector(1, hello.session_id)
    body += hello.cipher_suite.to_bytes(2, "big") + bytes([hello.compression_method])
    return pack(HandshakeType.SERVER_HELLO, body + write_extensions(hello, codecs))


@dataclass(slots=True, kw_only=True)
class EncryptedExtensions:
    """RFC 8446 Section 4.3.1."""

    server_name_used: bool = False
    supported_groups: tuple[int, ...] | None = None
    alpn: tuple[bytes, ...] | None = None
    client_certificate_type: int | None = None
    server_certificate_type: int | None = None
    transport_parameters: bytes | None = None
    early_data: bool = False
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> EncryptedExtensions:
        reader = Reader(body)
        values = read_extensions(reader, _ENCRYPTED_EXTENSIONS)
        reader.finish()
        return cls(**values)

    def pack(self) -> bytes:
        return pack(
            HandshakeType.ENCRYPTED_EXTENSIONS, write_extensions(self, _ENCRYPTED_EXTENSIONS)
        )


@dataclass(slots=True, kw_only=True)
class CertificateRequest:
    """RFC 8446 Section 4.3.2."""

    context: bytes = b""
    signature_algorithms: tuple[int, ...] | None = None
    signature_algorithms_cert: tuple[int, ...] | None = None
    certificate_authorities: tuple[bytes, ...] | None = None
    certificate_compression: tuple[int, ...] | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> CertificateRequest:
        reader = Reader(body)
        context = reader.vector(1)
        values = read_extensions(reader, _CERTIFICATE_REQUEST)
        reader.finish()
        return cls(context=context, **values)

    def pack(self) -> bytes:
        body = vector(1, self.context) + write_extensions(self, _CERTIFICATE_REQUEST)
        return pack(HandshakeType.CERTIFICATE_REQUEST, body)


@dataclass(slots=True, kw_only=True)
class Certificate:
    """RFC 8446 Section 4.4.2: the DER certificates, leaf first, or one raw public key (DER)."""

    context: bytes = b""
    chain: tuple[bytes, ...] = ()
    extension_types: frozenset[int] = frozenset()
    """Extensions of any of the certificates."""

    @classmethod
    def parse(cls, body: bytes) -> Certificate:
        reader = Reader(body)
        context = reader.vector(1)
        entries = Reader(reader.vector(3))
        reader.finish()
        chain = []
        types: set[int] = set()
        while entries.left():
            chain.append(entries.vector(3, 1))
            types.update(t for t, _ in read_extensions(entries, {})["other"])
        return cls(context=context, chain=tuple(chain), extension_types=frozenset(types))

    def pack(self) -> bytes:
        entries = b"".join(vector(3, certificate) + b"\0\0" for certificate in self.chain)
        return pack(HandshakeType.CERTIFICATE, vector(1, self.context) + vector(3, entries))


@dataclass(slots=True, kw_only=True)
class CertificateVerify:
    """RFC 8446 Section 4.4.3."""

    algorithm: int
    signature: bytes

    @classmethod
    def parse(cls, body: bytes) -> CertificateVerify:
        reader = Reader(body)
        algorithm, signature = reader.uint(2), reader.vector(2)
        reader.finish()
        return cls(algorithm=algorithm, signature=signature)

    def pack(self) -> bytes:
        body = self.algorithm.to_bytes(2, "big") + vector(2, self.signature)
        return pack(HandshakeType.CERTIFICATE_VERIFY, body)


@dataclass(slots=True, kw_only=True)
class NewSessionTicket:
    """RFC 8446 Section 4.6.1."""

    lifetime: int
    age_add: int
    nonce: bytes
    ticket: bytes
    max_early_data_size: int | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> NewSessionTicket:
        reader = Reader(body)
        lifetime, age_add = reader.uint(4), reader.uint(4)
        nonce, ticket = reader.vector(1), reader.vector(2, 1)
        values = read_extensions(reader, _NEW_SESSION_TICKET)
        reader.finish()
        return cls(lifetime=lifetime, age_add=age_add, nonce=nonce, ticket=ticket, **values)

    def pack(self) -> bytes:
        body = self.lifetime.to_bytes(4, "big") + self.age_add.to_bytes(4, "big")
        body += vector(1, self.nonce) + vector(2, self.ticket)
        body += write_extensions(self, _NEW_SESSION_TICKET)
        return pack(HandshakeType.NEW_SESSION_TICKET, body)
