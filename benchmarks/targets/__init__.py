"""What cwt should reach on any machine, measured here: ``python -m benchmarks.targets [NAME ...]``."""

from __future__ import annotations

from benchmarks.targets import bulk
from benchmarks.targets.row import Effort, Result, Row

__all__ = ["ROWS", "Effort", "Result", "Row"]

ROWS = {
    row.name: row
    for row in (
        Row("bulk", "one stream, sans-IO, next to the limit pair", bulk.one_stream),
        Row("streams", "100 streams at once, sans-IO", bulk.streams),
    )
}
