"""Early data in TLS (RFC 8446 Section 4.2.10, RFC 9001 Section 4.6)."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cwt.tls import (
    AlertDescription,
    CipherSuite,
    ClientContext,
    ClientHandshake,
    Group,
    Level,
    ServerContext,
    ServerHandshake,
    SessionCache,
)
from cwt.tls.messages import ClientHello, EncryptedExtensions, HandshakeType
from tests.tls.support import client_context, deliver, pair, refuses, run, run_on, server_context

LIMITS = b"limits of the server"


class Clock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


class Party:
    """A client and a server that know each other."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.cache = SessionCache()
        self.options = {"early_data": True, "now": self.clock}
        self.client_options: dict[str, Any] = {}
        self.server = server_context(**self.options | options)
        self.limits = LIMITS
        run(*self.sides())
        assert len(self.cache) == 1

    def client(self, **options: Any) -> ClientContext:
        merged = {"session_cache": self.cache, **self.options, **self.client_options, **options}
        return client_context(**merged)

    def sides(
        self, client: ClientContext | None = None, server: ServerContext | None = None
    ) -> tuple[ClientHandshake, ServerHandshake]:
        ours, theirs = pair(client or self.client(), server or self.server)
        theirs.remembered_parameters = self.limits
        ours.remembered_parameters = self.limits  # QUIC would, when it has seen them
        return ours, theirs

    def offers(self, **options: Any) -> tuple[ClientHello, bytes]:
        """A ClientHello with early data."""
        client, _ = self.sides(self.client(**options))
        client.start()
        [(_, data)] = client.output()
        hello = ClientHello.parse(data[4:])
        return hello, data

    def answer(self, data: bytes, server: ServerContext | None = None) -> ServerHandshake:
        """What the server makes of the ClientHello *data*."""
        answering = (server or self.server).handshake(b"")
        answering.remembered_parameters = self.limits
        answering.receive(Level.INITIAL, data)
        return answering


def early_secrets(side: ClientHandshake | ServerHandshake) -> list[tuple[bool, int, bytes]]:
    return [
        (s.is_write, s.cipher_suite, s.secret) for s in side.secrets() if s.level == Level.EARLY
    ]


@pytest.mark.parametrize("suite", list(CipherSuite))
def test_both_sides_have_the_same_secret(suite: CipherSuite) -> None:
    party = Party(cipher_suites=[suite])
    client, server = party.sides()
    client.start()
    assert client.alpn == b"h3" and client.early_parameters == LIMITS
    [(is_write, ours, secret)] = early_secrets(client)
    assert is_write and ours == suite
    deliver(client, server)
    assert early_secrets(server) == [(False, suite, secret)]
    assert server.early_data_accepted and client.early_data_accepted is None
    run_on(client, server)
    assert client.is_complete and server.is_complete
    assert client.early_data_accepted and client.early_data_reason == "accepted"


def test_the_secret_is_logged() -> None:
    lines: list[str] = []

    class Log:
        def write(self, text: str) -> int:
            lines.append(text)
            return len(text)

        def flush(self) -> None: ...

    party = Party(keylog_file=Log())
    assert not any("EARLY" in line for line in lines)
    client, server = party.sides()
    run(client, server)
    [line] = [line for line in lines if line.startswith("CLIENT_EARLY_TRAFFIC_SECRET")]
    [(_, _, secret)] = early_secrets(client)
    assert line.split()[2] == secret.hex()


def test_it_has_to_be_wanted() -> None:
    party = Party()
    hello, _ = party.offers(early_data=False)
    assert hello.psks is not None and not hello.early_data


def test_tickets_of_a_server_without_it() -> None:
    party = Party(early_data=False)
    hello, _ = party.offers()
    assert hello.psks is not None and not hello.early_data


def test_not_without_the_parameters_to_keep_to() -> None:
    party = Party()
    party.limits = b""
    run(*party.sides())
    hello, _ = party.offers()
    assert hello.psks is not None and not hello.early_data


def test_not_without_the_cipher_suite_of_the_session() -> None:
    party = Party(cipher_suites=[0x1301, 0x1303])
    hello, _ = party.offers(cipher_suites=[0x1303])
    assert hello.psks is not None and not hello.early_data


