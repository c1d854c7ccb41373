"""Two ends in two processes, with the CPU time of each."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import socket
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["TIME_LIMIT", "Channel", "EndFailed", "Figures", "cpu_seconds", "run_pair", "waits"]

TIME_LIMIT = 55.0
"""Seconds that two ends may take before they count as hung."""


def cpu_seconds() -> float:
    """CPU time of this process so far, user and system."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@dataclass(frozen=True)
class Figures:
    """What one end did."""

    cpu: float
    """Seconds of CPU time."""
    seconds: float
    """By the clock."""
    count: int
    """Payload bytes, or operations."""
    packets: int = 0
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def cpu_per_gb(self) -> float:
        return self.cpu / self.count * 1e9


waits: list[float] = []
"""Of each process that was measured, the share of its time that it could have run but had no CPU, where the
system tells: on a busy machine, what goes by the clock is slower than it need be."""


def _seconds_waited() -> float:
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


class Channel:
    """Messages from one end to the other, beside what is measured."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._rest = b""

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, value: Any) -> None:
        self._socket.sendall(json.dumps(value).encode() + b"\n")

    def receive(self) -> Any:
        """The next message; EOFError when the other end is gone."""
        while b"\n" not in self._rest:
            data = self._socket.recv(65536)
            if not data:
                raise EOFError("the other end is gone")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return json.loads(line)

    def ask(self, value: Any) -> Any:
        """Send *value*, and wait for the answer."""
        self.send(value)
        return self.receive()

    def meet(self) -> None:
        """Wait until the other end is here too."""
        self.ask("here")


End = Callable[[Channel], Figures]


class EndFailed(RuntimeError):
    """An end raised, or did not finish in time."""


def _child(end: End, channel: Channel, result: int) -> None:
    # Runs in the forked process, and never returns.
    status = 1
    try:
        with open(result, "w") as file:
            try:
                began, waited = time.monotonic(), _seconds_waited()
                figures = asdict(end(channel))
                share = (_seconds_waited() - waited) / (time.monotonic() - began)
                json.dump({"figures": figures, "waited": share}, file)
                status = 0
            except BaseException:
                json.dump({"error": traceback.format_exc()}, file)
    finally:
        os._exit(status)


def _pin(cpu: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {allowed[cpu % len(allowed)]})


def _start(
    end: End, cpu: int | None, ours: socket.socket, theirs: socket.socket
) -> tuple[int, int]:
    # The process and where its result will be read.
    read, write = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(read)
        theirs.close()
        if cpu is not None:
            _pin(cpu)
        _child(end, Channel(ours), write)
    os.close(write)
    return process, read


def _collect(pipes: list[int], until: float) -> list[bytes]:
    results = [b""] * len(pipes)
    pending = set(pipes)
    while pending:
        ready, _, _ = select.select(list(pending), [], [], max(0.0, until - time.monotonic()))
        if not ready:
            raise EndFailed("the two ends did not finish in time")
        for pipe in ready:
            data = os.read(pipe, 65536)
            results[pipes.index(pipe)] += data
            if not data:
                pending.remove(pipe)
                if b'"error"' in results[pipes.index(pipe)]:
                    return results  # the other end would wait for ever
    return results


def run_pair(
    first: End,
    second: End,
    *,
    time_limit: float = TIME_LIMIT,
    cpus: tuple[int, int] | None = (0, 1),
) -> tuple[Figures, Figures]:
    """Run the two ends at the same time, each in a process of its own; their figures.

    Each has a CPU of its own, too, unless *cpus* is None: else the scheduler may put both on one, and take
    long to notice.  CPUs are not alike, so what is compared should run on the same one.  Raises EndFailed
    with the traceback of an end that failed.
    """
    channels = socket.socketpair()
    children = [
        _start(first, cpus[0] if cpus else None, *channels),
        _start(second, cpus[1] if cpus else None, *reversed(channels)),
    ]
    for channel in channels:
        channel.close()
    pipes = [pipe for _, pipe in children]
    try:
        results = _collect(pipes, time.monotonic() + time_limit)
    finally:
        for process, pipe in children:
            os.close(pipe)
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
    found = [json.loads(result) if result else {} for result in results]
    for result in found:
        if "error" in result:
            raise EndFailed(result["error"])
    if not all("figures" in result for result in found):
        raise EndFailed("an end died")
    waits.extend(result["waited"] for result in found)
    one, other = (Figures(**result["figures"]) for result in found)
    return one, other
