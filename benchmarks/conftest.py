"""What the suites share."""

from __future__ import annotations

from types import ModuleType

import pytest

from benchmarks import build


@pytest.fixture(scope="session")
def loops() -> ModuleType:
    """The compiled ``core_loops``."""
    return build.load("core_loops", "core_loops.pyx")
