"""A UDP socket under an event loop: watched and moved in batches, or behind a DatagramTransport."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import cwt.quic as quic

if TYPE_CHECKING:
    from cwt._core.endpoint import Endpoint as QuicEndpoint
    from cwt._types import Address

__all__ = ["Port", "SocketPort", "TransportPort", "open_port"]

logger = logging.getLogger("cwt.endpoint")

_ENOUGH = 2 << 20
"""Bytes of a receive buffer that hold what comes while the program does something else."""
_MAX_WAITING = 1024
"""Received datagrams that a transport may give before they are taken in; then more are dropped."""
_MOST_SENT = 256
"""Datagrams of one pass, about a millisecond of work where each is a system call."""
_MAX_KNOWN = 1024
"""Addresses remembered in the other form."""


class Port(Protocol):
    """What the driver asks of its socket."""

    def receive(self, now: float, /) -> bool:
        """Take in what arrived, up to about a millisecond of work."""

    def transmit(self, now: float, /) -> bool:
        """Send what is due, up to about a millisecond of work; False when the socket takes no more."""

    def watch_writable(self) -> None:
        """Call ``on_writable``, once, when the socket takes more."""

    def add(self, sock: quic.UdpSocket) -> None:
        """Receive and send through *sock*, too; NotImplementedError where one socket is all."""

    def remove(self, sock: quic.UdpSocket) -> None:
        """Close *sock*, which is not the only one."""

    @property
    def last_error(self) -> int:
        """The errno of the last failure, 0 if there was none."""

    def close(self) -> None:
        """Leave the event loop and close the socket; what is unsent is lost."""


def open_port(
    endpoint: QuicEndpoint,
    sock: quic.UdpSocket,
    now: Callable[[], float],
    on_readable: Callable[[], None],
    on_writable: Callable[[], None],
) -> Port:
    """The port of *sock* on the running event loop.

    ``CWT_UDP=transport`` in the environment has a loop that can watch sockets use a transport all the
    same; the socket's own fallbacks are chosen when it is bound.
    """
    _check_buffer(sock.receive_buffer)
    if os.environ.get("CWT_UDP") != "transport":
        try:
            return SocketPort(endpoint, sock, now, on_readable, on_writable)
        except NotImplementedError:
            pass  # such as the Proactor loop of Windows
    return TransportPort(endpoint, sock, on_readable, on_writable)


@cache
def _check_buffer(size: int) -> None:
    """Say, once, that the system gives less than we ask for."""
    if size < _ENOUGH:
        logger.info(
            "UDP sockets get receive buffers of %d bytes here: at high rates packets will be lost; on "
            "Linux `sysctl -w net.core.rmem_max=4194304 net.core.wmem_max=4194304` allows more",
            size,
        )


class SocketPort:
    """Sockets that the event loop watches, mostly one, and a pump."""

    __slots__ = (
        "_loop",
        "_on_readable",
        "_on_writable",
        "_pump",
        "_sockets",
        "_watched",
        "receive",
        "transmit",
    )

    def __init__(
        self,
        endpoint: QuicEndpoint,
        sock: quic.UdpSocket,
        now: Callable[[], float],
        on_readable: Callable[[], None],
        on_writable: Callable[[], None],
    ) -> None:
        """Raises NotImplementedError when the event loop watches no sockets."""
        self._pump = pump = quic.Pump(endpoint, sock, now)
        self.receive = pump.receive
        self.transmit = pump.transmit
        self._loop = asyncio.get_running_loop()
        self._sockets = [sock]
        self._on_readable = on_readable
        self._on_writable = on_writable
        self._watched: int | None = None
        self._loop.add_reader(sock.fileno(), on_readable)

    def add(self, sock: quic.UdpSocket) -> None:
        self._pump.add(sock)
        self._sockets.append(sock)
        self._loop.add_reader(sock.fileno(), self._on_readable)

    def remove(self, sock: quic.UdpSocket) -> None:
        self._pump.remove(sock)
        self._sockets.remove(sock)
        self._loop.remove_reader(sock.fileno())
        if self._watched == sock.fileno():
            self._loop.call_soon(self._writable)
        sock.close()

    def watch_writable(self) -> None:
        self._watched = (self._pump.blocked or self._sockets[0]).fileno()
        self._loop.add_writer(self._watched, self._writable)

    def _writable(self) -> None:
        if self._watched is not None:
            self._loop.remove_writer(self._watched)
            self._watched = None
            self._on_writable()

    @property
    def last_error(self) -> int:
        return self._sockets[0].counters.last_error

    def close(self) -> None:
        if self._watched is not None:
            self._loop.remove_writer(self._watched)
            self._watched = None
        for sock in self._sockets:
            self._loop.remove_reader(sock.fileno())
            sock.close()


class TransportPort(asyncio.DatagramProtocol):
    """A DatagramTransport, for event loops that have nothing else: each datagram is an object, a callback
    and a system call, and there is neither ECN nor the address that a datagram was sent to."""

    def __init__(
        self,
        endpoint: QuicEndpoint,
        sock: quic.UdpSocket,
        on_readable: Callable[[], None],
        on_writable: Callable[[], None],
    ) -> None:
        self.last_error = 0
        self._loop = asyncio.get_running_loop()
        self._endpoint = endpoint
        self._sock = sock
        self._on_readable = on_readable
        self._on_writable = on_writable
        self._local = sock.local_address
        self._waiting: list[tuple[bytes, Address]] = []
        self._transport: asyncio.DatagramTransport | None = None
        self._is_paused = True
        self._is_watched = False
        self._is_v6 = ":" in self._local[0]
        self._known: dict[Address, Address] = {}
        plain = sock.plain()
        self._opening = self._loop.create_task(self._open(plain))

    async def _open(self, plain: Any) -> None:
        try:
            await self._loop.create_datagram_endpoint(lambda: self, sock=plain)
        except OSError as error:
            self.last_error = error.errno or 0
            logger.warning("no transport for %s: %s", self._local, error)

    # For the driver

    def add(self, sock: quic.UdpSocket) -> None:
        sock.close()
        raise NotImplementedError("this event loop watches no sockets")

    def remove(self, sock: quic.UdpSocket) -> None:
        raise NotImplementedError("this event loop watches no sockets")

    def receive(self, now: float) -> bool:
        waiting, self._waiting = self._waiting, []
        recv, local = self._endpoint.recv, self._local
        for data, source in waiting:
            recv(data, quic.RecvInfo(source, local), now)
        return False

    def transmit(self, now: float) -> bool:
        send = self._endpoint.send
        for _ in range(_MOST_SENT):
            if self._is_paused or self._transport is None:
                return False
            out = send(now)
            if out is None:
                break
            data, info = out
            self._transport.sendto(data, self._converted(info.to, self._to_transport))
        return True

    def watch_writable(self) -> None:
        self._is_watched = True

    def close(self) -> None:
        self._is_watched = False
        self._waiting = []
        self._opening.cancel()
        if self._transport is not None:
            self._transport.abort()
        self._sock.close()

    # For the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]
        self.resume_writing()

    def datagram_received(self, data: bytes, addr: Address) -> None:
        if not self._waiting:
            self._loop.call_soon(self._readable)
        if len(self._waiting) < _MAX_WAITING:
            self._waiting.append((data, self._converted(addr, self._from_transport)))

    def _readable(self) -> None:
        if self._waiting:
            self._on_readable()

    def error_received(self, exc: Exception) -> None:
        if isinstance(exc, OSError) and exc.errno:
            self.last_error = exc.errno
            self._on_readable()

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._is_watched:
            self._is_watched = False
            self._on_writable()

    # Addresses: (host, port), IPv4 as such on a socket of IPv6, and a scope behind "%"

    def _converted(self, address: Address, convert: Callable[[Address], Address]) -> Address:
        if not self._is_v6:
            return address
        found = self._known.get(address)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._known[address] = convert(address)
        return found

    @staticmethod
    def _from_transport(address: Address) -> Address:
        host, port, _, scope = address
        host = host.partition("%")[0]
        if host.startswith("::ffff:") and "." in host:
            return host.removeprefix("::ffff:"), port
        return (f"{host}%{scope}" if scope else host), port

    @staticmethod
    def _to_transport(address: Address) -> Address:
        host, port = address
        if ":" not in host:
            return f"::ffff:{host}", port, 0, 0
        host, _, scope = host.partition("%")
        return host, port, 0, int(scope or 0)
