"""One QUIC connection and its WebTransport sessions: events in, wake-ups out."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import cwt.h3 as h3
import cwt.webtransport as webtransport
from cwt.aio.session import CloseInfo, Session
from cwt.errors import H3ErrorCode, MigrationError, SessionClosed

if TYPE_CHECKING:
    import cwt.quic as quic
    from cwt.aio.endpoint import Endpoint
    from cwt.aio.states import RecvState, SendState
    from cwt.config import Config

__all__ = ["Connection"]

logger = logging.getLogger("cwt.connection")


class Connection:
    """The handler of one connection: sends the events of the layers below to those who wait for them.

    The states of streams (``senders``, ``receivers``) are told of news by the layer below.

    Subclasses say what a client and a server do when a session may start.
    """

    __slots__ = (
        "__weakref__",
        "_ending",
        "_timer",
        "close_timeout",
        "config",
        "endpoint",
        "is_lost",
        "loop",
        "quic",
        "receivers",
        "senders",
        "sessions",
        "wants_datagram_room",
        "wants_streams",
        "wt",
    )

    linger = 1.0
    """Seconds from the end of the last session until the connection is closed: a browser may leave without
    closing it, and another session may follow."""

    def __init__(
        self,
        endpoint: Endpoint,
        quic_connection: quic.Connection,
        config: Config,
        close_timeout: float,
    ) -> None:
        self.endpoint = endpoint
        self.loop = endpoint.loop
        self.quic = quic_connection
        self.wt = webtransport.Connection(h3.Connection(quic_connection, config))
        self.config = config
        self.close_timeout = close_timeout
        self.sessions: dict[int, Session] = {}
        self.senders: dict[int, SendState] = {}
        self.receivers: dict[int, RecvState] = {}
        self.is_lost = False
        self.wants_datagram_room = False
        """A session waits until fewer datagrams are unsent."""
        self.wants_streams = False
        """A session waits until the peer allows more streams."""
        self._ending: dict[int, asyncio.Future[None]] = {}
        """The ended sessions whose last bytes the peer has not acknowledged yet."""
        self._timer: asyncio.TimerHandle | None = None

    @property
    def remote_address(self) -> tuple[str, int]:
        return _unmapped(self.quic.remote_address)

    @property
    def local_address(self) -> tuple[str, int]:
        return _unmapped(self.quic.local_address or self.endpoint.local_address)

    # For the endpoint

    def process(self) -> None:
        """Take all events."""
        if self.is_lost:
            return
        while (path_event := self.quic.path_event_next()) is not None:
            self._on_path_event(path_event)
        actions = self._actions
        for event in self.wt.poll():
            action = actions.get(type(event))
            if action is not None:
                action(self, event)
        if self.wants_datagram_room and self.quic.dgram_writable:
            self.wants_datagram_room = False
            for session in self.sessions.values():
                session.datagrams._on_writable()
        if self.wants_streams:
            self._retry_streams()
        if self._ending:
            self._check_ending()
        if not self.is_lost:
            error = self.quic.termination
            if error is not None:
                self.lost(error)

    def _retry_streams(self) -> None:
        """Open streams for those who wait: MAX_STREAMS is news, so the peer may allow more now."""
        self.wants_streams = False
        for session in self.sessions.values():
            if session._retry_streams():
                self.wants_streams = True

    def lost(self, error: Exception) -> None:
        """The connection is gone, and its sessions with it."""
        if self.is_lost:
            return
        self.is_lost = True
        self.quic.user_data = None
        remote = getattr(error, "remote", True)
        for session in list(self.sessions.values()):
            session._end(CloseInfo(None, str(error), remote, error), error)
        for waiter in self._ending.values():
            waiter.set_result(None)
        self._ending.clear()
        self._cancel_timer()

    def _on_path_event(self, event: quic.PathEvent) -> None:
        """Something happened to a path of the connection."""
        logger.debug("path from %s to %s: %s", event.local, event.remote, event.kind.value)

    # For sessions

    async def migrate(self, host: str | None, port: int) -> None:
        """Go on from another local address."""
        raise MigrationError("only clients migrate")

    def session_ended(self, session_id: int) -> None:
        """*session_id* has ended; it is forgotten, and the connection if it was the last."""
        self.sessions.pop(session_id, None)
        if self.is_lost:
            return
        self._ending[session_id] = self.loop.create_future()
        if not self.sessions:
            self._cancel_timer()
            rest = max(self.close_timeout / 2 - self.linger, 0.0)
            self._timer = self.loop.call_later(self.linger, self._on_linger_over, rest)

    async def wait_acknowledged(self, session_id: int) -> None:
        """Wait until the peer has the end of *session_id*, or the connection is lost: at most half of the
        close timeout, the other half being for what was written before."""
        waiter = self._ending.get(session_id)
        if waiter is not None:
            await asyncio.wait([waiter], timeout=self.close_timeout / 2)

    def close(self, code: int = H3ErrorCode.NO_ERROR, reason: str = "") -> None:
        """Close the QUIC connection, and say so to the peer at once."""
        if not self.is_lost:
            self.quic.close(code, reason, True)
            self.lost(self.quic.termination or ConnectionAbortedError("the connection was closed"))

    def _check_ending(self) -> None:
        for session_id, waiter in list(self._ending.items()):
            if self.quic.stream_acked(session_id):
                del self._ending[session_id]
                waiter.set_result(None)
        if not self._ending and not self.sessions:
            self._on_ended()

    def _on_ended(self) -> None:
        """The peer has everything of all sessions, which have ended."""

    def _on_linger_over(self, rest: float) -> None:
        """Close, *rest* seconds later if the peer does not have the end of a session yet."""
        self._timer = None
        if self._ending and rest:
            self._timer = self.loop.call_later(rest, self._on_linger_over, 0.0)
        elif not self.sessions:
            self.close()

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # Events

    def _on_stream_opened(self, event: webtransport.StreamOpened) -> None:
        session = self.sessions.get(event.session_id)
        if session is not None:
            session._stream_opened(event.stream_id, event.bidirectional)

    def _on_datagrams_readable(self, event: webtransport.DatagramsReadable) -> None:
        session = self.sessions.get(event.session_id)
        if session is not None:
            session.datagrams._on_readable()

    def _on_session_draining(self, event: webtransport.SessionDraining) -> None:
        session = self.sessions.get(event.session_id)
        if session is not None:
            session._set_drained()

    def _on_session_closed(self, event: webtransport.SessionClosed) -> None:
        session = self.sessions.get(event.session_id)
        if session is not None:
            code, reason, remote = event.code, event.reason, event.remote
            session._end(CloseInfo(code, reason, remote), SessionClosed(code, reason, remote))

    _actions: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        webtransport.StreamOpened: _on_stream_opened,
        webtransport.DatagramsReadable: _on_datagrams_readable,
        webtransport.SessionDraining: _on_session_draining,
        webtransport.SessionClosed: _on_session_closed,
    }


def _unmapped(address: tuple[str, int]) -> tuple[str, int]:
    """*address* with an IPv4 address where it is one mapped to IPv6 (RFC 4291 Section 2.5.5.2)."""
    host, port = address[:2]
    return host.removeprefix("::ffff:") if "." in host else host, port
