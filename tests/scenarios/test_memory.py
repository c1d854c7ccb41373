"""Memory of a real server process: idle sessions, and a peer that never reads."""

from __future__ import annotations

import os
import sys

import pytest
from benchmarks.memory import measure

from cwt._core.crypto import aead

# With cryptography a key is several Python objects and one more context.
IDLE = {"evp": 27_000, "cryptography": 40_000}


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="the sanitizer keeps freed memory")
async def test_memory_is_bounded() -> None:
    figures = await measure(sessions=200, flood_size=1_000_000_000, seconds=1.0)
    assert figures["idle_sessions"] == 200
    assert figures["bytes_per_idle_session"] < IDLE[aead.backend]
    # The peer's window, and what may wait unsent, and no more.
    assert 500_000 < figures["flood_taken"] < 4_000_000
    assert figures["flood_growth"] < 8_000_000
