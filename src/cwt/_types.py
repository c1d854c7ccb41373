"""Types that several layers name."""

from __future__ import annotations

from typing import TypeAlias

__all__ = ["Address", "Buffer"]

Buffer: TypeAlias = bytes | bytearray | memoryview
"""Anything contiguous that holds bytes."""

Address: TypeAlias = tuple[str, int]
"""(host, port), the host as IPv4 or IPv6 text."""
