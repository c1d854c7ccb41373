"""A WebTransport session (draft-ietf-webtrans-http3 Section 4)."""

from __future__ import annotations

import asyncio
import copy
from collections import deque
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple

from cwt.aio.datagrams import Datagrams
from cwt.aio.headers import Headers
from cwt.aio.incoming import Incoming
from cwt.aio.order import SendGroup
from cwt.aio.receiving import RecvStream
from cwt.aio.sending import SendStream, changed, check_code
from cwt.aio.states import RecvState, SendState
from cwt.aio.stream import BiStream
from cwt.errors import SessionClosed, StreamLimitError

if TYPE_CHECKING:
    from typing import Self

    import cwt.quic as quic
    from cwt._core.stream.datagram import DatagramFlow
    from cwt.aio.connection import Connection

__all__ = ["FAILURE_CODE", "CloseInfo", "Session", "SessionStats"]

FAILURE_CODE = 1
"""The application error code of a session whose handler or ``async with`` block raised."""

_MAX_REASON = 1024


class CloseInfo(NamedTuple):
    """How a session ended."""

    code: int | None
    """The application error code; None when the connection was lost."""
    reason: str
    remote: bool
    """Whether the peer ended it."""
    error: Exception | None = None
    """Why the connection was lost, if it was."""


class SessionStats(NamedTuple):
    """Counters of a session, and those of its QUIC connection."""

    datagrams_sent: int
    """Datagrams given to :meth:`Datagrams.send`."""
    datagrams_received: int
    datagrams_dropped: int
    """Received datagrams dropped because the application did not take them in time."""
    open_streams: int
    connection: quic.Stats


