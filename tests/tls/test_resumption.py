"""Sessions of our client resumed by our server (RFC 8446 Sections 2.2 and 4.2.11)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cwt.tls import AlertDescription, CipherSuite, ClientContext, Group, Level, ServerContext
from cwt.tls.messages import ClientHello, HandshakeType, NewSessionTicket
from cwt.tls.sessions import SessionCache
from cwt.tls.tickets import TICKET_LIFETIME
from tests.tls.support import (
    client_context,
    deliver,
    leaf,
    pair,
    refuses,
    root,
    run,
    run_on,
    self_signed,
    server_context,
    split,
)


class Clock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def client_of(cache: SessionCache, **options: Any) -> ClientContext:
    return client_context(session_cache=cache, **options)


def primed(server: ServerContext, name: str = "localhost", **options: Any) -> SessionCache:
    """A cache with one session of *server*."""
    cache = SessionCache()
    client, answering = pair(client_of(cache, **options), server, name)
    run(client, answering)
    assert not client.is_resumed and not answering.is_resumed
    assert len(cache) == 1
    return cache


def resumes(client: ClientContext, server: ServerContext, name: str = "localhost") -> bool:
    """A whole handshake; whether it resumed a session, which both sides must agree on."""
    ours, theirs = pair(client, server, name)
    run(ours, theirs)
    assert ours.is_complete and theirs.is_complete
    assert ours.is_resumed == theirs.is_resumed
    exported = [side.export_keying_material(b"label", b"", 32) for side in (ours, theirs)]
    assert exported[0] == exported[1]
    assert ours.alpn == theirs.alpn == b"h3"
    assert ours.peer_certificates
    return ours.is_resumed


@pytest.mark.parametrize("suite", list(CipherSuite))
@pytest.mark.parametrize("group", [Group.X25519, Group.SECP256R1])
def test_resumption(suite: CipherSuite, group: Group) -> None:
    server = server_context()
    options: Any = {"cipher_suites": [suite], "groups": [group]}
    cache = primed(server, **options)
    assert resumes(client_of(cache, **options), server)
    assert resumes(client_of(cache, **options), server), "it brought a ticket of its own"


def test_no_certificate_is_sent_again_and_it_is_known_all_the_same() -> None:
    server = server_context()
    cache = primed(server)
    client, answering = pair(client_of(cache), server)
    client.start()
    deliver(client, answering)
    (_, _), (_, flight) = answering.output()
    types = [message[0] for message in split(flight)]
    assert types == [HandshakeType.ENCRYPTED_EXTENSIONS, HandshakeType.FINISHED]
    client, answering = pair(client_of(primed(server)), server)
    run(client, answering)
    assert client.peer_certificates == list(self_signed().chain)


def test_secrets_agree_and_are_new() -> None:
    server = server_context()
    client, answering = pair(client_of(primed(server)), server)
    run(client, answering)
    ours = {(s.level, s.is_write, s.secret) for s in client.secrets()}
    theirs = {(s.level, not s.is_write, s.secret) for s in answering.secrets()}
    assert ours == theirs and len(ours) == 4


def test_without_a_cache_nothing_is_offered_and_no_ticket_comes() -> None:
    client, server = pair()
    client.start()
    [(_, data)] = client.output()
    hello = ClientHello.parse(data[4:])
    assert hello.psk_modes is None and hello.psks is None
    server.receive(Level.INITIAL, data)
    run_on(client, server)
    assert server.is_complete and server.output() == []


def test_tickets_can_be_switched_off() -> None:
    cache = SessionCache()
    run(*pair(client_of(cache), server_context(session_tickets=False)))
    assert len(cache) == 0


def test_early_data_is_never_offered() -> None:
    server = server_context()
    client, answering = pair(client_of(SessionCache()), server)
    client.start()
    while deliver(client, answering) and not answering.is_complete:
        deliver(answering, client)
    [(level, data)] = answering.output()
    assert level == Level.APPLICATION
    assert NewSessionTicket.parse(data[4:]).max_early_data_size is None


def test_a_server_process_with_the_same_keys_resumes() -> None:
    keys = [bytes(range(32))]
    cache = primed(server_context(ticket_keys=keys))
    assert resumes(client_of(cache), server_context(ticket_keys=keys))


def test_a_server_with_other_keys_does_not() -> None:
    assert not resumes(client_of(primed(server_context())), server_context())


def test_expired_ticket_of_the_client() -> None:
    clock = Clock()
    server = server_context()
    cache = primed(server, now=clock)
    clock.time += timedelta(seconds=TICKET_LIFETIME)
    assert not resumes(client_of(cache, now=clock), server)


def test_expired_ticket_at_the_server() -> None:
    clock = Clock()
    server = server_context(now=clock, ticket_keys=[bytes(32)])
    cache = primed(server)
    clock.time += timedelta(seconds=TICKET_LIFETIME + 1)
    assert not resumes(client_of(cache), server)


def test_ticket_is_bound_to_the_server_name() -> None:
    certificate = leaf()
    server = server_context(certificate)
    options: Any = {"verify": root().cert_pem}
    cache = primed(server, "localhost", **options)
    session = cache.take("localhost", b"h3", Clock().time.timestamp())
    assert session is not None
    cache.put("a.example", session)
    assert not resumes(client_of(cache, **options), server, "a.example")


def test_ticket_is_bound_to_the_protocol() -> None:
    server = server_context(alpn=[b"h3", b"hq"])
    cache = primed(server)
    session = cache.take("localhost", b"h3", Clock().time.timestamp())
    assert session is not None
    cache.put("localhost", session._replace(alpn=b"hq"))
    client, answering = pair(client_of(cache, alpn=[b"hq"]), server)
    run(client, answering)
    assert answering.is_complete and not answering.is_resumed


def test_ticket_is_bound_to_the_hash() -> None:
    server = server_context()
    cache = primed(server, cipher_suites=[0x1302])
    assert not resumes(client_of(cache, cipher_suites=[0x1301, 0x1303]), server)
    cache = primed(server, cipher_suites=[0x1301])
    assert resumes(client_of(cache, cipher_suites=[0x1303]), server), "the hash is the same"


def test_server_that_prefers_another_hash_does_not_resume() -> None:
    keys = [bytes(32)]
    cache = primed(server_context(ticket_keys=keys, cipher_suites=[0x1301]))
    other = server_context(ticket_keys=keys, cipher_suites=[0x1302, 0x1301])
    assert not resumes(client_of(cache), other)


def test_a_certificate_that_is_not_trusted_any_more_is_not_resumed() -> None:
    server = server_context()
    cache = primed(server, verify=False)
    with pytest.raises(Exception, match="server_certificate_hashes"):
        resumes(client_of(cache, server_certificate_hashes=[bytes(32)]), server)
    assert len(cache) == 0


@pytest.mark.parametrize("retried", [Group.SECP256R1, Group.SECP384R1])
def test_hello_retry_request(retried: Group) -> None:
    keys = [bytes(32)]
    cache = primed(server_context(ticket_keys=keys))
    assert resumes(client_of(cache), server_context(ticket_keys=keys, groups=[retried]))


def test_hello_retry_request_with_another_hash_drops_the_psk() -> None:
    keys = [bytes(32)]
    cache = primed(server_context(ticket_keys=keys, cipher_suites=[0x1301]))
    server = server_context(ticket_keys=keys, cipher_suites=[0x1302], groups=[Group.SECP256R1])
    client, answering = pair(client_of(cache), server)
    client.start()
    deliver(client, answering)
    deliver(answering, client)
    [(_, data)] = client.output()
    assert ClientHello.parse(data[4:]).psks is None
    answering.receive(Level.INITIAL, data)
    run_on(client, answering)
    assert client.is_complete and not client.is_resumed


def offered(server: ServerContext) -> tuple[ClientHello, bytes]:
    """A ClientHello that resumes a session of *server*."""
    client, _ = pair(client_of(primed(server)), server)
    client.start()
    [(_, data)] = client.output()
    return ClientHello.parse(data[4:]), data


@pytest.mark.parametrize("ticket", [b"t", bytes(44), bytes(1024), bytes(60000)])
def test_hostile_tickets_fall_back_to_the_full_handshake(ticket: bytes) -> None:
    server = server_context()
    hello, _ = offered(server)
    answering = server.handshake(b"")
    answering.receive(Level.INITIAL, replace(hello, psks=(((ticket, 0),), (bytes(32),))).pack())
    assert not answering.is_resumed
    (_, _), (_, flight) = answering.output()
    assert HandshakeType.CERTIFICATE in [message[0] for message in split(flight)]


def test_many_identities_are_not_all_tried() -> None:
    server = server_context()
    hello, _ = offered(server)
    assert hello.psks is not None
    (identity,), (binder,) = hello.psks
    answering = server.handshake(b"")
    bad = ((b"x", 0),) * 200
    many = replace(hello, psks=((*bad, identity), (*(bytes(32),) * 200, binder)))
    answering.receive(Level.INITIAL, many.pack())
    assert not answering.is_resumed and answering.output()


def test_wrong_binder() -> None:
    server = server_context()
    _, data = offered(server)
    alert = refuses(server.handshake(b""), Level.INITIAL, data[:-1] + bytes([data[-1] ^ 1]))
    assert alert.description == AlertDescription.DECRYPT_ERROR


def test_binder_covers_the_hello() -> None:
    server = server_context()
    hello, _ = offered(server)
    changed = replace(hello, random=bytes(32)).pack()
    alert = refuses(server.handshake(b""), Level.INITIAL, changed)
    assert alert.description == AlertDescription.DECRYPT_ERROR


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"psk_modes": None}, AlertDescription.MISSING_EXTENSION),
        ({"psks": (((b"t", 0),), (bytes(32),) * 2)}, AlertDescription.ILLEGAL_PARAMETER),
        ({"psks": (((b"t", 0),) * 2, (bytes(32),))}, AlertDescription.ILLEGAL_PARAMETER),
    ],
)
def test_malformed_offers(changes: dict[str, Any], expected: int) -> None:
    server = server_context()
    hello, _ = offered(server)
    alert = refuses(server.handshake(b""), Level.INITIAL, replace(hello, **changes).pack())
    assert alert.description == expected


def test_psk_without_key_exchange_is_not_resumed() -> None:
    server = server_context()
    hello, _ = offered(server)
    answering = server.handshake(b"")
    answering.receive(Level.INITIAL, replace(hello, psk_modes=b"\0").pack())
    assert not answering.is_resumed and answering.output()


def server_hello_of(server: ServerContext, client: Any) -> Any:
    from cwt.tls.messages import ServerHello

    answering = server.handshake(b"")
    client.start()
    deliver(client, answering)
    (_, data), _ = answering.output()
    return ServerHello.parse(data[4:])


@pytest.mark.parametrize("changes", [{"selected_psk": 1}, {"cipher_suite": 0x1302}])
def test_server_that_takes_what_was_not_offered(changes: dict[str, Any]) -> None:
    server = server_context(cipher_suites=[0x1301])
    client, _ = pair(client_of(primed(server)), server)
    hello = server_hello_of(server, client)
    assert hello.selected_psk == 0
    alert = refuses(client, Level.INITIAL, replace(hello, **changes).pack())
    assert alert.description == AlertDescription.ILLEGAL_PARAMETER


def test_a_resumed_server_must_not_send_a_certificate() -> None:
    server = server_context()
    cache = primed(server)
    client, answering = pair(client_of(cache), server)
    client.start()
    deliver(client, answering)
    (_, hello), (_, flight) = answering.output()
    client.receive(Level.INITIAL, hello)
    client.receive(Level.HANDSHAKE, split(flight)[0])
    from cwt.tls.messages import Certificate

    certificate = Certificate(chain=self_signed().chain).pack()
    assert refuses(client, Level.HANDSHAKE, certificate).description == 10


def test_state_of_the_handshake_goes_when_it_is_complete() -> None:
    client, server = pair(client_of(SessionCache()))
    run(client, server)
    for side in (client, server):
        assert not hasattr(side, "_schedule")
        assert not side._client_secret and not side._server_secret
    assert client.export_keying_material(b"l", b"", 9) == server.export_keying_material(
        b"l", b"", 9
    )
