"""Fixtures: a browser that runs scripts, a certificate it accepts by its hash, a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

import cwt
from cwt.tls.development import development_certificate
from tests.browser import harness


@pytest.fixture(scope="session", params=["chromium", "firefox"])
def browser(request: pytest.FixtureRequest) -> Iterator[harness.Browser]:
    if harness.executable(request.param) is None:
        pytest.skip(f"{request.param} is not installed (apt-get install chromium firefox-esr)")
    with harness.launch(request.param) as running:
        yield running


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    made = development_certificate()
    return Certificate(*made.write(tmp_path_factory.mktemp("certificate")), made.sha256.hex())


class Certificate:
    def __init__(self, certfile: Path, keyfile: Path, sha256: str) -> None:
        self.certfile = certfile
        self.keyfile = keyfile
        self.sha256 = sha256


Serve = Callable[..., AbstractAsyncContextManager[str]]


@pytest.fixture
def serve(certificate: Certificate) -> Serve:
    """Starts a server with a handler, gives its URL."""

    @asynccontextmanager
    async def run(handler: Any, **options: Any) -> AsyncIterator[str]:
        async with cwt.serve(
            handler,
            "127.0.0.1",
            0,
            certfile=certificate.certfile,
            keyfile=certificate.keyfile,
            **options,
        ) as server:
            yield f"https://127.0.0.1:{server.port}/"

    return run
