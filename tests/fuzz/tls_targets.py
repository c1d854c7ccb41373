"""TLS in both roles: messages of other stacks, mutated, and real handshakes with one message changed."""

from __future__ import annotations

import time
from functools import cache, partial
from random import Random
from typing import Any

from cwt._core.wire.params import TransportParameters
from cwt.tls import Alert, ClientContext, Level, ServerContext, SessionCache
from cwt.tls.compression import compress, configured, decompress
from cwt.tls.development import (
    DevelopmentCertificate,
    certificate_authority,
    development_certificate,
    issue,
)
from cwt.tls.identity import Identity
from cwt.tls.messages import MAX_MESSAGE_LENGTH, EncryptedExtensions
from cwt.tls.public_keys import parse_raw
from cwt.tls.sessions import SessionTicket
from tests.fuzz import corpora, inputs
from tests.fuzz.target import Target
from tests.sim.world import NAME, server_context

WORKING = configured(None)
PARAMETERS = TransportParameters(initial_max_data=1000, max_idle_timeout=1000).encode()


class TlsServer(Target):
    """ClientHellos, in pieces, and what may follow them."""

    name = "tls-server"
    share = 0.3

    def start(self) -> None:
        self.context = server_context(b"h3")
        cache = SessionCache()
        cache.put(NAME, first_session(self.context))
        resuming = client_of(cache).handshake(NAME, PARAMETERS)
        resuming.start()
        raw = ClientContext(
            alpn=[b"h3"],
            server_public_keys=lambda key, name: None,
            raw_public_key=development_certificate().private_key,
        ).handshake(NAME, PARAMETERS)
        raw.start()
        self.hellos = [
            *corpora.client_hellos(),
            *(data for client in (resuming, raw) for _, data in client.output()),
        ]

    def make(self, rng: Random) -> bytes:
        if rng.random() < 0.05:
            return inputs.mixed(rng, self.hellos)
        data = bytearray(inputs.mutated(rng, rng.choice(self.hellos)))
        if len(data) > 4 and rng.random() < 0.8:  # past the check of the message's own length
            data[0:4] = b"\x01" + (len(data) - 4).to_bytes(3, "big")
        return bytes(data)

    def feed(self, data: bytes) -> None:
        handshake = self.context.handshake(PARAMETERS)
        handshake.start()
        feed_tls(handshake, data)


class TlsClient(Target):
    """A server's messages, in clear as in RFC 8448: the client has no keys to compare them with."""

    name = "tls-client"
    share = 0.15

    def start(self) -> None:
        self.context = ClientContext(
            alpn=[b"h3"], server_public_keys=lambda key, name: None, groups=[0x001D]
        )
        self.messages = [*corpora.server_messages(), *certificate_messages()]

    def make(self, rng: Random) -> bytes:
        messages = self.messages
        return inputs.mixed(rng, messages, lambda rng: rng.choice(messages) + rng.choice(messages))

    def feed(self, data: bytes) -> None:
        handshake = self.context.handshake(NAME, PARAMETERS)
        handshake.start()
        feed_tls(handshake, data)


class TlsExchange(Target):
    """Real handshakes, full and resumed, in which one message is changed on its way, or the ticket.

    In some both sides have certificates that are compressed, in others raw public keys.
    """

    name = "tls-exchange"
    share = 0.2

    def start(self) -> None:
        self.server_context = server_context(b"h3")
        self.session = first_session(self.server_context)
        self.mutual = [with_certificates(), with_raw_public_keys()]

    def make(self, rng: Random) -> bytes:
        return rng.randbytes(8)

    def feed(self, data: bytes) -> None:
        rng = Random(data)
        changed = rng.randrange(6)
        if rng.random() < 0.4:
            ours, theirs = rng.choice(self.mutual)
            exchange(rng, ours.handshake(NAME, PARAMETERS), theirs.handshake(PARAMETERS), changed)
            return
        cache = SessionCache()
        if rng.random() < 0.6:
            session = self.session
            if rng.random() < 0.3:
                session = session._replace(ticket=inputs.mutated(rng, session.ticket) or b"t")
            cache.put(NAME, session)
        client = client_of(cache).handshake(NAME, PARAMETERS)
        exchange(rng, client, self.server_context.handshake(PARAMETERS), changed)


