"""Which certificates are accepted (RFC 5280, RFC 9525, W3C WebTransport for hashes).

System roots are used with the strict policy of ``cryptography.x509.verification`` (the profile of
the public web), roots that the user names with a relaxed one: certificates from ``openssl req`` and
private authorities work, while names, dates, signatures and purposes are checked all the same.
"""

from __future__ import annotations

import hmac
import logging
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from copy import copy
from datetime import datetime, timedelta
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.callbacks import check_sync, consult
from cwt.tls.certificates import PemSource, parse, public_key, read_pem
from cwt.tls.names import parse_ip_address
from cwt.tls.public_keys import PublicKeys, PublicKeySource, VerifyKeyCallback

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.x509.verification import PolicyBuilder, Store

__all__ = ["ClientVerifier", "ServerVerifier", "VerifyCallback"]

VerifyCallback = Callable[[list[bytes], str], object]
"""``verify(chain_der, server_name)``: raises, or returns False, to refuse the certificate.

It gets the DER certificates that the peer sent, its own first, none of them checked unless it is said
otherwise, and the name that the client asked for ("" for none).  It runs in the middle of the handshake and
must not wait.  That the peer has the certificate's key is checked afterwards in any case.  An exception
becomes the alert bad_certificate, an :class:`Alert` the one it says; its text is not told to the peer.
"""

MAX_HASHED_VALIDITY = timedelta(days=14)
"""W3C WebTransport, custom certificate requirements."""

_FALLBACK_ROOTS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)

_log = logging.getLogger("cwt")


def _refuse(description: AlertDescription, reason: str) -> Alert:
    return Alert(description, reason, certificate=True)


class ServerVerifier:
    """Checks the certificates of servers, and their raw public keys, for a client.

    With *hashes* or *keys* these alone decide; a certificate counts for its key when there are no hashes.
    """

    def __init__(
        self,
        verify: bool | PemSource | VerifyCallback,
        hashes: Sequence[bytes],
        now: Callable[[], datetime],
        keys: Sequence[PublicKeySource] | VerifyKeyCallback = (),
    ) -> None:
        self.keys = PublicKeys(keys, "server_public_keys")
        self._now = now
        self._hashes = tuple(map(bytes, hashes))
        self._callback: VerifyCallback | None = None
        self._roots: Store | None = None
        self._enabled = verify is not False
        if not all(len(value) == 32 for value in self._hashes):
            raise ConfigError("server_certificate_hashes must be SHA-256 values of 32 bytes each")
        if self._hashes or self.keys or verify is True:
            return
        if verify is False:
            _log.warning(
                "TLS certificate verification is OFF (verify=False): anyone on the path can read "
                'and change this traffic; use verify="ca.pem" or server_certificate_hashes instead'
            )
        elif isinstance(verify, str | bytes | os.PathLike):
            self._roots = _load_roots(verify, "verify")
        elif callable(verify):
            self._callback = check_sync(verify, "verify")
        else:
            raise ConfigError(
                "verify must be True, False, a PEM file or its content, or a callable, "
                f"not {type(verify).__name__}"
            )

    @property
    def needs_name(self) -> bool:
        """Whether certificates are checked against the server's name."""
        pinned = self._hashes or self.keys
        return not pinned and self._enabled and self._callback is None

    def check(self, chain: Sequence[bytes], server_name: str) -> None:
        """Accept *chain* (DER, leaf first) for *server_name* or raise :class:`Alert`."""
        if self._hashes:
            _check_hash(self._hashes, chain[0], self._now())
        elif self.keys:
            self.keys.check_certificate(chain[0], server_name)
        elif self._callback is not None:
            consult(self._callback, list(chain), server_name, setting="verify")
        elif self._enabled:
            self._check_path(parse(chain), server_name)

    def _check_path(self, chain: list[x509.Certificate], server_name: str) -> None:
        from cryptography import x509
        from cryptography.x509.verification import VerificationError

        now = self._now()
        if self._roots is None:
            builder = _policy(_system_roots(), now, relaxed=False)
        else:
            builder = _policy(self._roots, now, relaxed=True, purpose="serverAuth")
        address = parse_ip_address(server_name)
        subject = x509.DNSName(server_name) if address is None else x509.IPAddress(address)
        try:
            builder.build_server_verifier(subject).verify(chain[0], chain[1:])
        except (VerificationError, ValueError) as error:
            raise _explain(chain, server_name, now, str(error)) from error


