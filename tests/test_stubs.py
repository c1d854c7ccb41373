"""The hand-written stubs of the Cython modules against the compiled modules."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.sources import ROOT, SRC, files, identifier, module_name

pytestmark = pytest.mark.source

STUBS = files(".pyi")
OPTIONS = (
    "--concise",
    "--ignore-disjoint-bases",
    "--ignore-unused-allowlist",
    f"--allowlist={ROOT / 'tests' / 'stubtest-allowlist.txt'}",
)


def test_stubtest() -> None:
    modules = [f"cwt.{module_name(path)}" for path in STUBS]
    assert modules
    result = subprocess.run(
        [sys.executable, "-m", "mypy.stubtest", *OPTIONS, *modules],
        cwd=ROOT,
        env={**os.environ, "MYPYPATH": str(SRC), "PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_stubs_have_modules() -> None:
    assert [identifier(path) for path in STUBS if not path.with_suffix(".pyx").exists()] == []


def test_python_outside_the_core_only_imports_core_modules_with_stubs() -> None:
    from tests.test_architecture import imports

    stubbed = {f"cwt.{module_name(path)}" for path in STUBS}
    compiled = {f"cwt.{module_name(path)}" for path in files(".pyx")}
    needed = {
        name for path in files(".py") for name in imports(path) if name.startswith("cwt._core.")
    }
    assert needed & compiled <= stubbed
