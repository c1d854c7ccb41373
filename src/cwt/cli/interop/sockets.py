"""A server on two UDP ports, as one that names a preferred address is (RFC 9000 Section 9.6)."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING

from cwt import quic

if TYPE_CHECKING:
    from cwt._core.endpoint import Endpoint as QuicEndpoint
    from cwt.aio.port import Port

__all__ = ["TwoSockets", "own_address", "two_sockets"]

_MOST_SENT = 256
"""Datagrams of one pass, about a millisecond of work."""


def two_sockets(other: quic.UdpSocket) -> Callable[..., Port]:
    """What makes the port of a driver whose endpoint is at *other*, too."""

    def make(
        endpoint: QuicEndpoint,
        sock: quic.UdpSocket,
        now: Callable[[], float],
        on_readable: Callable[[], None],
        on_writable: Callable[[], None],
    ) -> Port:
        return TwoSockets(endpoint, (sock, other), on_readable, on_writable)

    return make


class TwoSockets:
    """A port of the driver with two sockets: answers leave by the one that was written to."""

    def __init__(
        self,
        endpoint: QuicEndpoint,
        sockets: tuple[quic.UdpSocket, quic.UdpSocket],
        on_readable: Callable[[], None],
        on_writable: Callable[[], None],
    ) -> None:
        self._endpoint = endpoint
        self._sockets = {sock.local_address[1]: sock for sock in sockets}
        self._main = sockets[0]
        self._loop = asyncio.get_running_loop()
        self._on_writable = on_writable
        self._blocked: quic.UdpSocket | None = None
        for sock in sockets:
            self._loop.add_reader(sock.fileno(), on_readable)

    @property
    def last_error(self) -> int:
        return self._main.counters.last_error

    def receive(self, now: float) -> bool:
        for sock in self._sockets.values():
            for item in sock.recv_all():
                info = quic.RecvInfo(item.source, item.destination, item.ecn)
                self._endpoint.recv(item.data, info, now)
        return False

    def transmit(self, now: float) -> bool:
        for _ in range(_MOST_SENT):
            out = self._endpoint.send(now)
            if out is None:
                break
            data, info = out
            sock = self._main
            if info.from_ is not None:
                sock = self._sockets.get(info.from_[1], sock)
            if not sock.sendto(data, info.to, from_=info.from_, ecn=info.ecn):
                self._blocked = sock  # the datagram is lost, as it may be on any link
                return False
        return True

    def watch_writable(self) -> None:
        if self._blocked is not None:
            self._loop.add_writer(self._blocked.fileno(), self._writable)

    def _writable(self) -> None:
        if self._blocked is not None:
            self._loop.remove_writer(self._blocked.fileno())
            self._blocked = None
        self._on_writable()

    def close(self) -> None:
        for sock in self._sockets.values():
            self._loop.remove_reader(sock.fileno())
            self._loop.remove_writer(sock.fileno())
            sock.close()


def own_address(family: int) -> str | None:
    """The address of this machine that others would reach it at, as far as its routes say."""
    somewhere = (
        "2001:db8::1" if family == socket.AF_INET6 else "192.0.2.1"
    )  # for documentation only
    with (
        contextlib.suppress(OSError),
        socket.socket(family, socket.SOCK_DGRAM) as sock,
    ):
        sock.connect((somewhere, 9))  # which sends nothing
        return str(sock.getsockname()[0])
    return None
