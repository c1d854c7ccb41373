from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cwt.errors import ConfigError
from cwt.tls.keylog import open_keylog
from cwt.tls.messages import ClientHello
from tests.tls.support import client_context, pair, run, run_on, server_context

LABELS = [
    "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
    "SERVER_HANDSHAKE_TRAFFIC_SECRET",
    "CLIENT_TRAFFIC_SECRET_0",
    "SERVER_TRAFFIC_SECRET_0",
    "EXPORTER_SECRET",
]


def test_both_sides_log_the_same_secrets(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "client.keys", io.StringIO()
    client, server = pair(client_context(keylog_file=ours), server_context(keylog_file=theirs))
    client.start()
    [(level, data)] = client.output()
    hello = ClientHello.parse(data[4:])
    server.receive(level, data)
    run_on(client, server)
    lines = [line.split(" ") for line in ours.read_text().splitlines()]
    assert [label for label, _, _ in lines] == LABELS
    assert {random for _, random, _ in lines} == {hello.random.hex()}
    assert theirs.getvalue() == ours.read_text()
    secrets = {(s.is_write, s.secret.hex()) for s in client.secrets()}
    assert secrets == {(label.startswith("CLIENT"), value) for label, _, value in lines[:4]}
    assert ours.stat().st_mode & 0o777 == 0o600


def test_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys"
    path.write_text("# kept\n")
    monkeypatch.setenv("SSLKEYLOGFILE", str(path))
    client, server = pair()
    run(client, server)
    lines = path.read_text().splitlines()
    assert lines[0] == "# kept" and len(lines) == 1 + 2 * len(LABELS)


def test_environment_that_is_ignored(tmp_path: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}; "
        "from cwt.tls.keylog import open_keylog; sys.exit(open_keylog(None) is not None)"
    )
    environment = {**os.environ, "SSLKEYLOGFILE": str(tmp_path / "keys")}
    for option, status in (("-c", 1), ("-Ec", 0), ("-Ic", 0)):
        done = subprocess.run([sys.executable, option, code], env=environment)
        assert done.returncode == status


def test_no_key_log(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSLKEYLOGFILE", raising=False)
    assert open_keylog(None) is None
    monkeypatch.setenv("SSLKEYLOGFILE", "")
    assert open_keylog(None) is None


def test_a_path_that_cannot_be_written_is_found_early(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="SSLKEYLOGFILE"):
        open_keylog(tmp_path / "missing" / "keys")


def test_a_log_that_fails_later_does_not_end_the_handshake(
    caplog: pytest.LogCaptureFixture,
) -> None:
    target = io.StringIO()
    client, server = pair(client_context(keylog_file=target))
    target.close()
    run(client, server)
    assert client.is_complete
    assert "key log" in caplog.text
