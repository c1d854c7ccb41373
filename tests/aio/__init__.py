"""Tests of the asyncio API: over real sockets on the loopback interface, on both event loops."""