class TlsCertificates(Target):
    """What may stand in a Certificate message: compressed, as a chain, as a raw public key."""

    name = "tls-certificates"
    share = 0.5

    def start(self) -> None:
        self.bodies = [message[4:] for message in certificate_messages()]

    def make(self, rng: Random) -> bytes:
        return inputs.mutated(rng, rng.choice(self.bodies))

    def feed(self, data: bytes) -> None:
        for parse in (partial(decompress, data, WORKING), partial(parse_raw, data[-93:-2])):
            try:
                found: object = parse()
            except Alert as alert:
                assert 0 <= alert.description <= 255
            else:
                assert not isinstance(found, bytes) or len(found) <= MAX_MESSAGE_LENGTH


def exchange(rng: Random, client: Any, server: Any, changed: int) -> None:
    """A handshake whose message number *changed* is not the one that was sent."""
    client.start()
    server.start()
    count = 0
    try:
        for _ in range(3):
            for sender, receiver in ((client, server), (server, client)):
                for level, message in sender.output():
                    if count == changed:
                        message = changed_message(rng, message)
                    count += 1
                    receiver.receive(level, message)
    except Alert as alert:
        assert 0 <= alert.description <= 255
    client.secrets()
    server.secrets()


@cache
def long_chain(*, client: bool) -> DevelopmentCertificate:
    """One that is worth compressing."""
    authority = certificate_authority(parent=certificate_authority())
    return issue(authority, [NAME, *(f"host-{i}.example" for i in range(30))], client=client)


def with_certificates() -> tuple[ClientContext, ServerContext]:
    server, user = long_chain(client=False), long_chain(client=True)
    return (
        ClientContext(
            alpn=[b"h3"],
            verify=lambda chain, name: None,
            client_cert=Identity.from_der(user.chain, user.private_key),
            groups=[0x001D],
        ),
        ServerContext(
            alpn=[b"h3"],
            certificate_chain=server.chain,
            private_key=server.private_key,
            verify_client=lambda chain, name: None,
            client_auth="optional",
        ),
    )


def with_raw_public_keys() -> tuple[ClientContext, ServerContext]:
    key = development_certificate().private_key
    return (
        ClientContext(
            alpn=[b"h3"],
            server_public_keys=lambda key, name: None,
            raw_public_key=key,
            groups=[0x001D],
        ),
        ServerContext(alpn=[b"h3"], raw_public_key=key, client_public_keys=lambda key, name: None),
    )


@cache
def certificate_messages() -> list[bytes]:
    """Messages of RFC 7250 and RFC 8879, which RFC 8448 does not have."""
    chain = long_chain(client=False)
    identity = Identity.from_der(chain.chain, chain.private_key)
    extensions = EncryptedExtensions(
        alpn=(b"h3",),
        transport_parameters=PARAMETERS,
        server_certificate_type=2,
        client_certificate_type=0,
    )
    return [
        extensions.pack(),
        Identity.raw(chain.private_key).message,
        *(compress(number, identity.message) for number in (1, 2, 3) if number in WORKING),
    ]


def client_of(cache: SessionCache) -> ClientContext:
    return ClientContext(
        alpn=[b"h3"], verify=lambda chain, name: None, groups=[0x001D], session_cache=cache
    )


def first_session(context: Any) -> SessionTicket:
    """The session that a full handshake with the server of *context* leaves behind."""
    cache = SessionCache()
    client, server = client_of(cache).handshake(NAME, PARAMETERS), context.handshake(PARAMETERS)
    client.start()
    for _ in range(3):
        for sender, receiver in ((client, server), (server, client)):
            for level, message in sender.output():
                receiver.receive(level, message)
    session = cache.take(NAME, b"h3", time.time())
    assert session is not None
    return session


def changed_message(rng: Random, flight: bytes) -> bytes:
    """*flight* with one of its messages mutated, mostly with its own length made right again."""
    messages = []
    while flight:
        size = 4 + int.from_bytes(flight[1:4], "big")
        messages.append(flight[:size])
        flight = flight[size:]
    index = rng.randrange(len(messages))
    data = bytearray(inputs.mutated(rng, messages[index], messages))
    if len(data) >= 4 and rng.random() < 0.7:
        data[1:4] = (len(data) - 4).to_bytes(3, "big")
    messages[index] = bytes(data)
    return b"".join(messages)


def feed_tls(handshake: Any, data: bytes) -> None:
    step = max(1, len(data) // 3)
    try:
        for start in range(0, len(data), step):
            handshake.receive(int(Level.INITIAL), data[start : start + step])
            handshake.receive(int(Level.HANDSHAKE), data[start // 2 : start])
    except Alert as alert:
        assert 0 <= alert.description <= 255
    handshake.output()
    handshake.secrets()
