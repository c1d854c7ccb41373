"""Building the peers in other languages, into ``build/peers``; what is up to date costs a second."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SOURCES = ROOT / "benchmarks" / "peers"
TARGET = ROOT / "build" / "peers"
LIMIT = 1800.0
"""Seconds for one build; BoringSSL alone takes minutes."""


class NotBuilt(Exception):
    """The peer could not be built; says why."""


def _build(command: list[str], directory: Path, name: str, **variables: str) -> None:
    if shutil.which(command[0]) is None:
        raise NotBuilt(f"{command[0]} is not installed")
    TARGET.mkdir(parents=True, exist_ok=True)
    log = TARGET / f"{name}.log"
    try:
        with log.open("w") as output:
            subprocess.run(
                command,
                cwd=directory,
                env={**os.environ, **variables},
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=LIMIT,
                check=True,
            )
    except subprocess.TimeoutExpired:
        raise NotBuilt(f"{command[0]} took over {LIMIT:.0f} s") from None
    except subprocess.CalledProcessError:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        errors = [line for line in lines if line.startswith("error")] or lines or ["no output"]
        raise NotBuilt(f"did not build: {errors[0][:200]} (see {log.relative_to(ROOT)})") from None


def cargo(crate: str, workspace: Path = SOURCES / "rust") -> Callable[[], str]:
    """A crate of *workspace*; what workspaces have in common is compiled once."""

    def build() -> str:
        _build(
            ["cargo", "build", "--release", "--locked", "-p", crate],
            workspace,
            crate,
            CARGO_TARGET_DIR=str(TARGET / "rust"),
        )
        return str(TARGET / "rust" / "release" / crate)

    return build


def go(name: str, module: Path = SOURCES / "go") -> Callable[[], str]:
    """A command of *module*."""

    def build() -> str:
        program = TARGET / "go" / name
        _build(["go", "build", "-o", str(program), f"./{name}"], module, f"go-{name}")
        return str(program)

    return build
