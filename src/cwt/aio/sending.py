"""The sending side of a stream (RFC 9000 Section 3.1)."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Generator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from cwt.errors import BufferFull, CwtError, StreamStopped
from cwt.webtransport.codes import from_http3

if TYPE_CHECKING:
    from typing import Self

    from cwt._types import Buffer
    from cwt.aio.order import SendGroup
    from cwt.aio.receiving import RecvState
    from cwt.aio.session import Session

__all__ = ["SendState", "SendStream", "Stream"]

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


def flat(data: Buffer) -> memoryview:
    """*data* as contiguous bytes, not copied; TypeError when it has none."""
    view = memoryview(data)
    return view if view.format == "B" and view.ndim == 1 and view.c_contiguous else view.cast("B")


class SendState:
    """What is known of a sending side until everything is acknowledged, or it is abandoned.

    ``rest`` is what QUIC has not taken yet of one write: there is no other buffer here, so QUIC's
    ``send_buffer`` bounds what a stream holds.
    """

    __slots__ = (
        "error",
        "fin_sent",
        "group",
        "incremental",
        "is_done",
        "is_open",
        "order",
        "rest",
        "session",
        "stream_id",
        "urgency",
        "waiters",
        "writes",
    )

    def __init__(self, session: Session, stream_id: int) -> None:
        self.session = session
        self.stream_id = stream_id
        self.rest: memoryview | None = None
        self.writes = 0
        """Counts the writes that left a rest: a writer knows by it whether the rest is its own."""
        self.is_open = True
        """Takes data: neither finish() nor reset() was called, nothing failed."""
        self.fin_sent = False
        self.is_done = False
        """Everything including FIN is acknowledged, or the stream was abandoned."""
        self.error: Exception | None = None
        self.urgency = 3
        self.incremental = True
        self.order: int | None = None
        self.group = session._send_group
        self.waiters: list[asyncio.Future[None]] = []

    def check_open(self) -> None:
        """Raise if data cannot be written."""
        if not self.is_open:
            self.check_error()
            raise RuntimeError(
                f"stream {self.stream_id} takes no more data after finish() or reset()"
            )

    def check_error(self) -> None:
        """Raise what ended the stream early."""
        if self.error is not None:
            raise copy.copy(self.error)

    def start(self, data: bytes | memoryview) -> bool:
        """Give *data* to QUIC, when there is no rest; False when there is one now."""
        connection = self.session._connection
        try:
            taken = connection.wt.stream_send(self.stream_id, data)
        except StreamStopped as error:
            self.fail(error)
            raise
        if taken == len(data):
            return True
        self.writes += 1
        self.rest = memoryview(data)[taken:]
        return False

    def keep_rest(self) -> None:
        """The writer no longer waits: the rest must outlive its buffer."""
        if self.rest is not None and type(self.rest.obj) is not bytes:
            self.rest = memoryview(bytes(self.rest))

    def finish(self) -> None:
        """Send FIN, now or behind the rest."""
        if self.is_open:
            self.is_open = False
            if self.rest is None:
                self._send_fin()

    def _send_fin(self) -> None:
        connection = self.session._connection
        try:
            connection.wt.stream_send(self.stream_id, b"", True)
        except StreamStopped as error:
            self.fail(error)
            raise
        self.fin_sent = True

    def on_writable(self) -> None:
        """QUIC takes data again, or has everything acknowledged, or the peer stopped the stream."""
        if self.is_done:
            return
        connection = self.session._connection
        try:
            if self.rest is not None:
                taken = connection.wt.stream_send(self.stream_id, self.rest)
                self.rest = self.rest[taken:] if taken < len(self.rest) else None
                if self.rest is None and not self.is_open:
                    self._send_fin()
            elif self.fin_sent:
                self._check_stopped()
            else:
                connection.wt.stream_send(self.stream_id, b"")
        except StreamStopped as error:
            self.fail(error)
            return
        if self.fin_sent and connection.quic.stream_acked(self.stream_id):
            self._forget()
        self._wake()

    def _check_stopped(self) -> None:
        """Raise :class:`StreamStopped` if the peer stopped the stream after its FIN was written."""
        try:
            self.session._connection.quic.stream_send(self.stream_id, b"")
        except StreamStopped as stopped:
            if stopped.code is not None:  # else QUIC has forgotten the stream: all is acknowledged
                raise StreamStopped(from_http3(stopped.code)) from None
        except ValueError:
            pass  # it is finished, which is what is known already

    def fail(self, error: Exception) -> None:
        """The stream takes nothing more."""
        if not self.is_done:
            self.error = error
            self.is_open = False
            self.rest = None
            self._forget()
            self._wake()

    def reset(self, code: int) -> None:
        """Abandon what is not acknowledged yet."""
        if not self.is_done:
            connection = self.session._connection
            self.is_open = False
            self.rest = None
            connection.wt.reset_stream(self.stream_id, code)
            self._forget()
            self._wake()

    def is_acked(self) -> bool:
        """Whether the peer has everything that was written."""
        if self.is_done:
            return True
        return self.rest is None and self.session._connection.quic.stream_acked(self.stream_id)

    def prioritize(self, urgency: int, incremental: bool) -> None:
        """How the stream competes with the others of the connection (RFC 9218)."""
        self.urgency = urgency
        self.incremental = incremental
        if not self.is_done:
            self.session._connection.quic.stream_priority(self.stream_id, urgency, incremental)

    def arrange(self, order: int | None, group: SendGroup) -> None:
        """Set the send order, and the group in which it counts."""
        self.group._remove(self)
        self.order = order
        self.group = group
        if order is None:
            self.prioritize(3, True)
        elif not self.is_done:
            group._put(self, order)

    async def changed(self) -> None:
        """Wait for the next news."""
        waiter = self.session._connection.loop.create_future()
        self.waiters.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self.waiters:
                self.waiters.remove(waiter)

    def _forget(self) -> None:
        self.is_done = True
        self.session._connection.senders.pop(self.stream_id, None)
        if self.order is not None:
            self.group._remove(self)

    def _wake(self) -> None:
        if self.waiters:
            waiters, self.waiters = self.waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


class Stream:
    """What streams have in common; the state of each direction is apart, for halves share it."""

    __slots__ = ("__weakref__", "_rx", "_session", "_stream_id", "_tx")

    _rx: RecvState
    _session: Session
    _stream_id: int
    _tx: SendState

    @property
    def stream_id(self) -> int:
        """The QUIC stream ID (RFC 9000 Section 2.1)."""
        return self._stream_id

    @property
    def session(self) -> Session:
        """The session that the stream belongs to."""
        return self._session

    def __repr__(self) -> str:
        return f"<cwt.{type(self).__name__} {self._stream_id}>"


class SendStream(Stream):
    """A stream, or a stream's half, to write to.

    As a context manager: FIN on a clean exit, RESET_STREAM on an exception.
    """

    __slots__ = ()

    def __init__(self, state: SendState) -> None:
        self._session = state.session
        self._stream_id = state.stream_id
        self._tx = state

    async def write(self, data: Buffer) -> None:
        """Write all of *data*; waits while the peer or the network is slower than the writer.

        Returns once QUIC holds the data, which it does for ``Config.send_buffer`` bytes a stream.  Raises
        :class:`StreamStopped` when the peer wants no more, :class:`SessionClosed` or
        :class:`ConnectionClosed` when that ended.  A cancelled write never tears *data*: it is sent as a
        whole if its turn had come, else not at all.
        """
        view = data if type(data) is bytes else flat(data)
        tx = self._tx
        while tx.rest is not None:
            await tx.changed()
        if not tx.is_open:
            tx.check_open()
        if tx.start(view):
            return
        mine = tx.writes
        try:
            while tx.rest is not None and tx.writes == mine:
                await tx.changed()
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
        view = data if type(data) is bytes else flat(data)
        tx = self._tx
        if tx.rest is not None:
            raise BufferFull(
                f"stream {self._stream_id} still holds an earlier write; await drain(), or write()"
            )
        tx.check_open()
        if not tx.start(view):
            tx.keep_rest()

    async def drain(self) -> None:
        """Wait until :meth:`write_nowait` takes data again; raises as :meth:`write`."""
        tx = self._tx
        while tx.rest is not None:
            await tx.changed()
        tx.check_error()

    async def flush(self) -> None:
        """Wait until the peer has acknowledged everything written, and FIN if given; raises as
        :meth:`write`."""
        tx = self._tx
        while not tx.is_acked():
            await tx.changed()
        tx.check_error()

    async def finish(self) -> None:
        """End the stream with FIN after what was written; a second call does nothing.

        Does not wait for acknowledgements: :meth:`flush` does.  Raises as :meth:`write`.
        """
        tx = self._tx
        tx.check_error()
        tx.finish()
        while tx.rest is not None:
            await tx.changed()
        tx.check_error()

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
            await tx.changed()
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
