"""Sets of integers as sorted half-open intervals (RFC 9000 Section 19.3.1)."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport uint64_t
from libc.string cimport memmove


@cython.final
cdef class RangeSet:
    """Integers as sorted, disjoint intervals ``[start, end)``.

    Adding at the top is constant time, elsewhere logarithmic plus the move of what lies above.
    """

    def __cinit__(self):
        self.items = NULL
        self.count = 0
        self.allocated = 0

    def __dealloc__(self):
        PyMem_Free(self.items)

    def __len__(self):
        return self.count

    def __iter__(self):
        return iter([(self.items[index].start, self.items[index].end) for index in range(self.count)])

    def __contains__(self, uint64_t value):
        return self.contains(value)

    def __repr__(self):
        return "RangeSet(" + ", ".join([f"{start}..{end - 1}" for start, end in self]) + ")"

    cdef size_t _find(self, uint64_t value) noexcept:
        # Index of the first interval that ends at or after value (it may touch or contain it).
        cdef size_t low = 0, high = self.count, middle
        if self.count and self.items[self.count - 1].end < value:
            return self.count
        while low < high:
            middle = (low + high) // 2
            if self.items[middle].end < value:
                low = middle + 1
            else:
                high = middle
        return low

    cdef int _insert(self, size_t index, uint64_t start, uint64_t end) except -1:
        cdef size_t size
        cdef Range* items
        if self.count == self.allocated:
            size = self.allocated * 2 if self.allocated else 1    # in order, that is all there is
            items = <Range*>PyMem_Realloc(self.items, size * sizeof(Range))
            if items == NULL:
                raise MemoryError
            self.items = items
            self.allocated = size
        memmove(
            &self.items[index + 1], &self.items[index], (self.count - index) * sizeof(Range)
        )
        self.items[index].start = start
        self.items[index].end = end
        self.count += 1
        return 0

    cdef void _erase(self, size_t index, size_t count) noexcept:
        memmove(
            &self.items[index],
            &self.items[index + count],
            (self.count - index - count) * sizeof(Range),
        )
        self.count -= count

    cpdef int add(self, uint64_t start, uint64_t end) except -1:
        """Add ``[start, end)``."""
        cdef size_t index, last
        if start >= end:
            return 0
        index = self._find(start)
        if index == self.count or end < self.items[index].start:
            return self._insert(index, start, end)
        last = index
        while last + 1 < self.count and self.items[last + 1].start <= end:
            last += 1
        if start < self.items[index].start:
            self.items[index].start = start
        self.items[index].end = max(end, self.items[last].end)
        if last > index:
            self._erase(index + 1, last - index)
        return 0

    cpdef int subtract(self, uint64_t start, uint64_t end) except -1:
        """Remove ``[start, end)``."""
        cdef size_t index
        cdef uint64_t top
        if start >= end:
            return 0
        index = self._find(start)
        if index < self.count and self.items[index].end == start:
            index += 1
        while index < self.count and self.items[index].start < end:
            top = self.items[index].end
            if self.items[index].start < start:
                self.items[index].end = start
                if top > end:
                    self._insert(index + 1, end, top)
                    return 0
                index += 1
            elif top > end:
                self.items[index].start = end
                return 0
            else:
                self._erase(index, 1)
        return 0

    cpdef bint contains(self, uint64_t value) noexcept:
        """Whether *value* is in the set."""
        return self.covers(value, value + 1)

    cpdef bint covers(self, uint64_t start, uint64_t end) noexcept:
        """Whether all of ``[start, end)`` is in the set."""
        cdef size_t index = self._find(start)
        if index < self.count and self.items[index].end == start:
            index += 1
        return index < self.count and self.items[index].start <= start and end <= self.items[index].end

    cdef void drop_lowest(self) noexcept:
        if self.count:
            self._erase(0, 1)

    cdef void clear(self) noexcept:
        self.count = 0
