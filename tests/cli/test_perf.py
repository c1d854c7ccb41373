"""``cwt perf``."""

from __future__ import annotations

import asyncio
import io
import json
import re
import signal
import time

import pytest
from click.testing import CliRunner
from rich.console import Console

import cwt
from cwt.cli.app import cli
from cwt.cli.perf.client import TESTS, Measurement
from cwt.cli.perf.command import _complete
from cwt.cli.perf.protocol import PATH, Report
from cwt.cli.perf.server import perf
from cwt.cli.perf.table import table
from cwt.tls.development import development_certificate
from tests.cli import processes


def test_client_without_url_measures_all_on_this_machine() -> None:
    done = processes.run("perf", "client", "--duration", "0.2", "--streams", "4", "--json")
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)["results"]
    assert [result["test"] for result in results] == list(TESTS)
    for result in results:
        assert result["count"] > 0, result
        assert result["per_second"] > 0
        assert result["client_cpu_seconds"] > 0
        assert result["server_cpu_seconds"] > 0
    latency = results[-1]["latency_seconds"]
    assert 0 < latency["min"] <= latency["median"] <= latency["p99"] <= latency["max"]


def test_client_shows_a_table() -> None:
    with processes.running("perf", "server", "--host", "127.0.0.1", "--port", "0") as server:
        line = server.wait_for("perf client")
        found = re.search(r"(https://\S+) --hash (\w+)", line)
        assert found
        url, digest = found.groups()
        done = processes.run(
            *("perf", "client", url, "--hash", digest, "-d", "0.2", "-t", "down", "-t", "requests")
        )
        assert done.returncode == 0, done.stderr
        assert "bit/s" in done.stdout
        assert "s/GB" in done.stdout
        assert "median" in done.stdout
        assert server.interrupt()[0] == 0


def test_no_server_is_told_in_words() -> None:
    with processes.running(
        "perf", "server", "--host", "127.0.0.1", "--port", "0", "--json"
    ) as server:
        port = json.loads(server.wait_for("port"))["port"]
        assert server.interrupt(signal.SIGTERM)[0] == 0
    url = f"https://127.0.0.1:{port}"
    done = processes.run("perf", "client", url, "--insecure", "--open-timeout", "0.3")
    assert done.returncode == 1
    assert f"no session with 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_client_ends_when_the_server_does() -> None:
    with processes.running("perf", "server", "--host", "127.0.0.1", "--port", "0") as server:
        found = re.search(r"(https://\S+) --hash (\w+)", server.wait_for("perf client"))
        assert found
        with processes.running(
            *("perf", "client", found[1], "--hash", found[2], "-d", "60", "-t", "down", "--json")
        ) as client:
            time.sleep(1.5)
            assert server.interrupt(signal.SIGTERM)[0] == 0
            status, output = client.wait()
    assert status == 1
    assert "Error: " in output
    assert "Traceback" not in output


def test_wrong_hash_is_told_in_words() -> None:
    with processes.running(
        "perf", "server", "--host", "127.0.0.1", "--port", "0", "--json"
    ) as server:
        port = json.loads(server.wait_for("port"))["port"]
        done = processes.run("perf", "client", f"https://127.0.0.1:{port}", "--hash", "00" * 32)
    assert done.returncode == 1
    assert "certificate" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ftp://host"], "https://"),
        (["https://host:port"], "not a URL"),
        (["host", "--hash", "12"], "64 hexadecimal digits"),
        (["host", "--insecure", "--hash", "00" * 32], "only one of"),
        (["host", "--ca", "missing.pem"], "missing.pem"),
        (["host", "-t", "jump"], "jump"),
        (["host", "-d", "0"], "--duration"),
    ],
)
def test_mistakes_are_told_in_words(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(cli, ["perf", "client", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_keyfile_without_certfile() -> None:
    result = CliRunner().invoke(cli, ["perf", "server", "--keyfile", __file__])
    assert result.exit_code == 2


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("example.com", "https://example.com:4434/perf"),
        ("https://example.com:1/", "https://example.com:1/perf"),
        ("https://[::1]:1/other", "https://[::1]:1/other"),
    ],
)
def test_url_is_completed(given: str, url: str) -> None:
    assert _complete(given) == url


@pytest.mark.parametrize(
    "line",
    [b"fly\n", b"down -1\n", b"down \xff\n", b"down 9999999999999999\n", b"\n", b"up", b"x" * 500],
)
async def test_server_refuses_what_it_does_not_understand(line: bytes) -> None:
    made = development_certificate()
    async with (
        asyncio.timeout(30),
        cwt.serve(
            {PATH: perf}, "127.0.0.1", 0, certfile=made.cert_pem, keyfile=made.key_pem
        ) as server,
        cwt.connect(
            f"https://127.0.0.1:{server.port}{PATH}", server_certificate_hashes=[made.sha256]
        ) as session,
    ):
        stream = await session.open_bi()
        await stream.write(line)
        await stream.finish()
        assert (await stream.read()).startswith(b"error")
        stream = await session.open_bi()
        await stream.write(b"down 5\n")
        await stream.finish()
        assert await stream.read() == bytes(5)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"protocol": "other/2"}', b"\xff", b'"cwt-perf/1"']
)
def test_report_that_is_none(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"cwt.perf"):
        Report.decode(data)


def test_report_of_another_protocol() -> None:
    report = Report("cwt-perf/1", "1", 1.0, 0, 0.1, 0, 0)
    assert Report.decode(report.encode()) == report
    with pytest.raises(ValueError, match="cwt-perf/2"):
        Report.decode(report._replace(protocol="cwt-perf/2").encode())


def test_measurement_before_anything_was_measured() -> None:
    found = Measurement("down", "bytes")
    assert found.rate == 0
    assert found.latency(0.5) == 0
    assert found.as_dict()["count"] == 0


def test_table_while_running() -> None:
    running = Measurement("down", "bytes", count=1000, seconds=0.5)
    waiting = Measurement("echoes", "echoes")
    console = Console(width=150, file=io.StringIO())
    with console.capture() as capture:
        console.print(table("https://x/", [running, waiting], 5.0))
    text = capture.get()
    assert "16 kbit/s" in text
    assert "echoes" in text
