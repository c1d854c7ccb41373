"""The TLS of OpenSSL 3.5 or newer, through its interface for QUIC stacks, with the shape of ours.

The library is the one that CWT_TEST_LIBSSL names, the system's, or the one inside the package
``psycopg-binary``, which brings a whole libssl along.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
from collections.abc import Iterator, Sequence
from ctypes import (
    CFUNCTYPE,
    POINTER,
    byref,
    c_char_p,
    c_int,
    c_long,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint32,
    c_ulong,
    c_void_p,
    cast,
    string_at,
)
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cwt.tls import Level
from cwt.tls.development import DevelopmentCertificate

__all__ = ["OpenSslError", "OpenSslPeer", "library"]

_NEEDED = ("SSL_set_quic_tls_cbs", "SSL_set1_server_cert_type", "SSL_set1_cert_comp_preference")
_ALPN = b"\x02h3"
_WANT_READ = 2
_CTRL_SET_SERVER_NAME, _CTRL_CHAIN_CERT = 55, 89
_VERIFY_NONE, _VERIFY_PEER, _VERIFY_REQUIRED = 0, 1, 3


class OpenSslError(Exception):
    """The handshake failed on OpenSSL's side; ``alert`` is what it would tell the peer."""

    def __init__(self, alert: int, text: str) -> None:
        super().__init__(f"alert {alert}: {text}")
        self.alert = alert


def _candidates() -> Iterator[tuple[str | None, str]]:
    """Pairs of libcrypto, to be loaded before, and libssl."""
    if named := os.environ.get("CWT_TEST_LIBSSL"):
        yield None, named
    if found := ctypes.util.find_library("ssl"):
        yield None, found
    try:
        files = metadata.files("psycopg-binary") or []
    except metadata.PackageNotFoundError:
        return
    found_files = {Path(file).name.partition("-")[0]: str(file.locate()) for file in files}
    if {"libcrypto", "libssl"} <= found_files.keys():
        yield found_files["libcrypto"], found_files["libssl"]


@cache
def library() -> Any:
    """libssl, or None when there is none that is new enough."""
    for crypto, ssl in _candidates():
        try:
            if crypto is not None:
                ctypes.CDLL(crypto)
            loaded = ctypes.CDLL(ssl)
        except OSError:
            continue
        if all(hasattr(loaded, name) for name in _NEEDED):
            return _declare(loaded)
    return None


