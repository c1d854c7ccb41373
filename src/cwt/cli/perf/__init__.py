"""``cwt perf``: how fast it is, between here and there."""

from __future__ import annotations

from cwt.cli.perf.command import command

__all__ = ["command"]
