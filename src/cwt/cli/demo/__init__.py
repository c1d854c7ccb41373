"""``cwt demo``: an echo server with a page that shows WebTransport at work."""

from __future__ import annotations

import asyncio
import errno
import time
from contextlib import AsyncExitStack

import click
from click.core import ParameterSource
from rich.console import Console
from rich.table import Table

import cwt
from cwt.cli.common import loop_option, package_version, run
from cwt.cli.demo.page import PageServer
from cwt.cli.demo.selfcheck import SelfCheck
from cwt.cli.demo.sessions import ROUTES, echo
from cwt.tls.development import DevelopmentCertificate, development_certificate

__all__ = ["command"]

DAYS = 13
_ANY_HOST = {"::": "127.0.0.1", "0.0.0.0": "127.0.0.1", "localhost": "127.0.0.1"}


@click.command("demo")
@click.option(
    "--host",
    default="localhost",
    show_default=True,
    help="Where the WebTransport server listens (UDP).",
)
@click.option("--port", type=click.IntRange(0, 65535), default=4433, show_default=True)
@click.option(
    "--http-port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    help="Port of the page (TCP, loopback only).",
)
@click.option("--once", is_flag=True, help="Run the self-check and exit; status 1 if it fails.")
@loop_option
@click.pass_context
def command(
    ctx: click.Context, host: str, port: int, http_port: int, once: bool, loop: str
) -> None:
    """Start an echo server and a page that shows WebTransport at work.

    The server has a fresh certificate, which the page's browser accepts by its hash: nothing needs to be
    installed.  A Python client first checks that everything works; then open the printed address.
    """
    chosen = {
        name: ctx.get_parameter_source(name) is not ParameterSource.DEFAULT
        for name in ("port", "http_port")
    }
    demo = Demo(host, port, http_port, chosen["port"] or port == 0, chosen["http_port"])
    try:
        passed = run(demo.run(once), loop)
    except KeyboardInterrupt:
        passed = True
        demo.console.print("\nStopped.")
    ctx.exit(0 if passed else 1)


class Demo:
    """The WebTransport server, the page's server, and what is printed about them."""

    def __init__(
        self, host: str, port: int, http_port: int, fixed_port: bool, fixed_http_port: bool
    ) -> None:
        self.console = Console(highlight=False)
        self._host = host
        self._port = port
        self._http_port = http_port
        self._fixed = (fixed_port, fixed_http_port)
        self._closes: asyncio.Queue[cwt.CloseInfo] = asyncio.Queue()

    async def run(self, once: bool) -> bool:
        """Everything; whether the self-check passed."""
        certificate = development_certificate(self._names(), DAYS)
        expires = time.time() + DAYS * 86400 - 3600
        async with AsyncExitStack() as stack:
            server = await stack.enter_async_context(await self._serve(certificate))
            host = _ANY_HOST.get(self._host, self._host)
            host = f"[{host}]" if ":" in host and not host.startswith("[") else host
            url = f"https://{host}:{server.port}"
            status = _Status(server, url, certificate, expires)
            page = PageServer(status)
            http_port = await self._listen(page)
            stack.callback(page.close)
            self.console.print(f"\n[bold]cwt demo[/]  [dim]WebTransport server on[/] {url}\n")
            passed = await self._check(f"{url}/self-check", certificate)
            if not passed or once:
                return passed
            self._invite(http_port, url)
            await server.serve_forever()
        return True

    def _names(self) -> list[str]:
        names = ["localhost", "127.0.0.1", "::1"]
        return names if self._host in (*names, *_ANY_HOST) else [*names, self._host]

    async def _serve(self, certificate: DevelopmentCertificate) -> cwt.Server:
        # Chromium resolves localhost to ::1 alone: be there on both addresses.
        hosts = ["127.0.0.1", "::1"] if self._host == "localhost" else [self._host]
        ports = [self._port] if self._fixed[0] else [self._port, 0]
        while True:
            try:
                return await cwt.serve(
                    {**ROUTES, "/self-check": self._self_check},
                    hosts,
                    ports[0],
                    certfile=certificate.cert_pem,
                    keyfile=certificate.key_pem,
                    close_timeout=1,
                )
            except OSError as error:
                if error.errno == errno.EADDRINUSE and len(ports) > 1:
                    ports.pop(0)
                elif len(hosts) > 1 and error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    hosts.pop()
                else:
                    raise

    async def _listen(self, page: PageServer) -> int:
        try:
            return await page.start("127.0.0.1", self._http_port)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                if not self._fixed[1]:
                    return await page.start("127.0.0.1", 0)
                raise click.ClickException(
                    f"TCP port {self._http_port} is in use; pass another --http-port, or 0 for any"
                )
            raise

    async def _self_check(self, session: cwt.Session) -> None:
        try:
            await echo(session)
        finally:
            self._closes.put_nowait(await session.wait_closed())

    async def _check(self, url: str, certificate: DevelopmentCertificate) -> bool:
        table = Table(
            title="Self-check by a Python client", title_justify="left", title_style="bold"
        )
        table.add_column("", width=1)
        table.add_column("check")
        table.add_column("result")
        passed = True
        async for check in SelfCheck(url, certificate.sha256, self._closes.get).run():
            passed = passed and check.passed
            mark, style = ("✓", "green") if check.passed else ("✗", "bold red")
            table.add_row(f"[{style}]{mark}[/]", check.name, check.detail)
        self.console.print(table)
        if not passed:
            self.console.print(
                "[bold red]The self-check failed.[/]  If it timed out, something keeps UDP from "
                "passing: look at the firewall."
            )
        return passed

    def _invite(self, http_port: int, url: str) -> None:
        address = f"http://127.0.0.1:{http_port}/"
        self.console.print(f"\n[bold green]➜[/]  Open [bold]{address}[/] in a browser")
        self.console.print(f"   [dim]Your own code can talk to[/] {url}/echo")
        self.console.print("   [dim]Ctrl-C stops.[/]\n")


class _Status:
    """What the page is told: where to connect to, and what the server has seen."""

    def __init__(
        self, server: cwt.Server, url: str, certificate: DevelopmentCertificate, expires: float
    ) -> None:
        self._server = server
        self._fixed = {
            "url": f"{url}/demo",
            "hash": certificate.sha256.hex(),
            "expires": expires,
            "version": package_version(),
        }

    def __call__(self) -> dict[str, object]:
        stats = self._server.stats()
        return {
            **self._fixed,
            "connections": stats.connections,
            "sessions": stats.sessions,
            "accepted": stats.sessions_accepted,
            "rejected": stats.sessions_rejected,
            "datagrams": sum(one.stats().datagrams_received for one in self._server.sessions),
        }
