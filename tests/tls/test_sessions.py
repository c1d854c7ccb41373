from __future__ import annotations

import pytest

from cwt.errors import ConfigError
from cwt.tls.sessions import MAX_LIFETIME, SessionCache, SessionTicket

NOW = 1_700_000_000.0


def ticket(name: bytes = b"ticket", **changes: object) -> SessionTicket:
    plain = SessionTicket(name, bytes(32), 0x1301, 7, NOW, NOW, 3600, b"h3", (b"der",))
    return plain._replace(**changes)  # type: ignore[arg-type]


def test_a_ticket_is_used_once() -> None:
    cache = SessionCache()
    cache.put("a.example", ticket())
    assert cache.take("b.example", b"h3", NOW) is None
    assert cache.take("a.example", b"hq", NOW) is None
    assert cache.take("a.example", b"h3", NOW) == ticket()
    assert cache.take("a.example", b"h3", NOW) is None and len(cache) == 0


def test_the_newest_comes_first_and_old_ones_are_dropped() -> None:
    cache = SessionCache(max_tickets=2)
    for name in (b"1", b"2", b"3"):
        cache.put("a.example", ticket(name))
    taken = [cache.take("a.example", b"h3", NOW) for _ in range(3)]
    assert [t and t.ticket for t in taken] == [b"3", b"2", None]


def test_bound_of_servers() -> None:
    cache = SessionCache(max_servers=2)
    for server in ("a", "b", "a", "c"):
        cache.put(server, ticket())
    assert cache.take("b", b"h3", NOW) is None
    assert cache.take("a", b"h3", NOW) and cache.take("c", b"h3", NOW)


@pytest.mark.parametrize("later", [3600, MAX_LIFETIME])
def test_old_tickets_are_not_used(later: int) -> None:
    cache = SessionCache()
    cache.put("a", ticket())
    assert cache.take("a", b"h3", NOW + later) is None
    cache.put("a", ticket(received=NOW + later, lifetime=MAX_LIFETIME))
    assert (cache.take("a", b"h3", NOW + later) is None) == (later == MAX_LIFETIME)


def test_obfuscated_age() -> None:
    assert ticket().obfuscated_age(NOW + 1.5) == 1507
    assert ticket(age_add=0xFFFFFFFF).obfuscated_age(NOW + 1) == 999
    assert ticket().obfuscated_age(NOW - 1) == 7


def test_clear() -> None:
    cache = SessionCache()
    cache.put("a", ticket())
    assert len(cache) == 1
    cache.clear()
    assert len(cache) == 0


def test_bounds_must_be_positive() -> None:
    for bounds in ({"max_servers": 0}, {"max_tickets": 0}):
        with pytest.raises(ConfigError):
            SessionCache(**bounds)


def test_tokens_come_back_newest_first_and_once() -> None:
    cache = SessionCache(max_tickets=2)
    for token in (b"first", b"second", b"third", b"second"):
        cache.put_token("localhost", token)
    assert cache.take_token("elsewhere") is None
    assert cache.take_token("localhost") == b"second"
    assert cache.take_token("localhost") == b"third"
    assert cache.take_token("localhost") is None


def test_tokens_are_bounded_in_servers_and_length() -> None:
    cache = SessionCache(max_servers=2)
    cache.put_token("a", b"1")
    cache.put_token("b", b"2")
    cache.put_token("a", b"3")
    cache.put_token("c", b"4")
    assert cache.take_token("b") is None
    assert cache.take_token("a") == b"3"
    cache.put_token("d", bytes(1025))
    cache.put_token("d", b"")
    assert cache.take_token("d") is None
    cache.clear()
    assert cache.take_token("c") is None
