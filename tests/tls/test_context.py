from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cwt.errors import ConfigError
from cwt.tls import ClientContext, Group, ServerContext
from cwt.tls.development import issue
from tests.tls.support import client_context, leaf, pair, root, run, self_signed, server_context


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpn": []}, "alpn is empty"),
        ({"alpn": [b""]}, "255 bytes"),
        ({"alpn": [b"x" * 256]}, "255 bytes"),
        ({"cipher_suites": []}, "TLS_AES_128_GCM_SHA256"),
        ({"cipher_suites": [0x1304]}, "0x1303"),
        ({"groups": []}, "X25519"),
        ({"groups": [0x0019]}, "SECP256R1"),
    ],
)
def test_refused_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        client_context(**options)
    with pytest.raises(ConfigError, match=message):
        server_context(**options)


def test_client_key_without_certificate() -> None:
    with pytest.raises(ConfigError, match="client_cert"):
        client_context(client_key=leaf().key_pem)


def test_a_name_is_needed_to_check_it() -> None:
    with pytest.raises(ConfigError, match="server_name"):
        ClientContext(alpn=[b"h3"]).handshake("", b"")
    client, _ = pair(client_context(), server_name="")
    assert client.server_name == ""


def test_first_shares() -> None:
    assert client_context(groups=[Group.X25519, Group.SECP256R1]).key_share_groups == (0x1D,)
    assert client_context(groups=[Group.SECP384R1]).key_share_groups == (0x18,)


def test_a_server_needs_a_certificate() -> None:
    with pytest.raises(ConfigError, match="certfile"):
        ServerContext(alpn=[b"h3"])
    with pytest.raises(ConfigError, match="not both"):
        server_context(certfile=leaf().cert_pem, keyfile=leaf().key_pem)


def served(context: ServerContext, name: str) -> bytes:
    """The certificate that *context* has for *name*."""
    client, server = pair(client_context(verify=lambda chain, name: None), context, name)
    run(client, server)
    return client.peer_certificates[0]


def test_sni() -> None:
    exact, wild = issue(root(), ["b.example"]), issue(root(), ["*.c.example"])
    context = server_context(
        sni={
            "B.example": (exact.cert_pem, exact.key_pem),
            "*.c.example": (wild.cert_pem, wild.key_pem),
        }
    )
    assert served(context, "b.example") == exact.chain[0]
    assert served(context, "B.EXAMPLE.") == exact.chain[0]
    assert served(context, "x.c.example") == wild.chain[0]
    for name in ("c.example", "x.y.c.example", "other", "x.b.example", "127.0.0.1"):
        assert served(context, name) == self_signed().chain[0], name


def test_reload(tmp_path: Path) -> None:
    first, second = issue(None, ["a.example"]), issue(None, ["a.example"])
    cert_path, key_path = first.write(tmp_path)
    context = ServerContext(alpn=[b"h3"], certfile=cert_path, keyfile=key_path)
    second.write(tmp_path)
    assert served(context, "a.example") == first.chain[0]
    context.reload()
    assert served(context, "a.example") == second.chain[0]
    key_path.write_bytes(first.key_pem)
    with pytest.raises(ConfigError, match="does not belong"):
        context.reload()
    assert served(context, "a.example") == second.chain[0]


def test_importing_does_not_load_x509() -> None:
    code = (
        "import sys, cwt.tls; "
        "bad = {'cryptography.x509', 'asyncio', 'ssl', 'socket'} & set(sys.modules); "
        "sys.exit(repr(bad) if bad else 0)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
