"""HTTP/0.9 over QUIC, ALPN ``hq-interop``: on a bidirectional stream ``GET /path`` and FIN; back come the
file and FIN."""

from __future__ import annotations

from pathlib import Path

from cwt.cli.interop.exchange import ClientExchange, Failed, Request, ServerExchange
from cwt.errors import StreamReset
from cwt.quic import Connection, Shutdown

__all__ = ["ALPN", "HqClient", "HqServer"]

ALPN = b"hq-interop"
_MAX_REQUEST = 8192
_REFUSED = 1
"""Error code of a stream whose file there is not: HTTP/0.9 has no other way to say so."""


class HqClient(ClientExchange):
    """Fetches files by HTTP/0.9."""

    def request(self, request: Request) -> int | None:
        stream_id = self.quic.open_stream(True)
        if stream_id is not None:
            self.quic.stream_send(stream_id, f"GET {request.path}\r\n".encode(), True)
        return stream_id

    def poll(self) -> None:
        for stream_id in self.quic.readable():
            try:
                while (item := self.quic.stream_recv(stream_id)) is not None:
                    self.received(stream_id, *item)
                    if item[1]:
                        break
            except StreamReset as error:
                raise Failed(f"the server refused stream {stream_id}: {error}") from None


class HqServer(ServerExchange):
    """Answers HTTP/0.9."""

    def __init__(self, connection: Connection, www: Path) -> None:
        super().__init__(connection, www)
        self._requests: dict[int, bytearray | None] = {}
        """What has come of requests whose end has not; None once they are answered."""

    def poll(self) -> None:
        for stream_id in self.quic.writable():
            self.go_on(stream_id)
        for stream_id in self.quic.readable():
            self._read(stream_id)

    def write(self, stream_id: int, data: memoryview, fin: bool) -> int:
        return self.quic.stream_send(stream_id, data, fin)

    def _read(self, stream_id: int) -> None:
        if stream_id % 4:
            self.quic.stream_shutdown(stream_id, Shutdown.READ, _REFUSED)
            return
        request = self._requests.setdefault(stream_id, bytearray())
        ended = False
        try:
            while not ended and (item := self.quic.stream_recv(stream_id)) is not None:
                if request is not None:
                    request += item[0]
                ended = item[1]
        except StreamReset:
            del self._requests[stream_id]
            return
        if request is not None and (ended or b"\n" in request or len(request) > _MAX_REQUEST):
            self._requests[stream_id] = None
            line = bytes(request[:_MAX_REQUEST]).partition(b"\n")[0]
            self._answer(stream_id, line.decode("latin-1").split())
        if ended:
            del self._requests[stream_id]

    def _answer(self, stream_id: int, words: list[str]) -> None:
        body = self.find(words[1]) if len(words) >= 2 and words[0] == "GET" else None
        if body is None:
            self._refuse(stream_id)
        else:
            self.start(stream_id, body)

    def _refuse(self, stream_id: int) -> None:
        self.quic.stream_shutdown(stream_id, Shutdown.READ, _REFUSED)
        self.quic.stream_shutdown(stream_id, Shutdown.WRITE, _REFUSED)
