"""The sending side of a stream (RFC 9000 Section 3.1)."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cwt.aio.states import SendState, Stream
from cwt.errors import BufferFull, CwtError

if TYPE_CHECKING:
    from typing import Self

    from cwt._types import Buffer
    from cwt.aio.order import SendGroup

__all__ = ["DONE", "SendStream", "changed", "check_code"]

MAX_CODE = (1 << 32) - 1


class _Done:
    """What calls that act at once return, so that awaiting them is no mistake."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


DONE = _Done()


def check_code(code: int) -> int:
    """*code*, if it is an application error code of WebTransport; ValueError otherwise."""
    if not 0 <= code <= MAX_CODE:
        raise ValueError(f"an application error code is from 0 to {MAX_CODE}, not {code!r}")
    return code


async def changed(tx: SendState) -> None:
    """Wait for the next news of a sending side."""
    waiter = tx.add_waiter()
    try:
        await waiter
    finally:
        tx.remove_waiter(waiter)


class SendStream(Stream):
    """A stream, or a stream's half, to write to.

    As a context manager: FIN on a clean exit, RESET_STREAM on an exception.
    """

    __slots__ = ()

    async def write(self, data: Buffer) -> None:
        """Write all of *data*; waits while the peer or the network is slower than the writer.

        Returns once QUIC holds the data, which it does for ``Config.send_buffer`` bytes a stream.  Raises
        :class:`StreamStopped` when the peer wants no more, :class:`SessionClosed` or
        :class:`ConnectionClosed` when that ended.  A cancelled write never tears *data*: it is sent as a
        whole if its turn had come, else not at all.
        """
        tx = self._tx
        while tx.rest is not None:
            await changed(tx)
        if tx.start(data):
            return
        mine = tx.writes
        try:
            while tx.rest is not None and tx.writes == mine:
                await changed(tx)
        except BaseException:
            if tx.writes == mine:
                tx.keep_rest()
            raise
        tx.check_error()

    def write_nowait(self, data: Buffer) -> None:
        """Write all of *data* without waiting.

        Raises :class:`BufferFull`, and writes nothing, while an earlier write is not yet in QUIC's buffer;
        else as :meth:`write`.
        """
        tx = self._tx
        if tx.rest is not None:
            raise BufferFull(
                f"stream {tx.stream_id} still holds an earlier write; await drain(), or write()"
            )
        if not tx.start(data):
            tx.keep_rest()

    async def drain(self) -> None:
        """Wait until :meth:`write_nowait` takes data again; raises as :meth:`write`."""
        tx = self._tx
        while tx.rest is not None:
            await changed(tx)
        tx.check_error()

    async def flush(self) -> None:
        """Wait until the peer has acknowledged everything written, and FIN if given; raises as
        :meth:`write`."""
        tx = self._tx
        while not tx.is_acked():
            await changed(tx)
        tx.check_error()

    async def finish(self) -> None:
        """End the stream with FIN after what was written; a second call does nothing.

        Does not wait for acknowledgements: :meth:`flush` does.  Raises as :meth:`write`.
        """
        tx = self._tx
        tx.check_error()
        tx.finish()
        if tx.rest is not None:
            await self.drain()

    def reset(self, code: int = 0) -> Awaitable[None]:
        """Abandon the stream at once with RESET_STREAM; the peer gets :class:`StreamReset` with *code*.

        What the peer has not received is lost.  Nothing happens when the stream has ended.
        """
        self._tx.reset(check_code(code))
        return DONE

    async def wait_closed(self) -> None:
        """Wait until the peer has everything including FIN, or :meth:`reset` was called; raises as
        :meth:`write`."""
        tx = self._tx
        while not tx.is_done:
            await changed(tx)
        tx.check_error()

    @property
    def priority(self) -> int:
        """Urgency from 0, sent first, to 7 (RFC 9218 Section 4.1); 3 unless set, and what follows from
        :attr:`send_order` once that is."""
        return self._tx.urgency

    @priority.setter
    def priority(self, urgency: int) -> None:
        if not 0 <= urgency <= 7:
            raise ValueError(f"priority is from 0 (first) to 7 (last), not {urgency!r}")
        self._tx.prioritize(urgency, self._tx.incremental)

    @property
    def send_order(self) -> int | None:
        """Streams of a :attr:`send_group` with a higher number go first; None for no order: such a stream
        shares evenly with its like."""
        return self._tx.order

    @send_order.setter
    def send_order(self, order: int | None) -> None:
        self._tx.arrange(order, self._tx.group)

    @property
    def send_group(self) -> SendGroup:
        """The streams that :attr:`send_order` is compared with: all of the session unless set."""
        return self._tx.group

    @send_group.setter
    def send_group(self, group: SendGroup) -> None:
        self._tx.arrange(self._tx.order, group)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._leave_sending(kind is None)

    async def _leave_sending(self, clean: bool) -> None:
        if not clean:
            self._tx.reset(0)
        elif self._tx.is_open:
            try:
                await self.finish()
            except (CwtError, RuntimeError):
                pass  # The next write would have said so; there is none.
