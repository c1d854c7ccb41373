"""``cwt qlog``: what qlog files tell."""

from __future__ import annotations

from cwt.cli.qlog.command import command

__all__ = ["command"]
