"""The protocol of ``cwt perf``, over WebTransport sessions on the path ``/perf``.

A client opens bidirectional streams and says on the first line, in ASCII, what the stream is for; all
else is up to FIN:

    ``down N``            the server sends N bytes
    ``up``                the server takes what comes, then answers with the count of bytes, in decimal
    ``call N``            the server takes what comes, then sends N bytes: a request and its response
    ``datagrams MODE``    from now on the session's datagrams are sent back (``echo``) or counted
                          (``count``); the count starts at zero; answers ``ok``
    ``report``            answers with one JSON object: see :class:`Report`

Sessions to ``/perf`` that open no stream measure handshakes.  An unknown line is answered with a line
that begins with ``error``.
"""

from __future__ import annotations

import json
from typing import NamedTuple

__all__ = ["CHUNK", "MAX_BYTES", "MAX_LINE", "PATH", "Report"]

PATH = "/perf"
CHUNK = 256 * 1024
MAX_BYTES = 1 << 40
MAX_LINE = 128


class Report(NamedTuple):
    """What the server says of itself."""

    protocol: str
    """``cwt-perf/1``"""
    version: str
    """Of cwt."""
    cpu: float
    """CPU seconds of the server's process so far."""
    datagrams: int
    """Datagrams of this session since ``datagrams MODE``."""
    smoothed_rtt: float
    packets_sent: int
    packets_lost: int

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Report:
        """Raises ValueError when this is no report of a version that is understood."""
        try:
            values = json.loads(data)
            report = cls(**{name: values[name] for name in cls._fields})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not a report of cwt perf: {data[:80]!r}") from error
        if report.protocol != "cwt-perf/1":
            raise ValueError(f"the server speaks {report.protocol!r}, not cwt-perf/1")
        return report
