"""Both AEAD back ends against published vectors, against each other, and against forgeries."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

from cwt._core.crypto import aead
from cwt._core.crypto.protection import Aead

SUITES = {0x1301: 16, 0x1302: 32, 0x1303: 32}
IV = bytes(range(100, 112))
HEADER = 13


def usable(name: str) -> bool:
    try:
        aead.aead(0x1301, bytes(16), bytes(12), name)
    except ImportError:
        return False
    return True


BACK_ENDS = [name for name in aead.BACK_ENDS if usable(name)]


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=SUITES, ids=hex)
def suite(request: pytest.FixtureRequest) -> int:
    return request.param


def key_of(suite: int) -> bytes:
    return bytes(range(SUITES[suite]))


def cipher(suite: int, back_end: str) -> Aead:
    return aead.aead(suite, key_of(suite), IV, back_end)


def batch(count: int, size: int) -> bytearray:
    return bytearray(i * 7 % 251 for i in range(count * size))


def reference_seal(suite: int, number: int, header: bytes, plaintext: bytes) -> bytes:
    """The same packet by one call of ``cryptography`` with the nonce made here."""
    primitive = ChaCha20Poly1305 if suite == 0x1303 else AESGCM
    nonce = int.from_bytes(IV) ^ number
    return header + primitive(key_of(suite)).encrypt(nonce.to_bytes(12), plaintext, header)


def test_interpreter_here_has_the_fast_back_end() -> None:
    if sys.platform == "linux" and "AEAD" not in os.environ.get("CWT_TEST_WITHOUT", ""):
        assert BACK_ENDS == ["evp", "cryptography"]


@pytest.mark.parametrize("number", [0, 1, 2**32 - 2, 2**61 + 12345])
@pytest.mark.parametrize("size", [HEADER + 17, 1200, 1452, 8952])
def test_seal_is_the_standard_construction(
    suite: int, back_end: str, size: int, number: int
) -> None:
    buffer = batch(3, size)
    plain = bytes(buffer)
    cipher(suite, back_end).seal_batch(buffer, size, HEADER, number)
    for i in range(3):
        packet = plain[i * size : (i + 1) * size]
        expected = reference_seal(suite, number + i, packet[:HEADER], packet[HEADER:-16])
        assert bytes(buffer[i * size : (i + 1) * size]) == expected


@pytest.mark.parametrize("opener", BACK_ENDS)
def test_each_back_end_opens_what_the_other_sealed(suite: int, back_end: str, opener: str) -> None:
    buffer = batch(40, 1200)[: 39 * 1200 + 500]
    plain = bytes(buffer)
    cipher(suite, back_end).seal_batch(buffer, 1200, HEADER, 77)
    assert cipher(suite, opener).open_batch(buffer, 1200, HEADER, 77) == [True] * 40
    for i in range(40):
        end = min((i + 1) * 1200, len(buffer)) - 16
        assert buffer[i * 1200 : end] == plain[i * 1200 : end]


@pytest.mark.parametrize("position", [0, HEADER - 1, HEADER, HEADER + 30, 183, 184, 199])
def test_one_changed_bit_is_refused(suite: int, back_end: str, position: int) -> None:
    buffer = batch(3, 200)
    cipher(suite, back_end).seal_batch(buffer, 200, HEADER, 5)
    buffer[200 + position] ^= 0x10
    reader = cipher(suite, back_end)
    assert reader.open_batch(buffer, 200, HEADER, 5) == [True, False, True]


def test_another_packet_number_or_key_is_refused(suite: int, back_end: str) -> None:
    buffer = batch(1, 200)
    sealed = cipher(suite, back_end)
    sealed.seal_batch(buffer, 200, HEADER, 5)
    other = aead.aead(suite, bytes(SUITES[suite]), IV, back_end)
    assert cipher(suite, back_end).open_batch(bytearray(buffer), 200, HEADER, 6) == [False]
    assert other.open_batch(bytearray(buffer), 200, HEADER, 5) == [False]
    assert cipher(suite, back_end).open_batch(buffer, 200, HEADER, 5) == [True]


def test_a_key_opens_again_after_a_forgery(suite: int, back_end: str) -> None:
    buffer = batch(2, 100)
    cipher(suite, back_end).seal_batch(buffer, 100, HEADER, 5)
    reader = cipher(suite, back_end)
    for _ in range(3):
        forged = bytearray(buffer)
        forged[50] ^= 1
        assert reader.open_batch(forged, 100, HEADER, 5) == [False, True]


def test_empty_plaintext(suite: int, back_end: str) -> None:
    buffer = batch(1, HEADER + 16)
    plain = bytes(buffer)
    cipher(suite, back_end).seal_batch(buffer, len(buffer), HEADER, 9)
    assert bytes(buffer) == reference_seal(suite, 9, plain[:HEADER], b"")
    assert cipher(suite, back_end).open_batch(buffer, len(buffer), HEADER, 9) == [True]


def test_one_key_seals_and_opens_in_turn(suite: int, back_end: str) -> None:
    both = cipher(suite, back_end)
    for number in range(5):
        buffer = batch(2, 64 + number)
        plain = bytes(buffer)
        both.seal_batch(buffer, 64 + number, HEADER, number)
        assert both.open_batch(buffer, 64 + number, HEADER, number) == [True, True]
        assert buffer[HEADER:40] == plain[HEADER:40]


@pytest.mark.parametrize("other", BACK_ENDS)
@pytest.mark.parametrize("count", [0, 1, 2, 63, 64, 65, 200])
def test_masks_agree_and_do_not_depend_on_the_batch(
    suite: int, back_end: str, other: str, count: int
) -> None:
    samples = bytes(i * 31 % 256 for i in range(16 * count))
    masks = aead.header_protection(suite, key_of(suite), back_end).masks(samples)
    single = aead.header_protection(suite, key_of(suite), other)
    assert masks == [single.masks(samples[i * 16 : i * 16 + 16])[0] for i in range(count)]


def test_misuse_is_refused(back_end: str) -> None:
    with pytest.raises(ValueError, match="cipher suite 0x1304"):
        aead.aead(0x1304, bytes(16), bytes(12), back_end)
    with pytest.raises(ValueError, match="has 16 bytes, not 32"):
        aead.aead(0x1301, bytes(32), bytes(12), back_end)
    with pytest.raises(ValueError, match="has 32 bytes, not 16"):
        aead.header_protection(0x1303, bytes(16), back_end)
    with pytest.raises(ValueError, match="12 bytes"):
        aead.aead(0x1301, bytes(16), bytes(8), back_end)
    good = aead.aead(0x1301, bytes(16), bytes(12), back_end)
    with pytest.raises(ValueError, match="room"):
        good.seal_batch(bytearray(20), 20, 5, 0)
    with pytest.raises(ValueError, match="at least one byte"):
        good.seal_batch(bytearray(20), 0, 5, 0)
    with pytest.raises(BufferError):
        good.seal_batch(bytes(40), 40, 5, 0)
    with pytest.raises(ValueError, match="16 bytes each"):
        aead.header_protection(0x1301, bytes(16), back_end).masks(bytes(17))


def test_self_test_refuses_a_wrong_cipher(back_end: str) -> None:
    good = type(aead.aead(0x1301, bytes(16), bytes(12), back_end))
    masks = type(aead.header_protection(0x1301, bytes(16), back_end))
    aead.self_test(good, masks)

    class Wrong:
        def __init__(self, suite: int, key: bytes, iv: bytes) -> None:
            pass

        def seal_batch(self, *arguments: object) -> None:
            pass

    class WrongMasks:
        def __init__(self, suite: int, key: bytes) -> None:
            pass

        def masks(self, samples: bytes) -> list[bytes]:
            return [bytes(5)] * (len(samples) // 16)

    with pytest.raises(ImportError, match="seals a wrong packet"):
        aead.self_test(Wrong, masks)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match="wrong header protection mask"):
        aead.self_test(good, WrongMasks)  # type: ignore[arg-type]


def run_forced(name: str, code: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CWT_AEAD": name, "PYTHONPATH": os.pathsep.join(sys.path), **more}
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )


def test_environment_chooses_the_back_end(back_end: str) -> None:
    code = "from cwt._core.crypto import aead; print(aead.backend, aead.library_version)"
    result = run_forced(back_end, code)
    assert result.stdout.split()[0] == back_end, result.stderr
    assert "OpenSSL" in result.stdout or "LibreSSL" in result.stdout


def test_environment_with_an_unknown_back_end() -> None:
    result = run_forced("rot13", "import cwt._core.crypto.aead")
    assert result.returncode != 0
    assert "CWT_AEAD: no AEAD back end 'rot13'" in result.stderr


WITHOUT_EVP = "import sys; sys.modules['cwt._core.crypto.evp'] = None; "


def test_a_forced_back_end_that_is_missing_says_so() -> None:
    result = run_forced("evp", WITHOUT_EVP + "import cwt._core.crypto.aead")
    assert result.returncode != 0
    assert "CWT_AEAD asks for the evp back end" in result.stderr


def test_environment_names_another_libcrypto() -> None:
    code = "import cwt._core.crypto.evp as evp; print(evp.library_version)"
    result = run_forced("", code, CWT_LIBCRYPTO="libcrypto.so.3")
    if "libcrypto.so.3 cannot be opened" in result.stderr:
        pytest.skip("no libcrypto.so.3 in the library path")
    assert result.stdout.startswith("OpenSSL 3"), result.stderr


def test_a_named_libcrypto_that_is_none_says_so() -> None:
    result = run_forced("", "import cwt._core.crypto.aead", CWT_LIBCRYPTO="/no/such/library.so")
    assert result.returncode != 0
    assert "CWT_LIBCRYPTO names a library that is not usable" in result.stderr
    assert "/no/such/library.so cannot be opened" in result.stderr
    code = "from cwt._core.crypto import aead; print(aead.backend)"
    result = run_forced("cryptography", code, CWT_LIBCRYPTO="/no/such/library.so")
    assert result.stdout.strip() == "cryptography"


def test_libcrypto_is_found_by_name_without_hashlib() -> None:
    code = "import sys; sys.modules['_hashlib'] = None; import cwt._core.crypto.evp as evp; "
    result = run_forced("", code + "print(evp.library_version)")
    if "libcrypto.so.3 cannot be opened" in result.stderr:
        pytest.skip("no libcrypto.so.3 on this host")
    assert result.stdout.startswith("OpenSSL 3."), result.stderr


def test_cryptography_steps_in_where_libcrypto_is_missing() -> None:
    result = run_forced("", WITHOUT_EVP + "from cwt._core.crypto import aead; print(aead.backend)")
    assert result.stdout.strip() == "cryptography", result.stderr
