"""Application error codes in the HTTP/3 code space (draft-ietf-webtrans-http3 Section 4.4)."""

from __future__ import annotations

__all__ = ["MAX_CODE", "check_code", "from_http3", "to_http3"]

MAX_CODE = (1 << 32) - 1
_FIRST = 0x52E4A40FA8DB
_LAST = 0x52E5AC983162


def check_code(code: int) -> int:
    """*code*, if it is an application error code: ValueError unless it fits 32 bits."""
    if not 0 <= code <= MAX_CODE:
        raise ValueError(f"an application error code is 0 to 2**32 - 1, not {code!r}")
    return code


def to_http3(code: int) -> int:
    """The HTTP/3 error code for an application code; ValueError unless it fits 32 bits."""
    check_code(code)
    return _FIRST + code + code // 0x1E


def from_http3(code: int | None) -> int | None:
    """The application code of an HTTP/3 error code; None for one that carries none."""
    if code is None or not _FIRST <= code <= _LAST or not (code - 0x21) % 0x1F:
        return None
    shifted = code - _FIRST
    return shifted - shifted // 0x1F
