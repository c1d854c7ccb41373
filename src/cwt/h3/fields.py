"""Rules of field sections: names, values, pseudo-header fields (RFC 9114 Sections 4.2 to 4.4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from cwt.errors import H3ErrorCode
from cwt.h3.events import FieldLines
from cwt.h3.fault import StreamFault

__all__ = [
    "Headers",
    "check_request",
    "check_response",
    "check_trailers",
    "content_length",
    "normalize",
]

Headers = Sequence[tuple[bytes, bytes]] | Sequence[tuple[str, str]]
"""Field lines as an application may give them: text is encoded as Latin-1."""

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_METHOD = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_SCHEME = re.compile(rb"[A-Za-z][A-Za-z0-9+\-.]*")
_BAD_VALUE = re.compile(rb"[\0\r\n]")
_BAD_TARGET = re.compile(rb"[\0-\x20\x7f]")
_STATUS = re.compile(rb"[1-9][0-9][0-9]")
_DIGITS = re.compile(rb"[0-9]{1,18}")
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":authority", b":path", b":protocol"))
_RESPONSE_PSEUDO = frozenset((b":status",))


def normalize(headers: Iterable[tuple[bytes | str, bytes | str]]) -> FieldLines:
    """An application's fields as bytes with lower-case names; ValueError when HTTP forbids one."""
    lines: FieldLines = []
    for name, value in headers:
        name = (name.encode("latin-1") if isinstance(name, str) else bytes(name)).lower()
        value = value.encode("latin-1") if isinstance(value, str) else bytes(value)
        if not _NAME.fullmatch(name[1:] if name[:1] == b":" else name):
            raise ValueError(f"{name!r} is not a field name")
        if _BAD_VALUE.search(value):
            raise ValueError(f"the value of {name!r} contains CR, LF or NUL")
        if name in _CONNECTION_SPECIFIC:
            raise ValueError(f"{name!r} has no meaning in HTTP/3 (RFC 9114 Section 4.2)")
        lines.append((name, value))
    return lines


def check_request(lines: FieldLines, extended_connect: bool = True) -> dict[bytes, bytes]:
    """The pseudo-header fields of a well-formed request; StreamFault for any other.

    *extended_connect*: whether SETTINGS_ENABLE_CONNECT_PROTOCOL was sent (RFC 9220).
    """
    pseudo = _check_lines(lines, _REQUEST_PSEUDO)
    method = pseudo.get(b":method", b"")
    if not _METHOD.fullmatch(method):
        raise _malformed(":method is missing or not a token")
    protocol = pseudo.get(b":protocol")
    if protocol is not None and (method != b"CONNECT" or not extended_connect or not protocol):
        raise _malformed(":protocol is not allowed here")
    if method == b"CONNECT" and protocol is None:
        if b":scheme" in pseudo or b":path" in pseudo:
            raise _malformed("CONNECT has neither :scheme nor :path")
        if not pseudo.get(b":authority"):
            raise _malformed("CONNECT needs :authority")
    else:
        _check_target(pseudo, method)
    _check_authority(pseudo, [value for name, value in lines if name == b"host"])
    return pseudo


def _check_target(pseudo: dict[bytes, bytes], method: bytes) -> None:
    scheme = pseudo.get(b":scheme", b"")
    path = pseudo.get(b":path", b"")
    if not _SCHEME.fullmatch(scheme):
        raise _malformed(":scheme is missing or not a scheme")
    if not path or _BAD_TARGET.search(path):
        raise _malformed(":path is missing, empty or has a forbidden character")
    if (
        scheme.lower() in (b"http", b"https")
        and path[:1] != b"/"
        and not (path == b"*" and method == b"OPTIONS")
    ):
        raise _malformed(":path does not start with a slash")


def _check_authority(pseudo: dict[bytes, bytes], hosts: list[bytes]) -> None:
    authority = pseudo.get(b":authority")
    if len(hosts) > 1:
        raise _malformed("more than one host")
    if authority is not None and hosts and authority != hosts[0]:
        raise _malformed(":authority and host differ")
    effective = authority if authority is not None else hosts[0] if hosts else None
    if effective is None:
        if pseudo.get(b":scheme", b"https").lower() in (b"http", b"https"):
            raise _malformed("neither :authority nor host")
    elif not effective or b"@" in effective or _BAD_TARGET.search(effective):
        raise _malformed("the authority is empty or has a forbidden character")


def check_response(lines: FieldLines) -> int:
    """The status of a well-formed response; StreamFault for any other."""
    status = _check_lines(lines, _RESPONSE_PSEUDO).get(b":status", b"")
    if not _STATUS.fullmatch(status) or status == b"101":
        raise _malformed(":status is missing or not a status")
    return int(status)


def check_trailers(lines: FieldLines) -> None:
    """StreamFault unless these are well-formed trailers, which have no pseudo-header fields."""
    _check_lines(lines, frozenset())


def content_length(lines: FieldLines) -> int | None:
    """The declared length of the content; StreamFault when it is not one number."""
    values = {value for name, value in lines if name == b"content-length"}
    if not values:
        return None
    value = values.pop()
    if values or not _DIGITS.fullmatch(value):
        raise _malformed("content-length is not one number")
    return int(value)


def _check_lines(lines: FieldLines, allowed: frozenset[bytes]) -> dict[bytes, bytes]:
    pseudo: dict[bytes, bytes] = {}
    regular = False
    for name, value in lines:
        if _BAD_VALUE.search(value):
            raise _malformed("a field value contains CR, LF or NUL")
        if name[:1] == b":":
            if regular:
                raise _malformed("a pseudo-header field after a regular one")
            if name not in allowed or name in pseudo:
                raise _malformed(f"{name!r} comes twice or is not allowed here")
            pseudo[name] = value
            continue
        regular = True
        if not _NAME.fullmatch(name):
            raise _malformed(f"{name!r} is not a field name in lower case")
        if name in _CONNECTION_SPECIFIC or (name == b"te" and value != b"trailers"):
            raise _malformed(f"{name!r} is connection-specific")
    return pseudo


def _malformed(reason: str) -> StreamFault:
    return StreamFault(H3ErrorCode.MESSAGE_ERROR, reason)
