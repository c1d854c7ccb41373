"""A client's request for a session, before the server has answered."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

from cwt.aio.headers import Headers, HeadersLike, header_list
from cwt.aio.session import Session

if TYPE_CHECKING:
    import cwt.webtransport as webtransport
    from cwt.aio.server import ServerConnection

__all__ = ["SessionRequest"]


class SessionRequest:
    """What a client asks for: :func:`cwt.serve` gives it to ``on_request``, or to who iterates over the
    server.

    Answer with :meth:`accept` or :meth:`reject`, once.
    """

    __slots__ = (
        "__weakref__",
        "_answer",
        "_connection",
        "_error",
        "_session_id",
        "_task",
        "authority",
        "headers",
        "origin",
        "params",
        "path",
        "protocols",
        "query",
        "session",
    )

    authority: str
    """Host and port of the URL."""
    path: str
    """The path of the URL, without the query."""
    query: str
    """What follows the question mark in the URL."""
    headers: Headers
    """The header fields of the request."""
    origin: str | None
    """The Origin, which browsers send: where the page is from (RFC 6454)."""
    protocols: list[str]
    """The application protocols that the client offers, in its order of preference."""
    params: Mapping[str, str]
    """What the ``{names}`` of the route stand for."""
    session: Session | None
    """The session, once accepted."""

    def __init__(self, connection: ServerConnection, event: webtransport.SessionRequested) -> None:
        self._connection = connection
        self._session_id = event.session_id
        self._answer: str | None = None
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None
        """Where the hook of the server decides."""
        self.authority = event.authority
        self.path, _, self.query = event.path.partition("?")
        self.headers = Headers(event.headers)
        self.origin = event.origin
        self.protocols = list(event.protocols)
        self.params = {}
        self.session = None

    def __repr__(self) -> str:
        return f"<cwt.SessionRequest {self.url} {self._answer or 'not answered'}>"

    @property
    def url(self) -> str:
        """The URL that the client asks for."""
        query = f"?{self.query}" if self.query else ""
        return f"https://{self.authority}{self.path}{query}"

    @property
    def remote_address(self) -> tuple[str, int]:
        """Host and port of the client."""
        return self._connection.remote_address

    @property
    def peer_certificates(self) -> list[bytes]:
        """The client's certificates (DER), its own first; empty when it showed none."""
        return list(self._connection.quic.peer_cert_chain)

    @property
    def peer_public_key(self) -> bytes | None:
        """The raw public key (DER) of a client that has no certificate (RFC 7250), or None."""
        return self._connection.quic.peer_public_key

    @property
    def is_answered(self) -> bool:
        """Whether it was accepted or rejected, or the client has gone."""
        return self._answer is not None or self._error is not None

    @property
    def is_gone(self) -> bool:
        """Whether the client has gone."""
        return self._error is not None

    async def accept(self, *, protocol: str | None = None, headers: HeadersLike = ()) -> Session:
        """Accept with a *protocol* of :attr:`protocols`, or None, and *headers* in the response.

        Raises :class:`SessionClosed` or :class:`ConnectionClosed` when the client has gone, ValueError for
        a protocol that it did not offer.
        """
        return self._accept(protocol, headers)

    async def reject(self, status: int = 403, *, headers: HeadersLike = ()) -> None:
        """Reject with an HTTP status from 300 to 599; the client gets :class:`SessionRejected`."""
        if not 300 <= status <= 599:
            raise ValueError(f"a session is rejected with a status from 300 to 599, not {status!r}")
        if self._error is None:
            self._reject(status, headers)

    def _accept(self, protocol: str | None = None, headers: HeadersLike = ()) -> Session:
        fields = header_list(headers)
        if protocol is not None and protocol not in self.protocols:
            raise ValueError(
                f"the client did not offer the protocol {protocol!r}: {self.protocols}"
            )
        if self._error is not None:
            raise copy.copy(self._error)
        self._check_unanswered()
        self._answer = "accepted"
        connection = self._connection
        datagrams = connection.wt.datagrams(self._session_id)
        connection.wt.accept(self._session_id, protocol, fields)
        connection.endpoint.process_soon(connection)  # what came early is handed out now
        self.session = Session(
            connection,
            self._session_id,
            datagrams,
            url=self.url,
            headers=self.headers,
            protocol=protocol,
            params=self.params,
        )
        connection.answered(self._session_id)
        connection.server._sessions.add(self.session)
        connection.server._accepted += 1
        return self.session

    def _reject(self, status: int, headers: HeadersLike = ()) -> None:
        self._check_unanswered()
        self._answer = f"rejected with {status}"
        connection = self._connection
        connection.wt.reject(self._session_id, status, header_list(headers))
        connection.answered(self._session_id)
        connection.server._rejected += 1

    def _check_unanswered(self) -> None:
        if self._answer is not None:
            raise RuntimeError(f"the request was {self._answer} already")

    def _gone(self, error: Exception) -> None:
        """The client withdrew the request: there is nothing left to decide."""
        self._error = error
        if self._task is not None:
            self._task.cancel()
