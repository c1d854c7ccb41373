"""WebTransport for asyncio: the public names of :mod:`cwt`, over the sans-IO layers.

``endpoint`` drives a UDP socket and its QUIC endpoint from the event loop, ``connection`` turns the events
of one connection into wake-ups of ``session``, ``stream`` and ``datagrams``; ``client`` and ``server`` are
:func:`cwt.connect` and :func:`cwt.serve`.
"""
