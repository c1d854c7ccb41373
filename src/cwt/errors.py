"""Every exception and error code of cwt.

::

    CwtError
    ├── ConfigError (ValueError)
    ├── ConnectError (ConnectionError)
    │   ├── HandshakeError
    │   ├── CertificateError
    │   ├── SessionRejected            .status .headers
    │   └── ConnectTimeout (TimeoutError)
    ├── ConnectionClosed (ConnectionError)
    │   ├── TransportError             .code .frame_type .reason .remote
    │   ├── ApplicationError           .code .reason .remote
    │   ├── IdleTimeout (TimeoutError)
    │   └── StatelessReset
    ├── SessionClosed (ConnectionError)   .code .reason .remote
    ├── StreamReset (ConnectionResetError)   .code
    ├── StreamStopped (BrokenPipeError)      .code
    ├── StreamLimitError
    ├── MigrationError
    ├── DatagramTooLarge (ValueError)     .limit
    └── BufferFull (BlockingIOError)
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

__all__ = [
    "ApplicationError",
    "BufferFull",
    "CertificateError",
    "ConfigError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionClosed",
    "CwtError",
    "DatagramTooLarge",
    "H3ErrorCode",
    "HandshakeError",
    "IdleTimeout",
    "MigrationError",
    "SessionClosed",
    "SessionRejected",
    "StatelessReset",
    "StreamLimitError",
    "StreamReset",
    "StreamStopped",
    "TransportError",
    "TransportErrorCode",
]


class TransportErrorCode(IntEnum):
    """Codes of a transport CONNECTION_CLOSE (RFC 9000 Section 20.1)."""

    NO_ERROR = 0x00
    INTERNAL_ERROR = 0x01
    CONNECTION_REFUSED = 0x02
    FLOW_CONTROL_ERROR = 0x03
    STREAM_LIMIT_ERROR = 0x04
    STREAM_STATE_ERROR = 0x05
    FINAL_SIZE_ERROR = 0x06
    FRAME_ENCODING_ERROR = 0x07
    TRANSPORT_PARAMETER_ERROR = 0x08
    CONNECTION_ID_LIMIT_ERROR = 0x09
    PROTOCOL_VIOLATION = 0x0A
    INVALID_TOKEN = 0x0B
    APPLICATION_ERROR = 0x0C
    CRYPTO_BUFFER_EXCEEDED = 0x0D
    KEY_UPDATE_ERROR = 0x0E
    AEAD_LIMIT_REACHED = 0x0F
    NO_VIABLE_PATH = 0x10
    VERSION_NEGOTIATION_ERROR = 0x11
    CRYPTO_ERROR = 0x100
    """First of 256 codes: 0x100 + TLS alert (RFC 9001 Section 4.8)."""


class H3ErrorCode(IntEnum):
    """HTTP/3, QPACK and WebTransport error codes (RFC 9114 Section 8.1, RFC 9204 Section 6, RFC 9297
    Section 5.2, draft-ietf-webtrans-http3-16 Section 9.5)."""

    NO_ERROR = 0x0100
    GENERAL_PROTOCOL_ERROR = 0x0101
    INTERNAL_ERROR = 0x0102
    STREAM_CREATION_ERROR = 0x0103
    CLOSED_CRITICAL_STREAM = 0x0104
    FRAME_UNEXPECTED = 0x0105
    FRAME_ERROR = 0x0106
    EXCESSIVE_LOAD = 0x0107
    ID_ERROR = 0x0108
    SETTINGS_ERROR = 0x0109
    MISSING_SETTINGS = 0x010A
    REQUEST_REJECTED = 0x010B
    REQUEST_CANCELLED = 0x010C
    REQUEST_INCOMPLETE = 0x010D
    MESSAGE_ERROR = 0x010E
    CONNECT_ERROR = 0x010F
    VERSION_FALLBACK = 0x0110
    QPACK_DECOMPRESSION_FAILED = 0x0200
    QPACK_ENCODER_STREAM_ERROR = 0x0201
    QPACK_DECODER_STREAM_ERROR = 0x0202
    DATAGRAM_ERROR = 0x33
    WT_BUFFERED_STREAM_REJECTED = 0x3994BD84
    WT_SESSION_GONE = 0x170D7B68
    WT_FLOW_CONTROL_ERROR = 0x045D4487
    WT_ALPN_ERROR = 0x0817B3DD
    WT_REQUIREMENTS_NOT_MET = 0x212C0D48


def _code_name(code: int, codes: type[IntEnum]) -> str:
    if codes is TransportErrorCode and 0x100 <= code <= 0x1FF:
        return f"CRYPTO_ERROR with TLS alert {code - 0x100} (0x{code:x})"
    try:
        return f"{codes(code).name} (0x{code:x})"
    except ValueError:
        return f"0x{code:x}"


class CwtError(Exception):
    """Base of every exception that cwt raises on its own account."""


class ConfigError(CwtError, ValueError):
    """A setting is out of range or contradicts another one; the message names it."""


class ConnectError(CwtError, ConnectionError):
    """A connection or session could not be established."""


class HandshakeError(ConnectError):
    """The QUIC or TLS handshake failed.

    ``code`` is the transport error code (RFC 9000 Section 20.1), or None when there was none.
    """

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


class CertificateError(ConnectError):
    """The peer's certificate was refused; the message says why and what to do."""


