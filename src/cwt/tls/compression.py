"""Certificate compression (RFC 8879).

A chain is most of what a server sends before the client's address is validated, so its size decides whether
the handshake takes another round trip.  zlib is always there.  brotli needs the package ``brotli`` (1.2 or
newer), zstd Python 3.14 or the package ``backports.zstd``.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from typing import Any, NamedTuple, Protocol

from cwt.errors import ConfigError
from cwt.tls.alerts import Alert, AlertDescription
from cwt.tls.codec import Reader, vector
from cwt.tls.messages import MAX_MESSAGE_LENGTH, HandshakeType, pack

__all__ = ["CertificateCompression", "choose", "compress", "configured", "decompress"]

_MAX_ZSTD_WINDOW = 23
"""log2 of the window that a zstd frame may ask for: the 8 MiB of RFC 8878 Section 3.1.1.1.2."""


class CertificateCompression(IntEnum):
    """Algorithms (RFC 8879 Section 7.3)."""

    ZLIB = 1
    BROTLI = 2
    ZSTD = 3


class _Algorithm(Protocol):
    def compress(self, data: bytes) -> bytes: ...

    def decompress(self, data: bytes, length: int) -> bytes | None:
        """What *data* stands for when that has *length* bytes, else None or any exception.

        Never produces much more than *length* bytes, whatever *data* is.
        """


class _Zlib:
    def compress(self, data: bytes) -> bytes:
        return zlib.compress(data, 9)

    def decompress(self, data: bytes, length: int) -> bytes | None:
        stream = zlib.decompressobj()
        plain = stream.decompress(data, length + 1)
        return plain if stream.eof and not stream.unused_data else None


class _Brotli:
    def __init__(self) -> None:
        import brotli

        self._module: Any = brotli
        # Older versions cannot be kept from producing all that the peer asks for: TypeError.
        brotli.Decompressor().process(b"", output_buffer_limit=1)

    def compress(self, data: bytes) -> bytes:
        compressed: bytes = self._module.compress(data, quality=11)
        return compressed

    def decompress(self, data: bytes, length: int) -> bytes | None:
        stream = self._module.Decompressor()
        plain: bytes = stream.process(data, output_buffer_limit=length + 1)
        while not stream.is_finished() and len(plain) <= length:
            # The limit is one of each call, which also stops at the ends of internal buffers.
            more: bytes = stream.process(b"", output_buffer_limit=length + 1 - len(plain))
            if not more:
                return None
            plain += more
        return plain if stream.is_finished() else None


class _Zstd:
    def __init__(self) -> None:
        if sys.version_info >= (3, 14):
            from compression import zstd
        else:
            from backports import zstd
        self._module: Any = zstd

    def compress(self, data: bytes) -> bytes:
        compressed: bytes = self._module.compress(data, 19)
        return compressed

    def decompress(self, data: bytes, length: int) -> bytes | None:
        options = {self._module.DecompressionParameter.window_log_max: _MAX_ZSTD_WINDOW}
        stream = self._module.ZstdDecompressor(options=options)
        plain: bytes = stream.decompress(data, length + 1)
        return plain if stream.eof and not stream.unused_data else None


_MAKERS: dict[CertificateCompression, type[_Algorithm]] = {
    # Best first, for certificates.
    CertificateCompression.BROTLI: _Brotli,
    CertificateCompression.ZSTD: _Zstd,
    CertificateCompression.ZLIB: _Zlib,
}


@cache
def _algorithms() -> dict[int, _Algorithm]:
    """Those that work here, best first."""
    found: dict[int, _Algorithm] = {}
    for number, maker in _MAKERS.items():
        try:
            found[number] = maker()
        except (ImportError, AttributeError, TypeError):
            continue
    return found


def configured(names: Sequence[str] | None) -> tuple[int, ...]:
    """The algorithms that the setting ``certificate_compression`` allows, best first."""
    working = _algorithms()
    if names is None:
        return tuple(working)
    if isinstance(names, str):
        names = [names]
    wanted = set()
    for name in names:
        try:
            number = CertificateCompression[name.upper()]
        except KeyError:
            known = ", ".join(member.name.lower() for member in CertificateCompression)
            raise ConfigError(
                f"certificate_compression does not know {name!r}; it knows {known}"
            ) from None
        if number not in working:
            package = "brotli>=1.2" if name.lower() == "brotli" else "backports.zstd"
            raise ConfigError(
                f"certificate_compression {name!r} needs the package {package}, which is not here"
            )
        wanted.add(number)
    return tuple(number for number in working if number in wanted)


def choose(ours: Sequence[int], theirs: Sequence[int] | None) -> int | None:
    """The algorithm for a message to a peer that can undo *theirs*."""
    if theirs is not None:
        for number in ours:
            if number in theirs:
                return number
    return None


def compress(number: int, message: bytes) -> bytes:
    """The CompressedCertificate in the place of the Certificate *message*."""
    body = message[4:]
    compressed = _algorithms()[number].compress(body)
    return _CompressedCertificate(number, len(body), compressed).pack()


def decompress(body: bytes, offered: Sequence[int]) -> bytes:
    """The body of the Certificate in *body*, that of a CompressedCertificate; raises Alert."""
    message = _CompressedCertificate.parse(body)
    if message.algorithm not in offered:
        raise Alert(
            AlertDescription.ILLEGAL_PARAMETER,
            f"the certificate is compressed with algorithm {message.algorithm}, "
            "which was not offered",
        )
    if message.length > MAX_MESSAGE_LENGTH:
        raise _bad(f"would have {message.length} bytes, more than {MAX_MESSAGE_LENGTH}")
    try:
        plain = _algorithms()[message.algorithm].decompress(message.data, message.length)
    except Exception as error:  # each library has its own
        raise _bad("cannot be decompressed") from error
    if plain is None or len(plain) != message.length:
        raise _bad(f"does not have the {message.length} bytes it says")
    return plain


def _bad(what: str) -> Alert:
    return Alert(
        AlertDescription.BAD_CERTIFICATE, f"the compressed certificate {what}", certificate=True
    )


class _CompressedCertificate(NamedTuple):
    """RFC 8879 Section 4."""

    algorithm: int
    length: int
    data: bytes

    @classmethod
    def parse(cls, body: bytes) -> _CompressedCertificate:
        reader = Reader(body)
        message = cls(reader.uint(2), reader.uint(3), reader.vector(3, 1))
        reader.finish()
        return message

    def pack(self) -> bytes:
        head = self.algorithm.to_bytes(2, "big") + self.length.to_bytes(3, "big")
        return pack(HandshakeType.COMPRESSED_CERTIFICATE, head + vector(3, self.data))
