"""connect(): addresses, trust, answers, time limits, reconnection."""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from pathlib import Path

import pytest

import cwt
from cwt.aio.endpoint import Endpoint
from cwt.aio.loopback import LoopbackServer
from cwt.aio.server import ServerConnection
from cwt.tls.development import certificate_authority, issue
from tests.aio.conftest import Start, echo, until


async def quiet(session: cwt.Session) -> None:
    await session.wait_closed()


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "advice"),
        [
            ({"ssl": None}, "verify="),
            ({"ssl_context": None}, "verify="),
            ({"timeout": 3}, "open_timeout="),
            ({"subprotocols": ["a"]}, "protocols="),
            ({"additional_headers": {}}, "headers="),
            ({"ping_interval": 20}, "keep_alive_interval"),
            ({"verfy": True}, "help"),
        ],
    )
    def test_foreign_ones(self, arguments: dict[str, object], advice: str) -> None:
        with pytest.raises(TypeError, match=advice):
            cwt.connect("https://localhost/", **arguments)  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        "url",
        ["http://localhost/", "wss://localhost", "localhost:4433", "https://", "https://a:x/",
         "https://u:p@a/", "https://a/#f", "https://a:99999/"],
    )  # fmt: skip
    def test_urls(self, url: str) -> None:
        with pytest.raises(cwt.ConfigError):
            cwt.connect(url)

    def test_what_is_mistaken(self) -> None:
        with pytest.raises(TypeError, match="list"):
            cwt.connect("https://a/", protocols="chat")
        with pytest.raises(TypeError, match="brackets"):
            cwt.connect("https://a/", server_certificate_hashes=b"x" * 32)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"cwt\.Config"):
            cwt.connect("https://a/", config={"max_idle_timeout": 3})  # type: ignore[arg-type]
        with pytest.raises(cwt.ConfigError, match="32 bytes"):
            cwt.connect("https://a/", server_certificate_hashes=[b"short"])
        with pytest.raises(cwt.ConfigError, match="client_cert"):
            cwt.connect("https://a/", client_key="key.pem")


class TestLeaving:
    async def test_the_server_is_told(self, start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ServerConnection, "linger", 3600.0)  # it would find out by itself
        loopback = await start(quiet)
        for _ in range(3):
            session = await loopback.connect()
            assert loopback.server.stats().connections == 1
            await session.close()
            await until(lambda: loopback.server.stats().connections == 0)


class TestResumption:
    async def test_calls_share_a_cache(self, start: Start) -> None:
        loopback = await start(echo)
        cache = cwt.SessionCache()
        resumed = []
        for _ in range(3):
            async with loopback.connect(session_cache=cache) as session:
                stream = await session.open_bi()
                await stream.write(b"data")
                await stream.finish()
                assert await stream.read() == b"data"
                resumed.append(session._connection.quic.is_resumed)
        assert resumed == [False, True, True]

    async def test_servers_share_keys(self, start: Start) -> None:
        cache = cwt.SessionCache()
        resumed = []
        for keys in ([bytes(32)], [bytes(32)], [b"k" * 32]):
            loopback = await start(echo, secrets=keys)
            # A session is resumed only where its certificate is trusted, and each server has another.
            trust = {"server_certificate_hashes": [], "verify": lambda chain, host: None}
            async with loopback.connect(session_cache=cache, **trust) as session:
                await (await session.open_bi()).write(b"data")
                await until(lambda: len(cache))
                resumed.append(session._connection.quic.is_resumed)
        assert resumed == [False, True, False]


