"""Address validation tokens (RFC 9000 Section 8.1)."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.tokens import NEW_TOKEN_LIFETIME, RETRY_LIFETIME, AddressTokens, TokenKind
from cwt.errors import ConfigError

HERE, ELSEWHERE = ("192.0.2.1", 4000), ("192.0.2.2", 4000)
DCID, SCID = b"original", b"retry id"
NOW = 1_800_000_000.0
NOTHING = (TokenKind.UNKNOWN, b"")
REFUSED = (TokenKind.INVALID, b"")
TAKEN = (TokenKind.RETRY, DCID)


def make(*secrets: bytes, seed: int = 0) -> AddressTokens:
    return AddressTokens(secrets, random=Random(seed).randbytes)


def retry_token(tokens: AddressTokens) -> bytes:
    return tokens.retry_token(HERE, DCID, SCID, 1, NOW)


def test_a_retry_token_is_for_one_client_and_one_handshake() -> None:
    tokens = make()
    token = retry_token(tokens)
    assert tokens.open(token, HERE, SCID, 1, NOW + 1) == TAKEN
    cases: list[tuple[Any, bytes, int]] = [
        (ELSEWHERE, SCID, 1),
        ((HERE[0], 4001), SCID, 1),
        (None, SCID, 1),
        (HERE, DCID, 1),
        (HERE, SCID, 2),
    ]
    for address, dcid, version in cases:
        assert tokens.open(token, address, dcid, version, NOW + 1) == REFUSED


@pytest.mark.parametrize("age", [-2.0, 0.0, RETRY_LIFETIME])
def test_a_retry_token_is_good_for_a_while(age: float) -> None:
    tokens = make()
    assert tokens.open(retry_token(tokens), HERE, SCID, 1, NOW + age) == TAKEN


@pytest.mark.parametrize("age", [-2.1, RETRY_LIFETIME + 0.1, 1e6])
def test_and_no_longer(age: float) -> None:
    tokens = make()
    assert tokens.open(retry_token(tokens), HERE, SCID, 1, NOW + age) == REFUSED


@pytest.mark.parametrize(
    ("age", "kind"),
    [
        (-2.1, TokenKind.UNKNOWN),
        (0, TokenKind.NEW_TOKEN),
        (NEW_TOKEN_LIFETIME, TokenKind.NEW_TOKEN),
        (NEW_TOKEN_LIFETIME + 1, TokenKind.UNKNOWN),
    ],
)
def test_a_new_token_is_good_for_a_day_from_any_port(age: float, kind: TokenKind) -> None:
    tokens = make()
    token = tokens.new_token(HERE, 1, NOW)
    assert tokens.open(token, (HERE[0], 1), b"any", 1, NOW + age) == (kind, b"")
    assert tokens.open(token, ELSEWHERE, b"any", 1, NOW) == NOTHING
    assert tokens.open(token, HERE, b"any", 2, NOW) == NOTHING


def test_tokens_are_used_once() -> None:
    tokens = make()
    for token, taken, spent in [
        (retry_token(tokens), TAKEN, REFUSED),
        (tokens.new_token(HERE, 1, NOW), (TokenKind.NEW_TOKEN, b""), NOTHING),
    ]:
        assert tokens.open(token, HERE, SCID, 1, NOW) == taken
        assert tokens.open(token, HERE, SCID, 1, NOW) == taken
        tokens.spend(token, NOW)
        assert tokens.open(token, HERE, SCID, 1, NOW) == spent


def test_what_was_used_is_remembered_within_bounds() -> None:
    tokens = make()
    first = tokens.new_token(HERE, 1, NOW)
    tokens.spend(first, NOW)
    unused = tokens.new_token(HERE, 1, NOW)
    chance = Random(1)
    for i in range(3 * 65536):
        tokens.spend(chance.randbytes(20), NOW + 1 + i / 65536)
    # Forgotten by now, so that nothing as old is taken.
    assert tokens.open(first, HERE, SCID, 1, NOW + 5) == NOTHING
    assert tokens.open(unused, HERE, SCID, 1, NOW + 5) == NOTHING
    young = tokens.new_token(HERE, 1, NOW + 5)
    assert tokens.open(young, HERE, SCID, 1, NOW + 5) == (TokenKind.NEW_TOKEN, b"")


def test_what_was_used_is_forgotten_when_it_is_too_old_anyway() -> None:
    tokens = make()
    for day in range(4):
        now = NOW + day * (NEW_TOKEN_LIFETIME + 1)
        token = tokens.new_token(HERE, 1, now)
        assert tokens.open(token, HERE, SCID, 1, now) == (TokenKind.NEW_TOKEN, b"")
        tokens.spend(token, now)
        assert tokens.open(token, HERE, SCID, 1, now) == NOTHING


def test_processes_that_share_secrets_take_each_others_tokens() -> None:
    old, new = bytes(32), bytes(range(32))
    one, other = make(old, seed=1), make(new, old, seed=2)
    assert other.open(retry_token(one), HERE, SCID, 1, NOW) == TAKEN
    assert one.open(retry_token(other), HERE, SCID, 1, NOW) == NOTHING
    assert make(seed=3).open(retry_token(one), HERE, SCID, 1, NOW) == NOTHING


@pytest.mark.parametrize("length", [0, 16, 31, 33])
def test_secrets_have_32_bytes(length: int) -> None:
    with pytest.raises(ConfigError, match="32 bytes"):
        make(bytes(length))


def test_no_altered_token_is_taken() -> None:
    tokens = make()
    for token in (retry_token(tokens), tokens.new_token(HERE, 1, NOW)):
        for i in range(len(token)):
            bad = bytearray(token)
            bad[i] ^= 0x10
            assert tokens.open(bytes(bad), HERE, SCID, 1, NOW) == NOTHING
            assert tokens.open(token[:i], HERE, SCID, 1, NOW) == NOTHING
        assert tokens.open(token + b"\0", HERE, SCID, 1, NOW) == NOTHING


@given(st.binary(max_size=300))
def test_junk_is_no_token(junk: bytes) -> None:
    tokens = make(bytes(32))
    assert tokens.open(junk, HERE, SCID, 1, NOW) == NOTHING
    name = retry_token(tokens)[:4]
    assert tokens.open(name + junk, HERE, SCID, 1, NOW) == NOTHING


def test_no_two_tokens_are_alike() -> None:
    tokens = make()
    assert len({retry_token(tokens) for _ in range(100)}) == 100
