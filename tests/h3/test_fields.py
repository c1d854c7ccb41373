"""Rules of field sections (RFC 9114 Sections 4.2 to 4.4)."""

from __future__ import annotations

import pytest

from cwt.errors import H3ErrorCode
from cwt.h3.fault import StreamFault
from cwt.h3.fields import (
    check_request,
    check_response,
    check_trailers,
    content_length,
    normalize,
)

REQUEST = {":method": "GET", ":scheme": "https", ":authority": "a", ":path": "/"}


def request(*extra: tuple[str, str], **pseudo: str | None) -> list[tuple[bytes, bytes]]:
    fields = REQUEST | {f":{name}": value for name, value in pseudo.items()}
    lines = [(name, value) for name, value in fields.items() if value is not None]
    return [(name.encode(), value.encode("latin-1")) for name, value in [*lines, *extra]]


WELL_FORMED = {
    "plain": request(),
    "host instead of authority": request(("host", "a"), authority=None),
    "host equal to authority": request(("host", "a")),
    "OPTIONS *": request(method="OPTIONS", path="*"),
    "CONNECT": request(method="CONNECT", scheme=None, path=None),
    "extended CONNECT": request(method="CONNECT", protocol="websocket"),
    "te: trailers": request(("te", "trailers")),
    "own method": request(method="X-YZ"),
    "empty value": request(("x", "")),
    "high bytes in a value": request(("x", "\xff")),
    "other scheme without authority": request(scheme="urn", authority=None, path="x"),
}


@pytest.mark.parametrize("lines", WELL_FORMED.values(), ids=WELL_FORMED)
def test_well_formed_requests(lines: list[tuple[bytes, bytes]]) -> None:
    assert check_request(lines, True)[b":method"] == dict(lines)[b":method"]


MALFORMED = {
    "no method": request(method=None),
    "empty method": request(method=""),
    "method with a blank": request(method="GET /"),
    "method with CRLF": request(method="GET\r\n"),
    "no scheme": request(scheme=None),
    "bad scheme": request(scheme="ht tp"),
    "no path": request(path=None),
    "empty path": request(path=""),
    "path without slash": request(path="x"),
    "* without OPTIONS": request(path="*"),
    "path with a blank": request(path="/a b"),
    "path with a line feed": request(path="/\n"),
    "no authority": request(authority=None),
    "empty authority": request(authority=""),
    "empty host": request(("host", ""), authority=None),
    "userinfo": request(authority="user@a"),
    "authority with a blank": request(authority="a b"),
    "host differs": request(("host", "b")),
    "two hosts": request(("host", "a"), ("host", "a"), authority=None),
    "protocol without CONNECT": request(protocol="websocket"),
    "empty protocol": request(method="CONNECT", protocol=""),
    "CONNECT with a path": request(method="CONNECT"),
    "CONNECT without authority": request(method="CONNECT", authority=None, scheme=None, path=None),
    "extended CONNECT without path": request(method="CONNECT", protocol="websocket", path=None),
    "status": request(status="200"),
    "unknown pseudo": request((":foo", "x")),
    "pseudo twice": request((":path", "/")),
    "pseudo after regular": request(("a", "b"), (":foo", "x")),
    "upper case": request(("Accept", "x")),
    "empty name": request(("", "x")),
    "name with a blank": request(("a b", "x")),
    "name with a colon": request(("a:b", "x")),
    "name with a line feed": request(("a\n", "x")),
    "CR in a value": request(("a", "x\rb")),
    "LF in a value": request(("a", "x\nb")),
    "NUL in a value": request(("a", "x\0b")),
    "connection": request(("connection", "close")),
    "keep-alive": request(("keep-alive", "1")),
    "proxy-connection": request(("proxy-connection", "x")),
    "transfer-encoding": request(("transfer-encoding", "chunked")),
    "upgrade": request(("upgrade", "h2c")),
    "te: gzip": request(("te", "gzip")),
}


@pytest.mark.parametrize("lines", MALFORMED.values(), ids=MALFORMED)
def test_malformed_requests(lines: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(StreamFault) as fault:
        check_request(lines, True)
    assert fault.value.code == H3ErrorCode.MESSAGE_ERROR


def test_protocol_needs_our_setting() -> None:
    with pytest.raises(StreamFault):
        check_request(request(method="CONNECT", protocol="websocket"), False)


@pytest.mark.parametrize("status", ["100", "103", "200", "404", "599", "999"])
def test_statuses(status: str) -> None:
    assert check_response([(b":status", status.encode())]) == int(status)


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [(b":status", b"")],
        [(b":status", b"20")],
        [(b":status", b"2000")],
        [(b":status", b"020")],
        [(b":status", b"2x0")],
        [(b":status", b"101")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b"a", b"b"), (b":status", b"200")],
    ],
)
def test_malformed_responses(lines: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(StreamFault) as fault:
        check_response(lines)
    assert fault.value.code == H3ErrorCode.MESSAGE_ERROR


def test_trailers_have_no_pseudo_header_fields() -> None:
    check_trailers([(b"a", b"b")])
    with pytest.raises(StreamFault):
        check_trailers([(b":status", b"200")])


def test_content_length() -> None:
    assert content_length([(b"a", b"1")]) is None
    assert content_length([(b"content-length", b"0012")]) == 12
    assert content_length([(b"content-length", b"5"), (b"content-length", b"5")]) == 5


@pytest.mark.parametrize("values", [["5", "6"], [""], ["-1"], ["+1"], ["1 "], ["5, 5"], ["1" * 19]])
def test_content_length_that_is_not_one_number(values: list[str]) -> None:
    with pytest.raises(StreamFault) as fault:
        content_length([(b"content-length", value.encode()) for value in values])
    assert fault.value.code == H3ErrorCode.MESSAGE_ERROR


def test_our_own_fields_are_lower_cased_and_checked() -> None:
    assert normalize([("X-Foo", "bär"), (b"A", b"b")]) == [(b"x-foo", b"b\xe4r"), (b"a", b"b")]


@pytest.mark.parametrize(
    "line", [("a", "x\r\nb: c"), ("a", "\0"), ("", "x"), ("a b", "x"), ("Connection", "close")]
)
def test_our_own_fields_cannot_inject_others(line: tuple[str, str]) -> None:
    with pytest.raises(ValueError):
        normalize([line])
