"""Ordered bytes, datagrams and their limits (RFC 9000 Sections 2 to 4, RFC 9221)."""
