"""aioquic: HTTP/0.9 and HTTP/3 for tests/interop/runner, whose peers.py has the contract.

Nothing of cwt is used: two sides of a test must not share a mistake.
"""

from __future__ import annotations

import asyncio
import os
import signal
import ssl
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from aioquic.asyncio import QuicConnectionProtocol, connect, serve
from aioquic.h3.connection import H3Connection
from aioquic.h3.events import DataReceived, HeadersReceived
from aioquic.quic import events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.packet import QuicProtocolVersion
from aioquic.tls import CipherSuite, SessionTicket

ALPN = "hq-interop"
UNSUPPORTED = 127
AT_ONCE = 200
MTU = 1280
CLIENT_CASES = {
    "handshake",
    "transfer",
    "chacha20",
    "retry",
    "resumption",
    "zerortt",
    "http3",
    "keyupdate",
    "multiconnect",
    "v2",
}
SERVER_CASES = CLIENT_CASES | {"versionnegotiation"}


def configuration(case: str, is_client: bool) -> QuicConfiguration:
    made = QuicConfiguration(
        is_client=is_client,
        alpn_protocols=["h3"] if case == "http3" else [ALPN],
        idle_timeout=30.0,
        max_datagram_size=MTU,
    )
    if case == "chacha20":
        made.cipher_suites = [CipherSuite.CHACHA20_POLY1305_SHA256]
    if case == "v2":
        made.original_version = QuicProtocolVersion.VERSION_1
        made.supported_versions = [QuicProtocolVersion.VERSION_2, QuicProtocolVersion.VERSION_1]
    else:
        made.supported_versions = [QuicProtocolVersion.VERSION_1]
    if os.environ.get("SSLKEYLOGFILE"):
        made.secrets_log_file = open(os.environ["SSLKEYLOGFILE"], "a")  # noqa: SIM115
    return made


# Server


class Server(QuicConnectionProtocol):
    """Serves the files of WWW."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http: H3Connection | None = None
        self._requests: dict[int, bytes] = {}

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.ProtocolNegotiated) and event.alpn_protocol == "h3":
            self._http = H3Connection(self._quic)
        if self._http is not None:
            for item in self._http.handle_event(event):
                if isinstance(item, HeadersReceived):
                    path = dict(item.headers)[b":path"].decode()
                    self._answer_http3(item.stream_id, self._content(path))
        elif isinstance(event, events.StreamDataReceived):
            request = self._requests.pop(event.stream_id, b"") + event.data
            if event.end_stream:
                words = request.decode("latin-1").split()
                content = self._content(words[1]) if len(words) > 1 else None
                if content is None:
                    self._quic.reset_stream(event.stream_id, 1)
                else:
                    self._quic.send_stream_data(event.stream_id, content, True)
                self.transmit()
            else:
                self._requests[event.stream_id] = request

    def _answer_http3(self, stream_id: int, content: bytes | None) -> None:
        assert self._http is not None
        status = b"404" if content is None else b"200"
        self._http.send_headers(stream_id, [(b":status", status)])
        self._http.send_data(stream_id, content or b"", True)
        self.transmit()

    @staticmethod
    def _content(path: str) -> bytes | None:
        try:
            return (Path(os.environ["WWW"]) / Path(path).name).read_bytes()
        except OSError:
            return None


async def serve_forever(case: str) -> None:
    tickets: dict[bytes, SessionTicket] = {}
    options = configuration(case, False)
    certs = Path(os.environ["CERTS"])
    options.load_cert_chain(certs / "cert.pem", certs / "priv.key")
    resumes = case in ("resumption", "zerortt")
    await serve(
        os.environ["HOST"],
        int(os.environ["PORT"]),
        configuration=options,
        create_protocol=Server,
        retry=case == "retry",
        session_ticket_fetcher=(lambda label: tickets.pop(label, None)) if resumes else None,
        session_ticket_handler=(lambda t: tickets.__setitem__(t.ticket, t)) if resumes else None,
    )
    print("listening on UDP port", os.environ["PORT"], flush=True)
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    await ended.wait()


# Client


class Client(QuicConnectionProtocol):
    """Fetches files into DOWNLOADS."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._http: H3Connection | None = None
        self._waiting: dict[int, tuple[bytearray, asyncio.Future[bytes]]] = {}
        self._lost: str | None = None

    async def get(self, authority: str, path: str) -> bytes:
        stream_id = self._quic.get_next_available_stream_id()
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting[stream_id] = bytearray(), future
        if self._http is not None:
            headers = [
                (b":method", b"GET"),
                (b":scheme", b"https"),
                (b":authority", authority.encode()),
                (b":path", path.encode()),
            ]
            self._http.send_headers(stream_id, headers, True)
        else:
            self._quic.send_stream_data(stream_id, f"GET {path}\r\n".encode(), True)
        self.transmit()
        return await future

    def start_http3(self) -> None:
        self._http = H3Connection(self._quic)

    def quic_event_received(self, event: events.QuicEvent) -> None:
        if isinstance(event, events.ConnectionTerminated):
            for _, future in self._waiting.values():
                if not future.done():
                    reason = f"{event.error_code:#x} {event.reason_phrase}"
                    future.set_exception(ConnectionError(reason))
        elif isinstance(event, events.StreamReset):
            self._waiting[event.stream_id][1].set_exception(ConnectionError("the stream was reset"))
        elif self._http is not None:
            for item in self._http.handle_event(event):
                if isinstance(item, HeadersReceived) and dict(item.headers)[b":status"] != b"200":
                    self._waiting[item.stream_id][1].set_exception(ConnectionError("not found"))
                elif isinstance(item, DataReceived):
                    self._received(item.stream_id, item.data, item.stream_ended)
        elif isinstance(event, events.StreamDataReceived):
            self._received(event.stream_id, event.data, event.end_stream)

    def _received(self, stream_id: int, data: bytes, ended: bool) -> None:
        content, future = self._waiting[stream_id]
        content += data
        if ended:
            del self._waiting[stream_id]
            if not future.done():
                future.set_result(bytes(content))


