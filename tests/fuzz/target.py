"""What a fuzz target is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from random import Random


class Target(ABC):
    """*share* is the target's part of a run, relative to the others."""

    name = ""
    share = 1.0

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.start()

    def start(self) -> None:  # noqa: B027  (parsers have no state)
        """Make what the inputs are fed to."""

    @abstractmethod
    def make(self, rng: Random) -> bytes:
        """The next input."""

    @abstractmethod
    def feed(self, data: bytes) -> None:
        """Give it to the code."""
