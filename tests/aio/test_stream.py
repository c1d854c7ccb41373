"""Streams from end to end: data, its end, codes, backpressure, cancellation."""

from __future__ import annotations

import asyncio
from array import array

import pytest

import cwt
from tests.aio.conftest import MakePair, Pair, Start, echo, until


def sides(pair: Pair, opener: str) -> tuple[cwt.Session, cwt.Session]:
    """(who opens, who accepts)"""
    return (pair.client, pair.server) if opener == "client" else (pair.server, pair.client)


both = pytest.mark.parametrize("opener", ["client", "server"])


async def bi(pair: Pair, opener: str = "client") -> tuple[cwt.BiStream, cwt.BiStream]:
    ours, theirs = sides(pair, opener)
    stream = await ours.open_bi()
    await stream.write(b".")
    other = await theirs.accept_bi()
    assert await other.readexactly(1) == b"."
    return stream, other


class TestData:
    @both
    async def test_bidirectional(self, pair: Pair, opener: str) -> None:
        ours, theirs = sides(pair, opener)
        stream = await ours.open_bi()
        await stream.write(b"hello")
        await stream.finish()
        other = await theirs.accept_bi()
        assert other.stream_id == stream.stream_id
        assert await other.read() == b"hello"
        assert other.at_eof()
        await other.write(b"world")
        await other.finish()
        assert await stream.read() == b"world"
        assert await stream.read() == b""
        assert await stream.read(5) == b""

    @both
    async def test_unidirectional(self, pair: Pair, opener: str) -> None:
        ours, theirs = sides(pair, opener)
        stream = await ours.open_uni()
        assert not isinstance(stream, cwt.RecvStream)
        async with stream:
            await stream.write(b"one way")
        other = await theirs.accept_uni()
        assert not isinstance(other, cwt.SendStream)
        assert await other.read() == b"one way"

    async def test_halves(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        send, recv = stream
        assert type(send) is cwt.SendStream
        assert type(recv) is cwt.RecvStream
        async with send:
            await send.write(b"x")
        assert await other.read() == b"x"
        await other.write(b"y")
        await other.finish()
        assert await recv.read() == b"y"

    @pytest.mark.parametrize(
        "data", [bytearray(b"abcdefgh"), memoryview(b"abcdefgh"), array("I", b"abcdefgh")]
    )
    async def test_whatever_holds_bytes(self, pair: Pair, data: bytes) -> None:
        stream, other = await bi(pair)
        await stream.write(data)
        await stream.finish()
        assert await other.read() == b"abcdefgh"

    async def test_what_holds_no_bytes(self, pair: Pair) -> None:
        stream, _ = await bi(pair)
        with pytest.raises(TypeError):
            await stream.write("text")  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            await stream.write(memoryview(b"abcd")[::2])

    async def test_nothing(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"")
        await stream.finish()
        assert await other.read() == b""

    async def test_many_megabytes(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        data = bytes(range(256)) * 4096 * 16
        writing = asyncio.create_task(stream.write(data))
        received = bytearray()
        while len(received) < len(data):
            received += await other.read(100_000)
        await writing
        assert received == data

    async def test_writers_take_turns(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        pieces = [bytes([65 + number]) * 700_000 for number in range(5)]
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(stream.write(piece)) for piece in pieces]
            for _ in pieces:
                piece = await other.readexactly(700_000)
                assert len(set(piece)) == 1
        assert all(task.done() for task in tasks)


class TestReading:
    async def test_read_gives_what_is_there(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"abc")
        assert await other.read(2) == b"ab"
        assert await other.read(2) == b"c"
        assert await other.read(0) == b""

    async def test_readexactly(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        reading = asyncio.create_task(other.readexactly(6))
        for piece in (b"ab", b"cd", b"efgh"):
            await stream.write(piece)
            await asyncio.sleep(0.01)
        assert await reading == b"abcdef"
        await stream.finish()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await other.readexactly(6)
        assert caught.value.partial == b"gh"
        assert caught.value.expected == 6
        assert other.at_eof()

    async def test_readuntil(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"one\r")
        reading = asyncio.create_task(other.readuntil(b"\r\n"))
        await asyncio.sleep(0.01)
        await stream.write(b"\ntwo\r\nrest")
        assert await reading == b"one\r\n"
        assert await other.readuntil(b"\r\n") == b"two\r\n"
        await stream.finish()
        with pytest.raises(asyncio.IncompleteReadError) as caught:
            await other.readuntil(b"\r\n")
        assert caught.value.partial == b"rest"

    async def test_readuntil_has_a_limit(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"x" * 100 + b"\n")
        with pytest.raises(asyncio.LimitOverrunError):
            await other.readuntil(limit=50)
        assert await other.readuntil() == b"x" * 100 + b"\n"

    async def test_readinto(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"abc")
        buffer = bytearray(5)
        assert await other.readinto(buffer) == 3
        assert buffer == b"abc\0\0"
        await stream.write(b"line\nmore")
        await stream.finish()
        assert await other.readuntil() == b"line\n"
        assert await other.readinto(memoryview(buffer)[1:]) == 4
        assert buffer == b"amore"
        assert await other.readinto(buffer) == 0

    async def test_iteration(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        writing = asyncio.create_task(stream.write(b"x" * 300_000))
        writing.add_done_callback(lambda _: asyncio.ensure_future(stream.finish()))
        total = 0
        async for chunk in other:
            total += len(chunk)
        assert total == 300_000

    async def test_one_reader_at_a_time(self, pair: Pair) -> None:
        _, other = await bi(pair)
        reading = asyncio.create_task(other.read(1))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="already reading"):
            await other.read(1)
        reading.cancel()


class TestCodes:
    @both
    @pytest.mark.parametrize("code", [0, 7, 0xFFFFFFFF])
    async def test_reset(self, pair: Pair, opener: str, code: int) -> None:
        stream, other = await bi(pair, opener)
        reading = asyncio.create_task(other.read())
        await asyncio.sleep(0)
        stream.reset(code)
        with pytest.raises(cwt.StreamReset) as caught:
            await reading
        assert caught.value.code == code
        with pytest.raises(cwt.StreamReset):
            await other.read()
        with pytest.raises(RuntimeError):
            await stream.write(b"x")

    @both
    @pytest.mark.parametrize("code", [0, 7, 0xFFFFFFFF])
    async def test_stop(self, pair: Pair, opener: str, code: int) -> None:
        stream, other = await bi(pair, opener)
        waiting = asyncio.create_task(stream.wait_closed())
        await asyncio.sleep(0)
        other.stop(code)
        assert await other.read() == b""
        with pytest.raises(cwt.StreamStopped) as caught:
            await waiting
        assert caught.value.code == code
        with pytest.raises(cwt.StreamStopped) as caught:
            await stream.write(b"x")
        assert caught.value.code == code

    async def test_stop_wakes_a_writer(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        writing = asyncio.create_task(stream.write(bytes(8 << 20)))
        await until(lambda: stream._tx.rest is not None)
        await other.stop(3)
        with pytest.raises(cwt.StreamStopped) as caught:
            await writing
        assert caught.value.code == 3

    async def test_stop_after_finish(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        config = pair.client._connection.config
        await stream.write(bytes(config.initial_max_stream_data + 50_000))  # some cannot be sent
        await stream.finish()
        waiting = asyncio.create_task(stream.flush())
        await asyncio.sleep(0.05)
        assert not waiting.done()
        other.stop(9)
        with pytest.raises(cwt.StreamStopped) as caught:
            await waiting
        assert caught.value.code == 9
        with pytest.raises(cwt.StreamStopped):
            await stream.wait_closed()

    @pytest.mark.parametrize("code", [-1, 1 << 32])
    async def test_codes_have_32_bits(self, pair: Pair, code: int) -> None:
        stream, _ = await bi(pair)
        with pytest.raises(ValueError, match="from 0 to 4294967295"):
            stream.reset(code)
        with pytest.raises(ValueError, match="from 0 to 4294967295"):
            stream.stop(code)

    async def test_reset_after_the_end_does_nothing(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.finish()
        assert await other.read() == b""
        await stream.wait_closed()
        await stream.reset(1)
        await other.stop(1)


class TestContextManager:
    async def test_clean_exit(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        async with stream:
            await stream.write(b"all")
        assert await other.read() == b"all"
        with pytest.raises(cwt.StreamStopped):
            await other.wait_closed()

    async def test_exception(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        with pytest.raises(ZeroDivisionError):
            async with stream:
                raise ZeroDivisionError
        with pytest.raises(cwt.StreamReset):
            await other.read()
        with pytest.raises(cwt.StreamStopped):
            await other.wait_closed()

    async def test_half(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        _, recv = stream
        async with recv:
            pass
        with pytest.raises(cwt.StreamStopped):
            await other.wait_closed()
        await stream.write(b"still open")
        await stream.finish()
        assert await other.read() == b"still open"


class TestBackpressure:
    async def test_a_peer_that_does_not_read(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        written = 0

        async def write() -> None:
            nonlocal written
            for _ in range(1024):
                await stream.write(bytes(65536))
                written += 65536

        writing = asyncio.create_task(write())
        await until(lambda: stream._tx.rest is not None)
        for _ in range(20):
            await asyncio.sleep(0.01)
        config = pair.client._connection.config
        assert written <= config.initial_max_stream_data + config.send_buffer
        received = 0
        while received < 64 << 20:
            received += len(await other.read(1 << 20))
        await writing

    async def test_write_nowait(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        written = 0
        data = bytearray(65536)
        with pytest.raises(cwt.BufferFull):
            for _ in range(1000):
                stream.write_nowait(data)
                written += 65536
        data[:] = b"x" * 65536  # what was taken must not change with it
        draining = asyncio.create_task(stream.drain())
        assert await other.readexactly(written) == bytes(written)
        await draining
        stream.write_nowait(b"end")
        assert await other.readexactly(3) == b"end"

    async def test_flush(self, pair: Pair) -> None:
        stream, _ = await bi(pair)
        await stream.write(bytes(100_000))
        assert not stream._tx.is_acked()
        await stream.flush()
        assert stream._tx.is_acked()
        await stream.finish()
        await stream.flush()
        await stream.wait_closed()
        assert stream.stream_id not in pair.client._connection.senders

    async def test_nothing_after_finish(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.finish()
        await stream.finish()
        with pytest.raises(RuntimeError, match="finish"):
            await stream.write(b"x")
        with pytest.raises(RuntimeError, match="finish"):
            stream.write_nowait(b"x")
        assert await other.read() == b""


class TestCancellation:
    async def test_reads_lose_nothing(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        await stream.write(b"abc")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await other.readexactly(6)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await other.readuntil(b"\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await other.read()
        await stream.write(b"def")
        await stream.finish()
        assert await other.read() == b"abcdef"

    async def test_read_cancelled_as_data_comes(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        for number in range(50):
            reading = asyncio.create_task(other.read(1))
            await asyncio.sleep(0)
            await stream.write(bytes([number]))
            await until(lambda: other._rx.waiter is None or other._rx.waiter.done())
            reading.cancel()
            try:
                data = await reading
            except asyncio.CancelledError:
                data = await other.read(1)
            assert data == bytes([number])

    async def test_a_write_is_never_torn(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        data = bytearray(b"a" * (4 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.write(data)
        data[:] = b"?" * len(data)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.write(b"b" * 1000)  # its turn does not come
        assert await other.readexactly(len(data)) == b"a" * len(data)
        await stream.write(b"c")
        assert await other.readexactly(1) == b"c"

    async def test_finish_goes_on(self, pair: Pair) -> None:
        stream, other = await bi(pair)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.write(bytes(4 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.finish()
        assert await other.read() == bytes(4 << 20)

    @pytest.mark.parametrize("verb", ["drain", "flush", "wait_closed"])
    async def test_waiting_leaves_nothing_behind(self, pair: Pair, verb: str) -> None:
        stream, other = await bi(pair)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await stream.write(bytes(4 << 20))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await getattr(stream, verb)()
        assert not stream._tx.waiters
        assert len(await other.readexactly(4 << 20)) == 4 << 20

    async def test_open_waits_for_the_peer(self, make_pair: MakePair) -> None:
        config = cwt.Config(initial_max_streams_bidi=4)
        pair = await make_pair(config=config)
        streams = []
        with pytest.raises(cwt.StreamLimitError):
            for _ in range(100):
                streams.append(await pair.client.open_bi(wait=False))
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await pair.client.open_bi()
        waiting = asyncio.create_task(pair.client.open_bi())
        await asyncio.sleep(0.01)
        assert not waiting.done()
        async with streams[0]:
            await streams[0].write(b"x")
        async with await pair.server.accept_bi() as other:
            assert await other.read() == b"x"
        stream = await waiting
        await stream.write(b"y")
        while True:
            other = await pair.server.accept_bi()
            if other.stream_id == stream.stream_id:
                assert await other.readexactly(1) == b"y"
                break

    @both
    async def test_accept(self, pair: Pair, opener: str) -> None:
        ours, theirs = sides(pair, opener)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01):
                    await theirs.accept_bi()
        stream = await ours.open_bi()
        await stream.write(b"x")
        assert (await theirs.accept_bi()).stream_id == stream.stream_id


class TestScale:
    async def test_a_thousand_streams_at_once(self, start: Start) -> None:
        loopback = await start(echo)
        async with loopback.connect() as session:

            async def one(number: int) -> None:
                async with await session.open_bi() as stream:
                    await stream.write(b"%d" % number)
                    await stream.finish()
                    assert await stream.read() == b"%d" % number

            async with asyncio.TaskGroup() as group:
                for number in range(1000):
                    group.create_task(one(number))
            connection = session._connection
            await until(lambda: not connection.senders)
            assert not connection.receivers
            assert not connection.wants_streams

    async def test_priority(self, pair: Pair) -> None:
        stream = await pair.client.open_uni()
        assert stream.priority == 3
        stream.priority = 0
        assert stream.priority == 0
        with pytest.raises(ValueError, match="priority"):
            stream.priority = 8
        await stream.finish()
        assert await (await pair.server.accept_uni()).read() == b""
