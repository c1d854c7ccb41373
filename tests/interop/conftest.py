"""Fixtures: a certificate for either side."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from cwt.tls.development import development_certificate


class Certificate(NamedTuple):
    certfile: Path
    keyfile: Path
    sha256: bytes


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = development_certificate()
    return Certificate(*made.write(tmp_path_factory.mktemp("certificate")), made.sha256)
