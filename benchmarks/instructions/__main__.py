"""``python -m benchmarks.instructions``: counts by callgrind, and their change since the reference."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.build import ROOT
from benchmarks.instructions.workloads import WORKLOADS, Recorder
from cwt._core.crypto import aead

REFERENCE = Path(__file__).resolve().parent / "reference.json"
MARK = "cwt_benchmark_mark"
NAME = re.compile(r"\((\d+)\)(?: (.*))?")
KINDS = ("total", "core", "crypto", "interpreter", "libc", "other")
"""Of a count: what is in cwt's extension modules, in libcrypto, in the interpreter (which runs cwt's
Python, too), in the C library, and elsewhere."""
Counts = dict[str, float]


def build_name() -> str:
    """What the counts depend on, besides the sources."""
    library = " ".join(aead.library_version.split()[:2]).rpartition(".")[0]
    return f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}, {library}"


def work(names: list[str], scale: float, output: Path) -> None:
    """Run the workloads in this process, and note what lay between the marks."""
    logging.disable(logging.WARNING)
    recorder = Recorder(scale)
    for name in names:
        WORKLOADS[name](recorder)
    output.write_text(json.dumps([asdict(segment) for segment in recorder.segments]))


def kind_of(path: str) -> str:
    """Which of ``KINDS`` the object file *path* is."""
    if "/cwt/" in path:
        return "core"
    name = path.rpartition("/")[2]
    if "libcrypto" in name or "_rust" in name:
        return "crypto"
    if name.startswith(("python", "libpython")):
        return "interpreter"
    return "libc" if name.startswith(("libc.", "libc-", "libpthread")) else "other"


class Profile:
    """A part of what callgrind wrote: self cost by ``KINDS`` and by function."""

    def __init__(self, text: str) -> None:
        self.kinds: Counts = dict.fromkeys(KINDS, 0.0)
        self.functions: Counts = defaultdict(float)
        self._names: dict[str, dict[str, str]] = {"ob": {}, "fn": {}}
        kind = function = "other"
        is_call = False
        for line in text.splitlines():
            key, _, value = line.partition("=")
            if key == "ob":
                kind = kind_of(self._name("ob", value))
            elif key == "fn":
                function = self._name("fn", value)
            elif key in ("cob", "cfn"):
                self._name(key[1:], value)
            elif key == "calls":
                is_call = (
                    True  # the next line is the cost of what was called, which is counted there
                )
            elif line[:1].isdigit() or line[:1] in ("+", "-", "*"):
                if not is_call:
                    count = int(line.split()[1])
                    self.kinds[kind] += count
                    self.functions[function if kind == "core" else f"[{kind}]"] += count
                is_call = False
        self.kinds["total"] = sum(self.kinds.values())

    def _name(self, what: str, text: str) -> str:
        # The first mention of a name tells its number, later ones give the number alone.
        match = NAME.match(text)
        assert match is not None
        if match[2]:
            self._names[what][match[1]] = match[2]
        return self._names[what][match[1]]


def run(names: list[str], scale: float) -> dict[str, list[tuple[int, Profile]]]:
    """The rounds of each segment under callgrind: units, and the profile of all of them."""
    with TemporaryDirectory() as directory:
        out, segments = Path(directory) / "out", Path(directory) / "segments.json"
        command = [
            *("valgrind", "--tool=callgrind", f"--dump-before={MARK}", "--compress-pos=no"),
            *(f"--callgrind-out-file={out}", "--quiet", sys.executable),
            *("-m", "benchmarks.instructions", "--work", str(segments), "--scale", str(scale)),
            *names,
        ]
        environment = {**os.environ, "PYTHONHASHSEED": "0"}
        subprocess.run(command, cwd=ROOT, env=environment, check=True)
        found: defaultdict[str, list[tuple[int, Profile]]] = defaultdict(list)
        # Each mark ends a part: every second one is what was measured.
        for index, segment in enumerate(json.loads(segments.read_text())):
            part = Path(f"{out}.{2 * index + 2}").read_text()
            found[segment["name"]].append((segment["units"], Profile(part)))
    return found


def per_unit(rounds: list[tuple[int, Profile]]) -> Counts:
    """Instructions of one unit: the medians of the rounds."""
    return {
        kind: round(median(profile.kinds[kind] / units for units, profile in rounds), 1)
        for kind in KINDS
    }


def print_functions(found: dict[str, list[tuple[int, Profile]]], most: int) -> None:
    """The functions of the core that a unit spends most in, themselves alone."""
    for name, rounds in found.items():
        units, profile = rounds[len(rounds) // 2]
        print(f"\n{name}:")
        ordered = sorted(profile.functions.items(), key=lambda item: -item[1])
        for function, count in ordered[:most]:
            print(f"  {count / units:12,.1f}  {function.removeprefix('__pyx_f_')}")


def growth(now: float, before: float) -> float:
    """In percent."""
    return (now / before - 1) * 100


def compare(found: dict[str, Counts], reference: dict[str, Counts]) -> float:
    """Print the table; the largest growth of a total in percent."""
    print(f"| instructions of | change | {' | '.join(KINDS)} |\n|{'---|' * (len(KINDS) + 2)}")
    worst = float("-inf")
    for name, counts in found.items():
        before = reference.get(name)
        if before is None:
            print(f"| {name} | new | {' | '.join(f'{value:,.0f}' for value in counts.values())} |")
            continue
        total = growth(counts["total"], before["total"])
        worst = max(worst, total)
        cells = []
        for kind, value in counts.items():
            cells.append(f"{value:,.0f}")
            if value >= 50 and before[kind] and abs(growth(value, before[kind])) >= 1:
                cells[-1] += f" ({growth(value, before[kind]):+.0f} %)"
        print(f"| {name} | {total:+.1f} % | {' | '.join(cells)} |")
    return worst


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help=", ".join(WORKLOADS))
    parser.add_argument("--save", action="store_true", help="make this the reference")
    parser.add_argument(
        "--fail-above", type=float, metavar="PERCENT", help="exit 1 when anything grew by more"
    )
    parser.add_argument(
        "--functions", type=int, metavar="N", help="show the N functions that take most, too"
    )
    parser.add_argument("--scale", type=float, default=1.0, help=argparse.SUPPRESS)
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    names = options.workloads or list(WORKLOADS)
    unknown = [name for name in names if name not in WORKLOADS]
    if unknown:
        parser.error(f"no workload {unknown[0]!r}; there are {', '.join(WORKLOADS)}")
    if options.work:
        work(names, options.scale, options.work)
        return 0
    if not shutil.which("valgrind"):
        print("skipped: instructions are counted by callgrind, and valgrind is not installed")
        return 0
    reference = json.loads(REFERENCE.read_text()) if REFERENCE.exists() else {}
    known = reference.get(build_name(), {})
    print(f"{build_name()}{'' if known else ': there is no reference for it'}\n", flush=True)
    profiles = run(names, options.scale)
    found = {name: per_unit(rounds) for name, rounds in profiles.items()}
    worst = compare(found, known)
    if options.functions:
        print_functions(profiles, options.functions)
    if options.save:
        reference[build_name()] = {**known, **found}
        REFERENCE.write_text(json.dumps(reference, indent=1, sort_keys=True) + "\n")
    return int(options.fail_above is not None and worst > options.fail_above)


if __name__ == "__main__":
    sys.exit(main())
