"""The server: :func:`cwt.serve`."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import re
import socket
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Never

import cwt.h3 as h3
import cwt.quic as quic
import cwt.tls as tls
import cwt.webtransport as webtransport
from cwt.aio.connection import Connection
from cwt.aio.endpoint import Endpoint
from cwt.aio.incoming import Incoming
from cwt.aio.options import protocol_list, refuse, with_qlog
from cwt.aio.request import SessionRequest
from cwt.aio.routes import Handler, Origins, Routes
from cwt.aio.session import FAILURE_CODE, Session, check_close
from cwt.config import Config
from cwt.errors import ConfigError, H3ErrorCode, SessionClosed
from cwt.hkdf import expand_label

if TYPE_CHECKING:
    from cwt.tls.certificates import PemSource
    from cwt.tls.context import ClientAuth
    from cwt.tls.credentials import ServerNames
    from cwt.tls.development import DevelopmentCertificate
    from cwt.tls.identity import IdentitySource
    from cwt.tls.keylog import TextWriter
    from cwt.tls.public_keys import PublicKeySource, VerifyKeyCallback
    from cwt.tls.verification import VerifyCallback

__all__ = ["Limits", "Server", "ServerStats", "serve"]

logger = logging.getLogger("cwt.server")

RequestHook = Callable[[SessionRequest], Awaitable[object]]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a whole server; those of one connection are in :class:`cwt.Config`."""

    max_connections: int = 10_000
    """QUIC connections at once, for each socket; more are refused."""
    max_handshakes: int = 4096
    """Handshakes at once, for each socket, that are not complete; more clients are not answered."""
    max_unvalidated: int = 1024
    """Handshakes at once, for each socket, from which on ``retry="auto"`` has new clients prove their
    address first."""
    max_sessions: int = 10_000
    """Sessions at once; more are rejected with status 503."""
    max_pending_requests: int = 1024
    """Requests that wait for ``on_request`` or to be taken by hand; more are rejected with status 503."""

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 1:
                raise ConfigError(f"{name} must be at least 1, not {value!r}")


class ServerStats(NamedTuple):
    """Counters of a server."""

    connections: int
    """QUIC connections now."""
    sessions: int
    """Sessions now."""
    sessions_accepted: int
    sessions_rejected: int
    handler_failures: int
    """Handlers that raised."""


class ServerConnection(Connection):
    """A connection whose peer asks for sessions."""

    __slots__ = ("requests", "server")

    def __init__(
        self, endpoint: Endpoint, quic_connection: quic.Connection, config: Config, server: Server
    ) -> None:
        super().__init__(endpoint, quic_connection, config, server.close_timeout)
        self.server = server
        self.requests: dict[int, SessionRequest] = {}

    def lost(self, error: Exception) -> None:
        if self.is_lost:
            return
        super().lost(error)
        alert = error.__cause__
        if getattr(alert, "certificate", False):
            why = getattr(alert, "__cause__", None) or alert
            logger.info("the certificate of %s is refused: %s", self.remote_address, why)
        self.server._pending -= len(self.requests)
        for request in self.requests.values():
            request._gone(error)
        self.requests.clear()
        self.server._connections.discard(self)

    def session_ended(self, session_id: int) -> None:
        session = self.sessions.get(session_id)
        if session is not None:
            self.server._sessions.discard(session)
        super().session_ended(session_id)

    def answered(self, session_id: int) -> None:
        """The request for *session_id* is decided."""
        if self.requests.pop(session_id, None) is not None:
            self.server._pending -= 1

    def _on_session_requested(self, event: webtransport.SessionRequested) -> None:
        self._cancel_timer()
        request = self.requests[event.session_id] = SessionRequest(self, event)
        self.server._pending += 1
        self.server._decide(request)

    def _on_request(self, event: h3.RequestReceived) -> None:
        """A request that is not for a session: there is nothing else here."""
        method = next((value for name, value in event.headers if name == b":method"), b"")
        status = "501" if method == b"CONNECT" else "404"
        self.wt.h3.send_headers(event.stream_id, [(":status", status)], fin=True)
        self.wt.h3.discard(event.stream_id)

    def _on_session_closed(self, event: webtransport.SessionClosed) -> None:
        request = self.requests.get(event.session_id)
        if request is None:
            super()._on_session_closed(event)
        else:
            reason = event.reason or "the client withdrew its request"
            request._gone(SessionClosed(event.code, reason, True))
            self.answered(event.session_id)

    _actions: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        **Connection._actions,
        h3.RequestReceived: _on_request,
        webtransport.SessionRequested: _on_session_requested,
        webtransport.SessionClosed: _on_session_closed,
    }


