"""Which stream goes first."""

from __future__ import annotations

import asyncio

import cwt
from tests.aio.conftest import Pair, until


async def test_ranks(pair: Pair) -> None:
    streams = [await pair.client.open_uni(send_order=order) for order in (5, -1, 5, 10)]
    assert [stream.priority for stream in streams] == [3, 4, 3, 2]
    assert [stream.send_order for stream in streams] == [5, -1, 5, 10]
    streams[3].send_order = -2
    assert [stream.priority for stream in streams] == [2, 3, 2, 4]
    streams[0].send_order = None
    assert [stream.priority for stream in streams] == [3, 3, 2, 4]
    streams[2].reset()
    assert [stream.priority for stream in streams[1::2]] == [2, 3]
    many = [await pair.client.open_uni(send_order=-10 - number) for number in range(10)]
    assert [stream.priority for stream in many] == [4, 5, 6, 7, 7, 7, 7, 7, 7, 7]


async def test_groups(pair: Pair) -> None:
    session = pair.client
    audio, video = session.send_group(), session.send_group()
    first = await session.open_uni(send_order=1, send_group=audio)
    second = await session.open_uni(send_order=2, send_group=video)
    third = await session.open_bi(send_order=3, send_group=video)
    assert [stream.priority for stream in (first, second, third)] == [2, 3, 2]
    third.send_group = audio
    assert [stream.priority for stream in (first, second, third)] == [3, 2, 2]
    assert third.send_group is audio
    assert repr(video) == "<cwt.SendGroup of 1 streams>"


async def test_the_first_goes_first(pair: Pair) -> None:
    low = await pair.client.open_uni(send_order=0)
    high = await pair.client.open_uni(send_order=1)
    size = 200_000
    await low.write(bytes(size))
    await high.write(bytes(size))
    received: dict[int, int] = {}
    at_the_end: list[int] = []

    async def read(stream: cwt.RecvStream) -> None:
        async for data in stream:
            received[stream.stream_id] = received.get(stream.stream_id, 0) + len(data)
            if received[stream.stream_id] == size:
                at_the_end.append(stream.stream_id)

    reading = [asyncio.create_task(read(await pair.server.accept_uni())) for _ in range(2)]
    await until(lambda: len(at_the_end) == 2)
    assert at_the_end == [high.stream_id, low.stream_id]
    for task in reading:
        task.cancel()