def test_a_session_of_another_quic_version_is_not_used() -> None:
    party = Party()
    client, _ = party.sides()
    client.original_version = 0x6B3343CF
    client.start()
    [(_, data)] = client.output()
    assert ClientHello.parse(data[4:]).psks is None
    client, server = party.sides()
    server.original_version = 0x6B3343CF
    run(client, server)
    assert client.is_complete and not client.is_resumed and client.early_data_accepted is False


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("limits", "limits or settings"),
        ("context", "limits or settings"),
        ("off", "off"),
        ("keys", "not resumed"),
        ("suite", "cipher suite"),
        ("old", "fresh"),
    ],
)
def test_what_the_server_refuses_is_resumed_all_the_same(change: str, why: str) -> None:
    keys = [bytes(range(32))]
    party = Party(ticket_keys=keys, cipher_suites=[0x1301])
    hello, data = party.offers()
    assert hello.early_data
    options: dict[str, Any] = party.options | {"ticket_keys": keys}
    if change == "limits":
        party.limits = b"other limits"
    elif change == "context":
        options["early_data_context"] = b"settings"
    elif change == "off":
        options["early_data"] = False
    elif change == "keys":
        options["ticket_keys"] = [bytes(32)]
    elif change == "suite":
        options["cipher_suites"] = [0x1303]
    else:
        party.clock.time += timedelta(seconds=11)
    server = party.answer(data, server_context(**options))
    assert server.early_data_accepted is False
    assert why in (server.early_data_reason or "")
    assert early_secrets(server) == []
    assert server.is_resumed == (change != "keys")


def test_the_client_learns_of_it() -> None:
    party = Party()
    party.limits = b"other limits"
    client, server = party.sides()
    client.start()
    deliver(client, server)
    deliver(server, client)
    assert client.early_data_accepted is False and client.is_complete and client.is_resumed
    party = Party()
    client, server = party.sides(server=server_context(**party.options))
    run(client, server)
    assert client.early_data_accepted is False and not client.is_resumed
    assert "resume" in (client.early_data_reason or "")


# Replays (RFC 8446 Section 8).


def test_a_hello_counts_once() -> None:
    party = Party()
    _, data = party.offers()
    assert party.answer(data).early_data_accepted
    for seconds in (0, 5, 9, 30, 3600):
        party.clock.time += timedelta(seconds=seconds)
        again = party.answer(data)
        assert again.early_data_accepted is False and again.is_resumed
        assert early_secrets(again) == []


def test_another_hello_with_the_same_ticket_counts_no_more() -> None:
    party = Party()
    session = party.cache.take("localhost", b"h3", party.clock.time.timestamp())
    assert session is not None
    accepted = []
    for _ in range(3):
        party.cache.put("localhost", session)
        _, data = party.offers()
        accepted.append(party.answer(data).early_data_accepted)
    assert accepted == [True, False, False]


def test_a_wrong_binder_uses_nothing_up() -> None:
    party = Party()
    _, data = party.offers()
    refuses(party.server.handshake(b""), Level.INITIAL, data[:-1] + bytes([data[-1] ^ 1]))
    assert party.answer(data).early_data_accepted


def test_a_server_that_has_just_started_does_not_know_what_the_one_before_took() -> None:
    keys = [bytes(range(32))]
    party = Party(ticket_keys=keys)
    party.clock.time += timedelta(seconds=60)
    options = party.options | {"ticket_keys": keys}
    started = server_context(**options)
    _, data = party.offers()
    reason = party.answer(data, started).early_data_reason or ""
    assert "just started" in reason
    run(*party.sides(server=started))
    party.clock.time += timedelta(seconds=11)
    _, data = party.offers()
    assert party.answer(data, started).early_data_accepted


def test_workers_that_share_keys_can_share_a_store() -> None:
    keys = [bytes(range(32))]
    used: set[bytes] = set()

    def first_use(identifier: bytes, now: float, expires: float) -> bool:
        assert now < expires <= now + 20
        new = identifier not in used
        used.add(identifier)
        return new

    options: dict[str, Any] = {"ticket_keys": keys, "early_data_store": first_use}
    party = Party(**options)
    other = server_context(**party.options | options)
    _, data = party.offers()
    assert party.answer(data, other).early_data_accepted
    assert party.answer(data).early_data_accepted is False


# HelloRetryRequest (RFC 8446 Section 4.1.2).


def test_a_retried_hello_has_none() -> None:
    keys = [bytes(range(32))]
    party = Party(ticket_keys=keys)
    options = party.options | {"ticket_keys": keys}
    client, server = party.sides(server=server_context(groups=[Group.SECP384R1], **options))
    client.start()
    deliver(client, server)
    assert server.early_data_accepted is None
    deliver(server, client)
    assert client.early_data_accepted is False and "ClientHello" in (client.early_data_reason or "")
    [(_, data)] = client.output()
    hello = ClientHello.parse(data[4:])
    assert not hello.early_data and hello.psks is not None
    server.receive(Level.INITIAL, data)
    run_on(client, server)
    assert client.is_complete and client.is_resumed and server.is_resumed
    assert not server.early_data_accepted and early_secrets(server) == []


