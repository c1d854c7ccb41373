"""Session tickets of servers (RFC 8446 Section 4.6.1): sealed state that the client keeps for us."""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cwt.errors import ConfigError
from cwt.hkdf import expand_label
from cwt.tls.alerts import Alert
from cwt.tls.codec import Reader, vector

__all__ = ["TICKET_LIFETIME", "Secrets", "TicketKeys", "TicketState"]

_log = logging.getLogger("cwt")

TICKET_LIFETIME = 86400
"""Seconds for which a ticket is good (RFC 8446 allows a week)."""

_FORMAT = b"\x03"
_NAME_LENGTH = 16
_NONCE_LENGTH = 12
_MIN_LENGTH = _NAME_LENGTH + _NONCE_LENGTH + 16
_MAX_LENGTH = 6144
_MAX_CHAIN = 4096
_ROTATION = TICKET_LIFETIME // 2
_DAY = 86400
_ASK_INTERVAL = 60
_SECRET_LENGTH = 32


class TicketState(NamedTuple):
    """What a ticket holds: all that a server must know to resume the session."""

    cipher_suite: int
    psk: bytes
    issued: int
    """Unix time in milliseconds."""
    alpn: bytes
    server_name: str | None
    version: int = 1
    """The QUIC version."""
    age_add: int = 0
    """What the client adds to the ticket's age (RFC 8446 Section 4.2.11.1)."""
    early_data: bytes = b""
    """A digest of what must be as it was for 0-RTT; empty when there is none with this ticket."""
    authenticated: int = 0
    """When the client last proved that it has the key of what is below (Unix time in seconds)."""
    client_certificates: tuple[bytes, ...] = ()
    """What the client showed; it is judged again when it resumes."""
    client_public_key: bytes = b""
    """Its raw public key (DER) in the place of certificates (RFC 7250)."""

    def is_too_long(self) -> bool:
        """Whether the client's certificates are more than its first packets should carry back."""
        return bool(self.client_certificates) and len(self._chain()) > _MAX_CHAIN

    def _chain(self) -> bytes:
        if not self.client_certificates:
            return b""
        return zlib.compress(b"".join(vector(3, der) for der in self.client_certificates))

    def pack(self) -> bytes:
        name = b"" if self.server_name is None else self.server_name.encode("ascii")
        head = _FORMAT + self.cipher_suite.to_bytes(2, "big") + self.issued.to_bytes(8, "big")
        head += self.version.to_bytes(4, "big") + self.age_add.to_bytes(4, "big")
        tail = vector(1, self.alpn) + vector(2, name) + vector(1, self.early_data)
        tail += self.authenticated.to_bytes(8, "big")
        tail += vector(2, self._chain()) + vector(2, self.client_public_key)
        return head + vector(1, self.psk) + tail

    @classmethod
    def parse(cls, data: bytes) -> TicketState | None:
        """The state in *data*; None for that of another version of this program."""
        reader = Reader(data)
        try:
            if reader.take(1) != _FORMAT:
                return None
            cipher_suite = reader.uint(2)
            issued = int.from_bytes(reader.take(8), "big")
            version, age_add = reader.uint(4), reader.uint(4)
            psk, alpn, name = reader.vector(1), reader.vector(1), reader.vector(2)
            early_data = reader.vector(1)
            authenticated = int.from_bytes(reader.take(8), "big")
            chain, public_key = _read_chain(reader.vector(2)), reader.vector(2)
            reader.finish()
        except Alert:
            return None
        server_name = name.decode("ascii") if name else None
        return cls(
            cipher_suite, psk, issued, alpn, server_name, version, age_add, early_data,
            authenticated, chain, public_key,
        )  # fmt: skip


def _read_chain(data: bytes) -> tuple[bytes, ...]:
    """The client's certificates; the seal of the ticket has vouched for *data*."""
    if not data:
        return ()
    reader = Reader(zlib.decompress(data))
    chain = []
    while reader.left():
        chain.append(reader.vector(3, 1))
    return tuple(chain)


Secrets = Sequence[bytes] | Callable[[], Sequence[bytes]]
"""Of 32 bytes each, the first one for sealing; or a callable that gives them."""


