from __future__ import annotations

import io
import tracemalloc
import zlib
from dataclasses import replace
from typing import Any

import pytest

from cwt.errors import ConfigError
from cwt.tls import Alert, AlertDescription, Level, compression
from cwt.tls.compression import CertificateCompression, choose, compress, configured, decompress
from cwt.tls.messages import Certificate, CertificateRequest, HandshakeType
from tests.tls.support import (
    client_context,
    client_hello,
    deliver,
    long_chain,
    pair,
    refuses,
    root,
    run,
    self_signed,
    server_context,
    server_flight,
    split,
)

WORKING = configured(None)
BODY = b"certificate " * 200
MESSAGE = b"\x0b" + len(BODY).to_bytes(3, "big") + BODY


def body_of(algorithm: int, length: int, data: bytes) -> bytes:
    head = algorithm.to_bytes(2, "big") + length.to_bytes(3, "big")
    return head + len(data).to_bytes(3, "big") + data


def packed(algorithm: int, data: bytes) -> bytes:
    """*data* as its compressor has it, without the message around it."""
    return compression._algorithms()[algorithm].compress(data)


def refused(body: bytes, offered: Any = WORKING) -> int:
    with pytest.raises(Alert) as info:
        decompress(body, offered)
    return info.value.description


def test_zlib_is_always_there() -> None:
    assert CertificateCompression.ZLIB in WORKING
    assert configured(["zlib"]) == (1,) == configured("zlib")  # type: ignore[arg-type]
    assert configured([]) == ()


def test_settings_that_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="gzip"):
        configured(["gzip"])
    monkeypatch.setattr(compression, "_algorithms", lambda: {1: compression._Zlib()})
    assert configured(None) == (1,)
    with pytest.raises(ConfigError, match="backports"):
        configured(["zstd"])
    with pytest.raises(ConfigError, match=r"brotli>=1\.2"):
        configured(["zlib", "brotli"])


def test_a_library_that_cannot_be_limited_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def __init__(self) -> None:
            raise TypeError("process() takes no keyword arguments")

    monkeypatch.setitem(compression._MAKERS, CertificateCompression.BROTLI, Old)
    assert CertificateCompression.BROTLI not in compression._algorithms.__wrapped__()


def test_choice() -> None:
    assert choose((2, 1), (1, 2)) == 2
    assert choose((1,), (3, 1)) == 1
    assert choose((1,), (2,)) is None
    assert choose((1,), None) is None
    assert choose((), (1,)) is None


@pytest.mark.parametrize("algorithm", WORKING)
def test_there_and_back(algorithm: int) -> None:
    message = compress(algorithm, MESSAGE)
    assert message[0] == HandshakeType.COMPRESSED_CERTIFICATE
    assert decompress(message[4:], [algorithm]) == BODY


@pytest.mark.parametrize("algorithm", WORKING)
def test_every_length_but_the_right_one_is_refused(algorithm: int) -> None:
    data = packed(algorithm, BODY)
    for length in (0, 1, len(BODY) - 1, len(BODY) + 1, 65536):
        assert refused(body_of(algorithm, length, data)) == AlertDescription.BAD_CERTIFICATE
    for length in (65537, (1 << 24) - 1):
        assert refused(body_of(algorithm, length, data)) == AlertDescription.BAD_CERTIFICATE


@pytest.mark.parametrize("algorithm", WORKING)
def test_data_that_is_broken(algorithm: int) -> None:
    data = packed(algorithm, BODY)
    for bad in (data[:-1], data + b"\0", b"\0" + data, data[1:], b"\xff" * 20, data + data):
        assert refused(body_of(algorithm, len(BODY), bad)) == AlertDescription.BAD_CERTIFICATE
    assert refused(body_of(algorithm, 0, b"")) == AlertDescription.DECODE_ERROR
    whole = body_of(algorithm, len(BODY), data)
    assert refused(whole + b"\0") == refused(whole[:-1]) == AlertDescription.DECODE_ERROR


def test_algorithms_that_were_not_offered() -> None:
    body = body_of(1, len(BODY), packed(1, BODY))
    assert refused(body, (2, 3)) == AlertDescription.ILLEGAL_PARAMETER
    assert refused(body_of(4, 5, b"xxxxx")) == AlertDescription.ILLEGAL_PARAMETER


