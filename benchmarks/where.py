"""``python -m benchmarks.where``: where the CPU time of a packet of bulk data goes, by perf(1).

Runs one stream between two processes under ``perf record`` and attributes the samples by library and, in
the core, by module.  Nanoseconds are shares of the CPU time that each process took for its packets.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.drive import CONFIG, Load, bulk, contexts
from cwt.config import TransportConfig

FREQUENCY = 997  # samples a second: more of them cost the processes several percent
LINE = re.compile(r"\s*(\d+)\s+[0-9a-f]+\s+(.*) \((.*)\)\s*$")
MODULES = {
    "packets": "assembler intake router connection endpoint packet frame params closing idle handshake",
    "streams": "send recv streams datagram",
    "recovery": "loss sent acks rtt congestion cubic newreno pacer mtu ranges timers",
    "keys": "keyring keys evp protection aead cryptography_aead",
    "paths and connection IDs": "path cid",
    "UDP": "socket pump",
}
PLACES = {module: place for place, modules in MODULES.items() for module in modules.split()}


def place(symbol: str, library: str) -> str:
    """What a sample in *symbol* of *library* is counted for."""
    name = library.rpartition("/")[2]
    if "libcrypto" in name or "strcmp" in symbol:  # OpenSSL 3 compares names of parameters
        return "AEAD (libcrypto)"
    if name.startswith("[kernel"):
        return "kernel"
    if "memmove" in symbol or "memcpy" in symbol:
        return "copies"
    if "libm" in name:
        return "recovery"
    if "/cwt/" in library:
        return PLACES.get(name.partition(".")[0], "packets")
    return "interpreter and libc"


def shares(lines: Iterable[str]) -> dict[str, Counter[str]]:
    """Samples by process and place, of the output of ``perf script``."""
    found: dict[str, Counter[str]] = {}
    for line in lines:
        if match := LINE.match(line):
            found.setdefault(match[1], Counter())[place(match[2], match[3])] += 1
    return found


def work(megabytes: int, jumbo: bool) -> dict[str, Any]:
    """Move the data; what each side spent."""
    config = TransportConfig(send_buffer=CONFIG.send_buffer) if jumbo else CONFIG
    sender, receiver = bulk(Load(total=megabytes * 1_000_000, config=config), contexts())
    return {
        name: {"cpu": side.cpu, "packets": sender.packets, "count": side.count}
        for name, side in (("sender", sender), ("receiver", receiver))
    }


def measure(megabytes: int, jumbo: bool) -> tuple[dict[str, Any], dict[str, Counter[str]]]:
    with tempfile.TemporaryDirectory() as directory:
        data, out = Path(directory, "perf"), Path(directory, "work")
        command = [sys.executable, "-m", "benchmarks.where", "--megabytes", str(megabytes)]
        command += ["--work", str(out), *(["--jumbo"] if jumbo else [])]
        record = ["perf", "record", "-q", "-F", str(FREQUENCY), "-o", str(data), "--", *command]
        subprocess.run(record, check=True)
        script = ["perf", "script", "-i", str(data), "-F", "pid,ip,sym,dso"]
        lines = subprocess.run(script, capture_output=True, text=True, check=True).stdout
        return json.loads(out.read_text()), shares(lines.splitlines())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=4000, help="of data")
    parser.add_argument("--jumbo", action="store_true", help="with path MTU discovery")
    parser.add_argument("--work", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        options.work.write_text(json.dumps(work(options.megabytes, options.jumbo)))
        return 0
    if shutil.which("perf") is None:
        print("perf is not installed: on Debian it is in linux-perf", file=sys.stderr)
        return 2
    spent, found = measure(options.megabytes, options.jumbo)
    # The two ends have by far the most samples; only one of them has much to do with sending.
    ends = sorted(found.values(), key=Counter.total)[-2:]
    ends.sort(key=lambda counter: counter["streams"] + counter["recovery"], reverse=True)
    columns = dict(zip(("sender", "receiver"), ends, strict=True))
    packets = spent["sender"]["packets"]
    print(f"| ns a packet of {spent['sender']['count'] // packets} bytes | sender | receiver |")
    print("|---|---:|---:|")
    each = {
        name: {
            key: spent[name]["cpu"] / packets * 1e9 * n / counter.total()
            for key, n in counter.items()
        }
        for name, counter in columns.items()
    }
    keys = sorted(
        set().union(*each.values()), key=lambda key: -sum(v.get(key, 0) for v in each.values())
    )
    for key in keys:
        print(f"| {key} | {each['sender'].get(key, 0):.0f} | {each['receiver'].get(key, 0):.0f} |")
    print(f"| all | {sum(each['sender'].values()):.0f} | {sum(each['receiver'].values()):.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