class _Key(NamedTuple):
    name: bytes
    aead: AESGCM
    since: float


def _key(secret: bytes, since: float, context: bytes = b"") -> _Key:
    name = expand_label("sha256", secret, b"ticket name", context, _NAME_LENGTH)
    key = expand_label("sha256", secret, b"ticket key", context, 32)
    return _Key(name, AESGCM(key), since)


class TicketKeys:
    """Seals and opens tickets with AES-256-GCM, under keys that rotate.

    From *secrets* comes a key for every day: processes that share them, and the time of day, resume each
    other's sessions.  The first secret seals and all of them open.  A callable is asked again every minute,
    so that secrets can change while the server runs.  Without *secrets*, keys come from *random*, seal for
    half of a ticket's lifetime and are forgotten with the last ticket under them.
    """

    def __init__(self, secrets: Secrets = (), random: Callable[[int], bytes] = os.urandom) -> None:
        self._random = random
        self._ask = secrets if callable(secrets) else None
        self._asked = 0.0
        self._day = -1
        given = secrets() if callable(secrets) else secrets
        self._secrets = self._checked(given)
        if callable(secrets) and not self._secrets:
            raise ConfigError("ticket_keys gives no secret")
        self._keys: list[_Key] = []

    @staticmethod
    def _checked(secrets: Sequence[bytes]) -> list[bytes]:
        if not all(len(secret) == _SECRET_LENGTH for secret in secrets):
            raise ConfigError(f"each of ticket_keys must have {_SECRET_LENGTH} bytes")
        return [bytes(secret) for secret in secrets]

    def _refresh(self, now: float) -> None:
        """Let keys go and come, as *now* wants them."""
        if self._secrets:
            self._ask_again(now)
            if self._day != now // _DAY:
                self._derive(now)
            return
        if not self._keys or now - self._keys[0].since >= _ROTATION:
            self._keys.insert(0, _key(self._random(_SECRET_LENGTH), now))
        oldest = now - _ROTATION - TICKET_LIFETIME
        while self._keys[-1].since < oldest:
            self._keys.pop()

    def _ask_again(self, now: float) -> None:
        if self._ask is None or abs(now - self._asked) < _ASK_INTERVAL:
            return
        self._asked = now
        try:
            secrets = self._checked(self._ask())
        except Exception:
            _log.exception("ticket_keys failed; the secrets of before stay in use")
            return
        if secrets and secrets != self._secrets:
            self._secrets = secrets
            self._day = -1

    def _derive(self, now: float) -> None:
        # Tickets may be of yesterday, and clocks of others may be a little ahead.
        self._day = int(now // _DAY)
        self._keys = [
            _key(secret, day * _DAY, day.to_bytes(8, "big", signed=True))
            for day in (self._day, self._day - 1, self._day + 1)
            for secret in self._secrets
        ]

    def seal(self, state: TicketState, now: float) -> bytes:
        """The ticket for *state*; *now* is Unix time."""
        self._refresh(now)
        key = self._keys[0]
        nonce = self._random(_NONCE_LENGTH)
        return key.name + nonce + key.aead.encrypt(nonce, state.pack(), key.name)

    def open(self, ticket: bytes, now: float) -> TicketState | None:
        """What *ticket* holds; None when it is not ours, too old, or from the future."""
        if not _MIN_LENGTH <= len(ticket) <= _MAX_LENGTH:
            return None
        if self._secrets:
            self._refresh(now)
        name = ticket[:_NAME_LENGTH]
        nonce = ticket[_NAME_LENGTH : _NAME_LENGTH + _NONCE_LENGTH]
        for key in self._keys:
            if key.name == name:
                break
        else:
            return None
        try:
            plain = key.aead.decrypt(nonce, ticket[_NAME_LENGTH + _NONCE_LENGTH :], name)
        except InvalidTag:
            return None
        state = TicketState.parse(plain)
        # A clock may have been set back a little, so a second or two of the future is fine.
        if state is None or not -2 <= now - state.issued / 1000 <= TICKET_LIFETIME:
            return None
        return state
