"""One end of a comparison, in a process of its own: ``python -m benchmarks.worker STACK ROLE ...``.

Every stack, in whatever language, is spoken to like this, in lines of JSON:

``server CERTFILE KEYFILE``
    prints its port and version, and runs until its standard input ends.
``client PORT``
    connects and prints its version.  For each line ``WORKLOAD AMOUNT`` it does that work and prints what
    was done and the seconds it took, or why not.  It ends with its standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time

from benchmarks.stacks import load
from benchmarks.stacks.base import Unsupported
from benchmarks.workloads import WORKLOADS


def say(**values: object) -> None:
    print(json.dumps(values), flush=True)


async def next_line() -> str:
    return await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def server(stack_name: str, certfile: str, keyfile: str) -> None:
    stack = load(stack_name)
    async with stack.serve(certfile, keyfile) as port:
        say(port=port, version=stack.version())
        await next_line()


async def client(stack_name: str, port: int) -> None:
    stack = load(stack_name)
    async with stack.connect(port) as connection:
        say(version=stack.version())
        while line := await next_line():
            name, amount = line.split()
            start = time.perf_counter()
            try:
                done = await WORKLOADS[name].run(stack, connection, port, int(amount))
            except Unsupported as unsupported:
                say(unsupported=str(unsupported))
            except Exception as error:
                say(error=f"{type(error).__name__}: {error}")
            else:
                say(done=done.amount, seconds=done.seconds or time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--uvloop", action="store_true")
    parser.add_argument("stack")
    parser.add_argument("role", choices=("server", "client"))
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)  # that certificates are not verified
    if options.role == "server":
        work = server(options.stack, *options.arguments)
    else:
        work = client(options.stack, int(options.arguments[0]))
    if options.uvloop:
        import uvloop

        uvloop.run(work)
    else:
        asyncio.run(work)


if __name__ == "__main__":
    main()
