"""Congestion controllers at a simulated bottleneck, in virtual time: figures and pictures."""
