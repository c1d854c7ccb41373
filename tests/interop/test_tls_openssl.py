"""Our client against OpenSSL (the one inside ``cryptography``), HelloRetryRequest among other things.

OpenSSL speaks TLS over records, so a small record layer (RFC 8446 Section 5) is between the two, and its
server does not know quic_transport_parameters: they are put into its EncryptedExtensions here.
"""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("OpenSSL")

from cryptography import x509
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from OpenSSL import SSL, crypto

from cwt.hkdf import expand_label
from cwt.tls import CipherSuite, ClientHandshake, Group, Level
from cwt.tls.development import issue
from cwt.tls.groups import supported_groups
from cwt.tls.messages import EncryptedExtensions
from tests.tls.support import client_context, root

pytestmark = pytest.mark.interop

HANDSHAKE, APPLICATION_DATA = 22, 23


class Records:
    """One direction of the record layer."""

    def __init__(self, suite: int, secret: bytes) -> None:
        name = "sha384" if suite == CipherSuite.TLS_AES_256_GCM_SHA384 else "sha256"
        size = 16 if suite == CipherSuite.TLS_AES_128_GCM_SHA256 else 32
        key = expand_label(name, secret, b"key", b"", size)
        chacha = suite == CipherSuite.TLS_CHACHA20_POLY1305_SHA256
        self._aead: Any = ChaCha20Poly1305(key) if chacha else AESGCM(key)
        self._iv = int.from_bytes(expand_label(name, secret, b"iv", b"", 12), "big")
        self._number = 0

    def _nonce(self) -> bytes:
        nonce = (self._iv ^ self._number).to_bytes(12, "big")
        self._number += 1
        return nonce

    def seal(self, data: bytes) -> bytes:
        header = bytes([APPLICATION_DATA, 3, 3]) + (len(data) + 17).to_bytes(2, "big")
        return header + bytes(self._aead.encrypt(self._nonce(), data + bytes([HANDSHAKE]), header))

    def open(self, record: bytes) -> bytes:
        inner = bytes(self._aead.decrypt(self._nonce(), record[5:], record[:5])).rstrip(b"\0")
        assert inner[-1] == HANDSHAKE
        return inner[:-1]


def split_records(data: bytes) -> list[bytes]:
    records = []
    while data:
        end = 5 + int.from_bytes(data[3:5], "big")
        records.append(data[:end])
        data = data[end:]
    return records


def make_server(kind: str, curve: str | None, client_ca: bool) -> SSL.Connection:
    certificate = issue(root(), ["localhost"], kind=kind)
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.use_certificate(x509.load_der_x509_certificate(certificate.chain[0]))
    context.use_privatekey(certificate.private_key)
    context.set_alpn_select_callback(lambda connection, offered: offered[0])
    if curve is not None:
        from cryptography.hazmat.primitives.asymmetric import ec

        context.set_tmp_ecdh({"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1()}[curve])
    if client_ca:
        store = context.get_cert_store()
        assert store is not None
        store.add_cert(crypto.X509.from_cryptography(root().certificate))
        wanted = SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT
        context.set_verify(wanted, lambda *arguments: bool(arguments[-1]))
    connection = SSL.Connection(context, None)
    connection.set_accept_state()
    return connection


def run(client: ClientHandshake, server: SSL.Connection) -> int:
    """The whole handshake; gives the number of ClientHellos it took."""
    reader: Records | None = None
    writer: Records | None = None
    hellos = 0
    client.start()
    while output := client.output():
        for level, data in output:
            if level == Level.INITIAL:
                hellos += 1
                server.bio_write(b"\x16\x03\x01" + len(data).to_bytes(2, "big") + data)
            else:
                assert writer is not None
                server.bio_write(writer.seal(data))
        try:
            server.do_handshake()
        except SSL.WantReadError:
            pass
        try:
            answer = server.bio_read(1 << 16)
        except SSL.WantReadError:
            break
        for record in split_records(answer):
            if record[0] == HANDSHAKE:
                client.receive(Level.INITIAL, record[5:])
                for secret in client.secrets():
                    records = Records(secret.cipher_suite, secret.secret)
                    reader, writer = (reader, records) if secret.is_write else (records, writer)
            elif record[0] == APPLICATION_DATA and not client.is_complete:
                assert reader is not None
                client.receive(Level.HANDSHAKE, reader.open(record))
    return hellos


@pytest.fixture(autouse=True)
def transport_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    original = EncryptedExtensions.parse

    def parse(body: bytes) -> EncryptedExtensions:
        extensions = original(body)
        extensions.transport_parameters = b""
        return extensions

    monkeypatch.setattr(EncryptedExtensions, "parse", parse)


def check(client: ClientHandshake, server: SSL.Connection) -> None:
    assert client.is_complete
    assert server.get_alpn_proto_negotiated() == client.alpn == b"h3"
    exported = client.export_keying_material(b"EXPORTER-test", b"context", 64)
    assert server.export_keying_material(b"EXPORTER-test", 64, b"context") == exported
    assert server.get_cipher_name() == CipherSuite(client.cipher_suite).name


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("kind", ["p256", "p384", "rsa"])
def test_handshake(suite: CipherSuite, kind: str) -> None:
    context = client_context(cipher_suites=[suite], verify=lambda chain, name: None)
    client, server = context.handshake("localhost", b""), make_server(kind, None, False)
    assert run(client, server) == 1
    check(client, server)


@pytest.mark.parametrize("group", supported_groups())
def test_groups(group: Group) -> None:
    context = client_context(groups=[group], verify=lambda chain, name: None)
    client, server = context.handshake("localhost", b""), make_server("p256", None, False)
    assert run(client, server) == 1
    check(client, server)
    assert client.group == group


@pytest.mark.parametrize("curve", ["P-256", "P-384"])
@pytest.mark.parametrize("suite", [0x1301, 0x1302])
def test_hello_retry_request(curve: str, suite: int) -> None:
    context = client_context(cipher_suites=[suite], verify=lambda chain, name: None)
    client, server = context.handshake("localhost", b""), make_server("p256", curve, False)
    assert run(client, server) == 2
    check(client, server)
    assert client.group == {"P-256": Group.SECP256R1, "P-384": Group.SECP384R1}[curve]


@pytest.mark.parametrize("kind", ["p256", "p384", "rsa", "ed25519"])
def test_client_certificate(kind: str) -> None:
    user = issue(root(), ["user"], client=True, kind=kind)
    context = client_context(
        verify=lambda chain, name: None, client_cert=user.cert_pem, client_key=user.key_pem
    )
    client, server = context.handshake("localhost", b""), make_server("p256", None, True)
    run(client, server)
    check(client, server)
    peer = server.get_peer_certificate(as_cryptography=True)
    assert peer == x509.load_der_x509_certificate(user.chain[0])
