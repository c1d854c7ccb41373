"""serve(): routes, requests, handlers, many sessions, the end."""

from __future__ import annotations

import asyncio
import re
import socket
from pathlib import Path
from typing import Any

import pytest

import cwt
from cwt import quic
from cwt.aio.connection import Connection
from cwt.tls.development import development_certificate
from tests.aio.conftest import Pair, Start, echo, until


async def quiet(session: cwt.Session) -> None:
    await session.wait_closed()


async def status_of(connecting: cwt.connect) -> int:
    try:
        session = await connecting
    except cwt.SessionRejected as error:
        return error.status
    await session.close()
    return 200


class TestArguments:
    @pytest.mark.parametrize(
        ("arguments", "advice"),
        [({"ssl": None}, "certfile="), ({"process_request": None}, "on_request=")],
    )
    def test_foreign_ones(self, arguments: dict[str, object], advice: str) -> None:
        with pytest.raises(TypeError, match=advice):
            cwt.serve(quiet, dev=True, **arguments)  # type: ignore[arg-type]

    def test_what_is_mistaken(self, tmp_path: Path) -> None:
        with pytest.raises(cwt.ConfigError, match="dev=True"):
            cwt.serve(quiet)
        with pytest.raises(cwt.ConfigError, match="not both"):
            cwt.serve(quiet, certfile="a", keyfile="b", dev=True)
        with pytest.raises(cwt.ConfigError, match="slash"):
            cwt.serve({"chat": quiet}, dev=True)
        with pytest.raises(TypeError, match="handler"):
            cwt.serve("handler", dev=True)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="list"):
            cwt.serve(quiet, dev=True, origins="https://a.example")
        with pytest.raises(cwt.ConfigError, match="max_sessions"):
            cwt.Limits(max_sessions=0)

    async def test_port_in_use(self, start: Start) -> None:
        loopback = await start(quiet)
        with pytest.raises(OSError, match="another program uses it"):
            await cwt.serve(quiet, "127.0.0.1", loopback.server.port, dev=True)


