"""The limit pair: what this machine can do at all with cwt's own AEAD and UDP modules.

``python -m benchmarks.limit`` measures it.  The ratio of cwt to it is what the protocol machinery costs;
see ``pair.pyx`` for what it does and does not do.
"""

from __future__ import annotations

import select
import time
from functools import partial

from benchmarks import build
from benchmarks.processes import Channel, Figures, cpu_seconds, run_pair
from cwt.quic import UdpSocket

__all__ = ["WINDOW", "run"]

WINDOW = 3 << 20
"""Bytes the sender may be ahead, when the kernel's buffers hold as many.  Less costs a few percent in
wake-ups, and more may be lost."""

PATIENCE = 10.0
"""Seconds without progress after which something was lost, which nobody repeats."""


def send(socket: UdpSocket, to: tuple[str, int], total: int, channel: Channel) -> Figures:
    window = min(WINDOW, socket.receive_buffer // 2)
    sender = build.load("limit_pair", "limit/pair.pyx").Sender(socket, to, total, window)
    channel.meet()
    fd = socket.fileno()
    began, cpu = time.perf_counter(), cpu_seconds()
    while not sender.is_done:
        writable = sender.transmit()
        readable, _, _ = select.select([fd], [] if writable else [fd], [], PATIENCE)
        if readable:
            sender.receive()
        elif writable:
            raise RuntimeError("the limit pair lost packets")
    return Figures(cpu_seconds() - cpu, time.perf_counter() - began, total, sender.packets)


def receive(socket: UdpSocket, channel: Channel) -> Figures:
    receiver = build.load("limit_pair", "limit/pair.pyx").Receiver(socket)
    channel.meet()
    fd = socket.fileno()
    began, cpu = time.perf_counter(), cpu_seconds()
    while not receiver.is_done:
        if not select.select([fd], [], [], PATIENCE)[0]:
            raise RuntimeError("the limit pair lost packets")
        receiver.receive()
    spent, elapsed = cpu_seconds() - cpu, time.perf_counter() - began
    return Figures(spent, elapsed, receiver.received, receiver.packets)


def run(total: int) -> tuple[Figures, Figures]:
    """Move *total* bytes between two processes; the figures of the sender and of the receiver."""
    build.load("limit_pair", "limit/pair.pyx")  # so that the children need not build it
    with UdpSocket.bind("127.0.0.1") as ours, UdpSocket.bind("127.0.0.1") as theirs:
        return run_pair(partial(send, ours, theirs.local_address, total), partial(receive, theirs))
