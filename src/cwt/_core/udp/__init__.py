"""The batched UDP socket: the one part of the core that does I/O."""
