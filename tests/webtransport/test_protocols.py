"""WT-Available-Protocols and WT-Protocol (RFC 9651), against ``http_sf``."""

from __future__ import annotations

import http_sf
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.webtransport.protocols import (
    parse_protocol,
    parse_protocols,
    serialize_protocol,
    serialize_protocols,
)


def oracle_list(value: str) -> list[str]:
    try:
        parsed = http_sf.parse(value.encode("latin-1"), tltype="list")
    except http_sf.StructuredFieldError:
        return []
    members = [member[0] for member in parsed]
    return members if all(type(member) is str for member in members) else []


def oracle_item(value: str) -> str | None:
    try:
        parsed = http_sf.parse(value.encode("latin-1"), tltype="item")
    except http_sf.StructuredFieldError:
        return None
    return parsed[0] if type(parsed[0]) is str else None


LISTS = [
    '"a", "b"',
    '"a","b"',
    '"a"\t,\t"b"',
    '  "a"  ',
    '""',
    '"a\\"b", "c\\\\d"',
    '"a";q=1, "b";x;y=?1;z=:YWI=:;t=tok/en;d=1.5;s="x";n=-12;e=@12;u=%"caf%c3%a9"',
    '"a"; q=1',
    "",
    " ",
    ",",
    '"a",',
    ',"a"',
    '"a",,"b"',
    '"a" "b"',
    '"a',
    "a",
    'a, "b"',
    '"a", 1',
    '("a" "b")',
    '"a", ("b")',
    "'a'",
    '"a\\x"',
    '"a\x7f"',
    '"\xe9"',
    '"a\nb"',
    '"a";Q=1',
    '"a";q=',
    '"a" ;q=1',
    '"a";q=1.',
    '"a";q=1.2345',
    '"a";q=1234567890123456',
    '"a";q=?2',
    '"a";q=-',
    "\t" + '"a"',
    '"a"\t',
    ":YWI=:",
    "?1",
    "1.5",
]


@pytest.mark.parametrize("value", LISTS)
def test_lists_as_the_oracle_reads_them(value: str) -> None:
    assert parse_protocols(value) == oracle_list(value)


@pytest.mark.parametrize("value", LISTS)
def test_items_as_the_oracle_reads_them(value: str) -> None:
    assert parse_protocol(value) == oracle_item(value)


@given(st.text(alphabet='ab"\\,; =?1-.:*q()@%\t', max_size=14))
def test_random_values_as_the_oracle_reads_them(value: str) -> None:
    assert parse_protocols(value) == oracle_list(value)
    assert parse_protocol(value) == oracle_item(value)


@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20), max_size=5)
)
def test_what_we_write_is_read_back(protocols: list[str]) -> None:
    value = serialize_protocols(protocols)
    assert parse_protocols(value) == protocols == oracle_list(value)
    for protocol in protocols:
        assert parse_protocol(serialize_protocol(protocol)) == protocol


@pytest.mark.parametrize("protocol", ["\n", "é", "a\x7f", "\0"])
def test_names_that_no_string_holds(protocol: str) -> None:
    with pytest.raises(ValueError):
        serialize_protocol(protocol)


def test_long_values_take_linear_time() -> None:
    """A quadratic reader takes minutes."""
    for value in ('"' + "\\\\" * 30_000, '"a"' + ";a" * 30_000 + "!", '"a",' * 15_000):
        assert parse_protocols(value) == []
