"""A heap of connections by their next timeout."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from cpython.object cimport PyObject
from libc.stdint cimport int64_t

from cwt._core.connection cimport Connection


@cython.final
cdef class TimerHeap:
    """The earliest deadline of all connections in constant time; setting one is logarithmic.

    It holds no references: whoever drops a connection sets its timeout to never first.
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

    cdef void _remove(self, size_t index) noexcept:
        cdef PyObject* gone = self.items[index].connection
        self.count -= 1
        if index < self.count:
            self._place(index, self.items[self.count])
            self._sift(index)
        (<Connection>gone).timer_index = 0

    cdef int set(self, Connection connection, int64_t at) except -1:
        """Its next timeout is *at*; 0 for never."""
        cdef size_t index = connection.timer_index, size
        cdef Timer* grown
        if at == 0:
            if index:
                self._remove(index - 1)
            return 0
        if index:
            if self.items[index - 1].at != at:
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

    cdef int64_t first(self) noexcept:
        return self.items[0].at if self.count else 0

    cdef Connection due(self, int64_t now):
        # A connection whose time has come, or None.
        if self.count and self.items[0].at <= now:
            return <Connection>self.items[0].connection
        return None
