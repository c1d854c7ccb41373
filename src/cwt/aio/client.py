"""The client: :func:`cwt.connect`."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import random
import socket
import sys
from collections.abc import AsyncIterator, Callable, Generator, Iterable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Never

import cwt.quic as quic
import cwt.tls as tls
import cwt.webtransport as webtransport
from cwt.aio.connection import Connection
from cwt.aio.endpoint import Endpoint
from cwt.aio.headers import Headers, HeadersLike, header_list
from cwt.aio.options import Url, certificate_hash, parse_url, protocol_list, refuse, with_qlog
from cwt.aio.session import Session
from cwt.config import Config
from cwt.errors import (
    ApplicationError,
    CertificateError,
    ConfigError,
    ConnectError,
    ConnectTimeout,
    H3ErrorCode,
    HandshakeError,
    IdleTimeout,
    MigrationError,
    SessionRejected,
    TransportError,
    TransportErrorCode,
)

if TYPE_CHECKING:
    from cwt.tls.certificates import PemSource
    from cwt.tls.keylog import TextWriter
    from cwt.tls.public_keys import PublicKeySource, VerifyKeyCallback
    from cwt.tls.sessions import SessionCache

__all__ = ["connect"]

logger = logging.getLogger("cwt.client")

_KEEP_ALIVE = 15.0
"""Seconds of silence until a PING, as in browsers: a session must not end because nobody has spoken."""
_IP_RECVERR = 11
_IPV6_RECVERR = 25
_UNREACHABLE = {
    errno.ECONNREFUSED: "nobody listens there; start the server, or check the port",
    errno.EHOSTUNREACH: "the host cannot be reached; check that it is up",
    errno.ENETUNREACH: "there is no way to this network; check the address and the network",
    errno.EACCES: "a firewall forbids it",
    errno.EPERM: "a firewall forbids it",
}
_STAGGER = 0.25
"""Seconds until the next address is tried beside the one before (RFC 8305 Section 8)."""
_SHORT_SESSION = 5.0
"""Seconds: a session that ended sooner does not count as a success for the back-off."""
_ALERTS_ABOUT_CERTIFICATE = frozenset({42, 43, 44, 45, 46, 48, 49, 113, 116})
_ALERT_ADVICE = {
    40: "handshake_failure: the two sides have no algorithm in common",
    42: "bad_certificate",
    43: "unsupported_certificate",
    44: "certificate_revoked",
    45: "certificate_expired",
    46: "certificate_unknown",
    48: "unknown_ca: the certificate's authority is not trusted",
    70: "protocol_version: TLS 1.3 is needed",
    80: "internal_error",
    112: "unrecognized_name: the server has no certificate for this host name",
    116: "certificate_required: pass client_cert= and client_key=",
    120: "no_application_protocol: it does not speak HTTP/3 (h3)",
}
_RETRIED_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


class ClientConnection(Connection):
    """A connection that asks for one session."""

    def __init__(
        self,
        endpoint: Endpoint,
        quic_connection: quic.Connection,
        config: Config,
        close_timeout: float,
    ) -> None:
        super().__init__(endpoint, quic_connection, config, close_timeout)
        self.linger = close_timeout / 2
        self.ready: asyncio.Future[None] = self.loop.create_future()
        endpoint.on_socket_error = self._on_socket_error
        self._answer: asyncio.Future[Session] | None = None
        self._url: Url | None = None
        self._moves: dict[tuple[str, int], asyncio.Future[None]] = {}
        """Who waits for a move to a local address."""

    def lost(self, error: Exception) -> None:
        super().lost(error)
        for waiter in (self.ready, self._answer, *self._moves.values()):
            if waiter is not None and not waiter.done():
                waiter.set_exception(error)
                waiter.exception()
        # Without a socket nothing late can be answered, so the closing period is over (RFC 9000
        # Section 10.2).
        self.endpoint.close_when_sent()

    async def wait_acknowledged(self, session_id: int) -> None:
        await super().wait_acknowledged(session_id)
        await self.endpoint.wait_closed()

    async def ask(
        self,
        url: Url,
        *,
        origin: str | None,
        protocols: Sequence[str],
        headers: Sequence[tuple[str, str]],
    ) -> Session:
        """Ask for a session and wait for the answer."""
        self._url = url
        self._answer = self.loop.create_future()
        self.wt.connect(
            url.authority, url.path, origin=origin, protocols=protocols, headers=headers
        )
        return await self._answer

    async def migrate(self, host: str | None, port: int) -> None:
        any_address = "::" if ":" in self.endpoint.local_address[0] else "0.0.0.0"
        try:
            sock = quic.UdpSocket.bind(host or any_address, port)
            self.endpoint.add_socket(sock)
        except (OSError, NotImplementedError) as error:
            raise MigrationError(f"no UDP socket at {host or any_address}: {error}") from error
        local = sock.local_address
        waiter = self._moves[local] = self.loop.create_future()
        try:
            self.quic.migrate(local)
            await waiter
        finally:
            del self._moves[local]
            if not self.is_lost:
                self._close_sockets()

    def _on_path_event(self, event: quic.PathEvent) -> None:
        super()._on_path_event(event)
        waiter = None if event.local is None else self._moves.get(event.local)
        if waiter is not None and not waiter.done():
            if event.kind is quic.PathEventKind.MIGRATED:
                waiter.set_result(None)
            elif event.kind in (quic.PathEventKind.FAILED, quic.PathEventKind.CLOSED):
                waiter.set_exception(
                    MigrationError(
                        f"the server does not answer to {event.local}; the connection stays"
                    )
                )
        if event.kind in (quic.PathEventKind.FAILED, quic.PathEventKind.CLOSED):
            self._close_sockets()

    def _close_sockets(self) -> None:
        """Close the sockets that no path needs."""
        used = {local for local, _ in self.quic.paths_iter() if local is not None}
        self.endpoint.keep_sockets(used | self._moves.keys())

    def _on_socket_error(self, code: int) -> None:
        """While nothing has come from the server, ICMP says what is the matter with it."""
        is_silent = not (self.ready.done() or self.quic.stats().packets_received)
        if is_silent and code in _UNREACHABLE:
            host, port = self.remote_address
            self.ready.set_exception(
                ConnectError(
                    f"no session with {host}:{port} (UDP): {_UNREACHABLE[code]} ({os.strerror(code)})"
                )
            )
        else:
            self.endpoint.on_socket_error = None
            _report_unreachable(self.endpoint.sock, False)

    def _on_ended(self) -> None:
        self.close()

    def _on_ready(self, event: webtransport.Ready) -> None:
        if self.ready.done():
            return
        if event.dialect is None:
            self.ready.set_exception(
                ConnectError(
                    "the server speaks HTTP/3 without WebTransport; switch it on there, or check the port"
                )
            )
        else:
            self.ready.set_result(None)

    def _on_session_accepted(self, event: webtransport.SessionAccepted) -> None:
        if self._answer is None or self._answer.done() or self._url is None:
            return
        session = Session(
            self,
            event.session_id,
            event.datagrams,
            url=self._url.text,
            headers=Headers(event.headers),
            protocol=event.protocol,
        )
        self._answer.set_result(session)

    def _on_session_rejected(self, event: webtransport.SessionRejected) -> None:
        if self._answer is None or self._answer.done():
            return
        if event.status:
            headers = Headers(event.headers).pairs()
            self._answer.set_exception(SessionRejected(event.status, headers))
        else:
            self._answer.set_exception(
                ConnectError("the server reset the request for a session; see its log for why")
            )

    def _on_session_closed(self, event: webtransport.SessionClosed) -> None:
        if event.session_id in self.sessions:
            super()._on_session_closed(event)
        elif self._answer is not None and not self._answer.done():
            self._answer.set_exception(
                ConnectError("the server closed the request for a session without an answer")
            )

    _actions: ClassVar[dict[type, Callable[[Any, Any], None]]] = {
        **Connection._actions,
        webtransport.Ready: _on_ready,
        webtransport.SessionAccepted: _on_session_accepted,
        webtransport.SessionRejected: _on_session_rejected,
        webtransport.SessionClosed: _on_session_closed,
    }


class connect:
    """Open a WebTransport session to *url*, such as ``https://example.com:4433/chat``.

    ::

        session = await cwt.connect(url)            # close it with: await session.close()
        async with cwt.connect(url) as session:     # closed at the end
        async for session in cwt.connect(url):      # for ever: again after each end, with back-off

    *protocols* are offered to the server in order of preference; ``session.protocol`` is its choice.
    *headers* are sent with the request, *origin* as its Origin.

    *verify* says which servers are trusted: True for the system's certificate authorities, a PEM file for
    those in it, a callable ``verify(chain_der, host)`` that raises to refuse, False for no check.
    *server_certificate_hashes* are SHA-256 hashes of certificates to accept instead, as browsers do,
    *server_public_keys* public keys that the server may have (PEM files, or a callable
    ``verify(public_key_der, host)``), in a certificate or without one (RFC 7250).
    *client_cert* and *client_key* are PEM files (or their content) for servers that ask for them, and so is
    *raw_public_key*, a private key, for servers that know its public key.
    TLS secrets go to *keylog_file*, or to the file that SSLKEYLOGFILE names, a qlog file of the connection
    into *qlog_dir*, or the directory that QLOGDIR names.  TLS sessions are resumed from
    *session_cache*, a :class:`SessionCache` that calls may share; without it only ``async for`` does so.

    *config* has all limits and timers; without it, a PING every 15 s of silence keeps the session open.
    *open_timeout* and *close_timeout* are the seconds that opening and closing may take, None for no limit.
    *address*, a host or an IP address, is connected to in place of the URL's host.  *reconnect_delay* has
    the shortest and the longest pause between attempts of ``async for``, in seconds.

    Raises :class:`ConnectTimeout`, :class:`CertificateError`, :class:`HandshakeError`,
    :class:`SessionRejected`, or :class:`ConnectError` above them all.
    """

    def __init__(
        self,
        url: str,
        *,
        protocols: Sequence[str] = (),
        headers: HeadersLike = (),
        origin: str | None = None,
        verify: bool | str | os.PathLike[str] | Callable[[list[bytes], str], object] = True,
        server_certificate_hashes: Iterable[bytes | str] = (),
        server_public_keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
        client_cert: tls.Identity | PemSource | None = None,
        client_key: PemSource | None = None,
        raw_public_key: tls.Identity | PemSource | object = None,
        keylog_file: str | os.PathLike[str] | TextWriter | None = None,
        qlog_dir: str | os.PathLike[str] | None = None,
        session_cache: SessionCache | None = None,
        config: Config | None = None,
        open_timeout: float | None = 10,
        close_timeout: float | None = 5,
        address: str | None = None,
        reconnect_delay: tuple[float, float] = (0.5, 30.0),
        **foreign: Never,
    ) -> None:
        refuse("connect", foreign)
        if config is not None and not isinstance(config, Config):
            raise TypeError(f"config is a cwt.Config, not {config!r}")
        if isinstance(server_certificate_hashes, bytes | str):
            raise TypeError("server_certificate_hashes is a list: put the hash into brackets")
        self._url = parse_url(url)
        self._protocols = protocol_list(protocols)
        self._headers = header_list(headers)
        self._origin = origin
        self._tls = tls.ClientContext(
            alpn=[b"h3"],
            verify=verify,
            server_certificate_hashes=[
                certificate_hash(value) for value in server_certificate_hashes
            ],
            server_public_keys=server_public_keys,
            client_cert=client_cert,
            client_key=client_key,
            raw_public_key=raw_public_key,
            keylog_file=keylog_file,
            session_cache=session_cache,
        )
        self._config = with_qlog(config or Config(keep_alive_interval=_KEEP_ALIVE), qlog_dir)
        self._open_timeout = open_timeout
        self._close_timeout = 3600.0 if close_timeout is None else close_timeout
        self._address = address or self._url.host
        self._first_delay, self._longest_delay = reconnect_delay
        self._session: Session | None = None

    # await, async with, async for

    def __await__(self) -> Generator[Any, None, Session]:
        return self._open().__await__()

    async def __aenter__(self) -> Session:
        if self._session is not None:
            raise RuntimeError("this connect() is in use; call connect() again for another session")
        self._session = await self._open()
        return self._session

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.__aexit__(kind, error, traceback)

    async def __aiter__(self) -> AsyncIterator[Session]:
        loop = asyncio.get_running_loop()
        delay = self._first_delay
        if self._tls.session_cache is None:
            self._tls.remember_sessions(tls.SessionCache())
        while True:
            try:
                session = await self._open()
            except ConnectError as error:
                if not _is_temporary(error):
                    raise
                logger.info("%s: %s; next attempt in %.1f s", self._url.text, error, delay)
            else:
                started = loop.time()
                async with session:
                    yield session
                if loop.time() - started >= _SHORT_SESSION:
                    delay = self._first_delay
                    continue
            await asyncio.sleep(delay * random.uniform(0.8, 1.2))
            delay = min(delay * 1.6, self._longest_delay)

    # Opening

    async def _open(self) -> Session:
        try:
            async with asyncio.timeout(self._open_timeout):
                connection = await self._connect()
                try:
                    return await connection.ask(
                        self._url,
                        origin=self._origin,
                        protocols=self._protocols,
                        headers=self._headers,
                    )
                except BaseException as error:
                    connection.close(H3ErrorCode.REQUEST_CANCELLED)
                    if isinstance(error, ConnectionError):
                        explained = self._explain(error, self._url.host)
                        raise explained from explained.__cause__
                    raise
        except TimeoutError as error:
            if isinstance(error, ConnectError):
                raise
            raise ConnectTimeout(
                f"no session with {self._url.authority} within {self._open_timeout} s; check that the "
                f"server runs, that UDP port {self._url.port} is open on the way, and that it speaks HTTP/3"
            ) from None

    async def _connect(self) -> ClientConnection:
        """A connection to one of the host's addresses."""
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(self._address, self._url.port, type=socket.SOCK_DGRAM)
        except OSError as error:
            raise ConnectError(
                f"cannot find the address of {self._address!r} ({error.strerror or error}); check the "
                "host name and the network"
            ) from error
        addresses = list(
            dict.fromkeys(
                (int(family), str(item[0]), int(item[1])) for family, _, _, _, item in found
            )
        )
        if len(addresses) == 1:
            return await self._attempt(*addresses[0])
        return await self._race(addresses)

    async def _race(self, addresses: list[tuple[int, str, int]]) -> ClientConnection:
        """The first of *addresses* that answers (RFC 8305), in the resolver's order."""
        left = addresses[::-1]
        running: set[asyncio.Task[ClientConnection]] = set()
        errors: list[BaseException] = []
        winner: ClientConnection | None = None
        try:
            while left or running:
                if left:
                    running.add(asyncio.ensure_future(self._attempt(*left.pop())))
                done, running = await asyncio.wait(
                    running,
                    timeout=_STAGGER if left else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                for task in done:
                    error = task.exception()
                    if error is not None:
                        errors.append(error)
                    elif winner is None:
                        winner = task.result()
                    else:
                        task.result().close()
                if winner is not None:
                    return winner
        finally:
            for task in running:
                task.add_done_callback(_discard)
                task.cancel()
        raise min(errors, key=lambda error: isinstance(error, ConnectTimeout))

    async def _attempt(self, family: int, host: str, port: int) -> ClientConnection:
        """A connection to one address, ready for sessions."""
        any_address = "::" if family == socket.AF_INET6 else "0.0.0.0"
        try:
            sock = quic.UdpSocket.bind(any_address, 0)
        except OSError as error:
            raise ConnectError(f"no UDP socket for {host} ({error.strerror or error})") from error
        connection: ClientConnection | None = None
        endpoint: Endpoint | None = None
        try:
            _report_unreachable(sock, True)
            core = quic.Endpoint(self._config)
            endpoint = Endpoint(core, sock)
            quic_connection = core.connect(
                self._url.host,
                (host, port),
                self._tls,
                endpoint.now(),
                local=sock.local_address,
            )
            connection = ClientConnection(
                endpoint, quic_connection, self._config, self._close_timeout
            )
            quic_connection.user_data = connection
            await connection.ready
            endpoint.on_socket_error = None
            _report_unreachable(sock, False)
            return connection
        except BaseException as error:
            if connection is not None:
                connection.close()
            elif endpoint is not None:
                endpoint.close()
            else:
                sock.close()
            if isinstance(error, ConnectionError):
                explained = self._explain(error, host)
                raise explained from explained.__cause__
            raise

    def _explain(self, error: Exception, host: str) -> ConnectError:
        """The exception for the user when the connection failed with *error*."""
        where = f"{self._url.authority} ({host})" if host != self._url.host else self._url.authority
        if isinstance(error, IdleTimeout) or (
            isinstance(error, HandshakeError) and error.code is None
        ):
            return ConnectTimeout(
                f"no answer from {where}; check that the server runs and that UDP port "
                f"{self._url.port} is open on the way"
            )
        if isinstance(error, ConnectError):
            return error
        if isinstance(error, TransportError):
            return _explain_transport(error, where)
        if isinstance(error, ApplicationError) and error.remote:
            return ConnectError(f"{where} refuses the session: {error}")
        return ConnectError(f"no session with {where}: {error}")


def _report_unreachable(sock: quic.UdpSocket, enabled: bool) -> None:
    """Have *sock* learn of ICMP errors, or not: anyone can send them, so only before a first answer."""
    if sys.platform == "linux":
        level, option = socket.IPPROTO_IP, _IP_RECVERR
        if ":" in sock.local_address[0]:
            level, option = socket.IPPROTO_IPV6, _IPV6_RECVERR
        with socket.socket(fileno=os.dup(sock.fileno())) as copy:
            copy.setsockopt(level, option, enabled)


def _discard(task: asyncio.Task[ClientConnection]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


def _explain_transport(error: TransportError, where: str) -> ConnectError:
    alert = error.code - TransportErrorCode.CRYPTO_ERROR
    if not 0 <= alert <= 255:
        if error.code == TransportErrorCode.CONNECTION_REFUSED:
            return ConnectError(f"{where} takes no connections now; try again later")
        return HandshakeError(f"no connection with {where}: {error}", error.code)
    if not error.remote and alert in _ALERTS_ABOUT_CERTIFICATE:
        refused_by = error.__cause__
        if refused_by is not None and getattr(refused_by, "by_callback", False):
            why = refused_by.__cause__
            text = error.reason if why is None else f"{error.reason}: {why}"
            refusal = CertificateError(f"the certificate of {where} is refused: {text}")
            refusal.__cause__ = why
            return refusal
        return CertificateError(
            f"the certificate of {where} is refused: {error.reason}; pass verify= with the file of its "
            "authority, or server_certificate_hashes= for a development certificate"
        )
    who = "it says" if error.remote else "this side says"
    name = _ALERT_ADVICE.get(alert, f"TLS alert {alert}")
    reason = f" ({error.reason})" if error.reason else ""
    return HandshakeError(f"no TLS connection with {where}: {who} {name}{reason}", error.code)


def _is_temporary(error: ConnectError) -> bool:
    """Whether another attempt can go better without a change."""
    if isinstance(error, SessionRejected):
        return error.status in _RETRIED_STATUS
    return not isinstance(error, CertificateError | ConfigError)