class Server:
    """A running server; :func:`cwt.serve` makes it.

    As a context manager it is closed at the end.  Without a handler, ``async for request in server`` gives
    the requests, to be accepted or rejected by hand.
    """

    def __init__(
        self,
        routes: Routes | None,
        tls_context: tls.ServerContext,
        *,
        config: Config,
        limits: Limits,
        origins: Origins,
        protocols: Sequence[str],
        on_request: RequestHook | None,
        secrets: Sequence[bytes],
        retry: str,
        close_timeout: float,
        dev: DevelopmentCertificate | None,
    ) -> None:
        self.close_timeout = close_timeout
        self.dev = dev
        """The certificate that ``dev=True`` made, else None."""
        self._routes = routes
        self._tls = tls_context
        self._config = config
        self._limits = limits
        self._origins = origins
        self._protocols = protocols
        self._on_request = on_request
        self._secrets = secrets
        self._retry = retry
        self._loop = asyncio.get_running_loop()
        self._endpoints: list[Endpoint] = []
        self._connections: set[ServerConnection] = set()
        self._sessions: set[Session] = set()
        self._requests: Incoming[SessionRequest] = Incoming(self._loop)
        self._tasks: set[asyncio.Task[None]] = set()
        self._forget_task = self._tasks.discard
        self._pending = 0
        self._accepted = self._rejected = self._failures = 0
        self._closing: asyncio.Task[None] | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()

    def __repr__(self) -> str:
        where = ", ".join(f"{host}:{port}" for host, port in self._addresses())
        return f"<cwt.Server {where or 'closed'}>"

    @property
    def sockets(self) -> tuple[quic.UdpSocket, ...]:
        """The UDP sockets: each has ``local_address`` and ``fileno()``."""
        return tuple(endpoint.sock for endpoint in self._endpoints)

    @property
    def port(self) -> int:
        """The UDP port; all sockets have the same."""
        return self._addresses()[0][1]

    @property
    def sessions(self) -> frozenset[Session]:
        """The sessions that are open now."""
        return frozenset(self._sessions)

    @property
    def is_serving(self) -> bool:
        """Whether new sessions are let in."""
        return bool(self._endpoints) and self._closing is None

    def stats(self) -> ServerStats:
        """Counters."""
        return ServerStats(
            len(self._connections),
            len(self._sessions),
            self._accepted,
            self._rejected,
            self._failures,
        )

    def reload_certificates(self) -> None:
        """Read all certificates, keys and *client_ca* again, for connections to come.

        An error, ConfigError, changes nothing.  Sessions stay, and so do the tickets to resume them.
        """
        self._tls.reload()

    async def serve_forever(self) -> None:
        """Serve until :meth:`close` is called, or this is cancelled: then close."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.close()
            raise

    def close(self, code: int = 0, reason: str = "") -> Awaitable[None]:
        """Stop: reject what is asked for, end all sessions with *code* and *reason*, wait for their
        handlers and cancel those that take longer than ``close_timeout``.

        Begins at once; await what it returns, or :meth:`wait_closed`, for the end.  Raises ValueError as
        :meth:`Session.close`.
        """
        check_close(code, reason)
        if self._closing is None:
            self._closing = self._loop.create_task(self._close(code, reason))
        return asyncio.shield(self._closing)

    async def wait_closed(self) -> None:
        """Wait until the server has closed everything."""
        await asyncio.shield(self._closed)

    def __aiter__(self) -> AsyncIterator[SessionRequest]:
        if self._routes is not None:
            raise TypeError(
                "this server has a handler for its sessions; for requests, leave the handler out of serve()"
            )
        return self

    async def __anext__(self) -> SessionRequest:
        while True:
            request = await self._requests.__anext__()
            if not request.is_answered:
                return request

    async def __aenter__(self) -> Server:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    # Start and end

    def _addresses(self) -> list[tuple[str, int]]:
        return [endpoint.local_address for endpoint in self._endpoints]

    def _listen(self, sock: quic.UdpSocket) -> None:
        core = quic.Endpoint(
            self._config,
            tls=self._tls,
            max_connections=self._limits.max_connections,
            max_handshakes=self._limits.max_handshakes,
            max_unvalidated=self._limits.max_unvalidated,
            secrets=self._secrets,
            retry=self._retry,
        )
        self._endpoints.append(Endpoint(core, sock, on_connection=self._connected))

    def _listen_at_preferred(self) -> None:
        """Have a socket at each address that clients are to move to, unless one receives there already."""
        config = self._config
        for address, any_address in (
            (config.preferred_address_v4, "0.0.0.0"),
            (config.preferred_address_v6, "::"),
        ):
            if address is None:
                continue
            received = (address, (any_address, address[1]), ("::", address[1]))
            if not any(endpoint.local_address in received for endpoint in self._endpoints):
                is_v6 = ":" in address[0]
                near = [e for e in self._endpoints if is_v6 == (":" in e.local_address[0])]
                (near or self._endpoints)[0].add_socket(_bind(*address))

    def _connected(self, endpoint: Endpoint, quic_connection: quic.Connection) -> ServerConnection:
        connection = ServerConnection(endpoint, quic_connection, self._config, self)
        self._connections.add(connection)
        return connection

    async def _close(self, code: int, reason: str) -> None:
        self._requests._close(SessionClosed(code, reason, False), clean=True, discard=True)
        for endpoint in self._endpoints:
            endpoint.quic.accepting = False
        for connection in list(self._connections):
            for request in list(connection.requests.values()):
                request._reject(503)
        closing = [session.close(code, reason) for session in self._sessions]
        for result in await asyncio.gather(*closing, return_exceptions=True):
            if isinstance(result, BaseException):
                logger.error("closing a session failed", exc_info=result)
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=self.close_timeout)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late, timeout=self.close_timeout)
        for connection in list(self._connections):
            connection.close(H3ErrorCode.NO_ERROR, reason)
        for endpoint in self._endpoints:
            endpoint.quic.close_all(H3ErrorCode.NO_ERROR, reason, True)
            await endpoint.sent()
            endpoint.close()
        self._endpoints.clear()
        self._closed.set_result(None)

    # Requests and handlers

    def _decide(self, request: SessionRequest) -> None:
        """Answer *request*, or hand it to who does."""
        limits = self._limits
        if (
            self._closing is not None
            or len(self._sessions) >= limits.max_sessions
            or self._pending > limits.max_pending_requests
        ):
            request._reject(503)
        elif not self._origins.allow(request.origin):
            logger.info("%s from origin %s: 403", request.url, request.origin)
            request._reject(403)
        elif self._routes is None:
            self._requests._put(request)
        else:
            self._route(request, self._routes)

    def _route(self, request: SessionRequest, routes: Routes) -> None:
        found = routes.find(request.path)
        if found is None:
            logger.info("%s: no route, 404", request.url)
            request._reject(404)
            return
        handler, request.params = found
        if self._on_request is None:
            self._spawn(self._handle(self._admit(request), handler))
        else:
            request._task = self._spawn(self._ask(request, handler, self._on_request))

    async def _ask(self, request: SessionRequest, handler: Handler, hook: RequestHook) -> None:
        """Have the hook decide; start the handler if it does not reject."""
        try:
            await hook(request)
            if not request.is_answered:
                self._admit(request)
        except Exception as error:
            if not request.is_answered:
                request._reject(500)
            self._report(request.url, request.is_gone, error)
        if request.session is not None and not request.session.is_closed:
            await self._handle(request.session, handler)

    def _admit(self, request: SessionRequest) -> Session:
        """Accept with the first protocol of the server's that the client offers."""
        offered = request.protocols
        protocol = next((name for name in self._protocols if name in offered), None)
        return request._accept(protocol)

    async def _handle(self, session: Session, handler: Handler) -> None:
        """Run *handler*, and close the session after it."""
        code, reason = 0, ""
        try:
            await handler(session, **session.params)
        except asyncio.CancelledError:
            session._close_now(FAILURE_CODE, "the server stops")
            raise
        except Exception as error:
            self._report(session.url, session.is_closed, error)
            code, reason = FAILURE_CODE, "internal error"
        if not session.is_closed:
            await session.close(code, reason)

    def _report(self, url: str, is_over: bool, error: Exception) -> None:
        """Log what a handler raised: that its session has ended is no failure of the handler."""
        if is_over and _only_connection_errors(error):
            logger.debug("%s: ended with %s", url, error)
        else:
            self._failures += 1
            logger.error("the handler of %s failed", url, exc_info=error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget_task)
        return task


