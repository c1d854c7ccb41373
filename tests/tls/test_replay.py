from __future__ import annotations

import pytest

from cwt.errors import ConfigError
from cwt.tls.replay import ReplayGuard, StrikeRegister

NOW = 1_700_000_000.0


def test_a_register_knows_what_was_used() -> None:
    register = StrikeRegister()
    assert register(b"a", NOW, NOW + 10)
    assert not register(b"a", NOW, NOW + 10)
    assert not register(b"a", NOW + 10, NOW + 20)
    assert register(b"b", NOW + 5, NOW + 15)


def test_a_register_forgets_what_expired() -> None:
    register = StrikeRegister()
    for second in range(100):
        assert register(b"%d" % second, NOW + second, NOW + second + 10)
        assert len(register) <= 11
    assert register(b"0", NOW + 100, NOW + 110)


def test_a_full_register_takes_nothing_more() -> None:
    register = StrikeRegister(capacity=2)
    assert register(b"a", NOW, NOW + 10) and register(b"b", NOW, NOW + 10)
    assert not register(b"c", NOW, NOW + 10)
    assert register(b"c", NOW + 11, NOW + 20)
    with pytest.raises(ConfigError):
        StrikeRegister(capacity=0)


def refusal(guard: ReplayGuard, issued: float, sent: float, now: float) -> str | None:
    return guard.refusal(b"id", issued, sent, now)


@pytest.mark.parametrize("late", [-10.5, -9.5, 0, 9.5, 10.5])
def test_freshness(late: float) -> None:
    guard = ReplayGuard(NOW - 1000)
    why = refusal(guard, NOW - 500, NOW, NOW + late)
    assert (why is None) == (abs(late) < 10)
    assert why is None or "fresh" in why


def test_a_ticket_counts_once_for_as_long_as_its_hello_is_fresh() -> None:
    guard = ReplayGuard(NOW - 1000)
    assert refusal(guard, NOW - 5, NOW + 9, NOW) is None, "the client's clock runs ahead"
    for later in range(20):
        why = refusal(guard, NOW - 5, NOW + 9, NOW + later)
        assert why is not None
        assert "before" in why if later < 20 else "fresh" in why


def test_what_an_earlier_process_may_have_taken_is_refused() -> None:
    guard = ReplayGuard(NOW)
    assert "just started" in (refusal(guard, NOW - 500, NOW + 1, NOW + 1) or "")
    assert "just started" in (refusal(guard, NOW - 500, NOW + 9, NOW + 9) or "")
    assert refusal(guard, NOW - 500, NOW + 11, NOW + 11) is None
    guard = ReplayGuard(NOW)
    assert refusal(guard, NOW, NOW + 1, NOW + 1) is None, "its ticket is of this process's time"


def test_a_shared_store() -> None:
    used: dict[bytes, float] = {}

    def first_use(identifier: bytes, now: float, expires: float) -> bool:
        return used.setdefault(identifier, expires) == expires and len(used) > len(before)

    before: dict[bytes, float] = {}
    one, other = (ReplayGuard(NOW - 1000, first_use=first_use) for _ in range(2))
    assert refusal(one, NOW - 5, NOW, NOW) is None
    before.update(used)
    assert refusal(other, NOW - 5, NOW, NOW + 1) is not None
    assert used == {b"id": NOW + 10}


@pytest.mark.parametrize("window", [0, 0.05, 601])
def test_the_window_has_bounds(window: float) -> None:
    with pytest.raises(ConfigError):
        ReplayGuard(NOW, window)
