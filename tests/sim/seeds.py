"""The seed of a run: printed when a test fails, taken from ``CWT_SEED`` when that is set."""

from __future__ import annotations

import os

SEED = os.environ.get("CWT_SEED")


def seeds(count: int) -> list[int]:
    """What a test runs with: *count* fixed seeds, or only that of ``CWT_SEED``."""
    return [int(SEED)] if SEED else list(range(1, count + 1))


def show(seed: int) -> None:
    """Name *seed*; pytest shows it when the test fails."""
    print(f"seed {seed}: repeat with CWT_SEED={seed}")
