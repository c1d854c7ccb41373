"""Runs a target over many inputs and watches for exceptions, hangs and growth."""

from __future__ import annotations

import faulthandler
import gc
import mmap
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.fuzz.targets import TARGETS

HANG = 20.0
"""Seconds after which one slice of inputs counts as hung; the process is then ended with a traceback."""
SLICE = 200
GROWTH_LIMIT = 24 << 20
"""Bytes that a target's memory may grow between a fifth of its run and the end."""


class Failed(Exception):
    """A target failed; the message says how to repeat it."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What one target went through."""

    name: str
    runs: int
    seconds: float
    growth: int
    """Bytes of resident memory gained after the first fifth of the run."""

    @property
    def rate(self) -> float:
        return self.runs / max(self.seconds, 1e-9)


def resident() -> int:
    """Bytes of this process that are in memory."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class LastInput:
    """The input being worked on, in a file that survives the process."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        with path.open("wb+") as file:
            file.truncate(1 << 17)
            self.memory = mmap.mmap(file.fileno(), 1 << 17)

    def set(self, index: int, data: bytes) -> None:
        self.memory[:16] = index.to_bytes(8, "big") + len(data).to_bytes(8, "big")
        self.memory[16 : 16 + len(data)] = data


def run(
    name: str,
    runs: int,
    seed: int | str,
    *,
    last: LastInput | None = None,
    progress: Callable[[int], object] = lambda done: None,
    watch: bool = True,
) -> Report:
    """Feed *runs* inputs to the target *name*; raises Failed for what should not be.

    With *watch* a hang ends the process, and growth of memory is a failure.
    """
    rng = Random(f"{seed}/{name}")
    target = TARGETS[name](Random(f"{seed}/{name}/state"))
    warm_up = max(runs // 5, min(runs, 2000))
    baseline = 0
    start = time.perf_counter()
    for index in range(runs):
        if index % SLICE == 0:
            if watch:
                faulthandler.dump_traceback_later(HANG, exit=True)
            progress(index)
        if index == warm_up and watch:
            baseline = resident()
        data = b""
        try:
            data = target.make(rng)
            if last is not None:
                last.set(index, data)
            target.feed(data)
        except Exception as error:
            raise Failed(
                f"{name}: input {index} of seed {seed} raised {type(error).__name__}: {error}\n"
                f"input: {data.hex()}"
            ) from error
    seconds = time.perf_counter() - start
    faulthandler.cancel_dump_traceback_later()
    progress(runs)
    growth = resident() - baseline if baseline else 0
    if growth > GROWTH_LIMIT:
        raise Failed(f"{name}: memory grew by {growth / 1e6:.1f} MB in {runs - warm_up} inputs")
    return Report(name=name, runs=runs, seconds=seconds, growth=growth)
