"""The SETTINGS frame (RFC 9114 Section 7.2.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from itertools import chain

from cwt._core.wire import varint
from cwt.config import Http3Config
from cwt.errors import H3ErrorCode
from cwt.h3.fault import ConnectionFault

__all__ = ["MAX_SETTINGS_SIZE", "Setting", "encode_settings", "our_settings", "parse_settings"]

MAX_SETTINGS_SIZE = 4096
"""Longest SETTINGS payload accepted; far above any real one."""


class Setting(IntEnum):
    """Setting identifiers (RFC 9114 Section 11.2.2, RFC 9204, RFC 9220, RFC 9297)."""

    QPACK_MAX_TABLE_CAPACITY = 0x01
    MAX_FIELD_SECTION_SIZE = 0x06
    QPACK_BLOCKED_STREAMS = 0x07
    ENABLE_CONNECT_PROTOCOL = 0x08
    H3_DATAGRAM = 0x33
    H3_DATAGRAM_DRAFT04 = 0xFFD277


_RESERVED = frozenset((0x00, 0x02, 0x03, 0x04, 0x05))
_BOOLEAN = frozenset((Setting.ENABLE_CONNECT_PROTOCOL, Setting.H3_DATAGRAM))


def our_settings(config: Http3Config, *, extended_connect: bool) -> list[tuple[int, int]]:
    """What *config* lets us say in SETTINGS."""
    settings: list[tuple[int, int]] = [
        (Setting.MAX_FIELD_SECTION_SIZE, config.max_field_section_size)
    ]
    if config.qpack_max_table_capacity:
        settings.append((Setting.QPACK_MAX_TABLE_CAPACITY, config.qpack_max_table_capacity))
        settings.append((Setting.QPACK_BLOCKED_STREAMS, config.qpack_blocked_streams))
    if extended_connect:
        settings.append((Setting.ENABLE_CONNECT_PROTOCOL, 1))
    if config.max_datagram_frame_size:
        settings.append((Setting.H3_DATAGRAM, 1))
    return settings


def encode_settings(settings: Iterable[tuple[int, int]]) -> bytes:
    """The payload of a SETTINGS frame."""
    return varint.encode_all(chain.from_iterable(settings))


def parse_settings(payload: bytes) -> Mapping[int, int]:
    """Identifier -> value.  Raises ConnectionFault for what RFC 9114 Section 7.2.4 forbids."""
    numbers = varint.decode_all(payload)
    if numbers is None or len(numbers) % 2:
        raise ConnectionFault(H3ErrorCode.FRAME_ERROR, "SETTINGS is cut short")
    settings = dict(zip(numbers[::2], numbers[1::2], strict=True))
    if 2 * len(settings) != len(numbers):
        raise ConnectionFault(H3ErrorCode.SETTINGS_ERROR, "a setting comes twice")
    if not _RESERVED.isdisjoint(settings):
        identifier = min(_RESERVED.intersection(settings))
        raise ConnectionFault(
            H3ErrorCode.SETTINGS_ERROR, f"setting 0x{identifier:x} belongs to HTTP/2"
        )
    for identifier in _BOOLEAN:
        if settings.get(identifier, 0) > 1:
            raise ConnectionFault(
                H3ErrorCode.SETTINGS_ERROR, f"setting 0x{identifier:x} is neither 0 nor 1"
            )
    return settings
