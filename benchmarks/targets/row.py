"""A row of the table: something that is measured, and what it should reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

__all__ = ["Effort", "Result", "Row", "spread"]


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much work goes into a figure."""

    rounds: int = 5
    """Times that a short measurement is repeated."""
    scale: float = 1.0
    """Of the amount of work in each of them; tests take a tiny one."""

    def amount(self, full: int, least: int = 1) -> int:
        """*full*, scaled."""
        return max(least, int(full * self.scale))


@dataclass(frozen=True, kw_only=True)
class Result:
    """One line of the table."""

    name: str
    target: str
    measured: str
    ok: bool | None
    """None where nothing is asked."""
    figures: dict[str, Any] = field(default_factory=dict)
    """The numbers behind it, for ``--json``."""


@dataclass(frozen=True)
class Row:
    """What ``python -m benchmarks.targets NAME`` measures; it may give several lines."""

    name: str
    what: str
    measure: Callable[[Effort], Iterable[Result]]


def spread(values: Iterable[float]) -> dict[str, float]:
    """The minimum and the median."""
    found = list(values)
    return {"min": min(found), "median": median(found)}