def _declare(ssl: ctypes.CDLL) -> ctypes.CDLL:
    pointer, data, size = c_void_p, c_char_p, c_size_t
    for name, result, arguments in (
        ("TLS_method", pointer, []),
        ("SSL_CTX_new", pointer, [pointer]),
        ("SSL_CTX_free", None, [pointer]),
        ("SSL_CTX_get_cert_store", pointer, [pointer]),
        ("SSL_CTX_set_alpn_select_cb", None, [pointer, pointer, pointer]),
        ("SSL_new", pointer, [pointer]),
        ("SSL_free", None, [pointer]),
        ("SSL_ctrl", c_long, [pointer, c_int, c_long, pointer]),
        ("SSL_set_connect_state", None, [pointer]),
        ("SSL_set_accept_state", None, [pointer]),
        ("SSL_set_verify", None, [pointer, c_int, pointer]),
        ("SSL_set_alpn_protos", c_int, [pointer, data, c_uint]),
        ("SSL_do_handshake", c_int, [pointer]),
        ("SSL_is_init_finished", c_int, [pointer]),
        ("SSL_read", c_int, [pointer, pointer, c_int]),
        ("SSL_get1_session", pointer, [pointer]),
        ("SSL_set_session", c_int, [pointer, pointer]),
        ("SSL_SESSION_free", None, [pointer]),
        ("SSL_session_reused", c_int, [pointer]),
        ("SSL_set_session_id_context", c_int, [pointer, data, c_uint]),
        ("SSL_get_error", c_int, [pointer, c_int]),
        ("SSL_use_PrivateKey", c_int, [pointer, pointer]),
        ("SSL_use_certificate", c_int, [pointer, pointer]),
        ("SSL_compress_certs", c_int, [pointer, c_int]),
        ("SSL_set1_cert_comp_preference", c_int, [pointer, POINTER(c_int), size]),
        ("SSL_set1_server_cert_type", c_int, [pointer, data, size]),
        ("SSL_set1_client_cert_type", c_int, [pointer, data, size]),
        ("SSL_CTX_dane_enable", c_int, [pointer]),
        ("SSL_dane_enable", c_int, [pointer, data]),
        ("SSL_add_expected_rpk", c_int, [pointer, pointer]),
        ("SSL_get0_peer_rpk", pointer, [pointer]),
        ("SSL_get0_peer_certificate", pointer, [pointer]),
        ("SSL_set_quic_tls_cbs", c_int, [pointer, pointer, pointer]),
        ("SSL_set_quic_tls_transport_params", c_int, [pointer, data, size]),
        ("SSL_export_keying_material", c_int,
         [pointer, pointer, size, data, size, data, size, c_int]),
        ("d2i_AutoPrivateKey", pointer, [pointer, pointer, c_long]),
        ("d2i_PUBKEY", pointer, [pointer, pointer, c_long]),
        ("d2i_X509", pointer, [pointer, pointer, c_long]),
        ("i2d_PUBKEY", c_int, [pointer, pointer]),
        ("i2d_X509", c_int, [pointer, pointer]),
        ("X509_STORE_add_cert", c_int, [pointer, pointer]),
        ("ERR_get_error", c_ulong, []),
        ("ERR_reason_error_string", c_char_p, [c_ulong]),
        ("ERR_clear_error", None, []),
        ("OpenSSL_version", c_char_p, [c_int]),
    ):  # fmt: skip
        function = getattr(ssl, name)
        function.restype, function.argtypes = result, arguments
    return ssl


class _Dispatch(ctypes.Structure):
    _fields_ = (("function_id", c_int), ("function", c_void_p))


_BYTES = POINTER(c_ubyte)
_SIZE = POINTER(c_size_t)
_CALLBACKS = {
    "_send": (2001, CFUNCTYPE(c_int, c_void_p, _BYTES, c_size_t, _SIZE, c_void_p)),
    "_receive": (2002, CFUNCTYPE(c_int, c_void_p, POINTER(c_void_p), _SIZE, c_void_p)),
    "_release": (2003, CFUNCTYPE(c_int, c_void_p, c_size_t, c_void_p)),
    "_secret": (2004, CFUNCTYPE(c_int, c_void_p, c_uint32, c_int, _BYTES, c_size_t, c_void_p)),
    "_parameters": (2005, CFUNCTYPE(c_int, c_void_p, _BYTES, c_size_t, c_void_p)),
    "_alert": (2006, CFUNCTYPE(c_int, c_void_p, c_ubyte, c_void_p)),
}
_SELECT = CFUNCTYPE(
    c_int, c_void_p, POINTER(c_void_p), POINTER(c_ubyte), c_void_p, c_uint, c_void_p
)


