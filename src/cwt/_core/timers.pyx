"""A heap of connections by their next timeout."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from cwt._core.connection cimport Connection


@cython.final
cdef class TimerHeap:
    """The earliest timeout of all connections.

    A timeout that moves away, as it does with every packet, costs nothing before it would have come first:
    only then is the connection looked at again, and put where it belongs.  One that comes nearer is put
    there at once, in logarithmic time.

    It holds no references: whoever drops a connection removes it first.
    """

    def __cinit__(self):
        self.items = NULL

    def __dealloc__(self):
        PyMem_Free(self.items)

    cdef void _place(self, size_t index, Timer timer) noexcept:
        self.items[index] = timer
        (<Connection>timer.connection).timer_index = index + 1

    cdef void _sift(self, size_t index) noexcept:
        # Move one up or down to where it belongs.
        cdef Timer timer = self.items[index]
        cdef size_t other
        while index > 0:
            other = (index - 1) // 2
            if self.items[other].at <= timer.at:
                break
            self._place(index, self.items[other])
            index = other
        while True:
            other = 2 * index + 1
            if other >= self.count:
                break
            if other + 1 < self.count and self.items[other + 1].at < self.items[other].at:
                other += 1
            if timer.at <= self.items[other].at:
                break
            self._place(index, self.items[other])
            index = other
        self._place(index, timer)

    cdef void remove(self, Connection connection) noexcept:
        cdef size_t index = connection.timer_index
        connection.timer_at = 0
        if index == 0:
            return
        connection.timer_index = 0
        index -= 1
        self.count -= 1
        if index < self.count:
            self._place(index, self.items[self.count])
            self._sift(index)

    cdef int set(self, Connection connection, int64_t at) except -1:
        """Its next timeout is *at*; 0 for never."""
        cdef size_t index = connection.timer_index, size
        cdef Timer* grown
        connection.timer_at = at
        if at == 0:
            return 0
        if index:
            if at < self.items[index - 1].at:
                self.items[index - 1].at = at
                self._sift(index - 1)
            return 0
        if self.count == self.allocated:
            size = self.allocated * 2 if self.allocated else 16
            grown = <Timer*>PyMem_Realloc(self.items, size * sizeof(Timer))
            if grown == NULL:
                raise MemoryError
            self.items = grown
            self.allocated = size
        self.items[self.count].at = at
        self.items[self.count].connection = <PyObject*>connection
        self.count += 1
        self._sift(self.count - 1)
        return 0

    cdef void _settle(self) noexcept:
        # Until the first one is where it belongs: then no other is earlier.
        cdef Connection connection
        while self.count:
            connection = <Connection>self.items[0].connection
            if connection.timer_at == self.items[0].at:
                return
            if connection.timer_at == 0:
                self.remove(connection)
            else:
                self.items[0].at = connection.timer_at
                self._sift(0)

    cdef int64_t first(self) noexcept:
        self._settle()
        return self.items[0].at if self.count else 0

    cdef Connection due(self, int64_t now):
        # A connection whose time has come, or None.
        if self.count and self.items[0].at <= now:
            self._settle()
        if self.count and self.items[0].at <= now:
            return <Connection>self.items[0].connection
        return None
