"""Which stream goes first."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import cwt
from cwt.aio.order import SendGroup
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


class FakeState:
    def __init__(self, order: int) -> None:
        self.order = order
        self.urgency = 3
        self.incremental = True
        self.changes = 0

    def prioritize(self, urgency: int, incremental: bool) -> None:
        self.urgency, self.incremental = urgency, incremental
        self.changes += 1


def test_ranks_of_streams_that_come_and_go() -> None:
    rng = random.Random(1)
    group = SendGroup()
    states: list[Any] = []
    for _ in range(2000):
        if states and rng.random() < 0.4:
            group._remove(states.pop(rng.randrange(len(states))))
        elif len(states) < 30:
            states.append(FakeState(rng.randrange(15)))
            group._put(states[-1], states[-1].order)
        orders = sorted({state.order for state in states}, reverse=True)
        for state in states:
            assert state.urgency == min(2 + orders.index(state.order), 7)
            assert not state.incremental


def test_a_new_first_one_changes_few_others() -> None:
    group = SendGroup()
    states: list[Any] = [FakeState(order) for order in range(100)]
    for state in states:
        group._put(state, state.order)
    assert [state.changes for state in states[:90]] == [6] * 90
