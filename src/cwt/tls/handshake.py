"""What both sides of a TLS 1.3 handshake in QUIC share (RFC 8446 Section 4, RFC 9001 Section 4)."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any, ClassVar, NamedTuple

from cwt.tls import certificates, compression, public_keys, signatures
from cwt.tls.alerts import PROTOCOL_VIOLATION, Alert, AlertDescription, decode_error
from cwt.tls.identity import Identity
from cwt.tls.key_schedule import KeySchedule, export
from cwt.tls.keylog import KeyLog
from cwt.tls.messages import (
    MAX_MESSAGE_LENGTH,
    Certificate,
    CertificateVerify,
    HandshakeType,
    pack,
)

__all__ = ["Handshake", "Level", "ParametersSource", "Secret"]

_log = logging.getLogger("cwt")


class Level(IntEnum):
    """Encryption levels of QUIC (RFC 9001 Section 2.1)."""

    INITIAL = 0
    EARLY = 1
    HANDSHAKE = 2
    APPLICATION = 3


class Secret(NamedTuple):
    """A traffic secret for packet protection (RFC 9001 Section 5.1)."""

    level: int
    is_write: bool
    cipher_suite: int
    secret: bytes


Handler = Callable[[Any, bytes, bytes], None]
"""A method that takes the body of a message, and the whole message for the transcript."""

ParametersSource = Callable[[bytes], bytes]
"""Gives a server's transport parameters for those of its client."""


