"""Keys and whole packets of RFC 9001 Appendix A and RFC 9369 Appendix A."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple

import pytest

from cwt._core.crypto import aead, keys
from cwt.hkdf import expand_label

from .test_aead import BACK_ENDS, run_forced

PACKETS = json.loads((Path(__file__).parents[2] / "vectors/initial_packets.json").read_text())
DCID = bytes.fromhex("8394c8f03e515708")
V1, V2 = 1, 0x6B3343CF


class Vector(NamedTuple):
    """One side's Initial keys: what RFC 9001 Section A.1 and RFC 9369 Section A.1 list."""

    version: int
    side: str
    label: bytes
    secret: str
    key: str
    iv: str
    hp: str
    sample: str
    mask: str


INITIAL = [
    Vector(V1, "client", b"quic ",
           "c00cf151ca5be075ed0ebfb5c80323c42d6b7db67881289af4008f1f6c357aea",
           "1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c",
           "9f50449e04a0e810283a1e9933adedd2", "d1b1c98dd7689fb8ec11d242b123dc9b", "437b9aec36"),
    Vector(V1, "server", b"quic ",
           "3c199828fd139efd216c155ad844cc81fb82fa8d7446fa7d78be803acdda951b",
           "cf3a5331653c364c88f0f379b6067e37", "0ac1493ca1905853b0bba03e",
           "c206b8d9b9f0f37644430b490eeaa314", "2cd0991cd25b0aac406a5816b6394100", "2ec0d8356a"),
    Vector(V2, "client", b"quicv2 ",
           "14ec9d6eb9fd7af83bf5a668bc17a7e283766aade7ecd0891f70f9ff7f4bf47b",
           "8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f",
           "45b95e15235d6f45a6b19cbcb0294ba9", "ffe67b6abcdb4298b485dd04de806071", "94a0c95e80"),
    Vector(V2, "server", b"quicv2 ",
           "0263db1782731bf4588e7e4d93b7463907cb8cd8200b5da55a8bd488eafc37c1",
           "82db637861d55e1d011f19ea71d5d2a7", "dd13c276499c0249d3310652",
           "edf6d05c83121201b436e16877593c3a", "6f05d8a4398c47089698baeea26b91eb", "4dd92e91ea"),
]  # fmt: skip


def initial_key(vector: Vector) -> keys.Key:
    read, write = keys.initial_keys(vector.version, DCID, True)
    return write if vector.side == "client" else read


def protected(vector: Vector, key: keys.Key) -> tuple[bytearray, bytes]:
    """The packet the appendix seals, and what it must become."""
    packets = PACKETS["rfc9001_A" if vector.version == V1 else "rfc9369_A"]
    header = bytes.fromhex(packets[f"{vector.side}_hdr_plain"])
    if vector.side == "client":
        payload = bytes.fromhex(packets["client_crypto_frame"]).ljust(1162, b"\0")
    else:
        payload = bytes.fromhex(packets["server_payload"])
    number_length = (header[0] & 3) + 1
    number = int.from_bytes(header[-number_length:])
    packet = bytearray(header + payload + bytes(16))
    key.aead.seal_batch(packet, len(packet), len(header), number)
    start = len(header) - number_length
    [mask] = key.header_protection.masks(bytes(packet[start + 4 : start + 20]))
    packet[0] ^= mask[0] & 0x0F
    for i in range(number_length):
        packet[start + i] ^= mask[1 + i]
    return packet, bytes.fromhex(packets[f"{vector.side}_initial"])


@pytest.mark.parametrize("vector", INITIAL, ids=lambda v: f"v{v.label.decode()[4:]}{v.side}")
class TestInitial:
    def test_secret(self, vector: Vector) -> None:
        key = initial_key(vector)
        assert key.secret.hex() == vector.secret
        assert (key.cipher_suite, key.version) == (0x1301, vector.version)

    @pytest.mark.parametrize("name", ["key", "iv", "hp"])
    def test_labels(self, vector: Vector, name: str) -> None:
        expected = bytes.fromhex(getattr(vector, name))
        label = vector.label + name.encode()
        secret = bytes.fromhex(vector.secret)
        assert expand_label("sha256", secret, label, b"", len(expected)) == expected

    @pytest.mark.parametrize("back_end", BACK_ENDS)
    def test_the_key_uses_them(self, vector: Vector, back_end: str) -> None:
        key = initial_key(vector)
        raw = aead.aead(0x1301, bytes.fromhex(vector.key), bytes.fromhex(vector.iv), back_end)
        packet = bytearray(60)
        key.aead.seal_batch(packet, 60, 10, 3)
        assert raw.open_batch(packet, 60, 10, 3) == [True]
        hp = aead.header_protection(0x1301, bytes.fromhex(vector.hp), back_end)
        sample = bytes.fromhex(vector.sample)
        assert hp.masks(sample) == key.header_protection.masks(sample)
        assert hp.masks(sample)[0].hex() == vector.mask

    def test_whole_packet(self, vector: Vector) -> None:
        packet, expected = protected(vector, initial_key(vector))
        assert bytes(packet) == expected

    def test_the_other_end_has_the_same_keys(self, vector: Vector) -> None:
        read, write = keys.initial_keys(vector.version, DCID, False)
        assert (read if vector.side == "client" else write).secret.hex() == vector.secret


