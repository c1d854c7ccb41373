"""The case ``versionnegotiation``: a version that nobody speaks is answered with those that the server does
(RFC 9000 Section 6)."""

from __future__ import annotations

import asyncio
import os

from cwt import quic
from cwt.cli.interop.exchange import Failed

__all__ = ["UNKNOWN_VERSION", "probe"]

UNKNOWN_VERSION = 0x1A2A3A4A
"""A version reserved to force negotiation (RFC 9000 Section 15)."""

_TRIES = 10
_PAUSE = 0.5
"""Seconds until the next try."""
_SIZE = 1200


def _first_flight(dcid: bytes, scid: bytes) -> bytes:
    """In the form of an Initial packet of version 1: some servers read more than RFC 8999 promises."""
    head = b"\xc0" + UNKNOWN_VERSION.to_bytes(4, "big")
    head += bytes([len(dcid)]) + dcid + bytes([len(scid)]) + scid + b"\0"
    rest = _SIZE - len(head) - 2
    return head + (0x4000 | rest).to_bytes(2, "big") + os.urandom(rest)


def _answers(datagram: bytes, dcid: bytes, scid: bytes) -> bool:
    try:
        header = quic.Header.from_slice(datagram)
    except ValueError:
        return False
    # The versions stand where other packets have a token.
    versions = {header.token[i : i + 4] for i in range(0, len(header.token), 4)}
    return (
        header.type == quic.PacketType.VERSION_NEGOTIATION
        and (header.dcid, header.scid) == (scid, dcid)
        and UNKNOWN_VERSION.to_bytes(4, "big") not in versions
    )


async def probe(sock: quic.UdpSocket, server: tuple[str, int]) -> None:
    """Begin a connection in an unknown version; raises Failed unless the server says which it speaks."""
    dcid, scid = os.urandom(8), os.urandom(8)
    loop = asyncio.get_running_loop()
    readable = asyncio.Event()
    loop.add_reader(sock.fileno(), readable.set)
    try:
        for _ in range(_TRIES):
            sock.sendto(_first_flight(dcid, scid), server)
            try:
                async with asyncio.timeout(_PAUSE):
                    while not any(_answers(item.data, dcid, scid) for item in sock.recv_all()):
                        readable.clear()
                        await readable.wait()
                return
            except TimeoutError:
                pass
    finally:
        loop.remove_reader(sock.fileno())
    raise Failed("no Version Negotiation packet came")
