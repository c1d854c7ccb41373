"""Fixtures: a certificate for either side."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from cwt import devcert


class Certificate(NamedTuple):
    certfile: Path
    keyfile: Path
    sha256: bytes


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = devcert.create()
    directory = tmp_path_factory.mktemp("certificate")
    certificate = Certificate(directory / "cert.pem", directory / "key.pem", made.sha256)
    certificate.certfile.write_bytes(made.certificate)
    certificate.keyfile.write_bytes(made.private_key)
    return certificate
