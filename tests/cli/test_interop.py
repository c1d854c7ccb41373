"""``cwt interop``: the contract of the QUIC interop runner, and files that stay where they belong."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from cwt import quic, tls
from cwt.aio.endpoint import Endpoint
from cwt.cli.interop.cases import CLIENT_CASES, SERVER_CASES, Case, transport_config
from cwt.cli.interop.client import Client, parse_requests
from cwt.cli.interop.exchange import Failed, Request
from cwt.cli.interop.files import Body, Download, inside
from cwt.cli.interop.server import Server
from cwt.cli.interop.versions import UNKNOWN_VERSION, _answers, probe
from cwt.tls.development import development_certificate
from tests.cli.processes import environment


def command(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cwt", "interop", *arguments],
        env={**environment(), **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )


# The contract


@pytest.mark.parametrize("role", ["client", "server"])
def test_an_unknown_case_ends_with_status_127(role: str) -> None:
    done = command(role, TESTCASE="teleportation", REQUESTS="https://127.0.0.1:1/x")
    assert done.returncode == 127
    assert "teleportation" in done.stderr


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_role_may_come_from_the_environment(role: str) -> None:
    done = command(ROLE=role, TESTCASE="none", REQUESTS="https://127.0.0.1:1/x")
    assert done.returncode == 127


def test_without_a_role_it_says_what_is_missing() -> None:
    done = command(ROLE="bystander")
    assert done.returncode == 2
    assert "ROLE" in done.stderr


def test_options_may_come_from_the_environment() -> None:
    done = command("server", TESTCASE="transfer", SERVER_PARAMS="--case none")
    assert done.returncode == 127


def test_a_server_that_is_not_there_is_status_1(tmp_path: Path) -> None:
    # Without a certificate to load, for a server; with nobody to answer, for a client.
    done = command("server", "--port", "0", "--certfile", str(tmp_path / "no"), TESTCASE="transfer")
    assert done.returncode == 1


def test_a_client_writes_the_files_and_the_logs(tmp_path: Path) -> None:
    www = tmp_path / "www"
    downloads = tmp_path / "downloads"
    qlog = tmp_path / "qlog"
    for directory in (www, downloads, qlog):
        directory.mkdir()
    (www / "file").write_bytes(b"content" * 1000)
    certificate = development_certificate()
    certfile, keyfile = certificate.write(tmp_path)
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "cwt", "interop", "server", "--case", "handshake"),
            *("--host", "127.0.0.1", "--port", "0", "--www", str(www)),
            *("--certfile", str(certfile), "--keyfile", str(keyfile)),
        ],
        env={**environment(), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline().split()[-1])
        done = command(
            "client",
            TESTCASE="handshake",
            REQUESTS=f"https://127.0.0.1:{port}/file",
            CLIENT_PARAMS=f"--downloads {downloads}",
            SSLKEYLOGFILE=str(tmp_path / "keys"),
            QLOGDIR=str(qlog),
        )
        server.terminate()
        assert done.returncode == 0, done.stderr
    assert server.returncode == 0
    assert (downloads / "file").read_bytes() == b"content" * 1000
    assert "CLIENT_HANDSHAKE_TRAFFIC_SECRET" in (tmp_path / "keys").read_text()
    [log] = qlog.iterdir()
    assert log.suffix == ".sqlog"
    assert "packet_sent" in log.read_text()


# REQUESTS


def test_requests(tmp_path: Path) -> None:
    origin, requests = parse_requests("https://server4:443/a https://server4/b/c", tmp_path)
    assert (origin.host, origin.port) == ("server4", 443)
    assert requests == [
        Request("server4:443", "/a", tmp_path / "a"),
        Request("server4", "/b/c", tmp_path / "c"),
    ]


def test_a_request_for_no_file(tmp_path: Path) -> None:
    origin, requests = parse_requests("https://server4:443/", tmp_path)
    assert (origin.host, requests) == ("server4", [])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "http://server4/a",
        "https://one/a https://two/a",
        "https://server4/..",
        "https://server4/a\\b",
    ],
)
def test_requests_that_are_none(text: str, tmp_path: Path) -> None:
    with pytest.raises(Failed):
        parse_requests(text, tmp_path)


# Files


@pytest.mark.parametrize("path", ["/file", "file", "/sub/file", "/file?query"])
def test_a_file_inside(path: str, tmp_path: Path) -> None:
    assert inside(tmp_path, path) == tmp_path.resolve() / path.strip("/").partition("?")[0]


@pytest.mark.parametrize(
    "path",
    ["", "/", "/..", "/../file", "/sub/../../file", "//etc/passwd", "/a//b", "/a\0b", "/a\\b", "."],
)
def test_a_path_that_leads_elsewhere(path: str, tmp_path: Path) -> None:
    assert inside(tmp_path, path) is None


def test_a_link_that_leads_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (tmp_path / "www" / "link").symlink_to(tmp_path / "secret")
    assert inside(tmp_path / "www", "/link") is None


@pytest.mark.parametrize("size", [0, 1, (1 << 18) - 1, 1 << 18, (1 << 19) + 5])
@pytest.mark.parametrize("taken", [1 << 14, 1 << 30])
def test_a_body_is_sent_whole_and_its_end_once(size: int, taken: int, tmp_path: Path) -> None:
    content = os.urandom(size)
    (tmp_path / "file").write_bytes(content)
    sent = bytearray()
    ends = 0

    def write(data: memoryview, fin: bool) -> int:
        nonlocal ends
        count = min(len(data), taken)
        sent.extend(data[:count])
        ends += fin and count == len(data)
        return count

    body = Body(tmp_path / "file")
    while not body.send(write):
        assert ends == 0
    assert sent == content
    assert ends == 1


def test_an_empty_download_makes_a_file(tmp_path: Path) -> None:
    Download(tmp_path / "empty").finish()
    assert (tmp_path / "empty").read_bytes() == b""


# Clients and servers in this process


@asynccontextmanager
async def serving(tmp_path: Path, name: str = "transfer") -> AsyncIterator[int]:
    certfile, keyfile = development_certificate().write(tmp_path)
    www = tmp_path / "www"
    www.mkdir(exist_ok=True)
    server = Server(SERVER_CASES[name], "127.0.0.1", 0, www=www, certfile=certfile, keyfile=keyfile)
    task = asyncio.create_task(server.serve_forever())
    try:
        yield server.port
    finally:
        task.cancel()
        await asyncio.wait([task])


async def fetch(port: int, *names: str, case: Case, downloads: Path) -> None:
    urls = " ".join(f"https://127.0.0.1:{port}/{name}" for name in names)
    origin, requests = parse_requests(urls, downloads)
    async with asyncio.timeout(60):
        await Client(case, origin).fetch(requests)


@pytest.mark.parametrize(("name", "words"), [("transfer", "refused stream"), ("http3", "404")])
async def test_a_file_that_is_not_there(name: str, words: str, tmp_path: Path) -> None:
    async with serving(tmp_path, name) as port:
        with pytest.raises(Failed, match=f"1 files did not arrive.*{words}"):
            await fetch(port, "missing", case=CLIENT_CASES[name], downloads=tmp_path)


async def test_more_files_than_streams_at_once(tmp_path: Path) -> None:
    names = [f"file{i}" for i in range(600)]
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    async with serving(tmp_path) as port:
        for name in names:
            (tmp_path / "www" / name).write_bytes(name.encode())
        await fetch(port, *names, case=CLIENT_CASES["transfer"], downloads=downloads)
    assert {path.name: path.read_text() for path in downloads.iterdir()} == {n: n for n in names}


async def test_a_session_that_is_not_resumed_is_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cwt.cli.interop.client._TICKET_SECONDS", 0.1)
    async with serving(tmp_path) as port:
        for name in ("a", "b"):
            (tmp_path / "www" / name).write_bytes(b"x")
        urls = f"https://127.0.0.1:{port}/a https://127.0.0.1:{port}/b"
        origin, requests = parse_requests(urls, tmp_path)
        client = Client(CLIENT_CASES["resumption"], origin)
        client._tls.session_cache = None
        with pytest.raises(Failed, match="not resumed"):
            await client.fetch(requests)


class Raw:
    """A client that sends what a test wants."""

    def __init__(self, port: int) -> None:
        context = tls.ClientContext(alpn=[b"hq-interop"], verify=False)
        self.endpoint = Endpoint(
            quic.Endpoint(transport_config(SERVER_CASES["transfer"])),
            quic.UdpSocket.bind("127.0.0.1", 0),
        )
        self.quic = self.endpoint.quic.connect(
            "localhost", ("127.0.0.1", port), context, self.endpoint.now()
        )
        self.quic.user_data = self
        self.news = asyncio.Event()

    def process(self) -> None:
        self.news.set()

    def lost(self, error: Exception) -> None:
        self.news.set()

    async def until(self, condition: object) -> None:
        assert callable(condition)
        async with asyncio.timeout(30):
            while not condition():
                self.news.clear()
                await self.news.wait()

    async def ask(self, request: bytes, *, fin: bool = True) -> bytes | None:
        """What comes back; None for a reset."""
        await self.until(lambda: self.quic.can_open_streams)
        stream_id = self.quic.open_stream()
        assert stream_id is not None
        self.quic.stream_send(stream_id, request, fin)
        received, ended = b"", False

        def read() -> bool:
            nonlocal received, ended
            try:
                while (item := self.quic.stream_recv(stream_id)) is not None:
                    received += item[0]
                    if item[1]:
                        ended = True
                        return True
            except ConnectionResetError:
                return True
            return False

        await self.until(read)
        return received if ended else None


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (b"GET /file\r\n", b"content"),
        (b"GET /file\n", b"content"),
        (b"GET /file", b"content"),
        (b"GET /file HTTP/0.9\r\n", b"content"),
        (b"GET /empty\r\n", b""),
        (b"GET /none\r\n", None),
        (b"GET /../secret\r\n", None),
        (b"GET /" + b"x" * 300 + b"\r\n", None),
        (b"POST /file\r\n", None),
        (b"GET\r\n", None),
        (b"", None),
        (b"\xff\xfe\r\n", None),
        (b"x" * 9000, None),
    ],
)
async def test_requests_of_http_0_9(
    request_line: bytes, answer: bytes | None, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    async with serving(tmp_path) as port:
        (tmp_path / "www" / "file").write_bytes(b"content")
        (tmp_path / "www" / "empty").write_bytes(b"")
        raw = Raw(port)
        try:
            assert await raw.ask(request_line) == answer
            # The connection goes on, and so does the server with a request that does not end.
            assert await raw.ask(b"GET /file\r\n", fin=False) == b"content"
        finally:
            raw.endpoint.close()


# Versions


async def test_a_client_that_no_server_answers_with_versions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cwt.cli.interop.versions._PAUSE", 0.01)
    with (
        quic.UdpSocket.bind("127.0.0.1", 0) as silent,
        quic.UdpSocket.bind("127.0.0.1", 0) as sock,
        pytest.raises(Failed, match="no Version Negotiation"),
    ):
        await probe(sock, silent.local_address)


def test_what_answers_an_unknown_version() -> None:
    right = quic.negotiate_version(b"our scid", b"our dcid")
    assert _answers(right, b"our dcid", b"our scid")
    assert not _answers(right, b"our scid", b"our dcid")
    assert not _answers(b"", b"our dcid", b"our scid")
    with_ours = quic.negotiate_version(b"our scid", b"our dcid", [UNKNOWN_VERSION])
    assert not _answers(with_ours, b"our dcid", b"our scid")
