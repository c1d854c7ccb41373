"""The AEAD back end that is not in use here carries whole connections, too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from cwt._core.crypto import aead
from tests.sources import ROOT

STORIES = (
    "tests/_core/crypto",
    "tests/_core/test_h3spec.py",
    "tests/scenarios/test_lossy_echo.py",
    "tests/scenarios/test_impairments.py",
    "tests/interop/test_tls_aioquic.py",
)


@pytest.mark.parametrize("back_end", [name for name in aead.BACK_ENDS if name != aead.backend])
def test_the_other_back_end(back_end: str) -> None:
    if os.environ.get("CWT_AEAD"):
        pytest.skip("a back end was chosen")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *STORIES],
        cwd=ROOT,
        env={**os.environ, "CWT_AEAD": back_end},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-5000:] + result.stderr[-1000:]
