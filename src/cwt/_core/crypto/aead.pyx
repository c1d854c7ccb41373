"""AEAD and header protection in batches, by the chosen back end (RFC 9001 Sections 5.3 and 5.4).

Two back ends give the same bytes: ``evp`` (the interpreter's libcrypto, faster) and
``cryptography`` (everywhere). The first that loads and passes its self-test is taken; the
environment variable ``CWT_AEAD`` names one instead, and ``CWT_LIBCRYPTO`` the file of the libcrypto
that ``evp`` takes.
"""

import os

from cwt._core.crypto.protection cimport Aead, HeaderProtection

from cwt.errors import ConfigError

BACK_ENDS = ("evp", "cryptography")

# Cipher suite, key, IV, header protection key, packet number, header, plaintext, ciphertext with
# tag, sample, mask.
cdef list VECTORS = [[int(line[0], 16), *map(bytes.fromhex, line[1:4]), int(line[4]),
                      *map(bytes.fromhex, line[5:])] for line in (
    # The server's Initial packet, RFC 9001 Section A.3.
    (
        "1301", "cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e",
        "c206b8d9b9f0f37644430b490eeaa314", "1",
        "c1000000010008f067a5502a4262b50040750001",
        "02000000000600405a020000560303eefce7f7b37ba1d1632e96677825ddf73988cfc79825df566dc5430b9a04"
        "5a1200130100002e00330024001d00209d3c940d89690b84d08a60993c144eca684d1081287c834d5311bcf32b"
        "b9da1a002b00020304",
        "5a482cd0991cd25b0aac406a5816b6394100f37a1c69797554780bb38cc5a99f5ede4cf73c3ec2493a1839b3db"
        "cba3f6ea46c5b7684df3548e7ddeb9c3bf9c73cc3f3bded74b562bfb19fb84022f8ef4cdd93795d77d06edbb7a"
        "af2f58891850abbdca3d20398c276456cbc42158407dd074ee",
        "2cd0991cd25b0aac406a5816b6394100", "2ec0d8356a",
    ),
    # Case 14 of the GCM specification (McGrew and Viega), and FIPS 197 Section C.3.
    (
        "1302", "00" * 32, "00" * 12,
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", "0",
        "", "00" * 16, "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919",
        "00112233445566778899aabbccddeeff", "8ea2b7ca51",
    ),
    # The short header packet of RFC 9001 Section A.5.
    (
        "1303", "c6d98ff3441c3fe1b2182094f69caa2ed4b716b65488960a7a984979fb23e1c8",
        "e0459b3474bdd0e44a41c144",
        "25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4", "654360564",
        "4200bff4", "01", "655e5cd55c41f69080575d7999c25a5bfb",
        "5e5cd55c41f69080575d7999c25a5bfb", "aefefe7d03",
    ),
)]

cdef dict _loaded = {}


def self_test(aead, header_protection):
    """ImportError unless the two classes agree with published vectors and refuse a forgery."""
    for suite, key, iv, hp, number, header, plaintext, sealed, sample, mask in VECTORS:
        packet = bytearray(header + plaintext + bytes(16))
        cipher = aead(suite, key, iv)
        cipher.seal_batch(packet, len(packet), len(header), number)
        if packet != header + sealed:
            raise ImportError(f"cipher suite 0x{suite:04x} seals a wrong packet")
        forged = bytearray(packet)
        forged[len(forged) - 1] ^= 1
        if cipher.open_batch(forged, len(forged), len(header), number) != [False]:
            raise ImportError(f"cipher suite 0x{suite:04x} opens a forged packet")
        opened = cipher.open_batch(packet, len(packet), len(header), number)
        if opened != [True] or packet[len(header):len(packet) - 16] != plaintext:
            raise ImportError(f"cipher suite 0x{suite:04x} cannot open its own packet")
        if header_protection(suite, hp).masks(sample * 2) != [mask, mask]:
            raise ImportError(f"cipher suite 0x{suite:04x} makes a wrong header protection mask")


def _load(str name):
    # (Aead class, HeaderProtection class, library version) of a back end; ImportError says why not.
    if name not in _loaded:
        if name == "evp":
            from cwt._core.crypto import evp
            classes = evp.EvpAead, evp.EvpHeaderProtection, evp.library_version
        elif name == "cryptography":
            from cwt._core.crypto import cryptography_aead
            classes = (
                cryptography_aead.CryptographyAead,
                cryptography_aead.CryptographyHeaderProtection,
                cryptography_aead.library_version,
            )
        else:
            raise ConfigError(f"no AEAD back end {name!r}: take one of {', '.join(BACK_ENDS)}")
        try:
            self_test(classes[0], classes[1])
        except ImportError:
            raise
        except Exception as error:
            raise ImportError(f"its self-test failed: {error}") from error
        _loaded[name] = classes
    return _loaded[name]


def _choose(str forced):
    if forced:
        try:
            _load(forced)
        except ConfigError as error:
            raise ConfigError(f"CWT_AEAD: {error}") from None
        except ImportError as error:
            raise ImportError(
                f"CWT_AEAD asks for the {forced} back end, which is not usable here: {error}; "
                "unset CWT_AEAD to let cwt choose"
            ) from error
        return forced
    try:
        _load("evp")
        return "evp"
    except ImportError as error:
        if "CWT_LIBCRYPTO" in os.environ:
            raise ImportError(
                f"CWT_LIBCRYPTO names a library that is not usable: {error}; unset it to let cwt choose"
            ) from error
        _load("cryptography")
        return "cryptography"


backend = _choose(os.environ.get("CWT_AEAD", ""))
"""Name of the back end in use: "evp" or "cryptography"."""

library_version = _load(backend)[2]
"""The library behind it, with its version."""

cdef object _Aead = _load(backend)[0]
cdef object _HeaderProtection = _load(backend)[1]


cdef Aead make_aead(int cipher_suite, bytes key, bytes iv):
    return _Aead(cipher_suite, key, iv)


cdef HeaderProtection make_header_protection(int cipher_suite, bytes key):
    return _HeaderProtection(cipher_suite, key)


def aead(int cipher_suite, bytes key, bytes iv, str back_end=""):
    """An Aead for *cipher_suite* (0x1301 to 0x1303) by the back end named, or by the one in use.

    ValueError for another suite or lengths that do not fit it; ImportError when the back end is not
    usable.
    """
    return _load(back_end or backend)[0](cipher_suite, key, iv)


def header_protection(int cipher_suite, bytes key, str back_end=""):
    """A HeaderProtection, chosen as by :func:`aead`."""
    return _load(back_end or backend)[1](cipher_suite, key)