class ClientVerifier:
    """Checks the certificates of clients, and their raw public keys, for a server.

    A certificate must lead to *client_ca* and please *verify_client*, as far as they are given.  When there
    is neither, its key must be one of *keys*, as a raw public key must in any case.
    """

    def __init__(
        self,
        client_ca: PemSource | None,
        verify_client: VerifyCallback | None,
        keys: Sequence[PublicKeySource] | VerifyKeyCallback,
        is_required: bool,
        now: Callable[[], datetime],
    ) -> None:
        self.is_required = is_required
        self._now = now
        self._client_ca = client_ca
        self._roots = None if client_ca is None else _load_roots(client_ca, "client_ca")
        self._callback = (
            None if verify_client is None else check_sync(verify_client, "verify_client")
        )
        self.keys = PublicKeys(keys, "client_public_keys")

    def reloaded(self) -> ClientVerifier:
        """One with what client_ca has now; ConfigError when it has nothing."""
        changed = copy(self)
        if self._client_ca is not None:
            changed._roots = _load_roots(self._client_ca, "client_ca")
        return changed

    def check(self, chain: Sequence[bytes], server_name: str) -> None:
        """Accept *chain* (DER, leaf first) or raise :class:`Alert`."""
        if self._roots is None and self._callback is None:
            self.keys.check_certificate(chain[0], server_name)
            return
        if self._roots is not None:
            self._check_path(self._roots, chain)
        if self._callback is not None:
            consult(self._callback, list(chain), server_name, setting="verify_client")

    def _check_path(self, roots: Store, chain: Sequence[bytes]) -> None:
        from cryptography.x509.verification import VerificationError

        certificates, now = parse(chain), self._now()
        builder = _policy(roots, now, relaxed=True, purpose="clientAuth")
        try:
            builder.build_client_verifier().verify(certificates[0], certificates[1:])
        except (VerificationError, ValueError) as error:
            raise _explain(certificates, None, now, str(error)) from error


def _policy(
    roots: Store, now: datetime, *, relaxed: bool, purpose: str = "serverAuth"
) -> PolicyBuilder:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID
    from cryptography.x509.verification import Criticality, ExtensionPolicy, PolicyBuilder

    builder = PolicyBuilder().store(roots).time(now)
    if not relaxed:
        return builder
    for_server = purpose == "serverAuth"
    wanted = ExtendedKeyUsageOID.SERVER_AUTH if for_server else ExtendedKeyUsageOID.CLIENT_AUTH

    def check_purpose(
        policy: object, certificate: object, usage: x509.ExtendedKeyUsage | None
    ) -> None:
        if usage is not None and wanted not in usage:
            raise ValueError(f"the certificate's extended key usage lacks {purpose}")

    any_criticality = Criticality.AGNOSTIC
    authority = ExtensionPolicy.permit_all().require_present(
        x509.BasicConstraints, any_criticality, None
    )
    leaf = ExtensionPolicy.permit_all().may_be_present(
        x509.ExtendedKeyUsage, any_criticality, check_purpose
    )
    if for_server:
        leaf = leaf.require_present(x509.SubjectAlternativeName, any_criticality, None)
    return builder.extension_policies(ca_policy=authority, ee_policy=leaf)


# Hashes instead of authorities.


