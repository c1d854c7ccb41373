"""Who may import whom, read from ``import`` and ``cimport``, and other rules of the sources.

The picture is in README.md.  A new module fails here until it has a layer: that is the moment to decide
which one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.sources import PACKAGE, files, identifier, module_name

pytestmark = pytest.mark.source

BASE = {"errors", "hkdf", "_types", "congestion"}
CORE = {"_core.wire", "_core.qlog", "_core.crypto", "_core.recovery", "_core.stream", "_core"}
SANS_IO = BASE | CORE | {"config", "_core.endpoint", "tls", "quic", "h3", "webtransport"}

# Layer -> the layers it may import, besides itself.  A module belongs to its longest prefix here.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "hkdf": set(),
    "_types": set(),
    "congestion": set(),
    "config": BASE,
    "_core.wire": BASE | {"config"},
    "_core.crypto": BASE | {"config", "_core.wire"},
    "_core.qlog": BASE | {"config", "_core.wire"},
    "_core.recovery": BASE | {"config", "_core.wire", "_core.qlog"},
    "_core.stream": BASE | {"config", "_core.wire"},
    "_core": BASE | CORE | {"config"},
    "_core.endpoint": BASE | CORE | {"config"},
    "_core.udp": BASE | CORE | {"config", "_core.endpoint"},
    "tls": BASE | {"config"},
    "qlog": BASE | {"config"},
    "quic": BASE | CORE | {"config", "_core.endpoint", "_core.udp", "tls", "qlog"},
    "h3": BASE | {"config", "_core.wire", "_core.stream"},
    "webtransport": BASE | {"config", "_core.wire", "_core.stream", "h3"},
    "devcert": BASE | {"config"},
    "aio": SANS_IO | {"_core.udp", "devcert"},
    "testing": SANS_IO | {"_core.udp", "devcert", "aio", ""},
    "cli": SANS_IO | {"_core.udp", "devcert", "qlog", "aio", ""},
    "": SANS_IO | {"devcert", "aio"},
    "__main__": {"cli"},
}

IO_MODULES = {"asyncio", "socket", "select", "selectors", "time", "threading", "uvloop"}
CHANCE = {"random", "secrets"}
# Layer -> modules of others that it must not import: time and randomness are arguments there.
FORBIDDEN: dict[str, set[str]] = {
    **dict.fromkeys(SANS_IO, IO_MODULES),
    **dict.fromkeys(CORE, IO_MODULES | CHANCE),
    "_core.udp": IO_MODULES - {"socket"} | CHANCE,
}

IMPORT = re.compile(
    r"^[ \t]*(?:from\s+(?P<source>[\w.]+)\s+c?import\s+(?P<names>\([^)]*\)|[^\n]*)"
    r"|c?import\s+(?P<modules>[^\n]+))",
    re.M,
)
CDEF_FUNCTION = re.compile(r"^[ \t]*cp?def[ \t]+(?P<type>[^=\n(#:,]*?)(?P<name>\w+)\(", re.M)
CDEF_CLASS = re.compile(r"^[ \t]*cdef class (\w+)", re.M)
PYTHON_TYPES = {"", "object", "bytes", "bytearray", "str", "list", "dict", "tuple", "set", "type"}


def layer_of(module: str) -> str | None:
    parts = module.split(".")
    for end in range(len(parts), 0, -1):
        if (prefix := ".".join(parts[:end])) in ALLOWED:
            return prefix
    return None


def imports(path: Path) -> set[str]:
    """Every module that *path* imports; what stands under ``if TYPE_CHECKING`` counts too."""
    found: set[str] = set()
    for match in IMPORT.finditer(path.read_text()):
        source = match["source"]
        if source is None:
            found.update(part.split()[0] for part in match["modules"].split(",") if part.split())
        else:
            found.add(source)
            names = re.sub(r"#[^\n]*", "", match["names"]).strip("()")
            for name in (part.split()[0] for part in names.split(",") if part.split()):
                if is_module(f"{source}.{name}"):
                    found.add(f"{source}.{name}")
    return found


def is_module(name: str) -> bool:
    if not name.startswith("cwt."):
        return False
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return path.is_dir() or any(path.with_suffix(end).exists() for end in (".py", ".pyx", ".pxd"))


@pytest.mark.parametrize("path", files(".py", ".pyx", ".pxd"), ids=identifier)
def test_layers(path: Path) -> None:
    module = module_name(path)
    layer = layer_of(module) if module else ""
    assert layer is not None, f"give cwt.{module} a layer in ALLOWED"
    for name in sorted(imports(path)):
        if name.split(".")[0] == "cwt" and not (name == "cwt" and path.name == "__init__.py"):
            target = name.partition(".")[2]
            imported = layer_of(target) if target else ""
            assert imported is not None, f"{name} has no layer"
            fine = imported == layer or imported in ALLOWED[layer] or is_package_of(target, layer)
            assert fine, f"{layer or 'cwt'} must not import {name}"
        else:
            top = name.removeprefix("libc.").removeprefix("posix.").split(".")[0]
            assert top not in FORBIDDEN.get(layer, ()), f"{layer} must not import {name}"


def is_package_of(target: str, layer: str) -> bool:
    """``from cwt._core import x`` in a module above ``_core.x``: the module itself is checked by name."""
    return (PACKAGE / target.replace(".", "/")).is_dir() and any(
        allowed.startswith(f"{target}.") for allowed in ALLOWED[layer]
    )


def test_imports_are_absolute() -> None:
    relative = [
        identifier(path)
        for path in files(".py", ".pyx", ".pxd", ".pyi")
        if re.search(r"^\s*from\s+\.", path.read_text(), re.M)
    ]
    assert not relative


def extension_types() -> set[str]:
    return {name for path in files(".pyx", ".pxd") for name in CDEF_CLASS.findall(path.read_text())}


def unguarded(text: str, python_types: set[str]) -> list[str]:
    """The ``cdef`` functions in *text* that return a C type and do not say how they raise."""
    found = []
    for match in CDEF_FUNCTION.finditer(text):
        kind = match["type"].replace("inline ", "").replace("static ", "").strip()
        if kind in python_types or match["name"] in python_types:
            continue
        depth, end = 1, match.end()
        while depth:
            depth += {"(": 1, ")": -1}.get(text[end], 0)
            end += 1
        clause = text[end:].partition("\n")[0]
        if not re.search(r"\bnoexcept\b|\bexcept\b", clause):
            found.append(match["name"])
    return found


@pytest.mark.parametrize("path", files(".pyx", ".pxd"), ids=identifier)
def test_cdef_functions_say_how_they_raise(path: Path) -> None:
    assert not unguarded(path.read_text(), PYTHON_TYPES | extension_types())


def test_the_check_of_cdef_functions_finds_one() -> None:
    text = (
        "cdef int bare(int a,\n    int b):\ncpdef bint good(x) noexcept:\ncdef Key key(self)\n"
        "cdef int f(self) except -1\ncdef inline void g(void) nogil:\n    cdef int value = f(x)\n"
    )
    assert unguarded(text, PYTHON_TYPES | {"Key"}) == ["bare", "g"]


@pytest.mark.parametrize("path", files(".pyx", ".pxd"), ids=identifier)
def test_no_memoryviews_between_cdef_functions(path: Path) -> None:
    text = path.read_text()
    signatures = [line for line in text.splitlines() if re.match(r"\s*cdef [^=]*\w\(", line)]
    assert not [line for line in signatures if re.search(r"\w\[:", line)]


def test_no_stray_extensions() -> None:
    # A compiled module outlives its renamed or deleted source and would still be imported.
    stray = [
        identifier(path)
        for path in PACKAGE.rglob("*.so")
        if not (path.parent / f"{path.name.split('.')[0]}.pyx").exists()
        and not path.name.startswith("_cyutility.")
    ]
    assert not stray, "run `make clean`, or delete them"


@pytest.mark.parametrize("path", files(".py", ".pyx"), ids=identifier)
def test_modules_say_what_they_are(path: Path) -> None:
    assert re.match(r'\s*(#[^\n]*\n\s*)*r?"""\S', path.read_text()), "start with a module docstring"


def test_every_test_directory_is_a_package() -> None:
    tests = Path(__file__).parent
    missing = {path.parent for path in tests.rglob("*.py")} - {
        path.parent for path in tests.rglob("__init__.py")
    }
    assert not missing
