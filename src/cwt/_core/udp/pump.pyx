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
    BATCH = 65507            # the largest UDP payload, and so the largest batch
    BUDGET = 1_000_000       # estimated nanoseconds of one call
    PACKET_COST = 700        # nanoseconds of a packet, besides
    BYTES_A_NANOSECOND = 2   # to copy, protect and copy again


cdef inline size_t cost_of(size_t length, size_t segment_size) noexcept:
    # Of datagrams of one size, the last perhaps shorter; the least for none.
    cdef size_t count = (length + segment_size - 1) // segment_size if segment_size else 1
    return count * PACKET_COST + length // BYTES_A_NANOSECOND


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
        self.buffer = <uint8_t*>PyMem_Malloc(2 * BATCH)
        if self.buffer == NULL:
            raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    def add(self, UdpSocket socket not None):
        """Serve *socket*, too: datagrams leave through the socket whose address they are to come from."""
        if self.others is None:
            self.others = []
        self.others.append(socket)

    def remove(self, UdpSocket socket not None):
        """Serve *socket* no longer; ValueError for the last one.  What it has not sent yet is lost."""
        if not self.others:
            raise ValueError("a pump has at least one socket")
        self._flush()
        if socket is self.socket:
            self.socket = self.others.pop(0)
        else:
            self.others.remove(socket)

    def receive(self, double now):
        """Take what the sockets have, up to about a millisecond of work; True when more is waiting."""
        cdef bint more = self._receive(self.socket, now)
        if self.others:
            for socket in list(self.others):
                more = self._receive(socket, now) or more
        return more

    cdef bint _receive(self, UdpSocket socket, double now) except -1:
        cdef int64_t time = nanoseconds(now)
        cdef int count, i
        cdef size_t spent = 0
        cdef Received* message
        while spent < BUDGET:
            count = socket.receive()
            if spent and self.clock is not None:
                time = nanoseconds(self.clock())
            for i in range(count):
                message = socket.message(i)
                spent += cost_of(message.length, message.segment_size)
                self.endpoint.receive(
                    message.data, message.length, message.segment_size, socket.source(i),
                    socket.destination(i), message.ecn, time,
                )
            if count == 0 or socket.drained:
                return False
        return True

    cdef UdpSocket _socket_for(self, object source):
        # The one that has this address, or at least this port.
        cdef UdpSocket socket
        if not self.others or source is None or source == self.socket.local_address:
            return self.socket
        for socket in self.others:
            if socket.local_address == source:
                return socket
        for socket in [self.socket, *self.others]:
            if socket.local_address[1] == source[1]:
                return socket
        return self.socket

    def transmit(self, double now):
        """Send what is due, up to about a millisecond of work; False when the socket would block.

        What is left over after that much work makes ``Endpoint.timeout`` 0.
        """
        cdef int64_t time = nanoseconds(now)
        cdef Connection connection
        cdef list waiting
        cdef size_t spent = 0, size, segment
        cdef Py_ssize_t i
        if not self._flush() or not self._transmit_stateless():
            return False
        while self.endpoint.sending and spent < BUDGET:
            waiting, self.endpoint.sending = self.endpoint.sending, []
            for i in range(len(waiting)):
                if not self._make_room():
                    self.endpoint.sending = waiting[i:] + self.endpoint.sending
                    return False
                connection = <Connection>waiting[i]
                segment = 0
                size = connection.write_batch(self.buffer + self.used, BATCH, MAX_BATCH, time, &segment)
                spent += cost_of(size, segment)
                if size:
                    self._socket_for(connection.paths.from_).stage(
                        self.buffer + self.used, size, segment, connection.paths.to,
                        connection.paths.from_, connection.recovery.codepoint,
                    )
                    self.used += size
                    self.endpoint.written += 1
                    self.endpoint.sending.append(connection)
                else:
                    connection.send_listed = False
                    self.endpoint.arm(connection, time)
        return self._flush()

    cdef bint _make_room(self) except -1:
        # For one more batch, however large; False when the socket would block.
        cdef UdpSocket socket
        if self.used > BATCH or not self.socket.can_stage():
            return self._flush()
        if self.others:
            for socket in self.others:
                if not socket.can_stage():
                    return self._flush()
        return True

    cdef bint _flush(self) except -1:
        # Send what was staged; whether the buffer is empty now.
        cdef UdpSocket socket
        self.blocked = None
        if not self.socket.flush():
            self.blocked = self.socket
        if self.others:
            for socket in self.others:
                if not socket.flush():
                    self.blocked = socket
        if self.blocked is not None:
            return False
        self.used = 0
        return True

    cdef bint _transmit_stateless(self) except -1:
        cdef bytes data
        while self.endpoint.stateless.queue:
            data, to, source = self.endpoint.stateless.queue[0]
            if not self._socket_for(source).send(
                <const uint8_t*>PyBytes_AS_STRING(data), len(data), len(data), to, source, 0
            ):
                return False
            self.endpoint.stateless.queue.pop(0)
        return True
