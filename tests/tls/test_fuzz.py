"""Whatever a peer sends, the handshake raises Alert or nothing."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from cwt.tls import Alert, AlertDescription, Level
from cwt.tls.certificates import public_key
from tests.tls.support import (
    client_context,
    deliver,
    leaf,
    pair,
    root,
    server_context,
    server_flight,
)

MUTATIONS = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "delete", "length"]),
        st.integers(0, 1 << 16),
        st.binary(min_size=1, max_size=8),
    ),
    min_size=1,
    max_size=4,
)


def mutate(data: bytes, mutations: Any, keep_length: bool) -> bytes:
    """*data* with *mutations*; with *keep_length* the message's own length is made right again."""
    result = bytearray(data)
    for kind, position, value in mutations:
        at = position % len(result)
        if kind == "flip":
            result[at] ^= 1 << (value[0] % 8)
        elif kind == "set":
            result[at : at + len(value)] = value
        elif kind == "insert":
            result[at:at] = value
        elif kind == "delete" and len(result) > 16:
            del result[at : at + len(value)]
        elif kind == "length":
            result[at : at + 2] = b"\xff\xff"
    if keep_length and len(result) >= 4:
        result[1:4] = (len(result) - 4).to_bytes(3, "big")
    return bytes(result)


def feed(receiver: Any, level: int, data: bytes, size: int) -> None:
    try:
        for start in range(0, len(data), size):
            receiver.receive(level, data[start : start + size])
    except Alert as alert:
        assert 0 <= alert.description <= 255
        assert alert.description != AlertDescription.INTERNAL_ERROR, alert
        assert str(alert)


@cache
def contexts() -> tuple[Any, Any]:
    certificate = leaf("p256")
    return (
        client_context(
            verify=lambda chain, name: None,
            client_cert=certificate.cert_pem,
            client_key=certificate.key_pem,
        ),
        server_context(certificate, client_ca=root().cert_pem),
    )


@settings(deadline=None, max_examples=200)
@given(MUTATIONS, st.booleans(), st.sampled_from([1, 100, 1 << 16]))
def test_client_hello(mutations: Any, keep_length: bool, size: int) -> None:
    client, server = pair(*contexts())
    client.start()
    [(level, data)] = client.output()
    feed(server, level, mutate(data, mutations, keep_length), size)


@settings(deadline=None, max_examples=200)
@given(MUTATIONS, st.booleans(), st.sampled_from([1, 100, 1 << 16]))
def test_server_hello(mutations: Any, keep_length: bool, size: int) -> None:
    client, server = pair(*contexts())
    hello, _ = server_flight(client, server)
    feed(client, Level.INITIAL, mutate(hello, mutations, keep_length), size)


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 4), MUTATIONS, st.booleans())
def test_server_flight(index: int, mutations: Any, keep_length: bool) -> None:
    client, server = pair(*contexts())
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    for message in flight[:index]:
        client.receive(Level.HANDSHAKE, message)
    data = mutate(flight[index], mutations, keep_length) + b"".join(flight[index + 1 :])
    feed(client, Level.HANDSHAKE, data, 1 << 16)


@settings(deadline=None, max_examples=200)
@given(MUTATIONS)
def test_client_flight(mutations: Any) -> None:
    client, server = pair(*contexts())
    client.start()
    deliver(client, server)
    deliver(server, client)
    [(level, data)] = client.output()
    feed(server, level, mutate(data, mutations, False), 1 << 16)


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(list(Level)), st.binary(max_size=300))
def test_random_bytes(level: Level, data: bytes) -> None:
    for side in pair(*contexts()):
        side.start()
        feed(side, level, data, 7)


@settings(deadline=None, max_examples=300)
@given(MUTATIONS, st.sampled_from(["p256", "rsa"]))
def test_certificates(mutations: Any, kind: str) -> None:
    der = mutate(leaf(kind).chain[0], mutations, False)
    trusting = client_context(verify=root().cert_pem)
    pinning = client_context(server_certificate_hashes=[sha256(der).digest()])
    asking = server_context(client_ca=root().cert_pem)
    assert asking.verifier is not None
    for check in (
        lambda: trusting.verifier.check([der], "a.example"),
        lambda: trusting.verifier.check([leaf(kind).chain[0], der], "b.example"),
        lambda: pinning.verifier.check([der], "a.example"),
        lambda: asking.verifier.check([der], ""),  # type: ignore[union-attr]
        lambda: public_key(der),
    ):
        try:
            check()
        except Alert as alert:
            assert alert.certificate
