from __future__ import annotations

import pytest

from cwt.errors import ConfigError
from cwt.tls.names import is_ip_address, normalize


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("[::1]", "::1"),
        ("b\u00fccher.example", "xn--bcher-kva.example"),
        ("localhost", "localhost"),
        ("", ""),
    ],
)
def test_normalize(name: str, expected: str) -> None:
    assert normalize(name) == expected


def test_name_that_is_none() -> None:
    with pytest.raises(ConfigError, match="not a host name"):
        normalize("b\u00fc..example")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", True),
        ("localhost", False),
        ("1.2.3", False),
        ("", False),
    ],
)
def test_is_ip_address(name: str, expected: bool) -> None:
    assert is_ip_address(name) is expected
