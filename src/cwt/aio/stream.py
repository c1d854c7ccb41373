"""Bidirectional streams (RFC 9000 Section 2): both sides in one object, and apart when unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any

from cwt.aio.receiving import RecvStream
from cwt.aio.sending import SendStream

__all__ = ["BiStream", "RecvStream", "SendStream"]


class BiStream(SendStream, RecvStream):
    """A bidirectional stream; ``send, recv = stream`` gives its halves.

    As a context manager: FIN on a clean exit, and STOP_SENDING if not all was read; RESET_STREAM and
    STOP_SENDING on an exception.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Any]:
        yield SendStream(self._tx, None)
        yield RecvStream(None, self._rx)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._leave_sending(kind is None)
        finally:
            self._rx.stop(0)
