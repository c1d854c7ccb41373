"""Files that are served and that were fetched, never outside of their directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

__all__ = ["Body", "Download", "inside"]

_CHUNK = 1 << 18


def inside(directory: Path, path: str) -> Path | None:
    """The file that the *path* of a URL names in *directory*, or None when it would be elsewhere."""
    parts = path.partition("?")[0].split("/")
    if parts[0] == "":
        del parts[0]
    if not parts or any(part in ("", ".", "..") or "\0" in part or "\\" in part for part in parts):
        return None
    root = directory.resolve()
    try:
        found = root.joinpath(*parts).resolve()
    except (OSError, RuntimeError):
        return None
    return found if found.is_relative_to(root) and found != root else None


class Body:
    """A file on its way out, a piece at a time."""

    def __init__(self, path: Path) -> None:
        """Raises OSError when *path* is no file that can be read."""
        self._file: BinaryIO | None = path.open("rb")
        self._piece = memoryview(b"")
        self._is_last = False

    def send(self, write: Callable[[memoryview, bool], int]) -> bool:
        """Hand the rest to *write*, which takes bytes and whether they are the last, and returns how many
        it took.  Returns whether all is sent."""
        while True:
            if not self._piece and self._file is not None:
                self._piece = memoryview(self._file.read(_CHUNK))
                if len(self._piece) < _CHUNK:
                    self._is_last = True
                    self.close()
            self._piece = self._piece[write(self._piece, self._is_last) :]
            if self._piece:
                return False
            if self._is_last:
                return True

    def close(self) -> None:
        """Read no more."""
        if self._file is not None:
            self._file.close()
            self._file = None


class Download:
    """A file that is written as it arrives."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self._file: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        """Append *data*."""
        if self._file is None:
            self._file = self.path.open("wb")
        self._file.write(data)
        self.size += len(data)

    def finish(self) -> None:
        """That was all; an empty file is made, too."""
        self.write(b"")
        self.close()

    def close(self) -> None:
        """Leave the file as it is."""
        if self._file is not None:
            self._file.close()
            self._file = None
