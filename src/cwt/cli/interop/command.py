"""``cwt interop client`` and ``cwt interop server``."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

import click

from cwt.cli.common import loop_option, run
from cwt.cli.interop.cases import CLIENT_CASES, SERVER_CASES, Case
from cwt.cli.interop.client import Client, parse_requests
from cwt.cli.interop.exchange import Failed
from cwt.cli.interop.server import Preferred, Server

__all__ = ["command"]

UNSUPPORTED = 127


class _Role(click.Command):
    """A command that takes options out of CLIENT_PARAMS or SERVER_PARAMS, too."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        more = os.environ.get(f"{str(self.name).upper()}_PARAMS", "")
        return super().parse_args(ctx, [*shlex.split(more), *args])


_case_option = click.option(
    "--case",
    "name",
    envvar="TESTCASE",
    show_envvar=True,
    required=True,
    help="Test case, by the name the runner gives to this side.",
)
_verbose_option = click.option("-v", "--verbose", is_flag=True, help="Log to the standard error.")
_DIRECTORY = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(dir_okay=False, path_type=Path)


@click.group("interop", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> None:
    """An endpoint for the QUIC interop runner.

    Without a subcommand, ROLE in the environment says which: `client` or `server`. The exit status is 0 for
    success, 1 for failure, 127 for a test case that cwt does not have.
    """
    if ctx.invoked_subcommand is not None:
        return
    role = os.environ.get("ROLE", "")
    subcommand = command.get_command(ctx, role)
    if subcommand is None:
        raise click.UsageError("give client or server, or set ROLE to one of them")
    with subcommand.make_context(role, [], parent=ctx) as inner:
        subcommand.invoke(inner)


@command.command("client", cls=_Role)
@_case_option
@click.option(
    "--requests",
    envvar="REQUESTS",
    show_envvar=True,
    required=True,
    help="URLs of the files to fetch, with blanks between.",
)
@click.option(
    "--downloads",
    type=_DIRECTORY,
    default=Path("/downloads"),
    show_default=True,
    help="Where the files go.",
)
@click.option(
    "--ca", type=_FILE, help="Check the certificate against these authorities.  [default: no check]"
)
@_verbose_option
@loop_option
def client_command(
    name: str, requests: str, downloads: Path, ca: Path | None, verbose: bool, loop: str
) -> None:
    """Fetch the files of REQUESTS and write them to /downloads."""
    case = _find(name, CLIENT_CASES, verbose)
    try:
        origin, wanted = parse_requests(requests, downloads)
    except Failed as error:
        raise click.UsageError(str(error)) from error
    _run(Client(case, origin, ca=ca).fetch(wanted), loop)


@command.command("server", cls=_Role)
@_case_option
@click.option("--host", default="::", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=443, show_default=True)
@click.option(
    "--www", type=_DIRECTORY, default=Path("/www"), show_default=True, help="Files to serve."
)
@click.option("--certfile", type=_FILE, default=Path("/certs/cert.pem"), show_default=True)
@click.option("--keyfile", type=_FILE, default=Path("/certs/priv.key"), show_default=True)
@click.option(
    "--preferred-port",
    type=click.IntRange(0, 65535),
    default=4443,
    show_default=True,
    help="Port of the preferred address, in the case connectionmigration.",
)
@click.option(
    "--preferred-address",
    multiple=True,
    metavar="HOST:PORT",
    help="What clients are told of it.  [default: the addresses of this machine]",
)
@_verbose_option
@loop_option
def server_command(
    name: str,
    host: str,
    port: int,
    www: Path,
    certfile: Path,
    keyfile: Path,
    preferred_port: int,
    preferred_address: tuple[str, ...],
    verbose: bool,
    loop: str,
) -> None:
    """Serve the files of /www."""
    case = _find(name, SERVER_CASES, verbose)
    preferred = Preferred(preferred_port, tuple(map(_address, preferred_address)))

    async def serve() -> None:
        server = Server(
            case,
            host,
            port,
            www=www,
            certfile=certfile,
            keyfile=keyfile,
            preferred=preferred,
        )
        click.echo(f"listening on UDP port {server.port}")
        await server.serve_forever()

    with contextlib.suppress(KeyboardInterrupt):
        _run(serve(), loop)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    try:
        return host.strip("[]"), int(port)
    except ValueError:
        raise click.BadParameter(f"{text!r} is no HOST:PORT") from None


def _find(name: str, cases: Mapping[str, Case], verbose: bool) -> Case:
    if verbose:
        logging.basicConfig(level=logging.DEBUG, format="%(asctime)s %(name)s %(message)s")
    case = cases.get(name)
    if case is None:
        click.echo(f"test case {name!r} is not supported", err=True)
        raise click.exceptions.Exit(UNSUPPORTED)
    return case


def _run(main: Coroutine[Any, Any, None], loop: str) -> None:
    try:
        run(main, loop)
    except* Failed as group:
        raise click.ClickException(str(group.exceptions[0])) from None
