"""One end of a comparison, in a process of its own: ``python -m benchmarks.worker ROLE STACK ...``.

A server prints its port and runs until its standard input ends.  A client finds the amount of work that
takes the time asked for, prints it, waits for a line, does the work once and prints what it took.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time

from benchmarks.stacks import load
from benchmarks.workloads import WORKLOADS, calibrated

LIMIT = 60.0
"""Seconds that a run may take, on top of ten times what was asked for, before it counts as hung."""


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


async def next_line() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def server(stack_name: str, certfile: str, keyfile: str) -> None:
    stack = load(stack_name)
    async with stack.serve(certfile, keyfile) as port:
        say(port=port, version=stack.version())
        await next_line()


async def client(stack_name: str, workload_name: str, port: int, seconds: float) -> None:
    stack, workload = load(stack_name), WORKLOADS[workload_name]
    async with stack.connect(port) as connection:
        async with asyncio.timeout(LIMIT + 10 * seconds):
            amount = await calibrated(workload, stack, connection, port, seconds)
        say(amount=amount)
        await next_line()
        start = time.perf_counter()
        async with asyncio.timeout(LIMIT + 10 * seconds):
            done = await workload.run(stack, connection, port, amount)
        say(done=done, seconds=time.perf_counter() - start)
        await next_line()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("stack")
    parser.add_argument("--certfile")
    parser.add_argument("--keyfile")
    parser.add_argument("--workload")
    parser.add_argument("--port", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--uvloop", action="store_true")
    options = parser.parse_args()
    logging.disable(logging.WARNING)  # that certificates are not verified
    if options.role == "server":
        work = server(options.stack, options.certfile, options.keyfile)
    else:
        work = client(options.stack, options.workload, options.port, options.seconds)
    if options.uvloop:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
