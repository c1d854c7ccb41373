"""The queue with an end."""

from __future__ import annotations

import asyncio

import pytest

import cwt
from cwt.aio.incoming import Incoming


@pytest.fixture
async def queue() -> Incoming[int]:
    return Incoming(asyncio.get_running_loop())


async def test_order(queue: Incoming[int]) -> None:
    queue._put(1)
    queue._put(2)
    assert len(queue) == 2
    assert [await queue._get(), await queue._get()] == [1, 2]


async def test_waiters_take_turns(queue: Incoming[int]) -> None:
    waiting = [asyncio.create_task(queue._get()) for _ in range(3)]
    await asyncio.sleep(0)
    for number in range(3):
        queue._put(number)
    assert [await task for task in waiting] == [0, 1, 2]


async def test_an_unused_wake_up_goes_on(queue: Incoming[int]) -> None:
    first, second = asyncio.create_task(queue._get()), asyncio.create_task(queue._get())
    await asyncio.sleep(0)
    queue._put(1)  # wakes the first, which is cancelled before it runs
    first.cancel()
    assert await second == 1
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_a_cancelled_waiter_leaves(queue: Incoming[int]) -> None:
    task = asyncio.create_task(queue._get())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not queue._waiters


@pytest.mark.parametrize("clean", [True, False])
async def test_end(queue: Incoming[int], clean: bool) -> None:
    async def collect() -> list[int]:
        return [item async for item in queue]

    queue._put(1)
    collecting = asyncio.create_task(collect())
    await asyncio.sleep(0)
    queue._put(2)
    queue._close(cwt.SessionClosed(3), clean)
    queue._close(cwt.IdleTimeout("a second end counts for nothing"), not clean)
    if clean:
        assert await collecting == [1, 2]
    else:
        with pytest.raises(cwt.SessionClosed):
            await collecting
    with pytest.raises(cwt.SessionClosed) as first:
        await queue._get()
    with pytest.raises(cwt.SessionClosed) as second:
        await queue._get()
    assert first.value is not second.value  # tracebacks do not pile up


async def test_discard(queue: Incoming[int]) -> None:
    queue._put(1)
    queue._close(cwt.SessionClosed(), clean=True, discard=True)
    assert [item async for item in queue] == []
