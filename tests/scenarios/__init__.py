"""Whole-stack stories in virtual time."""
