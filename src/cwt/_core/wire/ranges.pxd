"""Sets of integers as sorted half-open intervals (RFC 9000 Section 19.3.1)."""

from libc.stdint cimport uint64_t

cdef struct Range:
    uint64_t start
    uint64_t end             # exclusive


cdef class RangeSet:
    cdef Range* items        # sorted, disjoint, not touching
    cdef size_t count
    cdef size_t allocated

    cdef int _insert(self, size_t index, uint64_t start, uint64_t end) except -1
    cdef void _erase(self, size_t index, size_t count) noexcept
    cdef size_t _find(self, uint64_t value) noexcept
    cpdef int add(self, uint64_t start, uint64_t end) except -1
    cpdef int subtract(self, uint64_t start, uint64_t end) except -1
    cpdef bint contains(self, uint64_t value) noexcept
    cpdef bint covers(self, uint64_t start, uint64_t end) noexcept
    cdef void drop_lowest(self) noexcept
    cdef void clear(self) noexcept
