"""``cwt devcert``."""

from __future__ import annotations

import datetime
import hashlib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from cwt.cli.app import cli


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["devcert", *arguments])


def load(directory: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((directory / "cert.pem").read_bytes())


def test_writes_a_certificate_with_its_key_and_tells_the_hash(tmp_path: Path) -> None:
    result = run("--out", str(tmp_path))
    assert result.exit_code == 0
    certificate = load(tmp_path)
    key = serialization.load_pem_private_key((tmp_path / "key.pem").read_bytes(), None)
    assert key.public_key() == certificate.public_key()
    der = certificate.public_bytes(serialization.Encoding.DER)
    assert hashlib.sha256(der).hexdigest() in result.output
    assert "new WebTransport(" in result.output


def test_the_key_is_for_its_owner_only(tmp_path: Path) -> None:
    run("--out", str(tmp_path))
    assert (tmp_path / "key.pem").stat().st_mode & 0o077 == 0


def test_names_and_days(tmp_path: Path) -> None:
    out = str(tmp_path / "new" / "directory")
    result = run("--hostname", "a.example", "--hostname", "10.0.0.1", "--days", "3", "--out", out)
    assert result.exit_code == 0
    certificate = load(Path(out))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.example"]
    assert [str(name) for name in names.get_values_for_type(x509.IPAddress)] == ["10.0.0.1"]
    lifetime = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    assert lifetime == datetime.timedelta(days=3)


def test_does_not_overwrite_unless_told_to(tmp_path: Path) -> None:
    assert run("--out", str(tmp_path)).exit_code == 0
    before = (tmp_path / "key.pem").read_bytes()
    result = run("--out", str(tmp_path))
    assert result.exit_code == 1
    assert "--force" in result.output
    assert (tmp_path / "key.pem").read_bytes() == before
    assert run("--out", str(tmp_path), "--force").exit_code == 0
    assert (tmp_path / "key.pem").read_bytes() != before


@pytest.mark.parametrize("days", ["0", "14", "many"])
def test_days_that_browsers_would_refuse(tmp_path: Path, days: str) -> None:
    result = run("--out", str(tmp_path), "--days", days)
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_to_is_told_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    result = run("--out", str(tmp_path / "file" / "below"))
    assert result.exit_code == 1
    assert result.output.startswith("Error: ")
    assert "file" in result.output
