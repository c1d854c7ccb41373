"""Memory of a server: idle sessions, and a peer that never reads.  ``python -m benchmarks.memory``.

The server runs in a process of its own, so that its resident memory is its own.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cwt
from cwt.tls.development import development_certificate

PAGE = os.sysconf("SC_PAGESIZE")
CHUNK = bytes(65536)
AT_ONCE = 32
"""Sessions being opened at the same time."""
WARM = 64
"""Sessions before the first look, so that what is allocated once does not count."""
CONFIG = cwt.Config(max_idle_timeout=0)
LIMITS = cwt.Limits(max_connections=100_000, max_sessions=100_000)


def resident() -> int:
    """Bytes of memory this process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def peak() -> int:
    """The most bytes this process ever had resident."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmHWM in /proc/self/status")


class Flood:
    """Writes *size* bytes to a peer that never reads, and counts what the stream took."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.taken = 0

    async def __call__(self, session: cwt.Session) -> None:
        stream = await session.open_uni()
        while self.taken < self.size:
            await stream.write(CHUNK)
            self.taken += len(CHUNK)


async def idle(session: cwt.Session) -> None:
    await session.wait_closed()


async def server(certfile: str, keyfile: str, flood_size: int) -> None:
    flood = Flood(flood_size)
    routes: dict[str, Callable[[cwt.Session], Awaitable[None]]] = {"/idle": idle, "/flood": flood}
    async with cwt.serve(
        routes, "127.0.0.1", 0, certfile=certfile, keyfile=keyfile, config=CONFIG, limits=LIMITS
    ) as running:
        print(json.dumps({"port": running.port}), flush=True)
        loop = asyncio.get_running_loop()
        while await loop.run_in_executor(None, sys.stdin.readline):
            gc.collect()
            figures = {
                "sessions": len(running.sessions),
                "resident": resident(),
                "peak": peak(),
                "taken": flood.taken,
            }
            print(json.dumps(figures), flush=True)


class ServerProcess:
    """The server, asked for its figures over its standard input and output."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process = process
        self.port = port

    @classmethod
    async def start(cls, directory: str, flood_size: int) -> ServerProcess:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.memory", "--serve", directory, str(flood_size)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        return cls(process, json.loads(await process.stdout.readline())["port"])

    async def figures(self) -> dict[str, int]:
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(b"\n")
        figures: dict[str, int] = json.loads(await self.process.stdout.readline())
        return figures

    async def stop(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await self.process.wait()
        except TimeoutError:
            self.process.kill()
            await self.process.wait()


async def open_sessions(
    url: str, count: int, opened: list[cwt.Session], options: dict[str, Any]
) -> None:
    """Have *count* sessions in *opened*."""
    left = count - len(opened)

    async def worker() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            opened.append(await cwt.connect(url, **options))

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(worker())


async def measure(sessions: int, flood_size: int, seconds: float) -> dict[str, Any]:
    """Figures in bytes: memory of each idle session, and growth while the peer does not read."""
    certificate = development_certificate()
    with TemporaryDirectory() as directory:
        certificate.write(directory)
        process = await ServerProcess.start(directory, flood_size)
        url = f"https://127.0.0.1:{process.port}"
        trust: dict[str, Any] = {
            "server_certificate_hashes": [certificate.sha256],
            "config": CONFIG,
        }
        opened: list[cwt.Session] = []
        try:
            await open_sessions(f"{url}/idle", WARM, opened, trust)
            before = await process.figures()
            await open_sessions(f"{url}/idle", WARM + sessions, opened, trust)
            idle_figures = await process.figures()
            await asyncio.gather(*(session.close() for session in opened))
            quiet = await process.figures()
            reader = await cwt.connect(f"{url}/flood", **trust)
            await reader.accept_uni()
            await asyncio.sleep(seconds)
            flooded = await process.figures()
            await reader.close()
        finally:
            await process.stop()
    return {
        "idle_sessions": idle_figures["sessions"] - before["sessions"],
        "bytes_per_idle_session": (idle_figures["resident"] - before["resident"]) // sessions,
        "resident_idle": idle_figures["resident"],
        "flood_asked": flood_size,
        "flood_taken": flooded["taken"],
        "flood_growth": flooded["resident"] - quiet["resident"],
        "peak": flooded["peak"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=10_000)
    parser.add_argument("--flood", type=int, default=1_000_000_000, help="bytes")
    parser.add_argument("--seconds", type=float, default=3.0, help="the peer does not read for")
    parser.add_argument("--serve", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        directory, size = Path(options.serve[0]), int(options.serve[1])
        asyncio.run(server(str(directory / "cert.pem"), str(directory / "key.pem"), size))
        return
    figures = asyncio.run(measure(options.sessions, options.flood, options.seconds))
    print(
        f"{figures['idle_sessions']} idle sessions: "
        f"{figures['bytes_per_idle_session'] / 1000:.1f} kB each on the server, "
        f"{figures['resident_idle'] / 1e6:.0f} MB in all"
    )
    print(
        f"a peer that never reads: {figures['flood_taken'] / 1e6:.2f} MB of "
        f"{figures['flood_asked'] / 1e6:.0f} MB were taken, the server grew by "
        f"{figures['flood_growth'] / 1e6:.2f} MB"
    )


if __name__ == "__main__":
    main()
