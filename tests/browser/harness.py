"""A real, headless browser that runs scripts for a test, without any driver.

A page served over loopback HTTP polls for a script, evaluates it, and posts the result back
(``repl.html``).  So nothing but the browser itself is needed, the one that users have.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("repl.html")
POLL_SECONDS = 5.0
START_SECONDS = 60.0

FIREFOX_PREFERENCES = {
    # Otherwise Firefox opens a second, unused connection for each session.
    "network.http.speculative-parallel-limit": 0,
    "app.normandy.enabled": False,
    "app.update.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "dom.timeout.enable_budget_timer_throttling": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "toolkit.telemetry.enabled": False,
}


class ScriptError(Exception):
    """The script threw.  ``name``, ``message``, ``stream_error_code`` are those of its error."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["text"])
        self.name = error["name"]
        self.message = error["message"]
        self.stream_error_code = error["streamErrorCode"]


@dataclass
class _Job:
    script: str
    values: dict[str, Any]
    result: queue.Queue[dict[str, Any]]


class _Repl(ThreadingHTTPServer):
    """Serves the page and hands out scripts, one at a time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.jobs: queue.Queue[_Job] = queue.Queue()
        self.running: dict[int, _Job] = {}
        self.polled = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/"


class _Handler(BaseHTTPRequestHandler):
    server: _Repl

    def do_GET(self) -> None:
        if self.path == "/next":
            self._next()
        elif self.path == "/":
            self._answer(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        else:
            self._answer(404)

    def _next(self) -> None:
        self.server.polled.set()
        try:
            job = self.server.jobs.get(timeout=POLL_SECONDS)
        except queue.Empty:
            self._answer(204)
            return
        self.server.running[id(job)] = job
        body = {"id": id(job), "script": job.script, "values": job.values}
        self._answer(200, json.dumps(body).encode(), "application/json")

    def do_POST(self) -> None:
        result = json.loads(self.rfile.read(int(self.headers["content-length"])))
        job = self.server.running.pop(result.pop("id"), None)
        if job is not None:
            job.result.put(result)
        self._answer(204)

    def _answer(self, status: int, body: bytes = b"", kind: str = "text/plain") -> None:
        try:
            self.send_response(status)
            self.send_header("content-type", kind)
            if status != 204:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except ConnectionError:
            pass  # the browser went away

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Browser:
    """A running browser; ``name`` is "chromium" or "firefox"."""

    def __init__(self, name: str, repl: _Repl) -> None:
        self.name = name
        self._repl = repl

    async def run(self, script: str, timeout: float = 30.0, **values: Any) -> Any:
        """Runs the body of an async JavaScript function and gives what it returns.

        ``values`` are variables of the script; what goes in and out must be JSON.  The functions
        of ``repl.html`` are there too.  Raises ScriptError when the script throws, TimeoutError
        when it does not end.
        """
        job = _Job(script, values, queue.Queue())
        self._repl.jobs.put(job)
        try:
            result = await asyncio.to_thread(job.result.get, timeout=timeout)
        except queue.Empty:
            raise TimeoutError(f"{self.name} did not finish the script in {timeout} s") from None
        if "error" in result:
            raise ScriptError(result["error"])
        return result["value"]


def executable(name: str) -> str | None:
    """The path of the browser, or None when it is not installed."""
    names = {"chromium": ("chromium", "chromium-browser"), "firefox": ("firefox-esr", "firefox")}
    return next((path for each in names[name] if (path := shutil.which(each))), None)


def _command(name: str, program: str, profile: str, url: str) -> list[str]:
    if name == "firefox":
        preferences = "".join(
            f"user_pref({json.dumps(key)}, {json.dumps(value)});\n"
            for key, value in FIREFOX_PREFERENCES.items()
        )
        Path(profile, "user.js").write_text(preferences)
        return [program, "--headless", "--no-remote", "--profile", profile, url]
    return [
        program,
        "--headless=new",
        "--no-sandbox",  # Chromium refuses to run as root with it
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-timer-throttling",
        f"--user-data-dir={profile}",
        # Otherwise each failed connect makes the next ones wait longer.
        "--webtransport-developer-mode",
        url,
    ]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the browser and whatever it started: they share a process group of their own."""
    for sign, patience in ((signal.SIGTERM, 10), (signal.SIGKILL, 10)):
        try:
            os.killpg(process.pid, sign)
            process.wait(patience)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    process.poll()


@contextmanager
def opened(name: str, url: str) -> Iterator[Path]:
    """Runs a browser with a fresh profile on the page at ``url``; gives the file of its output."""
    program = executable(name)
    if program is None:
        raise FileNotFoundError(f"{name} is not installed")
    profile = tempfile.mkdtemp(prefix=f"cwt-{name}-")
    log = Path(profile, "log.txt")
    try:
        with log.open("wb") as output:
            process = subprocess.Popen(
                _command(name, program, profile, url),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                # A home of its own: no font cache or certificate store of the user.
                env={**os.environ, "HOME": profile, "MOZ_CRASHREPORTER_DISABLE": "1"},
            )
        try:
            yield log
        finally:
            _stop(process)
    finally:
        shutil.rmtree(profile, ignore_errors=True)


@contextmanager
def launch(name: str) -> Iterator[Browser]:
    """Starts a browser with the page of scripts loaded."""
    repl = _Repl()
    threading.Thread(target=repl.serve_forever, daemon=True).start()
    try:
        with opened(name, repl.url) as log:
            if not repl.polled.wait(START_SECONDS):
                raise TimeoutError(f"{name} did not load the page:\n{log.read_text()[-4000:]}")
            yield Browser(name, repl)
    finally:
        repl.shutdown()
        repl.server_close()
