"""JSON text in a growing buffer (RFC 8259)."""

from libc.stdint cimport int64_t, uint8_t, uint64_t


cdef class Text:
    cdef char* data
    cdef size_t length
    cdef size_t size
    cdef bint failed                         # there was no memory for all of it

    cdef bint _reserve(self, size_t more) noexcept
    cdef void raw(self, const char* text, size_t length) noexcept
    cdef void put(self, const char* text) noexcept
    cdef void separate(self) noexcept
    cdef void key(self, const char* name) noexcept
    cdef void open(self, const char* name) noexcept
    cdef void open_list(self, const char* name) noexcept
    cdef void unsigned(self, uint64_t value) noexcept
    cdef void milliseconds(self, int64_t nanoseconds) noexcept
    cdef void number(self, const char* name, uint64_t value) noexcept
    cdef void duration(self, const char* name, int64_t nanoseconds) noexcept
    cdef void word(self, const char* name, const char* value) noexcept
    cdef void flag(self, const char* name, bint value) noexcept
    cdef void hex(self, const char* name, const uint8_t* data, size_t length) noexcept
    cdef void string(self, const char* name, str value) noexcept
    cdef bytes take(self)
