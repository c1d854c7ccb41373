from __future__ import annotations

import pytest

from cwt.tls import Alert
from cwt.tls.certificates import parse, public_key
from tests.tls.support import leaf


def test_certificates_of_peers() -> None:
    assert parse(leaf().chain)[0].subject.rfc4514_string() == "CN=localhost"
    assert public_key(leaf().chain[0]) == leaf().private_key.public_key()
    version = leaf().chain[0].replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x09")
    for bad in (b"", b"0", leaf().chain[0][:-1], leaf().chain[0] + b"\0", version):
        with pytest.raises(Alert) as info:
            public_key(bad)
        assert info.value.certificate
