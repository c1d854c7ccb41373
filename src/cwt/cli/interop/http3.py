"""HTTP/3 for the case ``http3``: GET, and the file comes back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from cwt import h3, quic
from cwt.cli.interop.exchange import ClientExchange, Failed, Request, ServerExchange
from cwt.config import Http3Config
from cwt.errors import StreamLimitError, StreamReset

__all__ = ["ALPN", "Http3Client", "Http3Server"]

ALPN = b"h3"


class Http3Client(ClientExchange):
    """Fetches files by HTTP/3."""

    def __init__(
        self,
        connection: quic.Connection,
        requests: Sequence[Request],
        on_progress: Callable[[quic.Connection], None] | None = None,
    ) -> None:
        super().__init__(connection, requests, on_progress)
        self._http = h3.Connection(connection, Http3Config())

    def request(self, request: Request) -> int | None:
        try:
            return self._http.send_request(
                [
                    (":method", "GET"),
                    (":scheme", "https"),
                    (":authority", request.authority),
                    (":path", request.path),
                ],
                True,
            )
        except StreamLimitError:
            return None

    def poll(self) -> None:
        if not self._http.is_started:
            self._http.start()
        for event in self._http.poll():
            match event:
                case h3.ResponseReceived(stream_id, status, _, ended):
                    if status != 200:
                        raise Failed(f"the server answered with status {status}")
                    if ended:
                        self.received(stream_id, b"", True)
                case h3.DataReceived(stream_id):
                    self._read(stream_id)
                case h3.RequestReset(stream_id, code, _, reason):
                    raise Failed(f"request {stream_id} was reset with code {code} {reason}")

    def _read(self, stream_id: int) -> None:
        try:
            while (item := self._http.read_data(stream_id)) is not None:
                self.received(stream_id, *item)
                if item[1]:
                    break
        except StreamReset as error:
            raise Failed(f"request {stream_id}: {error}") from None


class Http3Server(ServerExchange):
    """Answers HTTP/3."""

    def __init__(self, connection: quic.Connection, www: Path) -> None:
        super().__init__(connection, www)
        self._http = h3.Connection(connection, Http3Config())

    def poll(self) -> None:
        if not self._http.is_started:
            self._http.start()
        for event in self._http.poll():
            match event:
                case h3.RequestReceived(stream_id, headers):
                    self._http.discard(stream_id)
                    self._answer(stream_id, dict(headers))
                case h3.StreamWritable(stream_id):
                    self.go_on(stream_id)

    def write(self, stream_id: int, data: memoryview, fin: bool) -> int:
        return self._http.send_data(stream_id, data, fin)

    def _answer(self, stream_id: int, headers: dict[bytes, bytes]) -> None:
        is_get = headers[b":method"] == b"GET"
        body = self.find(headers.get(b":path", b"").decode("latin-1")) if is_get else None
        if body is None:
            status = "404" if is_get else "405"
            self._http.send_headers(stream_id, [(":status", status)], True)
        else:
            self._http.send_headers(stream_id, [(":status", "200")])
            self.start(stream_id, body)
