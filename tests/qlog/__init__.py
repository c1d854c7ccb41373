"""Tests against other implementations."""
