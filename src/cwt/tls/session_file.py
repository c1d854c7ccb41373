"""Sessions that outlive the process: a :class:`SessionCache` in a file."""

from __future__ import annotations

import contextlib
import json
import logging
import os
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from cwt.tls.sessions import MAX_TICKET_LENGTH, SessionCache, SessionTicket

try:
    import fcntl
except ImportError:  # no such locks on Windows: the last writer wins
    fcntl = None  # type: ignore[assignment]

__all__ = ["FileSessionCache"]

_log = logging.getLogger("cwt")

_FORMAT = 1
_MAX_SIZE = 16 * 1024 * 1024
"""Bytes of a file that is read at most."""

_T = TypeVar("_T")


def _text(data: bytes) -> str:
    return b64encode(data).decode("ascii")


def _binary(text: object) -> bytes:
    if not isinstance(text, str):
        raise ValueError("not a string")
    return b64decode(text, validate=True)


# By the type of a field of SessionTicket: to JSON and back.
_TO_JSON: dict[Any, Callable[[Any], object]] = {
    bytes: _text,
    tuple[bytes, ...]: lambda values: [_text(value) for value in values],
}
_FROM_JSON: dict[Any, Callable[[Any], object]] = {
    bytes: _binary,
    tuple[bytes, ...]: lambda values: tuple(_binary(value) for value in values),
    int: int,
    float: float,
    bool: bool,
}
_FIELDS: dict[str, Any] = get_type_hints(SessionTicket)


def _pack(server_name: str, ticket: SessionTicket) -> dict[str, object]:
    entry: dict[str, object] = {"server": server_name}
    for name, kind in _FIELDS.items():
        value = getattr(ticket, name)
        entry[name] = _TO_JSON[kind](value) if kind in _TO_JSON else value
    return entry


def _parse(entry: dict[str, Any]) -> tuple[str, SessionTicket]:
    """ValueError, TypeError or KeyError for what is no session; fields that are unknown are left out."""
    server_name = entry["server"]
    if not isinstance(server_name, str):
        raise ValueError("not a string")
    values = {
        name: _FROM_JSON[kind](entry[name]) for name, kind in _FIELDS.items() if name in entry
    }
    ticket = SessionTicket(**values)  # type: ignore[arg-type]
    if not 0 < len(ticket.ticket) <= MAX_TICKET_LENGTH:
        raise ValueError("no ticket")
    return server_name, ticket


class FileSessionCache(SessionCache):
    """A :class:`SessionCache` that is kept in the file *path*, for the next process.

    Every change is written at once: a new file takes the place of the old one, so that readers never see
    half of it.  It is for its owner only (mode 0600), because who reads it can go on with the sessions in
    it.  Several processes may share it: they take turns by a lock on *path* with ".lock" behind it, where
    the system has such locks.  A file that is damaged, or of a later version, counts as empty and is
    replaced; when one cannot be written, memory is what is left.  Both are told to the log, and nothing is
    raised.

    Reading and writing block for as long as the file system takes.
    """

    def __init__(
        self, path: str | os.PathLike[str], max_servers: int = 64, max_tickets: int = 4
    ) -> None:
        super().__init__(max_servers, max_tickets)
        self._path = Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._complained = False

    def __len__(self) -> int:
        self._load()
        return super().__len__()

    def clear(self) -> None:
        self._change(super().clear)

    def put(self, server_name: str, ticket: SessionTicket) -> None:
        self._change(lambda: SessionCache.put(self, server_name, ticket))

    def take(
        self, server_name: str, alpn: bytes, now: float, version: int = 1, identity: bytes = b""
    ) -> SessionTicket | None:
        take = SessionCache.take
        return self._change(lambda: take(self, server_name, alpn, now, version, identity))

    def annotate(self, server_name: str, ticket: bytes, application: bytes) -> None:
        self._change(lambda: SessionCache.annotate(self, server_name, ticket, application))

    def put_token(self, server_name: str, token: bytes, version: int = 1) -> None:
        self._change(lambda: SessionCache.put_token(self, server_name, token, version))

    def take_token(self, server_name: str, version: int = 1) -> bytes | None:
        return self._change(lambda: SessionCache.take_token(self, server_name, version))

    def _change(self, work: Callable[[], _T]) -> _T:
        """Do *work* on what the file holds now, and write what becomes of it."""
        with self._locked():
            self._load()
            before = self._document()
            result = work()
            after = self._document()
            if after != before:
                self._save(after)
        return result

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        try:
            lock = os.open(f"{self._path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            self._complain(error)
            yield
            return
        try:
            if fcntl is not None:
                with contextlib.suppress(OSError):  # not every file system has locks
                    fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    # The file.

    def _load(self) -> None:
        """Read the file, if it is not the one that was read or written last."""
        try:
            status = self._path.stat()
        except FileNotFoundError:
            if self._seen is not None:
                self._seen = None
                SessionCache.clear(self)
            return
        except OSError as error:
            self._complain(error)
            return
        seen = (status.st_mtime_ns, status.st_size, status.st_ino)
        if seen == self._seen:
            return
        self._seen = seen
        SessionCache.clear(self)
        try:
            if status.st_size > _MAX_SIZE:
                raise ValueError(f"it has more than {_MAX_SIZE} bytes")
            self._read(json.loads(self._path.read_bytes()))
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            SessionCache.clear(self)
            _log.warning("sessions in %s are of no use (%r); it is written anew", self._path, error)

    def _read(self, document: dict[str, Any]) -> None:
        if document["format"] != _FORMAT:
            raise ValueError(f"its format is {document['format']!r}")
        for entry in document["sessions"]:
            SessionCache.put(self, *_parse(entry))
        for server_name, version, text in document["tokens"]:
            if not isinstance(server_name, str):
                raise ValueError("not a string")
            SessionCache.put_token(self, server_name, _binary(text), int(version))

    def _document(self) -> dict[str, object]:
        return {
            "format": _FORMAT,
            "sessions": [
                _pack(key[0], ticket)
                for key, tickets in self._tickets.items()
                for ticket in tickets
            ],
            "tokens": [
                [*key, _text(token)] for key, tokens in self._tokens.items() for token in tokens
            ],
        }

    def _save(self, document: dict[str, object]) -> None:
        new = f"{self._path}.{os.getpid()}.new"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(new)  # of a process with our number that did not come to an end
            with open(os.open(new, flags, 0o600), "w", encoding="ascii") as file:
                json.dump(document, file, separators=(",", ":"))
            status = os.stat(new)
            os.replace(new, self._path)
        except OSError as error:
            self._complain(error)
            with contextlib.suppress(OSError):
                os.unlink(new)
            return
        self._complained = False
        self._seen = (status.st_mtime_ns, status.st_size, status.st_ino)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            _log.warning("sessions cannot be kept in %s: %s", self._path, error)
