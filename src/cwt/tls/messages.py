"""TLS 1.3 handshake messages (RFC 8446 Section 4), to bytes and from bytes.

Parsing is strict: every vector is held to the bounds of the RFC, nothing may trail, an extension
may appear once.  What does not parse raises :class:`Alert`, nothing else.  Unknown extensions,
suites, groups and versions are kept as they are, GREASE (RFC 8701) among them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from hashlib import sha256
from struct import unpack
from typing import Any, NamedTuple

from cwt.tls.alerts import Alert, AlertDescription, decode_error

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
    """RFC 8446 Section 4."""

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
    MESSAGE_HASH = 254


class ExtensionType(IntEnum):
    """RFC 8446 Section 4.2, and quic_transport_parameters (RFC 9001 Section 8.2)."""

    SERVER_NAME = 0
    SUPPORTED_GROUPS = 10
    SIGNATURE_ALGORITHMS = 13
    ALPN = 16
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


class Reader:
    """Takes values from the front of *data*; running out of it is a decode_error."""

    __slots__ = ("_data", "_position")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._position = 0

    def take(self, length: int) -> bytes:
        end = self._position + length
        if end > len(self._data):
            decode_error("a TLS message is shorter than its lengths say")
        value = self._data[self._position : end]
        self._position = end
        return value

    def uint(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int, minimum: int = 0) -> bytes:
        """A vector whose length is written in *size* bytes."""
        length = self.uint(size)
        if length < minimum:
            decode_error(f"a TLS vector of {length} bytes must have at least {minimum}")
        return self.take(length)

    def left(self) -> int:
        return len(self._data) - self._position

    def finish(self) -> None:
        if self.left():
            decode_error(f"{self.left()} bytes trail a TLS structure")


def vector(size: int, data: bytes) -> bytes:
    """*data* after its length in *size* bytes."""
    return len(data).to_bytes(size, "big") + data


def pack(message_type: int, body: bytes) -> bytes:
    """A handshake message: type, 24-bit length, *body*."""
    return bytes([message_type]) + vector(3, body)


# Values of extensions.


def _read_uint16s(reader: Reader, size: int = 2) -> tuple[int, ...]:
    data = reader.vector(size, 2)
    if len(data) % 2:
        decode_error("a list of 16-bit numbers has an odd length")
    return unpack(f">{len(data) // 2}H", data)


def _write_uint16s(values: tuple[int, ...], size: int = 2) -> bytes:
    return vector(size, b"".join(value.to_bytes(2, "big") for value in values))


def _read_server_name(reader: Reader) -> str:
    names = Reader(reader.vector(2, 1))
    host_name: str | None = None
    while names.left():
        name_type, name = names.uint(1), names.vector(2, 1)
        if name_type != 0:
            continue
        if host_name is not None:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "two host names in server_name")
        if not name.isascii() or not name.decode("ascii").isprintable():
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "server_name is not printable ASCII")
        host_name = name.decode("ascii").lower().removesuffix(".")
    if not host_name:
        decode_error("server_name has no host name")
    return host_name


def _write_server_name(name: str) -> bytes:
    return vector(2, b"\0" + vector(2, name.encode("ascii")))


def _read_alpn(reader: Reader) -> tuple[bytes, ...]:
    names = Reader(reader.vector(2, 2))
    protocols = []
    while names.left():
        protocols.append(names.vector(1, 1))
    return tuple(protocols)


def _write_alpn(protocols: tuple[bytes, ...]) -> bytes:
    return vector(2, b"".join(vector(1, protocol) for protocol in protocols))


KeyShare = tuple[int, bytes]


def _read_key_share(reader: Reader) -> KeyShare:
    return reader.uint(2), reader.vector(2, 1)


def _write_key_share(share: KeyShare) -> bytes:
    return share[0].to_bytes(2, "big") + vector(2, share[1])


def _read_key_shares(reader: Reader) -> tuple[KeyShare, ...]:
    entries = Reader(reader.vector(2))
    shares = []
    while entries.left():
        shares.append(_read_key_share(entries))
    if len({group for group, _ in shares}) != len(shares):
        raise Alert(AlertDescription.ILLEGAL_PARAMETER, "two key shares for one group")
    return tuple(shares)


def _write_key_shares(shares: tuple[KeyShare, ...]) -> bytes:
    return vector(2, b"".join(map(_write_key_share, shares)))


def _read_uint16(reader: Reader) -> int:
    return reader.uint(2)


def _write_uint16(value: int) -> bytes:
    return value.to_bytes(2, "big")


def _read_cookie(reader: Reader) -> bytes:
    return reader.vector(2, 1)


def _write_cookie(cookie: bytes) -> bytes:
    return vector(2, cookie)


def _read_all(reader: Reader) -> bytes:
    return reader.take(reader.left())


def _read_names(reader: Reader) -> tuple[bytes, ...]:
    entries = Reader(reader.vector(2, 3))
    names = []
    while entries.left():
        names.append(entries.vector(2, 1))
    return tuple(names)


def _write_names(names: tuple[bytes, ...]) -> bytes:
    return vector(2, b"".join(vector(2, name) for name in names))


def _read_flag(reader: Reader) -> bool:
    return True


def _write_flag(value: bool) -> bytes:
    return b""


# Which extension of which message goes to which attribute.


class _Codec(NamedTuple):
    name: str
    read: Callable[[Reader], Any]
    write: Callable[[Any], bytes]


_Codecs = Mapping[int, _Codec]

_SIGNATURES = _Codec("signature_algorithms", _read_uint16s, _write_uint16s)
_SIGNATURES_CERT = _Codec("signature_algorithms_cert", _read_uint16s, _write_uint16s)
_GROUPS = _Codec("supported_groups", _read_uint16s, _write_uint16s)
_ALPN = _Codec("alpn", _read_alpn, _write_alpn)
_TRANSPORT_PARAMETERS = _Codec("transport_parameters", _read_all, bytes)
_COOKIE = _Codec("cookie", _read_cookie, _write_cookie)
_VERSION = _Codec("supported_version", _read_uint16, _write_uint16)

_CLIENT_HELLO: _Codecs = {
    ExtensionType.SERVER_NAME: _Codec("server_name", _read_server_name, _write_server_name),
    ExtensionType.SUPPORTED_VERSIONS: _Codec(
        "supported_versions", lambda r: _read_uint16s(r, 1), lambda v: _write_uint16s(v, 1)
    ),
    ExtensionType.SUPPORTED_GROUPS: _GROUPS,
    ExtensionType.SIGNATURE_ALGORITHMS: _SIGNATURES,
    ExtensionType.SIGNATURE_ALGORITHMS_CERT: _SIGNATURES_CERT,
    ExtensionType.ALPN: _ALPN,
    ExtensionType.QUIC_TRANSPORT_PARAMETERS: _TRANSPORT_PARAMETERS,
    ExtensionType.COOKIE: _COOKIE,
    ExtensionType.KEY_SHARE: _Codec("key_shares", _read_key_shares, _write_key_shares),
}
_SERVER_HELLO: _Codecs = {
    ExtensionType.SUPPORTED_VERSIONS: _VERSION,
    ExtensionType.KEY_SHARE: _Codec("key_share", _read_key_share, _write_key_share),
}
_HELLO_RETRY_REQUEST: _Codecs = {
    ExtensionType.SUPPORTED_VERSIONS: _VERSION,
    ExtensionType.KEY_SHARE: _Codec("selected_group", _read_uint16, _write_uint16),
    ExtensionType.COOKIE: _COOKIE,
}
_ENCRYPTED_EXTENSIONS: _Codecs = {
    ExtensionType.SERVER_NAME: _Codec("server_name_used", _read_flag, _write_flag),
    ExtensionType.SUPPORTED_GROUPS: _GROUPS,
    ExtensionType.ALPN: _ALPN,
    ExtensionType.QUIC_TRANSPORT_PARAMETERS: _TRANSPORT_PARAMETERS,
}
_CERTIFICATE_REQUEST: _Codecs = {
    ExtensionType.SIGNATURE_ALGORITHMS: _SIGNATURES,
    ExtensionType.SIGNATURE_ALGORITHMS_CERT: _SIGNATURES_CERT,
    ExtensionType.CERTIFICATE_AUTHORITIES: _Codec(
        "certificate_authorities", _read_names, _write_names
    ),
}
_NEW_SESSION_TICKET: _Codecs = {
    ExtensionType.EARLY_DATA: _Codec(
        "max_early_data_size", lambda r: r.uint(4), lambda v: int(v).to_bytes(4, "big")
    ),
}


def _read_extensions(reader: Reader, codecs: _Codecs) -> dict[str, Any]:
    """Attributes for the extensions of *codecs*, and the rest under "other"."""
    extensions = Reader(reader.vector(2))
    values: dict[str, Any] = {}
    other: list[tuple[int, bytes]] = []
    seen: set[int] = set()
    while extensions.left():
        extension_type, data = extensions.uint(2), extensions.vector(2)
        if ExtensionType.PRE_SHARED_KEY in seen:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "pre_shared_key is not the last")
        if extension_type in seen:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, f"two extensions {extension_type}")
        seen.add(extension_type)
        codec = codecs.get(extension_type)
        if codec is None:
            other.append((extension_type, data))
        else:
            value = Reader(data)
            values[codec.name] = codec.read(value)
            value.finish()
    values["other"] = tuple(other)
    return values


def _write_extensions(message: Any, codecs: _Codecs) -> bytes:
    data = b""
    for extension_type, codec in codecs.items():
        value = getattr(message, codec.name)
        if value is not None and value is not False:
            data += extension_type.to_bytes(2, "big") + vector(2, codec.write(value))
    for extension_type, raw in message.other:
        data += extension_type.to_bytes(2, "big") + vector(2, raw)
    return vector(2, data)


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
    transport_parameters: bytes | None = None
    cookie: bytes | None = None
    key_shares: tuple[KeyShare, ...] | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> ClientHello:
        reader = Reader(body)
        reader.uint(2)  # legacy_version: supported_versions says it
        random = reader.take(32)
        session_id = reader.vector(1)
        if len(session_id) > 32:
            decode_error("legacy_session_id is longer than 32 bytes")
        cipher_suites = _read_uint16s(reader)
        compression_methods = reader.vector(1, 1)
        # Without extensions it is an older TLS, which the version check refuses.
        values = _read_extensions(reader, _CLIENT_HELLO) if reader.left() else {}
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
        body += _write_uint16s(self.cipher_suites) + vector(1, self.compression_methods)
        return pack(HandshakeType.CLIENT_HELLO, body + _write_extensions(self, _CLIENT_HELLO))

    @property
    def extension_types(self) -> set[int]:
        """Every extension that is there."""
        types = {
            int(t) for t, codec in _CLIENT_HELLO.items() if getattr(self, codec.name) is not None
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
            values |= _read_extensions(reader, _HELLO_RETRY_REQUEST if retry else _SERVER_HELLO)
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
    hello: ServerHello | HelloRetryRequest, random: bytes, codecs: _Codecs
) -> bytes:
    body = TLS_1_2.to_bytes(2, "big") + random + vector(1, hello.session_id)
    body += hello.cipher_suite.to_bytes(2, "big") + bytes([hello.compression_method])
    return pack(HandshakeType.SERVER_HELLO, body + _write_extensions(hello, codecs))


@dataclass(slots=True, kw_only=True)
class EncryptedExtensions:
    """RFC 8446 Section 4.3.1."""

    server_name_used: bool = False
    supported_groups: tuple[int, ...] | None = None
    alpn: tuple[bytes, ...] | None = None
    transport_parameters: bytes | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> EncryptedExtensions:
        reader = Reader(body)
        values = _read_extensions(reader, _ENCRYPTED_EXTENSIONS)
        reader.finish()
        return cls(**values)

    def pack(self) -> bytes:
        return pack(
            HandshakeType.ENCRYPTED_EXTENSIONS, _write_extensions(self, _ENCRYPTED_EXTENSIONS)
        )


@dataclass(slots=True, kw_only=True)
class CertificateRequest:
    """RFC 8446 Section 4.3.2."""

    context: bytes = b""
    signature_algorithms: tuple[int, ...] | None = None
    signature_algorithms_cert: tuple[int, ...] | None = None
    certificate_authorities: tuple[bytes, ...] | None = None
    other: Raw = ()

    @classmethod
    def parse(cls, body: bytes) -> CertificateRequest:
        reader = Reader(body)
        context = reader.vector(1)
        values = _read_extensions(reader, _CERTIFICATE_REQUEST)
        reader.finish()
        return cls(context=context, **values)

    def pack(self) -> bytes:
        body = vector(1, self.context) + _write_extensions(self, _CERTIFICATE_REQUEST)
        return pack(HandshakeType.CERTIFICATE_REQUEST, body)


@dataclass(slots=True, kw_only=True)
class Certificate:
    """RFC 8446 Section 4.4.2: the DER certificates, leaf first."""

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
            types.update(t for t, _ in _read_extensions(entries, {})["other"])
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
        values = _read_extensions(reader, _NEW_SESSION_TICKET)
        reader.finish()
        return cls(lifetime=lifetime, age_add=age_add, nonce=nonce, ticket=ticket, **values)

    def pack(self) -> bytes:
        body = self.lifetime.to_bytes(4, "big") + self.age_add.to_bytes(4, "big")
        body += vector(1, self.nonce) + vector(2, self.ticket)
        body += _write_extensions(self, _NEW_SESSION_TICKET)
        return pack(HandshakeType.NEW_SESSION_TICKET, body)
