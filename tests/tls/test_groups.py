from __future__ import annotations

import pytest

from cwt.tls import Alert, AlertDescription, Group
from cwt.tls.groups import complete, generate, respond, supported_groups

SIZES = {
    Group.X25519: (32, 32, 32),
    Group.SECP256R1: (65, 65, 32),
    Group.SECP384R1: (97, 97, 48),
    Group.X25519MLKEM768: (1216, 1120, 64),
}
BAD_SHARES = {
    Group.X25519: [bytes(31), bytes(33), bytes(32)],
    Group.SECP256R1: [bytes(65), b"\4" + bytes(64), bytes(64), b"\2" + bytes(32), b"\4"],
    Group.SECP384R1: [b"\4" + b"\xff" * 96, b"\0"],
    Group.X25519MLKEM768: [bytes(1215), bytes(1217), b"\xff" * 1216, bytes(1216)],
}


@pytest.mark.parametrize("group", supported_groups())
def test_both_sides_get_one_secret(group: Group) -> None:
    client_size, server_size, secret_size = SIZES[group]
    key = generate(group)
    share, secret = respond(group, key.share)
    assert (len(key.share), len(share), len(secret)) == (client_size, server_size, secret_size)
    assert complete(key, share) == secret
    assert respond(group, key.share)[1] != secret


def test_ml_kem_comes_before_x25519_in_share_and_secret() -> None:
    if Group.X25519MLKEM768 not in supported_groups():
        pytest.skip("this cryptography has no ML-KEM")
    from cryptography.hazmat.primitives.asymmetric import mlkem, x25519

    ours, theirs = mlkem.MLKEM768PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    peer = ours.public_key().public_bytes_raw() + theirs.public_key().public_bytes_raw()
    share, secret = respond(Group.X25519MLKEM768, peer)
    assert secret[:32] == ours.decapsulate(share[:1088])
    point = x25519.X25519PublicKey.from_public_bytes(share[1088:])
    assert secret[32:] == theirs.exchange(point)


@pytest.mark.parametrize(
    ("group", "share"), [(g, s) for g in supported_groups() for s in BAD_SHARES[g]]
)
def test_bad_share_of_a_client(group: Group, share: bytes) -> None:
    with pytest.raises(Alert) as info:
        respond(group, share)
    assert info.value.description == AlertDescription.ILLEGAL_PARAMETER


@pytest.mark.parametrize(
    ("group", "share"), [(g, s) for g in supported_groups() for s in [*BAD_SHARES[g], b""]]
)
def test_bad_share_of_a_server(group: Group, share: bytes) -> None:
    with pytest.raises(Alert) as info:
        complete(generate(group), share)
    assert info.value.description == AlertDescription.ILLEGAL_PARAMETER


def test_bad_point_beside_a_good_ciphertext() -> None:
    if Group.X25519MLKEM768 not in supported_groups():
        pytest.skip("this cryptography has no ML-KEM")
    key = generate(Group.X25519MLKEM768)
    share, _ = respond(Group.X25519MLKEM768, key.share)
    with pytest.raises(Alert):
        complete(key, share[:1088] + bytes(32))


def test_without_ml_kem(monkeypatch: pytest.MonkeyPatch) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm

    from cwt.tls import groups

    def refuse() -> None:
        raise UnsupportedAlgorithm("ML-KEM")

    monkeypatch.setattr(groups, "_X25519Mlkem768", refuse)
    supported = groups.supported_groups.__wrapped__()
    assert supported == (Group.X25519, Group.SECP256R1, Group.SECP384R1)


def test_unknown_group() -> None:
    with pytest.raises(ValueError, match="0x0a0a"):
        generate(0x0A0A)
