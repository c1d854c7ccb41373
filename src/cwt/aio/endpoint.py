"""The driver: one UDP socket and its QUIC endpoint under an asyncio event loop."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container
from typing import TYPE_CHECKING, Any, Protocol

import cwt.quic as quic
from cwt.aio.port import open_port
from cwt.errors import TransportErrorCode

if TYPE_CHECKING:
    from cwt._core.endpoint import Endpoint as QuicEndpoint

__all__ = ["Endpoint", "Handler"]

logger = logging.getLogger("cwt.endpoint")

_TIMER_GRAIN = 0.001
"""Seconds: event loops wait in whole milliseconds, so a shorter timer would only spin."""


class Handler(Protocol):
    """What the driver calls; it is the ``user_data`` of a connection."""

    quic: quic.Connection

    def process(self) -> None:
        """The connection has news."""

    def lost(self, error: Exception) -> None:
        """The connection failed and takes no more part."""


def monotonic_clock(loop: asyncio.AbstractEventLoop) -> Callable[[], float]:
    """The clock of *loop*, in seconds.

    uvloop's own is cached for an iteration and counts milliseconds: too coarse for round-trip samples and
    pacing.  It has the same origin as :func:`time.monotonic`, which is asyncio's own, too.
    """
    kind = type(loop)
    if kind.time is asyncio.BaseEventLoop.time or kind.__module__.partition(".")[0] == "uvloop":
        return time.monotonic
    return loop.time


class Endpoint:
    """Moves datagrams between a UDP socket and a QUIC endpoint, and time into it.

    A wake-up takes about a millisecond of datagrams, tells every connection that has news, and sends what
    became due after the tasks that it woke have run.  There is one loop timer, however many connections.
    """

    def __init__(
        self,
        endpoint: QuicEndpoint,
        sock: quic.UdpSocket,
        *,
        on_connection: Callable[[Endpoint, quic.Connection], Handler] | None = None,
    ) -> None:
        """*on_connection* makes the handler of a connection that a peer opened; None for a client."""
        self.loop = asyncio.get_running_loop()
        self.quic = endpoint
        self.sock = sock
        self._sockets = [sock]
        self.now = monotonic_clock(self.loop)
        self.is_closed = False
        self.on_socket_error: Callable[[int], None] | None = None
        """Called with the errno when the socket has failed to send or receive, after every try."""
        endpoint.on_output = self.wake
        self._on_connection = on_connection
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._transmit_soon = False
        self._transmit_again = False
        self._timeout_soon = False
        self._blocked = False
        self._unblocked: asyncio.Future[None] | None = None
        self._closed = self.loop.create_future()
        self._port = open_port(endpoint, sock, self.now, self._on_readable, self._on_writable)

    @property
    def local_address(self) -> tuple[str, int]:
        """Host and port of the socket."""
        return self.sock.local_address

    def add_socket(self, sock: quic.UdpSocket) -> None:
        """Use *sock*, too: for what connections send from its address.

        Raises NotImplementedError on event loops that cannot watch sockets.
        """
        self._port.add(sock)
        self._sockets.append(sock)

    def keep_sockets(self, addresses: Container[tuple[str, int]]) -> None:
        """Close the sockets whose address is not among *addresses*, unless it is the last one."""
        for sock in list(self._sockets):
            if len(self._sockets) > 1 and sock.local_address not in addresses:
                self._sockets.remove(sock)
                self._port.remove(sock)
        self.sock = self._sockets[0]

    def wake(self) -> None:
        """A connection has something to send: do so once the tasks that are ready now have run.

        The layers below call it; nobody else has to.
        """
        if not (self._transmit_soon or self._blocked or self.is_closed):
            self._transmit_soon = True
            self.loop.call_soon(self._transmit)

    def process_soon(self, handler: Handler) -> None:
        """A call to the layers below left news for *handler*."""
        self.loop.call_soon(self._process, handler.quic, handler)

    def close(self) -> None:
        """Leave the event loop and close the socket; what is unsent is lost."""
        if self.is_closed:
            return
        self.is_closed = True
        self.quic.on_output = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._port.close()
        if not self._closed.done():
            self._closed.set_result(None)

    def close_when_sent(self) -> None:
        """Close once what is due now was sent."""
        # Not by wake(): while datagrams are taken in, that is held back to behind what is called here.
        self.loop.call_soon(self._send_and_close)

    def _send_and_close(self) -> None:
        self._transmit()
        self.close()

    async def sent(self, timeout: float = 1.0) -> None:
        """Send what is due now; waits while the socket takes no more, at most *timeout* seconds."""
        self._transmit()
        if self._blocked:
            self._unblocked = self.loop.create_future()
            await asyncio.wait([self._unblocked], timeout=timeout)

    async def wait_closed(self) -> None:
        """Wait until the socket is closed."""
        await asyncio.shield(self._closed)

    # Event loop callbacks

    def _on_readable(self) -> None:
        waking = self._hold_transmit()
        try:
            self._receive()
        finally:
            self._transmit_behind(waking)

    def _receive(self) -> None:
        # What is left over makes the socket readable still: the next pass comes after the tasks that
        # this one wakes, so that they take what came before more does.
        try:
            self._port.receive(self.now())
        except OSError as error:
            logger.warning("receiving on %s failed: %s", self.local_address, error)
        self._dispatch()
        if self.on_socket_error is not None:
            self._check_socket(self.on_socket_error)

    def _hold_transmit(self) -> bool:
        """Let :meth:`wake` do nothing; returns what :meth:`_transmit_behind` takes."""
        waking, self._transmit_soon = self._transmit_soon, True
        return waking

    def _transmit_behind(self, waking: bool) -> None:
        """Transmit after the tasks that were woken since :meth:`_hold_transmit`.

        If that sends nothing, once more after the tasks that those have started, as a server does for each
        stream.
        """
        self._transmit_soon = waking
        self._transmit_again = True
        self.wake()

    def _dispatch(self) -> None:
        for connection in self.quic.ready():
            self._process(connection, connection.user_data)

    def _process(self, connection: quic.Connection, handler: Any) -> None:
        try:
            if handler is None:
                if self._on_connection is None or connection.termination is not None:
                    return
                handler = connection.user_data = self._on_connection(self, connection)
            handler.process()
        except Exception:
            self._fail(connection, handler)

    def _fail(self, connection: quic.Connection, handler: Handler | None) -> None:
        """An exception in one connection's processing ends that connection, and nothing else."""
        logger.exception("connection with %s: internal error", connection.remote_address)
        try:
            connection.close(TransportErrorCode.INTERNAL_ERROR, "", False)
            if handler is not None:
                error = connection.termination
                handler.lost(
                    error if error is not None else ConnectionAbortedError("internal error")
                )
        except Exception:
            logger.exception("connection with %s: cannot close", connection.remote_address)

    def _transmit(self) -> None:
        self._transmit_soon = False
        if self.is_closed:
            return
        written = self.quic.written
        try:
            sent = self._port.transmit(self.now())
        except OSError as error:
            logger.warning("sending on %s failed: %s", self.local_address, error)
            sent = True
        if not sent and not self._blocked:
            self._blocked = True
            self._port.watch_writable()
        self._dispatch()  # there may be room for more to send
        if self.on_socket_error is not None:
            self._check_socket(self.on_socket_error)
        self._arm()
        if self._transmit_again:
            self._transmit_again = False
            if self.quic.written == written:
                self.wake()

    def _check_socket(self, tell: Callable[[int], None]) -> None:
        code = self._port.last_error
        if code:
            tell(code)

    def _on_writable(self) -> None:
        self._blocked = False
        self._transmit()
        if not self._blocked and self._unblocked is not None and not self._unblocked.done():
            self._unblocked.set_result(None)

    def _arm(self) -> None:
        """Have the timer fire at the endpoint's deadline or before: a deadline that moved away costs
        nothing until the timer fires and is set anew."""
        now = self.now()
        delay = self.quic.timeout(now)
        if delay is None:
            return
        if delay <= 0:
            self._go_on()
            return
        deadline = now + delay
        if self._timer is not None:
            if self._deadline <= deadline:
                return
            self._timer.cancel()
        self._deadline = deadline
        self._timer = self.loop.call_later(max(delay, _TIMER_GRAIN), self._on_timer)

    def _go_on(self) -> None:
        """More is due now than one pass may do; with a socket that is full, it waits until it is not."""
        if not (self._timeout_soon or self._blocked):
            self._timeout_soon = True
            self.loop.call_soon(self._on_more)

    def _on_more(self) -> None:
        self._timeout_soon = False
        if not self.is_closed:
            self._on_timeout()

    def _on_timer(self) -> None:
        self._timer = None
        self._on_timeout()

    def _on_timeout(self) -> None:
        now = self.now()
        delay = self.quic.timeout(now)
        if delay is None:
            return
        if delay > 0:
            self._arm()
            return
        waking = self._hold_transmit()
        try:
            self.quic.on_timeout(now)
            self._dispatch()
        finally:
            self._transmit_behind(waking)
