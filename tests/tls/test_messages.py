from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cwt.tls import Alert, AlertDescription
from cwt.tls.codec import vector
from cwt.tls.messages import (
    Certificate,
    CertificateRequest,
    CertificateVerify,
    ClientHello,
    EncryptedExtensions,
    ExtensionType,
    HelloRetryRequest,
    NewSessionTicket,
    ServerHello,
)
from tests.tls.support import HELLOS, TRACES

PSKS = vector(2, vector(2, b"ticket") + bytes(4)) + vector(2, vector(1, bytes(32)))
"""The value of pre_shared_key with one identity and its binder."""

HELLO = ClientHello(
    random=bytes(range(32)),
    cipher_suites=(0x1301, 0x0A0A),
    server_name="a.example",
    supported_versions=(0x0304,),
    supported_groups=(0x001D,),
    signature_algorithms=(0x0403,),
    signature_algorithms_cert=(0x0804,),
    alpn=(b"h3", b"hq-interop"),
    transport_parameters=b"\x01\x02\x03\x04",
    cookie=b"cookie",
    key_shares=((0x001D, bytes(32)),),
    psk_modes=b"\1",
    psks=(((b"ticket", 0x01020304), (b"t", 0)), (bytes(32), bytes(48))),
    other=((0x0A0A, b""), (21, b"\0\0")),
)
MESSAGES: list[Any] = [
    HELLO,
    ServerHello(
        random=bytes(32), cipher_suite=0x1302, key_share=(0x001D, bytes(32)), selected_psk=1
    ),
    HelloRetryRequest(cipher_suite=0x1301, selected_group=0x0017, cookie=b"c"),
    EncryptedExtensions(server_name_used=True, alpn=(b"h3",), transport_parameters=b""),
    CertificateRequest(signature_algorithms=(0x0403,), certificate_authorities=(b"0\0",)),
    Certificate(chain=(b"leaf", b"issuer")),
    CertificateVerify(algorithm=0x0403, signature=b"signature"),
    NewSessionTicket(
        lifetime=1, age_add=2, nonce=b"n", ticket=b"t", max_early_data_size=0xFFFFFFFF
    ),
]


def description(call: Any, body: bytes) -> int:
    with pytest.raises(Alert) as info:
        call(body)
    return info.value.description


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_round_trip(message: Any) -> None:
    parse = ServerHello.parse if isinstance(message, HelloRetryRequest) else type(message).parse
    packed = message.pack()
    assert int.from_bytes(packed[1:4], "big") == len(packed) - 4
    assert parse(packed[4:]) == message


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_every_truncation_and_any_trailing_byte_is_a_decode_error(message: Any) -> None:
    parse = ServerHello.parse if isinstance(message, HelloRetryRequest) else type(message).parse
    body = message.pack()[4:]
    # A hello may end before its extensions: an older TLS, refused later.
    whole = {len(body)}
    if isinstance(message, ClientHello):
        whole.add(2 + 32 + 1 + 2 + 4 + 2)
    elif isinstance(message, ServerHello | HelloRetryRequest):
        whole.add(2 + 32 + 1 + 2 + 1)
    for length in range(len(body)):
        if length not in whole:
            assert description(parse, body[:length]) == AlertDescription.DECODE_ERROR, length
    assert description(parse, body + b"\0") == AlertDescription.DECODE_ERROR


@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_alerts(body: bytes) -> None:
    for message in MESSAGES:
        if not isinstance(message, HelloRetryRequest):
            try:
                type(message).parse(body)
            except Alert:
                pass


@pytest.mark.parametrize("name", HELLOS)
def test_browsers_hellos(name: str) -> None:
    raw = HELLOS[name]
    hello = ClientHello.parse(raw[4:])
    assert hello.alpn == (b"h3",)
    assert hello.supported_versions == (0x0304,)
    assert hello.session_id == b"" and hello.server_name is None
    assert set(hello.cipher_suites) == {0x1301, 0x1302, 0x1303}
    assert hello.supported_groups is not None
    assert hello.supported_groups[:4] == (0x11EC, 0x001D, 0x0017, 0x0018)
    assert hello.key_shares is not None
    sizes = {group: len(share) for group, share in hello.key_shares}
    assert (sizes[0x11EC], sizes[0x001D]) == (1216, 32)
    assert hello.signature_algorithms is not None and 0x0403 in hello.signature_algorithms
    assert hello.transport_parameters
    assert sum(4 + len(data) for _, data in hello.other) > 0
    assert ClientHello.parse(hello.pack()[4:]) == hello
    assert len(hello.pack()) == len(raw)


