"""Build the Cython core.  Everything else is in pyproject.toml.

CWT_BUILD selects one of four builds of the same sources:
    release   (default) -O3, no run-time checks
    debug     -O0, run-time checks, .pyx line numbers for gdb, warnings are errors
    coverage  line tracing for coverage.py
    asan      debug with the address and undefined-behaviour sanitizers
"""

import os
from pathlib import Path

from Cython.Build import cythonize
from Cython.Compiler import Options
from setuptools import Extension, setup

BUILD = os.environ.get("CWT_BUILD", "release")
CHECKED = BUILD in ("debug", "asan")
CFLAGS = {
    "release": ["-O3", "-g1"],
    "coverage": ["-O1"],
    "debug": ["-O0", "-g"],
    "asan": ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"],
}[BUILD]
MACROS = (
    [("CYTHON_TRACE", "1"), ("CYTHON_TRACE_NOGIL", "1"), ("CYTHON_USE_SYS_MONITORING", "0")]
    if BUILD == "coverage"
    else []
)
DIRECTIVES = {
    "language_level": 3,
    "allow_none_for_extension_args": False,
    "auto_pickle": False,
    "binding": True,
    "cdivision": True,
    "wraparound": False,
    "boundscheck": CHECKED,
    "initializedcheck": CHECKED,
    "nonecheck": CHECKED,
    "linetrace": BUILD == "coverage",
    "warn.unused": True,
}
SHARED = None if BUILD == "coverage" else "cwt._core._cyutility"


def extension(name, *sources):
    return Extension(
        name,
        list(sources),
        extra_compile_args=CFLAGS,
        define_macros=MACROS,
        extra_link_args=[flag for flag in CFLAGS if "sanitize" in flag],
    )


Options.warning_errors = CHECKED
extensions = [
    extension(".".join(path.with_suffix("").parts[1:]), str(path))
    for path in sorted(Path("src").rglob("*.pyx"))
]
if SHARED:
    extensions.append(extension(SHARED))

setup(
    ext_modules=cythonize(
        extensions,
        include_path=["src"],
        compiler_directives=DIRECTIVES,
        shared_utility_qualified_name=SHARED,
        emit_linenums=CHECKED,
        build_dir=None if BUILD == "coverage" else f"build/cython-{BUILD}",
        nthreads=os.cpu_count() or 1,
        quiet=True,
    )
)
