"""Builds ``core_loops.pyx`` against the core's declarations, out of the tree, when it has changed."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "benchmarks"
SCRIPT = """
from Cython.Build import cythonize
from setuptools import Extension, setup
setup(
    name="core_loops",
    packages=[],
    py_modules=[],
    ext_modules=cythonize(
        [Extension("core_loops", ["benchmarks/core_loops.pyx"], extra_compile_args=["-O3"])],
        include_path=["src"],
        build_dir="build/benchmarks",
        compiler_directives={"language_level": 3, "cdivision": True, "boundscheck": False,
                             "wraparound": False, "initializedcheck": False},
        quiet=True,
    ),
)
"""


def build() -> Path:
    sources = [HERE / "core_loops.pyx", *(ROOT / "src" / "cwt" / "_core").rglob("*.pxd")]
    newest = max(path.stat().st_mtime for path in sources)
    built = sorted(BUILD.glob("core_loops.*.so"))
    if not built or built[0].stat().st_mtime < newest:
        options = ["--build-lib", str(BUILD), "--build-temp", str(BUILD / "temp"), "--force"]
        subprocess.run(
            [sys.executable, "-c", SCRIPT, "-q", "build_ext", *options], cwd=ROOT, check=True
        )
        built = sorted(BUILD.glob("core_loops.*.so"))
    return built[0]


@pytest.fixture(scope="session")
def loops() -> ModuleType:
    """The compiled ``core_loops``."""
    spec = importlib.util.spec_from_file_location("core_loops", build())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