@pytest.mark.parametrize("algorithm", WORKING)
def test_a_bomb_does_not_go_off(algorithm: int) -> None:
    bomb = packed(algorithm, bytes(50_000_000))
    assert len(bomb) < 60000
    tracemalloc.start()
    try:
        assert refused(body_of(algorithm, 60000, bomb)) == AlertDescription.BAD_CERTIFICATE
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_zstd_with_a_giant_window() -> None:
    if CertificateCompression.ZSTD not in WORKING:
        pytest.skip("zstd is not here")
    zstd = compression._algorithms()[CertificateCompression.ZSTD]._module  # type: ignore[attr-defined]
    options = {
        zstd.CompressionParameter.compression_level: 3,
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    stream = zstd.ZstdCompressor(options=options)
    data = stream.compress(BODY) + stream.flush()
    assert refused(body_of(3, len(BODY), data)) == AlertDescription.BAD_CERTIFICATE


# In handshakes.


def accepting(**options: Any) -> Any:
    return client_context(verify=lambda chain, name: None, **options)


@pytest.mark.parametrize("algorithm", WORKING)
def test_server_certificate(algorithm: int) -> None:
    name = CertificateCompression(algorithm).name.lower()
    certificate = long_chain()
    context = accepting(certificate_compression=[name])
    client, server = pair(context, server_context(certificate))
    hello, flight = server_flight(client, server)
    message = next(m for m in flight if m[0] == HandshakeType.COMPRESSED_CERTIFICATE)
    assert int.from_bytes(message[4:6], "big") == algorithm
    client.receive(Level.INITIAL, hello)
    client.receive(Level.HANDSHAKE, b"".join(flight))
    deliver(client, server)
    assert client.is_complete and server.is_complete
    assert client.peer_certificates == list(certificate.chain)


@pytest.mark.parametrize("name", ["client", "server"])
def test_one_side_that_does_not_want_it(name: str) -> None:
    off: dict[str, Any] = {"certificate_compression": []}
    client, server = pair(
        accepting(**off if name == "client" else {}),
        server_context(long_chain(), **off if name == "server" else {}),
    )
    _, flight = server_flight(client, server)
    assert [message[0] for message in flight] == [8, 11, 15, 20]


def test_not_offered_when_it_is_off() -> None:
    client, _ = pair(accepting(certificate_compression=[]))
    assert client_hello(client).certificate_compression is None
    client, _ = pair(accepting())
    assert client_hello(client).certificate_compression == WORKING


def test_client_that_did_not_offer_it_takes_none() -> None:
    client, server = pair(accepting(certificate_compression=[]), server_context(long_chain()))
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    changed = flight[0] + compress(1, flight[1])
    assert refuses(client, Level.HANDSHAKE, changed).description == 10


def test_changed_certificate() -> None:
    client, server = pair(accepting(), server_context(long_chain()))
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    assert flight[1][0] == HandshakeType.COMPRESSED_CERTIFICATE
    changed = flight[1][:7] + b"\x00\x00" + flight[1][9:]
    alert = refuses(client, Level.HANDSHAKE, flight[0] + changed)
    assert alert.description == AlertDescription.BAD_CERTIFICATE and alert.certificate


def test_empty_certificate_in_compressed_form() -> None:
    client, server = pair(accepting(), server_context(long_chain()))
    hello, flight = server_flight(client, server)
    client.receive(Level.INITIAL, hello)
    empty = compress(1, Certificate().pack())
    assert refuses(client, Level.HANDSHAKE, flight[0] + empty).description == 50


def mutual(**client_options: Any) -> tuple[Any, Any]:
    user = long_chain(client=True)
    options = {"client_cert": user.cert_pem, "client_key": user.key_pem, **client_options}
    return pair(client_context(**options), server_context(client_ca=root().cert_pem))


def test_client_certificate() -> None:
    client, server = mutual()
    hello, flight = server_flight(client, server)
    request = CertificateRequest.parse(flight[1][4:])
    assert request.certificate_compression == WORKING
    client.receive(Level.INITIAL, hello)
    client.receive(Level.HANDSHAKE, b"".join(flight))
    [(_, data)] = client.output()
    assert [message[0] for message in split(data)] == [25, 15, 20]
    server.receive(Level.HANDSHAKE, data)
    assert server.is_complete
    assert server.peer_certificates == list(long_chain(client=True).chain)


def test_client_that_does_not_want_to_compress() -> None:
    client, server = mutual(certificate_compression=[])
    run(client, server)
    assert server.is_complete and server.peer_certificates


def test_changing_it_after_a_retry_is_refused() -> None:
    client, server = pair(
        client_context(groups=[0x1D, 0x17]), server_context(self_signed(), groups=[0x17])
    )
    first = client_hello(client)
    server.receive(Level.INITIAL, first.pack())
    deliver(server, client)
    [(_, data)] = client.output()
    from cwt.tls.messages import ClientHello

    second = replace(ClientHello.parse(data[4:]), certificate_compression=(1,))
    if first.certificate_compression == (1,):
        second = replace(second, certificate_compression=None)
    assert refuses(server, Level.INITIAL, second.pack()).description == 47


def test_zlib_reads_what_others_wrote() -> None:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 9)
    data = io.BytesIO(compressor.compress(BODY) + compressor.flush()).read()
    assert decompress(body_of(1, len(BODY), data), (1,)) == BODY
