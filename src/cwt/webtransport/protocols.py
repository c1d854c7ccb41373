"""WT-Available-Protocols and WT-Protocol (draft-ietf-webtrans-http3 Section 3.3): RFC 9651 strings."""

from __future__ import annotations

import re
from collections.abc import Sequence

__all__ = ["parse_protocol", "parse_protocols", "serialize_protocol", "serialize_protocols"]

_STRING = r'"(?:[ !#-\[\]-~]|\\["\\])*"'
_BARE_ITEM = "|".join(
    (
        _STRING,
        r"-?(?:[0-9]{1,12}\.[0-9]{1,3}|[0-9]{1,15}(?![0-9.]))",
        r"[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*",
        r":(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2,3}={0,2})?:",
        r"\?[01]",
        r"@-?[0-9]{1,15}(?![0-9.])",
        r'%"(?:[ !#$&-~]|%[0-9a-f]{2})*"',
    )
)
_PARAMETERS = rf"(?:; *[a-z*][a-z0-9_\-.*]*(?:=(?:{_BARE_ITEM}))?)*"
_MEMBER = re.compile(rf"({_STRING}){_PARAMETERS}")
_SEPARATOR = re.compile(r"[ \t]*,[ \t]*")


def parse_protocols(value: str) -> list[str]:
    """The strings of a list; an empty list when the field is anything else: it is ignored then."""
    value = value.lstrip(" ").rstrip(" \t")
    protocols: list[str] = []
    offset = 0
    while offset < len(value):
        member = _MEMBER.match(value, offset)
        if member is None:
            return []
        protocols.append(re.sub(r"\\(.)", r"\1", member[1][1:-1]))
        offset = member.end()
        if offset < len(value):
            separator = _SEPARATOR.match(value, offset)
            if separator is None or separator.end() == len(value):
                return []
            offset = separator.end()
    return protocols


def parse_protocol(value: str) -> str | None:
    """The string of an item; None when the field is anything else."""
    member = _MEMBER.fullmatch(value.strip(" "))
    return None if member is None else re.sub(r"\\(.)", r"\1", member[1][1:-1])


def serialize_protocol(protocol: str) -> str:
    """A protocol name as an item; ValueError unless it is printable ASCII."""
    if not all(" " <= char <= "~" for char in protocol):
        raise ValueError(f"a protocol name is printable ASCII, not {protocol!r}")
    return '"' + re.sub(r'(["\\])', r"\\\1", protocol) + '"'


def serialize_protocols(protocols: Sequence[str]) -> str:
    """Protocol names as a list, in order of preference."""
    return ", ".join(serialize_protocol(protocol) for protocol in protocols)
