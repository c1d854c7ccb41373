"""What the public modules promise in ``__all__`` is there, documented, and nothing is listed twice."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from tests.sources import files, identifier, module_name

pytestmark = pytest.mark.source

# What users may import from; everything else is ours to change.
PUBLIC = (
    "cwt",
    "cwt.errors",
    "cwt.config",
    "cwt.quic",
    "cwt.h3",
    "cwt.webtransport",
    "cwt.testing",
)


def exported(name: str) -> list[str]:
    return list(importlib.import_module(name).__all__)


@pytest.mark.parametrize("name", PUBLIC)
def test_exported_names_exist_once(name: str) -> None:
    module = importlib.import_module(name)
    names = exported(name)
    assert len(names) == len(set(names))
    assert [export for export in names if not hasattr(module, export)] == []
    assert [export for export in names if export.startswith("_") and export != "__version__"] == []


@pytest.mark.parametrize("name", PUBLIC)
def test_exported_names_are_documented(name: str) -> None:
    module = importlib.import_module(name)
    undocumented = [
        export
        for export in exported(name)
        if (inspect.isclass(value := getattr(module, export)) or inspect.isroutine(value))
        and not (value.__doc__ or "").strip()
    ]
    assert not undocumented


def test_the_package_exports_every_exception() -> None:
    import cwt
    from cwt import errors

    missing = [
        name
        for name in errors.__all__
        if issubclass(getattr(errors, name), BaseException) and getattr(cwt, name, None) is None
    ]
    assert not missing


@pytest.mark.parametrize("path", files(".py"), ids=identifier)
def test_all_is_a_literal_that_resolves(path: Path) -> None:
    names = [
        ast.literal_eval(node.value)
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)
    ]
    if not names or path.name == "__main__.py":
        return
    module = importlib.import_module(f"cwt.{module_name(path)}".rstrip("."))
    assert [name for name in names[0] if not hasattr(module, name)] == []
