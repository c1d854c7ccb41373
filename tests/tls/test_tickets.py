from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.errors import ConfigError
from cwt.tls.tickets import TICKET_LIFETIME, TicketKeys, TicketState

NOW = 1_700_000_000
STATE = TicketState(0x1302, bytes(range(48)), NOW * 1000, b"h3", "a.example")


@pytest.mark.parametrize("name", [None, "a.example"])
def test_a_ticket_comes_back(name: str | None) -> None:
    keys = TicketKeys()
    state = STATE._replace(server_name=name)
    assert keys.open(keys.seal(state, NOW), NOW + 9) == state


def test_what_it_holds_is_hidden_and_every_ticket_differs() -> None:
    keys = TicketKeys()
    one, other = keys.seal(STATE, NOW), keys.seal(STATE, NOW)
    assert one != other
    assert STATE.psk not in one and b"example" not in one


def test_every_changed_or_cut_ticket_is_refused() -> None:
    keys = TicketKeys()
    ticket = keys.seal(STATE, NOW)
    for i in range(len(ticket)):
        changed = bytearray(ticket)
        changed[i] ^= 1
        assert keys.open(bytes(changed), NOW) is None
        assert keys.open(ticket[:i], NOW) is None
    assert keys.open(ticket + b"\0", NOW) is None


@given(st.binary(max_size=2000))
def test_random_bytes_are_no_ticket(data: bytes) -> None:
    keys = TicketKeys([bytes(32)])
    assert keys.open(data, NOW) is None
    assert keys.open(keys.seal(STATE, NOW)[:16] + data, NOW) is None


def test_lifetime() -> None:
    keys = TicketKeys([bytes(32)])
    ticket = keys.seal(STATE, NOW)
    assert keys.open(ticket, NOW + TICKET_LIFETIME) is not None
    assert keys.open(ticket, NOW + TICKET_LIFETIME + 1) is None
    assert keys.open(ticket, NOW - 60) is None


def test_given_keys_are_shared_and_only_the_first_seals() -> None:
    old, new = os.urandom(32), os.urandom(32)
    before, after = TicketKeys([old]), TicketKeys([new, old])
    assert after.open(before.seal(STATE, NOW), NOW) == STATE
    assert before.open(after.seal(STATE, NOW), NOW) is None
    assert TicketKeys([new]).open(after.seal(STATE, NOW), NOW) == STATE


def test_keys_rotate_and_old_ones_go() -> None:
    keys = TicketKeys()
    step = TICKET_LIFETIME // 2
    names = []
    for i in range(20):
        now = NOW + i * step
        ticket = keys.seal(STATE._replace(issued=now * 1000), now)
        names.append(ticket[:16])
        assert keys.open(ticket, now + TICKET_LIFETIME) is not None
        assert len(keys._keys) <= 4
    assert len(set(names)) == 20


def test_a_key_lasts_as_long_as_tickets_under_it() -> None:
    keys = TicketKeys()
    keys.seal(STATE, NOW)
    last = NOW + TICKET_LIFETIME // 2 - 1
    ticket = keys.seal(STATE._replace(issued=last * 1000), last)
    for hours in range(1, 25):
        now = last + hours * 3600
        keys.seal(STATE._replace(issued=now * 1000), now)
        assert (keys.open(ticket, now) is not None) == (now <= last + TICKET_LIFETIME)


def test_length_of_given_keys() -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        TicketKeys([bytes(16)])


def test_given_keys_change_every_day() -> None:
    keys, other = TicketKeys([bytes(32)]), TicketKeys([bytes(32)])
    midnight = NOW // 86400 * 86400 + 86400
    tickets = []
    for now in (midnight - 86400, midnight - 1, midnight, midnight + 86400):
        tickets.append(keys.seal(STATE._replace(issued=now * 1000), now))
        assert other.open(tickets[-1], now) is not None
        assert other.open(tickets[-1], now + TICKET_LIFETIME) is not None
        assert other.open(tickets[-1], now - 1) is not None, "clocks differ by a little"
        assert len(keys._keys) == 3
    names = [ticket[:16] for ticket in tickets]
    assert names[0] == names[1] and len(set(names)) == 3


def test_a_callable_is_asked_for_keys_now_and_then() -> None:
    secrets = [bytes(32)]
    asked = []

    def ask() -> list[bytes]:
        asked.append(True)
        if not secrets:
            raise OSError("the store is away")
        return secrets

    keys = TicketKeys(ask)
    assert len(asked) == 1
    old = keys.seal(STATE, NOW)
    count = len(asked)
    for second in range(60):
        keys.seal(STATE, NOW + second)
    assert len(asked) == count
    secrets.insert(0, bytes([1] * 32))
    new = keys.seal(STATE, NOW + 61)
    assert len(asked) == count + 1 and old[:16] != new[:16]
    assert keys.open(old, NOW + 62) == keys.open(new, NOW + 62) == STATE
    secrets.pop()
    assert keys.open(old, NOW + 200) is None
    secrets.clear()
    assert keys.open(new, NOW + 300) == STATE, "those of before stay"


def test_what_a_callable_gives_is_checked() -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        TicketKeys(lambda: [bytes(31)])
    with pytest.raises(ConfigError, match="no secret"):
        TicketKeys(list)


@given(st.binary(max_size=99))
def test_states_of_another_form_are_none(data: bytes) -> None:
    assert TicketState.parse(b"\x01" + data) is None
    TicketState.parse(b"\x02" + data[:17] + b"\0" * 5)
