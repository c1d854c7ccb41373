from __future__ import annotations

import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.hkdf import expand_label, extract, hmac_digest

HASHES = ("sha256", "sha384")


@given(st.sampled_from(HASHES), st.binary(max_size=300), st.binary(max_size=300))
def test_hmac_is_that_of_the_standard_library(name: str, key: bytes, message: bytes) -> None:
    assert hmac_digest(name, key, message) == hmac.digest(key, message, name)


@pytest.mark.parametrize("size", [0, 63, 64, 65, 127, 128, 129])
@pytest.mark.parametrize("name", HASHES)
def test_keys_around_the_block_size(name: str, size: int) -> None:
    key = bytes(range(size))
    assert hmac_digest(name, key, b"message") == hmac.digest(key, b"message", name)


def test_case_1_of_rfc_5869() -> None:
    prk = extract("sha256", bytes(range(13)), b"\x0b" * 22)
    assert prk.hex() == "077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"


def test_an_empty_salt_stands_for_zeros() -> None:
    assert extract("sha256", b"", b"ikm") == extract("sha256", bytes(32), b"ikm")


@given(
    st.sampled_from(HASHES),
    st.binary(min_size=32, max_size=48),
    st.binary(max_size=249),
    st.binary(max_size=255),
    st.integers(0, 400),
)
def test_expand_label(name: str, secret: bytes, label: bytes, context: bytes, length: int) -> None:
    full = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(full)]) + full + bytes([len(context)]) + context
    output = block = b""
    for counter in range(1, 20):
        block = hmac.digest(secret, block + info + bytes([counter]), name)
        output += block
    assert expand_label(name, secret, label, context, length) == output[:length]


def test_the_longest_output() -> None:
    assert len(expand_label("sha256", b"s", b"l", b"", 255 * 32)) == 255 * 32


@pytest.mark.parametrize(
    ("label", "context", "length"),
    [(bytes(250), b"", 32), (b"", bytes(256), 32), (b"", b"", 255 * 32 + 1), (b"", b"", -1)],
)
def test_what_does_not_fit_is_refused(label: bytes, context: bytes, length: int) -> None:
    with pytest.raises(ValueError, match="too long"):
        expand_label("sha256", b"secret", label, context, length)


def test_another_hash_is_refused() -> None:
    with pytest.raises(ValueError, match="sha1"):
        hmac_digest("sha1", b"", b"")
