"""Resumption by clients with a certificate or a raw public key: whose session it is, and who says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import pytest

from cwt.tls import ClientContext, Identity, ServerContext, SessionCache
from cwt.tls.development import certificate_authority, issue
from cwt.tls.tickets import TICKET_LIFETIME
from tests.tls.support import (
    client_context,
    leaf,
    long_chain,
    pair,
    root,
    run,
    self_signed,
    server_context,
    spki,
)

KEYS = [bytes(range(32))]


@cache
def user(name: str = "user") -> Identity:
    certificate = issue(root(), [name], client=True)
    return Identity.from_der(certificate.chain, certificate.private_key)


def server(**options: Any) -> ServerContext:
    return server_context(ticket_keys=KEYS, **options)


def asking(**options: Any) -> ServerContext:
    return server(client_ca=root().cert_pem, **options)


def connected(client: ClientContext, context: ServerContext) -> Any:
    """The server's side of a handshake; both sides agree on how it went."""
    ours, theirs = pair(client, context)
    run(ours, theirs)
    assert ours.is_complete and theirs.is_complete and ours.is_resumed == theirs.is_resumed
    return theirs


def of(sessions: SessionCache, **options: Any) -> ClientContext:
    return client_context(session_cache=sessions, **options)


@pytest.mark.parametrize("mode", ["required", "optional"])
def test_the_server_still_knows_who_it_is(mode: Any) -> None:
    sessions = SessionCache()
    first = connected(of(sessions, client_cert=user()), asking(client_auth=mode))
    for _ in range(2):
        again = connected(of(sessions, client_cert=user()), asking(client_auth=mode))
        assert again.is_resumed
        assert again.peer_certificates == first.peer_certificates and first.peer_certificates


def test_with_intermediate_certificates() -> None:
    certificate = long_chain(client=True)
    identity = Identity.from_der(certificate.chain, certificate.private_key)
    sessions = SessionCache()
    connected(of(sessions, client_cert=identity), asking())
    again = connected(of(sessions, client_cert=identity), asking())
    assert again.is_resumed and again.peer_certificates == list(certificate.chain)


def test_a_chain_that_is_too_long_gets_no_ticket() -> None:
    authority = root()
    for number in range(30):
        authority = certificate_authority(f"number {number}", parent=authority)
    certificate = issue(authority, ["user"], client=True)
    identity = Identity.from_der(certificate.chain, certificate.private_key)
    sessions = SessionCache()
    connected(of(sessions, client_cert=identity), server(verify_client=lambda chain, name: None))
    assert len(sessions) == 0


def test_raw_public_keys() -> None:
    options: dict[str, Any] = {"raw_public_key": leaf().key_pem}
    sessions = SessionCache()
    context = server(client_public_keys=[spki(leaf())])
    connected(of(sessions, **options), context)
    again = connected(of(sessions, **options), context)
    assert again.is_resumed and again.peer_public_key == spki(leaf())
    other = connected(
        of(sessions, **options),
        server(client_ca=root().cert_pem, client_public_keys=[spki(leaf())]),
    )
    assert other.is_resumed


def test_raw_public_key_of_the_server() -> None:
    sessions = SessionCache()
    context = server(raw_public_key=leaf().key_pem)
    known = {"server_public_keys": [spki(leaf())]}
    connected(of(sessions, **known), context)
    ours, theirs = pair(of(sessions, **known), context)
    run(ours, theirs)
    assert ours.is_resumed and ours.peer_public_key == spki(leaf())
    assert ours.peer_certificates == []
    # A client that trusts another key does not go on with it, nor does one that wants a certificate.
    assert len(sessions) == 1
    other = {"server_public_keys": [spki(self_signed())]}
    assert not connected(of(sessions, **other), server()).is_resumed
    sessions = SessionCache()
    connected(of(sessions, **known), context)
    assert not connected(of(sessions), server()).is_resumed


# Sessions do not change hands.


