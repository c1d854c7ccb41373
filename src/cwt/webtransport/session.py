"""One session and what travels on its CONNECT stream (draft-ietf-webtrans-http3 Sections 4.7 and 6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, IntEnum

from cwt._core.stream.datagram import DatagramFlow
from cwt.h3.capsules import DATAGRAM, CapsuleError, CapsuleReader, encode_capsule
from cwt.webtransport.dialects import Dialect
from cwt.webtransport.streams import Stream

__all__ = ["Capsule", "Close", "Session", "State", "close_capsule", "drain_capsule"]

MAX_REASON = 1024
"""Bytes of the longest reason (Section 6)."""


class Capsule(IntEnum):
    """Capsule types (Section 9.6)."""

    CLOSE_SESSION = 0x2843
    DRAIN_SESSION = 0x78AE
    MAX_STREAM_DATA = 0x190B4D3E
    STREAM_DATA_BLOCKED = 0x190B4D42


_LIMITS = {
    DATAGRAM: 65535,
    Capsule.CLOSE_SESSION: 4 + MAX_REASON,
    Capsule.DRAIN_SESSION: 0,
    Capsule.MAX_STREAM_DATA: 16,
    Capsule.STREAM_DATA_BLOCKED: 16,
}


class State(Enum):
    """Where a session stands."""

    REQUESTED = "server: not answered yet"
    CONNECTING = "client: no answer yet"
    OPEN = "established"


@dataclass(slots=True)
class Close:
    """A CLOSE_SESSION capsule, or the end of the stream that stands for ``Close(0, "")``."""

    code: int
    reason: str


def close_capsule(code: int, reason: str) -> bytes:
    """CLOSE_SESSION; a reason above 1024 bytes is cut at a character (Section 6)."""
    text = reason.encode("utf-8", "replace")
    if len(text) > MAX_REASON:
        text = text[:MAX_REASON].decode("utf-8", "ignore").encode()
    return encode_capsule(Capsule.CLOSE_SESSION, code.to_bytes(4, "big") + text)


def drain_capsule() -> bytes:
    """DRAIN_SESSION (Section 4.7)."""
    return encode_capsule(Capsule.DRAIN_SESSION, b"")


class Session:
    """State of one session."""

    __slots__ = (
        "_capsules",
        "datagrams",
        "dialect",
        "drain_received",
        "drain_sent",
        "drain_told",
        "has_draft_field",
        "held",
        "peer_finished",
        "protocols",
        "session_id",
        "state",
        "streams",
    )

    def __init__(
        self,
        session_id: int,
        state: State,
        dialect: Dialect,
        protocols: Sequence[str],
        datagrams: DatagramFlow,
    ) -> None:
        self.session_id = session_id
        self.state = state
        self.dialect = dialect
        self.protocols = list(protocols)
        """Offered by the client, in order of preference."""
        self.has_draft_field = False
        """The request named itself draft-02; so does the response then."""
        self.peer_finished = False
        """The end of the CONNECT stream came together with its header fields."""
        self.drain_sent = False
        self.drain_received = False
        self.drain_told = False
        self.streams: dict[int, Stream] = {}
        """Streams that are not done in both directions, those held among them."""
        self.held: list[Stream] = []
        """Streams of the peer that are announced once the session is open."""
        self.datagrams = datagrams
        self._capsules = CapsuleReader(_LIMITS)

    def feed(self, data: bytes, ended: bool) -> Close | None:
        """Bytes of the CONNECT stream, and whether it ends with them; a Close when the session does.

        Sets ``drain_received`` and adds to ``datagrams``.  Raises CapsuleError for what is malformed.
        """
        for capsule_type, payload in self._capsules.feed(data):
            if capsule_type == Capsule.CLOSE_SESSION:
                if not self._capsules.is_idle:
                    raise CapsuleError("data after CLOSE_SESSION")
                return _parse_close(payload)
            if capsule_type == Capsule.DRAIN_SESSION:
                self.drain_received = True
            elif capsule_type == DATAGRAM:
                self.datagrams.put(payload)
            elif self.dialect.rejects_stream_data_capsules:
                raise CapsuleError("a capsule that belongs to WebTransport over HTTP/2")
        if not ended:
            return None
        if not self._capsules.is_idle:
            raise CapsuleError("the stream ends inside a capsule")
        return Close(0, "")


def _parse_close(payload: bytes) -> Close:
    if len(payload) < 4:
        raise CapsuleError("CLOSE_SESSION is too short")
    try:
        return Close(int.from_bytes(payload[:4], "big"), payload[4:].decode())
    except UnicodeDecodeError:
        raise CapsuleError("the reason of CLOSE_SESSION is not UTF-8") from None
