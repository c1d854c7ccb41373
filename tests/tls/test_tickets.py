from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.errors import ConfigError
from cwt.tls.tickets import TICKET_LIFETIME, TicketKeys, TicketState

NOW = 1_700_000_000
STATE = TicketState(0x1302, bytes(range(48)), NOW, b"h3", "a.example")


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
        ticket = keys.seal(STATE._replace(issued=now), now)
        names.append(ticket[:16])
        assert keys.open(ticket, now + TICKET_LIFETIME) is not None
        assert len(keys._keys) <= 4
    assert len(set(names)) == 20


def test_a_key_lasts_as_long_as_tickets_under_it() -> None:
    keys = TicketKeys()
    keys.seal(STATE, NOW)
    last = NOW + TICKET_LIFETIME // 2 - 1
    ticket = keys.seal(STATE._replace(issued=last), last)
    for hours in range(1, 25):
        now = last + hours * 3600
        keys.seal(STATE._replace(issued=now), now)
        assert (keys.open(ticket, now) is not None) == (now <= last + TICKET_LIFETIME)


def test_length_of_given_keys() -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        TicketKeys([bytes(16)])


@given(st.binary(max_size=99))
def test_states_of_another_form_are_none(data: bytes) -> None:
    assert TicketState.parse(b"\x02" + data) is None
    TicketState.parse(b"\x01" + data[:9] + b"\0" * 4)
