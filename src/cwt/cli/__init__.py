"""The command line: ``cwt`` and ``python -m cwt``.

click and rich come with the extra ``cwt-quic[cli]``; nothing of them is imported before the command runs.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; exits the process."""
    try:
        from cwt.cli.app import cli
    except ModuleNotFoundError as error:
        if error.name not in ("click", "rich"):
            raise
        sys.exit(
            f"cwt: the command line needs {error.name}, which is not installed; "
            'run: pip install "cwt-quic[cli]"'
        )
    cli(prog_name="cwt")
