"""Simulated networks for the scenarios: rarer impairments, and the seed of a run."""