def _check_hash(hashes: Sequence[bytes], der: bytes, now: datetime) -> None:
    """The browsers' rules for serverCertificateHashes; the name is not checked."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    digest = sha256(der).digest()
    if not any(hmac.compare_digest(digest, value) for value in hashes):
        raise _refuse(
            AlertDescription.CERTIFICATE_UNKNOWN,
            f"the server's certificate has SHA-256 {digest.hex()}, which is not among "
            "server_certificate_hashes; add it if this is your server with a new certificate",
        )
    certificate = parse([der])[0]
    if certificate.version is not x509.Version.v3:
        raise _refuse(AlertDescription.BAD_CERTIFICATE, "the pinned certificate is not X.509v3")
    key = public_key(der)
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(
        key.curve, ec.SECP256R1 | ec.SECP384R1
    ):
        kind = "RSA" if isinstance(key, rsa.RSAPublicKey) else "another kind"
        raise _refuse(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            f"the pinned certificate's key is {kind}, and certificate hashes allow only ECDSA "
            "P-256 and P-384; make a new one with `cwt devcert`",
        )
    _check_dates(certificate, now)
    validity = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    if validity > MAX_HASHED_VALIDITY:
        raise _refuse(
            AlertDescription.BAD_CERTIFICATE,
            f"the pinned certificate is valid for {validity.total_seconds() / 86400:.2f} days, and "
            "certificate hashes allow at most 14; make a new one with `cwt devcert`",
        )


# Texts for refused certificates.


def _check_dates(certificate: x509.Certificate, now: datetime) -> None:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now > end:
        raise _refuse(
            AlertDescription.CERTIFICATE_EXPIRED,
            f"the certificate expired on {end:%Y-%m-%d %H:%M:%S} UTC; renew it, or check this "
            "machine's clock",
        )
    if now < start:
        raise _refuse(
            AlertDescription.BAD_CERTIFICATE,
            f"the certificate is not valid before {start:%Y-%m-%d %H:%M:%S} UTC; check this "
            "machine's clock",
        )


def _explain(
    chain: list[x509.Certificate], server_name: str | None, now: datetime, error: str
) -> Alert:
    """Why the chain was refused and what to do, as far as that can be told."""
    leaf = chain[0]
    try:
        for certificate in chain:
            _check_dates(certificate, now)
        if server_name is not None:
            _check_name(leaf, server_name)
        return _explain_trust(leaf, error, "client_ca" if server_name is None else "verify")
    except Alert as alert:
        return alert
    except Exception:
        # A certificate may be too odd to look into: what the verifier said has to do.
        return _refuse(AlertDescription.BAD_CERTIFICATE, f"the certificate was refused: {error}")


def _check_name(leaf: x509.Certificate, server_name: str) -> None:
    from cryptography import x509

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        raise _refuse(
            AlertDescription.BAD_CERTIFICATE,
            "the certificate has no subjectAltName, and the common name is not used for names any "
            f"more; issue it again with subjectAltName {_alt_name(server_name)}",
        )
    address = parse_ip_address(server_name)
    hosts = names.get_values_for_type(x509.DNSName)
    addresses = names.get_values_for_type(x509.IPAddress)
    if address in addresses or (
        address is None and any(_matches(pattern.lower(), server_name) for pattern in hosts)
    ):
        return
    listed = ", ".join([*hosts, *map(str, addresses)][:8]) or "no host name"
    raise _refuse(
        AlertDescription.BAD_CERTIFICATE,
        f"the certificate is for {listed}, not for {server_name!r}; connect with a name it has, or "
        f"issue it again with subjectAltName {_alt_name(server_name)}",
    )


def _alt_name(server_name: str) -> str:
    kind = "DNS" if parse_ip_address(server_name) is None else "IP"
    return f"{kind}:{server_name}"


def _matches(pattern: str, name: str) -> bool:
    """Whether a DNS name of a certificate covers *name* (RFC 9525 Section 6.3)."""
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name


def _explain_trust(leaf: x509.Certificate, error: str, setting: str) -> Alert:
    from cryptography.hazmat.primitives import hashes

    if "Forbidden" in error:
        return _refuse(
            AlertDescription.UNSUPPORTED_CERTIFICATE,
            "the certificate, or one above it, has a key or signature of a kind that is not "
            f"accepted ({error}); use ECDSA P-256 or RSA, or a callable as verify",
        )
    if leaf.issuer == leaf.subject and "validator failed" not in error:
        pin = f"bytes.fromhex({leaf.fingerprint(hashes.SHA256()).hex()!r})"
        advice = (
            f", or pin it with server_certificate_hashes=[{pin}]" if setting == "verify" else ""
        )
        return _refuse(
            AlertDescription.UNKNOWN_CA,
            "the certificate is self-signed and not trusted; give its file as "
            f'{setting}="cert.pem"{advice} ({error})',
        )
    if "candidates exhausted" in error:
        return _refuse(
            AlertDescription.UNKNOWN_CA,
            f"the certificate was issued by {leaf.issuer.rfc4514_string()!r}, which leads to no "
            f'trusted root; give the root\'s file as {setting}="ca.pem", or let the peer send its '
            f"intermediate certificates ({error})",
        )
    return _refuse(AlertDescription.BAD_CERTIFICATE, f"the certificate was refused: {error}")


# Roots.


def _load_roots(source: PemSource, setting: str) -> Store:
    """The authorities in the PEM file *source*, or in the files of that directory."""
    from cryptography.x509.verification import Store

    files: list[PemSource] = [source]
    if not isinstance(source, bytes) and os.path.isdir(source):
        files = [path for path in sorted(Path(source).iterdir()) if path.is_file()]
    pem = b"\n".join(read_pem(file, setting) for file in files)
    certificates = _parse_bundle(pem)
    if not certificates:
        raise ConfigError(
            f"{setting} has no certificate in PEM form; "
            'it must be a file with "-----BEGIN CERTIFICATE-----", or a directory of such files'
        )
    return Store(certificates)


def _parse_bundle(pem: bytes) -> list[x509.Certificate]:
    """The certificates of a bundle, without those that cannot be read."""
    from cryptography import x509

    certificates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some public roots have serial numbers of old
        for block in pem.split(b"-----BEGIN CERTIFICATE-----")[1:]:
            try:
                certificate = x509.load_pem_x509_certificate(b"-----BEGIN CERTIFICATE-----" + block)
            except (ValueError, x509.InvalidVersion):
                continue
            certificates.append(certificate)
    return certificates


@cache
def _system_roots() -> Store:
    """The system's authorities (SSL_CERT_FILE and SSL_CERT_DIR count), or ``certifi``'s."""
    from cryptography.x509.verification import Store

    certificates = [certificate for pem in _system_bundles() for certificate in _parse_bundle(pem)]
    if not certificates:
        raise _refuse(
            AlertDescription.UNKNOWN_CA,
            "this system has no trusted certificate authorities; install its ca-certificates, "
            'or the package certifi, or name a file with verify="ca.pem" or SSL_CERT_FILE',
        )
    return Store(certificates)


def _system_bundles() -> Iterator[bytes]:
    if sys.platform == "win32":
        import ssl

        authorities = ssl.create_default_context().get_ca_certs(True)
        yield "".join(map(ssl.DER_cert_to_PEM_cert, authorities)).encode("ascii")
        return
    found = False
    for path in _system_files():
        try:
            yield path.read_bytes()
        except OSError as error:
            _log.warning("%s with certificate authorities cannot be read: %s", path, error)
        else:
            found = True
    if found or not {"SSL_CERT_FILE", "SSL_CERT_DIR"}.isdisjoint(os.environ):
        return
    try:
        import certifi
    except ImportError:
        return
    yield Path(certifi.where()).read_bytes()


def _system_files() -> Iterator[Path]:
    """Where OpenSSL would look, or else where systems have their bundle."""
    import ssl  # only for its paths

    file, directory = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if file is None and directory is None:
        defaults = ssl.get_default_verify_paths()
        for name in (defaults.openssl_cafile, *_FALLBACK_ROOTS):
            if os.path.isfile(name):
                yield Path(name)
                return
        directory = defaults.openssl_capath
    if file is not None:
        yield Path(file)
    if directory is not None and os.path.isdir(directory):
        yield from (path for path in sorted(Path(directory).iterdir()) if path.is_file())