class Session:
    """A WebTransport session; :func:`cwt.connect` gives one, a handler of :func:`cwt.serve` takes one.

    As a context manager it is closed at the end: with code 0, or 1 when an exception ends it.
    """

    __slots__ = (
        "__weakref__",
        "_connection",
        "_drained",
        "_error",
        "_headers",
        "_info",
        "_openers",
        "_params",
        "_protocol",
        "_send_group",
        "_session_id",
        "_stats",
        "_url",
        "_waiters",
        "datagrams",
        "incoming_bi",
        "incoming_uni",
    )

    datagrams: Datagrams
    """The session's datagrams."""
    incoming_bi: Incoming[BiStream]
    """The bidirectional streams that the peer opens, for ``async for``."""
    incoming_uni: Incoming[RecvStream]
    """The unidirectional streams that the peer opens, for ``async for``."""

    def __init__(
        self,
        connection: Connection,
        session_id: int,
        datagrams: DatagramFlow,
        *,
        url: str,
        headers: Headers,
        protocol: str | None,
        params: Mapping[str, str] | None = None,
    ) -> None:
        loop = connection.loop
        self._connection = connection
        self._session_id = session_id
        self._url = url
        self._headers = headers
        self._protocol = protocol
        self._params = params or {}
        self._error: Exception | None = None
        self._info: CloseInfo | None = None
        self._drained = False
        self._waiters: list[asyncio.Future[None]] = []
        """Of those who wait for the end, or for draining."""
        self._openers: dict[bool, deque[asyncio.Future[BiStream | SendStream]]] = {}
        """Of those who wait to open a bidirectional stream (True), or a unidirectional one."""
        self._stats: SessionStats | None = None
        self._send_group = SendGroup()
        self.datagrams = Datagrams(connection, datagrams)
        self.incoming_bi = Incoming(loop)
        self.incoming_uni = Incoming(loop)
        connection.sessions[session_id] = self

    def __repr__(self) -> str:
        return f"<cwt.Session {self._url} {'open' if self._error is None else 'closed'}>"

    # What is known

    @property
    def url(self) -> str:
        """The URL that the client asked for."""
        return self._url

    @property
    def path(self) -> str:
        """The path of the URL, without the query."""
        return "/" + self._url.partition("://")[2].partition("/")[2].partition("?")[0]

    @property
    def params(self) -> Mapping[str, str]:
        """What the ``{names}`` of the server's route stand for in this path."""
        return self._params

    @property
    def headers(self) -> Headers:
        """The peer's header fields: of the response in a client, of the request in a server."""
        return self._headers

    @property
    def protocol(self) -> str | None:
        """The application protocol that was agreed on, if any."""
        return self._protocol

    @property
    def remote_address(self) -> tuple[str, int]:
        """Host and port of the peer; changes when it migrates."""
        return self._connection.remote_address

    @property
    def local_address(self) -> tuple[str, int]:
        """Host and port of this side."""
        return self._connection.local_address

    @property
    def peer_certificates(self) -> list[bytes]:
        """The peer's certificates (DER), its own first; empty when it showed none."""
        return list(self._connection.quic.peer_cert_chain)

    @property
    def peer_public_key(self) -> bytes | None:
        """The raw public key (DER) of a peer that has no certificate (RFC 7250), or None."""
        return self._connection.quic.peer_public_key

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended."""
        return self._error is not None

    @property
    def draining(self) -> bool:
        """Whether the peer asked to bring the session to an end (WT_DRAIN_SESSION)."""
        return self._drained

    async def migrate(self, host: str | None = None, port: int = 0) -> None:
        """A client: go on from another local address, *host*, or the one the system would choose now
        (RFC 9000 Section 9.2); returns when the new path works and is in use.

        Nothing is lost, and the server's ``remote_address`` follows.  All sessions of the connection move.
        Raises MigrationError, and everything stays as it is, when the server forbids it or is not reached
        from there.
        """
        self._check()
        await self._connection.migrate(host, port)

    def stats(self) -> SessionStats:
        """Counters; after the end of the session those at its end."""
        return self._stats or self._read_stats()

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """*length* bytes that only the two ends of this session know (RFC 8446 Section 7.5)."""
        self._check()
        return self._connection.wt.export_keying_material(self._session_id, label, context, length)

    # Streams

    async def open_bi(
        self,
        *,
        wait: bool = True,
        send_order: int | None = None,
        send_group: SendGroup | None = None,
    ) -> BiStream:
        """Open a bidirectional stream, with its :attr:`SendStream.send_order` and group.

        Waits while the peer allows no more of them; with ``wait=False``, :class:`StreamLimitError` is
        raised instead.  Raises :class:`SessionClosed` or :class:`ConnectionClosed` when that ended.
        """
        stream = self._open(True) or await self._wait_open(True, wait)
        assert isinstance(stream, BiStream)
        if send_order is not None or send_group is not None:
            stream._tx.arrange(send_order, send_group or self._send_group)
        return stream

    async def open_uni(
        self,
        *,
        wait: bool = True,
        send_order: int | None = None,
        send_group: SendGroup | None = None,
    ) -> SendStream:
        """Open a unidirectional stream, as :meth:`open_bi`."""
        stream = self._open(False) or await self._wait_open(False, wait)
        if send_order is not None or send_group is not None:
            stream._tx.arrange(send_order, send_group or self._send_group)
        return stream

    def send_group(self) -> SendGroup:
        """A new group of streams, to order among themselves with :attr:`SendStream.send_order`."""
        return SendGroup()

    async def accept_bi(self) -> BiStream:
        """The next bidirectional stream that the peer opened; raises as :meth:`open_bi`."""
        return await self.incoming_bi._get()

    async def accept_uni(self) -> RecvStream:
        """The next unidirectional stream that the peer opened; raises as :meth:`open_bi`."""
        return await self.incoming_uni._get()

    def _open(self, bidirectional: bool) -> BiStream | SendStream | None:
        """A new stream; None while the peer allows none, or others wait for that."""
        if self._error is not None:
            raise copy.copy(self._error)
        if self._openers.get(bidirectional):
            return None
        return self._try_open(bidirectional)

    async def _wait_open(self, bidirectional: bool, wait: bool) -> BiStream | SendStream:
        if not wait:
            raise StreamLimitError(
                "the peer allows no more streams now; finish some, or leave out wait=False"
            )
        waiter: asyncio.Future[BiStream | SendStream] = self._connection.loop.create_future()
        queue = self._openers.setdefault(bidirectional, deque())
        queue.append(waiter)
        self._connection.wants_streams = True
        try:
            return await waiter
        except BaseException:
            if waiter in queue:
                queue.remove(waiter)
            elif waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                _abandon(waiter.result())
            raise

    def _try_open(self, bidirectional: bool) -> BiStream | SendStream | None:
        connection = self._connection
        stream = connection.wt.open(self._session_id, bidirectional)
        if stream is None:
            return None
        tx = SendState(self, stream)
        return BiStream(tx, RecvState(self, stream)) if bidirectional else SendStream(tx, None)

    def _retry_streams(self) -> bool:
        """Open streams for those who wait; whether there are still some."""
        for bidirectional, queue in self._openers.items():
            while queue:
                if not queue[0].done():
                    stream = self._try_open(bidirectional)
                    if stream is None:
                        break
                    queue[0].set_result(stream)
                queue.popleft()
        return any(self._openers.values())

    def _stream_opened(self, stream_id: int, bidirectional: bool) -> None:
        stream = self._connection.wt.stream(stream_id)
        if stream is None:
            return  # refused meanwhile
        rx = RecvState(self, stream)
        if bidirectional:
            self.incoming_bi._put(BiStream(SendState(self, stream), rx))
        else:
            self.incoming_uni._put(RecvStream(None, rx))

    # The end

    async def close(self, code: int = 0, reason: str = "") -> None:
        """End the session with *code* and *reason* (at most 1024 bytes of UTF-8), which the peer gets.

        With code 0, streams that were finished are delivered first.  Waits until the peer has acknowledged
        the close, at most ``close_timeout`` seconds; cancelled, it still closes.  Does nothing when the
        session has ended.
        """
        check_close(code, reason)
        if self._error is None:
            try:
                if code == 0:
                    await self._flush_finished()
            finally:
                self._close_now(code, reason)
        await self._connection.wait_acknowledged(self._session_id)

    async def wait_closed(self) -> CloseInfo:
        """Wait for the end of the session, whoever ends it; says how it ended, and never raises for it."""
        while self._info is None:
            await self._change()
        return self._info

    async def drain(self) -> None:
        """Ask the peer to bring the session to an end; it stays usable (WT_DRAIN_SESSION)."""
        self._check()
        self._connection.wt.drain(self._session_id)

    async def wait_draining(self) -> None:
        """Wait until the peer asks to bring the session to an end, or it ends."""
        while not self._drained:
            await self._change()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        failed = kind is not None and issubclass(kind, Exception)
        await self.close(FAILURE_CODE if failed else 0)

    def _close_now(self, code: int, reason: str) -> None:
        if self._error is None:
            self._connection.wt.close(self._session_id, code, reason)
            self._end(CloseInfo(code, reason, False), SessionClosed(code, reason, False))

    async def _flush_finished(self) -> None:
        """Wait for what was finished to be acknowledged: closing the session would abandon it."""
        connection = self._connection
        try:
            async with asyncio.timeout(connection.close_timeout / 2):
                for tx in list(connection.senders.values()):
                    while tx.session is self and not (tx.is_open or tx.is_done):
                        await changed(tx)
        except TimeoutError:
            pass

    def _check(self) -> None:
        if self._error is not None:
            raise copy.copy(self._error)

    def _end(self, info: CloseInfo, error: Exception) -> None:
        """The session has ended: everything that waits for it learns so."""
        if self._error is not None:
            return
        self._stats = self._read_stats()
        self._error = error
        clean = info.error is None and (info.code == 0 or not info.remote)
        connection = self._connection
        for states in (connection.senders, connection.receivers):
            for state in [state for state in states.values() if state.session is self]:
                state.fail(error)
        self.incoming_bi._close(error, clean, discard=True)
        self.incoming_uni._close(error, clean, discard=True)
        self.datagrams._close(error, clean)
        for queue in self._openers.values():
            for waiter in queue:
                if not waiter.done():
                    waiter.set_exception(copy.copy(error))
            queue.clear()
        self._info = info
        self._set_drained()
        connection.session_ended(self._session_id)

    def _set_drained(self) -> None:
        """The session ends or is to end: tell those who wait for it."""
        self._drained = True
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _change(self) -> asyncio.Future[None]:
        """Done when the session ends, or is to be drained."""
        waiter: asyncio.Future[None] = self._connection.loop.create_future()
        # Those that were cancelled must not add up.
        self._waiters = [other for other in self._waiters if not other.done()]
        self._waiters.append(waiter)
        return waiter

    def _read_stats(self) -> SessionStats:
        connection, flow = self._connection, self.datagrams._flow
        ids = {id_ for id_, state in connection.senders.items() if state.session is self}
        ids.update(id_ for id_, state in connection.receivers.items() if state.session is self)
        return SessionStats(
            flow.sent,
            flow.received,
            flow.dropped,
            len(ids),
            connection.quic.stats(),
        )


def check_close(code: int, reason: str) -> None:
    """Raise ValueError unless a session can be closed with *code* and *reason*."""
    check_code(code)
    if len(reason.encode()) > _MAX_REASON:
        raise ValueError(f"the reason of a close takes at most {_MAX_REASON} bytes of UTF-8")


def _abandon(stream: BiStream | SendStream) -> None:
    """Nobody got *stream*: whoever asked for it was cancelled."""
    stream.reset(0)
    if isinstance(stream, BiStream):
        stream.stop(0)