async def fetch(
    case: str,
    urls: Sequence[str],
    options: QuicConfiguration,
    on_ticket: Callable[[SessionTicket], None] | None = None,
) -> bool:
    """Fetch *urls* on one connection; returns whether it was resumed."""
    first = urlsplit(urls[0])
    assert first.hostname
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(url: str) -> None:
        split = urlsplit(url)
        async with slots:
            content = await client.get(split.netloc, split.path)
        target = Path(os.environ["DOWNLOADS"]) / Path(split.path).name
        await asyncio.to_thread(target.write_bytes, content)

    async with connect(
        first.hostname,
        first.port or 443,
        configuration=options,
        create_protocol=Client,
        session_ticket_handler=on_ticket,
        wait_connected=options.session_ticket is None or case != "zerortt",
    ) as client:
        assert isinstance(client, Client)
        if case == "http3":
            client.start_http3()
        if case == "keyupdate":
            await client.ping()  # the handshake is confirmed by then
            client.request_key_update()
        await asyncio.gather(*map(one, urls))
        if on_ticket is not None:
            await asyncio.sleep(0.2)  # the ticket may come after the file
        return bool(client._quic.tls.session_resumed)


async def run_client(case: str) -> None:
    urls = os.environ["REQUESTS"].split()

    def options() -> QuicConfiguration:
        made = configuration(case, True)
        made.verify_mode = ssl.CERT_NONE
        return made

    if case == "multiconnect":
        for url in urls:
            await fetch(case, [url], options())
    elif case in ("resumption", "zerortt"):
        tickets: list[SessionTicket] = []
        await fetch(case, urls[:1], options(), tickets.append)
        second = options()
        second.session_ticket = tickets[-1]
        if not await fetch(case, urls[1:], second):
            raise ConnectionError("the session was not resumed")
    else:
        await fetch(case, urls, options())


def main() -> int:
    role, case = os.environ.get("ROLE"), os.environ.get("TESTCASE", "")
    if case not in (SERVER_CASES if role == "server" else CLIENT_CASES):
        return UNSUPPORTED
    asyncio.run(serve_forever(case) if role == "server" else run_client(case))
    return 0


if __name__ == "__main__":
    sys.exit(main())
