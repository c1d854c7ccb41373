"""The benchmarks that measure whole stacks still run; how fast anything is, is not asked here."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import harness, limit, report, where
from benchmarks.congestion import report as congestion_report
from benchmarks.congestion.cells import Cell, measure
from benchmarks.congestion.simulation import Link
from benchmarks.environment import Environment
from benchmarks.harness import Result
from benchmarks.instructions.__main__ import Profile
from benchmarks.instructions.workloads import WORKLOADS as COUNTED
from benchmarks.instructions.workloads import Recorder
from benchmarks.stacks import STACKS
from benchmarks.targets import ROWS
from benchmarks.workloads import WORKLOADS

from tests.sources import ROOT

PACKAGES = {name: entry.package for name, entry in STACKS.items() if not entry.build}


def compare(*options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.compare", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


@pytest.mark.parametrize(
    "stack",
    [
        pytest.param(
            name, marks=[] if name.startswith("cwt") else [pytest.mark.interop, pytest.mark.slow]
        )
        for name in PACKAGES
    ],
)
def test_compare(stack: str, tmp_path: Path) -> None:
    if PACKAGES[stack]:
        pytest.importorskip(PACKAGES[stack])
    output = tmp_path / "out.json"
    length = ["--seconds", "0.02", "--repeat", "1", "--sessions", "3"]
    result = compare("--stacks", stack, *length, "--json", str(output))
    assert result.returncode == 0, result.stderr
    measured = json.loads(output.read_text())["results"]
    expected = STACKS[stack].workloads or tuple(WORKLOADS)
    assert tuple(item["workload"] for item in measured) == expected
    for item in measured:
        assert not item["is_failure"], item
        assert item["reason"] or (item["done"] > 0 and item["seconds"] > 0)
        assert WORKLOADS[item["workload"]].title in result.stdout


def test_what_is_not_here_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    result = compare("--stacks", "quinn,quic-go", "--workloads", "upload")
    assert result.returncode == 0, result.stderr
    assert re.search(r"quinn +none: cargo is not installed", result.stdout)
    assert re.search(r"quic-go +none: go is not installed", result.stdout)


SERVER = """
import sys
if sys.argv[1] == "server":
    print('{"port": 1}', flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize(
    ("client", "reason"),
    [
        ("raise SystemExit('no such thing')", "no such thing"),
        ('print(\'{"version": "1"}\', flush=True); input(); 1 / 0', "division by zero"),
        ("import time; time.sleep(9)", "no answer within 0 s"),
    ],
)
def test_a_stack_that_breaks_is_told(
    client: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "START", 0.5)
    program = tmp_path / "stack.py"
    program.write_text(f"{SERVER}else:\n    {client}\n")
    result = harness.measure(
        "broken",
        [sys.executable, str(program)],
        WORKLOADS["upload"],
        ("cert.pem", "key.pem"),
        seconds=0.1,
        repeat=1,
        sessions=1,
    )
    assert result.is_failure
    assert reason in result.reason


def test_the_report_takes_the_cheapest_of_earlier_runs(tmp_path: Path) -> None:
    measured = {"stack": "cwt", "workload": "upload", "amount": 10**9, "done": 10**9}
    measured |= {"seconds": 2.0, "client_cpu": 1.5, "server_cpu": 0.5}
    failed = {"stack": "quinn", "workload": "upload", "reason": "fell over", "is_failure": True}
    environment = dict.fromkeys(Environment.__annotations__, "x")
    paths = []
    runs = (
        [{**measured, "client_cpu": 1.6}],
        [measured, failed],
        [{**measured, "server_cpu": 0.6}],
    )
    for number, results in enumerate(runs):
        paths.append(tmp_path / f"{number}.json")
        paths[-1].write_text(json.dumps({"environment": environment, "results": results}))
    result = compare("--from-json", *map(str, paths))
    assert result.returncode == 0, result.stderr
    assert re.search(r"cwt +4,000 Mbit/s +2\.00 +1\.50 +0\.50", result.stdout)
    assert re.search(r"quinn +failed: fell over", result.stdout)


def test_readme_has_room_for_the_comparison() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count(report.BEGIN) == readme.count(report.END) == 1
    result = Result(stack="cwt", workload="upload", done=10**9, seconds=1.0, client_cpu=0.25)
    section = report.summary(Environment.here(uvloop=False), [result])
    assert section.startswith(report.BEGIN) and section.endswith(report.END)
    assert "| cwt | 0.25 |" in section


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
    profile = Profile(text)
    counts = profile.kinds
    assert counts["core"] == 12
    assert counts["crypto"] == 40
    assert counts["interpreter"] == 2
    assert counts["libc"] == counts["other"] == 0
    assert counts["total"] == 54
    assert profile.functions == {"one": 12, "[crypto]": 40, "[interpreter]": 2}


# Where the time goes.


def test_samples_are_counted_by_place() -> None:
    lines = [
        "  7 7f01 EVP_EncryptUpdate (/usr/lib/libcrypto.so.3)",
        "  7 7f02 __strcmp_evex (/usr/lib/libc.so.6)",
        "  7 7f03 __pyx_f_pacer (/x/src/cwt/_core/recovery/pacer.cpython-311-x86_64-linux-gnu.so)",
        "  8 ffff _copy_to_iter ([kernel.kallsyms])",
        "  8 7f04 __memmove_avx512 (/usr/lib/libc.so.6)",
        "  8 7f05 [unknown] (/usr/bin/python3.11)",
        "",
    ]
    assert where.shares(lines) == {
        "7": {"AEAD (libcrypto)": 2, "recovery": 1},
        "8": {"kernel": 1, "copies": 1, "interpreter and libc": 1},
    }


def test_every_module_that_is_told_apart_exists() -> None:
    known = {path.stem for path in (ROOT / "src/cwt/_core").rglob("*.pyx")}
    assert set(where.PLACES) <= known


@pytest.mark.skipif(shutil.which("perf") is None, reason="perf is not installed")
def test_where_the_time_goes() -> None:
    command = [sys.executable, "-m", "benchmarks.where", "--megabytes", "60"]
    result = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    if "perf_event" in result.stderr:
        pytest.skip("perf may not count here")
    assert result.returncode == 0, result.stderr
    assert "| AEAD (libcrypto) |" in result.stdout or "| keys |" in result.stdout
    assert "| all |" in result.stdout


def test_congestion_tables() -> None:
    link = Link(rate=10e6, rtt=0.02)
    singles = [
        measure(Cell(link, (name,), 0.2, 0.5, utilisation=least))
        for name, least in (("newreno", 0.1), ("cubic", 1.5), ("bbr", 0.1))
    ]
    pair = measure(Cell(link, ("cubic", "bbr"), 0.2, 0.5, fairness=1.5))
    assert [bool(outcome.misses) for outcome in (*singles, pair)] == [False, True, False, True]
    tables = congestion_report.text(singles, singles[2:], [pair])
    for outcome in singles:
        assert f"{outcome.utilisation:.1%}" in tables
    assert f"{pair.fairness:.3f}" in tables


def test_congestion_pictures(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from benchmarks.congestion import plots

    short = [dataclasses.replace(picture, seconds=0.5) for picture in plots.PICTURES]
    paths = plots.draw(tmp_path, document=False, pictures=[short[0], short[-1]])
    assert [path.read_bytes()[:4] for path in paths] == [b"\x89PNG"] * 2
