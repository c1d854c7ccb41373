"""``cwt qlog summary``, ``cwt qlog plot`` and ``cwt qlog check``."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from cwt.cli.qlog.table import table
from cwt.qlog import Log, QlogError, check, read
from cwt.qlog.summary import summarize

__all__ = ["command"]

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_MANY = 20


@click.group("qlog")
def command() -> None:
    """Read qlog files: summaries, plots, checks.

    Connections write them into the directory that QLOGDIR, or qlog_dir, names. Files of other
    implementations and of older drafts can be read, too.
    """


@command.command("summary")
@click.argument("files", nargs=-1, required=True, type=_FILE)
def summary_command(files: tuple[Path, ...]) -> None:
    """Tell what happened in the connection of each of FILES."""
    console = Console(highlight=False)
    for path in files:
        log = _read(path)
        console.print(table(log, summarize(log)))


@command.command("plot")
@click.argument("file", type=_FILE)
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="Image to write: .png, .svg or .pdf.  [default: FILE with .png]",
)
def plot_command(file: Path, output: Path | None) -> None:
    """Draw window, bytes in flight, round-trip time and data of the connection in FILE over time."""
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError:
        raise click.ClickException(
            'matplotlib is not installed; run: pip install "cwt-quic[plot]"'
        ) from None
    from cwt.cli.qlog.plot import plot

    log = _read(file)
    output = output or file.with_name(f"{file.name.removesuffix('.gz').rpartition('.')[0]}.png")
    try:
        plot(log, summarize(log), output)
    except ValueError as error:  # a suffix that matplotlib does not know
        raise click.ClickException(f"{output}: {error}") from error
    click.echo(f"{output}")


@command.command("check")
@click.argument("files", nargs=-1, required=True, type=_FILE)
@click.option("--strict", is_flag=True, help="Take no fields but those of the drafts and of cwt.")
def check_command(files: tuple[Path, ...], strict: bool) -> None:
    """Compare FILES with the schema of the drafts; exit code 1 when one does not keep to it."""
    failed = False
    for path in files:
        log = _read(path)
        faults = check(log, strict=strict)
        failed = failed or bool(faults)
        for fault in faults[:_MANY]:
            click.echo(f"{path}: {fault}")
        if len(faults) > _MANY:
            click.echo(f"{path}: and {len(faults) - _MANY} more")
        if not faults:
            click.echo(f"{path}: {len(log.events)} events, as the drafts define them")
    if failed:
        raise click.exceptions.Exit(1)


def _read(path: Path) -> Log:
    try:
        return read(path)
    except QlogError as error:
        raise click.ClickException(str(error)) from error
