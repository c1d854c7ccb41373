"""The settings of TLS in quic.Config; what they do is tested in tests/tls."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from cwt import quic
from cwt.errors import ConfigError
from cwt.testing import Link, Pair
from cwt.tls import Identity, SessionCache
from cwt.tls.development import certificate_authority, development_certificate, issue

CLIENT, SERVER = ("192.0.2.1", 50000), ("192.0.2.2", 4433)
AUTHORITY = certificate_authority()


def connect(client_config: quic.Config, server_config: quic.Config) -> tuple[Any, Any]:
    """Both ends of a connection, when the handshake is over."""
    server = quic.Endpoint(server_config.transport, tls=server_config.server_context())
    client = quic.connect("localhost", b"client-1", CLIENT, SERVER, client_config)
    pair = Pair(client, server, uplink=Link.of(delay=0.01), downlink=Link.of(delay=0.01))
    pair.drive(lambda: client.is_confirmed or client.is_closed)
    ready = server.ready()
    return client, ready[0] if ready else None


def server_config(**options: Any) -> quic.Config:
    config = quic.Config(alpn=[b"echo"], **options)
    certificate = issue(AUTHORITY, ["localhost"])
    config.load_cert_chain(certificate.cert_pem, certificate.key_pem)
    return config


def client_config(**options: Any) -> quic.Config:
    options.setdefault("verify", AUTHORITY.cert_pem)
    return quic.Config(alpn=[b"echo"], **options)


def test_client_certificate() -> None:
    user = issue(AUTHORITY, ["me"], client=True)
    ours = client_config()
    ours.load_cert_chain(user.cert_pem, user.key_pem)
    _, accepted = connect(ours, server_config(client_ca=AUTHORITY.cert_pem))
    assert accepted.peer_cert_chain == list(user.chain) and accepted.peer_cert == user.chain[0]
    assert accepted.peer_public_key is None


def test_client_certificate_that_is_missing() -> None:
    client, _ = connect(client_config(), server_config(client_ca=AUTHORITY.cert_pem))
    assert client.termination.code == 0x100 + 116 and client.termination.remote
    options: dict[str, Any] = {"client_ca": AUTHORITY.cert_pem, "client_auth": "optional"}
    client, accepted = connect(client_config(), server_config(**options))
    assert client.is_established and accepted.peer_cert is None


def test_raw_public_keys() -> None:
    ours, theirs = development_certificate(), development_certificate()
    client, accepted = connect(
        client_config(
            server_public_keys=[theirs.private_key.public_key()], raw_public_key=ours.key_pem
        ),
        quic.Config(
            alpn=[b"echo"],
            raw_public_key=theirs.key_pem,
            client_public_keys=[ours.private_key.public_key()],
        ),
    )
    assert client.peer_public_key and accepted.peer_public_key
    assert client.peer_cert is accepted.peer_cert is None


def test_certificates_for_signatures() -> None:
    serving = server_config(cipher_suites=[0x1303], groups=[0x17])
    rsa = issue(AUTHORITY, ["localhost"], kind="rsa")
    serving.load_cert_chain(rsa.cert_pem, rsa.key_pem)
    client, accepted = connect(client_config(certificate_compression=["zlib"]), serving)
    assert client.peer_cert != rsa.chain[0]
    assert accepted.tls.cipher_suite == 0x1303 and accepted.tls.group == 0x17


def test_reload(tmp_path: Path) -> None:
    first, second = issue(AUTHORITY, ["localhost"]), issue(AUTHORITY, ["localhost"])
    config = quic.Config(alpn=[b"echo"])
    config.load_cert_chain(*first.write(tmp_path))
    assert connect(client_config(), config)[0].peer_cert == first.chain[0]
    second.write(tmp_path)
    config.reload_certificates()
    assert connect(client_config(), config)[0].peer_cert == second.chain[0]
    config.client_context()
    first.write(tmp_path)
    config.reload_certificates()
    identity = config.client_context().identity
    assert identity is not None and first.chain[0] in identity.message


def test_names() -> None:
    certificate = issue(AUTHORITY, ["localhost"])
    serving = quic.Config(
        alpn=[b"echo"], sni={"localhost": (certificate.cert_pem, certificate.key_pem)}
    )
    client, _ = connect(client_config(session_cache=SessionCache()), serving)
    assert client.peer_cert == certificate.chain[0]


def test_a_server_without_a_certificate() -> None:
    with pytest.raises(ConfigError, match="load_cert_chain"):
        quic.Config(alpn=[b"echo"]).server_context()


@pytest.mark.parametrize("size", [40_000, 59_000])
def test_a_chain_of_many_packets(size: int) -> None:
    # quicly's CVE-2026-44435 was a flight of more than 32 kB.
    leaf = issue(AUTHORITY, ["localhost"])
    identity = Identity.from_der(
        [leaf.chain[0], random.Random(size).randbytes(size)], leaf.private_key
    )
    serving = quic.Config(alpn=[b"echo"], sni=lambda name: identity)
    seen: list[int] = []
    config = client_config(verify=lambda chain, name: seen.append(sum(map(len, chain))))
    client, accepted = connect(config, serving)
    assert client.is_established and accepted.is_established
    assert seen == [size + len(leaf.chain[0])]
