"""The source tree as data, for the tests that check it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
PACKAGE = SRC / "cwt"


def files(*suffixes: str) -> list[Path]:
    """Every source file of the package with one of the *suffixes*, sorted."""
    return sorted(path for path in PACKAGE.rglob("*") if path.suffix in suffixes)


def module_name(path: Path) -> str:
    """The dotted name of the module in *path*, without the leading ``cwt.`` ("" for ``cwt`` itself)."""
    parts = list(path.relative_to(PACKAGE).with_suffix("").parts)
    if parts[-1] == "__init__":
        parts.pop()
    return ".".join(parts)


def identifier(path: Path) -> str:
    """How a parametrised test names *path*."""
    return str(path.relative_to(PACKAGE))
