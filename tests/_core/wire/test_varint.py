"""Variable-length integers (RFC 9000 Section 16, Appendix A.1)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import varint

VECTORS = [
    ("c2197c5eff14e88c", 151288809941952652),
    ("9d7f3e7d", 494878333),
    ("7bbd", 15293),
    ("25", 37),
]


@pytest.mark.parametrize(("data", "value"), VECTORS)
def test_appendix_a_1(data: str, value: int) -> None:
    raw = bytes.fromhex(data)
    assert varint.decode(raw) == (value, len(raw))
    assert varint.encode(value) == raw
    assert varint.length(value) == len(raw)


def test_a_longer_form_is_read_too() -> None:
    assert varint.decode(bytes.fromhex("4025")) == (37, 2)


@pytest.mark.parametrize(
    ("value", "length"),
    [(0, 1), (63, 1), (64, 2), (16383, 2), (16384, 4), (2**30 - 1, 4), (2**30, 8), (2**62 - 1, 8)],
)
def test_lengths_change_at_the_edges(value: int, length: int) -> None:
    assert varint.length(value) == length
    assert varint.decode(varint.encode(value)) == (value, length)


@pytest.mark.parametrize("value", [-1, 2**62, 2**64, 2**100])
def test_what_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match="varint"):
        varint.encode(value)
    with pytest.raises(ValueError, match="varint"):
        varint.length(value)


@pytest.mark.parametrize("data", ["", "40", "8000", "800000", "c0000000000000"])
def test_cut_short(data: str) -> None:
    assert varint.decode(bytes.fromhex(data)) is None


@given(st.integers(0, varint.MAX), st.binary(max_size=9), st.binary(max_size=9))
def test_round_trip_in_the_middle_of_something(value: int, before: bytes, after: bytes) -> None:
    data = before + varint.encode(value) + after
    assert varint.decode(data, len(before)) == (value, len(data) - len(after))
    assert varint.decode(memoryview(bytearray(data)), len(before)) == (
        value,
        len(data) - len(after),
    )


@given(st.binary(max_size=16), st.integers(0, 20))
def test_any_bytes(data: bytes, offset: int) -> None:
    got = varint.decode(data, offset)
    if got is not None:
        assert offset < got[1] <= len(data)


@given(st.lists(st.integers(0, varint.MAX), max_size=9))
def test_several_in_a_row(values: list[int]) -> None:
    data = varint.encode_all(values)
    assert data == b"".join(map(varint.encode, values))
    assert varint.decode_all(data) == values
    if values and len(varint.encode(values[-1])) > 1:
        assert varint.decode_all(data[:-1]) is None
