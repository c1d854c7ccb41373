"""TLS alerts (RFC 8446 Section 6).  QUIC sends them as CRYPTO_ERROR (RFC 9001 Section 4.8)."""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn

__all__ = ["Alert", "AlertDescription", "decode_error"]

PROTOCOL_VIOLATION = 0x0A
"""The QUIC code for TLS misuse that is not a TLS error (RFC 9000 Section 20.1)."""


class AlertDescription(IntEnum):
    """RFC 8446 Section 6."""

    CLOSE_NOTIFY = 0
    UNEXPECTED_MESSAGE = 10
    HANDSHAKE_FAILURE = 40
    BAD_CERTIFICATE = 42
    UNSUPPORTED_CERTIFICATE = 43
    CERTIFICATE_REVOKED = 44
    CERTIFICATE_EXPIRED = 45
    CERTIFICATE_UNKNOWN = 46
    ILLEGAL_PARAMETER = 47
    UNKNOWN_CA = 48
    ACCESS_DENIED = 49
    DECODE_ERROR = 50
    DECRYPT_ERROR = 51
    PROTOCOL_VERSION = 70
    INSUFFICIENT_SECURITY = 71
    INTERNAL_ERROR = 80
    USER_CANCELED = 90
    MISSING_EXTENSION = 109
    UNSUPPORTED_EXTENSION = 110
    UNRECOGNIZED_NAME = 112
    BAD_CERTIFICATE_STATUS_RESPONSE = 113
    UNKNOWN_PSK_IDENTITY = 115
    CERTIFICATE_REQUIRED = 116
    NO_APPLICATION_PROTOCOL = 120


class Alert(Exception):
    """The handshake failed on this side and the connection must be closed.

    ``description`` is the TLS alert, ``reason`` a text for people.  ``certificate`` is True when it
    was the peer's certificate that was refused, ``by_callback`` when a function of the application did so,
    whose exception is then the cause.  ``transport_code`` is the QUIC error code to close
    with instead of 0x100 + ``description``, or None (RFC 9001 has a few such cases).
    """

    def __init__(
        self,
        description: int,
        reason: str = "",
        *,
        certificate: bool = False,
        by_callback: bool = False,
        transport_code: int | None = None,
    ) -> None:
        super().__init__(description, reason)
        self.description = int(description)
        self.reason = reason
        self.certificate = certificate
        self.by_callback = by_callback
        self.transport_code = transport_code

    def __str__(self) -> str:
        try:
            name = AlertDescription(self.description).name.lower()
        except ValueError:
            name = "alert"
        text = f"{name} ({self.description})"
        return f"{text}: {self.reason}" if self.reason else text


def decode_error(what: str) -> NoReturn:
    """Raise the alert for a message that does not parse."""
    raise Alert(AlertDescription.DECODE_ERROR, what)
