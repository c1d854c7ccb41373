from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.tls import Alert, AlertDescription
from cwt.tls.codec import Reader, read_offered_psks, vector, write_offered_psks, write_uint16


@given(st.lists(st.tuples(st.integers(1, 3), st.binary(max_size=255)), max_size=9))
def test_vectors(values: list[tuple[int, bytes]]) -> None:
    reader = Reader(b"".join(vector(size, data) for size, data in values))
    for size, data in values:
        assert reader.vector(size) == data
    reader.finish()


@given(st.binary(max_size=9), st.integers(0, 9), st.integers(0, 4))
def test_reading_stays_inside(data: bytes, taken: int, size: int) -> None:
    reader = Reader(data)
    if taken > len(data):
        with pytest.raises(Alert):
            reader.take(taken)
        return
    assert reader.take(taken) == data[:taken]
    assert reader.left() == len(data) - taken
    if taken + size > len(data):
        with pytest.raises(Alert):
            reader.uint(size)
    else:
        assert reader.uint(size) == int.from_bytes(data[taken : taken + size], "big")


def test_lengths_out_of_range() -> None:
    for call in (lambda r: r.take(-1), lambda r: r.uint(5), lambda r: r.uint(-1)):
        with pytest.raises(Alert) as info:
            call(Reader(bytes(9)))
        assert info.value.description == AlertDescription.DECODE_ERROR
    with pytest.raises(Alert):
        Reader(b"\0").vector(1, 1)
    with pytest.raises(Alert):
        Reader(b"\0").finish()


@pytest.mark.parametrize(("size", "length"), [(1, 256), (2, 65536), (3, 1 << 24), (0, 0), (5, 0)])
def test_what_does_not_fit_is_not_written(size: int, length: int) -> None:
    with pytest.raises(ValueError, match=r"does not fit|do not fit"):
        vector(size, bytes(length))
    with pytest.raises(ValueError, match="16 bits"):
        write_uint16(65536)


def test_offered_psks() -> None:
    offered = (((b"a", 0xFFFFFFFF), (b"bc", 0)), (bytes(32), bytes(48)))
    reader = Reader(write_offered_psks(offered))
    assert read_offered_psks(reader) == offered
    reader.finish()
    for bad in ((((b"", 0),), (bytes(32),)), (((b"a", 0),), (bytes(31),)), ((), ())):
        with pytest.raises(Alert):
            read_offered_psks(Reader(write_offered_psks(bad)))
