"""The peer's control stream (RFC 9114 Section 6.2.1, RFC 9218 Section 7)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from cwt._core.wire import varint
from cwt.errors import H3ErrorCode
from cwt.h3.fault import ConnectionFault
from cwt.h3.frames import FORBIDDEN_FRAMES, NO_FRAME, FrameReader, FrameType
from cwt.h3.settings import MAX_SETTINGS_SIZE, parse_settings

__all__ = [
    "ControlFrame",
    "ControlReader",
    "Goaway",
    "PriorityUpdate",
    "Settings",
    "parse_priority",
]

_MAX_PRIORITY_UPDATE = 256
"""Longer ones are skipped: a priority takes a dozen bytes."""

_NOT_HERE = FORBIDDEN_FRAMES | {FrameType.DATA, FrameType.HEADERS, FrameType.PUSH_PROMISE}
_SERVER_ONLY_RECEIVES = frozenset(
    (
        FrameType.MAX_PUSH_ID,
        FrameType.PRIORITY_UPDATE_REQUEST,
        FrameType.PRIORITY_UPDATE_PUSH,
    )
)
_PRIORITY = re.compile(r"\s*(?:u=(?P<urgency>[0-7])|i(?P<no>=\?0)?(?:=\?1)?)\s*(?:;.*)?")


@dataclass(slots=True)
class Settings:
    """The SETTINGS frame."""

    values: Mapping[int, int]


@dataclass(slots=True)
class Goaway:
    """A GOAWAY frame: the first identifier that is not taken."""

    identifier: int


@dataclass(slots=True)
class PriorityUpdate:
    """A PRIORITY_UPDATE frame for a request."""

    stream_id: int
    urgency: int
    incremental: bool


ControlFrame: TypeAlias = Settings | Goaway | PriorityUpdate


def parse_priority(value: bytes) -> tuple[int, bool]:
    """``(urgency, incremental)`` of a Priority field value (RFC 9218 Section 4); lenient."""
    urgency, incremental = 3, False
    for member in value.decode("latin-1").split(","):
        match = _PRIORITY.fullmatch(member)
        if match is None:
            continue
        if match["urgency"]:
            urgency = int(match["urgency"])
        else:
            incremental = not match["no"]
    return urgency, incremental


class ControlReader:
    """Parses the control stream and checks the order of its frames."""

    __slots__ = (
        "_frames",
        "_goaway",
        "_has_settings",
        "_is_client",
        "_max_push_id",
        "_skipping",
        "signals",
    )

    def __init__(self, is_client: bool, signals: tuple[int, ...] = ()) -> None:
        self.signals = signals
        """Frame types of extensions that may only start a request stream."""
        self._is_client = is_client
        self._frames = FrameReader()
        self._skipping = False
        self._has_settings = False
        self._goaway: int | None = None
        self._max_push_id = -1

    def feed(self, data: bytes) -> Iterator[ControlFrame]:
        """Frames that the connection must act on; ConnectionFault for what the peer did wrong."""
        frames = self._frames
        frames.buffer += data
        while True:
            if frames.type == NO_FRAME:
                if not frames.read_header():
                    return
                self._skipping = not self._wants(frames.type, frames.remaining)
            if self._skipping:
                if not frames.skip():
                    return
                continue
            frame_type = frames.type
            payload = frames.take_all()
            if payload is None:
                return
            frame = self._parse(frame_type, payload)
            if frame is not None:
                yield frame

    def _wants(self, frame_type: int, length: int) -> bool:
        """Whether the payload is to be buffered; the type is judged before the payload."""
        if not self._has_settings:
            if frame_type != FrameType.SETTINGS:
                raise ConnectionFault(
                    H3ErrorCode.MISSING_SETTINGS, "the control stream does not start with SETTINGS"
                )
            if length > MAX_SETTINGS_SIZE:
                raise ConnectionFault(H3ErrorCode.EXCESSIVE_LOAD, "SETTINGS is too large")
            self._has_settings = True
            return True
        if frame_type in _NOT_HERE or frame_type == FrameType.SETTINGS:
            raise _unexpected(frame_type)
        if self._is_client and frame_type in _SERVER_ONLY_RECEIVES:
            raise _unexpected(frame_type)
        if frame_type in self.signals:
            raise ConnectionFault(
                H3ErrorCode.FRAME_ERROR, f"0x{frame_type:x} only ever starts a request stream"
            )
        if frame_type in (FrameType.GOAWAY, FrameType.MAX_PUSH_ID, FrameType.CANCEL_PUSH):
            if not 1 <= length <= 8:
                raise _wrong_length(frame_type)
            return True
        return frame_type in _SERVER_ONLY_RECEIVES and length <= _MAX_PRIORITY_UPDATE

    def _parse(self, frame_type: int, payload: bytes) -> ControlFrame | None:
        if frame_type == FrameType.SETTINGS:
            return Settings(parse_settings(payload))
        decoded = varint.decode(payload)
        if decoded is None:
            raise _wrong_length(frame_type)
        value, end = decoded
        if frame_type in (FrameType.PRIORITY_UPDATE_REQUEST, FrameType.PRIORITY_UPDATE_PUSH):
            return self._on_priority_update(frame_type, value, payload[end:])
        if end != len(payload):
            raise _wrong_length(frame_type)
        if frame_type == FrameType.GOAWAY:
            return self._on_goaway(value)
        if frame_type == FrameType.MAX_PUSH_ID:
            if value < self._max_push_id:
                raise ConnectionFault(H3ErrorCode.ID_ERROR, "MAX_PUSH_ID goes down")
            self._max_push_id = value
            return None
        raise ConnectionFault(
            H3ErrorCode.ID_ERROR, "CANCEL_PUSH for a push that was never promised"
        )

    def _on_goaway(self, identifier: int) -> Goaway:
        if self._is_client and identifier & 3:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, "GOAWAY does not name a request stream")
        if self._goaway is not None and identifier > self._goaway:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, "the identifier of GOAWAY goes up")
        self._goaway = identifier
        return Goaway(identifier)

    def _on_priority_update(
        self, frame_type: int, element: int, value: bytes
    ) -> PriorityUpdate | None:
        if frame_type == FrameType.PRIORITY_UPDATE_PUSH:
            raise ConnectionFault(H3ErrorCode.ID_ERROR, "priority of a push never promised")
        if element & 3:
            raise ConnectionFault(
                H3ErrorCode.ID_ERROR, "PRIORITY_UPDATE does not name a request stream"
            )
        return PriorityUpdate(element, *parse_priority(value))


def _unexpected(frame_type: int) -> ConnectionFault:
    return ConnectionFault(
        H3ErrorCode.FRAME_UNEXPECTED, f"frame 0x{frame_type:x} on the control stream"
    )


def _wrong_length(frame_type: int) -> ConnectionFault:
    return ConnectionFault(H3ErrorCode.FRAME_ERROR, f"frame 0x{frame_type:x} has the wrong length")
