"""Builds the benchmarks' own Cython modules against the core's declarations, out of the tree."""

from __future__ import annotations

import fcntl
import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

__all__ = ["load"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BUILD = ROOT / "build" / "benchmarks"
SCRIPT = """
import sys
from Cython.Build import cythonize
from setuptools import Extension, setup
name, source = sys.argv.pop(1), sys.argv.pop(1)
setup(
    name=name,
    packages=[],
    py_modules=[],
    ext_modules=cythonize(
        [Extension(name, [source], extra_compile_args=["-O3", "-g1"])],
        include_path=["src"],
        build_dir="build/benchmarks",
        compiler_directives={"language_level": 3, "cdivision": True, "boundscheck": False,
                             "wraparound": False, "initializedcheck": False,
                             "allow_none_for_extension_args": False},
        quiet=True,
    ),
)
"""


def _built(name: str) -> list[Path]:
    return sorted(BUILD.glob(f"{name}.{sys.implementation.cache_tag}-*.so"))


def _build(name: str, source: Path) -> Path:
    declarations = (ROOT / "src" / "cwt").rglob("*.pxd")
    newest = max(path.stat().st_mtime for path in (source, *declarations))
    built = _built(name)
    if not built or built[0].stat().st_mtime < newest:
        options = ["--build-lib", str(BUILD), "--build-temp", str(BUILD / "temp"), "--force"]
        subprocess.run(
            [
                *(sys.executable, "-c", SCRIPT, name, str(source.relative_to(ROOT))),
                *("-q", "build_ext", *options),
            ],
            cwd=ROOT,
            check=True,
        )
        built = _built(name)
    return built[0]


def load(name: str, path: str) -> ModuleType:
    """The module *name* from the source ``benchmarks/<path>``, built when it or the core has changed."""
    if name in sys.modules:
        return sys.modules[name]
    BUILD.mkdir(parents=True, exist_ok=True)
    with open(BUILD / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        built = _build(name, HERE / path)
    spec = importlib.util.spec_from_file_location(name, built)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules[name] = module
    return module
