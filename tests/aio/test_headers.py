"""Header fields for users."""

from __future__ import annotations

import pytest

import cwt
from cwt.aio.headers import Headers, header_list


def test_mapping() -> None:
    headers = Headers([(":path", "/"), (b"A", b"1"), ("b", "2"), ("a", "3")])
    assert dict(headers) == {"a": "1, 3", "b": "2"}
    assert headers["A"] == "1, 3"
    assert headers.get_all("a") == ["1", "3"]
    assert headers.get_all("c") == []
    assert headers.get("c") is None
    assert "B" in headers
    assert headers.pairs() == [("a", "1"), ("a", "3"), ("b", "2")]
    assert len(headers) == 2
    with pytest.raises(KeyError):
        headers["c"]


def test_what_is_sent() -> None:
    assert header_list({"X-A": "1"}) == [("x-a", "1")]
    assert header_list([("Cookie", "a=1"), ("Cookie", "b=2")]) == [
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"": "x"},
        {":path": "/"},
        {"Connection": "close"},
        {"Host": "a"},
        {"a b": "x"},
        {"ä": "x"},
        {"a": "x\r\ny: z"},
        {"a": "\0"},
        {"a": 1},
        {b"a": b"x"},
    ],
)
def test_what_is_refused(headers: dict[str, str]) -> None:
    with pytest.raises(cwt.ConfigError):
        header_list(headers)