class Handshake:
    """One handshake, without I/O: CRYPTO bytes in and out, secrets out.

    Every method that takes bytes of the peer raises :class:`Alert` and nothing else; after that the
    handshake is over and raises the same alert again.
    """

    __slots__ = (
        "_alert",
        "_client_random",
        "_client_secret",
        "_compression",
        "_expected",
        "_exporter_secret",
        "_input",
        "_keylog",
        "_output",
        "_peer_is_raw",
        "_peer_key",
        "_read_level",
        "_schedule",
        "_secrets",
        "_server_secret",
        "alpn",
        "cipher_suite",
        "early_data_accepted",
        "early_data_reason",
        "group",
        "is_complete",
        "is_resumed",
        "negotiated_version",
        "original_version",
        "peer_certificates",
        "peer_public_key",
        "peer_transport_parameters",
        "remembered_parameters",
        "server_name",
    )

    is_client: ClassVar[bool]
    _handlers: ClassVar[Mapping[int, Handler]]

    def __init__(self, keylog: KeyLog | None) -> None:
        self.is_complete = False
        self.is_resumed = False
        self.alpn: bytes | None = None
        self.server_name: str | None = None
        self.original_version = 1
        """The QUIC version of the client's first flight, to which the tickets in it belong."""
        self.negotiated_version = 1
        """The QUIC version of the connection, to which tickets that come from it belong (RFC 9369
        Section 5)."""
        self.cipher_suite = 0
        self.group = 0
        self.peer_transport_parameters: bytes | None = None
        self.peer_certificates: list[bytes] = []
        self.peer_public_key: bytes | None = None
        """The key that the peer sent in the place of a certificate (RFC 7250, DER)."""
        self.early_data_accepted: bool | None = None
        """What the server decided of 0-RTT; None while it did not, or when it was not offered."""
        self.early_data_reason: str | None = None
        """Why, in words."""
        self.remembered_parameters = b""
        """What 0-RTT of a later connection depends on of the server's transport parameters, for QUIC to
        set (RFC 9000 Section 7.4.1): a server before the handshake, a client when it knows them."""

        self._keylog = keylog
        self._alert: Alert | None = None
        self._read_level = Level.INITIAL
        self._input = bytearray()
        # Tuples: nearly always empty, which costs nothing then.
        self._output: tuple[tuple[int, bytes], ...] = ()
        self._secrets: tuple[Secret, ...] = ()
        self._expected: tuple[HandshakeType, ...] = ()
        self._schedule: KeySchedule
        self._client_random = b""
        self._client_secret = b""
        self._server_secret = b""
        self._exporter_secret = b""
        self._peer_key: object = None
        self._peer_is_raw = False
        """Whether it was agreed that the peer sends a raw public key."""
        self._compression: tuple[int, ...] = ()
        """The algorithms with which the peer may compress its certificate."""

    # In from the connection.

    def start(self) -> None:
        """Begin: a client has its ClientHello to send then, a server waits for one."""

    def receive(self, level: int, data: bytes) -> None:
        """Take CRYPTO bytes of *level*, in order and in any split."""
        if self._alert is not None:
            raise self._alert
        if not data:
            return
        try:
            if level != self._read_level:
                # Level order is QUIC's to keep, RFC 9001 Section 4.1.3 names the code.
                raise Alert(
                    AlertDescription.UNEXPECTED_MESSAGE,
                    f"CRYPTO data at level {level} while level {self._read_level} is expected",
                    transport_code=PROTOCOL_VIOLATION,
                )
            self._input += data
            while self._receive_message():
                pass
        except Alert as alert:
            self._fail(alert)
            raise
        except Exception as error:
            _log.exception("the TLS handshake failed on an unforeseen error")
            failure = Alert(AlertDescription.INTERNAL_ERROR, "internal error")
            self._fail(failure)
            raise failure from error

    def _fail(self, alert: Alert) -> None:
        self._alert = alert
        self._input.clear()
        self._output = ()
        self._expected = ()

    # Out to the connection.

    def output(self) -> list[tuple[int, bytes]]:
        """Take the CRYPTO bytes to send: level and data, in order."""
        output, self._output = self._output, ()
        return list(output)

    def secrets(self) -> list[Secret]:
        """Take the traffic secrets to install, in order."""
        secrets, self._secrets = self._secrets, ()
        return list(secrets)

    def export_keying_material(self, label: bytes, context: bytes, length: int) -> bytes:
        """TLS-Exporter (RFC 8446 Section 7.5); RuntimeError while there is no secret for it."""
        if not self._exporter_secret:
            raise RuntimeError("keying material can be exported when the handshake is complete")
        return export(self.cipher_suite, self._exporter_secret, label, context, length)

    def _release(self) -> None:
        """The handshake is over: forget what only it needed."""
        del self._schedule
        self._keylog = None
        self._client_random = self._client_secret = self._server_secret = b""
        self._peer_key = None

    # Messages.

    def _receive_message(self) -> bool:
        """Handle one message; False when there is none yet."""
        if not self._input:
            return False
        # Judged by its first byte, so that an unwanted message is not waited for.
        message_type = self._input[0]
        if message_type not in self._expected:
            raise self._unexpected(message_type)
        if len(self._input) < 4:
            return False
        length = int.from_bytes(self._input[1:4], "big")
        if length > MAX_MESSAGE_LENGTH:
            decode_error(f"a TLS message of {length} bytes is longer than {MAX_MESSAGE_LENGTH}")
        end = 4 + length
        if len(self._input) < end:
            return False
        message = bytes(self._input[:end])
        del self._input[:end]
        self._handlers[message_type](self, message[4:], message)
        return True

    def _unexpected(self, message_type: int) -> Alert:
        try:
            name = HandshakeType(message_type).name.lower()
        except ValueError:
            name = f"of type {message_type}"
        wanted = " or ".join(expected.name.lower() for expected in self._expected) or "none"
        transport_code = None
        if self.is_complete and message_type == HandshakeType.CERTIFICATE_REQUEST:
            transport_code = PROTOCOL_VIOLATION  # RFC 9001 Section 4.4
        return Alert(
            AlertDescription.UNEXPECTED_MESSAGE,
            f"a TLS message {name} came where {wanted} is expected",
            transport_code=transport_code,
        )

    def _read_from(self, level: Level) -> None:
        """Go on reading at *level*: a message must not continue across (RFC 9001 Section 4.1.3)."""
        if self._input:
            # A KeyUpdate message has a code of its own, wherever it comes (RFC 9001 Section 6).
            is_key_update = self._input[0] == HandshakeType.KEY_UPDATE
            raise Alert(
                AlertDescription.UNEXPECTED_MESSAGE,
                "TLS data follows the last message of its encryption level",
                transport_code=None if is_key_update else PROTOCOL_VIOLATION,
            )
        self._read_level = level

    def _send(self, level: Level, message: bytes) -> None:
        if self._output and self._output[-1][0] == level:
            message = self._output[-1][1] + message
            self._output = self._output[:-1]
        self._output += ((level, message),)

    def _send_handshake(self, message: bytes) -> None:
        """Send at the handshake level, as part of the transcript."""
        self._schedule.add(message)
        self._send(Level.HANDSHAKE, message)

    # Keys.

    def _install(self, level: Level, *, is_write: bool) -> None:
        secret = self._client_secret if is_write == self.is_client else self._server_secret
        self._secrets += (Secret(level, is_write, self.cipher_suite, secret),)

    def _install_early(self, schedule: KeySchedule, cipher_suite: int) -> None:
        """Call with *schedule* begun with the PSK, and its transcript at ClientHello."""
        secret = schedule.derive(b"c e traffic")
        self._log_secret("CLIENT_EARLY_TRAFFIC_SECRET", secret)
        if self._keylog is not None:
            self._log_secret("EARLY_EXPORTER_SECRET", schedule.derive(b"e exp master"))
        self._secrets += (Secret(Level.EARLY, self.is_client, cipher_suite, secret),)

    def _log_secret(self, label: str, secret: bytes) -> None:
        if self._keylog is not None:
            self._keylog.write(label, self._client_random, secret)

    def _derive_handshake_secrets(self, shared_secret: bytes) -> None:
        """Call with the transcript at ServerHello."""
        self._schedule.extract(shared_secret)
        self._client_secret = self._schedule.derive(b"c hs traffic")
        self._server_secret = self._schedule.derive(b"s hs traffic")
        self._log_secret("CLIENT_HANDSHAKE_TRAFFIC_SECRET", self._client_secret)
        self._log_secret("SERVER_HANDSHAKE_TRAFFIC_SECRET", self._server_secret)

    def _derive_application_secrets(self) -> None:
        """Call with the transcript at the server's Finished."""
        self._schedule.extract()
        self._client_secret = self._schedule.derive(b"c ap traffic")
        self._server_secret = self._schedule.derive(b"s ap traffic")
        self._exporter_secret = self._schedule.derive(b"exp master")
        self._log_secret("CLIENT_TRAFFIC_SECRET_0", self._client_secret)
        self._log_secret("SERVER_TRAFFIC_SECRET_0", self._server_secret)
        self._log_secret("EXPORTER_SECRET", self._exporter_secret)

    # Authentication messages (RFC 8446 Section 4.4).

    def _read_certificate(self, body: bytes, message: bytes) -> bool:
        """Take what the peer proves itself with; False when it sent nothing."""
        self._schedule.add(message)
        if message[0] == HandshakeType.COMPRESSED_CERTIFICATE:
            body = compression.decompress(body, self._compression)
        certificate = Certificate.parse(body)
        if certificate.context:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "Certificate has a request context")
        if certificate.extension_types:
            raise Alert(
                AlertDescription.UNSUPPORTED_EXTENSION,
                "Certificate has extensions that were not asked for",
            )
        chain = certificate.chain
        if not chain:
            return False
        if not self._peer_is_raw:
            self.peer_certificates = list(chain)
            self._peer_key = certificates.public_key(chain[0])
        elif len(chain) == 1:
            self.peer_public_key = chain[0]
            self._peer_key = public_keys.parse_raw(chain[0])
        else:
            raise Alert(AlertDescription.ILLEGAL_PARAMETER, "several raw public keys came")
        return True

    def _read_certificate_verify(self, body: bytes, message: bytes, context: bytes) -> None:
        verify = CertificateVerify.parse(body)
        if verify.algorithm not in signatures.OFFERED:
            raise Alert(
                AlertDescription.ILLEGAL_PARAMETER,
                f"CertificateVerify uses 0x{verify.algorithm:04x}, which was not offered",
            )
        signatures.verify(
            self._peer_key,
            verify.algorithm,
            verify.signature,
            context,
            self._schedule.transcript_hash(),
        )
        self._schedule.add(message)

    def _send_certificate(
        self, identity: Identity, scheme: int, context: bytes, algorithm: int | None
    ) -> None:
        self._send_handshake(identity.message_for(algorithm))
        digest = self._schedule.transcript_hash()
        signature = signatures.sign(identity.key, scheme, context, digest)
        self._send_handshake(CertificateVerify(algorithm=scheme, signature=signature).pack())

    def _read_finished(self, body: bytes, message: bytes, secret: bytes) -> None:
        expected = self._schedule.verify_data(secret)
        if len(body) != len(expected):
            decode_error(f"Finished has {len(body)} bytes instead of {len(expected)}")
        if not hmac.compare_digest(body, expected):
            raise Alert(AlertDescription.DECRYPT_ERROR, "Finished does not fit the handshake")
        self._schedule.add(message)

    def _send_finished(self, secret: bytes) -> None:
        self._send_handshake(pack(HandshakeType.FINISHED, self._schedule.verify_data(secret)))