def _only_connection_errors(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return all(map(_only_connection_errors, error.exceptions))
    return isinstance(error, ConnectionError)


class serve:
    """Serve WebTransport sessions on UDP *port* of *host*; an awaitable, or an async context manager, that
    gives the :class:`Server`.

    ::

        async with cwt.serve(handler, "::", 4433, certfile="cert.pem", keyfile="key.pem") as server:
            await server.serve_forever()

    *handler* is ``async def handler(session)`` for all paths, or a dict of handlers by path: ``"/chat"``,
    ``"/room/{name}"``, ``"/files/{rest:path}"`` (their names come as keyword arguments); other paths get
    404.  A session is closed when its handler returns, with an error code when it raises.  Without a
    handler, iterate over the server.

    *host* is a name, an address or several; ``"::"``, the default, is every address of IPv6 and IPv4.  Port
    0 lets the system choose: see :attr:`Server.port`.

    *certfile* and *keyfile* are PEM files or their content, *certificates* more such pairs with keys of
    another kind, *sni* more of them by host name: ``{"b.example": ("b.pem", "b.key")}``, or a callable
    ``sni(server_name)`` that returns such a pair, or None, and may raise LookupError to refuse the name.
    Wherever there is a pair there may be a :class:`cwt.tls.Identity`.  *raw_public_key* is a private key
    for clients that know its public key and want no certificate (RFC 7250).  ``dev=True`` makes a
    development certificate, for names in *dev_hostnames* beside those of this machine, and logs the
    JavaScript that connects to it.

    With *client_ca*, a PEM file, clients must have a certificate from there, and with *verify_client*, a
    callable ``verify(chain_der, server_name)``, one that it does not refuse by raising;
    *client_public_keys* are the keys of clients with a raw public key.  With ``client_auth="optional"``
    they may also have none: see :attr:`Session.peer_certificates`.  TLS secrets go to *keylog_file*, or to
    the file that SSLKEYLOGFILE names, a qlog file of each connection into *qlog_dir*, or the directory that
    QLOGDIR names.

    Processes that share *secrets*, of 32 bytes each, resume each other's TLS sessions and take each
    other's address validation tokens; kept over a restart, clients learn at once that their connections
    are gone (stateless reset).  The first one is used, tickets and tokens of all are taken.

    *retry* says when clients must prove their address before they get a connection, at the cost of a
    round trip (RFC 9000 Section 8.1.2): "always", "never", or "auto", under load (see :class:`Limits`).

    *origins* are the pages that may open sessions, as strings or compiled patterns (others get 403); None
    lets in all.  *on_request*, ``async def hook(request)``, sees each :class:`SessionRequest` first; it is
    accepted when the hook returns without an answer.  *protocols* are the application protocols that the
    server speaks, the best first.

    *close_timeout* bounds the end of a session in seconds, None for no limit.
    """

    def __init__(
        self,
        handler: Handler | Mapping[str, Handler] | None = None,
        host: str | Sequence[str] | None = "::",
        port: int = 4433,
        *,
        certfile: PemSource | None = None,
        keyfile: PemSource | None = None,
        dev: bool = False,
        dev_hostnames: Sequence[str] = (),
        certificates: Sequence[IdentitySource] = (),
        sni: ServerNames | None = None,
        raw_public_key: tls.Identity | PemSource | object = None,
        client_ca: PemSource | None = None,
        verify_client: VerifyCallback | None = None,
        client_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        client_auth: ClientAuth = "required",
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        qlog_dir: str | os.PathLike[str] | None = None,
        secrets: Sequence[bytes] = (),
        retry: str = "auto",
        origins: Iterable[str | re.Pattern[str]] | None = None,
        on_request: RequestHook | None = None,
        protocols: Sequence[str] = (),
        config: Config | None = None,
        limits: Limits | None = None,
        close_timeout: float | None = 5,
        **foreign: Never,
    ) -> None:
        refuse("serve", foreign)
        if config is not None and not isinstance(config, Config):
            raise TypeError(f"config is a cwt.Config, not {config!r}")
        if handler is None and on_request is not None:
            raise ConfigError("on_request is of no use without a handler; iterate over the server")
        if not all(len(secret) == 32 for secret in secrets):
            raise ConfigError("each of secrets must have 32 bytes, such as os.urandom(32) gives")
        if retry not in ("auto", "always", "never"):
            raise ConfigError(f'retry must be "auto", "always" or "never", not {retry!r}')
        self._hosts = [host] if host is None or isinstance(host, str) else list(host)
        self._port = port
        self._dev = self._make_certificate(dev_hostnames) if dev else None
        if self._dev is not None and certfile is not None:
            raise ConfigError("give certfile and keyfile, or dev=True, not both")
        self._tls = tls.ServerContext(
            alpn=[b"h3"],
            certfile=certfile,
            keyfile=keyfile,
            certificate_chain=None if self._dev is None else self._dev.chain,
            private_key=None if self._dev is None else self._dev.private_key,
            certificates=certificates,
            sni=sni,
            raw_public_key=raw_public_key,
            client_ca=client_ca,
            verify_client=verify_client,
            client_public_keys=client_public_keys,
            client_auth=client_auth,
            keylog_file=keylog_file,
            ticket_keys=[
                expand_label("sha256", secret, b"cwt ticket", b"", 32) for secret in secrets
            ],
        )
        self._options: dict[str, Any] = {
            "config": with_qlog(config or Config(), qlog_dir),
            "limits": limits or Limits(),
            "origins": Origins(origins),
            "protocols": protocol_list(protocols),
            "on_request": on_request,
            "secrets": secrets,
            "retry": retry,
            "close_timeout": 3600.0 if close_timeout is None else close_timeout,
            "dev": self._dev,
        }
        self._routes = None if handler is None else Routes(handler)
        self._server: Server | None = None

    def __await__(self) -> Generator[Any, None, Server]:
        return self._start().__await__()

    async def __aenter__(self) -> Server:
        self._server = await self._start()
        return self._server

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    def _make_certificate(self, hostnames: Sequence[str]) -> DevelopmentCertificate:
        from cwt.tls.development import development_certificate

        if isinstance(hostnames, str):
            raise TypeError(f"dev_hostnames is a list: pass [{hostnames!r}]")
        own = [host for host in self._hosts if host not in (None, "", "::", "0.0.0.0")]
        names = ["localhost", "127.0.0.1", "::1", *own, *hostnames]
        return development_certificate(list(dict.fromkeys(name for name in names if name)))

    async def _start(self) -> Server:
        server = Server(self._routes, self._tls, **self._options)
        sockets: list[quic.UdpSocket] = []
        try:
            port = self._port
            for host in await self._resolve():
                sockets.append(_bind(host, port))
                port = sockets[-1].local_address[1]
            while sockets:
                server._listen(sockets[0])
                sockets.pop(0)
            server._listen_at_preferred()
        except BaseException:
            for sock in sockets:
                sock.close()
            for endpoint in server._endpoints:
                endpoint.close()
            raise
        if self._dev is not None:
            logger.warning(
                "development certificate, for 13 days and this machine; in a browser:\n%s",
                self._dev.javascript(f"https://127.0.0.1:{server.port}/"),
            )
        return server

    async def _resolve(self) -> list[str]:
        """The addresses to bind to."""
        loop = asyncio.get_running_loop()
        result: list[str] = []
        for host in self._hosts:
            if not host or host == "::":
                result.append("::" if socket.has_ipv6 else "0.0.0.0")
                continue
            found = await loop.getaddrinfo(
                host, self._port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE
            )
            result.extend(str(item[0]) for *_, item in found)
        return list(dict.fromkeys(result))


def _bind(host: str, port: int) -> quic.UdpSocket:
    try:
        return quic.UdpSocket.bind(host, port)
    except OSError as error:
        if host == "::" and error.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
            return quic.UdpSocket.bind("0.0.0.0", port)
        advice = {
            errno.EADDRINUSE: "another program uses it; stop that one or take another port",
            errno.EACCES: "ports below 1024 need privileges; take a higher one",
            errno.EADDRNOTAVAIL: "the address is not one of this machine",
        }.get(error.errno or 0, "check the address")
        raise OSError(
            error.errno, f"cannot serve on UDP {host} port {port}: {error.strerror}; {advice}"
        ) from error
