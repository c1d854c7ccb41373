"""One file for each connection, in the directory that the configuration or QLOGDIR names."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

__all__ = ["LEVELS", "QlogFile", "start"]

LEVELS = ("core", "base", "extra")
"""How important an event is, the most important ones first."""

_ATTEMPTS = 100


class QlogFile:
    """Appends to ``<directory>/<name>.sqlog``, or ``<name>-2.sqlog`` where there is one already.

    The file is made by the first ``write`` and not held open in between: connections may be many more than
    file descriptors.  Raises OSError.
    """

    def __init__(self, directory: str | os.PathLike[str], name: str) -> None:
        self.directory = directory
        self.name = name
        self.path: str | None = None

    def write(self, data: bytes) -> None:
        """Append *data*."""
        path, file = self._open()
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(file, view) :]
        finally:
            os.close(file)
        self.path = path

    def _open(self) -> tuple[str, int]:
        if self.path is not None:
            return self.path, os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.makedirs(self.directory, exist_ok=True)
        for attempt in range(1, _ATTEMPTS + 1):
            name = self.name if attempt == 1 else f"{self.name}-{attempt}"
            path = os.path.join(self.directory, f"{name}.sqlog")
            try:
                return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
            except FileExistsError:
                continue
        raise FileExistsError(f"there are {_ATTEMPTS} files of the name {self.name}.sqlog")


def start(
    directory: str | os.PathLike[str], level: str, original_destination: bytes, is_client: bool
) -> dict[str, Any]:
    """What ``Connection.set_qlog`` takes, for a file in *directory* of a connection that begins now."""
    role = "client" if is_client else "server"
    wall_clock = datetime.now(UTC).isoformat(timespec="milliseconds")
    return {
        "writer": QlogFile(directory, f"{original_destination.hex()}_{role}"),
        "title": f"cwt {role}",
        "level": level,
        "wall_clock": wall_clock.replace("+00:00", "Z"),
    }
