"""Sessions that a client can resume (RFC 8446 Section 2.2)."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from cwt.errors import ConfigError

__all__ = ["SessionCache", "SessionTicket"]

MAX_LIFETIME = 604800
"""Seconds that a ticket is kept at most, and that a server need not sign (RFC 8446 Section 4.6.1)."""

MAX_TICKET_LENGTH = 16384
"""Bytes of a ticket that is kept at most."""

MAX_TOKEN_LENGTH = 1024
"""Bytes of a token that is kept at most."""

_Key = tuple[str, bytes, int, bytes]
"""Server name, application protocol, QUIC version, identity of the client."""


class SessionTicket(NamedTuple):
    """A ticket of a server, with the secret that belongs to it."""

    ticket: bytes
    psk: bytes
    cipher_suite: int
    age_add: int
    received: float
    """Unix time in seconds."""
    authenticated: float
    """When the server last proved that it has the certificate's key (Unix time)."""
    lifetime: int
    """Seconds for which the server takes it."""
    alpn: bytes
    peer_certificates: tuple[bytes, ...]
    """The server's certificates (DER) in the handshake that authenticated it."""
    early_data: bool = False
    """Whether the server may take 0-RTT with it (RFC 8446 Section 4.2.10)."""
    parameters: bytes = b""
    """The server's transport parameters that 0-RTT has to keep to (RFC 9000 Section 7.4.1)."""
    application: bytes = b""
    """What the application remembers for 0-RTT, such as SETTINGS (RFC 9114 Section 7.2.4.2)."""
    version: int = 1
    """The QUIC version it is for (RFC 9369 Section 5)."""
    client_identity: bytes = b""
    """A digest of the certificate or key that the client has to show; empty for none."""
    peer_public_key: bytes = b""
    """The server's raw public key (DER) in the place of certificates (RFC 7250)."""

    def is_fresh(self, now: float) -> bool:
        """Whether the server would still take it, and proved itself not too long ago."""
        return -2 <= now - self.received < self.lifetime and now - self.authenticated < MAX_LIFETIME

    def obfuscated_age(self, now: float) -> int:
        """The obfuscated_ticket_age (RFC 8446 Section 4.2.11.1)."""
        return (max(int((now - self.received) * 1000), 0) + self.age_add) & 0xFFFFFFFF


class SessionCache:
    """Remembers sessions in memory, so that connecting again takes less of a handshake.

    For each of the *max_servers* servers used last, and each application protocol, it keeps the newest
    *max_tickets* tickets.  Each is used once, so that connections cannot be linked by it (RFC 8446
    Appendix C.4).  Clients may share a cache: the certificate that came with a session is judged again by
    the client that wants to resume it.

    Tokens by which a server knows an address again (RFC 9000 Section 8.1.3) are kept in the same way.
    """

    def __init__(self, max_servers: int = 256, max_tickets: int = 4) -> None:
        if max_servers < 1 or max_tickets < 1:
            raise ConfigError("max_servers and max_tickets must be at least 1")
        self._max_servers = max_servers
        self._max_tickets = max_tickets
        self._tickets: OrderedDict[_Key, list[SessionTicket]] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, int], list[bytes]] = OrderedDict()

    def __len__(self) -> int:
        """How many tickets there are."""
        return sum(map(len, self._tickets.values()))

    def clear(self) -> None:
        """Forget everything."""
        self._tickets.clear()
        self._tokens.clear()

    def put(self, server_name: str, ticket: SessionTicket) -> None:
        """Remember *ticket* of *server_name*; one of more than 16 KiB is not worth its place."""
        if len(ticket.ticket) > MAX_TICKET_LENGTH:
            return
        key = (server_name, ticket.alpn, ticket.version, ticket.client_identity)
        tickets = self._tickets.setdefault(key, [])
        self._tickets.move_to_end(key)
        tickets.append(ticket)
        del tickets[: -self._max_tickets]
        if len(self._tickets) > self._max_servers:
            self._tickets.popitem(last=False)

    def take(
        self, server_name: str, alpn: bytes, now: float, version: int = 1, identity: bytes = b""
    ) -> SessionTicket | None:
        """The newest ticket of *server_name* that is good at *now* (Unix time), for the protocol *alpn*,
        the QUIC *version* and a client of *identity*.

        It is forgotten here.
        """
        key = (server_name, alpn, version, identity)
        tickets = self._tickets.get(key)
        while tickets:
            ticket = tickets.pop()
            if not tickets:
                del self._tickets[key]
            if ticket.is_fresh(now):
                return ticket
        return None

    def annotate(self, server_name: str, ticket: bytes, application: bytes) -> None:
        """Remember *application* with the session of *server_name* that has *ticket*, if it is here."""
        for key, tickets in self._tickets.items():
            if key[0] == server_name:
                for index, session in enumerate(tickets):
                    if session.ticket == ticket:
                        tickets[index] = session._replace(application=bytes(application))

    def put_token(self, server_name: str, token: bytes, version: int = 1) -> None:
        """Remember *token*, of a NEW_TOKEN frame of *server_name* (RFC 9000 Section 19.7).

        It is for connections of the same QUIC *version* (RFC 9369 Section 5).
        Of each server the newest are kept, as many as there are tickets; one of more than 1024 bytes is not
        kept, as it would take too much of every first packet.
        """
        if not 1 <= len(token) <= MAX_TOKEN_LENGTH:
            return
        key = (server_name, version)
        tokens = self._tokens.setdefault(key, [])
        self._tokens.move_to_end(key)
        if token in tokens:
            tokens.remove(token)
        tokens.append(bytes(token))
        del tokens[: -self._max_tickets]
        if len(self._tokens) > self._max_servers:
            self._tokens.popitem(last=False)

    def take_token(self, server_name: str, version: int = 1) -> bytes | None:
        """The newest token of *server_name*; it is forgotten here, as each is for one use."""
        tokens = self._tokens.get((server_name, version))
        if not tokens:
            return None
        token = tokens.pop()
        if not tokens:
            del self._tokens[server_name, version]
        return token
