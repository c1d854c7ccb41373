from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cwt.tls import FileSessionCache
from cwt.tls.sessions import SessionTicket
from tests.tls.support import client_context, pair, run, server_context

NOW = 1_700_000_000.0


def ticket(name: bytes = b"ticket", **changes: object) -> SessionTicket:
    plain = SessionTicket(
        name, bytes(32), 0x1301, 7, NOW, NOW - 0.25, 3600, b"h3", (b"der", b"\x80"), True
    )
    return plain._replace(**changes)  # type: ignore[arg-type]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sessions"


def test_another_process_finds_what_this_one_left(path: Path) -> None:
    first = FileSessionCache(path)
    full = ticket(
        parameters=b"limits", application=b"settings", version=0x6B3343CF, client_identity=b"me"
    )
    first.put("a.example", full)
    first.put_token("a.example", b"token")
    first.put_token("a.example", b"of version 2", 0x6B3343CF)
    second = FileSessionCache(path)
    assert len(second) == 1
    assert second.take("a.example", b"h3", NOW) is None
    assert second.take("a.example", b"h3", NOW, 0x6B3343CF, b"me") == full
    assert second.take_token("a.example") == b"token"
    assert second.take_token("a.example", 0x6B3343CF) == b"of version 2"
    assert len(first) == 0 and first.take_token("a.example") is None, "each is for one use"


def test_two_at_once_see_each_other(path: Path) -> None:
    one, other = FileSessionCache(path), FileSessionCache(path)
    for index in range(4):
        (one if index % 2 else other).put("a", ticket(b"%d" % index))
    taken = [(other if index % 2 else one).take("a", b"h3", NOW) for index in range(5)]
    assert [t and t.ticket for t in taken] == [b"3", b"2", b"1", b"0", None]
    one.put("a", ticket())
    other.clear()
    assert len(one) == 0


def test_bounds_hold_across_processes(path: Path) -> None:
    for index in range(10):
        FileSessionCache(path, max_servers=3, max_tickets=2).put(f"{index % 5}", ticket())
    assert len(FileSessionCache(path)) == 3


def test_only_the_owner_can_read_it(path: Path) -> None:
    path.write_text("{}")
    path.chmod(0o644)
    FileSessionCache(path).put("a", ticket())
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["sessions", "sessions.lock"]


def test_a_file_that_goes_away(path: Path) -> None:
    cache = FileSessionCache(path)
    cache.put("a", ticket())
    path.unlink()
    assert len(cache) == 0 and cache.take("a", b"h3", NOW) is None
    cache.put("a", ticket())
    assert len(FileSessionCache(path)) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"null",
        b"{",
        b'{"format": 2, "sessions": [], "tokens": []}',
        b'{"format": 1, "sessions": {}}',
        b'{"format": 1, "sessions": [{"server": "a"}], "tokens": []}',
        b'{"format": 1, "sessions": [7], "tokens": []}',
        b'{"format": 1, "sessions": [], "tokens": [["a", 1, "no base 64!"]]}',
        b'{"format": 1, "sessions": [], "tokens": [["a", 1]]}',
        b"[" * 100_000,
    ],
)
def test_damage_is_told_and_survived(
    content: bytes, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.write_bytes(content)
    cache = FileSessionCache(path)
    assert cache.take("a", b"h3", NOW) is None
    assert "written anew" in caplog.text
    cache.put("a", ticket())
    assert FileSessionCache(path).take("a", b"h3", NOW) == ticket()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_any_damage_is_survived(path: Path, data: st.DataObject) -> None:
    cache = FileSessionCache(path)
    cache.clear()
    cache.put("a", ticket())
    cache.put_token("a", b"token")
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content))
    again = FileSessionCache(path)
    again.take_token("a")
    again.take("a", b"h3", NOW)
    again.put("a", ticket(b"new"))
    found = FileSessionCache(path).take("a", b"h3", NOW)
    assert found is not None and found.ticket == b"new"


def test_fields_of_a_later_program_are_left_out(path: Path) -> None:
    FileSessionCache(path).put("a", ticket())
    document = json.loads(path.read_bytes())
    document["sessions"][0]["colour"] = "blue"
    del document["sessions"][0]["client_identity"]
    document["more"] = 1
    path.write_text(json.dumps(document))
    assert FileSessionCache(path).take("a", b"h3", NOW) == ticket()


def test_a_place_that_cannot_be_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache = FileSessionCache(tmp_path / "missing" / "sessions")
    cache.put("a", ticket())
    cache.put("a", ticket(b"more"))
    assert caplog.text.count("cannot be kept") == 1
    taken = cache.take("a", b"h3", NOW)
    assert taken is not None and taken.ticket == b"more", "memory is left"


def test_a_huge_file_is_not_read(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 30)
    assert len(FileSessionCache(path)) == 0
    assert "written anew" in caplog.text


def test_processes_take_turns(path: Path) -> None:
    """Each of many tickets, put by two processes, is taken once by one of two others."""
    code = f"""
import sys
sys.path[:0] = {sys.path!r}
from tests.tls.test_session_file import NOW, ticket
from cwt.tls import FileSessionCache
cache = FileSessionCache({str(path)!r}, max_tickets=200)
for index in range(40):
    if sys.argv[1] in "ab":
        cache.put("s", ticket(f"{{sys.argv[1]}}{{index}}".encode()))
    elif found := cache.take("s", b"h3", NOW):
        print(found.ticket.decode())
"""

    def start(name: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code, name], stdout=subprocess.PIPE, text=True, env=os.environ
        )

    for process in [start(name) for name in "ab"]:
        assert process.communicate(timeout=60) == ("", None)
    assert len(FileSessionCache(path, max_tickets=200)) == 80
    taken = [line for p in [start(name) for name in "cd"] for line in p.communicate()[0].split()]
    assert sorted(taken) == sorted(f"{name}{index}" for name in "ab" for index in range(40))


def test_handshakes_resume_from_it(path: Path) -> None:
    server = server_context()
    run(*pair(client_context(session_cache=FileSessionCache(path)), server))
    client, answering = pair(client_context(session_cache=FileSessionCache(path)), server)
    run(client, answering)
    assert client.is_resumed and answering.is_resumed