def test_traces_of_rfc_8448() -> None:
    trace = {name: bytes.fromhex(value)[4:] for name, value in TRACES["section_5"].items()}
    first = ClientHello.parse(trace["client_hello"])
    assert first.server_name == "server"
    assert first.key_shares is not None and first.key_shares[0][0] == 0x001D
    retry = ServerHello.parse(trace["hello_retry_request"])
    assert isinstance(retry, HelloRetryRequest)
    assert retry.selected_group == 0x0017 and retry.supported_version == 0x0304
    second = ClientHello.parse(trace["retried_client_hello"])
    assert second.cookie == retry.cookie and second.cookie is not None
    hello = ServerHello.parse(trace["server_hello"])
    assert isinstance(hello, ServerHello)
    assert hello.key_share is not None and hello.key_share[0] == 0x0017


@pytest.mark.parametrize("extension_type", [0x0A0A, ExtensionType.ALPN, ExtensionType.KEY_SHARE])
def test_duplicate_extension(extension_type: int) -> None:
    known = {number for number, _ in HELLO.other} | {int(t) for t in HELLO.extension_types}
    assert extension_type in known
    packed = HELLO.pack()
    doubled = ClientHello(
        **{
            name: getattr(HELLO, name)
            for name in HELLO.__slots__  # type: ignore[attr-defined]
            if name != "other"
        },
        other=((extension_type, b"\0\0"), (extension_type, b"\0\0")),
    )
    assert len(doubled.pack()) > len(packed) - 20
    assert description(ClientHello.parse, doubled.pack()[4:]) == AlertDescription.ILLEGAL_PARAMETER


def extension(extension_type: int, data: bytes) -> bytes:
    """A ClientHello body with one extension."""
    head = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    return head + vector(2, extension_type.to_bytes(2, "big") + vector(2, data))


@pytest.mark.parametrize(
    ("extension_type", "data", "expected"),
    [
        (ExtensionType.KEY_SHARE, "000a001d000100001d000100", AlertDescription.ILLEGAL_PARAMETER),
        (ExtensionType.KEY_SHARE, "0004001d0000", AlertDescription.DECODE_ERROR),
        (ExtensionType.ALPN, "0000", AlertDescription.DECODE_ERROR),
        (ExtensionType.ALPN, "000100", AlertDescription.DECODE_ERROR),
        (ExtensionType.ALPN, "0004026833 00", AlertDescription.DECODE_ERROR),
        (ExtensionType.SUPPORTED_GROUPS, "0000", AlertDescription.DECODE_ERROR),
        (ExtensionType.SUPPORTED_GROUPS, "0003001d00", AlertDescription.DECODE_ERROR),
        (ExtensionType.SUPPORTED_VERSIONS, "00", AlertDescription.DECODE_ERROR),
        (ExtensionType.SERVER_NAME, "0000", AlertDescription.DECODE_ERROR),
        (ExtensionType.SERVER_NAME, "0004 00 0001ff", AlertDescription.ILLEGAL_PARAMETER),
        (ExtensionType.SERVER_NAME, "0004 00 000100", AlertDescription.ILLEGAL_PARAMETER),
        (ExtensionType.SERVER_NAME, "0008 00 000161 00 000162", AlertDescription.ILLEGAL_PARAMETER),
        (ExtensionType.SERVER_NAME, "0004 07 000161", AlertDescription.DECODE_ERROR),
        (ExtensionType.COOKIE, "0000", AlertDescription.DECODE_ERROR),
    ],
)
def test_bad_extension(extension_type: int, data: str, expected: int) -> None:
    body = extension(extension_type, bytes.fromhex(data))
    assert description(ClientHello.parse, body) == expected


def test_nothing_may_follow_pre_shared_key() -> None:
    head = b"\x03\x03" + bytes(32) + b"\0" + b"\0\x02\x13\x01" + b"\x01\0"
    body = head + vector(2, b"\0\x29" + vector(2, PSKS) + b"\x0a\x0a\0\0")
    assert description(ClientHello.parse, body) == AlertDescription.ILLEGAL_PARAMETER


def test_pre_shared_key_may_stand_anywhere_in_a_server_hello() -> None:
    head = b"\x03\x03" + bytes(32) + b"\0" + b"\x13\x01" + b"\0"
    hello = ServerHello.parse(head + vector(2, bytes.fromhex("00290002 0000 002b0002 0304")))
    assert isinstance(hello, ServerHello)
    assert (hello.selected_psk, hello.supported_version) == (0, 0x0304)


def test_long_session_id() -> None:
    body = b"\x03\x03" + bytes(32) + vector(1, bytes(33)) + b"\0\x02\x13\x01" + b"\x01\0"
    assert description(ClientHello.parse, body) == AlertDescription.DECODE_ERROR


def test_server_name_is_lower_case() -> None:
    body = extension(ExtensionType.SERVER_NAME, bytes.fromhex("000a 00 0007") + b"A.Ex.B.")
    assert ClientHello.parse(body).server_name == "a.ex.b"
