"""Several stacks through the same workloads in one run: ``python -m benchmarks.compare``.

Each stack talks to itself over loopback, client and server in processes of their own.  CPU time is that
of both processes, user and system, read from the kernel around the measured work only.  Ratios are
against the first stack that is not cwt.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.stacks import STACKS
from benchmarks.workloads import WORKLOADS, Workload
from cwt.tls.development import development_certificate


@dataclass(frozen=True, kw_only=True)
class Result:
    """What one stack did in one workload; CPU seconds of both ends."""

    stack: str
    workload: str
    amount: int
    done: int
    seconds: float
    client_cpu: float
    server_cpu: float

    @property
    def cpu(self) -> float:
        return self.client_cpu + self.server_cpu

    @property
    def rate(self) -> float:
        """Units a second."""
        return self.done / self.seconds


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of *pid* so far."""
    nanoseconds = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        nanoseconds += int((task / "schedstat").read_text().split()[0])
    return nanoseconds / 1e9


class Worker:
    """A ``benchmarks.worker`` process that is spoken to in lines of JSON."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).resolve().parent.parent,
        )

    def hear(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"a worker ended with status {self.process.wait(10)}")
        values: dict[str, Any] = json.loads(line)
        return values

    def tell(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def cpu(self) -> float:
        return cpu_seconds(self.process.pid)

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


def measure(
    stack: str, workload: Workload, server: Worker, port: int, seconds: float, extra: list[str]
) -> Result:
    arguments = ["--workload", workload.name, "--port", str(port), "--seconds", str(seconds)]
    with Worker("client", stack, *arguments, *extra) as client:
        amount = client.hear()["amount"]
        before = client.cpu(), server.cpu()
        client.tell()
        answer = client.hear()
        after = client.cpu(), server.cpu()
        client.tell()
    return Result(
        stack=stack,
        workload=workload.name,
        amount=amount,
        done=answer["done"],
        seconds=answer["seconds"],
        client_cpu=after[0] - before[0],
        server_cpu=after[1] - before[1],
    )


def median(results: list[Result]) -> Result:
    """The run with the median rate."""
    return sorted(results, key=lambda result: result.rate)[len(results) // 2]


def certificate(directory: Path) -> tuple[str, str]:
    """The paths of a certificate and its key that all servers use."""
    certfile, keyfile = development_certificate().write(directory)
    return str(certfile), str(keyfile)


def describe(result: Result, workload: Workload) -> tuple[str, str]:
    """(rate, CPU) as people read them."""
    each = [cpu / max(result.done, 1) for cpu in (result.cpu, result.client_cpu, result.server_cpu)]
    if workload.is_bulk:
        total, client, server = (value * 1e9 for value in each)
        cpu = f"{total:,.2f} s/GB ({client:,.2f} + {server:,.2f})"
        return f"{result.rate * 8 / 1e6:,.0f} Mbit/s", cpu
    total, client, server = (value * 1e6 for value in each)
    lost = f", {1 - result.done / result.amount:.1%} lost" if result.done < result.amount else ""
    cpu = f"{total:,.0f} us each ({client:,.0f} + {server:,.0f})"
    return f"{result.rate:,.0f} {workload.unit}s/s{lost}", cpu


def show(workload: Workload, results: dict[str, Result]) -> None:
    base = next((results[name] for name in results if name != "cwt"), None)
    print(f"\n{workload.title}")
    for name, result in results.items():
        rate, cpu = describe(result, workload)
        ratio = ""
        if base is not None and result is not base:
            less_cpu = (base.cpu / base.done) / (result.cpu / result.done)
            ratio = f"{result.rate / base.rate:6.1f} x rate, {less_cpu:6.1f} x less CPU"
        print(f"  {name:<12} {rate:>24}   CPU {cpu:<34} {ratio}".rstrip())


def run_stack(
    name: str, names: list[str], options: argparse.Namespace, cert: tuple[str, str]
) -> dict[str, Result]:
    extra = ["--uvloop"] if options.uvloop else []
    results: dict[str, Result] = {}
    with Worker("server", name, "--certfile", cert[0], "--keyfile", cert[1], *extra) as server:
        port = server.hear()["port"]
        for workload in (WORKLOADS[workload] for workload in names):
            print(f"\r{name}: {workload.title} ...\033[K", end="", file=sys.stderr, flush=True)
            results[workload.name] = median(
                [
                    measure(name, workload, server, port, options.seconds, extra)
                    for _ in range(options.repeat)
                ]
            )
    print("\r\033[K", end="", file=sys.stderr, flush=True)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description=__doc__)
    parser.add_argument("--stacks", default=",".join(STACKS), help="comma-separated: %(default)s")
    parser.add_argument(
        "--workloads", default=",".join(WORKLOADS), help="comma-separated: %(default)s"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="length of each measured run")
    parser.add_argument("--repeat", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--uvloop", action="store_true", help="instead of the stock event loop")
    parser.add_argument("--json", type=Path, help="write every figure to this file, too")
    options = parser.parse_args()
    names = options.workloads.split(",")
    with tempfile.TemporaryDirectory() as directory:
        cert = certificate(Path(directory))
        results = {
            stack: run_stack(stack, names, options, cert) for stack in options.stacks.split(",")
        }
    loop = "uvloop" if options.uvloop else "asyncio"
    print(
        f"Python {platform.python_version()}, {loop}, {os.cpu_count()} CPUs, {platform.release()}"
    )
    print("CPU: both ends (client + server)")
    for name in names:
        show(WORKLOADS[name], {stack: results[stack][name] for stack in results})
    if options.json:
        values = [asdict(result) for stack in results.values() for result in stack.values()]
        options.json.write_text(json.dumps(values, indent=1))


if __name__ == "__main__":
    main()
