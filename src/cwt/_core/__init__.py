"""QUIC, sans-IO: no clock, no socket, no unseeded randomness (``udp`` is the one exception).

Layers, each importing only those to its left::

    wire <- {crypto, recovery, stream} <- connection <- endpoint <- udp

``wire`` turns bytes into values and back.  ``crypto`` protects packets.  ``recovery`` knows what was
lost and how fast to send.  ``stream`` holds ordered bytes and their limits.  A ``connection`` joins the
parts: ``intake`` opens packets, ``router`` gives frames to their owners, ``assembler`` builds what
goes out.  ``endpoint`` routes datagrams to connections.

Inside, time is an integer of nanoseconds; at every public door it is a float of seconds.  Every ``cdef``
function says ``noexcept`` or ``except -1``.  What the peer did wrong is a ``TransportError`` raised by
the component that owns the frame, and becomes a CONNECTION_CLOSE in ``connection``, its only door.
"""