class TestRequests:
    async def test_routes(self, start: Start) -> None:
        async def room(session: cwt.Session, name: str) -> None:
            await session.close(1, name)

        async def file(session: cwt.Session, rest: str) -> None:
            await session.close(2, rest)

        loopback = await start(
            {"/": quiet, "/room/lobby": quiet, "/room/{name}": room, "/files/{rest:path}": file}
        )
        assert await status_of(loopback.connect("/")) == 200
        assert await status_of(loopback.connect("/?query=1")) == 200
        assert await status_of(loopback.connect("/nowhere")) == 404
        assert await status_of(loopback.connect("/room/a/b")) == 404
        session = await loopback.connect("/room/b%C3%BC%20x")
        assert (await session.wait_closed())[:2] == (1, "bü x")
        session = await loopback.connect("/files/a/b?c")
        assert (await session.wait_closed())[:2] == (2, "a/b")
        assert loopback.server.stats().sessions_rejected == 2

    async def test_origins(self, start: Start) -> None:
        origins = ["https://a.example", re.compile(r"https://[a-z]+\.b\.example")]
        loopback = await start(quiet, origins=origins)
        expected = {
            None: 200,
            "https://a.example": 200,
            "https://x.b.example": 200,
            "https://x.b.example.evil": 403,
            "http://a.example": 403,
            "null": 403,
        }
        for origin, status in expected.items():
            assert await status_of(loopback.connect(origin=origin)) == status

    async def test_what_a_request_shows(self, start: Start) -> None:
        seen: list[cwt.SessionRequest] = []

        async def hook(request: cwt.SessionRequest) -> None:
            seen.append(request)

        loopback = await start({"/a/{b}": lambda session, b: quiet(session)}, on_request=hook)
        options = {
            "headers": {"Authorization": "x"},
            "origin": "https://o",
            "protocols": ["p", "q"],
        }
        async with loopback.connect("/a/c?d=e", **options) as session:
            (request,) = seen
            assert request.path == "/a/c"
            assert request.query == "d=e"
            assert request.params == {"b": "c"}
            assert request.url == session.url == loopback.url("/a/c?d=e")
            assert request.headers["authorization"] == "x"
            assert request.origin == "https://o"
            assert request.protocols == ["p", "q"]
            assert request.remote_address[0] == "127.0.0.1"
            assert request.peer_certificates == []
            assert session.protocol is None
            assert request.session is not None
            with pytest.raises(RuntimeError, match="already"):
                await request.accept()
            with pytest.raises(RuntimeError, match="already"):
                await request.reject()

    async def test_hook_that_accepts(self, start: Start) -> None:
        async def hook(request: cwt.SessionRequest) -> None:
            with pytest.raises(ValueError, match="did not offer"):
                await request.accept(protocol="other")
            session = await request.accept(protocol="b", headers={"X-Room": "7"})
            async with await session.open_uni() as stream:
                await stream.write(b"from the hook")

        loopback = await start(quiet, on_request=hook)
        async with loopback.connect(protocols=["a", "b"]) as session:
            assert session.protocol == "b"
            assert session.headers["x-room"] == "7"
            assert await (await session.accept_uni()).read() == b"from the hook"

    async def test_hook_that_fails(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        async def hook(request: cwt.SessionRequest) -> None:
            raise ZeroDivisionError

        loopback = await start(quiet, on_request=hook)
        assert await status_of(loopback.connect()) == 500
        assert "ZeroDivisionError" in caplog.text

    async def test_by_hand(self, start: Start) -> None:
        loopback = await start()

        async def answer() -> None:
            async for request in loopback.server:
                if request.path == "/yes":
                    session = await request.accept()
                    await session.datagrams.receive()
                    await session.close(9)
                else:
                    await request.reject(410)

        answering = asyncio.create_task(answer())
        assert await status_of(loopback.connect("/no")) == 410
        session = await loopback.connect("/yes")
        session.datagrams.send(b"x")
        assert (await session.wait_closed()).code == 9
        await loopback.server.close()
        await answering

    async def test_by_hand_without_a_handler_only(self, start: Start) -> None:
        loopback = await start(quiet)
        with pytest.raises(TypeError, match="leave the handler out"):
            async for _ in loopback.server:
                pass

    async def test_limits(self, start: Start) -> None:
        loopback = await start(quiet, limits=cwt.Limits(max_sessions=2))
        async with loopback.connect(), loopback.connect():
            assert await status_of(loopback.connect()) == 503
        await until(lambda: loopback.server.stats().sessions == 0)
        assert await status_of(loopback.connect()) == 200

    async def test_pending_requests_are_bounded(self, start: Start) -> None:
        loopback = await start(limits=cwt.Limits(max_pending_requests=1))
        waiting = asyncio.ensure_future(loopback.connect(open_timeout=5))
        await until(lambda: loopback.server._pending)
        assert await status_of(loopback.connect()) == 503
        await (await anext(aiter(loopback.server))).accept()
        await (await waiting).close()
        assert loopback.server._pending == 0

    async def test_other_requests(self, pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = []
        connection = pair.client._connection
        wt = connection.wt
        poll = type(wt).poll

        def listen(connection: Any) -> list[Any]:
            events: list[Any] = poll(connection)
            answers.extend(event for event in events if type(event).__name__ == "ResponseReceived")
            return events

        monkeypatch.setattr(type(wt), "poll", listen)
        for method in ("GET", "CONNECT"):
            lines = [(":method", method), (":scheme", "https"), (":authority", "a"), (":path", "/")]
            wt.h3.send_request(lines if method == "GET" else [lines[0], lines[2]], fin=True)
        connection.endpoint.wake()
        await until(lambda: len(answers) == 2)
        assert [answer.status for answer in answers] == [404, 501]
        assert not pair.client.is_closed


class TestHandlers:
    async def test_the_end_of_a_handler_ends_its_session(self, start: Start) -> None:
        async def handler(session: cwt.Session) -> None:
            async with await session.open_uni() as stream:
                await stream.write(b"all there is")

        loopback = await start(handler)
        session = await loopback.connect()
        assert await (await session.accept_uni()).read() == b"all there is"
        assert await session.wait_closed() == (0, "", True, None)

    async def test_failure(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        async def handler(session: cwt.Session) -> None:
            if session.path == "/fail":
                raise ZeroDivisionError("oops")
            await session.wait_closed()

        loopback = await start(handler)
        async with loopback.connect() as other:
            session = await loopback.connect("/fail")
            assert await session.wait_closed() == (1, "internal error", True, None)
            assert "ZeroDivisionError: oops" in caplog.text
            assert loopback.server.stats().handler_failures == 1
            assert not other.is_closed

    async def test_the_end_of_a_session_is_no_failure(
        self, start: Start, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(session: cwt.Session) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(session.accept_bi())
                group.create_task(session.datagrams.receive())

        loopback = await start(handler)
        async with loopback.connect():
            pass
        await until(lambda: not loopback.server._tasks)
        assert loopback.server.stats().handler_failures == 0
        assert "failed" not in caplog.text

    async def test_two_hundred_sessions(self, start: Start) -> None:
        loopback = await start(echo)

        async def one(number: int) -> None:
            async with loopback.connect(open_timeout=60) as session:
                stream = await session.open_bi()
                await stream.write(b"%d" % number)
                await stream.finish()
                assert await stream.read() == b"%d" % number
                done.append(number)
                await together.wait()

        done: list[int] = []
        together = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            for number in range(200):
                group.create_task(one(number))
            await until(lambda: len(done) == 200)
            assert len(loopback.server.sessions) == 200
            assert loopback.server.stats()[:3] == (200, 200, 200)
            together.set()
        await until(lambda: loopback.server.stats().sessions == 0)
        await until(lambda: loopback.server.stats().connections == 0)


class TestEnd:
    async def test_close(self, start: Start) -> None:
        ended = []

        async def handler(session: cwt.Session) -> None:
            ended.append(await session.wait_closed())

        loopback = await start(handler)
        server = loopback.server
        sessions = [await loopback.connect() for _ in range(3)]
        await until(lambda: len(server.sessions) == 3)
        assert server.is_serving
        with pytest.raises(ValueError, match="error code"):
            server.close(-1)
        server.close(5, "maintenance")
        assert not server.is_serving
        await server.wait_closed()
        assert ended == [(5, "maintenance", False, None)] * 3
        for session in sessions:
            assert await session.wait_closed() == (5, "maintenance", True, None)
        assert server.sockets == ()
        await server.close()
        await session.close()

    async def test_the_port_is_free_again(self, start: Start) -> None:
        loopback = await start(quiet)
        port = loopback.server.port
        await loopback.server.close()
        async with cwt.serve(quiet, "127.0.0.1", port, dev=True) as server:
            assert server.port == port

    async def test_a_handler_that_does_not_stop(self, start: Start) -> None:
        cancelled = []

        async def handler(session: cwt.Session) -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append(session)
                raise

        loopback = await start(handler, close_timeout=0.05)
        session = await loopback.connect()
        await loopback.server.close(2)
        assert len(cancelled) == 1
        assert (await session.wait_closed()).code == 2

    async def test_serve_forever(self) -> None:
        async def run() -> None:
            async with cwt.serve(quiet, "127.0.0.1", 0, dev=True) as server:
                servers.append(server)
                await server.serve_forever()

        servers: list[cwt.Server] = []
        running = asyncio.create_task(run())
        await until(lambda: servers)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        await servers[0].wait_closed()
        running = asyncio.create_task(run())
        await until(lambda: len(servers) == 2)
        await servers[1].close()
        await running

    async def test_the_connection_ends_after_its_session(
        self, start: Start, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # As Chromium does: it sends its close, and leaves without closing the connection.
        loopback = await start(quiet)
        monkeypatch.setattr(Connection, "linger", 0.05)
        session = await loopback.connect()
        connection = session._connection
        monkeypatch.setattr(connection, "_on_ended", lambda: None)
        connection.linger = 1000.0
        await until(lambda: loopback.server.sessions)
        session._close_now(0, "")
        await until(lambda: connection.is_lost)
        error = connection.quic.termination
        assert isinstance(error, cwt.ApplicationError)
        assert error.remote
        assert error.code == cwt.H3ErrorCode.NO_ERROR
        assert loopback.server.stats().connections == 0


class TestAddressValidation:
    @pytest.mark.parametrize("retry", ["auto", "always", "never"])
    async def test_policies(self, start: Start, retry: str) -> None:
        loopback = await start(echo, retry=retry)
        cache = cwt.SessionCache()
        retried = []
        for _ in range(2):
            async with loopback.connect(session_cache=cache) as session:
                stream = await session.open_bi()
                await stream.write(b"data")
                await stream.finish()
                assert await stream.read() == b"data"
                parameters = session._connection.quic.peer_transport_parameters
                retried.append(parameters.retry_source_connection_id is not None)
        assert retried == [retry == "always", False]

    async def test_load(self, start: Start) -> None:
        loopback = await start(echo, limits=cwt.Limits(max_unvalidated=1))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
            # The beginning of a handshake that goes no further.
            half = quic.connect(
                "half", b"half-way", silent.getsockname(), (loopback.host, loopback.server.port),
                quic.Config(alpn=[b"h3"], verify=False),
            )  # fmt: skip
            while (out := half.send(0.0)) is not None:
                silent.sendto(out[0], out[1].to)
            silent.settimeout(5)
            await asyncio.to_thread(silent.recv, 2048)
            async with loopback.connect() as session:
                parameters = session._connection.quic.peer_transport_parameters
                assert parameters.retry_source_connection_id is not None

    async def test_a_restart_ends_old_connections_and_takes_old_tokens(self, start: Start) -> None:
        cache = cwt.SessionCache()
        options: dict[str, Any] = {"retry": "always", "secrets": [bytes(range(32))]}
        loopback = await start(echo, **options)
        session = await loopback.connect(session_cache=cache)
        stream = await session.open_bi()
        await stream.write(b"data")
        assert await stream.read(4) == b"data"
        for endpoint in loopback.server._endpoints:
            endpoint.close()  # as if the process had died
        address = ("127.0.0.1", session.remote_address[1])
        async with cwt.serve(echo, *address, dev=True, **options) as restarted:
            with pytest.raises(cwt.StatelessReset):
                async with asyncio.timeout(5):
                    await stream.write(b"is anybody there?")
                    await stream.read(1)
            assert restarted.dev is not None
            async with cwt.connect(
                f"https://127.0.0.1:{address[1]}/",
                session_cache=cache,
                server_certificate_hashes=[restarted.dev.sha256],
            ) as session:
                parameters = session._connection.quic.peer_transport_parameters
                assert parameters.retry_source_connection_id is None

    @pytest.mark.parametrize("options", [{"secrets": [b"short"]}, {"retry": "sometimes"}])
    def test_mistakes(self, options: dict[str, Any]) -> None:
        with pytest.raises(cwt.ConfigError, match=r"32 bytes|always"):
            cwt.serve(echo, dev=True, **options)


class TestCertificates:
    async def test_development(self, start: Start, caplog: pytest.LogCaptureFixture) -> None:
        loopback = await start(quiet)
        assert "new WebTransport(" in caplog.text
        assert loopback.server.dev is not None
        assert len(loopback.server.dev.sha256) == 32

    async def test_reload(self, tmp_path: Path) -> None:
        first, second = development_certificate(), development_certificate()
        certfile, keyfile = first.write(tmp_path)
        async with cwt.serve(quiet, "127.0.0.1", 0, certfile=certfile, keyfile=keyfile) as server:
            url = f"https://127.0.0.1:{server.port}/"
            async with cwt.connect(url, server_certificate_hashes=[first.sha256]) as session:
                second.write(tmp_path)
                server.reload_certificates()
                async with cwt.connect(url, server_certificate_hashes=[second.sha256]):
                    assert not session.is_closed

    async def test_several_addresses(self) -> None:
        async with cwt.serve(quiet, ["127.0.0.1", "::1"], 0, dev=True) as server:
            assert len(server.sockets) == 2
            assert {sock.local_address[1] for sock in server.sockets} == {server.port}
            assert server.dev is not None
            for host in ("127.0.0.1", "[::1]"):
                url = f"https://{host}:{server.port}/"
                async with cwt.connect(url, server_certificate_hashes=[server.dev.sha256]):
                    pass
