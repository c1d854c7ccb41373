"""What the figures depend on, beside the stacks."""

from __future__ import annotations

import datetime
import os
import platform
import shutil
import ssl
import subprocess
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path


def _version(*command: str) -> str:
    """The last version that a tool names, or nothing when it is not there."""
    if shutil.which(command[0]) is None:
        return ""
    output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    words = [word.removeprefix("go") for word in output.split()]
    return next((word for word in words if word[:1].isdigit()), "")


def machine() -> str:
    """The processor, and how many there are."""
    model = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return f"{model}, {os.cpu_count()} CPUs"


def kernel() -> str:
    """The operating system and its release."""
    return f"{platform.system()} {platform.release()}"


@dataclass(frozen=True, kw_only=True)
class Environment:
    """Machine, kernel, versions and date of a run."""

    machine: str
    kernel: str
    python: str
    openssl: str
    loop: str
    rust: str
    go: str
    date: str

    @classmethod
    def here(cls, uvloop: bool) -> Environment:
        return cls(
            machine=machine(),
            kernel=kernel(),
            python=platform.python_version(),
            openssl=ssl.OPENSSL_VERSION.split()[1],
            loop="uvloop" if uvloop else "asyncio",
            rust=_version("rustc", "--version"),
            go=_version("go", "version"),
            date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        )

    def describe(self) -> str:
        """In one sentence without a full stop."""
        tools = [f"Python {self.python} with {self.loop} and OpenSSL {self.openssl}"]
        tools += [f"{name} {version}" for name, version in (("Rust", self.rust), ("Go", self.go))]
        return f"{self.machine}, {self.kernel}, {', '.join(tools)}, {self.date}"
