"""Three network namespaces in a row: a client, a middle and a server, joined by two pairs of veth.

The middle either routes, then the kernel does what it does to packets that are too long; or it runs a
:mod:`tests.netns.middlebox`.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

__all__ = ["CLIENT", "SERVER", "SERVER_6", "Process", "Topology", "topology", "why_not"]

CLIENT, SERVER = "10.77.1.2", "10.77.2.2"
SERVER_6 = "fd77:2::2"
_CLIENT_MAC, _SERVER_MAC = "02:00:00:00:01:02", "02:00:00:00:02:02"
_ROUTER = {"client": "10.77.1.1", "server": "10.77.2.1"}
_NETWORK_6 = {"client": "fd77:1::", "server": "fd77:2::"}
_ROOT = Path(__file__).parents[2]
_OFFLOAD = Path(__file__).with_name("offload.py")
_numbers = itertools.count()


class Process:
    """A program in a namespace; its standard output is read line by line."""

    def __init__(self, namespace: str, *arguments: str) -> None:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment.pop("SSLKEYLOGFILE", None)
        self.running = subprocess.Popen(
            ["ip", "netns", "exec", namespace, sys.executable, "-u", "-m", *arguments],
            cwd=_ROOT,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def line(self) -> str:
        """The next line; AssertionError with what it complained of when there is none."""
        assert self.running.stdout is not None
        line = self.running.stdout.readline()
        assert line, self.running.communicate(timeout=10)[1]
        return line.strip()

    def go_on(self) -> None:
        """Give it a line of input."""
        assert self.running.stdin is not None
        self.running.stdin.write("\n")
        self.running.stdin.flush()

    def rest(self, timeout: float = 60) -> list[str]:
        """All lines to its end, which must be a good one."""
        output, errors = self.running.communicate(timeout=timeout)
        assert self.running.returncode == 0, errors
        return output.splitlines()

    def stop(self) -> None:
        """Ask it to come to its end."""
        self.running.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        if self.running.poll() is None:
            self.running.kill()
        self.running.communicate()


class Topology:
    """The namespaces, named by what is in them."""

    def __init__(self, *, routed: bool) -> None:
        prefix = f"cwt{os.getpid()}-{next(_numbers)}"
        self.names = {kind: f"{prefix}-{kind}" for kind in ("client", "middle", "server")}
        self._processes: list[Process] = []
        self._routed = routed

    def run(self, kind: str, *arguments: str) -> str:
        """``ip`` in one of the namespaces."""
        return _ip("-n", self.names[kind], *arguments)

    def start(self, kind: str, *arguments: str) -> Process:
        """A Python module in one of the namespaces, killed at the end."""
        self._processes.append(Process(self.names[kind], *arguments))
        return self._processes[-1]

    def counter(self, kind: str, group: str, name: str) -> int:
        """A counter of the kernel's IPv4 in a namespace, as /proc/net/snmp has it."""
        lines = self._read(kind, "/proc/net/snmp")
        names, values = (line.split() for line in lines if line.startswith(f"{group}:"))
        return int(dict(zip(names, values, strict=True))[name])

    def counter_6(self, kind: str, name: str) -> int:
        """The same for IPv6 and /proc/net/snmp6."""
        lines = self._read(kind, "/proc/net/snmp6")
        return int(dict(line.split() for line in lines)[name])

    def _read(self, kind: str, path: str) -> list[str]:
        return _checked("ip", "netns", "exec", self.names[kind], "cat", path).splitlines()

    def dropped(self, kind: str, interface: str) -> int:
        """Packets that came to an interface and were not taken."""
        text = self.run(kind, "-s", "-j", "link", "show", interface)
        found: Any = json.loads(text)
        return int(found[0]["stats64"]["rx"]["dropped"])

    def build(self) -> None:
        for name in self.names.values():
            _ip("netns", "add", name)
        for end, mac in (("client", _CLIENT_MAC), ("server", _SERVER_MAC)):
            _ip("link", "add", "wire", "address", mac, "netns", self.names[end],
                "type", "veth", "peer", "name", end, "netns", self.names["middle"])  # fmt: skip
            self._without_offload(end, "wire")
            self.run(end, "link", "set", "lo", "up")
            self.run(end, "link", "set", "wire", "up")
            self.run("middle", "link", "set", end, "up")
        self._without_offload("middle", "client", "server")
        if self._routed:
            self._route()
        else:
            self._bridge()

    def _route(self) -> None:
        for end, address in (("client", CLIENT), ("server", SERVER)):
            self.run(end, "addr", "add", f"{address}/24", "dev", "wire")
            self.run("middle", "addr", "add", f"{_ROUTER[end]}/24", "dev", end)
            self.run(end, "route", "add", "default", "via", _ROUTER[end])
            network = _NETWORK_6[end]
            self.run(end, "addr", "add", f"{network}2/64", "dev", "wire", "nodad")
            self.run("middle", "addr", "add", f"{network}1/64", "dev", end, "nodad")
            self.run(end, "route", "add", "default", "via", f"{network}1")
        for setting in ("net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"):
            _inside(self.names["middle"], "sysctl", "-q", "-w", setting)

    def _bridge(self) -> None:
        # One network of /16.  Whatever address a client has on the other side, it has the same MAC.
        self.run("client", "addr", "add", f"{CLIENT}/16", "dev", "wire")
        self.run("server", "addr", "add", f"{SERVER}/16", "dev", "wire")
        self.run("client", "neigh", "add", SERVER, "lladdr", _SERVER_MAC, "dev", "wire")
        for last in range(2, 20):
            address = CLIENT.rpartition(".")[0] + f".{last}"
            self.run("server", "neigh", "add", address, "lladdr", _CLIENT_MAC, "dev", "wire")

    def _without_offload(self, kind: str, *interfaces: str) -> None:
        _inside(self.names[kind], sys.executable, "-I", "-S", str(_OFFLOAD), *interfaces)

    def close(self) -> None:
        for process in self._processes:
            process.kill()
        for name in self.names.values():
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


@contextmanager
def topology(*, routed: bool) -> Iterator[Topology]:
    """A topology for one test."""
    made = Topology(routed=routed)
    try:
        made.build()
        yield made
    finally:
        made.close()


@cache
def why_not() -> str | None:
    """What is missing for these tests; None when they can run."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "there is no ip command (iproute2)"
    made = Topology(routed=False)
    try:
        made.build()
    except subprocess.CalledProcessError as error:
        return f"no network namespaces with veth here: {error.stderr.strip()}"
    finally:
        made.close()
    return None


def _ip(*arguments: str) -> str:
    return _checked("ip", *arguments)


def _inside(namespace: str, *arguments: str) -> None:
    _checked("ip", "netns", "exec", namespace, *arguments)


def _checked(*arguments: str) -> str:
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return done.stdout
