"""Sessions: what they know, how they end, what is left of them."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest

import cwt
from tests.aio.conftest import MakePair, Pair, Start, until

both = pytest.mark.parametrize("closer", ["client", "server"])


def sides(pair: Pair, closer: str) -> tuple[cwt.Session, cwt.Session]:
    """(who closes, the other)"""
    return (pair.client, pair.server) if closer == "client" else (pair.server, pair.client)


class TestProperties:
    async def test_what_is_known(self, make_pair: MakePair) -> None:
        pair = await make_pair(
            {"protocols": ["b", "a"], "headers": {"X-Token": "1"}}, protocols=["a", "b"]
        )
        client, server = pair.client, pair.server
        assert client.protocol == server.protocol == "a"
        assert client.url == server.url == pair.loopback.url("/")
        assert client.path == server.path == "/"
        assert server.headers["x-token"] == "1"
        assert server.headers["X-TOKEN"] == "1"
        assert client.remote_address == ("127.0.0.1", pair.loopback.server.port)
        assert client.peer_certificates == [*pair.loopback.server.dev.chain]  # type: ignore[union-attr]
        assert server.peer_certificates == []
        assert not client.is_closed
        assert not client.draining
        assert repr(client) == f"<cwt.Session {client.url} open>"

    async def test_keying_material(self, pair: Pair) -> None:
        ours = pair.client.export_keying_material(b"label", b"context", 32)
        assert len(ours) == 32
        assert ours == pair.server.export_keying_material(b"label", b"context", 32)

    @both
    async def test_drain(self, pair: Pair, closer: str) -> None:
        ours, theirs = sides(pair, closer)
        await ours.drain()
        await theirs.wait_draining()
        assert theirs.draining
        assert not ours.draining
        stream = await theirs.open_bi()
        await stream.write(b"still usable")
        await stream.finish()
        assert await (await ours.accept_bi()).read() == b"still usable"


class TestClose:
    @both
    @pytest.mark.parametrize(("code", "reason"), [(0, ""), (7, "bye"), (0xFFFFFFFF, "ü" * 512)])
    async def test_code_and_reason(self, pair: Pair, closer: str, code: int, reason: str) -> None:
        ours, theirs = sides(pair, closer)
        await ours.close(code, reason)
        assert await theirs.wait_closed() == (code, reason, True, None)
        assert await ours.wait_closed() == (code, reason, False, None)
        assert ours.is_closed
        assert theirs.is_closed
        with pytest.raises(cwt.SessionClosed) as caught:
            await theirs.open_bi()
        assert (caught.value.code, caught.value.reason, caught.value.remote) == (code, reason, True)
        with pytest.raises(cwt.SessionClosed) as caught:
            await ours.open_uni()
        assert not caught.value.remote
        await ours.close(9)  # again: nothing

    async def test_what_it_takes(self, pair: Pair) -> None:
        with pytest.raises(ValueError, match="1024 bytes"):
            await pair.client.close(0, "x" * 1025)
        with pytest.raises(ValueError, match="error code"):
            await pair.client.close(1 << 32)
        assert not pair.client.is_closed

    @both
    async def test_whoever_waits_learns_it(self, pair: Pair, closer: str) -> None:
        ours, theirs = sides(pair, closer)
        stream = await theirs.open_bi()
        full = await theirs.open_bi()
        waiting = [
            asyncio.create_task(theirs.accept_bi()),
            asyncio.create_task(theirs.accept_uni()),
            asyncio.create_task(theirs.datagrams.receive()),
            asyncio.create_task(stream.read()),
            asyncio.create_task(full.write(bytes(8 << 20))),
        ]
        await until(lambda: full._tx.rest is not None)
        await ours.close(3, "now")
        for task in waiting:
            with pytest.raises(cwt.SessionClosed) as caught:
                await task
            assert caught.value.code == 3

    @both
    @pytest.mark.parametrize("code", [0, 4])
    async def test_iteration(self, pair: Pair, closer: str, code: int) -> None:
        ours, theirs = sides(pair, closer)

        async def iterate(session: cwt.Session) -> None:
            async for _ in session.incoming_uni:
                pass

        own, other = asyncio.create_task(iterate(ours)), asyncio.create_task(iterate(theirs))
        await asyncio.sleep(0.01)
        await ours.close(code)
        await own
        if code:
            with pytest.raises(cwt.SessionClosed):
                await other
        else:
            await other

    @both
    async def test_what_was_finished_is_delivered(self, pair: Pair, closer: str) -> None:
        ours, theirs = sides(pair, closer)

        async def receive() -> list[bytes]:
            return [await stream.read() async for stream in theirs.incoming_uni]

        receiving = asyncio.create_task(receive())
        for _ in range(5):
            async with await ours.open_uni() as stream:
                await stream.write(b"x" * 30_000)
        await ours.close()
        assert await receiving == [b"x" * 30_000] * 5

    async def test_cancelled_close_still_closes(self, pair: Pair) -> None:
        stream = await pair.client.open_uni()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.write(bytes(8 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.finish()
        closing = asyncio.create_task(pair.client.close())
        await asyncio.sleep(0.01)
        assert not pair.client.is_closed
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        assert (await pair.server.wait_closed()).code == 0

    async def test_close_timeout(self, make_pair: MakePair) -> None:
        pair = await make_pair({"close_timeout": 0.05})
        stream = await pair.client.open_uni()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.write(bytes(8 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.finish()  # the peer does not read: FIN does not get there
        await pair.client.close()
        assert (await pair.server.wait_closed()).code == 0

    async def test_context_manager(self, start: Start) -> None:
        infos: asyncio.Queue[cwt.CloseInfo] = asyncio.Queue()

        async def handler(session: cwt.Session) -> None:
            infos.put_nowait(await session.wait_closed())

        loopback = await start(handler)
        async with await loopback.connect():
            pass
        assert (await infos.get()).code == 0
        with pytest.raises(ZeroDivisionError):
            async with loopback.connect():
                raise ZeroDivisionError
        assert (await infos.get()).code == 1


class TestLostConnection:
    async def test_everything_raises(self, pair: Pair) -> None:
        stream = await pair.server.open_bi()
        reading = asyncio.create_task(stream.read())
        accepting = asyncio.create_task(pair.server.accept_bi())
        await asyncio.sleep(0)
        pair.client._connection.quic.close(0x10C, "gone", True)
        pair.client._connection.endpoint.wake()
        info = await pair.server.wait_closed()
        assert info.code is None
        assert isinstance(info.error, cwt.ApplicationError)
        for task in (reading, accepting):
            with pytest.raises(cwt.ApplicationError) as caught:
                await task
            assert caught.value.code == 0x10C
        with pytest.raises(cwt.ConnectionClosed):
            async for _ in pair.server.datagrams:
                pass
        await pair.server.close()  # nothing left to do, and nothing to wait for

    async def test_a_bug_ends_one_connection(
        self, pair: Pair, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loopback = pair.loopback

        def broken(connection: object) -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(type(pair.server._connection), "process", broken)
        pair.client.datagrams.send(b"x")
        info = await pair.client.wait_closed()
        assert isinstance(info.error, cwt.TransportError)
        assert info.error.code == cwt.TransportErrorCode.INTERNAL_ERROR
        assert info.error.remote
        assert isinstance((await pair.server.wait_closed()).error, cwt.TransportError)
        assert "internal error" in caplog.text
        assert loopback.server.is_serving


class TestNoLeaks:
    async def test_streams_are_forgotten(self, pair: Pair) -> None:
        references = []
        for _ in range(10):
            stream = await pair.client.open_bi()
            await stream.write(b"x")
            await stream.finish()
            other = await pair.server.accept_bi()
            assert await other.read() == b"x"
            await other.finish()
            assert await stream.read() == b""
            references += [weakref.ref(stream), weakref.ref(other)]
        del stream, other
        client, server = pair.client._connection, pair.server._connection
        await until(lambda: not client.senders and not server.senders)
        assert not client.receivers
        assert not server.receivers
        gc.collect()
        assert [reference() for reference in references] == [None] * 20

    async def test_sessions_are_forgotten(self, start: Start) -> None:
        references: list[weakref.ref[object]] = []

        async def handler(session: cwt.Session) -> None:
            references.append(weakref.ref(session))
            references.append(weakref.ref(session._connection))
            stream = await session.open_uni()
            await stream.write(b"x")
            await session.wait_closed()

        loopback = await start(handler)
        for _ in range(3):
            async with loopback.connect() as session:
                references.append(weakref.ref(session))
                references.append(weakref.ref(session._connection.endpoint))
                assert await (await session.accept_uni()).readexactly(1) == b"x"
            del session
        await until(lambda: loopback.server.stats().connections == 0)

        def all_gone() -> bool:
            gc.collect()
            return all(reference() is None for reference in references)

        await until(all_gone)
        assert len(references) == 12
