"""The comparison of stacks still runs; how fast anything is, is not asked here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
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