class OpenSslPeer:
    """One side of a handshake."""

    def __init__(
        self, is_client: bool, parameters: bytes, *, roots: Sequence[bytes] = (), name: str = ""
    ) -> None:
        self._ssl_library = ssl = library()
        self._context = ssl.SSL_CTX_new(ssl.TLS_method())
        for der in roots:
            ssl.X509_STORE_add_cert(ssl.SSL_CTX_get_cert_store(self._context), self._x509(der))
        self._select = _SELECT(self._select_alpn)
        ssl.SSL_CTX_set_alpn_select_cb(self._context, cast(self._select, c_void_p), None)
        self._ssl = ssl.SSL_new(self._context)
        self._made = [
            (number, kind(getattr(self, method))) for method, (number, kind) in _CALLBACKS.items()
        ]
        table = [_Dispatch(number, cast(function, c_void_p)) for number, function in self._made]
        self._table = (_Dispatch * (len(table) + 1))(*table, _Dispatch(0, None))
        self._check(ssl.SSL_set_quic_tls_cbs(self._ssl, byref(self._table), None))
        self._own = parameters
        ssl.SSL_set_quic_tls_transport_params(self._ssl, self._own, len(parameters))
        ssl.SSL_set_alpn_protos(self._ssl, _ALPN, len(_ALPN))
        if is_client:
            ssl.SSL_set_connect_state(self._ssl)
            if name:
                ssl.SSL_ctrl(self._ssl, _CTRL_SET_SERVER_NAME, 0, name.encode())
        else:
            ssl.SSL_set_accept_state(self._ssl)
            ssl.SSL_set_session_id_context(self._ssl, b"test", 4)
        if roots:
            self.verify(required=True)
        self._level = Level.INITIAL
        self._input = b""
        self._handed_over: Any = None
        self._out: list[tuple[int, bytes]] = []
        self.secrets: set[tuple[int, bool, bytes]] = set()
        self.peer_transport_parameters = b""
        self.alert: int | None = None

    def close(self) -> None:
        self._ssl_library.SSL_free(self._ssl)
        self._ssl_library.SSL_CTX_free(self._context)

    # Settings.

    def use(self, certificate: DevelopmentCertificate, *, with_chain: bool = True) -> None:
        """Its key, and its chain; without that only a raw public key can be sent."""
        ssl = self._ssl_library
        key = certificate.private_key.private_bytes(
            Encoding.DER, PrivateFormat.PKCS8, NoEncryption()
        )
        if with_chain:
            leaf, *rest = map(self._x509, certificate.chain)
            self._check(ssl.SSL_use_certificate(self._ssl, leaf))
            for issuer in rest:
                self._check(ssl.SSL_ctrl(self._ssl, _CTRL_CHAIN_CERT, 1, issuer))
        self._check(ssl.SSL_use_PrivateKey(self._ssl, self._read(ssl.d2i_AutoPrivateKey, key)))

    def verify(self, *, required: bool) -> None:
        self._ssl_library.SSL_set_verify(
            self._ssl, _VERIFY_REQUIRED if required else _VERIFY_PEER, None
        )

    def compress_with(self, algorithms: Sequence[int], *, send: bool = False) -> None:
        """Offer these algorithms; with *send*, compress the own chain with them."""
        array = (c_int * len(algorithms))(*algorithms)
        ssl = self._ssl_library
        self._check(ssl.SSL_set1_cert_comp_preference(self._ssl, array, len(algorithms)))
        if send:
            self._check(ssl.SSL_compress_certs(self._ssl, 0))

    def certificate_types(self, *, server: bytes = b"", client: bytes = b"") -> None:
        """The kinds for each side (RFC 7250), best first."""
        ssl = self._ssl_library
        if server:
            self._check(ssl.SSL_set1_server_cert_type(self._ssl, server, len(server)))
        if client:
            self._check(ssl.SSL_set1_client_cert_type(self._ssl, client, len(client)))

    def expect_key(self, spki: bytes) -> None:
        """Accept this raw public key."""
        ssl = self._ssl_library
        self._check(ssl.SSL_CTX_dane_enable(self._context))
        self._check(ssl.SSL_dane_enable(self._ssl, None))
        self._check(ssl.SSL_add_expected_rpk(self._ssl, self._read(ssl.d2i_PUBKEY, spki)))
        self.verify(required=True)

    # The handshake.

    @property
    def is_complete(self) -> bool:
        return bool(self._ssl_library.SSL_is_init_finished(self._ssl))

    def receive(self, data: bytes) -> None:
        self._input += data
        ssl = self._ssl_library
        ssl.ERR_clear_error()
        was_complete = self.is_complete
        result = ssl.SSL_do_handshake(self._ssl)
        if was_complete:  # tickets are read like data
            result = ssl.SSL_read(self._ssl, ctypes.create_string_buffer(1), 1)
        if result <= 0 and ssl.SSL_get_error(self._ssl, result) != _WANT_READ:
            text = ssl.ERR_reason_error_string(ssl.ERR_get_error()) or b""
            raise OpenSslError(-1 if self.alert is None else self.alert, text.decode())

    def output(self) -> list[tuple[int, bytes]]:
        taken, self._out = self._out, []
        return taken

    @property
    def is_resumed(self) -> bool:
        return bool(self._ssl_library.SSL_session_reused(self._ssl))

    def session(self) -> int:
        """A client's session, with the last ticket; for ``resume``, which frees it."""
        found: int = self._ssl_library.SSL_get1_session(self._ssl)
        return found

    def resume(self, session: int) -> None:
        self._check(self._ssl_library.SSL_set_session(self._ssl, session))
        self._ssl_library.SSL_SESSION_free(session)

    @property
    def peer_public_key(self) -> bytes | None:
        """The peer's raw public key."""
        return self._write("i2d_PUBKEY", self._ssl_library.SSL_get0_peer_rpk(self._ssl))

    @property
    def peer_certificate(self) -> bytes | None:
        return self._write("i2d_X509", self._ssl_library.SSL_get0_peer_certificate(self._ssl))

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        buffer = ctypes.create_string_buffer(length)
        self._check(
            self._ssl_library.SSL_export_keying_material(
                self._ssl, buffer, length, label, len(label), context, len(context), 1
            )
        )
        return buffer.raw

    # What OpenSSL calls.

    def _send(self, ssl: Any, data: Any, length: int, consumed: Any, argument: Any) -> int:
        self._out.append((self._level, string_at(data, length)))
        consumed[0] = length
        return 1

    def _receive(self, ssl: Any, data: Any, length: Any, argument: Any) -> int:
        self._handed_over = ctypes.create_string_buffer(self._input, len(self._input))
        data[0] = ctypes.addressof(self._handed_over)
        length[0] = len(self._input)
        return 1

    def _release(self, ssl: Any, length: int, argument: Any) -> int:
        self._input = self._input[length:]
        return 1

    def _secret(
        self, ssl: Any, level: int, is_write: int, data: Any, length: int, argument: Any
    ) -> int:
        self.secrets.add((level, bool(is_write), string_at(data, length)))
        if is_write:
            self._level = Level(level)
        return 1

    def _parameters(self, ssl: Any, data: Any, length: int, argument: Any) -> int:
        self.peer_transport_parameters = string_at(data, length)
        return 1

    def _alert(self, ssl: Any, alert: int, argument: Any) -> int:
        self.alert = alert
        return 1

    def _select_alpn(
        self, ssl: Any, out: Any, length: Any, offered: Any, size: int, argument: Any
    ) -> int:
        index = string_at(offered, size).find(_ALPN)
        if index < 0:
            return 2
        out[0], length[0] = offered + index + 1, len(_ALPN) - 1
        return 0

    # Values.

    def _check(self, result: int) -> None:
        if result <= 0:
            ssl = self._ssl_library
            text = ssl.ERR_reason_error_string(ssl.ERR_get_error())
            raise AssertionError(text)

    def _read(self, function: Any, der: bytes) -> int:
        buffer = ctypes.create_string_buffer(der, len(der))
        start = c_void_p(ctypes.addressof(buffer))
        value: int | None = function(None, byref(start), len(der))
        assert value is not None
        return value

    def _x509(self, der: bytes) -> int:
        return self._read(self._ssl_library.d2i_X509, der)

    def _write(self, function: str, value: int | None) -> bytes | None:
        if value is None:
            return None
        out = c_void_p()
        length = getattr(self._ssl_library, function)(value, byref(out))
        return string_at(out, length)
