"""The benchmarks that measure whole stacks still run; how fast anything is, is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import limit
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
