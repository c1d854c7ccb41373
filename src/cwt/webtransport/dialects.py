"""The drafts of WebTransport over HTTP/3 that are spoken (draft-ietf-webtrans-http3), as data.

An endpoint names every draft it speaks in its SETTINGS, each with an identifier of its own; the newest
one that both named is used.  Everything in which they differ for us is a field of ``Dialect``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cwt.h3.settings import Setting

__all__ = ["DIALECTS", "TOKENS", "Dialect", "choose", "offers"]

TOKEN = b"webtransport"
TOKEN_H3 = b"webtransport-h3"
TOKENS = frozenset((TOKEN, TOKEN_H3))
"""Values of ``:protocol`` that ask for a session; a server takes either in every dialect."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One draft, or several that cannot be told apart."""

    name: str
    setting: int
    """The SETTINGS identifier that names it."""
    token: bytes
    """``:protocol`` of a client's request."""
    counts_sessions: bool = False
    """The value of the setting is the number of sessions accepted, not a flag."""
    one_session: bool = False
    """Without session flow control there is one session on a connection (Section 5.1)."""
    needs_datagrams: bool = True
    """The peer must have sent SETTINGS_H3_DATAGRAM."""
    needs_extended_connect: bool = True
    """The server must have sent SETTINGS_ENABLE_CONNECT_PROTOCOL."""
    draft_fields: bool = False
    """Request and response carry the fields that draft-02 names itself by."""
    rejects_stream_data_capsules: bool = False
    """The capsules for stream flow control, which belong to HTTP/2, end the session."""
    protocol_error: bool = False
    """A protocol that was not offered ends the session with WT_ALPN_ERROR; else it counts as none."""


DIALECTS: Sequence[Dialect] = (
    Dialect(
        name="draft-15/16",
        setting=0x2C7CF000,
        token=TOKEN_H3,
        one_session=True,
        rejects_stream_data_capsules=True,
        protocol_error=True,
    ),
    Dialect(
        name="draft-13/14",
        setting=0x14E9CD29,
        token=TOKEN,
        one_session=True,
        rejects_stream_data_capsules=True,
    ),
    Dialect(
        name="draft-07",
        setting=0xC671706A,
        token=TOKEN,
        counts_sessions=True,
    ),
    Dialect(
        name="draft-02",
        setting=0x2B603742,
        token=TOKEN,
        needs_datagrams=False,
        needs_extended_connect=False,
        draft_fields=True,
    ),
)
"""Newest first.

Session flow control (Section 5.6) is off.  Each draft has values that say so: no INITIAL_MAX_* setting
at all, and no more than 1 for 0x14e9cd29.  (More than 1 without those settings would switch it on with
no credit in drafts 13 and 14, and Safari then sends nothing.)
"""


def offers(max_sessions: int) -> list[tuple[int, int]]:
    """Our SETTINGS: every dialect at once, and the draft identifier of HTTP Datagrams."""
    settings: list[tuple[int, int]] = [(Setting.H3_DATAGRAM_DRAFT04, 1)]
    for dialect in reversed(DIALECTS):
        settings.append((dialect.setting, max_sessions if dialect.counts_sessions else 1))
    return settings


def choose(settings: Mapping[int, int], *, from_server: bool) -> Dialect | None:
    """The newest dialect that the peer's SETTINGS allow; None when there is none."""
    datagrams = settings.get(Setting.H3_DATAGRAM) or settings.get(Setting.H3_DATAGRAM_DRAFT04)
    extended_connect = settings.get(Setting.ENABLE_CONNECT_PROTOCOL) or not from_server
    for dialect in DIALECTS:
        if (
            settings.get(dialect.setting)
            and (datagrams or not dialect.needs_datagrams)
            and (extended_connect or not dialect.needs_extended_connect)
        ):
            return dialect
    return None
