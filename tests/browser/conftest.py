"""Fixtures: a browser that runs scripts, a certificate it accepts by its hash, a server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.browser import harness


@pytest.fixture(scope="session", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[harness.Browser]:
    if harness.executable(request.param) is None:
        pytest.skip(f"{request.param} is not installed (apt-get install chromium firefox-esr)")
    with harness.launch(request.param) as running:
        yield running
