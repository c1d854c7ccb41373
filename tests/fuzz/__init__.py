"""Hostile input through the doors that a peer reaches: ``python -m tests.fuzz``.

``inputs`` makes data, ``targets`` feeds it, ``engine`` runs many and watches for hangs and growth.
"""