class TestReachingTheServer:
    async def test_no_such_name(self) -> None:
        with pytest.raises(cwt.ConnectError, match=r"cannot find the address of 'no\.invalid'"):
            await cwt.connect("https://no.invalid/")

    async def test_nobody_answers(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = silent.getsockname()[1]
            with pytest.raises(cwt.ConnectTimeout, match=f"UDP port {port}") as caught:
                await cwt.connect(f"https://127.0.0.1:{port}/", open_timeout=0.1)
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, ConnectionError)

    @pytest.mark.skipif(sys.platform != "linux", reason="other systems do not tell")
    @pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
    async def test_nobody_listens(self, host: str) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as free:
            free.bind((host, 0))
            port = free.getsockname()[1]
        with pytest.raises(cwt.ConnectError, match="nobody listens there") as caught:
            await cwt.connect(
                f"https://[{host}]:{port}/" if ":" in host else f"https://{host}:{port}/",
                open_timeout=None,
            )
        assert not isinstance(caught.value, TimeoutError)

    async def test_the_handshake_timeout(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            silent.bind(("127.0.0.1", 0))
            port = silent.getsockname()[1]
            config = cwt.Config(handshake_timeout=0.1)
            with pytest.raises(cwt.ConnectTimeout):
                await cwt.connect(f"https://127.0.0.1:{port}/", config=config, open_timeout=None)

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
    async def test_a_dual_stack_server(self, start: Start, host: str) -> None:
        loopback = await start(quiet, host="::")
        reach = LoopbackServer(loopback.server, host)
        async with reach.connect() as session:
            assert session.remote_address[0] in ("127.0.0.1", "::1")

    async def test_the_other_address(self, start: Start) -> None:
        loopback = await start(quiet, host="127.0.0.1")
        reach = LoopbackServer(loopback.server, "localhost")
        async with reach.connect() as session:  # wherever localhost leads first
            assert session.remote_address == ("127.0.0.1", loopback.server.port)

    async def test_address(self, start: Start) -> None:
        loopback = await start(quiet, dev_hostnames=["a.example"])
        reach = LoopbackServer(loopback.server, "a.example")
        async with reach.connect(address="127.0.0.1") as session:
            assert session.url == f"https://a.example:{loopback.server.port}/"


class TestTrust:
    async def test_unknown_certificate(self, start: Start) -> None:
        loopback = await start(quiet)
        with pytest.raises(cwt.CertificateError, match="server_certificate_hashes="):
            await loopback.connect(server_certificate_hashes=[])
        with pytest.raises(cwt.CertificateError):
            await loopback.connect(server_certificate_hashes=[bytes(32)])

    async def test_hashes_in_every_form(self, start: Start) -> None:
        loopback = await start(quiet)
        assert loopback.server.dev is not None
        digest = loopback.server.dev.sha256
        for form in (digest, digest.hex(), digest.hex(":").upper()):
            async with loopback.connect(server_certificate_hashes=[form]):
                pass

    async def test_authority(self, start: Start, tmp_path: Path) -> None:
        authority = certificate_authority()
        (tmp_path / "ca.pem").write_bytes(authority.cert_pem)
        certfile, keyfile = issue(authority, ["127.0.0.1"]).write(tmp_path)
        async with cwt.serve(quiet, "127.0.0.1", 0, certfile=certfile, keyfile=keyfile) as server:
            async with cwt.connect(f"https://127.0.0.1:{server.port}/", verify=tmp_path / "ca.pem"):
                pass
            url = f"https://localhost:{server.port}/"
            with pytest.raises(cwt.CertificateError):
                await cwt.connect(url, verify=tmp_path / "ca.pem", address="127.0.0.1")

    async def test_callback(self, start: Start) -> None:
        loopback = await start(quiet)
        seen = []

        def verify(chain: list[bytes], host: str) -> None:
            seen.append((len(chain), host))
            if len(seen) > 1:
                raise ValueError("not this time")

        async with loopback.connect(server_certificate_hashes=[], verify=verify):
            pass
        assert seen == [(1, "127.0.0.1")]
        with pytest.raises(cwt.CertificateError):
            await loopback.connect(server_certificate_hashes=[], verify=verify)

    async def test_no_check_is_loud(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        loopback = await start(quiet)
        async with loopback.connect(server_certificate_hashes=[], verify=False):
            assert "verify=False" in caplog.text

    async def test_client_certificates(self, start: Start, tmp_path: Path) -> None:
        authority = certificate_authority()
        client = issue(authority, ["me.example"], client=True)
        sessions: list[cwt.Session] = []

        async def handler(session: cwt.Session) -> None:
            sessions.append(session)
            await session.wait_closed()

        loopback = await start(handler, client_ca=authority.cert_pem)
        certfile, keyfile = client.write(tmp_path)
        async with loopback.connect(client_cert=certfile, client_key=keyfile):
            await until(lambda: sessions)
            assert sessions[0].peer_certificates == list(client.chain)
        with pytest.raises(cwt.HandshakeError, match="client_cert="):
            await loopback.connect()

    async def test_keylog(self, start: Start, tmp_path: Path) -> None:
        loopback = await start(quiet)
        async with loopback.connect(keylog_file=tmp_path / "keys.log"):
            assert "CLIENT_TRAFFIC_SECRET_0" in (tmp_path / "keys.log").read_text()


class TestAnswers:
    async def test_rejection(self, start: Start) -> None:
        async def hook(request: cwt.SessionRequest) -> None:
            await request.reject(401, headers={"www-authenticate": "Bearer"})

        loopback = await start(quiet, on_request=hook)
        with pytest.raises(cwt.SessionRejected) as caught:
            await loopback.connect()
        assert caught.value.status == 401
        assert ("www-authenticate", "Bearer") in caught.value.headers

    async def test_no_answer(self, start: Start) -> None:
        requests: list[cwt.SessionRequest] = []

        async def hook(request: cwt.SessionRequest) -> None:
            requests.append(request)
            await asyncio.Event().wait()

        loopback = await start(quiet, on_request=hook, close_timeout=0.05)
        with pytest.raises(cwt.ConnectTimeout):
            await loopback.connect(open_timeout=1.0)
        await until(lambda: requests[0].is_gone)
        with pytest.raises((cwt.SessionClosed, cwt.ConnectionClosed)):
            await requests[0].accept()
        await until(lambda: not loopback.server._tasks)  # the hook is cancelled

    async def test_cancelled_at_any_point(self, start: Start) -> None:
        loopback = await start(quiet)
        for steps in range(25):
            opening = asyncio.ensure_future(loopback.connect())
            for _ in range(steps):
                await asyncio.sleep(0.0005)
            opening.cancel()
            try:
                await (await opening).close()
            except asyncio.CancelledError:
                pass
        await until(lambda: loopback.server.stats().sessions == 0)
        loop = asyncio.get_running_loop()
        endpoints = [found for found in gc.get_objects() if is_client_endpoint(found, loop)]
        await until(lambda: all(endpoint.is_closed for endpoint in endpoints))

    async def test_used_twice(self, start: Start) -> None:
        loopback = await start(quiet)
        connecting = loopback.connect()
        async with connecting:
            with pytest.raises(RuntimeError, match="call connect"):
                await connecting.__aenter__()
        async with connecting as session:  # one after the other is fine
            assert not session.is_closed


def is_client_endpoint(candidate: object, loop: asyncio.AbstractEventLoop) -> bool:
    if type(candidate) is not Endpoint:
        return False
    return candidate.loop is loop and candidate._on_connection is None


class TestIteration:
    async def test_it_reconnects(self, start: Start) -> None:
        async def handler(session: cwt.Session) -> None:
            await session.close(3, "again")

        loopback = await start(handler)
        closes = []
        resumed = []
        async for session in loopback.connect(reconnect_delay=(0.001, 0.01)):
            closes.append(await session.wait_closed())
            resumed.append(session._connection.quic.is_resumed)
            if len(closes) == 4:
                break
        assert closes == [(3, "again", True, None)] * 4
        assert resumed == [False, True, True, True]

    async def test_it_waits_for_the_server(self, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level("INFO", "cwt.client")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        connecting = cwt.connect(
            f"https://127.0.0.1:{port}/",
            verify=lambda chain, host: None,
            open_timeout=0.1,
            reconnect_delay=(0.01, 0.05),
        )

        async def use() -> bytes:
            async for session in connecting:
                stream = await session.open_bi()
                await stream.write(b"at last")
                await stream.finish()
                return await stream.read()
            raise AssertionError

        using = asyncio.create_task(use())
        await until(lambda: "next attempt" in caplog.text)
        async with cwt.serve(echo, "127.0.0.1", port, dev=True):
            assert await using == b"at last"

    async def test_some_failures_are_final(self, start: Start) -> None:
        loopback = await start({"/here": quiet})
        with pytest.raises(cwt.SessionRejected) as caught:
            async for _ in loopback.connect("/nowhere"):
                pass
        assert caught.value.status == 404
        with pytest.raises(cwt.CertificateError):
            async for _ in loopback.connect("/here", server_certificate_hashes=[]):
                pass
