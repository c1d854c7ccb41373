"""The benchmarks that measure whole stacks still run; how fast anything is, is not asked here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import limit
from benchmarks.instructions.__main__ import read_part
from benchmarks.instructions.workloads import WORKLOADS as COUNTED
from benchmarks.instructions.workloads import Recorder
from benchmarks.targets import ROWS
from benchmarks.workloads import WORKLOADS

from tests.sources import ROOT


@pytest.mark.parametrize("stack", ["cwt", "aioquic", "aioquic-raw"])
def test_compare(stack: str, tmp_path: Path) -> None:
    if stack != "cwt":
        pytest.importorskip("aioquic")
    output = tmp_path / "out.json"
    options = ["--stacks", stack, "--seconds", "0.02", "--repeat", "1", "--json", str(output)]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    measured = json.loads(output.read_text())
    assert [item["workload"] for item in measured] == list(WORKLOADS)
    assert all(item["done"] > 0 and item["seconds"] > 0 for item in measured)
    for workload in WORKLOADS.values():
        assert workload.title in result.stdout


@pytest.mark.parametrize("row", ROWS)
def test_targets(row: str, tmp_path: Path) -> None:
    output = tmp_path / "out.json"
    options = [row, "--rounds", "1", "--scale", "0.001", "--json", str(output)]
    result = subprocess.run(
        [sys.executable, "-m", "benchmarks.targets", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert "Traceback" not in result.stderr, result.stderr
    measured = json.loads(output.read_text())["rows"]
    assert measured
    for line in measured:
        assert f"| {line['name']} | {line['target']} | {line['measured']} |" in result.stdout
        assert line["figures"]


def test_the_limit_pair_delivers_everything() -> None:
    sender, receiver = limit.run(3_000_001)
    assert sender.count == receiver.count == 3_000_001
    assert sender.packets == receiver.packets == -(-3_000_001 // 1159)


@pytest.mark.parametrize("workload", COUNTED)
def test_counted_workloads(workload: str) -> None:
    recorder = Recorder(0.1)
    COUNTED[workload](recorder)
    assert recorder.segments
    assert all(segment.units > 0 for segment in recorder.segments)


def instructions(*options: str, path: str | None = None) -> str:
    environment = dict(os.environ) if path is None else {**os.environ, "PATH": path}
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.instructions", *options],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    ).stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_instructions() -> None:
    table = instructions("datagrams", "--scale", "0.1")
    assert "| datagram sent |" in table
    assert "| datagram received |" in table


def test_instructions_without_valgrind(tmp_path: Path) -> None:
    assert instructions("bulk", path=str(tmp_path)).startswith("skipped: ")


def test_reading_a_callgrind_profile() -> None:
    text = """version: 1
positions: line
events: Ir

ob=(1) /x/src/cwt/_core/assembler.cpython-311-x86_64-linux-gnu.so
fl=(1) a.c
fn=(1) one
10 5
+1 7
cob=(2) /usr/lib/libcrypto.so.3
cfn=(2) two
calls=1 20
* 1000

ob=(2)
fn=(2)
20 30
-5 10

ob=(3) /usr/bin/python3.11
fn=(3) three
1 2

totals: 54
"""
    counts = read_part(text)
    assert counts["core"] == 12
    assert counts["crypto"] == 40
    assert counts["interpreter"] == 2
    assert counts["libc"] == counts["other"] == 0
    assert counts["total"] == 54
