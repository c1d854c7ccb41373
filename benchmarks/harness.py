"""Measuring one stack in one workload: client and server in processes of their own, over loopback.

CPU time is that of both processes, user and system, all threads, read from the kernel around the measured
work only.  Nothing waits without a limit: a stack that hangs is a stack that failed.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.workloads import Workload

ROOT = Path(__file__).resolve().parent.parent
START = 20.0
"""Seconds for a process to start and connect."""
NO_ROOTS = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}
"""Nothing is verified, so nobody should spend 10 ms on each connection to load the system's roots."""
PAGE = os.sysconf("SC_PAGESIZE")


class Failed(Exception):
    """A stack did not do what was asked; says what happened."""


class Unsupported(Exception):
    """A stack has nothing of the kind; says what is missing."""


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one stack did in one workload.

    CPU seconds are of the measured run; ``memory`` is bytes on the server for each of *done* idle sessions.
    When there is a ``reason``, nothing was measured, and it says why; ``is_failure`` tells a stack that
    broke from one that has nothing of the kind or is not here.
    """

    stack: str
    workload: str
    version: str = ""
    amount: int = 0
    done: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    server_cpu: float = 0.0
    memory: float = 0.0
    reason: str = ""
    is_failure: bool = False

    @property
    def cpu(self) -> float:
        """CPU seconds of both ends together."""
        return self.client_cpu + self.server_cpu

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def cost(self) -> float:
        """CPU seconds (or bytes) of each unit; infinite when nothing was measured."""
        if self.reason or not self.done:
            return float("inf")
        return self.memory or self.cpu / self.done

    @property
    def lost(self) -> float:
        """The part of what was sent that did not arrive."""
        return 1 - self.done / self.amount if self.amount else 0.0


class Process:
    """One end of a stack, spoken to in lines (see ``benchmarks.worker``)."""

    def __init__(self, command: list[str]) -> None:
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - stop() closes it
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, **NO_ROOTS},
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self._input, self._output = self.process.stdin, self.process.stdout
        self._received = b""

    def hear(self, seconds: float) -> dict[str, Any]:
        """The next line; raises :class:`Failed` when none comes within *seconds*, or it says so."""
        deadline = time.monotonic() + seconds
        while b"\n" not in self._received:
            ready, _, _ = select.select(
                [self._output], [], [], max(0.0, deadline - time.monotonic())
            )
            if not ready:
                raise Failed(f"no answer within {seconds:.0f} s")
            data = os.read(self._output.fileno(), 65536)
            if not data:
                raise Failed(self._last_words())
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        values: dict[str, Any] = json.loads(line)
        if "unsupported" in values:
            raise Unsupported(values["unsupported"])
        if "error" in values:
            raise Failed(values["error"])
        return values

    def tell(self, line: str) -> None:
        try:
            self._input.write(line.encode() + b"\n")
            self._input.flush()
        except BrokenPipeError:
            raise Failed(self._last_words()) from None

    def cpu(self) -> float:
        """User and system time of all threads so far, those that ended too (clock_getcpuclockid)."""
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def resident(self) -> int:
        """Bytes of memory that are resident."""
        statm = Path(f"/proc/{self.process.pid}/statm").read_text()
        return int(statm.split()[1]) * PAGE

    def stop(self, patience: float = 3.0) -> None:
        """End it by ending its input, or by force."""
        try:
            self._input.close()
        except BrokenPipeError:
            pass
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._output.close()
        self._log.close()

    def _last_words(self) -> str:
        status = self.process.wait(5)
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").split("\n")
        words = next((line.strip() for line in reversed(lines) if line.strip()), "")
        return f"ended with status {status}: {words[:200]}" if words else f"ended with {status}"

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()


class Pair:
    """Client and server of one stack."""

    def __init__(self, command: list[str], certificate: tuple[str, str]) -> None:
        self.server = Process([*command, "server", *certificate])
        try:
            port = self.server.hear(START)["port"]
            self.client = Process([*command, "client", str(port)])
        except BaseException:
            self.server.stop(0)
            raise
        try:
            self.version: str = self.client.hear(START)["version"]
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self) -> Pair:
        return self

    def __exit__(self, *exc: object) -> None:
        self.client.stop(0.5)
        self.server.stop(0.5)

    def run(self, workload: Workload, amount: int, limit: float) -> dict[str, Any]:
        self.client.tell(f"{workload.name} {amount}")
        return self.client.hear(limit)

    def calibrate(self, workload: Workload, seconds: float) -> int:
        """The amount that takes about *seconds*; running it up to that is also the warm-up."""
        amount = workload.first
        for _ in range(7):
            took = self.run(workload, amount, START + 20 * seconds)["seconds"]
            factor = min(16.0, seconds / max(took, 1e-6))
            if factor < 1.5:
                break
            amount = min(int(amount * factor), workload.most)
        return max(1, int(amount * min(1.0, factor)))

    def measured(self, stack: str, workload: Workload, amount: int, limit: float) -> Result:
        """One run of *amount*."""
        before = self.client.cpu(), self.server.cpu()
        answer = self.run(workload, amount, limit)
        after = self.client.cpu(), self.server.cpu()
        return Result(
            stack=stack,
            workload=workload.name,
            version=self.version,
            amount=amount,
            done=answer["done"],
            seconds=answer["seconds"],
            client_cpu=after[0] - before[0],
            server_cpu=after[1] - before[1],
        )

    def memory(self, stack: str, workload: Workload, sessions: int) -> Result:
        """What *sessions* that do nothing cost the server, after some have come before them."""
        self.run(workload, min(sessions, workload.first), 60.0)
        time.sleep(0.5)
        before = self.server.resident()
        seconds = self.run(workload, sessions, 120.0)["seconds"]
        time.sleep(1.0)
        return Result(
            stack=stack,
            workload=workload.name,
            version=self.version,
            amount=sessions,
            done=sessions,
            seconds=seconds,
            memory=(self.server.resident() - before) / sessions,
        )


def measure(
    stack: str,
    command: list[str],
    workload: Workload,
    certificate: tuple[str, str],
    *,
    seconds: float,
    repeat: int,
    sessions: int,
    attempts: int = 2,
) -> Result:
    """The run that took the least CPU of *repeat*, each of about *seconds*: whatever else the machine does
    only adds to it.  Never raises for what the stack does, and gives it *attempts*."""
    try:
        with Pair(command, certificate) as pair:
            if workload.name == "memory":
                return pair.memory(stack, workload, sessions)
            amount = pair.calibrate(workload, seconds)
            limit = START + 20 * seconds
            runs = [pair.measured(stack, workload, amount, limit) for _ in range(repeat)]
        return min(runs, key=lambda run: run.cost)
    except Unsupported as unsupported:
        return Result(stack=stack, workload=workload.name, reason=str(unsupported))
    except (Failed, subprocess.TimeoutExpired) as failed:
        reason = str(failed)
    if attempts == 1:
        return Result(stack=stack, workload=workload.name, reason=reason, is_failure=True)
    return measure(
        stack,
        command,
        workload,
        certificate,
        seconds=seconds,
        repeat=repeat,
        sessions=sessions,
        attempts=attempts - 1,
    )
