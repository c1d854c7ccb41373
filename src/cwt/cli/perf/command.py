"""``cwt perf server`` and ``cwt perf client``."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.live import Live

import cwt
from cwt.cli.common import loop_option, package_version, run
from cwt.cli.perf.client import TESTS, Measurement, Options, Runner
from cwt.cli.perf.protocol import PATH
from cwt.cli.perf.server import perf
from cwt.cli.perf.table import table
from cwt.tls.development import development_certificate

__all__ = ["command"]

PORT = 4434
START_SECONDS = 20.0


@click.group("perf")
def command() -> None:
    """Measure throughput, streams, requests, datagrams, handshakes.

    Start `cwt perf server` on one machine and `cwt perf client URL` on another. The client without a URL
    measures this machine: it starts a server of its own.
    """


@command.command("server")
@click.option("--host", default="::", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, show_default=True)
@click.option(
    "--certfile",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="PEM certificate chain.  [default: a development certificate]",
)
@click.option("--keyfile", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Say where it listens as one line of JSON.")
@loop_option
def server_command(
    host: str, port: int, certfile: Path | None, keyfile: Path | None, as_json: bool, loop: str
) -> None:
    """Run the server that clients measure against."""
    if (certfile is None) != (keyfile is None):
        raise click.UsageError("--certfile and --keyfile go together")
    with contextlib.suppress(KeyboardInterrupt):
        run(_serve(host, port, certfile, keyfile, as_json), loop)


async def _serve(
    host: str, port: int, certfile: Path | None, keyfile: Path | None, as_json: bool
) -> None:
    made = None if certfile else development_certificate()
    async with cwt.serve(
        {PATH: perf},
        host,
        port,
        certfile=made.cert_pem if made else certfile,
        keyfile=made.key_pem if made else keyfile,
    ) as server:
        digest = made.sha256.hex() if made else None
        if as_json:
            print(json.dumps({"port": server.port, "hash": digest}), flush=True)
        else:
            name = {"::": "HOST", "0.0.0.0": "HOST"}.get(host, host)
            name = f"[{name}]" if ":" in name else name
            trust = f" --hash {digest}" if digest else ""
            console = Console(highlight=False, soft_wrap=True)
            console.print(f"[bold]cwt perf server[/] on UDP {host} port {server.port}")
            console.print("[dim]Measure with:[/]")
            console.print(f"  cwt perf client https://{name}:{server.port}{trust}", markup=False)
            console.print("[dim]Ctrl-C stops.[/]")
        await server.serve_forever()


@command.command("client")
@click.argument("url", required=False)
@click.option(
    "-t",
    "--test",
    "tests",
    multiple=True,
    type=click.Choice(list(TESTS)),
    help="What to measure; may be repeated.  [default: all]",
)
@click.option(
    "-d",
    "--duration",
    type=click.FloatRange(0.05, 3600),
    default=5.0,
    show_default=True,
    help="Seconds each test takes.",
)
@click.option("--streams", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option(
    "-c",
    "--concurrency",
    type=click.IntRange(1, 10_000),
    default=32,
    show_default=True,
    help="Requests, or handshakes, at once.",
)
@click.option("--request-size", type=click.IntRange(0, 1 << 24), default=100, show_default=True)
@click.option("--response-size", type=click.IntRange(0, 1 << 24), default=1000, show_default=True)
@click.option("--datagram-size", type=click.IntRange(1, 65535), default=1000, show_default=True)
@click.option("--hash", "digest", metavar="SHA256", help="Trust the certificate with this hash.")
@click.option(
    "--ca",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Trust the certificate authorities in this PEM file.",
)
@click.option("--insecure", is_flag=True, help="Trust any certificate.")
@click.option(
    "--open-timeout",
    type=click.FloatRange(0.05),
    default=10.0,
    show_default=True,
    help="Seconds to wait for a connection.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@loop_option
def client_command(
    url: str | None,
    tests: tuple[str, ...],
    duration: float,
    streams: int,
    concurrency: int,
    request_size: int,
    response_size: int,
    datagram_size: int,
    digest: str | None,
    ca: str | None,
    insecure: bool,
    open_timeout: float,
    as_json: bool,
    loop: str,
) -> None:
    """Measure against the server at URL, such as https://example.com:4434.

    Without URL, a server is started for it on this machine. CPU seconds are those of the whole process on
    each side.
    """
    options = Options(
        url=_complete(url) if url else "",
        connect={**_trust(digest, ca, insecure), "open_timeout": open_timeout},
        duration=duration,
        streams=streams,
        concurrency=concurrency,
        request_size=request_size,
        response_size=response_size,
        datagram_size=datagram_size,
    )
    with contextlib.suppress(KeyboardInterrupt):
        run(_measure(options, tests or tuple(TESTS), as_json, loop), loop)


def _complete(url: str) -> str:
    """``url`` with the path of the protocol, whatever of it was left out."""
    if "://" not in url:
        url = f"https://{url}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise click.BadParameter(f"{url!r} is not a URL: {error}", param_hint="URL")
    if parts.scheme != "https" or not host:
        raise click.BadParameter(
            f"{url!r} is not like https://example.com:{PORT}", param_hint="URL"
        )
    host = f"[{host}]" if ":" in host else host
    path = parts.path if parts.path not in ("", "/") else PATH
    return f"https://{host}:{port or PORT}{path}"


def _trust(digest: str | None, ca: str | None, insecure: bool) -> dict[str, Any]:
    if sum((digest is not None, ca is not None, insecure)) > 1:
        raise click.UsageError("only one of --hash, --ca and --insecure makes sense")
    if digest is not None:
        text = digest.replace(":", "")
        try:
            value = bytes.fromhex(text)
        except ValueError:
            value = b""
        if len(value) != 32:
            raise click.BadParameter(
                "a SHA-256 hash has 64 hexadecimal digits", param_hint="--hash"
            )
        return {"server_certificate_hashes": [value]}
    return {"verify": ca if ca is not None else not insecure}


async def _measure(options: Options, tests: tuple[str, ...], as_json: bool, loop: str) -> None:
    async with contextlib.AsyncExitStack() as stack:
        if not options.url:
            url, digest = await stack.enter_async_context(_own_server(loop))
            options = replace(
                options,
                url=url,
                connect={
                    **options.connect,
                    "verify": True,
                    "server_certificate_hashes": [bytes.fromhex(digest)],
                },
            )
        runner = Runner(options)
        found = [Measurement(test, TESTS[test][1]) for test in tests]
        if as_json:
            for measurement in found:
                await runner.run(measurement.test, measurement)
            result = {
                "version": package_version(),
                "url": options.url,
                "results": [measurement.as_dict() for measurement in found],
            }
            print(json.dumps(result, indent=2))
            return
        console = Console(highlight=False)
        await runner.check()
        with Live(
            get_renderable=lambda: table(options.url, found, options.duration),
            console=console,
            refresh_per_second=5,
        ):
            for measurement in found:
                await runner.run(measurement.test, measurement)


@contextlib.asynccontextmanager
async def _own_server(loop: str) -> AsyncIterator[tuple[str, str]]:
    """A server in a process of its own; its URL and the hash of its certificate."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "cwt", "perf", "server", "--host", "127.0.0.1", "--port", "0", "--json"),
        *("--loop", loop),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_SECONDS):
                line = await process.stdout.readline()
            where = json.loads(line)
        except (TimeoutError, ValueError):
            raise click.ClickException("the server of this measurement did not start; see above")
        yield f"https://127.0.0.1:{where['port']}{PATH}", where["hash"]
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
