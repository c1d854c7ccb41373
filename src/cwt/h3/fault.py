"""What the peer did wrong, between the part that notices and the connection that acts (RFC 9114
Section 8).  Neither exception ever leaves a public verb."""

from __future__ import annotations

__all__ = ["ConnectionFault", "StreamFault"]


class ConnectionFault(Exception):
    """Ends the connection with ``code``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """Ends one request with ``code``; the connection lives on."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