CHACHA_SECRET = bytes.fromhex("9ac312a7f877468ebe69422748ad00a15443f18203a07d6060f688f30f21632b")
CHACHA = [
    (V1, "4cfe4189655e5cd55c41f69080575d7999c25a5bfb",
     "1223504755036d556342ee9361d253421a826c9ecdf3c7148684b36b714881f9"),
    (V2, "5558b1c60ae7b6b932bc27d786f4bc2bb20f2162ba",
     "c69374c49e3d2a9466fa689e49d476db5d0dfbc87d32ceeaa6343fd0ae4c7d88"),
]  # fmt: skip


@pytest.mark.parametrize(("version", "expected", "updated"), CHACHA, ids=["v1", "v2"])
def test_chacha20_short_header_packet(version: int, expected: str, updated: str) -> None:
    key = keys.make_key(0x1303, CHACHA_SECRET, version)
    packet = bytearray.fromhex("4200bff401") + bytes(16)
    key.aead.seal_batch(packet, len(packet), 4, 654360564)
    [mask] = key.header_protection.masks(bytes(packet[5:21]))
    packet[0] ^= mask[0] & 0x1F
    for i in range(3):
        packet[1 + i] ^= mask[1 + i]
    assert packet.hex() == expected
    assert key.updated().secret.hex() == updated


@pytest.mark.parametrize("suite", [0x1301, 0x1302, 0x1303], ids=hex)
@pytest.mark.parametrize("version", [V1, V2], ids=["v1", "v2"])
def test_update_changes_the_aead_key_only(suite: int, version: int) -> None:
    key = keys.make_key(suite, bytes(range(48 if suite == 0x1302 else 32)), version)
    following = key.updated()
    assert following.header_protection is key.header_protection
    assert len(following.secret) == len(key.secret)
    assert following.secret != key.secret
    packet = bytearray(100)
    following.aead.seal_batch(packet, 100, 13, 4)
    assert key.aead.open_batch(bytearray(packet), 100, 13, 4) == [False]
    assert key.updated().aead.open_batch(packet, 100, 13, 4) == [True]


@pytest.mark.parametrize(("version", "name"), [(V1, "rfc9001_A"), (V2, "rfc9369_A")])
def test_retry_integrity_tag(version: int, name: str) -> None:
    retry = bytes.fromhex(PACKETS[name]["retry"])
    odcid = bytes.fromhex(PACKETS[name]["odcid"])
    for _ in range(2):
        assert keys.retry_integrity_tag(version, odcid, retry[:-16]) == retry[-16:]
    assert keys.retry_integrity_tag(version, odcid[:-1], retry[:-16]) != retry[-16:]


def test_unknown_versions_and_suites() -> None:
    with pytest.raises(ValueError, match="0xff00001d is not a supported QUIC version"):
        keys.initial_keys(0xFF00001D, DCID, True)
    with pytest.raises(ValueError, match="not a supported QUIC version"):
        keys.retry_integrity_tag(0, DCID, b"")
    with pytest.raises(ValueError, match="cipher suite 0x1304"):
        keys.make_key(0x1304, bytes(32), V1)
    with pytest.raises(ValueError, match="cipher suite 0x1305"):
        keys.integrity_limit(0x1305)


def test_usage_limits() -> None:
    # RFC 9001 Section 6.6.
    assert [keys.confidentiality_limit(s) for s in (0x1301, 0x1302)] == [2**23, 2**23]
    assert keys.confidentiality_limit(0x1303) >= 2**62
    assert [keys.integrity_limit(s) for s in (0x1301, 0x1302, 0x1303)] == [2**52, 2**52, 2**36]


@pytest.mark.parametrize("back_end", BACK_ENDS)
def test_the_vectors_hold_on_every_back_end(back_end: str) -> None:
    """The keys module takes the back end chosen at import: the other one needs a process."""
    if back_end == aead.backend:
        pytest.skip("the other tests of this file have run on it")
    arguments = ["-q", "-p", "no:cacheprovider", "-k", "not every_back_end", __file__]
    code = f"import pytest, sys; sys.exit(pytest.main({arguments!r}))"
    result = run_forced(back_end, code)
    assert result.returncode == 0, result.stdout + result.stderr
