"""TLS secrets for decrypting captures (SSLKEYLOGFILE, RFC 9850)."""

from __future__ import annotations

import logging
import os
import sys
from typing import Protocol

from cwt.errors import ConfigError

__all__ = ["KeyLog", "TextWriter", "open_keylog"]

_log = logging.getLogger("cwt")


class TextWriter(Protocol):
    """What a key log may be besides a path: anything with ``write(str)``."""

    def write(self, text: str, /) -> object: ...


class KeyLog:
    """Appends one line a secret.  Each line is one write, so processes can share the file."""

    def __init__(self, target: str | os.PathLike[str] | TextWriter) -> None:
        self._target = target
        if isinstance(target, str | os.PathLike):
            try:
                self._append("")
            except OSError as error:
                raise ConfigError(
                    f"the key log {os.fspath(target)!r} cannot be written ({error.strerror}); "
                    "check keylog_file or the environment variable SSLKEYLOGFILE"
                ) from error

    def write(self, label: str, client_random: bytes, secret: bytes) -> None:
        """Log one secret; what goes wrong is not worth a connection and only makes a warning."""
        try:
            self._append(f"{label} {client_random.hex()} {secret.hex()}\n")
        except (OSError, ValueError) as error:
            _log.warning("a TLS secret was not written to the key log: %s", error)

    def _append(self, line: str) -> None:
        if not isinstance(self._target, str | os.PathLike):
            self._target.write(line)
            return
        file = os.open(self._target, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, line.encode("ascii"))
        finally:
            os.close(file)


def open_keylog(target: str | os.PathLike[str] | TextWriter | None) -> KeyLog | None:
    """The key log that *target* names, or else SSLKEYLOGFILE; None without either.

    As in the module ``ssl``, an interpreter that runs with ``-E`` or ``-I`` does not ask the environment.
    """
    chosen = target
    if chosen is None and not sys.flags.ignore_environment:
        chosen = os.environ.get("SSLKEYLOGFILE") or None
    return None if chosen is None else KeyLog(chosen)
