"""Carries what two endpoints send straight into each other, in batches as a socket would, without one.

A link can lose and reorder packets by chance that is the same in every run.  The congestion window can be
held at a size, so that what is measured is the work and not how slowly it is sent.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove

from cwt._core.connection cimport Connection, nanoseconds
from cwt._core.endpoint cimport Endpoint
from cwt._core.keyring cimport MAX_BATCH

from cwt.testing import CLIENT, SERVER

cdef enum:
    BUFFER = 65507           # as in cwt._core.udp.pump
    MAX_SEGMENT = 2048       # larger packets are not reordered
    LEAP = 3                 # places that a reordered packet falls behind

cdef extern from *:
    """
    /* A symbol that callgrind can be told to act on: what lies between two calls is measured. */
    __attribute__((noinline, used)) void cwt_benchmark_mark(void) { __asm__ volatile (""); }
    """
    void cwt_benchmark_mark() noexcept


def mark():
    """Where a measurement begins or ends, for callgrind."""
    cwt_benchmark_mark()


@cython.final
cdef class Link:
    """The way between the endpoints *client* and *server*.

    *window*, unless 0, is what the congestion window of each connection is held at, in bytes.
    """

    cdef readonly Endpoint client, server
    cdef uint64_t window
    cdef uint32_t loss, reorder              # of 2**16
    cdef uint64_t state
    cdef list taken
    cdef readonly uint64_t packets, lost
    cdef uint8_t out[BUFFER]
    cdef uint8_t wire[BUFFER]

    def __init__(self, Endpoint client, Endpoint server, *, uint64_t window=0):
        self.client = client
        self.server = server
        self.window = window
        self.taken = []
        self.state = 88172645463325252

    def disturb(self, *, double loss=0.0, double reorder=0.0):
        """From now on, lose packets with the chance *loss*, and let them fall behind with *reorder*."""
        self.loss = <uint32_t>(loss * 65536)
        self.reorder = <uint32_t>(reorder * 65536)

    cdef bint _happens(self, uint32_t chance) noexcept:
        self.state ^= self.state << 13
        self.state ^= self.state >> 7
        self.state ^= self.state << 17
        return (self.state & 0xFFFF) < chance

    def up(self, double now):
        """Move what the client has to send; the bytes."""
        return self._move(self.client, self.server, CLIENT, SERVER, nanoseconds(now), False)

    def down(self, double now):
        """Move what the server has to send; the bytes."""
        return self._move(self.server, self.client, SERVER, CLIENT, nanoseconds(now), False)

    def take(self, double now):
        """As :meth:`up`, but only the sender's half: the packets wait for :meth:`give`."""
        return self._move(self.client, self.server, CLIENT, SERVER, nanoseconds(now), True)

    def give(self, double now):
        """Let the server have what was taken."""
        cdef bytes data
        cdef size_t segment, size
        for data, segment in self.taken:
            memcpy(self.out, PyBytes_AS_STRING(data), len(data))
            size = self._carry(len(data), segment)
            self.server.receive(self.wire, size, segment, CLIENT, SERVER, 0, nanoseconds(now))
        self.taken.clear()

    cdef size_t _move(
        self, Endpoint sender, Endpoint receiver, tuple source, tuple destination, int64_t now, bint keep
    ) except? 0:
        # As Pump.transmit() on one side and Pump.receive() on the other.
        cdef list waiting
        cdef Connection connection
        cdef size_t size, segment, total = 0
        while sender.sending:
            waiting, sender.sending = sender.sending, []
            for item in waiting:
                connection = <Connection>item
                while True:
                    if self.window:
                        connection.recovery.congestion.window = self.window
                    segment = 0
                    size = connection.write_batch(self.out, BUFFER, MAX_BATCH, now, &segment)
                    if size == 0:
                        break
                    total += size
                    if keep:
                        self.taken.append((self.out[:size], segment))
                        continue
                    size = self._carry(size, segment)
                    receiver.receive(self.wire, size, segment, source, destination, 0, now)
                connection.send_listed = False
                sender.arm(connection, now)
        return total

    cdef size_t _carry(self, size_t size, size_t segment) noexcept:
        # From out to wire; the bytes that arrive.
        cdef size_t position = 0, arrived = 0, length
        while position < size:
            length = min(segment, size - position)
            if (
                self._happens(self.reorder) and segment <= MAX_SEGMENT
                and position + (1 + LEAP) * segment <= size
            ):
                self._fall_behind(position, segment)
            self.packets += 1
            if self._happens(self.loss):
                self.lost += 1
            else:
                memcpy(self.wire + arrived, self.out + position, length)
                arrived += length
            position += length
        return arrived

    cdef void _fall_behind(self, size_t position, size_t segment) noexcept:
        # Each of the packets behind moves one place forward.
        cdef uint8_t spare[MAX_SEGMENT]
        memcpy(spare, self.out + position, segment)
        memmove(self.out + position, self.out + position + segment, LEAP * segment)
        memcpy(self.out + position + LEAP * segment, spare, segment)
