"""Datagrams of a session."""

from __future__ import annotations

import asyncio

import pytest

import cwt
from tests.aio.conftest import MakePair, Pair, until


class TestDatagrams:
    async def test_both_ways(self, pair: Pair) -> None:
        assert pair.client.datagrams.send(b"ping")
        assert await pair.server.datagrams.receive() == b"ping"
        assert pair.server.datagrams.send(bytearray(b"pong"))
        assert await pair.client.datagrams.receive() == b"pong"
        assert pair.client.stats()[:3] == (1, 1, 0)

    async def test_iteration_ends_with_the_session(self, pair: Pair) -> None:
        received = []

        async def receive() -> None:
            async for data in pair.server.datagrams:
                received.append(data)

        receiving = asyncio.create_task(receive())
        assert pair.client.datagrams.send_many([b"%d" % number for number in range(50)]) == 50
        await until(lambda: len(received) == 50)
        await pair.client.close()
        await receiving
        assert set(received) == {b"%d" % number for number in range(50)}

    async def test_many_at_once(self, pair: Pair) -> None:
        waiting = asyncio.create_task(pair.server.datagrams.receive_many())
        await asyncio.sleep(0)
        sent = [b"%d" % number for number in range(50)]
        assert pair.client.datagrams.send_many(iter(sent)) == 50
        received = await waiting
        while len(received) < 50:
            received += await pair.server.datagrams.receive_many(7)
        assert set(received) == set(sent)
        assert pair.client.stats().datagrams_sent == 50
        with pytest.raises(ValueError, match="at least 1"):
            await pair.server.datagrams.receive_many(0)
        await pair.client.close(5)
        with pytest.raises(cwt.SessionClosed):
            await pair.server.datagrams.receive_many()

    async def test_drain(self, pair: Pair) -> None:
        count = 0

        async def take() -> None:
            nonlocal count
            async for _ in pair.server.datagrams:
                count += 1

        taking = asyncio.create_task(take())
        await pair.client.datagrams.drain()  # nothing to wait for
        for _ in range(30):
            assert pair.client.datagrams.send_many([bytes(1000)] * 400) == 400
            await pair.client.datagrams.drain()
        stats = pair.client.stats()
        assert stats.datagrams_sent == 12_000
        assert stats.connection.datagrams_dropped_outgoing == 0
        await until(lambda: count + pair.client.stats().connection.datagrams_lost >= 12_000)
        await pair.client.close()
        await taking

    async def test_drain_ends_with_the_session(self, pair: Pair) -> None:
        datagrams = pair.client.datagrams
        datagrams.send_many([bytes(1000)] * 1024)
        draining = [asyncio.create_task(datagrams.drain()) for _ in range(3)]
        await asyncio.sleep(0)
        draining[0].cancel()
        await pair.client.close()
        with pytest.raises(asyncio.CancelledError):
            await draining[0]
        await asyncio.wait(draining)
        with pytest.raises(cwt.SessionClosed):
            await datagrams.drain()

    async def test_too_large(self, pair: Pair) -> None:
        datagrams = pair.client.datagrams
        assert datagrams.max_size >= 1000
        with pytest.raises(cwt.DatagramTooLarge) as caught:
            datagrams.send(bytes(datagrams.max_size + 1))
        assert caught.value.limit == datagrams.max_size
        with pytest.raises(cwt.DatagramTooLarge):
            datagrams.send_many([b"fits", bytes(100_000)])
        assert await pair.server.datagrams.receive() == b"fits"
        datagrams.send(bytes(datagrams.max_size))
        assert await pair.server.datagrams.receive() == bytes(datagrams.max_size)

    async def test_the_oldest_is_dropped(self, pair: Pair) -> None:
        incoming = pair.server.datagrams
        incoming.incoming_high_water_mark = 10
        pair.client.datagrams.send_many([b"%d" % number for number in range(30)])
        await until(lambda: pair.server.stats().datagrams_received == 30)
        assert pair.server.stats().datagrams_dropped == 20
        assert [await incoming.receive() for _ in range(10)] == [b"%d" % n for n in range(20, 30)]
        assert incoming.receive_nowait() is None
        with pytest.raises(ValueError, match="at least 1"):
            incoming.incoming_high_water_mark = 0

    async def test_a_lower_mark_drops_at_once(self, pair: Pair) -> None:
        pair.client.datagrams.send_many([b"%d" % number for number in range(9)])
        await until(lambda: pair.server.stats().datagrams_received == 9)
        pair.server.datagrams.incoming_high_water_mark = 2
        assert await pair.server.datagrams.receive() == b"7"

    async def test_the_queue_is_bounded(self, make_pair: MakePair) -> None:
        pair = await make_pair(config=cwt.Config(datagram_recv_queue=5))
        for _ in range(10):
            pair.client.datagrams.send_many([b"x"] * 10)
            await asyncio.sleep(0.01)
        await until(lambda: pair.server.stats().datagrams_dropped > 0)
        assert len(pair.server.datagrams) <= 5

    async def test_max_age(self, pair: Pair) -> None:
        incoming = pair.server.datagrams
        assert incoming.incoming_max_age is None
        incoming.incoming_max_age = 0.01
        pair.client.datagrams.send(b"old")
        await until(lambda: len(incoming) == 1)
        await asyncio.sleep(0.03)
        receiving = asyncio.create_task(incoming.receive())
        await asyncio.sleep(0)
        pair.client.datagrams.send(b"new")
        assert await receiving == b"new"
        assert pair.server.stats().datagrams_dropped == 1
        with pytest.raises(ValueError, match="above 0"):
            incoming.incoming_max_age = 0

    async def test_cancelled_receive_loses_nothing(self, pair: Pair) -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await pair.server.datagrams.receive()
        waiting = [asyncio.create_task(pair.server.datagrams.receive()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        pair.client.datagrams.send_many([b"a", b"b"])
        assert {await waiting[1], await waiting[2]} == {b"a", b"b"}

    async def test_after_the_end(self, pair: Pair) -> None:
        pair.client.datagrams.send(b"last")
        await until(lambda: len(pair.server.datagrams) == 1)
        await pair.client.close(5, "over")
        await pair.server.wait_closed()
        assert await pair.server.datagrams.receive() == b"last"
        with pytest.raises(cwt.SessionClosed) as caught:
            await pair.server.datagrams.receive()
        assert caught.value.code == 5
        with pytest.raises(cwt.SessionClosed):
            pair.server.datagrams.send(b"x")
        with pytest.raises(cwt.SessionClosed):
            pair.client.datagrams.receive_nowait()
        assert pair.client.datagrams.max_size == 0
