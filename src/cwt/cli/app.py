"""The group of all commands, and how their errors are told."""

from __future__ import annotations

import importlib
from typing import Any

import click

from cwt.cli.common import explain, package_version

__all__ = ["cli"]

_COMMANDS = {
    "demo": ("cwt.cli.demo", "Echo server with a page that shows WebTransport at work."),
    "devcert": ("cwt.cli.devcert", "Make a certificate that browsers accept by its hash."),
    "interop": ("cwt.cli.interop", "Endpoint for the QUIC interop runner."),
    "qlog": ("cwt.cli.qlog", "Read qlog files: summaries, plots, checks."),
    "perf": ("cwt.cli.perf", "Measure throughput, streams, requests, datagrams, handshakes."),
}


class _Commands(click.Group):
    """Imports a command when it is used; turns what users can do something about into a message."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name][0]).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_COMMANDS.items())])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            message = explain(error)
            if message is None:
                raise
            raise click.ClickException(message) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_version(), prog_name="cwt")
def cli() -> None:
    """QUIC, HTTP/3 and WebTransport for Python."""