def test_a_session_is_for_the_certificate_it_began_with() -> None:
    sessions = SessionCache()
    connected(of(sessions, client_cert=user()), asking(client_auth="optional"))
    for other in ({"client_cert": user("other")}, {}, {"raw_public_key": leaf().key_pem}):
        context = asking(client_auth="optional", client_public_keys=[spki(leaf())])
        assert not connected(of(sessions, **other), context).is_resumed
    assert connected(of(sessions, client_cert=user()), asking()).is_resumed


def test_a_session_without_a_certificate_is_none_for_a_server_that_requires_one() -> None:
    sessions = SessionCache()
    connected(of(sessions, client_cert=user()), server())
    again = connected(of(sessions, client_cert=user()), asking())
    assert not again.is_resumed and again.peer_certificates
    sessions = SessionCache()
    connected(of(sessions, client_cert=user()), server())
    again = connected(of(sessions, client_cert=user()), asking(client_auth="optional"))
    assert again.is_resumed and again.peer_certificates == []


def test_a_server_that_asks_no_more_knows_no_certificates() -> None:
    sessions = SessionCache()
    connected(of(sessions, client_cert=user()), asking())
    again = connected(of(sessions, client_cert=user()), server())
    assert not again.is_resumed and again.peer_certificates == []


# The server judges again.


def test_callback_that_changed_its_mind() -> None:
    banned: set[bytes] = set()
    seen: list[bytes] = []

    def verify(chain: list[bytes], name: str) -> bool:
        seen.append(chain[0])
        return chain[0] not in banned

    sessions = SessionCache()
    context = asking(verify_client=verify)
    connected(of(sessions, client_cert=user()), context)
    assert connected(of(sessions, client_cert=user()), context).is_resumed and len(seen) == 2
    banned.update(seen)
    with pytest.raises(Exception, match="verify_client"):
        connected(of(sessions, client_cert=user()), context)


def test_authority_that_is_gone() -> None:
    sessions = SessionCache()
    connected(of(sessions, client_cert=user()), asking())
    with pytest.raises(Exception, match="client_ca"):
        connected(
            of(sessions, client_cert=user()),
            server(client_ca=certificate_authority().cert_pem),
        )


def test_key_that_is_not_known_any_more() -> None:
    sessions = SessionCache()
    options: dict[str, Any] = {"raw_public_key": leaf().key_pem}
    connected(of(sessions, **options), server(client_public_keys=[spki(leaf())]))
    with pytest.raises(Exception, match="client_public_keys"):
        connected(of(sessions, **options), server(client_public_keys=[spki(self_signed())]))


class Clock:
    def __init__(self) -> None:
        self.time = datetime.now(UTC)

    def __call__(self) -> datetime:
        return self.time


def test_after_a_day_the_client_proves_itself_again() -> None:
    clock = Clock()
    certificate = issue(root(), ["user"], client=True)
    identity = Identity.from_der(certificate.chain, certificate.private_key)
    options: dict[str, Any] = {"verify_client": lambda chain, name: None, "now": clock}
    sessions = SessionCache()
    ours = of(sessions, client_cert=identity, now=clock, verify=False)
    resumed = []
    for _ in range(6):
        resumed.append(connected(ours, server(**options)).is_resumed)
        clock.time += timedelta(seconds=TICKET_LIFETIME / 3)
    assert resumed == [False, True, True, False, True, True]


def test_certificate_that_expired_meanwhile() -> None:
    clock = Clock()
    certificate = issue(root(), ["user"], client=True, days=0.1, now=clock.time)
    identity = Identity.from_der(certificate.chain, certificate.private_key)
    sessions = SessionCache()
    ours = of(sessions, client_cert=identity, now=clock, verify=False)
    context = asking(now=clock)
    connected(ours, context)
    clock.time += timedelta(hours=3)
    with pytest.raises(Exception, match="expired"):
        connected(ours, context)
