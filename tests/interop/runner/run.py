"""One case: a server and a client as processes, the link between them, and the checks."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.interop.runner.cases import Case, CheckFailed, Result
from tests.interop.runner.certificates import write_chain
from tests.interop.runner.link import Address, Link
from tests.interop.runner.peers import ROOT, Peer, Unavailable

__all__ = ["FAILED", "PASSED", "UNSUPPORTED", "Outcome", "run_case"]

PASSED, FAILED, UNSUPPORTED = "passed", "failed", "unsupported"
_NOT_SUPPORTED = 127
_STARTING = 30.0
_STOPPING = 5.0


@dataclass(frozen=True)
class Outcome:
    """How a case went."""

    status: str
    reason: str = ""
    seconds: float = 0.0
    """From the start of the client to its end."""


class _Process:
    """A client or a server; what it writes goes to a log."""

    def __init__(self, peer: Peer, environment: Mapping[str, str], log: Path) -> None:
        inherited = {k: v for k, v in os.environ.items() if k not in ("QLOGDIR", "REQUESTS")}
        path = os.pathsep.join(filter(None, (str(ROOT / "src"), os.environ.get("PYTHONPATH", ""))))
        self.peer = peer
        self._log = log.open("wb")
        self._process = subprocess.Popen(
            peer.command(environment),
            env={**inherited, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=self._log,
            cwd=ROOT,
        )
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._log.write(line)
            if line.startswith(b"listening"):
                self._listening.set()
        self._listening.set()

    def wait_listening(self) -> int | None:
        """Wait until it listens, or ends; returns the exit status then."""
        self._listening.wait(_STARTING)
        # The end of its output comes a little before its end.
        try:
            return self._process.wait(0.0 if self._reader.is_alive() else _STOPPING)
        except subprocess.TimeoutExpired:
            return None

    def wait(self, seconds: float) -> int | None:
        """The exit status; None when it goes on for longer than *seconds*."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self) -> None:
        """Ask it to end, then make it."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(_STOPPING)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._log.close()


def _free_ports(host: str, count: int) -> list[int]:
    """Ports of no socket that the system picks one for, as it does for all others here."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    chance = random.SystemRandom()
    found: list[int] = []
    while len(found) < count:
        port = chance.randrange(20_000, 32_000)
        with socket.socket(family, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
            sock.bind((host, port))
            found.append(port)
    return found


def _text(address: Address) -> str:
    host, port = address
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def run_case(case: Case, client: Peer, server: Peer, directory: Path, seed: int = 1) -> Outcome:
    """Run *case* in *directory*, which is empty; whatever is left there tells more."""
    for role, peer in (("client", client), ("server", server)):
        if (role, case.name) in peer.lacks:
            return Outcome(UNSUPPORTED, f"{peer.name}: {peer.lacks[role, case.name]}")
    chance = random.Random(seed)
    www, downloads, certificates, logs = (
        directory / name for name in ("www", "downloads", "certs", "logs")
    )
    for made in (www, downloads, certificates, logs):
        made.mkdir(parents=True)
    files = case.file_names(chance)
    for name, size in zip(files, case.sizes, strict=True):
        (www / name).write_bytes(chance.randbytes(size))
    write_chain(certificates, case.chain)
    host = "::1" if case.is_ipv6 else "127.0.0.1"
    port, other_port = _free_ports(host, 2)
    if not server.has_second_port:
        other_port = port
    servers = [(host, port), (host, other_port)][: 1 + case.is_migrating]
    link = Link(case.scenario, servers, seed)
    keylogs = [logs / "client.keys", logs / "server.keys"]
    common = {"CERTS": str(certificates), "HOST": host, "QLOGDIR": ""}
    environment = {
        **common,
        "ROLE": "server",
        "TESTCASE": case.server or case.name,
        "SSLKEYLOGFILE": str(keylogs[1]),
        "PORT": str(port),
        "WWW": str(www),
    }
    if case.is_migrating:
        environment["PREFERRED_ADDRESS"] = _text(link.addresses[1])
        environment["PREFERRED_PORT"] = str(other_port)
    requests = " ".join(f"https://{_text(link.addresses[0])}/{name}" for name in files or [""])
    client_environment = {
        **common,
        "ROLE": "client",
        "TESTCASE": case.client or case.name,
        "SSLKEYLOGFILE": str(keylogs[0]),
        "REQUESTS": requests,
        "DOWNLOADS": str(downloads),
    }
    processes: list[_Process] = []
    link.start()
    try:
        processes.append(_Process(server, environment, logs / "server.log"))
        status = processes[0].wait_listening()
        if status is not None:
            return _ended_early("server", server, status, logs / "server.log")
        start = time.monotonic()
        processes.append(_Process(client, client_environment, logs / "client.log"))
        status = processes[1].wait(case.timeout)
        seconds = time.monotonic() - start
    except Unavailable as error:
        return Outcome(UNSUPPORTED, str(error))
    finally:
        for process in reversed(processes):
            process.stop()
        link.stop()
    if status is None:
        return Outcome(FAILED, f"the client took over {case.timeout:.0f} s", seconds)
    if status:
        return _ended_early("client", client, status, logs / "client.log")
    try:
        case.check(Result(link, keylogs, www, downloads, files))
    except CheckFailed as error:
        return Outcome(FAILED, str(error), seconds)
    return Outcome(PASSED, "", seconds)


def _ended_early(role: str, peer: Peer, status: int, log: Path | None = None) -> Outcome:
    if status == _NOT_SUPPORTED:
        return Outcome(UNSUPPORTED, f"{peer.name} as a {role} does not have it")
    lines = log.read_text(errors="replace").split("\n") if log and log.exists() else []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "")
    return Outcome(FAILED, f"the {role} ended with status {status}: {last}"[:300])
