"""A server's certificates, and which of them a client gets (RFC 6066 Section 3, RFC 7250)."""

from __future__ import annotations

import inspect
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence

from cwt.errors import ConfigError
from cwt.tls import signatures
from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.callbacks import check_sync
from cwt.tls.identity import Identity, IdentitySource, load_identities
from cwt.tls.names import normalize
from cwt.tls.public_keys import CertificateType

__all__ = ["Credentials", "ServerNames", "SniCallback"]

SniCallback = Callable[[str], IdentitySource | Sequence[IdentitySource] | None]
"""``sni(server_name)``: a certificate, several, or None for those of every other name.

It must not wait.  A LookupError (KeyError is one) refuses the name with unrecognized_name.
"""

ServerNames = Mapping[str, IdentitySource | Sequence[IdentitySource]] | SniCallback

_CACHED = 1024
"""Answers of the callback whose files are not read again for each handshake."""

_log = logging.getLogger("cwt")


class Credentials:
    """Finds the certificate for a handshake.

    *default* is for clients that name no server, or one that is not in *names*; without it those are
    refused.  *raw* is a raw public key for clients that ask for one, whatever the name.
    """

    def __init__(
        self, default: Sequence[Identity], raw: Identity | None, names: ServerNames | None
    ) -> None:
        self._default = tuple(default)
        self._raw = raw
        self._callback: SniCallback | None = None
        self._files: dict[str, IdentitySource | Sequence[IdentitySource]] = {}
        if callable(names):
            self._callback = check_sync(names, "sni")
        elif names is not None:
            self._files = dict(names)
        self._named = {normalize(name): load_identities(s) for name, s in self._files.items()}
        self._answers: OrderedDict[object, tuple[Identity, ...]] = OrderedDict()
        if not (self._default or self._raw or self._named or self._callback):
            raise ConfigError(
                "a server needs a certificate: give certfile and keyfile, or dev=True to try it out"
            )

    def reload(self) -> None:
        """Read all files again, for handshakes to come; an error changes nothing."""
        default = tuple(identity.reloaded() for identity in self._default)
        raw = None if self._raw is None else self._raw.reloaded()
        named = {
            name: tuple(identity.reloaded() for identity in identities)
            for name, identities in self._named.items()
        }
        self._default, self._raw, self._named = default, raw, named
        self._answers.clear()

    def for_name(self, server_name: str | None) -> tuple[Identity, ...]:
        """The certificates for a client that names *server_name*; Alert for a name that is refused."""
        found: tuple[Identity, ...] | None = None
        if server_name is not None:
            if self._callback is not None:
                found = self._ask(self._callback, server_name)
            elif self._named:
                found = self._named.get(server_name)
                if found is None:
                    found = self._named.get("*." + server_name.partition(".")[2])
        if found is None:
            found = self._default
        if not found and self._raw is None:
            raise Alert(
                AlertDescription.UNRECOGNIZED_NAME,
                f"this server has no certificate for {server_name or 'a client that names none'}",
            )
        return found

    def _ask(self, callback: SniCallback, server_name: str) -> tuple[Identity, ...] | None:
        try:
            answer = callback(server_name)
            if inspect.iscoroutine(answer):
                answer.close()
                raise ConfigError("sni is async, which it must not be")
            return None if answer is None else self._load(answer)
        except LookupError as error:
            raise Alert(
                AlertDescription.UNRECOGNIZED_NAME, f"sni() refused the name {server_name}"
            ) from error
        except Exception as error:
            _log.exception("sni() failed for %s", server_name)
            raise Alert(AlertDescription.INTERNAL_ERROR, "no certificate could be had") from error

    def _load(self, answer: IdentitySource | Sequence[IdentitySource]) -> tuple[Identity, ...]:
        if isinstance(answer, Identity):
            return (answer,)
        key = tuple(answer) if isinstance(answer, list) else (answer,)
        found = self._answers.get(key)
        if found is None:
            found = self._answers[key] = load_identities(answer)
            if len(self._answers) > _CACHED:
                self._answers.popitem(last=False)
        else:
            self._answers.move_to_end(key)
        return found

    def choose(
        self, identities: Sequence[Identity], types: bytes | None, offered: Sequence[int]
    ) -> tuple[Identity, int]:
        """Of *identities* and the raw public key: what to send, and the signature scheme for it.

        *types* are the client's server_certificate_types, best first, *offered* its signature_algorithms.
        """
        for kind in b"\0" if types is None else types:
            if kind == CertificateType.X509 and identities:
                return _sign_with(identities, offered)
            if kind == CertificateType.RAW_PUBLIC_KEY and self._raw is not None:
                return _sign_with([self._raw], offered)
        raise Alert(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            "this server has a raw public key and no certificate"
            if not identities
            else "this server has a certificate and no raw public key",
        )


def _sign_with(identities: Sequence[Identity], offered: Sequence[int]) -> tuple[Identity, int]:
    """The first whose key makes signatures that the client takes."""
    for identity in identities[:-1]:
        for scheme in identity.schemes:
            if scheme in offered:
                return identity, scheme
    return identities[-1], signatures.choose(identities[-1].schemes, offered)
