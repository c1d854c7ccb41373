"""``cwt devcert``: a development certificate."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import click
from rich.console import Console

from cwt.tls.development import development_certificate

__all__ = ["command"]

MAX_DAYS = 13


@click.command("devcert")
@click.option(
    "--hostname",
    "hostnames",
    multiple=True,
    metavar="NAME",
    help="Host name or IP address; may be repeated.  [default: localhost, 127.0.0.1, ::1]",
)
@click.option(
    "--days",
    type=click.IntRange(1, MAX_DAYS),
    default=MAX_DAYS,
    show_default=True,
    help="How long it is valid; browsers take no more than two weeks.",
)
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(),
    metavar="DIRECTORY",
    help="Where cert.pem and key.pem go.  [default: here]",
)
@click.option("--url", default="https://127.0.0.1:4433/", help="URL in the JavaScript line.")
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def command(hostnames: tuple[str, ...], days: int, out: Path, url: str, force: bool) -> None:
    """Make a certificate that browsers accept by its hash.

    It is self-signed, for development, and valid for two weeks at most: browsers accept such a
    certificate from a page that names its hash, without any change to the browser or the system.
    """
    names = hostnames or ("localhost", "127.0.0.1", "::1")
    there = [str(path) for name in ("cert.pem", "key.pem") if (path := out / name).exists()]
    if there and not force:
        raise click.ClickException(
            f"{' and '.join(there)} would be overwritten; pass --force, or --out another directory"
        )
    made = development_certificate(names, days)
    certfile, keyfile = made.write(out)
    console = Console(highlight=False, soft_wrap=True)
    day = "day" if days == 1 else "days"
    console.print(f"[bold green]✓[/] {certfile} and {keyfile}, valid for {days} {day}")
    console.print(f"  [dim]names[/]    {', '.join(names)}")
    console.print(f"  [dim]sha-256[/]  {made.sha256.hex()}")
    console.print(f"  [dim]base64[/]   {b64encode(made.sha256).decode()}")
    console.print("\n[bold]In a browser[/]")
    console.print(made.javascript(url), markup=False)
    console.print("\n[bold]In Python[/]")
    console.print(
        f'cwt.serve(handler, certfile="{certfile}", keyfile="{keyfile}")\n'
        f'cwt.connect("{url}", server_certificate_hashes=["{made.sha256.hex()}"])',
        markup=False,
    )
