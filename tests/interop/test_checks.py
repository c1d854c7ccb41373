"""The runner's checks fail where nothing of what they look for has happened."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest

from tests.interop.runner.cases import CASES, CheckFailed, Result
from tests.interop.runner.link import Scenario, _Direction
from tests.interop.runner.peers import PEERS, Peer, Unavailable
from tests.interop.runner.report import Results, table
from tests.interop.runner.run import FAILED, PASSED, UNSUPPORTED, Outcome, run_case

pytestmark = pytest.mark.interop


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """What a handshake and a small file leave."""
    results: list[Result] = []
    case = replace(CASES["handshake"], check=results.append)
    directory = tmp_path_factory.mktemp("plain") / "handshake"
    outcome = run_case(case, PEERS["cwt"], PEERS["cwt"], directory)
    assert outcome.status == PASSED, outcome.reason
    return results[0]


def test_a_plain_handshake_is_one(plain: Result) -> None:
    CASES["handshake"].check(plain)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("chacha20", "offered"),
        ("retry", "no Retry"),
        ("resumption", "2 handshakes"),
        ("zerortt", "2 handshakes"),
        ("keyupdate", "key phase 1"),
        ("amplificationlimit", "bytes"),
        ("ipv6", "IPv4"),
        ("v2", "Initials have"),
        ("versionnegotiation", "no Version Negotiation"),
        ("rebind-port", "single path"),
        ("rebind-addr", "one address"),
        ("connectionmigration", "single path"),
    ],
)
def test_the_check_of_another_case_fails(plain: Result, name: str, words: str) -> None:
    with pytest.raises(CheckFailed, match=words):
        CASES[name].check(plain)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data[:-1], "bytes, not"),
        (lambda data: bytes([data[0] ^ 1]) + data[1:], "other content"),
        (lambda data: None, "missing"),
    ],
)
def test_a_file_that_is_not_as_it_was(
    plain: Result, tmp_path: Path, change: object, words: str
) -> None:
    assert callable(change)
    [name] = plain.files
    changed = change((plain.www / name).read_bytes())
    if changed is not None:
        (tmp_path / name).write_bytes(changed)
    with pytest.raises(CheckFailed, match=words):
        replace(plain, downloads=tmp_path).check_files()


def test_a_client_that_fails(tmp_path: Path) -> None:
    failing = Peer("failing", lambda: ["false"], lambda: "1")
    outcome = run_case(CASES["handshake"], failing, PEERS["cwt"], tmp_path / "run")
    assert outcome.status == FAILED
    assert "the client ended with status 1" in outcome.reason


def test_a_peer_that_is_not_there(tmp_path: Path) -> None:
    def start() -> list[str]:
        raise Unavailable("nobody built it")

    absent = Peer("absent", start, lambda: "1")
    outcome = run_case(CASES["handshake"], absent, PEERS["cwt"], tmp_path / "run")
    assert outcome == Outcome(UNSUPPORTED, "nobody built it")


def test_the_table_says_what_is_known(tmp_path: Path) -> None:
    results = Results({"cwt/cwt/handshake": Outcome(PASSED), "cwt/quinn/v2": Outcome(FAILED, "no")})
    results.save(tmp_path / "results.json")
    lines = table(Results.load(tmp_path / "results.json")).splitlines()
    head = [cell.strip() for cell in lines[0].split("|")]
    cells = {
        line.split("|")[1].strip(): dict(
            zip(head, (c.strip() for c in line.split("|")), strict=True)
        )
        for line in lines[2:]
    }
    assert cells["H handshake"]["cwt → cwt"] == "✓"
    assert cells["V2 v2"]["cwt → quinn"] == "✗"
    assert cells["V2 v2"]["quinn → cwt"] == ""
    assert cells["**passed**"]["cwt → quinn"] == "0 of 1"


# The link


def direction(**options: object) -> _Direction:
    return _Direction(Scenario(**options), random.Random(1))  # type: ignore[arg-type]


def test_the_link_keeps_its_rate_and_its_delay() -> None:
    link = direction(rate=1e6, delay=0.1)
    size = 1250 - 28  # with headers, 10 ms each
    assert link.arrival(size, 0.0) == pytest.approx(0.11)
    assert link.arrival(size, 0.0) == pytest.approx(0.12)
    assert link.arrival(size, 5.0) == pytest.approx(5.11)


def test_the_queue_is_as_long_as_it_should_be() -> None:
    link = direction(rate=1e6, queue=25)
    arrived = [link.arrival(1000, 0.0) for _ in range(40)]
    # One is being sent while the others wait.
    assert sum(time is not None for time in arrived) == 26


def test_what_is_larger_than_the_mtu_is_lost() -> None:
    assert direction().arrival(1472, 0.0) is not None
    assert direction().arrival(1473, 0.0) is None


def test_no_more_datagrams_in_a_row_are_hit_than_a_burst_has() -> None:
    link = direction(burst=3)
    hits = [link.is_hit(100) for _ in range(8)]
    assert hits == [True, True, True, False, True, True, True, False]
    assert not any(link.is_hit(0) for _ in range(100))
