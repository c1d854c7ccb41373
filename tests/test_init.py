"""The public names, and what importing them costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import cwt


@pytest.mark.parametrize("name", cwt.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(cwt, name).__name__ == name
    assert name in dir(cwt)


def test_modules() -> None:
    assert cwt.quic.__name__ == "cwt.quic"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cwt.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_every_public_name_is_documented() -> None:
    assert [name for name in cwt.__all__ if not getattr(cwt, name).__doc__] == []


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import cwt", ["cryptography", "asyncio", "cwt.tls", "cwt.aio", "cwt.errors"]),
        ("import cwt; cwt.connect; cwt.serve", ["cwt.tls.development", "cwt.cli"]),
    ],
)
def test_imports_are_lazy(statement: str, absent: list[str]) -> None:
    code = f"{statement}; import sys; print([n for n in {absent!r} if n in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
