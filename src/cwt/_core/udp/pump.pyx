"""Datagrams between a UDP socket and an endpoint, in batches."""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uint8_t

from cwt._core.connection cimport Connection, nanoseconds
from cwt._core.endpoint cimport Endpoint
from cwt._core.keyring cimport MAX_BATCH
from cwt._core.udp.socket cimport Received, UdpSocket

cdef enum:
    BUFFER = 65507           # the largest UDP payload, and so the largest batch
    BUDGET = 1 << 20         # bytes of one call, about a millisecond of work


@cython.final
cdef class Pump:
    """Moves datagrams between *socket* and *endpoint*: no Python object for each of them.

    *clock* gives the time in seconds, for passes that go on after the *now* they were called with.
    Call ``receive`` when the socket is readable; ``transmit`` after that, after timeouts, and after the
    application did something.
    """

    def __cinit__(self, Endpoint endpoint, UdpSocket socket, clock=None):
        self.endpoint = endpoint
        self.socket = socket
        self.clock = clock
        self.buffer = <uint8_t*>PyMem_Malloc(BUFFER)
        if self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    def receive(self, double now):
        """Take what the socket has, up to about a millisecond of work; True when more is waiting."""
        cdef int64_t time = nanoseconds(now)
        cdef int count, i
        cdef size_t total = 0
        cdef Received* message
        while total < BUDGET:
            count = self.socket.receive()
            if count == 0:
                return False
            if total and self.clock is not None:
                time = nanoseconds(self.clock())
            for i in range(count):
                message = self.socket.message(i)
                total += message.length + 64
                self.endpoint.receive(
                    message.data, message.length, message.segment_size, self.socket.source(i),
                    self.socket.destination(i), message.ecn, time,
                )
        return True

    def transmit(self, double now):
        """Send what is due, up to about a millisecond of work; False when the socket would block.

        What is left over after that much work makes ``Endpoint.timeout`` 0.
        """
        cdef int64_t time = nanoseconds(now)
        cdef Connection connection
        cdef list waiting
        cdef size_t total = 0, sent
        cdef Py_ssize_t i
        if not self._flush() or not self._transmit_stateless():
            return False
        while self.endpoint.sending and total < BUDGET:
            waiting, self.endpoint.sending = self.endpoint.sending, []
            for i in range(len(waiting)):
                connection = <Connection>waiting[i]
                sent = 0
                if not self._transmit(connection, time, &sent):
                    self.endpoint.sending = waiting[i:] + self.endpoint.sending
                    return False
                total += sent + 64
                if sent:
                    self.endpoint.sending.append(connection)
                else:
                    connection.send_listed = False
                    self.endpoint.arm(connection, time)
        return True

    cdef bint _transmit(self, Connection connection, int64_t now, size_t* sent) except -1:
        # One batch of one connection; False when the socket would block.
        cdef size_t segment = 0
        sent[0] = connection.write_batch(self.buffer, BUFFER, MAX_BATCH, now, &segment)
        if sent[0] == 0:
            return True
        self.endpoint.written += 1
        self.held = sent[0]
        self.held_from = 0
        self.held_segment = segment
        self.held_to = connection.paths.to
        self.held_source = connection.paths.from_
        return self._flush()

    cdef bint _flush(self) except -1:
        # Whether the buffer is empty now.
        if self.held == 0:
            return True
        if self.socket.send(
            self.buffer + self.held_from, self.held, self.held_segment, self.held_to,
            self.held_source, 0,
        ):
            self.held = 0
            return True
        self.held_from += self.socket.sent
        self.held -= self.socket.sent
        return False

    cdef bint _transmit_stateless(self) except -1:
        cdef bytes data
        while self.endpoint.stateless:
            data, to, source = self.endpoint.stateless[0]
            if not self.socket.send(
                <const uint8_t*>PyBytes_AS_STRING(data), len(data), len(data), to, source, 0
            ):
                return False
            self.endpoint.stateless.pop(0)
        return True
