"""URLs and other arguments."""

from __future__ import annotations

import pytest

import cwt
from cwt.aio.options import certificate_hash, parse_url, protocol_list


@pytest.mark.parametrize(
    ("url", "host", "port", "authority", "path"),
    [
        ("https://a.example", "a.example", 443, "a.example", "/"),
        ("https://A.example:443/x", "a.example", 443, "a.example", "/x"),
        ("https://a.example:4433/x?y=z", "a.example", 4433, "a.example:4433", "/x?y=z"),
        ("https://[::1]:4433/", "::1", 4433, "[::1]:4433", "/"),
        ("https://bücher.example/ä?ö", "xn--bcher-kva.example", 443, "xn--bcher-kva.example",
         "/%C3%A4?%C3%B6"),
        ("https://a.example?q", "a.example", 443, "a.example", "/?q"),
        ("https://a.example/%41 b", "a.example", 443, "a.example", "/%41%20b"),
    ],
)  # fmt: skip
def test_url(url: str, host: str, port: int, authority: str, path: str) -> None:
    parsed = parse_url(url)
    assert parsed == (f"https://{authority}{path}", host, port, authority, path)


def test_hashes() -> None:
    digest = bytes(range(32))
    for form in (digest, bytearray(digest), digest.hex(), digest.hex(":"), {"value": digest}):
        assert certificate_hash(form) == digest  # type: ignore[arg-type]
    for wrong in (b"", digest[:31], "zz", "00", {"algorithm": "sha-1", "value": digest}):
        with pytest.raises(cwt.ConfigError):
            certificate_hash(wrong)  # type: ignore[arg-type]


def test_protocols() -> None:
    assert protocol_list(("a", "b")) == ["a", "b"]
    with pytest.raises(cwt.ConfigError, match="twice"):
        protocol_list(["a", "a"])
