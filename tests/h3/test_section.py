from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.h3.fault import ConnectionFault
from cwt.h3.section import measure, section_size


@pytest.mark.parametrize(
    ("section", "expected"),
    [
        ("0000", (0, 0)),
        ("0000 d1 c1", (2, 0)),  # static, indexed
        ("0000 51 02 2f 61", (1, 0)),  # static name, literal value
        ("0000 23 61 62 63 01 64", (1, 0)),  # literal name and value
        ("0200 80 80 81", (3, 2)),  # dynamic, indexed
        ("0200 40 00 40 00", (2, 2)),  # dynamic name, literal value
        ("0281 10 10 11", (3, 2)),  # post-base, indexed
        ("0281 00 00 10", (2, 2)),  # post-base name, literal value
        ("0281 80 10", (2, 1)),  # an index is another one post-base
        ("0000 ff 80 01", (1, 0)),  # an integer of several bytes
    ],
)
def test_every_representation(section: str, expected: tuple[int, int]) -> None:
    assert measure(bytes.fromhex(section), 100) == expected


@pytest.mark.parametrize(
    "section",
    [
        "",
        "00",
        "00ff",
        "0000 ff",
        "0000 51",
        "0000 51 02 2f",
        "0000 23 61 62",
        "0000 27 ff ff ff ff ff ff ff ff 7f",
        "0000 ff 80 80 80 80 80 80 80 80 80 80 01",
    ],
)
def test_what_is_cut_short_or_too_large(section: str) -> None:
    with pytest.raises(ConnectionFault):
        measure(bytes.fromhex(section), 100)


def test_counting_stops_above_the_limit() -> None:
    assert measure(bytes(2) + b"\xd1" * 100, 9) == (10, 0)


@given(st.binary(max_size=64))
def test_random_bytes_raise_nothing_but_faults(section: bytes) -> None:
    try:
        lines, most = measure(section, 1000)
    except ConnectionFault:
        return
    assert 0 <= most <= lines <= len(section)


def test_section_size() -> None:
    assert section_size([]) == 0
    assert section_size([(b"name", b"value"), (b"a", b"")]) == 9 + 1 + 64
