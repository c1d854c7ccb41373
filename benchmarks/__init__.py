"""Benchmarks: pytest-benchmark suites, and ``compare``, which runs several stacks side by side."""
