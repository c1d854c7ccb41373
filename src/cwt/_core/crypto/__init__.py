"""Protecting packets (RFC 9001 Section 5)."""
