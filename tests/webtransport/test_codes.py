"""Application error codes in the HTTP/3 code space (draft-ietf-webtrans-http3 Section 4.4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.webtransport.codes import from_http3, to_http3

TABLE = {
    0: 0x52E4A40FA8DB,
    1: 0x52E4A40FA8DC,
    29: 0x52E4A40FA8F8,
    30: 0x52E4A40FA8FA,
    59: 0x52E4A40FA917,
    60: 0x52E4A40FA919,
    255: 0x52E4A40FA9E2,
    256: 0x52E4A40FA9E3,
    65535: 0x52E4A410B162,
    65536: 0x52E4A410B163,
    2**31 - 1: 0x52E52853ED1E,
    2**31: 0x52E52853ED1F,
    2**32 - 1: 0x52E5AC983162,
}


@pytest.mark.parametrize(("code", "raw"), TABLE.items())
def test_the_table(code: int, raw: int) -> None:
    assert to_http3(code) == raw
    assert from_http3(raw) == code


@given(st.integers(0, 2**32 - 1))
def test_there_and_back(code: int) -> None:
    raw = to_http3(code)
    assert from_http3(raw) == code
    assert (raw - 0x21) % 0x1F


@pytest.mark.parametrize("raw", [None, 0, 0x10C, 0x52E4A40FA8DA, 0x52E4A40FA8F9, 0x52E5AC983163])
def test_codes_that_carry_none(raw: int | None) -> None:
    assert from_http3(raw) is None


@pytest.mark.parametrize("code", [-1, 2**32])
def test_codes_beyond_32_bits(code: int) -> None:
    with pytest.raises(ValueError):
        to_http3(code)