class SessionRejected(ConnectError):
    """The server answered the session request with a status other than 2xx.

    ``status`` is the HTTP status, ``headers`` the response fields.
    """

    def __init__(self, status: int, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(
            f"the server rejected the session with HTTP status {status}; check the URL's path and "
            "the server's origin rules"
        )
        self.status = status
        self.headers = list(headers)


class ConnectTimeout(ConnectError, TimeoutError):
    """No session within ``open_timeout`` seconds."""


class ConnectionClosed(CwtError, ConnectionError):
    """The QUIC connection is gone."""


class TransportError(ConnectionClosed):
    """The connection was closed with a transport error (RFC 9000 Section 20.1).

    ``code`` is the error code, ``frame_type`` the frame that caused it (0 when unknown), ``reason`` the
    text that came with it, ``remote`` whether the peer closed.
    """

    def __init__(
        self, code: int, reason: str = "", frame_type: int = 0, remote: bool = False
    ) -> None:
        self.code = code
        self.reason = reason
        self.frame_type = frame_type
        self.remote = remote
        super().__init__(code, reason, frame_type, remote)

    def __str__(self) -> str:
        who = "the peer closed" if self.remote else "closed"
        text = f"{who} the connection with {_code_name(self.code, TransportErrorCode)}"
        if self.frame_type:
            text += f" on frame type 0x{self.frame_type:x}"
        return f"{text}: {self.reason}" if self.reason else text


class ApplicationError(ConnectionClosed):
    """The connection was closed with an application error code (RFC 9000 Section 20.2).

    ``code`` is the code, ``reason`` the text, ``remote`` whether the peer closed.
    """

    def __init__(self, code: int, reason: str = "", remote: bool = False) -> None:
        self.code = code
        self.reason = reason
        self.remote = remote
        super().__init__(code, reason, remote)

    def __str__(self) -> str:
        who = "the peer closed" if self.remote else "closed"
        text = f"{who} the connection with application code {_code_name(self.code, H3ErrorCode)}"
        return f"{text}: {self.reason}" if self.reason else text


class IdleTimeout(ConnectionClosed, TimeoutError):
    """Nothing was received for the idle timeout (RFC 9000 Section 10.1); a keep-alive avoids it."""


class StatelessReset(ConnectionClosed):
    """The peer has lost the state of this connection (RFC 9000 Section 10.3); connect again."""


class SessionClosed(CwtError, ConnectionError):
    """The WebTransport session has ended.

    ``code`` and ``reason`` are those of its close, ``remote`` whether the peer closed it.
    """

    def __init__(self, code: int = 0, reason: str = "", remote: bool = True) -> None:
        self.code = code
        self.reason = reason
        self.remote = remote
        super().__init__(code, reason, remote)

    def __str__(self) -> str:
        who = "the peer closed the session" if self.remote else "the session is closed"
        text = f"{who} (code {self.code})"
        return f"{text}: {self.reason}" if self.reason else text


class StreamReset(CwtError, ConnectionResetError):
    """The peer abandoned its sending side of the stream (RESET_STREAM, RFC 9000 Section 19.4).

    ``code`` is the application's code, or None when the reset carried none.
    """

    def __init__(self, code: int | None = None) -> None:
        self.code = code
        super().__init__(code)

    def __str__(self) -> str:
        return f"the peer reset the stream with {_stream_code(self.code)}"


class StreamStopped(CwtError, BrokenPipeError):
    """The peer does not want more data on the stream (STOP_SENDING, RFC 9000 Section 19.5).

    ``code`` is the application's code, or None when there was none.
    """

    def __init__(self, code: int | None = None) -> None:
        self.code = code
        super().__init__(code)

    def __str__(self) -> str:
        return f"the peer stopped reading the stream with {_stream_code(self.code)}"


def _stream_code(code: int | None) -> str:
    return "no application code" if code is None else f"code {code}"


class StreamLimitError(CwtError):
    """The peer allows no more streams now (RFC 9000 Section 4.6); wait for one to end."""


class MigrationError(CwtError):
    """This connection cannot take another path (RFC 9000 Section 9); its message says why."""


class DatagramTooLarge(CwtError, ValueError):
    """The datagram does not fit; ``limit`` is the most bytes that do."""

    def __init__(self, size: int, limit: int) -> None:
        self.limit = limit
        super().__init__(
            f"a datagram of {size} bytes does not fit: the limit now is {limit}; send less or use "
            "a stream"
            if limit
            else "the peer does not accept datagrams; use a stream"
        )


class BufferFull(CwtError, BlockingIOError):
    """A non-blocking write found the buffer full; await ``drain()`` or ``write()``."""
