"""``cwt demo``: the self-check, the page and its server, real browsers on it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import signal
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cwt.cli import demo
from cwt.cli.demo.page import PageServer
from tests.browser import harness
from tests.cli import processes

CHECKS = ("connect", "stream echo", "stream from server", "datagram echo", "close code")


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of the page of a running demo."""
    with processes.running("demo", "--port", "0", "--http-port", "0") as command:
        found = re.search(r"http://\S+", command.wait_for("in a browser"))
        assert found
        yield found[0]
        status, rest = command.interrupt()
        assert status == 0
        assert "Stopped." in rest
        assert "Traceback" not in rest


def status_of(page: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{page}status.json") as response:
        result: dict[str, Any] = json.load(response)
        return result


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_sigterm_ends_it_in_order(loop: str) -> None:
    pytest.importorskip("uvloop")
    arguments = ("demo", "--port", "0", "--http-port", "0", "--loop", loop)
    with processes.running(*arguments) as command:
        command.wait_for("Ctrl-C")
        status, rest = command.interrupt(signal.SIGTERM)
    assert status == 0
    assert "Traceback" not in rest


def test_once_runs_the_self_check() -> None:
    done = processes.run("demo", "--once", "--port", "0", "--http-port", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    for check in CHECKS:
        assert re.search(rf"✓ . {check}", done.stdout), done.stdout
    assert "code 7" in done.stdout


def test_once_fails_when_the_self_check_does(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lazy(session: Any) -> None:
        await session.close(3, "not today")

    monkeypatch.setattr(demo, "echo", lazy)
    with pytest.raises(SystemExit) as caught:
        demo.command(["--once", "--port", "0", "--http-port", "0"])
    assert caught.value.code == 1
    output = capsys.readouterr().out
    assert "✗" in output
    assert "not today" in output


def test_a_port_in_use_is_told_in_words() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy:
        busy.bind(("127.0.0.1", 0))
        done = processes.run("demo", "--once", "--port", str(busy.getsockname()[1]))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "another program uses it" in done.stderr


def test_a_page_port_in_use_is_told_in_words() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = str(busy.getsockname()[1])
        done = processes.run("demo", "--once", "--port", "0", "--http-port", port)
    assert done.returncode == 1
    assert "--http-port" in done.stderr
    assert "Traceback" not in done.stderr


def test_default_ports_in_use_are_replaced() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as busy, socket.socket() as busy_page:
        for sock, port in ((busy, 4433), (busy_page, 8000)):
            with contextlib.suppress(OSError):  # somebody else has it: as good
                sock.bind(("127.0.0.1", port))
        busy_page.listen()
        done = processes.run("demo", "--once")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ":4433" not in done.stdout


def test_the_page_and_what_it_needs_are_served(page: str) -> None:
    with urllib.request.urlopen(page) as response:
        html = response.read().decode()
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert "default-src 'none'" in response.headers["content-security-policy"]
    wanted = re.findall(r'(?:src|href)="([\w./]+)"', html)
    assert "app.js" in wanted
    while wanted:
        with urllib.request.urlopen(page + wanted.pop()) as response:
            body = response.read().decode()
        wanted += re.findall(r'from "\./([\w.]+)"', body)


def test_ids_that_scripts_use_are_in_the_page() -> None:
    folder = Path(demo.__file__).parent
    html = (folder / "index.html").read_text()
    script = (folder / "app.js").read_text()
    used = set(re.findall(r'\$\("([\w-]+)"\)', script)) | set(
        re.findall(r'^  "(server-[\w-]+)":', script, re.MULTILINE)
    )
    assert used - set(re.findall(r'id="([\w-]+)"', html)) == set()


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /../index.html HTTP/1.1\r\n\r\n", 404),
        (b"GET /__init__.py HTTP/1.1\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\n\r\n", 405),
        (b"HEAD / HTTP/1.1\r\n\r\n", 200),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"y" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /status.json?x HTTP/1.0\r\n\r\n", 200),
    ],
)
async def test_web_server(request_bytes: bytes, status: int) -> None:
    server = PageServer(dict)
    port = await server.start("127.0.0.1", 0)
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_bytes)
        head = await reader.readuntil(b"\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % status)
        if b"HEAD" in request_bytes:
            assert (await reader.read()).endswith(b"\r\n\r\n")
        writer.close()
    finally:
        server.close()


@pytest.mark.browser
@pytest.mark.parametrize("name", ["chromium", "firefox"])
def test_the_page_works_in_a_browser(page: str, name: str) -> None:
    """The server sees its session, and the datagrams that the page keeps sending."""
    if harness.executable(name) is None:
        pytest.skip(f"{name} is not installed")
    before = status_of(page)["accepted"]
    with harness.opened(name, page) as log:
        for _ in range(600):
            now = status_of(page)
            if now["accepted"] > before and now["datagrams"] > 20:
                return
            time.sleep(0.1)
        pytest.fail(f"{now}\n{log.read_text()[-4000:]}")
