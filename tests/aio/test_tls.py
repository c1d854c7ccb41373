"""TLS settings of connect() and serve(): certificates of clients, raw public keys, callbacks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest

import cwt
from cwt.tls import Alert, AlertDescription, Identity
from cwt.tls.development import certificate_authority, development_certificate, issue
from tests.aio.conftest import MakePair, Start, until

AUTHORITY = certificate_authority()


async def quiet(session: cwt.Session) -> None:
    await session.wait_closed()


def user() -> dict[str, Any]:
    certificate = issue(AUTHORITY, ["me.example"], client=True)
    return {"client_cert": certificate.cert_pem, "client_key": certificate.key_pem}


class TestClientCertificates:
    async def test_optional(self, make_pair: MakePair) -> None:
        options: dict[str, Any] = {"client_ca": AUTHORITY.cert_pem, "client_auth": "optional"}
        pair = await make_pair(**options)
        assert pair.server.peer_certificates == []
        pair = await make_pair(user(), **options)
        assert len(pair.server.peer_certificates) == 1

    async def test_callback_of_the_server(self, start: Start) -> None:
        def verify(chain: list[bytes], server_name: str) -> None:
            raise Alert(AlertDescription.ACCESS_DENIED, "come back tomorrow")

        loopback = await start(quiet, client_ca=AUTHORITY.cert_pem, verify_client=verify)
        with pytest.raises(cwt.HandshakeError, match="come back tomorrow") as caught:
            await loopback.connect(**user())
        assert caught.value.code == 0x100 + AlertDescription.ACCESS_DENIED

    async def test_what_a_callback_says_is_not_told(
        self, start: Start, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO, "cwt")

        def verify(chain: list[bytes], server_name: str) -> None:
            raise LookupError("in the blocklist /etc/blocked")

        loopback = await start(quiet, verify_client=verify)
        with pytest.raises(cwt.HandshakeError, match="bad_certificate") as caught:
            await loopback.connect(**user())
        assert "/etc" not in str(caught.value)
        await until(lambda: "is refused: in the blocklist /etc/blocked" in caplog.text)

    async def test_requests_know_the_client(self, start: Start) -> None:
        seen: list[Any] = []

        async def hook(request: cwt.SessionRequest) -> None:
            seen.append((request.peer_certificates, request.peer_public_key))

        certificate = issue(AUTHORITY, ["me.example"], client=True)
        loopback = await start(quiet, client_ca=AUTHORITY.cert_pem, on_request=hook)
        identity = Identity.from_der(certificate.chain, certificate.private_key)
        async with loopback.connect(client_cert=identity):
            assert seen == [(list(certificate.chain), None)]


class TestCallbackOfTheClient:
    async def test_its_exception_is_the_cause(self, start: Start) -> None:
        def verify(chain: list[bytes], host: str) -> None:
            raise LookupError("not in the address book")

        loopback = await start(quiet)
        with pytest.raises(cwt.CertificateError, match="not in the address book") as caught:
            await loopback.connect(server_certificate_hashes=[], verify=verify)
        assert isinstance(caught.value.__cause__, LookupError)

    async def test_false(self, start: Start) -> None:
        loopback = await start(quiet)
        with pytest.raises(cwt.CertificateError, match=r"verify\(\) refused"):
            await loopback.connect(server_certificate_hashes=[], verify=lambda chain, host: False)


class TestRawPublicKeys:
    async def test_both_ways(self, make_pair: MakePair) -> None:
        ours, theirs = development_certificate(), development_certificate()
        client_options: dict[str, Any] = {
            "server_certificate_hashes": [],
            "server_public_keys": [theirs.private_key.public_key()],
            "raw_public_key": ours.key_pem,
        }
        pair = await make_pair(
            client_options,
            raw_public_key=theirs.private_key,
            client_public_keys=[ours.private_key.public_key()],
        )
        assert pair.client.peer_public_key and pair.server.peer_public_key
        assert pair.client.peer_certificates == pair.server.peer_certificates == []

    async def test_callback(self, make_pair: MakePair) -> None:
        seen: list[Any] = []
        key = development_certificate().private_key
        await make_pair(
            {"raw_public_key": key}, client_public_keys=lambda key, name: seen.append((key, name))
        )
        [(spki, name)] = seen
        assert len(spki) > 60 and name == ""

    async def test_unknown(self, start: Start) -> None:
        loopback = await start(quiet, raw_public_key=development_certificate().private_key)
        with pytest.raises(cwt.CertificateError, match="server_public_keys"):
            await loopback.connect(
                server_certificate_hashes=[],
                server_public_keys=[development_certificate().private_key.public_key()],
            )


class TestNames:
    async def test_callback_of_the_server(self, tmp_path: Path) -> None:
        certificates = {
            name: issue(AUTHORITY, [name]).write(tmp_path / name) for name in ("a.test", "b.test")
        }
        authority = tmp_path / "ca.pem"
        authority.write_bytes(AUTHORITY.cert_pem)
        async with cwt.serve(quiet, "127.0.0.1", 0, sni=certificates.__getitem__) as server:
            for name in certificates:
                url = f"https://{name}:{server.port}/"
                async with cwt.connect(url, address="127.0.0.1", verify=authority):
                    pass
            url = f"https://c.test:{server.port}/"
            with pytest.raises(cwt.HandshakeError, match="unrecognized_name"):
                await cwt.connect(url, address="127.0.0.1", verify=authority)

    async def test_reload_with_sessions(self, tmp_path: Path) -> None:
        first, second = issue(AUTHORITY, ["a.test"]), issue(AUTHORITY, ["a.test"])
        files = first.write(tmp_path)
        cache = cwt.SessionCache()
        options: dict[str, Any] = {
            "address": "127.0.0.1", "verify": AUTHORITY.cert_pem, "session_cache": cache
        }  # fmt: skip
        async with cwt.serve(quiet, "127.0.0.1", 0, sni={"a.test": files}) as server:
            url = f"https://a.test:{server.port}/"
            async with cwt.connect(url, **options) as session:
                second.write(tmp_path)
                server.reload_certificates()
                await until(lambda: len(cache))
                async with cwt.connect(url, **options) as resumed:
                    assert resumed._connection.quic.is_resumed
                options["session_cache"] = None
                async with cwt.connect(url, **options) as fresh:
                    assert fresh.peer_certificates == list(second.chain)
                files[1].write_bytes(b"")
                with pytest.raises(cwt.ConfigError):
                    server.reload_certificates()
                async with cwt.connect(url, **options) as fresh:
                    assert fresh.peer_certificates == list(second.chain)
                assert session.peer_certificates == list(first.chain)


class TestResumption:
    async def test_of_a_client_with_a_certificate(self, start: Start) -> None:
        sessions: list[cwt.Session] = []

        async def handler(session: cwt.Session) -> None:
            sessions.append(session)
            await session.wait_closed()

        cache = cwt.SessionCache()
        certificate = issue(AUTHORITY, ["me.example"], client=True)
        options: dict[str, Any] = {
            "client_cert": Identity.from_der(certificate.chain, certificate.private_key),
            "session_cache": cache,
        }
        loopback = await start(handler, client_ca=AUTHORITY.cert_pem)
        for is_resumed in (False, True):
            async with loopback.connect(**options) as session:
                assert session._connection.quic.is_resumed == is_resumed
                await until(lambda: len(cache))
                await until(lambda: sessions)
                assert sessions.pop().peer_certificates == list(certificate.chain)
        with pytest.raises(cwt.HandshakeError, match="certificate_required"):
            await loopback.connect(session_cache=cache)
