"""The Capsule Protocol (RFC 9297 Section 3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt._core.wire import varint
from cwt.h3.capsules import CapsuleError, CapsuleReader, encode_capsule


@given(
    st.lists(st.tuples(st.sampled_from([0, 5, 0x2843]), st.binary(max_size=40)), max_size=8),
    st.integers(1, 20),
)
def test_any_split(capsules: list[tuple[int, bytes]], size: int) -> None:
    data = b"".join(encode_capsule(kind, payload) for kind, payload in capsules)
    reader = CapsuleReader({0: 40, 0x2843: 40})
    got = [c for i in range(0, len(data), size) for c in reader.feed(data[i : i + size])]
    assert got == [capsule for capsule in capsules if capsule[0] != 5]
    assert reader.is_idle


def test_an_unknown_capsule_is_skipped_without_being_buffered() -> None:
    reader = CapsuleReader({0: 40})
    assert not list(reader.feed(b"\x05" + varint.encode((1 << 62) - 1)))
    for _ in range(1000):
        assert not list(reader.feed(bytes(1000)))
    assert not reader._frames.buffer
    assert not reader.is_idle


def test_a_known_capsule_is_bounded_before_it_is_buffered() -> None:
    with pytest.raises(CapsuleError):
        list(CapsuleReader({7: 10}).feed(b"\x07\x0b"))
    assert list(CapsuleReader({7: 10}).feed(b"\x07\x0a" + bytes(10))) == [(7, bytes(10))]


def test_the_end_inside_a_capsule_shows() -> None:
    for data in (b"\x00", b"\x00\x05", b"\x00\x05abc", b"\x40"):
        reader = CapsuleReader({0: 40})
        assert not list(reader.feed(data))
        assert not reader.is_idle