def test_a_retried_hello_must_have_none() -> None:
    party = Party()
    hello, _ = party.offers()
    server = server_context(groups=[Group.SECP384R1], **party.options).handshake(b"")
    bare = replace(hello, psks=None, early_data=True)
    server.receive(Level.INITIAL, bare.pack())
    alert = refuses(server, Level.INITIAL, bare.pack())
    assert alert.description == AlertDescription.ILLEGAL_PARAMETER


# Hostile peers.


def test_without_a_session_it_means_nothing() -> None:
    party = Party()
    hello, _ = party.offers()
    server = party.answer(replace(hello, psks=None).pack())
    assert server.early_data_accepted is False and not server.is_resumed
    assert server.output()


def test_it_is_for_the_first_session_only() -> None:
    party = Party()
    session = party.cache.take("localhost", b"h3", party.clock.time.timestamp())
    assert session is not None
    party.cache.put("localhost", session)
    client, _ = party.sides()
    client._offer_session()
    client._generate(client._context.key_share_groups)
    assert client._hello.psks is not None
    (identity,), (binder,) = client._hello.psks
    client._hello = replace(
        client._hello, psks=(((b"unknown", 0), identity), (bytes(32), bytes(len(binder))))
    )
    message = client._hello.pack()
    from cwt.tls.codec import vector
    from cwt.tls.key_schedule import KeySchedule, hash_length

    length = hash_length(session.cipher_suite)
    partial = message[: -2 - 33 - 1 - length]
    real = KeySchedule(session.cipher_suite).binder(session.psk, partial)
    data = partial + vector(2, vector(1, bytes(32)) + vector(1, real))
    server = party.answer(data)
    assert server.is_resumed and server.early_data_accepted is False
    assert "another session" in (server.early_data_reason or "")


def altered(client: ClientHandshake, server: ServerHandshake, **changes: Any) -> Any:
    """The alert of *client* for EncryptedExtensions that are changed."""
    client.start()
    deliver(client, server)
    (_, hello), (_, flight) = server.output()
    client.receive(Level.INITIAL, hello)
    assert flight[0] == HandshakeType.ENCRYPTED_EXTENSIONS
    end = 4 + int.from_bytes(flight[1:4], "big")
    extensions = replace(EncryptedExtensions.parse(flight[4:end]), **changes)
    return refuses(client, Level.HANDSHAKE, extensions.pack())


def test_a_server_that_takes_what_was_not_offered() -> None:
    alert = altered(*pair(), early_data=True)
    assert alert.description == AlertDescription.UNSUPPORTED_EXTENSION
    party = Party()
    alert = altered(*party.sides(server=server_context(**party.options)), early_data=True)
    assert alert.description == AlertDescription.ILLEGAL_PARAMETER, "the session was not resumed"


def test_a_server_that_takes_it_for_another_protocol() -> None:
    party = Party(alpn=[b"h3", b"hq"])
    sides = party.sides(party.client(alpn=[b"h3", b"hq"]))
    alert = altered(*sides, alpn=(b"hq",))
    assert alert.description == AlertDescription.ILLEGAL_PARAMETER


def test_a_server_that_refuses_it_and_changes_the_protocol() -> None:
    """It would have to be sent again, in a protocol that it was not written for."""
    party = Party(alpn=[b"h3", b"hq"])
    sides = party.sides(party.client(alpn=[b"h3", b"hq"]))
    alert = altered(*sides, alpn=(b"hq",), early_data=False)
    assert alert.description == AlertDescription.NO_APPLICATION_PROTOCOL


def test_end_of_early_data_has_no_place_in_quic() -> None:
    party = Party()
    client, server = party.sides()
    client.start()
    deliver(client, server)
    alert = refuses(server, Level.HANDSHAKE, bytes([HandshakeType.END_OF_EARLY_DATA, 0, 0, 0]))
    assert alert.description == AlertDescription.UNEXPECTED_MESSAGE


# What the application remembers.


def test_data_of_the_application_comes_with_the_session() -> None:
    party = Party()
    client, server = party.sides()
    client.remember(b"before the ticket")
    run(client, server)
    client, server = party.sides()
    client.start()
    assert client.early_session_data == b"before the ticket"
    run_on(client, server)
    client.remember(b"behind the ticket")
    client, server = party.sides()
    client.start()
    assert client.early_session_data == b"behind the ticket"
