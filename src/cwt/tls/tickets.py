"""Session tickets of servers (RFC 8446 Section 4.6.1): sealed state that the client keeps for us."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cwt.errors import ConfigError
from cwt.hkdf import expand_label
from cwt.tls.alerts import Alert
from cwt.tls.codec import Reader, vector

__all__ = ["TICKET_LIFETIME", "TicketKeys", "TicketState"]

TICKET_LIFETIME = 86400
"""Seconds for which a ticket is good (RFC 8446 allows a week)."""

_FORMAT = b"\x01"
_NAME_LENGTH = 16
_NONCE_LENGTH = 12
_MIN_LENGTH = _NAME_LENGTH + _NONCE_LENGTH + 16
_MAX_LENGTH = 1024
_ROTATION = TICKET_LIFETIME // 2
_SECRET_LENGTH = 32


class TicketState(NamedTuple):
    """What a ticket holds: all that a server must know to resume the session."""

    cipher_suite: int
    psk: bytes
    issued: int
    """Unix time in seconds."""
    alpn: bytes
    server_name: str | None

    def pack(self) -> bytes:
        name = b"" if self.server_name is None else self.server_name.encode("ascii")
        head = _FORMAT + self.cipher_suite.to_bytes(2, "big") + self.issued.to_bytes(8, "big")
        return head + vector(1, self.psk) + vector(1, self.alpn) + vector(2, name)

    @classmethod
    def parse(cls, data: bytes) -> TicketState | None:
        """The state in *data*; None for that of another version of this program."""
        reader = Reader(data)
        try:
            if reader.take(1) != _FORMAT:
                return None
            cipher_suite = reader.uint(2)
            issued = int.from_bytes(reader.take(8), "big")
            psk, alpn, name = reader.vector(1), reader.vector(1), reader.vector(2)
            reader.finish()
        except Alert:
            return None
        return cls(cipher_suite, psk, issued, alpn, name.decode("ascii") if name else None)


class _Key(NamedTuple):
    name: bytes
    aead: AESGCM
    since: float


class TicketKeys:
    """Seals and opens tickets with AES-256-GCM, under keys that rotate.

    With *secrets*, of 32 bytes each, the first seals and all of them open: processes that share them
    resume each other's sessions, and changing them is up to the user.  Without, keys come from *random*,
    seal for half of a ticket's lifetime and are forgotten with the last ticket under them.
    """

    def __init__(
        self, secrets: Sequence[bytes] = (), random: Callable[[int], bytes] = os.urandom
    ) -> None:
        if not all(len(secret) == _SECRET_LENGTH for secret in secrets):
            raise ConfigError(f"each of ticket_keys must have {_SECRET_LENGTH} bytes")
        self._random = random
        self._is_fixed = bool(secrets)
        self._keys = [self._key(bytes(secret), 0.0) for secret in secrets]

    def _key(self, secret: bytes, now: float) -> _Key:
        name = expand_label("sha256", secret, b"ticket name", b"", _NAME_LENGTH)
        key = expand_label("sha256", secret, b"ticket key", b"", 32)
        return _Key(name, AESGCM(key), now)

    def _rotate(self, now: float) -> None:
        if not self._keys or now - self._keys[0].since >= _ROTATION:
            self._keys.insert(0, self._key(self._random(_SECRET_LENGTH), now))
        oldest = now - _ROTATION - TICKET_LIFETIME
        while self._keys[-1].since < oldest:
            self._keys.pop()

    def seal(self, state: TicketState, now: float) -> bytes:
        """The ticket for *state*; *now* is Unix time."""
        if not self._is_fixed:
            self._rotate(now)
        key = self._keys[0]
        nonce = self._random(_NONCE_LENGTH)
        return key.name + nonce + key.aead.encrypt(nonce, state.pack(), key.name)

    def open(self, ticket: bytes, now: float) -> TicketState | None:
        """What *ticket* holds; None when it is not ours, too old, or from the future."""
        if not _MIN_LENGTH <= len(ticket) <= _MAX_LENGTH:
            return None
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
        if state is None or not -2 <= now - state.issued <= TICKET_LIFETIME:
            return None
        return state
