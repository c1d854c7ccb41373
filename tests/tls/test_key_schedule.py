from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import x25519

from cwt.tls import CipherSuite
from cwt.tls.key_schedule import KeySchedule, export, ticket_psk
from cwt.tls.messages import ClientHello
from tests.tls.support import TRACES


def trace(section: str) -> dict[str, bytes]:
    return {name: bytes.fromhex(value) for name, value in TRACES[section].items()}


def test_simple_handshake_of_rfc_8448() -> None:
    t = trace("section_3")
    schedule = KeySchedule(CipherSuite.TLS_AES_128_GCM_SHA256)
    assert schedule._secret == t["early_secret"]
    schedule.add(t["client_hello"])
    schedule.add(t["server_hello"])
    assert schedule.transcript_hash() == t["hello_hash"]
    private = x25519.X25519PrivateKey.from_private_bytes(t["client_private_key"])
    public = x25519.X25519PrivateKey.from_private_bytes(t["server_private_key"]).public_key()
    assert private.exchange(public) == t["shared_secret"]
    schedule.extract(t["shared_secret"])
    assert schedule._secret == t["handshake_secret"]
    client_secret = schedule.derive(b"c hs traffic")
    server_secret = schedule.derive(b"s hs traffic")
    assert client_secret == t["client_handshake_traffic_secret"]
    assert server_secret == t["server_handshake_traffic_secret"]
    for name in ("encrypted_extensions", "certificate", "certificate_verify"):
        schedule.add(t[name])
    assert schedule.verify_data(server_secret) == t["server_finished"][4:]
    schedule.add(t["server_finished"])
    schedule.extract()
    assert schedule._secret == t["master_secret"]
    assert schedule.derive(b"c ap traffic") == t["client_application_traffic_secret"]
    assert schedule.derive(b"s ap traffic") == t["server_application_traffic_secret"]
    assert schedule.derive(b"exp master") == t["exporter_secret"]
    assert schedule.verify_data(client_secret) == t["client_finished"][4:]
    schedule.add(t["client_finished"])
    assert schedule.derive(b"res master") == t["resumption_master_secret"]


def test_resumption_of_rfc_8448() -> None:
    t = trace("section_4")
    suite = CipherSuite.TLS_AES_128_GCM_SHA256
    secret = trace("section_3")["resumption_master_secret"]
    assert ticket_psk(suite, secret, t["ticket_nonce"]) == t["psk"]
    hello = ClientHello.parse(t["client_hello"][4:])
    assert hello.psk_modes == b"\1" and hello.psks is not None
    assert hello.psks[1] == (t["binder"],)
    schedule = KeySchedule(suite)
    assert schedule.binder(t["psk"], t["client_hello"][: -3 - 32]) == t["binder"]
    schedule.resume(t["psk"])
    assert schedule._secret == t["early_secret"]
    schedule.add(t["client_hello"])
    assert schedule.transcript_hash() == t["hello_hash"]


def test_hello_retry_request_of_rfc_8448() -> None:
    t = trace("section_5")
    schedule = KeySchedule(CipherSuite.TLS_AES_128_GCM_SHA256)
    schedule.add(t["client_hello"])
    schedule.restart()
    for name in ("hello_retry_request", "retried_client_hello", "server_hello"):
        schedule.add(t[name])
    assert schedule.transcript_hash() == t["hello_hash"]
    schedule.extract(t["shared_secret"])
    assert schedule.derive(b"c hs traffic") == t["client_handshake_traffic_secret"]
    assert schedule.derive(b"s hs traffic") == t["server_handshake_traffic_secret"]
    schedule.add(t["server_flight"])
    schedule.extract()
    assert schedule.derive(b"c ap traffic") == t["client_application_traffic_secret"]
    assert schedule.derive(b"s ap traffic") == t["server_application_traffic_secret"]
    assert schedule.derive(b"exp master") == t["exporter_secret"]


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_lengths_follow_the_hash(suite: CipherSuite) -> None:
    schedule = KeySchedule(suite)
    length = 48 if suite == CipherSuite.TLS_AES_256_GCM_SHA384 else 32
    assert len(schedule.derive(b"label")) == len(schedule.transcript_hash()) == length
    exporter = schedule.derive(b"exp master")
    assert len(export(suite, exporter, b"label", b"", 77)) == 77
    one, other = (export(suite, exporter, b"label", context, 32) for context in (b"a", b"b"))
    assert one != other
