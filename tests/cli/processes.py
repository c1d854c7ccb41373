"""The command line as a real process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 60.0


def run(*arguments: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[str]:
    """``cwt ARGUMENTS`` to its end."""
    return subprocess.run(
        [sys.executable, "-m", "cwt", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(),
    )


def environment() -> dict[str, str]:
    """Wide and without colours, so that output can be read by tests."""
    return {**os.environ, "COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb", "PYTHONUTF8": "1"}


class Running:
    """A command that goes on until it is interrupted."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.lines: list[str] = []

    def wait_for(self, text: str) -> str:
        """The first line of its output with ``text`` in it."""
        assert self._process.stdout is not None
        timer = threading.Timer(PATIENCE, self._process.kill)
        timer.start()
        try:
            for line in self._process.stdout:
                self.lines.append(line)
                if text in line:
                    return line
        finally:
            timer.cancel()
        raise AssertionError(f"{text!r} did not come:\n{''.join(self.lines)}")

    def interrupt(self, number: int = signal.SIGINT) -> tuple[int, str]:
        """What Ctrl-C does; the exit status, and the rest of the output."""
        self._process.send_signal(number)
        rest, _ = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, rest

    def wait(self) -> tuple[int, str]:
        """The exit status, and the rest of the output, once it has ended by itself."""
        rest, _ = self._process.communicate(timeout=PATIENCE)
        return self._process.returncode, rest


@contextmanager
def running(*arguments: str) -> Iterator[Running]:
    """``cwt ARGUMENTS`` in the background."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cwt", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment(),
        # In the background of a shell, as tests may run, SIGINT is ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        yield Running(process)
    finally:
        process.kill()
        process.communicate()
