"""Bytes to values and back; no state (RFC 9000 Sections 12 and 16 to 19)."""
